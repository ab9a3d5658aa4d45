//! `plimsoll gate`: run scenarios and judge them against another revision or the stored baseline.

use super::against;
use super::args::{GateArgs, Global};
use super::execute::{Asked, Label, execute};
use super::failure::Failure;
use super::output::Output;

/// Runs and answers.
pub(super) async fn run(global: &Global, output: &Output, args: &GateArgs) -> Result<u8, Failure> {
    if let Some(revision) = &args.against.against {
        return against::run(global, output, args, revision).await;
    }
    execute(
        global,
        output,
        &args.selection,
        Asked::Baseline(args.strictness),
        &Label::default(),
    )
    .await
}
