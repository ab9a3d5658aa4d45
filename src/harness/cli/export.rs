//! `plimsoll export`: saved runs in the format of interchange.

use std::collections::BTreeSet;

use crate::harness::gate::exit;
use crate::harness::interchange::write_runs;
use crate::harness::report::format;

use super::args::{ExportArgs, Global};
use super::failure::Failure;
use super::output::Output;
use super::sources::{Places, drop_replaced};
use super::workspace;

/// Writes the runs to stdout, one a line, each once. What is left out is said.
pub(super) async fn run(
    global: &Global,
    output: &Output,
    args: &ExportArgs,
) -> Result<u8, Failure> {
    let history = workspace::existing_history(global).await?;
    let places = Places {
        history: history.as_ref(),
        baselines: &args.baselines,
    };
    let mut runs = Vec::new();
    let mut known = BTreeSet::new();
    for name in &args.runs {
        let found = places.find(name).await?.runs;
        runs.extend(found.into_iter().filter(|run| known.insert(run.id)));
    }
    let replaced = drop_replaced(&mut runs);
    if replaced > 0 {
        output.say(&format!(
            "{} of pairs that were measured again are not exported",
            format::counted(replaced, "run")
        ));
    }
    let (text, left_out) = write_runs(&runs);
    for run in &left_out {
        output.say(&run.to_string());
    }
    if text.is_empty() {
        return Err(Failure::usage(
            "none of these runs can be exported",
            "name others: plimsoll list --sessions",
        ));
    }
    output.document(&text)?;
    Ok(exit::PASS)
}
