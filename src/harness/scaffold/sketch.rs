//! A scenario before it is text.

use std::collections::BTreeSet;

use super::text::{Template, shown};

/// Names stand in metric paths and in tables; the scenario format allows a few more bytes.
const MAX_NAME_BYTES: usize = 150;

/// Methods that a step can have, and whether they only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(super) const ALL: [Self; 6] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
    ];

    /// By its name, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is_named = |method: &Self| method.key().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_named)
    }

    /// As it is sent.
    pub(super) fn name(self) -> String {
        self.key().to_ascii_uppercase()
    }

    /// The key of a step.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Whether it asks for nothing to be changed: RFC 9110, section 9.2.1.
    pub(super) fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// Who sends a request. Nothing of it is a value: they come from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Auth {
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
    /// A header that holds a key or whatever else says who it is.
    Header {
        name: String,
        value: Template,
    },
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// JSON text.
    Json(Template),
    /// Fields, each once.
    Form(Vec<(String, Template)>),
    Text(Template),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: Template,
    /// Under which it is counted, where not under its path.
    pub(super) name: Option<String>,
    pub(super) headers: Vec<(String, Template)>,
    pub(super) auth: Option<Auth>,
    pub(super) body: Option<Body>,
    /// What a check of the status is written as: `200`, `"2xx"`.
    pub(super) status: Vec<String>,
    /// How long the user waits after it, in ms.
    pub(super) think_ms: u64,
}

/// How the steps of a flow belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// One after the other.
    InOrder,
    /// Any one of them.
    AnyOne,
}

/// A flow and its load, which have the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) name: String,
    /// A sentence over it.
    pub(super) about: String,
    pub(super) course: Course,
    /// At least one.
    pub(super) steps: Vec<Step>,
}

impl Flow {
    /// How many requests an iteration makes.
    pub(super) fn requests(&self) -> usize {
        match self.course {
            Course::InOrder => self.steps.len(),
            Course::AnyOne => 1,
        }
    }

    /// How long its users wait between steps, in ms.
    pub(super) fn think_ms(&self) -> u64 {
        self.steps.iter().map(|step| step.think_ms).sum()
    }
}

/// A value that the document doesn't say, as a column of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// What stands there until somebody fills it in.
    pub(super) placeholder: String,
}

/// What a document became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    pub(super) flows: Vec<Flow>,
    /// The columns of the feed [`FEED`].
    pub(super) columns: Vec<Column>,
    /// The server that it names: scheme, host and port.
    pub(super) server: Option<String>,
    /// Variables of the environment that its flows need.
    pub(super) secrets: BTreeSet<String>,
    /// What was left out or changed, a sentence each.
    pub(super) notes: Vec<String>,
}

impl Imported {
    /// How many requests there are in its flows.
    pub fn requests(&self) -> usize {
        self.flows.iter().map(|flow| flow.steps.len()).sum()
    }
}

/// The feed of values that a document doesn't say.
pub(super) const FEED: &str = "values";

/// The name under which requests to `path` are counted, where what is written for it would make a long one or one with
/// values in it: short, plain, and none that would make another's metrics ambiguous.
pub(super) fn request_name(method: Method, path: &str, written: &Template) -> Option<String> {
    if written.as_str() == path && path.len() <= MAX_NAME_BYTES && !path.ends_with(".service") {
        return None;
    }
    let mut name = String::new();
    for char in shown(&format!("{} {path}", method.name())).chars() {
        if name.len() + char.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        name.push(char);
    }
    Some(match name.strip_suffix(".service") {
        Some(front) => format!("{front}-service"),
        None => name,
    })
}
