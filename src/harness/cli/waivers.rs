//! The waivers of a project, as they stand today.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

use crate::harness::gate::Waivers;
use crate::harness::scenario::waivers::{self, Waiver};
use crate::harness::scenario::{Plan, Rejection};

use super::diagnostics;
use super::failure::Failure;
use super::output::Output;

/// The waivers on the plan's margins, from the plan's own project.
pub(super) fn on(plan: &Plan, output: &Output) -> Result<Waivers, Failure> {
    let all = all(plan, output)?;
    Ok(Waivers::new(&all, &plan.id(), today()))
}

/// All waivers of the plan's own project.
pub(super) fn all(plan: &Plan, output: &Output) -> Result<Vec<Waiver>, Failure> {
    waivers::load(&plan.root)
        .map_err(|rejection| Failure::Scenario(diagnostics::render(&rejection, output.style_err())))
}

/// Today, in UTC.
pub(super) fn today() -> Date {
    day(Timestamp::now())
}

/// The day of a time, in UTC.
pub(super) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The waivers of each project among `roots` that has some, with their file, or what is wrong with it.
pub(super) fn of_projects(
    roots: BTreeSet<PathBuf>,
) -> Vec<(PathBuf, Result<Vec<Waiver>, Rejection>)> {
    roots
        .into_iter()
        .map(|root| (waivers::path(&root), waivers::load(&root)))
        .filter(|(_, loaded)| loaded.as_ref().map_or(true, |all| !all.is_empty()))
        .collect()
}

/// What a person should know of waivers that are in order: which have expired, and which are on no
/// margin of `plans`. Of scenarios that are not among them nothing is said, unless they are `all`.
pub(super) fn remarks(file: &Path, waivers: &[Waiver], plans: &[Plan], all: bool) -> Vec<String> {
    let today = today();
    let mut remarks = Vec::new();
    for waiver in waivers {
        let on = format!("the waiver on {} of {}", waiver.metric, waiver.scenario);
        let is_known = plans.iter().any(|plan| plan.id() == waiver.scenario);
        if waiver.expires < today {
            remarks.push(format!("{on} expired on {}", waiver.expires));
        }
        if !is_known && all {
            remarks.push(format!("{on}: there is no such scenario"));
        }
        if is_known && !plans.iter().any(|plan| waiver.concerns(plan)) {
            remarks.push(format!(
                "{on} is on no metric that has a margin there; limits can't be waived"
            ));
        }
    }
    let place = |remark| format!("{}: {remark}", file.display());
    remarks.into_iter().map(place).collect()
}
