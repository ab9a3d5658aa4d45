//! `plimsoll run`: run scenarios and judge their limits.

use crate::harness::model::Arm;

use super::args::{ArmArg, Global, RunArgs};
use super::execute::{Asked, Label, execute};
use super::failure::Failure;
use super::output::Output;

/// Runs and answers.
pub(super) async fn run(global: &Global, output: &Output, args: &RunArgs) -> Result<u8, Failure> {
    let label = Label {
        arm: args.arm.map(arm),
        pair: args.pair,
        session: args.session.clone(),
    };
    execute(global, output, &args.selection, Asked::Limits, &label).await
}

/// The arm that was named.
pub(super) fn arm(named: ArmArg) -> Arm {
    match named {
        ArmArg::Base => Arm::Base,
        ArmArg::Head => Arm::Head,
    }
}
