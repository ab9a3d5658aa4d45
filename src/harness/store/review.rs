//! JSON for people who review it: indented down to the entries of a list, then one line each, with
//! whole numbers written as such.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Containers nested deeper than this stand on the line of what holds them.
const INDENTED_DEPTH: usize = 4;
/// Below this every whole number is exact as a float.
const EXACT: f64 = 9e15;

/// `value` as such JSON, with a newline at the end.
pub(super) fn to_text<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = ReviewFormatter {
        pretty: PrettyFormatter::new(),
        depth: 0,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    bytes.push(b'\n');
    Ok(String::from_utf8(bytes).expect("BUG: serde_json writes UTF-8"))
}

struct ReviewFormatter {
    pretty: PrettyFormatter<'static>,
    depth: usize,
}

impl ReviewFormatter {
    fn indented(&self) -> bool {
        self.depth <= INDENTED_DEPTH
    }
}

impl Formatter for ReviewFormatter {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.fract() == 0.0 && value.abs() < EXACT {
            write!(writer, "{}", value as i64)
        } else {
            self.pretty.write_f64(writer, value)
        }
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.indented() {
            self.pretty.begin_array(writer)
        } else {
            writer.write_all(b"[")
        }
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let indented = self.indented();
        self.depth -= 1;
        if indented {
            self.pretty.end_array(writer)
        } else {
            writer.write_all(b"]")
        }
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if self.indented() {
            self.pretty.begin_array_value(writer, first)
        } else {
            separate(writer, first)
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.indented() {
            self.pretty.end_array_value(writer)
        } else {
            Ok(())
        }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.indented() {
            self.pretty.begin_object(writer)
        } else {
            writer.write_all(b"{")
        }
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let indented = self.indented();
        self.depth -= 1;
        if indented {
            self.pretty.end_object(writer)
        } else {
            writer.write_all(b"}")
        }
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if self.indented() {
            self.pretty.begin_object_key(writer, first)
        } else {
            separate(writer, first)
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.indented() {
            self.pretty.end_object_value(writer)
        } else {
            Ok(())
        }
    }
}

fn separate<W: ?Sized + Write>(writer: &mut W, first: bool) -> io::Result<()> {
    writer.write_all(if first { b"" } else { b", " })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn the_fifth_level_stands_on_one_line() {
        let text = to_text(&json!({"a": {"b": {"c": {"d": {"e": [[1.0], [2.5, 3.0]]}, "f": []}}}}))
            .unwrap();
        let expected = r#"{
  "a": {
    "b": {
      "c": {
        "d": {"e": [[1], [2.5, 3]]},
        "f": []
      }
    }
  }
}
"#;
        assert_eq!(text, expected);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_the_same_json(value in any_json()) {
            let read: Value = serde_json::from_str(&to_text(&value).unwrap()).unwrap();
            prop_assert_eq!(read, value);
        }

        #[test]
        fn numbers_keep_their_value(value in any::<f64>().prop_filter("JSON has no other", |v| v.is_finite())) {
            let read: f64 = serde_json::from_str(&to_text(&value).unwrap()).unwrap();
            prop_assert_eq!(read, value);
        }
    }
}
