//! The harness binary: parse, call, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("supervise") => plimsoll::harness::engine::process::supervise_main(),
        _ => ExitCode::from(2),
    }
}
