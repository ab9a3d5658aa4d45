//! What a virtual user does: steps, what is sent, what must come back, how long the user waits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{FilePlan, Part, Template};

/// How long an answer may take where the scenario doesn't say.
pub(crate) const DEFAULT_TIMEOUT_NS: u64 = 30_000_000_000;

/// The steps that one virtual user performs; one pass is an iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowPlan {
    /// In order; at least one, and at least one request or stream among them.
    pub steps: Vec<StepPlan>,
    /// How long cookies are kept.
    pub cookies: CookieScope,
}

impl FlowPlan {
    /// A flow of these steps with every default.
    pub fn new(steps: Vec<StepPlan>) -> Self {
        Self {
            steps,
            cookies: CookieScope::Iteration,
        }
    }

    /// Every step in the order of the file, those inside of other steps after the step that holds
    /// them.
    pub fn all_steps(&self) -> Vec<&StepPlan> {
        let mut all = Vec::new();
        gather(&self.steps, &mut all);
        all
    }

    /// Everything that has a request name, in the order of the file, names that come again included:
    /// requests, streams that are opened, messages that are waited for.
    pub fn request_names(&self) -> impl Iterator<Item = &str> {
        self.all_steps().into_iter().filter_map(|step| match step {
            StepPlan::Request(request) => Some(request.name.as_str()),
            StepPlan::Open(open) => Some(open.name.as_str()),
            StepPlan::Expect(expect) => Some(expect.name.as_str()),
            _ => None,
        })
    }

    /// The names of groups in the order of the file, names that come again included.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.all_steps().into_iter().filter_map(|step| match step {
            StepPlan::Group { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// Everything in it that is filled with values.
    pub fn templates(&self) -> Vec<&Template> {
        let steps = self.all_steps();
        steps.into_iter().flat_map(StepPlan::templates).collect()
    }

    /// The names of the feeds that it draws from.
    pub fn feed_names(&self) -> BTreeSet<&str> {
        let parts = self.templates().into_iter().flat_map(|it| &it.parts);
        let feeds = parts.filter_map(|part| match part {
            Part::Feed { feed, .. } => Some(feed.as_str()),
            _ => None,
        });
        feeds.collect()
    }
}

fn gather<'a>(steps: &'a [StepPlan], all: &mut Vec<&'a StepPlan>) {
    for step in steps {
        all.push(step);
        for inner in step.inner() {
            gather(inner, all);
        }
    }
}

/// How long the cookies that a server sets are sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CookieScope {
    /// To the end of the iteration: each is another visitor.
    Iteration,
    /// For the user's life.
    User,
    /// Not at all.
    None,
}

/// One step of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepPlan {
    /// A request with its checks and extractions.
    Request(Box<RequestPlan>),
    /// A WebSocket or a stream of server-sent events is opened; an iteration has one at a time.
    Open(Box<OpenPlan>),
    /// A text message is sent over the open WebSocket. The time it takes is not measured.
    Send(Template),
    /// A message of the open stream is waited for.
    Expect(Box<ExpectPlan>),
    /// The open stream is closed.
    Close,
    /// The user waits.
    Think(ThinkPlan),
    /// Steps whose time together, pauses included, is a metric of its own.
    Group {
        /// The name in metrics.
        name: String,
        /// What belongs to it.
        steps: Vec<StepPlan>,
    },
    /// Steps that are performed several times.
    Repeat {
        /// How often; with `until`, at most.
        times: TimesPlan,
        /// Looked at after each pass: it ends the loop where it holds. Where it never did, the
        /// iteration fails.
        until: Option<ConditionPlan>,
        /// What is repeated.
        steps: Vec<StepPlan>,
    },
    /// Steps under a condition.
    If {
        /// The condition.
        condition: ConditionPlan,
        /// Performed where it holds.
        then: Vec<StepPlan>,
        /// Performed where it doesn't.
        otherwise: Vec<StepPlan>,
    },
    /// One of several ways to go on, at random (seeded).
    Choose(Vec<BranchPlan>),
}

impl From<RequestPlan> for StepPlan {
    fn from(request: RequestPlan) -> Self {
        Self::Request(Box::new(request))
    }
}

impl StepPlan {
    /// The lists of steps inside of it.
    pub fn inner(&self) -> Vec<&[StepPlan]> {
        match self {
            Self::Group { steps, .. } | Self::Repeat { steps, .. } => vec![steps],
            Self::If {
                then, otherwise, ..
            } => vec![then, otherwise],
            Self::Choose(branches) => branches.iter().map(|branch| &*branch.steps).collect(),
            Self::Request(_)
            | Self::Open(_)
            | Self::Send(_)
            | Self::Expect(_)
            | Self::Close
            | Self::Think(_) => Vec::new(),
        }
    }

    /// Everything in it that is filled with values, but for what is in the steps inside of it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Request(request) => request.templates(),
            Self::Open(open) => open.address.templates(),
            Self::Send(text) => vec![text],
            Self::Repeat { until, .. } => until.iter().flat_map(ConditionPlan::templates).collect(),
            Self::If { condition, .. } => condition.templates(),
            Self::Expect(_)
            | Self::Close
            | Self::Think(_)
            | Self::Group { .. }
            | Self::Choose(_) => Vec::new(),
        }
    }
}

/// Where a request goes, and what its head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPlan {
    /// Path below the target, perhaps with a query; it begins with `/`.
    pub path: Template,
    /// Added to the query of the path, in order, percent-encoded.
    pub query: Vec<(String, Template)>,
    /// Headers, in order: those of the step, then those of the flow that the step doesn't set.
    pub headers: Vec<(String, Template)>,
    /// What the `authorization` header says.
    pub auth: Option<AuthPlan>,
}

impl AddressPlan {
    /// Everything in it that is filled with values.
    pub fn templates(&self) -> Vec<&Template> {
        let of_auth = self.auth.iter().flat_map(AuthPlan::templates);
        let pairs = self.query.iter().chain(&self.headers);
        [&self.path]
            .into_iter()
            .chain(pairs.map(|(_, template)| template))
            .chain(of_auth)
            .collect()
    }
}

/// What the `authorization` header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPlan {
    /// RFC 7617.
    Basic {
        /// The user; no colon in it.
        user: Template,
        /// The password.
        password: Template,
    },
    /// RFC 6750.
    Bearer(Template),
}

impl AuthPlan {
    /// Everything in it that is filled with values.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Basic { user, password } => vec![user, password],
            Self::Bearer(token) => vec![token],
        }
    }
}

/// A request with its checks and extractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestPlan {
    /// The request name in metrics: `name`, or else method and path template as they were written.
    pub name: String,
    /// The HTTP method, in capitals.
    pub method: String,
    /// Where it goes.
    pub address: AddressPlan,
    /// The body.
    pub body: Option<BodyPlan>,
    /// How long it may take to the last byte, redirects and retries included, in ns.
    pub timeout_ns: u64,
    /// How many redirects are followed; they belong to the request.
    pub redirects: u32,
    /// What is tried again; attempts belong to the request.
    pub retry: Option<RetryPlan>,
    /// What must hold of the answer.
    pub check: CheckPlan,
    /// Values for later steps, by name.
    pub extract: BTreeMap<String, ExtractPlan>,
    /// How long the user waits after it.
    pub think: Option<ThinkPlan>,
}

impl RequestPlan {
    /// A GET of that path, which may hold no values, with every default.
    pub fn get(path: &str) -> Self {
        Self {
            name: format!("GET {path}"),
            method: "GET".to_owned(),
            address: AddressPlan {
                path: Template::literal(path),
                query: Vec::new(),
                headers: Vec::new(),
                auth: None,
            },
            body: None,
            timeout_ns: DEFAULT_TIMEOUT_NS,
            redirects: 0,
            retry: None,
            check: CheckPlan::default(),
            extract: BTreeMap::new(),
            think: None,
        }
    }

    /// Everything in it that is filled with values.
    pub fn templates(&self) -> Vec<&Template> {
        let mut templates = self.address.templates();
        match &self.body {
            None | Some(BodyPlan::File(_)) => {}
            Some(BodyPlan::Json(template) | BodyPlan::Text(template)) => templates.push(template),
            Some(BodyPlan::Form(fields)) => {
                templates.extend(fields.iter().map(|(_, template)| template));
            }
            Some(BodyPlan::Multipart(parts)) => {
                templates.extend(parts.iter().filter_map(|part| match &part.content {
                    PartContent::Text(template) => Some(template),
                    PartContent::File(_) => None,
                }));
            }
        }
        templates
    }
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyPlan {
    /// JSON text, sent as `application/json`; values are escaped as JSON strings' insides.
    Json(Template),
    /// Any text, sent as `text/plain` unless a header says otherwise.
    Text(Template),
    /// A form, sent as `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    /// The bytes of a file, sent as `application/octet-stream` unless a header says otherwise.
    File(FilePlan),
    /// Several parts, sent as `multipart/form-data`.
    Multipart(Vec<PartPlan>),
}

/// A part of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlan {
    /// The name of the field.
    pub name: String,
    /// The name of the file that the server is told; `None` for a part that is no file.
    pub filename: Option<String>,
    /// Its media type; `None` leaves it out.
    pub content_type: Option<String>,
    /// What is sent.
    pub content: PartContent,
}

/// What a part of a multipart body holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartContent {
    /// A text with values.
    Text(Template),
    /// The bytes of a file.
    File(FilePlan),
}

/// What is tried again, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPlan {
    /// How often after the first attempt; at least 1.
    pub times: u32,
    /// Statuses after which it is, as inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// Whether it is where there was no connection, or where it was closed before the answer was
    /// whole.
    pub on_connection_failure: bool,
    /// The pause before each further attempt, in ns.
    pub wait_ns: u64,
}

/// A larger body is not looked at, nor a larger message, decompressed or not.
pub const MAX_SEEN_BYTES: u64 = 16 << 20;

/// What must hold of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPlan {
    /// Statuses that are in order, as inclusive ranges; by default 200–399.
    pub status: Vec<(u16, u16)>,
    /// A text that the body must contain.
    pub body_contains: Option<String>,
    /// A regular expression that the body must match somewhere.
    pub body_matches: Option<String>,
    /// JSONPath expressions and the value each must have.
    pub json: Vec<(String, serde_json::Value)>,
    /// Headers and the value each must have; `None`: it must be there.
    pub headers: Vec<(String, Option<String>)>,
    /// The body, decompressed, must have at least so many bytes.
    pub min_bytes: Option<u64>,
    /// The body, decompressed, must have at most so many bytes.
    pub max_bytes: Option<u64>,
    /// The service time may be at most this, in ns.
    pub max_time_ns: Option<u64>,
}

impl Default for CheckPlan {
    fn default() -> Self {
        Self {
            status: vec![(200, 399)],
            body_contains: None,
            body_matches: None,
            json: Vec::new(),
            headers: Vec::new(),
            min_bytes: None,
            max_bytes: None,
            max_time_ns: None,
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractPlan {
    /// What is looked for.
    pub from: ExtractSource,
    /// Which of several matches is taken.
    pub pick: Pick,
    /// The value where there is none; without it, that is a failure.
    pub default: Option<String>,
}

impl From<ExtractSource> for ExtractPlan {
    /// The first match, which has to be there.
    fn from(from: ExtractSource) -> Self {
        Self {
            from,
            pick: Pick::First,
            default: None,
        }
    }
}

/// What of an answer is looked at for a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractSource {
    /// The matches of a JSONPath in the body.
    Json(String),
    /// A header.
    Header(String),
    /// The first group of a regular expression in the body.
    Regex(String),
    /// The value of a cookie that this answer sets.
    Cookie(String),
    /// Elements of an HTML body.
    Html {
        /// A CSS selector.
        selector: String,
        /// The attribute that is taken; `None` for the text inside.
        attribute: Option<String>,
    },
}

/// Which of several matches is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The first.
    First,
    /// The last.
    Last,
    /// Any (seeded).
    Random,
}

/// Which way a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// RFC 6455: messages both ways.
    WebSocket,
    /// `text/event-stream`: events of the server.
    Events,
}

/// A stream that is opened. Its time is that until the server has accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPlan {
    /// The request name in metrics.
    pub name: String,
    /// What is opened.
    pub kind: StreamKind,
    /// Where.
    pub address: AddressPlan,
    /// How long the server may take to accept it, in ns.
    pub timeout_ns: u64,
}

/// A message that is waited for. Its time is that from the beginning of the step to the message;
/// messages that came between two steps are looked at too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpectPlan {
    /// The request name in metrics.
    pub name: String,
    /// The event's name, of server-sent events; any where `None`.
    pub event: Option<String>,
    /// A text that the message must contain; messages that don't are passed over, as with all below.
    pub contains: Option<String>,
    /// A regular expression that it must match somewhere.
    pub matches: Option<String>,
    /// JSONPath expressions and the value each must have.
    pub json: Vec<(String, serde_json::Value)>,
    /// How many such messages are waited for; at least 1.
    pub count: u32,
    /// Values of the last of them for later steps, by name; no headers or cookies.
    pub extract: BTreeMap<String, ExtractPlan>,
    /// How long they may take, in ns.
    pub timeout_ns: u64,
}

/// How long a user waits, in ns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkPlan {
    /// Always as long.
    Constant(u64),
    /// Any time between two bounds.
    Uniform {
        /// At least.
        min_ns: u64,
        /// At most.
        max_ns: u64,
    },
    /// Normally distributed; drawn again where it is negative or beyond the maximum.
    Normal {
        /// The mean before that.
        mean_ns: u64,
        /// The standard deviation before that.
        sd_ns: u64,
        /// At most.
        max_ns: u64,
    },
    /// Exponentially distributed; drawn again where it is beyond the maximum.
    Exponential {
        /// The mean before that.
        mean_ns: u64,
        /// At most.
        max_ns: u64,
    },
    /// Any of the times that a file holds.
    Recorded {
        /// One duration a line, such as `850ms`.
        file: FilePlan,
        /// The longest in it.
        max_ns: u64,
    },
}

impl ThinkPlan {
    /// The longest that it can be, in ns.
    pub fn max_ns(&self) -> u64 {
        match self {
            Self::Constant(ns) => *ns,
            Self::Uniform { max_ns, .. }
            | Self::Normal { max_ns, .. }
            | Self::Exponential { max_ns, .. }
            | Self::Recorded { max_ns, .. } => *max_ns,
        }
    }
}

/// How often something is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesPlan {
    /// At least; at least 1.
    pub min: u32,
    /// At most; any number in between, at random (seeded).
    pub max: u32,
}

/// What must hold for steps to be performed, or for a loop to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionPlan {
    /// It holds in this share of all cases, at random (seeded); above 0, at most 1.
    Chance(f64),
    /// It holds where a text stands the test. A value that an extraction before it didn't reach, as
    /// that is in steps which were not performed, is the empty text.
    Value {
        /// The text.
        value: Template,
        /// What is asked of it.
        test: TestPlan,
    },
}

impl ConditionPlan {
    /// Everything in it that is filled with values.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Chance(_) => Vec::new(),
            Self::Value { value, test } => match test {
                TestPlan::Is(other) | TestPlan::IsNot(other) => vec![value, other],
                TestPlan::Matches(_) | TestPlan::Above(_) | TestPlan::Below(_) => vec![value],
            },
        }
    }
}

/// What is asked of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestPlan {
    /// It is this.
    Is(Template),
    /// It is anything else.
    IsNot(Template),
    /// This regular expression matches somewhere in it.
    Matches(String),
    /// It is a number above this; a text that is none doesn't stand the test.
    Above(f64),
    /// It is a number below this; a text that is none doesn't stand the test.
    Below(f64),
}

/// One way to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BranchPlan {
    /// Its share is this divided by the sum of all; positive.
    pub weight: f64,
    /// What is performed; may be nothing.
    pub steps: Vec<StepPlan>,
}
