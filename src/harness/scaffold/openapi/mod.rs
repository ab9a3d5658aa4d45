//! OpenAPI 3.0 and 3.1 and Swagger 2.0, as a flow of their operations.
//!
//! What only reads is taken, in the order of the paths; what writes is taken where the caller asks for it. Values come from examples, defaults and enumerations; what none of them says becomes a column of
//! a feed that somebody fills in. References are followed within the document only.

mod operation;
mod security;
mod server;
mod value;

use serde_json::Value;

use super::document::Document;
use super::error::ScaffoldError;
use super::sketch::{Course, Flow, Imported, Method};
use super::text::shown;
use operation::Operations;

/// A larger document is refused. GitHub's own, one of the largest there is, has 12 MB.
pub const MAX_OPENAPI_BYTES: usize = 16 << 20;
/// A flow of more is not read by anyone; metrics are kept for each.
const MAX_OPERATIONS: usize = 50;
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// Which dialect a document speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Swagger 2.0.
    Two,
    /// OpenAPI 3.0, 3.1 and later ones of 3.
    Three,
}

/// Turns a document into the flow of a scenario named `scenario`. `writes`: also what changes something.
///
/// # Errors
/// Where it is none, is too large, or holds nothing that can be driven.
pub fn read_openapi(text: &str, scenario: &str, writes: bool) -> Result<Imported, ScaffoldError> {
    let document = Document::read(text, MAX_OPENAPI_BYTES)?;
    let dialect = dialect(document.root())?;
    let mut operations = Operations::new(&document, dialect, scenario);
    let mut steps = Vec::new();
    let mut writing = 0_usize;
    let mut beyond = 0_usize;
    let mut broken = Vec::new();
    for (path, item) in paths(&document)? {
        let item = match document.resolve(item) {
            Ok(item) => item,
            Err(error) => {
                broken.push(format!("{}: {error}", shown(path)));
                continue;
            }
        };
        for key in METHODS {
            let Some(operation) = item.get(key).filter(|operation| operation.is_object()) else {
                continue;
            };
            let Some(method) = Method::named(key).filter(|method| *method != Method::Options)
            else {
                continue;
            };
            if !method.is_safe() && !writes {
                writing += 1;
            } else if steps.len() == MAX_OPERATIONS {
                beyond += 1;
            } else {
                match operations.step(method, path, item, operation) {
                    Ok(step) => steps.push(step),
                    Err(error) => broken.push(format!(
                        "{} {}: {error}",
                        key.to_ascii_uppercase(),
                        shown(path)
                    )),
                }
            }
        }
    }
    if steps.is_empty() {
        if writing > 0 {
            broken.push(left_out_writes(writing));
        }
        return Err(ScaffoldError::NothingToDrive { reasons: broken });
    }
    let mut notes = operations.notes();
    if writing > 0 {
        notes.push(left_out_writes(writing));
    }
    if beyond > 0 {
        notes.push(format!(
            "left out: operations beyond the first {MAX_OPERATIONS} ({beyond})"
        ));
    }
    let left_out = broken.len();
    notes.extend(
        broken
            .into_iter()
            .take(5)
            .map(|reason| format!("left out: {reason}")),
    );
    if left_out > 5 {
        notes.push(format!(
            "left out for such reasons: more operations ({})",
            left_out - 5
        ));
    }
    let count = steps.len();
    let flow = Flow {
        name: "api".to_owned(),
        about: match count {
            1 => "The operation of the document.".to_owned(),
            _ => format!("Each iteration asks for one of {count} operations, by weight."),
        },
        course: match count {
            1 => Course::InOrder,
            _ => Course::AnyOne,
        },
        steps,
    };
    Ok(Imported {
        flows: vec![flow],
        columns: operations.columns,
        server: operations.server.origin,
        secrets: operations.secrets,
        notes,
    })
}

fn left_out_writes(count: usize) -> String {
    format!("left out: operations that write ({count}; --writes takes them along)")
}

fn dialect(root: &Value) -> Result<Dialect, ScaffoldError> {
    let other = |reason: String| ScaffoldError::OtherFormat {
        expected: "OpenAPI document",
        reason,
    };
    // YAML without quotes makes a number of `2.0`.
    let version = |key: &str| match root.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match (version("openapi"), version("swagger")) {
        (Some(version), _) if version.starts_with("3.") || version == "3" => Ok(Dialect::Three),
        (None, Some(version)) if version.starts_with('2') => Ok(Dialect::Two),
        (Some(version), _) | (None, Some(version)) => {
            Err(other(format!("version {} is not known", shown(&version))))
        }
        (None, None) => Err(other("it has neither `openapi` nor `swagger`".to_owned())),
    }
}

fn paths(document: &Document) -> Result<impl Iterator<Item = (&str, &Value)>, ScaffoldError> {
    let paths = document.root().get("paths").and_then(Value::as_object);
    let paths = paths.ok_or_else(|| ScaffoldError::OtherFormat {
        expected: "OpenAPI document",
        reason: "it has no `paths`".to_owned(),
    })?;
    // Extensions stand among them.
    let paths = paths.iter().filter(|(path, _)| path.starts_with('/'));
    Ok(paths.map(|(path, item)| (path.as_str(), item)))
}

#[cfg(test)]
mod tests;
