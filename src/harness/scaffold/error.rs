//! Why nothing can be written.

use super::text::shown;

/// Why a document or a wish gives no scenario. Texts of a document are cut short and hold no control
/// character of theirs.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScaffoldError {
    /// It is more than is read.
    #[error("it has more than {} MiB", .limit_bytes >> 20)]
    TooLarge {
        /// How much is read, in bytes.
        limit_bytes: usize,
    },
    /// It is neither JSON nor YAML.
    #[error("it can't be read: {0}")]
    Syntax(String),
    /// It is something else.
    #[error("it is no {expected}: {reason}")]
    OtherFormat {
        /// What it should be.
        expected: &'static str,
        /// What is missing.
        reason: String,
    },
    /// Nothing of it can be driven.
    #[error("nothing in it can be driven{}", list(.reasons))]
    NothingToDrive {
        /// What was left out, and why.
        reasons: Vec<String>,
    },
    /// Nothing says where the loads are sent.
    #[error("nothing here says how the service starts")]
    NoTarget {
        /// What was found instead.
        reasons: Vec<String>,
    },
    /// A command that is never told its port.
    #[error("nothing tells `{0}` its port")]
    NoPort(String),
    /// An option that can't be used.
    #[error("{option} {value}: {reason}")]
    BadWish {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ScaffoldError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::TooLarge { .. } => {
                "name a smaller document, with the part that is to be driven".to_owned()
            }
            Self::Syntax(_) => "an OpenAPI document is JSON or YAML, a HAR file is JSON".to_owned(),
            Self::OtherFormat { expected, .. } => match *expected {
                "HAR file" => "save it from the network panel of a browser (HAR 1.2)".to_owned(),
                _ => "OpenAPI 3.0 and 3.1 and Swagger 2.0 are read".to_owned(),
            },
            Self::NothingToDrive { .. } => {
                "name another document, or take along what writes: --writes".to_owned()
            }
            Self::NoTarget { reasons } => {
                let found = reasons.iter().map(|reason| format!("{reason}\n        "));
                format!(
                    "{}say it: --start 'COMMAND --port {{port}}' where its command line takes the port, --start COMMAND --port PORT where a \
                     variable of that name does, or --url http://127.0.0.1:8080 for a server that is there already",
                    found.collect::<String>()
                )
            }
            Self::NoPort(_) => {
                "write {port} where its command line takes it, name the variable that holds it (--port PORT), or start it yourself and \
                 give --url"
                    .to_owned()
            }
            Self::BadWish { option, .. } => match *option {
                "--url" => "write scheme, host and port: --url http://127.0.0.1:8080".to_owned(),
                "--rate" => "write iterations per time: --rate 100/s".to_owned(),
                "--name" => "use letters, digits, `_` and `-`, at most 40 of them".to_owned(),
                "--action" => {
                    "write where Plimsoll's repository is on GitHub, and the hash of a commit: --action OWNER/REPOSITORY@COMMIT".to_owned()
                }
                "--path" => "write a path such as --path /products".to_owned(),
                _ => "--port PORT is a variable's name, --port 8080 the port that stands in --start".to_owned(),
            },
        }
    }

    /// A wish that can't be fulfilled.
    pub(super) fn wish(option: &'static str, value: &str, reason: impl Into<String>) -> Self {
        Self::BadWish {
            option,
            value: shown(value),
            reason: reason.into(),
        }
    }
}

/// The first few of them.
fn list(reasons: &[String]) -> String {
    let first = reasons.iter().take(5);
    first.map(|reason| format!("\n  {reason}")).collect()
}
