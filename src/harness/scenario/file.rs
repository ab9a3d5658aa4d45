//! From a file, or from text that stands for one, to the plans of its variants.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::keys;
use super::nearest::nearest;
use super::plan::Plan;
use super::problem::{Code, Problem, Problems};
use super::structure;
use super::validate::{self, Place};

/// A scenario is written by hand; more than this is something else.
pub const MAX_SCENARIO_BYTES: usize = 1 << 20;
/// What marks the root of a project.
const ROOT_MARKS: [&str; 3] = [".git", "plimsoll.toml", "Cargo.toml"];

/// A scenario without problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The variants that it lists, the default one first; empty where it lists none.
    pub variants: Vec<String>,
    /// One plan a variant, in the same order; exactly one where it lists none.
    plans: Vec<Plan>,
}

/// Why a file gave no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It can't be read.
    #[error("can't read the scenario {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than [`MAX_SCENARIO_BYTES`].
    #[error("{} is larger than the {MAX_SCENARIO_BYTES} bytes that a scenario may have", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not UTF-8.
    #[error("{} is not UTF-8 text (first wrong byte: {offset})", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The offset of the first wrong byte.
        offset: usize,
    },
    /// It has problems.
    #[error("{} has {} problem(s); `plimsoll check {}` shows them", .path.display(), .problems.len(), .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its text, for showing the problems in it.
        text: String,
        /// All of them, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// A variant that the scenario doesn't list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scenario `{scenario}` has no variant `{variant}`{help}")]
pub struct UnknownVariant {
    scenario: String,
    variant: String,
    help: String,
}

impl Scenario {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.plans[0].name
    }

    /// One plan a variant, the default one first; at least one.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The plan of a variant, the default one without.
    pub fn plan(&self, variant: Option<&str>) -> Result<&Plan, UnknownVariant> {
        let Some(variant) = variant else {
            return Ok(&self.plans[0]);
        };
        let index = self.variants.iter().position(|known| known == variant);
        index.map(|index| &self.plans[index]).ok_or_else(|| {
            let known = self.variants.iter().map(String::as_str);
            let help = match nearest(variant, known) {
                Some(nearest) => format!("; did you mean `{nearest}`?"),
                None if self.variants.is_empty() => "; it lists none".to_owned(),
                None => format!("; it lists {}", self.variants.join(", ")),
            };
            UnknownVariant {
                scenario: self.name().to_owned(),
                variant: variant.to_owned(),
                help,
            }
        })
    }
}

/// Reads and validates a scenario file.
pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
    let read = |source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(read)?
        .take(MAX_SCENARIO_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() > MAX_SCENARIO_BYTES {
        return Err(ScenarioError::TooLarge {
            path: path.to_owned(),
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| ScenarioError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    parse(&text, path).map_err(|problems| ScenarioError::Invalid {
        path: path.to_owned(),
        text,
        problems,
    })
}

/// Validates the text of a scenario as if it stood in the file `path`: feeds are read from beside
/// it, and it may be without a name where the file has one.
///
/// # Errors
/// Every problem of the text, in its order; at least one.
pub fn parse(text: &str, path: &Path) -> Result<Scenario, Vec<Problem>> {
    let mut problems = Problems::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        problems.report(Code::Syntax, span, error.message(), "not TOML");
    }
    let is_toml = errors.is_empty();
    structure::check(&keys::SCENARIO, table, 0..0, &mut problems);
    let (variants, plans) = validate::validate(table, &place(path), &mut problems);
    let mut problems = problems.into_sorted();
    if !is_toml {
        forget_consequences(text, &mut problems);
    }
    if problems.is_empty() {
        Ok(Scenario { variants, plans })
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
