//! `plimsoll comment`: the comment of a pull request, from verdicts that nobody vouches for.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::harness::gate::{Verdict, exit};
use crate::harness::model::is_committed;
use crate::harness::report::ci::{self, Answer, Told};
use crate::harness::report::text;
use crate::harness::store::files;

use super::args::CommentArgs;
use super::artifact;
use super::failure::Failure;
use super::output::Output;

/// Fewer digits name no commit for sure; plimsoll writes twelve.
const MIN_DIGITS: usize = 12;

/// How a gate ends that found nothing, as GitHub calls it.
const SUCCESS: &str = "success";
/// What is said of one that ended otherwise although no verdict did.
const UNEXPLAINED: &str =
    "The gate failed, and none of these verdicts says why: its log and its summary do";

/// Reads, checks, and writes the comment. Whatever the verdicts are, having told them is a success.
pub(super) fn run(output: &Output, args: &CommentArgs) -> Result<u8, Failure> {
    let verdicts = artifact::verdicts(args.files.iter().map(PathBuf::as_path))?;
    for verdict in &verdicts {
        of_head(verdict, &args.head)?;
    }
    let at = Timestamp::now();
    let is_red = args.conclusion.as_ref().is_some_and(|it| it != SUCCESS);
    let is_explained = verdicts
        .iter()
        .any(|verdict| verdict.exit_code != exit::PASS);
    let mut told: Vec<Told> = verdicts
        .into_iter()
        .map(|verdict| told(verdict, at))
        .collect();
    // Of a scenario that could not be built, for example, there is no verdict that could be read.
    if is_red && !is_explained {
        told.push(Told::failed("gate", UNEXPLAINED, at));
    }
    let comment = ci::comment(&told, &args.comment_name, args.report_url.as_deref());
    match &args.output {
        None => output.answer(&comment)?,
        Some(file) => write(file, &comment)?,
    }
    Ok(exit::PASS)
}

/// Refuses a verdict on anything but the commit `head`. Who made the artifact could have written any revision into it, but an
/// honest one that is late, or of another pull request, is kept from being shown here.
fn of_head(verdict: &Verdict, head: &str) -> Result<(), Failure> {
    let judged = verdict.head_revision.as_deref();
    let is_head =
        judged.is_some_and(|judged| judged.len() >= MIN_DIGITS && head.starts_with(judged));
    if is_head {
        return Ok(());
    }
    let (what, remedy) = match judged {
        None => (
            "the runs of its head name no revision, or several".to_owned(),
            "let them be made in a checkout: plimsoll gate --against REV",
        ),
        Some(judged) if !is_committed(judged) => (
            format!("it judges {}, a tree with changes", text::shown(judged, 80)),
            "see with `git status` what changed the checkout before the gate, and let git ignore it",
        ),
        Some(judged) => (
            format!("it judges {}", text::shown(judged, 80)),
            "a merge of both branches is another commit: check out the head of the pull request itself; an older run has nothing to say of this head",
        ),
    };
    Err(Failure::Invalid(
        format!(
            "the verdict on {} is not of {head}: {what}",
            text::shown(&verdict.scenario, 120)
        ),
        remedy.to_owned(),
    ))
}

fn told(verdict: Verdict, at: Timestamp) -> Told {
    Told {
        scenario: verdict.scenario.clone(),
        answer: Answer::Verdict(Box::new(verdict)),
        place: None,
        at,
        measured_ns: 0,
        page: None,
    }
}

fn write(file: &Path, comment: &str) -> Result<(), Failure> {
    files::write_text(file, comment).map_err(|error| Failure::tool("writing the comment", &error))
}
