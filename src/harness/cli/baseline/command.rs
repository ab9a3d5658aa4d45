//! Which command was typed.

use crate::harness::cli::args::{BaselineCommand, Global};
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;

use super::diff::diff;
use super::pin::pin;
use super::refresh::refresh;
use super::save::save;
use super::show::show;

/// Does it.
pub(in crate::harness::cli) async fn run(
    global: &Global,
    output: &Output,
    command: &BaselineCommand,
) -> Result<u8, Failure> {
    match command {
        BaselineCommand::Show {
            scenario,
            baselines,
        } => show(output, scenario.as_deref(), baselines),
        BaselineCommand::Save {
            scenarios,
            sessions,
            baselines,
        } => save(global, output, scenarios, *sessions as usize, baselines).await,
        BaselineCommand::Diff {
            old,
            new,
            baselines,
        } => diff(global, output, old, new.as_deref(), baselines).await,
        BaselineCommand::Refresh(args) => refresh(global, output, args).await,
        BaselineCommand::Pin {
            scenarios,
            name,
            baselines,
        } => pin(output, scenarios, name, baselines),
    }
}
