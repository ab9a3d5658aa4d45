//! Reading spanned TOML values: what isn't there or has another type is `None`, because the first
//! look ([`structure`](super::structure)) has already said so.

use std::ops::Range;

use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::quantity;

/// A value of the file with its place.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// A text of the file with its place, quotes included.
#[derive(Debug, Clone)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Range<usize>,
}

/// The entries of a table in the order of the file; the parser keeps them by name.
pub(crate) fn entries<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<DeString<'i>>, &'a Value<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The text at `key`.
pub(crate) fn text<'a>(table: &'a DeTable<'_>, key: &str) -> Option<Text<'a>> {
    table.get(key).and_then(as_text)
}

/// A value as a text.
pub(crate) fn as_text<'a>(value: &'a Value<'_>) -> Option<Text<'a>> {
    value.get_ref().as_str().map(|text| Text {
        text,
        span: value.span(),
    })
}

/// The texts of the array at `key`.
pub(crate) fn texts<'a>(table: &'a DeTable<'_>, key: &str) -> Vec<Text<'a>> {
    let array = table.get(key).and_then(|value| value.get_ref().as_array());
    array
        .into_iter()
        .flat_map(|array| array.iter())
        .filter_map(as_text)
        .collect()
}

/// The table at `key` with its place.
pub(crate) fn table<'a, 'i>(
    table: &'a DeTable<'i>,
    key: &str,
) -> Option<(&'a DeTable<'i>, Range<usize>)> {
    let value = table.get(key)?;
    value
        .get_ref()
        .as_table()
        .map(|table| (table, value.span()))
}

/// The tables of the array at `key`, in order.
pub(crate) fn tables<'a, 'i>(
    table: &'a DeTable<'i>,
    key: &str,
) -> Vec<(&'a DeTable<'i>, Range<usize>)> {
    let array = table.get(key).and_then(|value| value.get_ref().as_array());
    array
        .into_iter()
        .flat_map(|array| array.iter())
        .filter_map(|value| Some((value.get_ref().as_table()?, value.span())))
        .collect()
}

/// The tables in the table at `key`, by name, in the order of the file.
pub(crate) fn named_tables<'a, 'i>(
    parent: &'a DeTable<'i>,
    key: &str,
) -> Vec<(Text<'a>, &'a DeTable<'i>)> {
    table(parent, key)
        .into_iter()
        .flat_map(|(table, _)| entries(table))
        .filter_map(|(name, value)| Some((key_text(name), value.get_ref().as_table()?)))
        .collect()
}

/// The entries of the table at `key` whose values are texts, in the order of the file.
pub(crate) fn text_entries<'a>(parent: &'a DeTable<'_>, key: &str) -> Vec<(Text<'a>, Text<'a>)> {
    table(parent, key)
        .into_iter()
        .flat_map(|(table, _)| entries(table))
        .filter_map(|(name, value)| Some((key_text(name), as_text(value)?)))
        .collect()
}

/// A key of the file as a text.
pub(crate) fn key_text<'a>(key: &'a Spanned<DeString<'_>>) -> Text<'a> {
    Text {
        text: key.get_ref(),
        span: key.span(),
    }
}

/// `true` or `false` at `key`.
pub(crate) fn bool_at(table: &DeTable<'_>, key: &str) -> Option<bool> {
    table.get(key).and_then(|value| value.get_ref().as_bool())
}

/// The duration at `key` in ns.
pub(crate) fn duration_ns(table: &DeTable<'_>, key: &str) -> Option<u64> {
    quantity::duration_ns(text(table, key)?.text).ok()
}

/// The rate at `key` in events per second.
pub(crate) fn rate_per_s(table: &DeTable<'_>, key: &str) -> Option<f64> {
    quantity::rate_per_s(text(table, key)?.text).ok()
}

/// The share at `key` as a fraction.
pub(crate) fn share(table: &DeTable<'_>, key: &str) -> Option<f64> {
    quantity::share(&number_text(table.get(key)?.get_ref())?).ok()
}

/// The size at `key` in bytes.
pub(crate) fn size_bytes(table: &DeTable<'_>, key: &str) -> Option<u64> {
    quantity::size_bytes(text(table, key)?.text).ok()
}

/// The whole number at `key`.
pub(crate) fn integer_at(table: &DeTable<'_>, key: &str) -> Option<i64> {
    table.get(key).and_then(|value| integer(value.get_ref()))
}

/// A value as a whole number of 64 bits.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The finite number at `key`.
pub(crate) fn number_at(table: &DeTable<'_>, key: &str) -> Option<f64> {
    number(table.get(key)?.get_ref())
}

/// A value as a finite number.
pub(crate) fn number(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        _ => integer(value)? as f64,
    };
    number.is_finite().then_some(number)
}

/// A value as a day; `None` where it is none of the calendar, or has a time as well.
pub(crate) fn date(value: &Value<'_>) -> Option<Date> {
    match value.get_ref().as_datetime()? {
        toml::value::Datetime {
            date: Some(date),
            time: None,
            offset: None,
        } => Date::new(
            i16::try_from(date.year).ok()?,
            i8::try_from(date.month).ok()?,
            i8::try_from(date.day).ok()?,
        )
        .ok(),
        _ => None,
    }
}

/// A quantity that may be written as a text or as a plain number, as text.
pub(crate) fn number_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(_) => integer(value).map(|number| number.to_string()),
        DeValue::Float(number) => {
            let number: f64 = number.as_str().parse().ok()?;
            Some(number.to_string())
        }
        _ => None,
    }
}

/// More levels of arrays and tables than this are a generated file or a hostile one; servers and
/// parsers of JSON refuse not many more.
pub(crate) const MAX_JSON_DEPTH: usize = 64;

/// Why a value can't be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// It holds a number that JSON doesn't have, or one of more than 64 bits.
    Number,
    /// It has more than [`MAX_JSON_DEPTH`] levels.
    TooDeep,
}

/// A value as JSON; a date becomes its text.
pub(crate) fn json(value: &DeValue<'_>) -> Result<serde_json::Value, NotJson> {
    json_within(value, MAX_JSON_DEPTH)
}

fn json_within(value: &DeValue<'_>, levels: usize) -> Result<serde_json::Value, NotJson> {
    let inside = || levels.checked_sub(1).ok_or(NotJson::TooDeep);
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(_) => integer(value).ok_or(NotJson::Number)?.into(),
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok();
            let number = number.and_then(serde_json::Number::from_f64);
            number.ok_or(NotJson::Number)?.into()
        }
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(array) => {
            let levels = inside()?;
            let values = array
                .iter()
                .map(|value| json_within(value.get_ref(), levels));
            values.collect::<Result<Vec<_>, _>>()?.into()
        }
        DeValue::Table(table) => {
            let levels = inside()?;
            let entries = table.iter().map(|(key, value)| {
                let value = json_within(value.get_ref(), levels)?;
                Ok((key.get_ref().to_string(), value))
            });
            entries
                .collect::<Result<serde_json::Map<_, _>, _>>()?
                .into()
        }
    })
}
