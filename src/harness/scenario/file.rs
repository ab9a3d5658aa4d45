//! From a file, or from text that stands for one, to the plans of its variants.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::keys::{self, TableSpec};
use super::plan::Plan;
use super::problem::{Code, Problem, Problems, position};
use super::raw;
use super::structure;
use super::validate::{self, Place};

/// A scenario is written by hand; more than this is something else.
const MAX_SCENARIO_BYTES: usize = 1 << 20;
/// What marks the root of a project.
const ROOT_MARKS: [&str; 3] = [".git", "plimsoll.toml", "Cargo.toml"];

/// A scenario without problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The variants that it lists, the default one first; empty where it lists none.
    pub variants: Vec<String>,
    /// One plan a variant, in the same order; exactly one where it lists none.
    pub plans: Vec<Plan>,
}

impl Scenario {
    /// The plan of a variant; `None` where the scenario doesn't list it.
    pub fn plan_of(&self, variant: &str) -> Option<&Plan> {
        let index = self.variants.iter().position(|known| known == variant)?;
        self.plans.get(index)
    }
}

/// A file that gave no plan, and every reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has {} problem(s)", .file.display(), .problems.len())]
pub struct Rejection {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Its text, for showing the problems in it; empty where it couldn't be read.
    pub text: String,
    /// All of them, in the order of the file; at least one.
    pub problems: Vec<Problem>,
}

/// Reads and validates a scenario file in all of its variants: one plan each, the default one first.
///
/// # Errors
/// Every problem at once; a file that can't be read is one as well.
pub fn check(file: &Path) -> Result<Vec<Plan>, Rejection> {
    load(file).map(|scenario| scenario.plans)
}

/// Reads and validates a scenario file.
///
/// # Errors
/// As [`check`].
pub fn load(file: &Path) -> Result<Scenario, Rejection> {
    read_as(file, &REMEDIES, |text| parse(text, file))
}

/// Whether a TOML file means to be a scenario: it has a key `schema`, however wrong the rest is.
/// One that can't be read counts as a scenario, so that somebody says why.
pub fn looks_like_one(file: &Path) -> bool {
    read(file, &REMEDIES).map_or(true, |text| {
        let (table, _) = DeTable::parse_recoverable(&text);
        table.get_ref().contains_key("schema")
    })
}

/// The metric of each gate of a scenario file, as it names it, and its line, counted from 1. Nothing where the
/// file can't be read.
pub fn gate_lines(file: &Path) -> Vec<(String, usize)> {
    let Ok(text) = read(file, &REMEDIES) else {
        return Vec::new();
    };
    let (table, _) = DeTable::parse_recoverable(&text);
    let gates = raw::tables(table.get_ref(), "gate").into_iter();
    let metrics = gates.filter_map(|(gate, _)| raw::text(gate, "metric"));
    metrics
        .map(|metric| (metric.text.to_owned(), position(&text, metric.span.start).0))
        .collect()
}

/// The root of the project that a scenario file belongs to: the nearest folder above it with a
/// `.git`, `plimsoll.toml` or `Cargo.toml`, else its own folder.
pub fn root_of(file: &Path) -> PathBuf {
    place(file).root
}

/// What to do about a file of which nothing can be shown.
pub(super) struct Remedies {
    pub(super) unreadable: &'static str,
    pub(super) too_large: &'static str,
}

const REMEDIES: Remedies = Remedies {
    unreadable: "name a scenario file; the README shows one of ten lines",
    too_large: "a scenario is written by hand; put data into a feed",
};

/// What `parse` makes of the text of a file.
pub(super) fn read_as<T>(
    file: &Path,
    remedies: &Remedies,
    parse: impl FnOnce(&str) -> Result<T, Vec<Problem>>,
) -> Result<T, Rejection> {
    let rejection = |text: &str, problems| Rejection {
        file: file.to_owned(),
        text: text.to_owned(),
        problems,
    };
    let text = read(file, remedies).map_err(|problems| rejection("", problems))?;
    parse(&text).map_err(|problems| rejection(&text, problems))
}

/// The text of a file, or the one problem with it.
fn read(file: &Path, remedies: &Remedies) -> Result<String, Vec<Problem>> {
    let problem = |code: Code, message: String, help: &str| {
        let mut problems = Problems::new("");
        problems.report(code, 0..0, message, "", help);
        problems.into_sorted()
    };
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| {
        file.take(MAX_SCENARIO_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return Err(problem(
            Code::Unreadable,
            format!("the file can't be read: {error}"),
            remedies.unreadable,
        ));
    }
    if bytes.len() > MAX_SCENARIO_BYTES {
        return Err(problem(
            Code::TooLarge,
            "the file is larger than 1 MiB".to_owned(),
            remedies.too_large,
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        problem(
            Code::NotText,
            format!(
                "the file is not UTF-8 text (byte {})",
                error.utf8_error().valid_up_to()
            ),
            "save it as UTF-8",
        )
    })
}

/// Validates the text of a scenario as if it stood in the file `path`: feeds are read from beside
/// it, and it may be without a name where the file has one.
///
/// # Errors
/// Every problem of the text, in its order; at least one.
pub fn parse(text: &str, path: &Path) -> Result<Scenario, Vec<Problem>> {
    let (variants, plans) = parse_as(&keys::SCENARIO, text, |table, problems| {
        validate::validate(table, &place(path), problems)
    })?;
    Ok(Scenario { variants, plans })
}

/// Looks at the form of a text, which is to be a table of the kind `spec`, and lets `mean` find out
/// what it means, whether or not the form is in order.
pub(super) fn parse_as<T>(
    spec: &'static TableSpec,
    text: &str,
    mean: impl FnOnce(&DeTable<'_>, &mut Problems<'_>) -> T,
) -> Result<T, Vec<Problem>> {
    let mut problems = Problems::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        problems.report(
            Code::Syntax,
            span,
            error.message(),
            "not TOML",
            "write `key = value`, texts and quantities in quotes: `warmup = \"5s\"`",
        );
    }
    let is_toml = errors.is_empty();
    structure::check(spec, table, 0..0, &mut problems);
    let meant = mean(table, &mut problems);
    let mut problems = problems.into_sorted();
    if !is_toml {
        forget_consequences(text, &mut problems);
    }
    if problems.is_empty() {
        Ok(meant)
    } else {
        Err(problems)
    }
}

/// What the parser couldn't read is missing or odd to the later looks: on the lines of syntax errors
/// nothing else is said, and nothing is called missing.
fn forget_consequences(text: &str, problems: &mut Vec<Problem>) {
    let lines: Vec<(usize, usize)> = problems
        .iter()
        .filter(|problem| problem.code == Code::Syntax)
        .map(|problem| {
            let newlines = text[problem.span.clone()].matches('\n').count();
            (problem.line, problem.line + newlines)
        })
        .collect();
    problems.retain(|problem| {
        let is_beside = lines
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&problem.line));
        let is_absence = matches!(
            problem.code,
            Code::MissingKey | Code::NothingToDo | Code::NoTarget | Code::NoPort | Code::NoMetrics
        );
        problem.code == Code::Syntax || !(is_beside || is_absence)
    });
}

fn place(path: &Path) -> Place {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    // Links are resolved so that a feed's real place can be compared with the root's.
    let folder = folder.canonicalize().unwrap_or(folder);
    let root = folder
        .ancestors()
        .find(|folder| ROOT_MARKS.iter().any(|mark| folder.join(mark).exists()))
        .unwrap_or(&folder)
        .to_owned();
    Place {
        file: path.to_owned(),
        folder,
        root,
    }
}
