//! GitHub's expressions, as far as the workflows here use them: anything else is an error.

use serde_json::Value;

/// Puts the value of each `${{ … }}` into a text. One that is nothing but an expression keeps its value.
pub(crate) fn fill(text: &str, context: &Value) -> Result<Value, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, behind) = after
            .split_once("}}")
            .ok_or(format!("an expression without an end in {text}"))?;
        let value = evaluate(expression, context)?;
        if before.is_empty() && behind.trim().is_empty() && filled.is_empty() {
            return Ok(value);
        }
        filled += before;
        filled += &as_text(&value);
        rest = behind;
    }
    Ok(Value::String(filled + rest))
}

/// The value of an expression; what the context doesn't have is null.
pub(crate) fn evaluate(text: &str, context: &Value) -> Result<Value, String> {
    let mut parser = Parser {
        rest: text,
        context,
    };
    let value = parser.or()?;
    match parser.rest.trim() {
        "" => Ok(value),
        rest => Err(format!("`{rest}` is left over of `{text}`")),
    }
}

/// What an `if:` makes of a value.
pub(crate) fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && *value != "" && *value != 0
}

/// What a value is in a text.
pub(crate) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

struct Parser<'a> {
    rest: &'a str,
    context: &'a Value,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Value, String> {
        let mut value = self.and()?;
        while self.takes("||") {
            let other = self.and()?;
            value = if is_true(&value) { value } else { other };
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<Value, String> {
        let mut value = self.comparison()?;
        while self.takes("&&") {
            let other = self.comparison()?;
            value = if is_true(&value) { other } else { value };
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Value, String> {
        let value = self.term()?;
        // A text and a truth value are compared as numbers there, and no workflow here should.
        Ok(if self.takes("==") {
            Value::Bool(as_text(&value) == as_text(&self.term()?))
        } else if self.takes("!=") {
            Value::Bool(as_text(&value) != as_text(&self.term()?))
        } else {
            value
        })
    }

    fn term(&mut self) -> Result<Value, String> {
        if self.takes("!") {
            return Ok(Value::Bool(!is_true(&self.term()?)));
        }
        if self.takes("(") {
            let value = self.or()?;
            return self.expects(")").map(|()| value);
        }
        if self.takes("'") {
            let (text, rest) = self.rest.split_once('\'').ok_or("a text without an end")?;
            self.rest = rest;
            return Ok(Value::String(text.to_owned()));
        }
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if name.is_empty() {
            return Err(format!("no term at `{rest}`"));
        }
        match self.takes("(") {
            true => self.call(name),
            false => Ok(lookup(name, self.context)),
        }
    }

    fn call(&mut self, name: &str) -> Result<Value, String> {
        let mut arguments = Vec::new();
        while !self.takes(")") {
            arguments.push(self.or()?);
            if !self.takes(",") {
                self.expects(")")?;
                break;
            }
        }
        match (name, arguments.as_slice()) {
            ("always", []) => Ok(Value::Bool(true)),
            ("cancelled", []) => Ok(Value::Bool(false)),
            ("fromJSON", [Value::String(text)]) => {
                serde_json::from_str(text).map_err(|error| error.to_string())
            }
            ("contains", [Value::Array(all), one]) => Ok(Value::Bool(all.contains(one))),
            _ => Err(format!("no function {name} of {arguments:?} is known here")),
        }
    }

    fn takes(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        // `!` is not the beginning of `!=`.
        let found = rest
            .strip_prefix(token)
            .filter(|rest| token != "!" || !rest.starts_with('='));
        self.rest = found.unwrap_or(rest);
        found.is_some()
    }

    fn expects(&mut self, token: &str) -> Result<(), String> {
        match self.takes(token) {
            true => Ok(()),
            false => Err(format!("`{}` is no `{token}`", self.rest)),
        }
    }
}

fn lookup(path: &str, context: &Value) -> Value {
    let found = path
        .split('.')
        .try_fold(context, |value, name| value.get(name));
    found.cloned().unwrap_or(Value::Null)
}

#[test]
fn expressions_are_read_as_github_reads_them() {
    let context = serde_json::json!({
        "steps": { "take": { "outputs": { "ready": "true" } } },
        "inputs": { "empty": "", "install-only": "false" },
    });
    let check = |text: &str, expected: Value| {
        assert_eq!(evaluate(text, &context), Ok(expected), "{text}");
    };
    check("steps.take.outputs.ready == 'true'", true.into());
    check("steps.other.outputs.ready == 'true'", false.into());
    check("steps.other.outputs.ready != ''", false.into());
    check("inputs.install-only != 'true' && 'x'", "x".into());
    check("inputs.empty || inputs.none || 'default'", "default".into());
    check("always() && inputs.empty != ''", false.into());
    check(
        "!cancelled() && (inputs.empty == '' || nothing)",
        true.into(),
    );
    check(r#"contains(fromJSON('["a", "b"]'), 'b')"#, true.into());
    assert!(evaluate("toJSON(github)", &context).is_err());
    assert!(evaluate("'a' 'b'", &context).is_err());
    let filled = fill("a ${{ inputs.install-only }} b", &context);
    assert_eq!(filled, Ok("a false b".into()));
}
