//! The harness binary: parse, call, exit code.

use std::process::ExitCode;

use plimsoll::harness::engine::{load, process};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("supervise") => process::supervise_main(),
        Some("worker") => match load::worker_main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                use std::io::Write as _;
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            }
        },
        _ => ExitCode::from(2),
    }
}
