//! The harness binary: parse, call, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll::harness::cli::main()
}
