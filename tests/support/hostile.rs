//! Loads on servers that do the same to each of their requests, through the whole program, and what has
//! to come of it.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use plimsoll::harness::model::{ArrivalModel, ErrorKind, LoadMeasurement, Run};
use serde_json::Value;

use super::Tested;
use super::loads::check_arithmetic;
use super::project::Project;

/// Arrivals of a case that doesn't say otherwise: so many in the measure phase of a second.
pub(crate) const OFFERED: u64 = 20;
const ARRIVING: &str =
    "open = { rate = \"20/s\", max_in_flight = 40 }\nallowed_dropped = \"100%\"\n";
const ALONE: &str = "closed = { users = 1 }\n";
const TWO: &str = "closed = { users = 2 }\n";
const PAUSE: &str = "think = \"50ms\"\n";

/// The timeout of a case that is to time out.
pub(crate) const TIMEOUT_NS: u64 = 300_000_000;
/// The timeout of any other; shorter than the drain.
const NO_TIMEOUT_NS: u64 = 2_500_000_000;
/// A step that looks at the body, so that this is kept.
const CHECK: &str = "check = { body_contains = \"ok\" }\n";

/// Other tests share the machine, and what is tested is not the generator's punctuality.
const GENERATOR: &str = "[generator]\nlate = \"1min\"\ncpu = \"100%\"\n";
/// The phases of these runs, where nothing else is said.
pub(crate) const PHASES: &str = "[phases]\nwarmup = \"1s\"\nmeasure = \"1s\"\ndrain = \"3s\"\n";
/// The second before the load, the phases, the whole drain, and what a busy machine takes for the rest.
/// Where a worker has to be killed it takes longer.
const MAX_RUN_NS: u64 = (1 + 2 + 3 + 9) * 1_000_000_000;
/// A worker has about 40 MB in a build without optimisation, and keeps 16 MiB of a body at most.
const MAX_WORKER_BYTES: u64 = 128 << 20;

/// One run at a time: several would have as many workers as their loads together.
static MACHINE: Mutex<()> = Mutex::new(());

/// A load on a server that does the same to each of its requests, which the server knows by the name: it
/// is the path.
#[derive(Clone)]
pub(crate) struct Case<Answer> {
    pub(crate) name: &'static str,
    /// What the server does.
    pub(crate) answer: Answer,
    /// What becomes of each request.
    pub(crate) expected: Result<(), ErrorKind>,
    request: String,
    timeout_ns: u64,
    check: &'static str,
    think: &'static str,
    load: &'static str,
}

impl<Answer> Case<Answer> {
    fn new(name: &'static str, expected: Result<(), ErrorKind>, answer: Answer) -> Self {
        let times_out = expected == Err(ErrorKind::Timeout);
        Self {
            name,
            answer,
            expected,
            request: format!("get = \"/{name}\"\n"),
            timeout_ns: if times_out { TIMEOUT_NS } else { NO_TIMEOUT_NS },
            check: CHECK,
            think: "",
            load: ARRIVING,
        }
    }

    /// Requests that are in order.
    pub(crate) fn passes(name: &'static str, answer: impl Into<Answer>) -> Self {
        Self::new(name, Ok(()), answer.into())
    }

    /// Requests that fail, each in the same way.
    pub(crate) fn fails(name: &'static str, kind: ErrorKind, answer: impl Into<Answer>) -> Self {
        Self::new(name, Err(kind), answer.into())
    }

    /// With other checks.
    pub(crate) fn checking(self, check: &'static str) -> Self {
        Self { check, ..self }
    }

    /// With the name as the body of a POST.
    pub(crate) fn posting(self) -> Self {
        let request = format!("post = \"/\"\ntext = \"{}\"\n", self.name);
        Self { request, ..self }
    }

    /// Two users, who come back long after what a server does to an idle connection.
    pub(crate) fn pausing(self) -> Self {
        Self {
            think: PAUSE,
            load: TWO,
            ..self
        }
    }

    /// One user, for servers that say as much as the machine can carry.
    pub(crate) fn alone(self) -> Self {
        Self {
            load: ALONE,
            ..self
        }
    }

    /// Its flow and its load.
    pub(crate) fn toml(&self) -> String {
        let Self {
            name,
            request,
            timeout_ns,
            check,
            think,
            load,
            ..
        } = self;
        format!(
            "[[flow.{name}.step]]\n{request}timeout = \"{timeout_ns}ns\"\n{check}{think}\
             [load.{name}]\nflow = \"{name}\"\n{load}"
        )
    }

    /// Holds what was measured against what had to be.
    pub(crate) fn check(&self, load: &LoadMeasurement) {
        let (name, counts, series) = (self.name, load.counts, &load.requests[0]);
        if load.model == ArrivalModel::Open {
            assert_eq!(counts.offered, OFFERED, "{name}");
        }
        assert!(counts.started > 0, "{name}: {counts:?}");
        let (errors, ended) = match self.expected {
            Ok(()) => (vec![], (counts.started, 0, 0)),
            Err(kind) => {
                let timed_out = u64::from(kind == ErrorKind::Timeout) * counts.started;
                (vec![(kind, counts.started)], (0, counts.started, timed_out))
            }
        };
        let found = (counts.completed, counts.failed, counts.timed_out);
        assert_eq!(found, ended, "{name}: {:?}", series.errors);
        let found = series.errors.iter();
        let found: Vec<_> = found.map(|(kind, tally)| (*kind, tally.count)).collect();
        assert_eq!(found, errors, "{name}: {:?}", series.errors);
        for tally in series.errors.values() {
            assert_ne!(tally.example, "", "{name}");
        }
    }
}

/// A run and what it left in its project.
pub(crate) struct Ran {
    pub(crate) project: Project,
    pub(crate) run: Run,
}

impl Ran {
    /// What a load of it measured.
    pub(crate) fn load(&self, name: &str) -> &LoadMeasurement {
        let mut loads = self.run.measurement.loads.iter();
        loads
            .find(|load| load.name == name)
            .unwrap_or_else(|| panic!("no load {name}"))
    }
}

/// The exit code where some of the cases fail, or none.
pub(crate) fn exit_code<Answer>(cases: &[Case<Answer>]) -> i32 {
    match cases.iter().any(|case| case.expected.is_err()) {
        true => 10,
        false => 0,
    }
}

/// Runs all cases at the same time against the server at that address, and checks each.
pub(crate) fn run_cases<Answer>(
    project: Project,
    url: &str,
    http: &str,
    cases: &[Case<Answer>],
    codes: &[i32],
) -> Result<Ran, Box<dyn Error>> {
    let cases_toml: String = cases.iter().map(Case::toml).collect();
    let text = [http, &cases_toml, PHASES].concat();
    let ran = run(project, url, &text, codes)?;
    for case in cases {
        case.check(ran.load(case.name));
    }
    Ok(ran)
}

/// Makes one run of a scenario on the server at that address, which ends with one of these exit codes and
/// in time, with workers that stay small; reads it back and holds the books and the store to it.
pub(crate) fn run(
    project: Project,
    url: &str,
    text: &str,
    codes: &[i32],
) -> Result<Ran, Box<dyn Error>> {
    let text = format!("schema = 1\nname = \"hostile\"\nurl = \"{url}\"\n{text}{GENERATOR}");
    project.write("hostile.toml", &text)?;
    let (verdict, said, run) = {
        let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        project.run("hostile.toml", codes)?
    };
    assert!(
        !verdict.contains('\u{1b}') && !said.contains('\u{1b}'),
        "an escape reached the terminal: {said:?}"
    );
    serde_json::from_str::<Value>(&verdict)?;
    assert!(!run.partial);
    assert!(run.duration_ns < MAX_RUN_NS, "{} ns", run.duration_ns);
    for load in &run.measurement.loads {
        check_arithmetic(load);
        let samples = load.generator.samples.iter();
        let most_bytes = samples.map(|sample| sample.rss_bytes).max();
        assert!(
            (1..MAX_WORKER_BYTES).contains(&most_bytes.unwrap_or(0)),
            "{}: {most_bytes:?} bytes",
            load.name
        );
    }
    let ran = Ran { project, run };
    check_stored(&ran)?;
    Ok(ran)
}

/// The report that is made of the store has the same counts and failures. It has none of an invalid run.
fn check_stored(ran: &Ran) -> Tested {
    let report = ran.project.json(&["report", "latest"], 0)?;
    if !ran.run.invalid.is_empty() {
        return Ok(());
    }
    let loads = report["loads"].as_array().ok_or("no loads")?;
    assert_eq!(loads.len(), ran.run.measurement.loads.len());
    for stored in loads {
        let load = ran.load(stored["name"].as_str().ok_or("no name")?);
        assert_eq!(stored["counts"], serde_json::to_value(load.counts)?);
        let kinds = load.requests[0].errors.iter();
        let kinds: Vec<Value> = kinds
            .map(|(kind, tally)| {
                let (count, example) = (tally.count, &tally.example);
                serde_json::json!({ "kind": kind, "count": count, "example": example })
            })
            .collect();
        assert_eq!(stored["requests"][0]["errors"], Value::Array(kinds));
    }
    Ok(())
}
