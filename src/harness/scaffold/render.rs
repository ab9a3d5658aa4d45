//! A scenario as its text, with a comment over each block for whoever reads one for the first time.

use std::fmt::Write as _;

use super::sketch::{Auth, Body, Column, Course, FEED, Flow, Step};
use super::text::{Template, key, quoted, shown};

/// Fewer requests beyond a quantile say nothing: docs/SCENARIO.md, "Gates". A tenth more, so that a slow
/// start costs no verdict.
const NEEDED: [(&str, f64); 4] = [
    ("p95", 2200.0),
    ("p90", 1100.0),
    ("p75", 440.0),
    ("p50", 220.0),
];
const MIN_MEASURE_S: u64 = 30;
/// Longer than this nobody waits for a first run; a lower quantile needs less.
const PATIENCE_S: u64 = 180;
/// What is assumed of an answer where the users of a load are counted.
const ANSWER_MS: u64 = 500;

/// Everything that stands in a scenario.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scenario<'a> {
    pub(super) name: &'a str,
    /// Where it comes from, in a comment.
    pub(super) origin: String,
    pub(super) target: Target,
    pub(super) flows: &'a [Flow],
    pub(super) columns: &'a [Column],
    /// Iterations of each load per second, in the order of the flows.
    pub(super) rates_per_s: Vec<f64>,
    pub(super) benches: &'a [String],
    pub(super) package: Option<&'a str>,
}

/// What the loads are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A process that is started; commands and values are templates.
    Process {
        build: Option<String>,
        start: String,
        /// The variable that tells it its port.
        variable: Option<String>,
        /// A path that answers as soon as it is ready.
        ready: Option<String>,
    },
    Url(String),
    /// Nothing: there are benches only.
    Nothing,
}

impl Scenario<'_> {
    /// The name of the feed's file.
    pub(super) fn feed_file(&self) -> String {
        format!("{}-{FEED}.csv", self.name)
    }

    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.head(&mut text);
        self.target(&mut text);
        if !self.columns.is_empty() {
            let names: Vec<&str> = self
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            paragraph(
                &mut text,
                "Values that the document doesn't say. Fill the file in: a row is drawn for each iteration.",
            );
            let _ = writeln!(text, "# Columns: {}", names.join(", "));
            let _ = writeln!(
                text,
                "[feed.{FEED}]\nfile = {}\norder = \"random\"",
                quoted(&self.feed_file())
            );
        }
        for flow in self.flows {
            self.flow(flow, &mut text);
        }
        self.loads(&mut text);
        self.benches(&mut text);
        self.gates(&mut text);
        text
    }

    fn head(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "# {} Every key: docs/SCENARIO.md of Plimsoll.\nschema = 1\nname = {}",
            self.origin,
            quoted(self.name)
        );
        if let Target::Url(url) = &self.target {
            paragraph(
                text,
                "A server that is there already. To gate a change, let Plimsoll start it: a [[process]].",
            );
            let _ = writeln!(text, "url = {}", quoted(url));
        }
    }

    fn target(&self, text: &mut String) {
        let Target::Process {
            build,
            start,
            variable,
            ready,
        } = &self.target
        else {
            return;
        };
        paragraph(
            text,
            "What is measured: started anew for each run, on a free port, and stopped after it.",
        );
        let _ = writeln!(text, "[[process]]\nname = {}", quoted(self.name));
        if let Some(build) = build {
            let _ = writeln!(text, "build = {}", quoted(build));
        }
        let _ = writeln!(text, "start = {}", quoted(start));
        if let Some(variable) = variable {
            let _ = writeln!(text, "env = {{ {} = \"{{port}}\" }}", key(variable));
        }
        if let Some(ready) = ready {
            let _ = writeln!(text, "ready = {{ http = {} }}", quoted(ready));
        }
        text.push_str("target = true\n");
    }

    fn flow(&self, flow: &Flow, text: &mut String) {
        paragraph(text, &flow.about);
        let common = common_auth(flow);
        if let Some(auth) = common {
            let _ = writeln!(text, "[flow.{}]", flow.name);
            auth_lines(auth, "", text);
            text.push('\n');
        }
        match flow.course {
            Course::InOrder => {
                for step in &flow.steps {
                    let _ = writeln!(text, "[[flow.{}.step]]", flow.name);
                    step_lines(step, common, "", text);
                }
            }
            Course::AnyOne => {
                let _ = writeln!(text, "[[flow.{}.step]]", flow.name);
                for step in &flow.steps {
                    let _ = writeln!(text, "  [[flow.{}.step.choice]]\n  weight = 1", flow.name);
                    let _ = writeln!(text, "    [[flow.{}.step.choice.step]]", flow.name);
                    step_lines(step, common, "    ", text);
                }
            }
        }
    }

    fn loads(&self, text: &mut String) {
        if self.flows.is_empty() {
            return;
        }
        paragraph(
            text,
            "How often: arrivals at a rate, whatever the answers do, so that a slow answer slows nobody down.",
        );
        for (flow, rate) in self.flows.iter().zip(&self.rates_per_s) {
            let _ = writeln!(text, "[load.{}]\nflow = {}", flow.name, quoted(&flow.name));
            let users = users(flow, *rate);
            let users =
                users.map_or_else(String::new, |users| format!(", max_in_flight = {users}"));
            let _ = writeln!(
                text,
                "open = {{ rate = {}{users} }}",
                quoted(&rate_text(*rate))
            );
        }
        paragraph(
            text,
            "Only the measure phase counts; before it everything warms up.",
        );
        let _ = writeln!(
            text,
            "[phases]\nwarmup = \"5s\"\nmeasure = \"{}s\"",
            self.measured().1
        );
    }

    fn benches(&self, text: &mut String) {
        if self.benches.is_empty() {
            return;
        }
        paragraph(text, "criterion benchmarks, each in several processes.");
        let targets: Vec<String> = self.benches.iter().map(|name| quoted(name)).collect();
        text.push_str("[[bench]]\n");
        if let Some(package) = self.package {
            let _ = writeln!(text, "package = {}", quoted(package));
        }
        let _ = writeln!(text, "targets = [{}]", targets.join(", "));
    }

    fn gates(&self, text: &mut String) {
        if !self.flows.is_empty() {
            let (quantile, _) = self.measured();
            paragraph(
                text,
                "What is judged. `max` holds in every run: set it to what your users need. `regress` is the margin against\n\
                 # the other revision or the baseline; `plimsoll calibrate` finds which one a machine can hold.",
            );
            // By name: a pattern would ask for the quantile of each request too.
            for flow in self.flows {
                let _ = writeln!(
                    text,
                    "[[gate]]\nmetric = \"load.{}.{quantile}\"\nmax = \"500ms\"\nregress = \"10%\"",
                    flow.name
                );
            }
            paragraph(
                text,
                "Requests that fail have no time that counts, so they need a limit of their own.",
            );
            for flow in self.flows {
                let _ = writeln!(
                    text,
                    "[[gate]]\nmetric = \"load.{}.error_rate\"\nmax = \"1%\"",
                    flow.name
                );
            }
        }
        if !self.benches.is_empty() {
            paragraph(
                text,
                "Benches have no limit that holds on every machine, only a margin.",
            );
            text.push_str("[[gate]]\nmetric = \"bench.*\"\nregress = \"10%\"\n");
        }
    }

    /// The highest quantile that can be measured in patience, and how long that takes, in s.
    fn measured(&self) -> (&'static str, u64) {
        let loads = self.flows.iter().zip(&self.rates_per_s);
        let slowest = loads
            .map(|(flow, rate)| rate * flow.requests() as f64)
            .fold(f64::INFINITY, f64::min);
        let pauses_s = self.flows.iter().map(|flow| flow.think_ms() / 1000).max();
        // An iteration of a flow with pauses has to come to its end several times.
        let least_s = MIN_MEASURE_S.max(3 * pauses_s.unwrap_or(0));
        let seconds = |needed: f64| ((needed / slowest / 5.0).ceil() * 5.0) as u64;
        let mut possible = NEEDED
            .into_iter()
            .map(|(quantile, needed)| (quantile, seconds(needed).max(least_s)));
        let patient = possible.clone().find(|(_, seconds)| *seconds <= PATIENCE_S);
        patient
            .or_else(|| possible.next_back())
            .unwrap_or(("p50", least_s))
    }
}

/// The users that a load with pauses needs; the arrivals of one second, the default, are right without.
fn users(flow: &Flow, rate_per_s: f64) -> Option<u32> {
    let think_ms = flow.think_ms();
    if think_ms == 0 && flow.requests() == 1 {
        return None;
    }
    let iteration_ms = think_ms + ANSWER_MS * flow.requests() as u64;
    let users = rate_per_s * iteration_ms as f64 / 1000.0;
    Some((users.ceil().clamp(10.0, 2000.0)) as u32)
}

/// A rate as it is written: per second, where it is whole there, else per minute or hour.
fn rate_text(rate_per_s: f64) -> String {
    let is_whole = |rate: f64| rate >= 1.0 && (rate - rate.round()).abs() < 1e-9 * rate;
    match rate_per_s {
        rate if is_whole(rate) => format!("{}/s", rate.round()),
        rate if is_whole(rate * 60.0) => format!("{}/min", (rate * 60.0).round()),
        rate => format!("{}/h", (rate * 3600.0).round().max(1.0)),
    }
}

/// Who sends all requests of a flow, if it is always the same.
fn common_auth(flow: &Flow) -> Option<&Auth> {
    let first = flow.steps.first()?.auth.as_ref()?;
    let is_common = flow
        .steps
        .iter()
        .all(|step| step.auth.as_ref() == Some(first));
    // Of a single step it stands there.
    (is_common && flow.steps.len() > 1).then_some(first)
}

fn auth_lines(auth: &Auth, indent: &str, text: &mut String) {
    let _ = match auth {
        Auth::Basic { user, password } => writeln!(
            text,
            "{indent}basic = {{ user = {}, password = {} }}",
            template(&Template::secret(user)),
            template(&Template::secret(password))
        ),
        Auth::Bearer(token) => writeln!(
            text,
            "{indent}bearer = {}",
            template(&Template::secret(token))
        ),
        Auth::Header { name, value } => {
            writeln!(
                text,
                "{indent}headers = {{ {} = {} }}",
                key(name),
                template(value)
            )
        }
    };
}

fn step_lines(step: &Step, common: Option<&Auth>, indent: &str, text: &mut String) {
    if let Some(name) = &step.name {
        let _ = writeln!(text, "{indent}name = {}", quoted(name));
    }
    let _ = writeln!(
        text,
        "{indent}{} = {}",
        step.method.key(),
        template(&step.path)
    );
    let mut headers: Vec<(&str, &Template)> = Vec::new();
    match step.auth.as_ref().filter(|auth| Some(*auth) != common) {
        Some(Auth::Header { name, value }) => headers.push((name, value)),
        Some(auth) => auth_lines(auth, indent, text),
        None => {}
    }
    headers.extend(
        step.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value)),
    );
    if !headers.is_empty() {
        let _ = writeln!(
            text,
            "{indent}headers = {{ {} }}",
            pairs(headers.into_iter())
        );
    }
    let _ = match &step.body {
        None => Ok(()),
        Some(Body::Json(json)) => writeln!(text, "{indent}json = {}", template(json)),
        Some(Body::Text(body)) => writeln!(text, "{indent}text = {}", template(body)),
        Some(Body::Form(fields)) => {
            let fields = fields.iter().map(|(name, value)| (name.as_str(), value));
            writeln!(text, "{indent}form = {{ {} }}", pairs(fields))
        }
    };
    let _ = match step.status.as_slice() {
        [] => Ok(()),
        [only] => writeln!(text, "{indent}check = {{ status = {only} }}"),
        several => writeln!(
            text,
            "{indent}check = {{ status = [{}] }}",
            several.join(", ")
        ),
    };
    if step.think_ms > 0 {
        let _ = writeln!(text, "{indent}think = \"{}ms\"", step.think_ms);
    }
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a Template)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{} = {}", key(name), template(value)))
        .collect();
    pairs.join(", ")
}

fn template(template: &Template) -> String {
    quoted(template.as_str())
}

/// A blank line and a comment.
fn paragraph(text: &mut String, comment: &str) {
    let _ = writeln!(text, "\n# {comment}");
}

/// What a comment says of where the scenario comes from: perhaps from a document.
pub(super) fn origin(document: Option<&str>) -> String {
    let from = document.map_or_else(String::new, |path| format!(" from {}", shown(path)));
    format!("Written by `plimsoll init`{from}.")
}
