//! Which dialect a document speaks.

use serde_json::Value;

use crate::harness::scaffold::error::ScaffoldError;
use crate::harness::scaffold::text::shown;

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Swagger 2.0.
    Two,
    /// OpenAPI 3.0, 3.1 and later ones of 3.
    Three,
}

impl Dialect {
    /// That of a document.
    pub(super) fn of(root: &Value) -> Result<Self, ScaffoldError> {
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
            (Some(version), _) if version.starts_with("3.") || version == "3" => Ok(Self::Three),
            (None, Some(version)) if version.starts_with('2') => Ok(Self::Two),
            (Some(version), _) | (None, Some(version)) => {
                Err(other(format!("version {} is not known", shown(&version))))
            }
            (None, None) => Err(other("it has neither `openapi` nor `swagger`".to_owned())),
        }
    }
}
