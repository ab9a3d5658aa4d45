//! The reference service binary.

fn main() {}
