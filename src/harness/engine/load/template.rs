//! Texts with values, resolved before the start to pieces that only need to be put together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::utf8_percent_encode;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::de::IgnoredAny;

use super::feed::{Feed, FeedError};
use super::job::Secrets;
use crate::harness::engine::http::UNRESERVED;
use crate::harness::scenario::{Part, Template};

/// Where a filled text goes, which decides how values are escaped. What the scenario says outside
/// of values stands as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A path, a query or a form: values are percent-encoded.
    Url,
    /// JSON: values inside of its strings are escaped, others have to be JSON themselves.
    Json,
    /// A header or a plain text: values stand as they are.
    Plain,
}

/// Why a template could not be resolved. A plan that was validated has none of these.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A feed is missing.
    #[error("no feed is named `{0}`; check the scenario again")]
    Feed(String),
    /// A column is missing, or the file is.
    #[error(transparent)]
    Column(#[from] FeedError),
    /// No step before this one extracts the value.
    #[error("no earlier step extracts `{0}`; check the scenario again")]
    Extracted(String),
    /// A variable of the environment was not handed on.
    #[error("the environment variable `{0}` is not set; set it and run again")]
    Env(String),
    /// A value that only process templates have.
    #[error("`{0}` has no value in a request; check the scenario again")]
    ProcessOnly(String),
}

/// A template with its names resolved to indices.
#[derive(Debug)]
pub(super) struct Compiled {
    pieces: Vec<Piece>,
    /// About how long the filled text is.
    length: usize,
    /// Whether a value that was not extracted is the empty text instead of a failure.
    is_lenient: bool,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Feed {
        feed: usize,
        column: usize,
        /// How the template names it.
        name: String,
        form: Form,
    },
    Extracted {
        index: usize,
        name: String,
        form: Form,
    },
    /// What the setup was to extract in a step that it did not perform.
    Absent(String),
    /// A value that is known and can't stand there; the sentence says why.
    Misplaced(String),
    Uuid,
    Counter,
    Random {
        low: i64,
        high: i64,
    },
    Now(Form),
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Percent-encoded.
    Encoded,
    /// Escaped as the inside of a JSON string.
    Quoted,
    /// As it is, and it has to be JSON.
    Json,
    /// As it is.
    Plain,
}

/// What names in templates mean.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// The feeds that were read, in the order of their indices.
    pub(super) feeds: &'a [Feed],
    /// The values that earlier steps extract, in the order of their indices.
    pub(super) extracted: &'a [String],
    /// What the setup extracted, by name.
    pub(super) setup: &'a BTreeMap<String, String>,
    /// Values of the environment.
    pub(super) secrets: &'a Secrets,
}

/// The values of one iteration. A user keeps one and renews it for each.
#[derive(Debug)]
pub(super) struct Values {
    seeded: ChaCha8Rng,
    /// What everything random in the iteration is drawn from.
    pub(super) random: ChaCha8Rng,
    iteration: u64,
    rows: Vec<usize>,
    /// By index; `None` until extracted.
    pub(super) extracted: Vec<Option<String>>,
}

/// Every row of a feed whose rows are drawn once has been drawn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// The index of the feed.
    pub(super) feed: usize,
}

impl Values {
    /// Values whose random ones follow from `seed` and the number of the iteration, so that it
    /// makes no difference which user, worker or shard performs it.
    pub(super) fn new(seed: u64) -> Self {
        let seeded = ChaCha8Rng::seed_from_u64(seed);
        Self {
            random: seeded.clone(),
            seeded,
            iteration: 0,
            rows: Vec::new(),
            extracted: Vec::new(),
        }
    }

    /// Draws the values of an iteration.
    pub(super) fn renew(
        &mut self,
        iteration: u64,
        feeds: &[Feed],
        extracted: usize,
    ) -> Result<(), Exhausted> {
        self.iteration = iteration;
        self.random.clone_from(&self.seeded);
        self.random.set_stream(iteration);
        self.rows.clear();
        for (index, feed) in feeds.iter().enumerate() {
            let row = feed.draw(iteration, &mut self.random);
            self.rows.push(row.ok_or(Exhausted { feed: index })?);
        }
        self.extracted.clear();
        self.extracted.resize(extracted, None);
        Ok(())
    }
}

impl Compiled {
    /// Resolves `template` for `place`.
    pub(super) fn new(
        template: &Template,
        place: Place,
        names: &Names<'_>,
    ) -> Result<Self, TemplateError> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut is_in_string = false;
        for part in &template.parts {
            let form = match place {
                Place::Url => Form::Encoded,
                Place::Plain => Form::Plain,
                Place::Json if is_in_string => Form::Quoted,
                Place::Json => Form::Json,
            };
            if let Part::Text(text) = part {
                is_in_string = ends_in_string(text, is_in_string);
            }
            let piece = Piece::new(part, form, names)?;
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => pieces.push(piece),
            }
        }
        let lengths = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Uuid => 36,
            _ => 20,
        });
        Ok(Self {
            length: lengths.sum(),
            pieces,
            is_lenient: false,
        })
    }

    /// The same for a condition, in which a value that was not extracted is the empty text.
    pub(super) fn lenient(template: &Template, names: &Names<'_>) -> Result<Self, TemplateError> {
        Ok(Self {
            is_lenient: true,
            ..Self::new(template, Place::Plain, names)?
        })
    }

    /// The text, where it holds no values.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The filled text. The error names a value that is missing.
    pub(super) fn filled(&self, values: &mut Values, feeds: &[Feed]) -> Result<String, String> {
        let mut out = String::with_capacity(self.length);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Feed {
                    feed,
                    column,
                    name,
                    form,
                } => {
                    let value = feeds[*feed].value(values.rows[*feed], *column);
                    write(&mut out, value, *form).map_err(|NotJson| misplaced(name))?;
                }
                Piece::Extracted { index, name, form } => match &values.extracted[*index] {
                    Some(value) => {
                        write(&mut out, value, *form).map_err(|NotJson| misplaced(name))?;
                    }
                    None if self.is_lenient => {}
                    None => {
                        return Err(format!(
                            "`{{{name}}}` has no value: the step that extracts it was not performed"
                        ));
                    }
                },
                Piece::Absent(_) if self.is_lenient => {}
                Piece::Absent(name) => {
                    return Err(format!(
                        "`{{setup.{name}}}` has no value: the setup did not perform the step that \
                         extracts it"
                    ));
                }
                Piece::Misplaced(why) => return Err(why.clone()),
                // Not of the seed: a server that keeps what it was sent has seen those of the run before.
                Piece::Uuid => {
                    let _ = write!(out, "{}", uuid::Uuid::new_v4());
                }
                Piece::Counter => {
                    let _ = write!(out, "{}", values.iteration);
                }
                Piece::Random { low, high } => {
                    let _ = write!(out, "{}", values.random.random_range(*low..=*high));
                }
                Piece::Now(form) => {
                    let now = jiff::Timestamp::now().to_string();
                    write(&mut out, &now, *form).map_err(|NotJson| misplaced("$now"))?;
                }
            }
        }
        Ok(out)
    }
}

impl Piece {
    fn new(part: &Part, form: Form, names: &Names<'_>) -> Result<Self, TemplateError> {
        let known = |value: &str, name: &str| {
            let mut text = String::new();
            match write(&mut text, value, form) {
                Ok(()) => Self::Text(text),
                Err(NotJson) => Self::Misplaced(misplaced(name)),
            }
        };
        Ok(match part {
            Part::Text(text) => Self::Text(text.clone()),
            Part::Feed { feed, column } => {
                let mut feeds = names.feeds.iter();
                let index = feeds.position(|known| known.name == *feed);
                let index = index.ok_or_else(|| TemplateError::Feed(feed.clone()))?;
                Self::Feed {
                    feed: index,
                    column: names.feeds[index].column(column)?,
                    name: format!("{feed}.{column}"),
                    form,
                }
            }
            Part::Extracted(name) => {
                let mut extracted = names.extracted.iter();
                let index = extracted.position(|known| known == name);
                Self::Extracted {
                    index: index.ok_or_else(|| TemplateError::Extracted(name.clone()))?,
                    name: name.clone(),
                    form,
                }
            }
            Part::Setup(name) => match names.setup.get(name) {
                Some(value) => known(value, &format!("setup.{name}")),
                None => Self::Absent(name.clone()),
            },
            Part::Env(name) => {
                let value = names.secrets.0.get(name);
                let value = value.ok_or_else(|| TemplateError::Env(name.clone()))?;
                known(value, &format!("$env.{name}"))
            }
            Part::Uuid if form == Form::Json => Self::Misplaced(misplaced("$uuid")),
            Part::Uuid => Self::Uuid,
            Part::Counter => Self::Counter,
            Part::Random { low, high } => Self::Random {
                low: *low.min(high),
                high: *low.max(high),
            },
            Part::Now => Self::Now(form),
            Part::OwnPort => return Err(TemplateError::ProcessOnly("{port}".into())),
            Part::OwnDir => return Err(TemplateError::ProcessOnly("{dir}".into())),
            Part::PortOf(name) => {
                return Err(TemplateError::ProcessOnly(format!("{{{name}.port}}")));
            }
            Part::UrlOf(name) => {
                return Err(TemplateError::ProcessOnly(format!("{{{name}.url}}")));
            }
        })
    }
}

/// The fields of a form or a query as one template: names and fixed texts are encoded here, values
/// when they are filled in.
pub(super) fn form(fields: &[(String, Template)]) -> Template {
    let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let mut parts = Vec::new();
    for (index, (name, value)) in fields.iter().enumerate() {
        let separator = if index == 0 { "" } else { "&" };
        parts.push(Part::Text(format!("{separator}{}=", encoded(name))));
        parts.extend(value.parts.iter().map(|part| match part {
            Part::Text(text) => Part::Text(encoded(text)),
            other => other.clone(),
        }));
    }
    Template { parts }
}

/// Whether JSON text that goes on from inside or outside of a string ends inside of one.
fn ends_in_string(text: &str, mut is_in_string: bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_in_string = !is_in_string,
            b'\\' if is_in_string => {
                bytes.next();
            }
            _ => {}
        }
    }
    is_in_string
}

/// A value is not JSON where it has to be.
struct NotJson;

fn write(out: &mut String, value: &str, form: Form) -> Result<(), NotJson> {
    match form {
        Form::Encoded => out.extend(utf8_percent_encode(value, UNRESERVED)),
        Form::Quoted => {
            let quoted = serde_json::Value::from(value).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Form::Json => {
            serde_json::from_str::<IgnoredAny>(value).map_err(|_| NotJson)?;
            out.push_str(value);
        }
        Form::Plain => out.push_str(value),
    }
    Ok(())
}

/// Why a request can't be sent whose JSON needs JSON from that value.
fn misplaced(name: &str) -> String {
    format!(
        "`{{{name}}}` is not JSON and stands outside of a string in JSON: write `\"{{{name}}}\"` for \
         a text"
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::harness::scenario::{FeedFormat, FeedOrder, FeedPlan};

    fn feeds(order: FeedOrder) -> Vec<Feed> {
        let folder = tempfile::tempdir().unwrap();
        let rows = "id,name\n1,a b\n2,\"q\"\"/é\"\n3,..\n";
        let file = fixture::file(folder.path(), "c.csv", rows.as_bytes());
        let plan = FeedPlan {
            file,
            format: FeedFormat::Csv,
            columns: vec!["id".into(), "name".into()],
            order,
        };
        vec![Feed::read("clients", &plan, 1, (0, 1)).unwrap()]
    }

    fn filled(
        parts: Vec<Part>,
        iteration: u64,
        compile: impl Fn(&Template, &Names<'_>) -> Result<Compiled, TemplateError>,
    ) -> Result<String, String> {
        let feeds = feeds(FeedOrder::Sequential);
        let names = Names {
            feeds: &feeds,
            extracted: &["token".into()],
            setup: &BTreeMap::from([("id".into(), "<7>".into())]),
            secrets: &Secrets(BTreeMap::from([("KEY".into(), "s&t".into())])),
        };
        let template = compile(&Template { parts }, &names).map_err(|error| error.to_string())?;
        let mut values = Values::new(7);
        values.renew(iteration, &feeds, 1).unwrap();
        template.filled(&mut values, &feeds)
    }

    fn fill(parts: Vec<Part>, place: Place, iteration: u64) -> Result<String, String> {
        filled(parts, iteration, |template, names| {
            Compiled::new(template, place, names)
        })
    }

    #[test]
    fn values_are_escaped_for_their_place_and_the_rest_is_not() {
        let name = |before: &str| {
            let feed = Part::Feed {
                feed: "clients".into(),
                column: "name".into(),
            };
            vec![Part::Text(before.into()), feed, Part::Env("KEY".into())]
        };
        let check = |place, iteration, expected: &str| {
            assert_eq!(fill(name("/x?q="), place, iteration).unwrap(), expected);
        };
        check(Place::Url, 0, "/x?q=a%20bs%26t");
        check(Place::Url, 1, "/x?q=q%22%2F%C3%A9s%26t");
        check(Place::Plain, 4, "/x?q=q\"/és&t");
        let json = fill(name("{\"q\": \""), Place::Json, 1).unwrap();
        assert_eq!(json, "{\"q\": \"q\\\"/és&t");
    }

    #[test]
    fn a_value_outside_of_the_strings_of_json_is_json() {
        let check = |before: &str, value: &str, expected: Result<&str, &str>| {
            let names = Names {
                feeds: &[],
                extracted: &["o".into()],
                setup: &BTreeMap::from([("o".into(), value.to_owned())]),
                secrets: &Secrets::default(),
            };
            for part in [Part::Extracted("o".into()), Part::Setup("o".into())] {
                let parts = vec![Part::Text(before.into()), part, Part::Text("}".into())];
                let template = Compiled::new(&Template { parts }, Place::Json, &names).unwrap();
                let mut values = Values::new(7);
                values.renew(0, &[], 1).unwrap();
                values.extracted[0] = Some(value.to_owned());
                let found = template.filled(&mut values, &[]);
                match (&found, expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                    (Err(message), Err(part)) if message.contains(part) => {}
                    _ => panic!("{before}{value}: {found:?}, not {expected:?}"),
                }
            }
        };
        let object = r#"{"x":[1,"y"]}"#;
        check("{\"o\": ", object, Ok(r#"{"o": {"x":[1,"y"]}}"#));
        check("{\"o\": \"", object, Ok(r#"{"o": "{\"x\":[1,\"y\"]}}"#));
        for value in ["-1.5e3", "true", "null", "\"a\\nb\""] {
            let expected = format!("{{\"o\": {value}}}");
            check("{\"o\": ", value, Ok(&expected));
        }
        for value in ["ada", "", "007", "1, \"admin\": true", "{"] {
            check("{\"o\": ", value, Err("is not JSON"));
        }
        // A quote that is escaped, and a backslash that is, before the quote that ends a string.
        check(r#"{"a\"b": ""#, "x", Ok(r#"{"a\"b": "x}"#));
        check(r#"{"a\\": "#, "x", Err("write `\""));
        check(r#"{"a\\": "#, "7", Ok(r#"{"a\\": 7}"#));
    }

    #[test]
    fn what_is_never_json_is_no_value_of_json() {
        for part in [Part::Uuid, Part::Now] {
            let before = Part::Text("{\"a\": ".into());
            let error = fill(vec![before, part], Place::Json, 0).unwrap_err();
            assert!(error.contains("is not JSON"), "{error}");
        }
    }

    #[test]
    fn what_a_request_has_not_is_an_error() {
        let check = |part: Part, expected: &str| {
            let error = fill(vec![part], Place::Plain, 0).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(Part::Extracted("token".into()), "`{token}` has no value");
        check(Part::Setup("token".into()), "`{setup.token}` has no value");
        check(Part::Extracted("other".into()), "`other`");
        check(Part::Env("NONE".into()), "`NONE`");
        check(Part::OwnPort, "{port}");
        let column = "none".into();
        let feed = "clients".into();
        check(Part::Feed { feed, column }, "no column `none`");
    }

    #[test]
    fn what_no_step_extracted_is_the_empty_text_in_a_condition() {
        let check = |part: Part, expected: Result<&str, ()>| {
            let parts = vec![Part::Text("<".into()), part, Part::Text(">".into())];
            let found = filled(parts, 0, Compiled::lenient);
            assert_eq!(found.as_deref().map_err(|_| ()), expected);
        };
        check(Part::Extracted("token".into()), Ok("<>"));
        check(Part::Setup("token".into()), Ok("<>"));
        check(Part::Setup("id".into()), Ok("<<7>>"));
        check(Part::Extracted("other".into()), Err(()));
    }

    #[test]
    fn a_feed_without_a_row_left_ends_the_iteration() {
        let feeds = feeds(FeedOrder::Unique);
        let mut values = Values::new(1);
        assert_eq!(values.renew(2, &feeds, 0), Ok(()));
        assert_eq!(values.renew(3, &feeds, 0), Err(Exhausted { feed: 0 }));
    }

    #[test]
    fn random_values_follow_from_seed_and_iteration() {
        let any = || {
            vec![Part::Random {
                low: 0,
                high: i64::MAX,
            }]
        };
        let one = fill(any(), Place::Plain, 1).unwrap();
        assert_eq!(one, fill(any(), Place::Plain, 1).unwrap());
        assert_ne!(one, fill(any(), Place::Plain, 2).unwrap());
    }

    #[test]
    fn no_two_runs_send_the_same_uuid() {
        let one = fill(vec![Part::Uuid], Place::Plain, 1).unwrap();
        assert_ne!(one, fill(vec![Part::Uuid], Place::Plain, 1).unwrap());
        assert_eq!(one.len(), 36);
    }

    #[test]
    fn a_random_feed_draws_every_row() {
        let feeds = feeds(FeedOrder::Random);
        let mut values = Values::new(1);
        let mut seen = [0_u32; 3];
        for iteration in 0..300 {
            values.renew(iteration, &feeds, 0).unwrap();
            seen[values.rows[0]] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    }
}
