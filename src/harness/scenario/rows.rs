//! The rows of a JSON feed: read one by one, so that a large one costs no more memory than its text. Read
//! at validation, and by each worker.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// From here on neighbouring whole numbers are the same floating-point number.
const NOT_EXACT: f64 = 9_007_199_254_740_992.0;

/// Gives the values of every row of a JSON feed to `take`, as texts in the order of the columns, and
/// returns the columns: the keys of the first row. Nothing of the rows is kept in memory.
///
/// # Errors
/// Where it is no array of at least one object with the same keys in each, whose values are texts,
/// numbers or booleans.
pub(crate) fn each_row(
    bytes: &[u8],
    take: impl FnMut(&[String]),
) -> Result<Vec<String>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let columns = reader.deserialize_seq(RowsVisitor { take })?;
    reader.end()?;
    Ok(columns)
}

/// The first of the names that was there before.
pub(super) fn repeated<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

struct RowsVisitor<F> {
    take: F,
}

impl<'de, F: FnMut(&[String])> Visitor<'de> for RowsVisitor<F> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<Self::Value, A::Error> {
        let Row(first) = rows
            .next_element()?
            .ok_or_else(|| A::Error::custom("no rows"))?;
        let (columns, values): (Vec<String>, Vec<String>) = first.into_iter().unzip();
        (self.take)(&values);
        while let Some(Row(row)) = rows.next_element()? {
            let values = in_order(row, &columns)
                .ok_or_else(|| A::Error::custom("an object with other keys than the first"))?;
            (self.take)(&values);
        }
        Ok(columns)
    }
}

/// The values of a row in the order of the columns; `None` where it has others.
fn in_order(row: Vec<(String, String)>, columns: &[String]) -> Option<Vec<String>> {
    if row.iter().map(|(key, _)| key).eq(columns) {
        return Some(row.into_iter().map(|(_, value)| value).collect());
    }
    let mut by_key: BTreeMap<String, String> = row.into_iter().collect();
    let values = columns.iter().map(|column| by_key.remove(column));
    let values = values.collect::<Option<Vec<String>>>()?;
    by_key.is_empty().then_some(values)
}

/// The keys of an object, each once, and its values, which can be put into a template.
struct Row(Vec<(String, String)>);

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
        let mut row = Vec::new();
        while let Some((key, Scalar(value))) = entries.next_entry::<String, Scalar>()? {
            row.push((key, value));
        }
        match repeated(row.iter().map(|(key, _)| key)) {
            Some(twice) => Err(A::Error::custom(format!("two values for `{twice}`"))),
            None => Ok(Row(row)),
        }
    }
}

/// A text, a number or a boolean, as a text.
struct Scalar(String);

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

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Scalar, E> {
        // What is read as such may have had more digits.
        if number.abs() >= NOT_EXACT {
            return Err(E::custom("a number of too many digits; write it as a text"));
        }
        // As JSON has it: `2.5`, `1e-9`.
        Ok(Scalar(serde_json::Value::from(number).to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_json_feed_is_an_array_of_rows_with_the_same_keys() {
        let check = |text: &str, expected: Result<&[&str], &str>| {
            let found = each_row(text.as_bytes(), |_| ());
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

    #[test]
    fn rows_are_given_as_texts_in_the_order_of_the_columns() {
        let text =
            r#"[{"id": 1, "name": "a \"b\""}, {"name": "ü", "id": 2.5}, {"id": -3, "name": true}]"#;
        let mut found = Vec::new();
        let columns = each_row(text.as_bytes(), |row| found.push(row.join("|"))).unwrap();
        assert_eq!(columns, ["id", "name"]);
        assert_eq!(found, ["1|a \"b\"", "2.5|ü", "-3|true"]);
    }
}
