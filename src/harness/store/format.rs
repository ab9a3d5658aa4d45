//! Run ↔ JSON text, with the format's version looked at before anything else.

use serde::Deserialize;

use crate::harness::model::{RUN_FORMAT, Run};

/// A text is of another format than the one that was expected, or of a newer version of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Made by a newer Plimsoll.
    #[error("its format is `{found}`, this Plimsoll knows `{known}`; use the newer one to read it")]
    Newer {
        /// What it says of itself.
        found: String,
        /// What we know.
        known: &'static str,
    },
    /// Something else.
    #[error("its format is `{found}`, expected `{known}`")]
    Foreign {
        /// What it says of itself, cut short.
        found: String,
        /// What we know.
        known: &'static str,
    },
}

/// Why a text is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another format or a newer version.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Not JSON, or not of the shape that its format has.
    #[error("it can't be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It reads back as something else: a number that JSON doesn't have, such as NaN.
    #[error("it doesn't survive being written as JSON; is one of its numbers not finite?")]
    NotFinite,
}

/// The part of a text that says what it is.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Checks what `text` says of itself against `known`, such as `plimsoll.run/1`, before the rest of
/// it is looked at: a newer version may have another shape.
pub fn check(text: &str, known: &'static str) -> Result<(), DecodeError> {
    let Head { schema } = serde_json::from_str(text)?;
    Ok(check_name(&schema, known)?)
}

/// As [`check`], for the name alone.
pub(super) fn check_name(found: &str, known: &'static str) -> Result<(), FormatError> {
    if found == known {
        return Ok(());
    }
    let version = |name: &str| {
        let (family, version) = name.rsplit_once('/')?;
        Some((family.to_owned(), version.parse::<u32>().ok()?))
    };
    let newer = match (version(found), version(known)) {
        (Some(found), Some(known)) => found.0 == known.0 && found.1 > known.1,
        _ => false,
    };
    let found = found.chars().take(80).collect();
    Err(if newer {
        FormatError::Newer { found, known }
    } else {
        FormatError::Foreign { found, known }
    })
}

/// A run as JSON text on one line. It is read back before it is handed out, because a run that
/// can't be read later must be refused while it is still there.
pub(super) fn encode_run(run: &Run) -> Result<String, DecodeError> {
    let text = serde_json::to_string(run)?;
    match decode_run(&text) {
        Ok(read) if read == *run => Ok(text),
        Err(error @ DecodeError::Format(_)) => Err(error),
        Ok(_) | Err(_) => Err(DecodeError::NotFinite),
    }
}

/// Reads what [`encode_run`] wrote.
pub(super) fn decode_run(text: &str) -> Result<Run, DecodeError> {
    check(text, RUN_FORMAT)?;
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::model::{ArrivalModel, LoadMeasurement, RequestSeries, RunId};

    #[test]
    fn a_newer_version_is_told_from_another_format() {
        let known = "plimsoll.run/1";
        let error = |found: &str| check_name(found, known).unwrap_err();
        assert_eq!(check_name(known, known), Ok(()));
        assert!(matches!(error("plimsoll.run/2"), FormatError::Newer { .. }));
        assert!(matches!(
            error("plimsoll.run/12"),
            FormatError::Newer { .. }
        ));
        assert!(matches!(
            error("plimsoll.run/0"),
            FormatError::Foreign { .. }
        ));
        assert!(matches!(
            error("plimsoll.verdict/2"),
            FormatError::Foreign { .. }
        ));
        assert!(matches!(error(""), FormatError::Foreign { .. }));
    }

    #[test]
    fn the_version_is_looked_at_before_the_shape() {
        let error =
            decode_run(r#"{"schema": "plimsoll.run/2", "id": {"new": "shape"}}"#).unwrap_err();
        assert!(
            matches!(error, DecodeError::Format(FormatError::Newer { .. })),
            "{error}"
        );
    }

    #[test]
    fn a_run_that_was_kept_before_its_loads_had_groups_and_shards_is_read() {
        let mut run = Run::imported(RunId::now(), "s".into(), vec![]);
        run.measurement.loads.push(LoadMeasurement {
            requests: vec![RequestSeries::new("GET /")],
            ..LoadMeasurement::new("reads", "f", ArrivalModel::Closed)
        });
        let mut kept = serde_json::to_value(&run).unwrap();
        let mut forget = |place: &str, fields: &[&str]| {
            let place = kept.pointer_mut(place).unwrap().as_object_mut().unwrap();
            for field in fields {
                assert!(place.remove(*field).is_some(), "{field}");
            }
        };
        forget("", &["aborted", "warnings"]);
        let load = "/measurement/loads/0";
        forget(
            load,
            &["groups", "users", "connections", "capacity", "shards"],
        );
        forget(&format!("{load}/requests/0"), &["retries", "redirects"]);
        forget(&format!("{load}/generator"), &["exhausted_feeds"]);
        assert_eq!(decode_run(&kept.to_string()).unwrap(), run);
    }

    #[test]
    fn what_is_no_run_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "{\"schema\": 1}",
            "{\"schema\": \"plimsoll.run/1\"}",
        ] {
            assert!(decode_run(text).is_err(), "{text}");
        }
    }
}
