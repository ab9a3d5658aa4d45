//! What was found in a repository, and where.

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// What.
    pub value: T,
    /// Where: a file, or what it is guessed from.
    pub from: String,
}

impl<T> Found<T> {
    /// Something found in a file.
    pub(super) fn new(value: T, from: impl Into<String>) -> Self {
        Self {
            value,
            from: from.into(),
        }
    }
}

/// How a service learns on which port to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Its command line takes it: `{port}` stands there.
    InStart,
    /// A variable of its environment has this name.
    Variable(Found<String>),
    /// It always listens on this one.
    Fixed(Found<u16>),
    /// Nothing says how; most are told by the variable `PORT`.
    Unknown,
}

/// How a service is built and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The command that builds it, where it has to be built; a template of a scenario.
    pub build: Option<String>,
    /// The command that starts it, a template of a scenario too.
    pub start: Found<String>,
    /// How it learns its port.
    pub port: Port,
    /// A path that answers as soon as it is ready, which its framework promises.
    pub ready: Option<String>,
    /// The folder of its sources, with `/` at its end; empty where that is the top.
    pub folder: String,
}

impl Service {
    /// A service whose command line takes `{port}`.
    pub(super) fn told(start: String, from: impl Into<String>, build: Option<String>) -> Self {
        Self {
            build,
            start: Found::new(start, from),
            port: Port::InStart,
            ready: None,
            folder: String::new(),
        }
    }
}

/// What was found in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What its manifest calls it.
    pub name: Option<String>,
    /// Its service.
    pub service: Option<Service>,
    /// Its bench targets that use criterion.
    pub benches: Vec<String>,
    /// The package of those targets, where the workspace has several.
    pub package: Option<String>,
    /// A path that it answers.
    pub path: Option<Found<String>>,
    /// A path that says that it is well.
    pub health: Option<Found<String>>,
    /// OpenAPI documents, the likeliest first.
    pub openapi: Vec<String>,
    /// HAR files.
    pub har: Vec<String>,
    /// The port that its container shows.
    pub exposed: Option<Found<u16>>,
    /// Whether git leaves out what Plimsoll keeps here.
    pub ignores: bool,
    /// What is there and was not used.
    pub notes: Vec<String>,
}
