//! The first look at a parsed file: unknown and missing keys, wrong types, quantities without
//! units. It knows the shape of a file from [`keys`](super::keys) and nothing of what names mean;
//! after it, the second look reads values without complaining about their form again.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::keys::{Presence, Rule, Shape, TableSpec};
use super::problem::{Code, Problems};
use super::quantity;
use super::raw::{self, Value, entries, integer, number_text};

/// No name is longer: names become parts of file names and of metric paths.
const MAX_NAME: usize = 64;

/// Reports everything in `table` that isn't as `spec` says.
pub(crate) fn check(
    spec: &'static TableSpec,
    table: &DeTable<'_>,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) {
    for (key, value) in entries(table) {
        let name = key.get_ref().as_ref();
        match spec.key(name) {
            Some(key) => check_value(&key.shape, key.name, value, problems),
            None => {
                problems
                    .report(
                        Code::UnknownKey,
                        key.span(),
                        format!("unknown key `{name}` in {}", noun(spec)),
                        "not a key here",
                        "remove it",
                    )
                    .suggest(name, spec.names());
            }
        }
    }
    for key in spec.keys {
        if matches!(key.presence, Presence::Required) && !table.contains_key(key.name) {
            problems.report(
                Code::MissingKey,
                span.clone(),
                format!("{} needs `{}`", noun(spec), key.name),
                format!("`{}` is missing", key.name),
                key.description,
            );
        }
    }
    let before = problems.count();
    let mut lacks_all = false;
    // A key that has to go is not told what it lacks as well.
    let mut in_conflict: Vec<&str> = Vec::new();
    for rule in spec.rules {
        match rule {
            Rule::ExactlyOne(keys) | Rule::AtMostOne(keys) => {
                let so_far = problems.count();
                check_conflict(keys, spec, table, problems);
                if problems.count() > so_far {
                    in_conflict.extend(*keys);
                }
            }
            Rule::AtLeastOne(_) | Rule::Together(..) | Rule::Beside(..) => {}
        }
        match rule {
            Rule::ExactlyOne(keys) | Rule::AtLeastOne(keys) if !has_any(table, keys) => {
                // What goes with one of them needs not be said to be alone as well.
                lacks_all = true;
                let is_said = problems.count() > before || is_misspelt(spec, table, keys);
                if !is_said {
                    let exactly = matches!(rule, Rule::ExactlyOne(_));
                    report_none(keys, exactly, spec, span.clone(), problems);
                }
            }
            Rule::Together(one, other) => {
                check_beside(&[*one], &[*other], &in_conflict, spec, table, problems);
                check_beside(&[*other], &[*one], &in_conflict, spec, table, problems);
            }
            Rule::Beside(keys, others) if !lacks_all => {
                check_beside(keys, others, &in_conflict, spec, table, problems);
            }
            _ => {}
        }
    }
}

/// Whether a text can be the name of something.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
}

/// Reads `2xx` or `200-299` as an inclusive range of statuses.
pub(crate) fn status_range(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| {
        text.parse()
            .ok()
            .filter(|status| text.len() == 3 && (100..600).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..6).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (status(low)?, status(high)?),
        None => (status(text)?, status(text)?),
    };
    (low <= high).then_some((low, high))
}

fn has_any(table: &DeTable<'_>, keys: &[&str]) -> bool {
    keys.iter().any(|key| table.contains_key(*key))
}

/// Whether a table spells one of these keys wrong: it is told so, and not that it lacks them as well.
fn is_misspelt(spec: &TableSpec, table: &DeTable<'_>, keys: &[&str]) -> bool {
    entries(table).iter().any(|(key, _)| {
        let name = key.get_ref().as_ref();
        spec.key(name).is_none()
            && super::nearest::nearest(name, spec.names())
                .is_some_and(|nearest| keys.contains(&nearest))
    })
}

/// Says that none of the keys is there, of which one is needed.
fn report_none(
    keys: &[&str],
    exactly: bool,
    spec: &TableSpec,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) {
    let how_many = if exactly {
        "exactly one"
    } else {
        "at least one"
    };
    problems.report(
        Code::MissingKey,
        span,
        format!("{} needs {how_many} of {}", noun(spec), list(keys)),
        "none of them is here",
        format!("such as `{}`: {}", keys[0], meaning(spec, keys[0])),
    );
}

/// Reports all but the first of the keys that are there.
fn check_conflict(
    keys: &[&str],
    spec: &TableSpec,
    table: &DeTable<'_>,
    problems: &mut Problems<'_>,
) {
    let mut there = entries(table)
        .into_iter()
        .map(|(key, _)| key)
        .filter(|key| keys.contains(&key.get_ref().as_ref()));
    let Some(first) = there.next() else {
        return;
    };
    for other in there {
        problems
            .report(
                Code::ConflictingKeys,
                other.span(),
                format!(
                    "`{}` and `{}` can't stand together",
                    first.get_ref(),
                    other.get_ref()
                ),
                "only one of them",
                format!("{} takes one of {}", noun(spec), list(keys)),
            )
            .related(first.span(), "the other one");
    }
}

/// Reports each of the keys where none of the others is, but for those in conflict with another.
fn check_beside(
    keys: &[&str],
    others: &[&str],
    in_conflict: &[&str],
    spec: &TableSpec,
    table: &DeTable<'_>,
    problems: &mut Problems<'_>,
) {
    if has_any(table, others) || is_misspelt(spec, table, others) {
        return;
    }
    let (label, help) = match others {
        [other] => (format!("without `{other}`"), meaning(spec, other)),
        _ => (
            "without any of them".to_owned(),
            "remove it, or move it to where one of them is",
        ),
    };
    let needed = match others {
        [other] => format!("`{other}`"),
        _ => format!("one of {}", list(others)),
    };
    for key in keys.iter().filter(|key| !in_conflict.contains(key)) {
        if let Some((key, _)) = table.get_key_value(*key) {
            problems.report(
                Code::MissingKey,
                key.span(),
                format!("`{}` needs {needed} beside it", key.get_ref()),
                label.clone(),
                help,
            );
        }
    }
}

/// What a key is for.
fn meaning(spec: &TableSpec, key: &str) -> &'static str {
    spec.key(key).map_or("", |key| key.description)
}

fn check_value(shape: &'static Shape, key: &str, value: &Value<'_>, problems: &mut Problems<'_>) {
    let span = value.span();
    if !accepts(shape, value.get_ref()) {
        // What lacks only its unit is a quantity all the same, and is told about the unit.
        let is_number = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        let code = if is_number && matches!(shape, Shape::Duration | Shape::Rate | Shape::Size) {
            Code::WrongUnit
        } else {
            Code::WrongType
        };
        problems.report(
            code,
            span,
            format!(
                "`{key}` takes {}, not {}",
                describe(shape),
                a(value.get_ref().type_str())
            ),
            format!("expected {}", describe(shape)),
            example(shape),
        );
        return;
    }
    match (shape, value.get_ref()) {
        (Shape::Name, DeValue::String(text)) => check_name(text, span, problems),
        (Shape::Duration, DeValue::String(text)) => {
            quantity_problem(quantity::duration_ns(text), key, text, span, problems);
        }
        (Shape::Rate, DeValue::String(text)) => {
            quantity_problem(quantity::rate_per_s(text), key, text, span, problems);
        }
        (Shape::Size, DeValue::String(text)) => {
            quantity_problem(quantity::size_bytes(text), key, text, span, problems);
        }
        (Shape::Number, number) if raw::number(number).is_none() => {
            problems.report(
                Code::OutOfRange,
                span,
                format!("`{key}` must be a finite number"),
                "not a finite number",
                example(shape),
            );
        }
        (Shape::Share, value) => {
            let text = number_text(value).unwrap_or_default();
            quantity_problem(quantity::share(&text), key, &text, span, problems);
        }
        (Shape::Date, DeValue::Datetime(_)) if raw::date(value).is_none() => {
            problems.report(
                Code::WrongType,
                span,
                format!("`{key}` takes a day of the calendar, without a time"),
                "not a day",
                example(shape),
            );
        }
        (Shape::StatusText, DeValue::String(text)) if status_range(text).is_none() => {
            problems.report(
                Code::BadStatus,
                span,
                format!("`{text}` is no status"),
                "not a status",
                "write `200`, `\"2xx\"`, `\"200-299\"` or a list of them",
            );
        }
        (Shape::Integer(low, high), DeValue::Integer(_)) => {
            let number = integer(value.get_ref());
            if !number.is_some_and(|number| (*low..=*high).contains(&number)) {
                let bounds = if *high == i64::MAX {
                    format!("at least {low}")
                } else {
                    format!("{low} to {high}")
                };
                problems.report(
                    Code::OutOfRange,
                    span,
                    format!("`{key}` must be {bounds}"),
                    format!("not {bounds}"),
                    format!("write a whole number that is {bounds}"),
                );
            }
        }
        (Shape::Choice(words), DeValue::String(text)) if !words.contains(&text.as_ref()) => {
            problems
                .report(
                    Code::OutOfRange,
                    span,
                    format!("`{key}` can't be `{text}`"),
                    format!("expected {}", list(words)),
                    format!("write one of {}", list(words)),
                )
                .suggest(text, words.iter().copied());
        }
        (Shape::List(item, least, most), DeValue::Array(array)) => {
            if !(*least..=*most).contains(&array.len()) {
                let wanted = match (*least, *most) {
                    (least, most) if least == most => format!("{least} entries"),
                    (least, _) if array.len() < least => "at least one entry".to_owned(),
                    (_, most) => format!("at most {most} entries"),
                };
                problems.report(
                    Code::OutOfRange,
                    span,
                    format!("`{key}` must have {wanted}"),
                    format!("{} here", array.len()),
                    format!("write {wanted} between the brackets"),
                );
            }
            for value in array {
                check_value(item, key, value, problems);
            }
        }
        (Shape::Table(spec), DeValue::Table(table)) => check(spec, table, span, problems),
        (Shape::Map(item), DeValue::Table(table)) => {
            for (name, value) in entries(table) {
                check_name(name.get_ref(), name.span(), problems);
                check_value(item, name.get_ref(), value, problems);
            }
        }
        (Shape::TextMap(item), DeValue::Table(table)) => {
            for (name, value) in entries(table) {
                check_value(item, name.get_ref(), value, problems);
            }
        }
        (Shape::Either(shapes), _) => {
            let fitting = shapes
                .iter()
                .find(|shape| accepts(shape, value.get_ref()))
                .expect("BUG: `accepts` of an `Either` is that of one of its shapes");
            check_value(fitting, key, value, problems);
        }
        _ => {}
    }
}

/// Whether a value has the TOML type that a shape is written in.
fn accepts(shape: &Shape, value: &DeValue<'_>) -> bool {
    match shape {
        Shape::Text | Shape::Name | Shape::Duration | Shape::Rate | Shape::Size => value.is_str(),
        Shape::Number => value.is_integer() || value.is_float(),
        Shape::Date => value.is_datetime(),
        Shape::StatusText | Shape::Choice(_) => value.is_str(),
        Shape::Share | Shape::Limit => value.is_str() || value.is_integer() || value.is_float(),
        Shape::Integer(..) => value.is_integer(),
        Shape::Bool => value.is_bool(),
        Shape::List(..) => value.is_array(),
        Shape::Table(_) | Shape::Map(_) | Shape::TextMap(_) => value.is_table(),
        Shape::Json => value.is_str() || value.is_array() || value.is_table(),
        Shape::Any => true,
        Shape::Either(shapes) => shapes.iter().any(|shape| accepts(shape, value)),
    }
}

fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Name | Shape::StatusText | Shape::Choice(_) => "a text".to_owned(),
        Shape::Duration => "a duration".to_owned(),
        Shape::Rate => "a rate".to_owned(),
        Shape::Size => "a size".to_owned(),
        Shape::Number => "a number".to_owned(),
        Shape::Date => "a date".to_owned(),
        Shape::Share => "a share".to_owned(),
        Shape::Limit => "a limit".to_owned(),
        Shape::Integer(..) => "a whole number".to_owned(),
        Shape::Bool => "true or false".to_owned(),
        Shape::List(..) => "an array".to_owned(),
        Shape::Table(_) | Shape::Map(_) | Shape::TextMap(_) => "a table".to_owned(),
        Shape::Json => "a table, an array or a text".to_owned(),
        Shape::Any => "any value".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(describe).collect::<Vec<_>>().join(" or "),
    }
}

/// How such a value is written.
fn example(shape: &Shape) -> String {
    let example = match shape {
        Shape::Text | Shape::Name | Shape::StatusText | Shape::Choice(_) => "write it in quotes",
        Shape::Duration => "write it with its unit: `\"500ms\"`, `\"30s\"`",
        Shape::Rate => "write it with its unit: `\"500/s\"`, `\"30/min\"`",
        Shape::Size => "write it with its unit: `\"512KiB\"`",
        Shape::Number => "write it without quotes: `3`, `0.5`",
        Shape::Date => "write it without quotes: `2026-12-31`",
        Shape::Share => "write `\"5%\"` or `0.05`",
        Shape::Limit => "write it with its unit: `\"500ms\"`, `\"1%\"`",
        Shape::Integer(..) => "write it without quotes and without a point",
        Shape::Bool => "write `true` or `false`, without quotes",
        Shape::List(Shape::Table(_), ..) => "write `[[…]]` with two brackets, once an entry",
        Shape::List(..) => "write `[…, …]`",
        Shape::Table(_) | Shape::Map(_) | Shape::TextMap(_) => {
            "write `{ … = … }`, or `[…]` above its keys"
        }
        Shape::Json => "write `{ … = … }`, `[…, …]` or a text in quotes",
        Shape::Any => "write any value",
        Shape::Either(shapes) => {
            return shapes.iter().map(example).collect::<Vec<_>>().join("; or ");
        }
    };
    example.to_owned()
}

fn check_name(name: &str, span: Range<usize>, problems: &mut Problems<'_>) {
    if !is_name(name) {
        problems
            .report(
                Code::BadName,
                span,
                format!("`{}` can't be a name", name),
                "not a name", format!(
                "a name has letters, digits, `_` and `-`, at most {MAX_NAME} of them, and doesn't begin with `-`"
            ));
    }
}

fn quantity_problem<T>(
    read: Result<T, quantity::Expected>,
    key: &str,
    text: &str,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) {
    if let Err(expected) = read {
        problems.report(
            Code::WrongUnit,
            span,
            format!("`{key}` can't be `{}`", text),
            "not understood",
            expected,
        );
    }
}

/// A table in a message.
fn noun(spec: &TableSpec) -> String {
    match spec.name {
        "scenario" => "the scenario".to_owned(),
        "waivers" => "the file of waivers".to_owned(),
        "open_stage" | "closed_stage" => "a stage".to_owned(),
        "mix_open" => "`open`".to_owned(),
        "condition" | "part" | "branch" => format!("a {}", spec.name),
        "times" => "`repeat`".to_owned(),
        name => format!("`{name}`"),
    }
}

fn a(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_range() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            assert_eq!(status_range(text), expected, "{text}");
        };
        check("2xx", Some((200, 299)));
        check("200-299", Some((200, 299)));
        check("404", Some((404, 404)));
        for wrong in [
            "", "xx", "6xx", "22xx", "299-200", "99", "600", "200-", "ok", "+20",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_name_is_safe_in_paths_and_templates() {
        for name in ["reads", "a-b_c", "9lives", "_"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a.b", "a/b", "a b", "é", "..", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
