//! The page as a value: what stands where, in the order in which it is read.

use serde::Serialize;

use crate::harness::compare::Comparison;
use crate::harness::gate::{Outcome, Verdict};
use crate::harness::model::Run;
use crate::harness::report::format;
use crate::harness::report::input::ReportInput;
use crate::harness::report::load::{self, summarise};
use crate::harness::report::text;
use crate::harness::report::words::{self, Spoken, Weight};

use super::benches::Benches;
use super::conditions::{self, Validity};
use super::judged::Judged;
use super::loads::LoadSection;
use super::subject::{self, Curves};
use super::table::Table;
use super::tiles::{Tile, tiles};

/// Reasons, or warnings, that are told; the weightiest come first.
const MAX_SAID: usize = 50;

/// Everything that the templates need, formatted.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// For the title of the window.
    scenario: String,
    description: String,
    /// `pass`, `fail`, `advisory`, …
    outcome: &'static str,
    badge: &'static str,
    headline: String,
    /// Revision, machine, time: what the reader needs to know which measurement this is.
    facts: Vec<Fact>,
    /// The few numbers that matter.
    tiles: Vec<Tile>,
    sections: Vec<Section>,
    reasons: Vec<Said>,
    warnings: Vec<Said>,
    validity: Validity,
    judged: Judged,
    loads: Vec<LoadSection>,
    /// That not all of the runs went to their end, in a sentence.
    cut_short: Option<String>,
    /// Which run the curves are from, in a sentence; empty without curves.
    curves_of: String,
    processes: Vec<Curves>,
    probes: Vec<Curves>,
    generator: Vec<Curves>,
    generator_table: Option<Table>,
    benches: Benches,
    environment: Table,
    commands: Vec<String>,
    raw: Table,
    generated_at: String,
    version: String,
}

/// A line of the head of the page.
#[derive(Debug, Serialize)]
struct Fact {
    label: &'static str,
    value: String,
}

/// An entry of the contents.
#[derive(Debug, Serialize)]
struct Section {
    id: &'static str,
    title: &'static str,
}

/// A [`Spoken`] as sentences.
#[derive(Debug, Serialize)]
struct Said {
    what: Vec<Piece>,
    next: Vec<Piece>,
    detail: String,
    /// `decides`, `counts` or `good`.
    weight: &'static str,
}

/// A piece of a sentence.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    /// Whether it is something to type.
    code: bool,
}

/// Why a run's curves are shown.
#[derive(Debug, Clone, Copy)]
enum Typical {
    MedianP95,
    /// No run has a 95th percentile.
    Last,
}

impl Page {
    pub(super) fn new(input: &ReportInput<'_>) -> Self {
        let verdict = input.verdict;
        let head = input.shown_head();
        let typical = typical(&head);
        let shown = typical.map(|(run, _)| run);
        let summaries = summarise(&head);
        let base = summarise(&input.shown_base());
        let mut page = Self {
            scenario: words::title(verdict),
            description: text::shown(input.description(), 600),
            outcome: class(verdict),
            badge: words::badge(verdict),
            headline: format!("{}.", words::headline(verdict)),
            facts: facts(input),
            tiles: tiles(&summaries),
            sections: Vec::new(),
            reasons: listed(words::reasons(verdict).map(|because| (because.said, because.weight))),
            warnings: listed(
                verdict
                    .warnings
                    .iter()
                    .map(|warning| (words::warning(warning, verdict), Weight::Counts)),
            ),
            validity: conditions::validity(input),
            judged: Judged::new(input),
            loads: summaries
                .iter()
                .enumerate()
                .map(|(at, load)| LoadSection::new(at, load, shown, &base, input))
                .collect(),
            cut_short: words::cut_short(&head),
            curves_of: curves_of(typical, input),
            processes: shown.map(subject::processes).unwrap_or_default(),
            probes: shown
                .map(|run| subject::probes(run, input.plan))
                .unwrap_or_default(),
            generator: shown.map(subject::generator).unwrap_or_default(),
            generator_table: subject::generator_table(&summaries, &head),
            benches: Benches::new(input),
            environment: conditions::environment(input),
            commands: input
                .commands
                .iter()
                .map(|command| text::block(command))
                .collect(),
            raw: conditions::raw_metrics(input),
            generated_at: input
                .generated_at
                .strftime("%Y-%m-%d %H:%M UTC")
                .to_string(),
            version: text::shown(input.version, 60),
        };
        page.sections = page.contents();
        page
    }

    /// Only what is there.
    fn contents(&self) -> Vec<Section> {
        [
            (
                "why",
                "Why",
                !self.reasons.is_empty() || !self.warnings.is_empty(),
            ),
            ("validity", "Validity", true),
            ("changes", "Changes", self.judged.has_comparison()),
            ("gates", "Gates", self.judged.has_gates()),
            ("anchors", "Anchors", self.judged.has_anchors()),
            ("load", "Load", !self.loads.is_empty()),
            ("processes", "Processes", !self.processes.is_empty()),
            ("probes", "Probes", !self.probes.is_empty()),
            ("generator", "Generator", self.generator_table.is_some()),
            ("benches", "Benches", self.benches.any()),
            ("environment", "Environment", true),
            ("reproduce", "Reproduce", !self.commands.is_empty()),
            ("metrics", "All metrics", true),
        ]
        .into_iter()
        .filter(|(.., there)| *there)
        .map(|(id, title, _)| Section { id, title })
        .collect()
    }
}

/// The run whose curves are shown, since curves put together from several runs would show what never
/// happened: the one whose first load has the median 95th percentile, and else the last; and which it is.
fn typical<'a>(runs: &[&'a Run]) -> Option<(&'a Run, Typical)> {
    let mut by_p95: Vec<(u64, &Run)> = runs
        .iter()
        .filter_map(|run| Some((load::first_p95_ns(run)?, *run)))
        .collect();
    by_p95.sort_by_key(|(p95, _)| *p95);
    let middle = by_p95.len().saturating_sub(1) / 2;
    match by_p95.get(middle) {
        Some((_, run)) => Some((*run, Typical::MedianP95)),
        None => Some((*runs.last()?, Typical::Last)),
    }
}

/// Runs are counted as everywhere else: the invalid ones too.
fn curves_of(shown: Option<(&Run, Typical)>, input: &ReportInput<'_>) -> String {
    let Some((shown, typical)) = shown else {
        return String::new();
    };
    let valid = if shown.is_valid() { "valid " } else { "" };
    let which = match typical {
        Typical::MedianP95 => "the one with the median p95".to_owned(),
        Typical::Last => format!("the last {valid}one"),
    };
    match input.head.iter().position(|run| run.id == shown.id) {
        Some(at) if input.head.len() > 1 => format!(
            "Curves over time are those of head run {} of {}, {which}. Tables and distributions hold all {valid}runs.",
            at + 1,
            input.head.len()
        ),
        _ => String::new(),
    }
}

fn facts(input: &ReportInput<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |label, value: String| {
        if !value.is_empty() {
            facts.push(Fact { label, value });
        }
    };
    let first = input.head.first();
    match &input.verdict.comparison {
        Some(comparison) => {
            let (head, base) = arms(comparison, input.verdict);
            add("Head", text::shown(head, 80));
            add("Base", text::shown(base, 80));
        }
        None => {
            let revision = first.and_then(|run| run.revision.as_deref());
            add("Head", text::shown(revision.unwrap_or_default(), 80));
        }
    }
    let runs = match (input.head.len(), input.base.len()) {
        (0, 0) => String::new(),
        (head, 0) => format::counted(head as u64, "run"),
        (head, base) => format!("{head} of the head, {base} of the base"),
    };
    add("Runs", runs);
    if let Some(run) = first {
        if let Some(start) = run.start() {
            add("Measured", start.strftime("%Y-%m-%d %H:%M UTC").to_string());
        }
        let machine = match run.fingerprint.is_unknown() {
            true => "unknown".to_owned(),
            false => format!(
                "{}, {}",
                run.fingerprint.cpu_model,
                format::counted(u64::from(run.fingerprint.logical_cpus), "CPU")
            ),
        };
        add("Machine", text::shown(&machine, 80));
    }
    facts
}

/// What was measured in the head and in the base: by their labels, or by their revisions where both are of one session.
fn arms<'v>(comparison: &'v Comparison, verdict: &'v Verdict) -> (&'v str, &'v str) {
    let (head, base) = (&comparison.head_label, &comparison.base_label);
    match (&verdict.head_revision, &verdict.base_revision) {
        (Some(of_head), Some(of_base)) if head == base => (of_head, of_base),
        // The fact says already which arm it is.
        _ => (
            head.strip_prefix("head ").unwrap_or(head),
            base.strip_prefix("base ").unwrap_or(base),
        ),
    }
}

fn said(spoken: Spoken, weight: Weight) -> Said {
    let sentence = |text: &str| match text {
        "" => Vec::new(),
        text if text.ends_with(['.', '?', '!']) => pieces(text),
        text => pieces(&format!("{text}.")),
    };
    Said {
        what: sentence(&spoken.sentence()),
        next: sentence(&words::capitalised(&spoken.next)),
        detail: spoken.detail,
        weight: match weight {
            Weight::Decides => "decides",
            Weight::Counts => "counts",
            Weight::Good => "good",
        },
    }
}

/// As many as somebody reads, and how many more there are.
fn listed(all: impl ExactSizeIterator<Item = (Spoken, Weight)>) -> Vec<Said> {
    let more = all.len().saturating_sub(MAX_SAID) as u64;
    let mut listed: Vec<(Spoken, Weight)> = all.take(MAX_SAID).collect();
    words::remedy_once(listed.iter_mut().map(|(spoken, _)| spoken));
    if more > 0 {
        let what = format!("{} more are in the JSON report", format::count(more));
        listed.push((Spoken::new(what, ""), Weight::Counts));
    }
    listed
        .into_iter()
        .map(|(spoken, weight)| said(spoken, weight))
        .collect()
}

/// Our sentences put what is to be typed between backticks; every second piece is that.
fn pieces(sentence: &str) -> Vec<Piece> {
    sentence
        .split('`')
        .enumerate()
        .map(|(at, text)| Piece {
            text: text.to_owned(),
            code: at % 2 == 1,
        })
        .filter(|piece| !piece.text.is_empty())
        .collect()
}

fn class(verdict: &Verdict) -> &'static str {
    match verdict.verdict {
        _ if verdict.advisory => "advisory",
        Outcome::Pass => "pass",
        Outcome::NoBaseline => "no-baseline",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Fail => "fail",
        Outcome::Invalid => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_once() {
        let check = |what: &str, expected: &str| {
            let spoken = Spoken {
                what: what.to_owned(),
                next: String::new(),
                detail: String::new(),
                is_named: false,
            };
            let said = said(spoken, Weight::Counts);
            let text: String = said.what.into_iter().map(|piece| piece.text).collect();
            assert_eq!(text, expected);
        };
        check("it is slow", "It is slow.");
        check(
            "did you mean `load.reads.p95`?",
            "Did you mean load.reads.p95?",
        );
        check("", "");
    }
}
