//! The verdicts of one call: what is said of each as it comes, and what is written when all are there.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::harness::gate::Verdict;
use crate::harness::report::ci::{self, Answer, SUMMARY_BYTES, Told};
use crate::harness::scenario::Plan;
use crate::harness::store::files;

use super::args::{Format, WriteArgs, Written};
use super::failure::Failure;
use super::output::Output;

/// The file that GitHub shows as the summary of the job, of one step's part of it.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// What one call answers.
pub(super) struct Answers<'a> {
    /// How it speaks.
    pub(super) output: &'a Output,
    writing: &'a WriteArgs,
    told: RefCell<Vec<Told>>,
}

impl<'a> Answers<'a> {
    /// None yet. What can't be written is refused now rather than after an hour of measuring.
    pub(super) fn new(output: &'a Output, writing: &'a WriteArgs) -> Result<Self, Failure> {
        let mut files = BTreeSet::new();
        for Written { file, .. } in &writing.write {
            if !files.insert(file) {
                return Err(Failure::usage(
                    format!("{} is to be written twice", file.display()),
                    "give each --write a file of its own",
                ));
            }
            // What replaces a device or a pipe is not what its reader waits for.
            if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
                return Err(Failure::usage(
                    format!("{} is there and is no regular file", file.display()),
                    "name a file: --write junit=results.xml",
                ));
            }
        }
        Ok(Self {
            output,
            writing,
            told: RefCell::default(),
        })
    }

    /// Keeps what is said of a scenario.
    pub(super) fn keep(&self, told: Told) {
        self.told.borrow_mut().push(told);
    }

    /// Keeps that there is no verdict on a scenario, unless there is: what failed then was its page.
    pub(super) fn keep_failed(&self, scenario: &str, why: &str) {
        let is_told = |told: &Told| told.scenario == scenario;
        if self.told.borrow().iter().any(is_told) {
            return;
        }
        self.keep(Told::failed(scenario, why, Timestamp::now()));
    }

    /// Keeps of each of these scenarios on which nothing was said that the call ended before.
    pub(super) fn keep_stopped<'p>(&self, plans: impl IntoIterator<Item = &'p Plan>) {
        for plan in plans {
            self.keep_failed(&plan.id(), "stopped before its first run");
        }
    }

    /// Says what is said of all scenarios together, and writes the files. One that can't be written keeps no other
    /// from it.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let told = self.told.borrow();
        let mut results = vec![self.answer(&told)];
        if self.output.format == Format::Github {
            results.push(self.append_summary(&told));
        }
        for Written { format, file } in &self.writing.write {
            let text = self.rendered(*format, &told);
            results.push(text.and_then(|text| write(file, &text)));
        }
        let failures = results.into_iter().filter_map(Result::err);
        failures.reduce(Failure::and).map_or(Ok(()), Err)
    }

    /// As [`finish`](Self::finish), after the one scenario of a call: what failed there is said too.
    pub(super) fn finish_after<T>(&self, said: Result<T, Failure>) -> Result<T, Failure> {
        match (said, self.finish()) {
            (said, Ok(())) => said,
            (Ok(_), Err(failure)) => Err(failure),
            (Err(first), Err(second)) => Err(first.and(second)),
        }
    }

    fn answer(&self, told: &[Told]) -> Result<(), Failure> {
        let text = match self.output.format {
            // Said as they came.
            Format::Human | Format::Json => return Ok(()),
            Format::Github => ci::annotations(told),
            Format::Junit | Format::Markdown | Format::Sarif => {
                self.rendered(self.output.format, told)?
            }
        };
        match text.is_empty() {
            true => Ok(()),
            false => Failure::unless_gone(self.output.answer(&text)),
        }
    }

    /// What a file of that format holds.
    fn rendered(&self, format: Format, told: &[Told]) -> Result<String, Failure> {
        Ok(match format {
            Format::Junit => ci::junit(told),
            Format::Markdown => ci::comment(told, &self.writing.comment_name, self.report_url()),
            Format::Sarif => ci::sarif(told, env!("CARGO_PKG_VERSION")),
            Format::Github => ci::summary(told, self.report_url(), SUMMARY_BYTES),
            Format::Human | Format::Json => {
                let verdicts = told.iter().filter_map(|told| match &told.answer {
                    Answer::Verdict(verdict) => Some(line(verdict)),
                    Answer::Failed(_) => None,
                });
                verdicts.collect::<Result<_, _>>()?
            }
        })
    }

    fn report_url(&self) -> Option<&str> {
        self.writing.report_url.as_deref()
    }

    /// Adds to the summary of the job, where there is one, as much as it still takes.
    fn append_summary(&self, told: &[Told]) -> Result<(), Failure> {
        let Some(path) = std::env::var_os(STEP_SUMMARY).filter(|path| !path.is_empty()) else {
            return Ok(());
        };
        let path = PathBuf::from(path);
        let failed = |error: io::Error| {
            Failure::tool(format!("writing the summary {}", path.display()), &error)
        };
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed)?;
        let text = ci::summary(told, self.report_url(), room(&file).map_err(failed)?);
        if text.is_empty() {
            self.output
                .warn("the summary of the job is full: nothing was added to it");
            return Ok(());
        }
        file.write_all(text.as_bytes()).map_err(failed)
    }
}

/// A verdict as one line of JSON.
fn line(verdict: &Verdict) -> Result<String, Failure> {
    serde_json::to_string(verdict)
        .map(|text| text + "\n")
        .map_err(|error| Failure::tool("writing a verdict as JSON", &error))
}

/// What of the summary is still free.
fn room(file: &File) -> io::Result<usize> {
    let used = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    Ok(SUMMARY_BYTES.saturating_sub(used))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    files::write_text(file, text)
        .map_err(|error| Failure::tool("writing what --write asked for", &error))
}
