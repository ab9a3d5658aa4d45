//! A document as the flow of its operations.

use serde_json::Value;

use super::dialect::Dialect;
use super::operation::Operations;
use crate::harness::scaffold::document::Document;
use crate::harness::scaffold::error::ScaffoldError;
use crate::harness::scaffold::sketch::{Course, Flow, Imported, Method};
use crate::harness::scaffold::text::shown;

/// A larger document is refused. GitHub's own, one of the largest there is, has 12 MB.
pub const MAX_OPENAPI_BYTES: usize = 16 << 20;
/// A flow of more is not read by anyone; metrics are kept for each.
const MAX_OPERATIONS: usize = 50;
/// So many reasons for leaving something out are told.
const TOLD_REASONS: usize = 5;

/// Turns a document into the flow of a scenario named `scenario`. `writes`: also what changes something.
///
/// # Errors
/// Where it is none, is too large, or holds nothing that can be driven.
pub fn read_openapi(text: &str, scenario: &str, writes: bool) -> Result<Imported, ScaffoldError> {
    let document = Document::read(text, MAX_OPENAPI_BYTES)?;
    let dialect = Dialect::of(document.root())?;
    let mut operations = Operations::new(&document, dialect, scenario);
    let mut steps = Vec::new();
    let mut left = Left::default();
    for (path, item) in paths(&document)? {
        let item = match document.resolve(item) {
            Ok(item) => item,
            Err(error) => {
                left.broken.push(format!("{}: {error}", shown(path)));
                continue;
            }
        };
        for method in Method::ALL {
            let Some(operation) = item
                .get(method.key())
                .filter(|operation| operation.is_object())
            else {
                continue;
            };
            if !method.is_safe() && !writes {
                left.writes += 1;
            } else if steps.len() == MAX_OPERATIONS {
                left.beyond += 1;
            } else {
                match operations.step(method, path, item, operation) {
                    Ok(step) => steps.push(step),
                    Err(error) => {
                        let place = format!("{} {}", method.name(), shown(path));
                        left.broken.push(format!("{place}: {error}"));
                    }
                }
            }
        }
    }
    if steps.is_empty() {
        return Err(ScaffoldError::NothingToDrive {
            reasons: left.reasons(),
        });
    }
    let mut notes = operations.notes();
    let reasons = left.reasons().into_iter();
    notes.extend(reasons.map(|reason| format!("left out: {reason}")));
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

/// What was left out.
#[derive(Debug, Default)]
struct Left {
    writes: usize,
    beyond: usize,
    broken: Vec<String>,
}

impl Left {
    /// What, and why.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.writes > 0 {
            reasons.push(format!(
                "operations that write ({}; --writes takes them along)",
                self.writes
            ));
        }
        if self.beyond > 0 {
            reasons.push(format!(
                "operations beyond the first {MAX_OPERATIONS} ({})",
                self.beyond
            ));
        }
        reasons.extend(self.broken.iter().take(TOLD_REASONS).cloned());
        if self.broken.len() > TOLD_REASONS {
            let more = self.broken.len() - TOLD_REASONS;
            reasons.push(format!("for such reasons more operations ({more})"));
        }
        reasons
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
