//! `plimsoll gate`: run scenarios and judge them against the stored baseline.

use super::args::{GateArgs, Global};
use super::execute::{Asked, Label, execute};
use super::failure::Failure;
use super::output::Output;

/// Runs and answers.
pub(super) async fn run(global: &Global, output: &Output, args: &GateArgs) -> Result<u8, Failure> {
    execute(
        global,
        output,
        &args.selection,
        Asked::Baseline(args.strictness),
        &Label::default(),
    )
    .await
}
