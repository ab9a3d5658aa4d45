//! The rows of a JSON feed: read one by one, so that a large one costs no more memory than its text.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::feeds::repeated;

/// From here on neighbouring whole numbers are the same floating-point number.
const NOT_EXACT: f64 = 9_007_199_254_740_992.0;

/// All rows of a JSON feed, of which only the columns are kept, in the order of the first row, and their number.
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) number: u64,
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowsVisitor)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows, A::Error> {
        let first: Row = rows
            .next_element()?
            .ok_or_else(|| A::Error::custom("no rows"))?;
        let columns = first.keys;
        let known: BTreeSet<&str> = columns.iter().map(String::as_str).collect();
        let mut number = 1;
        while let Some(row) = rows.next_element::<Row>()? {
            number += 1;
            let is_alike = row.keys == columns
                || (row.keys.len() == columns.len()
                    && row.keys.iter().all(|key| known.contains(key.as_str())));
            if !is_alike {
                return Err(A::Error::custom("an object with other keys than the first"));
            }
        }
        Ok(Rows { columns, number })
    }
}

/// The keys of an object whose values can be put into a template, each once.
struct Row {
    keys: Vec<String>,
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Row, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, Scalar)) = entries.next_entry::<String, Scalar>()? {
            keys.push(key);
        }
        match repeated(&keys) {
            Some(twice) => Err(A::Error::custom(format!("two values for `{twice}`"))),
            None => Ok(Row { keys }),
        }
    }
}

/// A text, a number or a boolean.
struct Scalar;

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a boolean")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Scalar, E> {
        Ok(Scalar)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Scalar, E> {
        // What is read as such may have had more digits.
        if number.abs() >= NOT_EXACT {
            return Err(E::custom("a number of too many digits; write it as a text"));
        }
        Ok(Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Scalar, E> {
        Ok(Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_feed_is_an_array_of_rows_with_the_same_keys() {
        let check = |text: &str, expected: Result<&[&str], &str>| {
            let found = serde_json::from_str::<Rows>(text).map(|rows| rows.columns);
            match (&found, expected) {
                (Ok(columns), Ok(expected)) => assert_eq!(columns, expected, "{text}"),
                (Err(error), Err(part)) if error.to_string().contains(part) => {}
                _ => panic!("{text}: {found:?}, not {expected:?}"),
            }
        };
        check(
            r#"[{"id": 1, "name": "Ada", "is": true}]"#,
            Ok(&["id", "name", "is"]),
        );
        check(
            r#"[{"b": 1.5, "a": -2}, {"a": 18446744073709551615, "b": 1}]"#,
            Ok(&["b", "a"]),
        );
        check("[]", Err("no rows"));
        check(r#"{"id": 1}"#, Err("an array of objects"));
        check(r#"[1]"#, Err("an object"));
        check(r#"[{"id": null}]"#, Err("a text, a number or a boolean"));
        check(r#"[{"id": [1]}]"#, Err("a text, a number or a boolean"));
        check(
            "[{\"a\": 1},\n{\"b\": 1}]",
            Err("other keys than the first at line 2"),
        );
        check(r#"[{"a": 1}, {"a": 1, "b": 2}]"#, Err("other keys"));
        check(r#"[{"a": 1, "a": 2}]"#, Err("two values for `a`"));
        check(r#"[{"a": 18446744073709551616}]"#, Err("too many digits"));
        check(r#"[{"a": 1}"#, Err("EOF"));
        check(r#"[{"a": 1}] 2"#, Err("trailing"));
    }
}
