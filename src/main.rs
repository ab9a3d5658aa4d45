//! The harness binary: parse, call, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    match plimsoll::harness::engine::load::worker_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
