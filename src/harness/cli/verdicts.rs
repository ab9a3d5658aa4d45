//! From runs to an answer: compare, judge, render, and put the page where it belongs.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use crate::harness::compare::{Comparison, Design, Settings, compare};
use crate::harness::gate::{Evidence, Policy, Verdict, Warning, exit, judge, unmeasured};
use crate::harness::model::{LatencyHistogram, Run};
use crate::harness::report::ci::{self, Answer, Place, Told};
use crate::harness::report::terminal;
use crate::harness::report::{BaseLatency, ReportInput, html, json, text, words};
use crate::harness::scenario::{self, Plan};
use crate::harness::store::{Baseline, BaselineLoad, files};

use super::answers::Answers;
use super::args::Format;
use super::failure::Failure;
use super::noise;
use super::output::Output;
use super::sources::{Anchored, Source, in_words, nearest};

/// The variables in which CI systems name the top of the repository: GitHub's and GitLab's.
const TOPS: [&str; 2] = ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"];

/// Two arms, or one, with what judges them.
pub(super) struct Case<'a> {
    /// What judges.
    pub(super) policy: Policy,
    /// The scenario, where there is one.
    pub(super) plan: Option<&'a Plan>,
    /// What is judged.
    pub(super) head: &'a Source,
    /// What it is compared with.
    pub(super) base: Option<&'a Source>,
    /// How the arms are compared.
    pub(super) settings: Settings,
    /// What the reader should know besides.
    pub(super) notes: Vec<String>,
    /// Command lines that make this again.
    pub(super) commands: Vec<String>,
}

/// A case with its verdict.
pub(super) struct Judged<'a> {
    case: Case<'a>,
    /// What the gate says.
    pub(super) verdict: Verdict,
    base_latency: Vec<BaseLatency>,
}

impl<'a> Case<'a> {
    /// Compares and judges.
    pub(super) fn judge(self) -> Judged<'a> {
        let comparison = self
            .base
            .map(|base| compared(base, self.head, &self.settings));
        let evidence = Evidence {
            base: self.base.map_or(&[], |base| &base.runs),
            head: &self.head.runs,
            comparison: comparison.as_ref(),
        };
        let mut verdict = judge(&self.policy, &evidence);
        let notes = self
            .notes
            .iter()
            .map(|text| Warning::Note { text: text.clone() });
        verdict.warnings.extend(notes);
        let baseline = self.base.and_then(|base| base.baseline.as_ref());
        let base_latency = baseline.map_or_else(Vec::new, base_latency);
        Judged {
            case: self,
            verdict,
            base_latency,
        }
    }

    /// Says that there is nothing to judge, because no run of the head was made.
    pub(super) fn unmeasured(self) -> Judged<'a> {
        let base = self.base.map_or(&[][..], |base| &base.runs);
        let verdict = unmeasured(&self.policy, base);
        Judged {
            case: self,
            verdict,
            base_latency: Vec::new(),
        }
    }
}

/// Two arms compared. Where the base is a baseline, what was calibrated with it is known of the noise.
fn compared(base: &Source, head: &Source, settings: &Settings) -> Comparison {
    let mut noise = settings.noise.clone();
    if let (Some(baseline), Some(head)) = (&base.baseline, head.runs.first()) {
        noise.extend(noise::of(baseline, &head.fingerprint));
    }
    let settings = Settings {
        base_label: base.label.clone(),
        head_label: head.label.clone(),
        noise,
        ..settings.clone()
    };
    compare(&base.runs, &head.runs, &settings)
}

impl Judged<'_> {
    /// Holds the head against anchors too, which is shown and decides nothing.
    pub(super) fn beside(mut self, anchors: &[Anchored]) -> Self {
        for anchor in anchors {
            let settings = Settings::new(Design::Stored);
            let comparison = compared(&anchor.source, self.case.head, &settings);
            self.verdict
                .show_beside(&self.case.policy, &anchor.name, &comparison);
        }
        self
    }

    /// Takes the power to fail from the verdict, and says why.
    pub(super) fn show_only(&mut self, why: &str) {
        self.verdict.advisory = true;
        self.verdict.exit_code = exit::PASS;
        self.verdict.warnings.push(Warning::Note {
            text: why.to_owned(),
        });
    }

    /// Writes the page and answers on stdout what there is to say of one scenario: the summary for a person, or
    /// the verdict as one line of JSON. The rest is kept until all of them are judged. Gives the exit code.
    pub(super) fn publish(
        &self,
        answers: &Answers<'_>,
        page: Option<&Path>,
    ) -> Result<u8, Failure> {
        self.page_and(answers, page, |page| self.say(answers.output, page))?;
        Ok(self.verdict.exit_code)
    }

    /// As [`publish`](Self::publish), with everything that the page shows as one JSON document.
    pub(super) fn publish_report(&self, answers: &Answers<'_>, page: &Path) -> Result<(), Failure> {
        let output = answers.output;
        self.page_and(answers, Some(page), |page| match output.is_json() {
            true => output.answer_json(&json::Report::new(&self.shown())),
            false => self.say(output, page),
        })
    }

    /// Writes the page and says the answer, which names it. A page that can't be written takes no answer
    /// with it: what was measured for an hour may have no other.
    fn page_and(
        &self,
        answers: &Answers<'_>,
        page: Option<&Path>,
        say: impl FnOnce(Option<&Path>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let written = page.map_or(Ok(()), |page| self.write_page(page));
        let page = page.filter(|_| written.is_ok());
        answers.keep(self.told(page));
        Failure::unless_gone(say(page))?;
        written
    }

    /// What a report of it is made from, without a place for the page.
    pub(super) fn shown(&self) -> ReportInput<'_> {
        self.input(None)
    }

    /// What is kept of it.
    fn told(&self, page: Option<&Path>) -> Told {
        let head = &self.case.head.runs;
        let base = self.case.base.map_or(&[][..], |base| &base.runs);
        let durations = head.iter().chain(base).map(|run| run.duration_ns);
        Told {
            scenario: self.verdict.scenario.clone(),
            answer: Answer::Verdict(Box::new(self.verdict.clone())),
            place: self.case.plan.map(|plan| place(&plan.file)),
            at: head
                .first()
                .and_then(Run::start)
                .unwrap_or_else(Timestamp::now),
            measured_ns: durations.fold(0, u64::saturating_add),
            page: page.map(|page| page.display().to_string()),
        }
    }

    /// The HTML page, written as a whole or not at all.
    fn write_page(&self, path: &Path) -> Result<(), Failure> {
        files::write_text(path, &html::render(&self.shown()))
            .map_err(|error| Failure::tool("writing the report", &error))
    }

    fn say(&self, output: &Output, page: Option<&Path>) -> Result<(), Failure> {
        match output.format {
            Format::Human => output.answer(&self.in_words(output, page)),
            Format::Json => output.answer_json(&self.verdict),
            Format::Github => {
                let token = Uuid::new_v4().simple().to_string();
                output.answer(&ci::enclosed(&self.in_words(output, page), &token))
            }
            // One document of all scenarios.
            Format::Junit | Format::Markdown | Format::Sarif => Ok(()),
        }
    }

    /// The answer as people read it.
    fn in_words(&self, output: &Output, page: Option<&Path>) -> String {
        if output.quiet {
            let of = match text::one_line(&self.verdict.scenario) {
                scenario if scenario.is_empty() => String::new(),
                scenario => format!("{scenario}: "),
            };
            return format!(
                "[{}] {of}{}",
                words::badge(&self.verdict),
                words::headline(&self.verdict)
            );
        }
        let page = page.map(|page| page.display().to_string());
        terminal::render(&self.input(page.as_deref()), output.style())
    }

    fn input<'s>(&'s self, page: Option<&'s str>) -> ReportInput<'s> {
        let base = self.case.base.filter(|base| base.baseline.is_none());
        ReportInput {
            verdict: &self.verdict,
            plan: self.case.plan,
            head: &self.case.head.runs,
            base: base.map_or(&[], |base| &base.runs),
            base_latency: &self.base_latency,
            commands: &self.case.commands,
            page,
            generated_at: Timestamp::now(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Where the page of a session lies.
pub(super) fn page_path(reports: &Path, run: &Run) -> PathBuf {
    reports
        .join(files::component(&run.scenario))
        .join(format!("{}.html", files::component(&run.session)))
}

/// The baseline that `head` can be compared with. One that was measured under other conditions is
/// no baseline here: it is named in the notes, and the gate goes on without it.
pub(super) fn comparable(
    base: Option<Source>,
    head: &Run,
    folder: &Path,
) -> (Option<Source>, Vec<String>) {
    let Some(base) = base else {
        let other = nearest(folder, &head.scenario, &head.fingerprint);
        let notes = other.into_iter().map(|(path, differences)| {
            format!(
                "the baseline {} was measured under other conditions and means nothing here: {}; save one of this \
                 machine as it is: plimsoll baseline save {}",
                path.display(),
                in_words(&differences),
                head.scenario
            )
        });
        return (None, notes.collect());
    };
    let differences = base.runs.first().map_or_else(Vec::new, |run| {
        run.fingerprint.differences(&head.fingerprint)
    });
    if differences.is_empty() {
        return (Some(base), Vec::new());
    }
    let note = format!(
        "the {} can't be compared with: {}; save a new one: plimsoll baseline save {}",
        base.label,
        in_words(&differences),
        head.scenario
    );
    (None, vec![note])
}

/// Where a scenario is written, as whoever shows the repository names it.
fn place(file: &Path) -> Place {
    let top = TOPS.iter().find_map(|name| {
        let top = std::env::var_os(name).filter(|top| !top.is_empty())?;
        Path::new(&top).canonicalize().ok()
    });
    let below = top.and_then(|top| {
        let file = file.canonicalize().ok()?;
        Some(file.strip_prefix(&top).ok()?.to_owned())
    });
    Place {
        file: below
            .as_deref()
            .unwrap_or(file)
            .to_string_lossy()
            .into_owned(),
        // In the tree as it is here, which is what its reader sees; what judges may be the base's.
        gates: scenario::gate_lines(file),
    }
}

/// The latencies of a baseline file, a load at a time.
fn base_latency(baseline: &Baseline) -> Vec<BaseLatency> {
    let of_load = |load: &BaselineLoad| {
        let mut response = LatencyHistogram::new();
        for request in &load.requests {
            response.merge(&request.response);
        }
        BaseLatency {
            load: load.name.clone(),
            response,
        }
    };
    baseline.loads.iter().map(of_load).collect()
}
