//! The harness binary: parse, call, exit code.

fn main() {}
