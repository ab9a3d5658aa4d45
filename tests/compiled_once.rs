//! The binaries, the benches and the tests are built from one compilation of each crate.
//!
//! cargo adds the features that dev-dependencies ask for where it builds benches and tests. A crate
//! that they change is compiled again, and so is everything above it: after `cargo run --release`,
//! the first bench of the quickstart would wait for most of the dependencies a second time.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::Command;

#[test]
fn no_dev_dependency_changes_a_crate_of_the_binaries() -> Result<(), Box<dyn Error>> {
    let binaries = crates("normal,build")?;
    let with_benches = crates("normal,build,dev")?;
    assert!(binaries.len() > 100, "{binaries:?}");
    assert!(
        with_benches.len() > binaries.len(),
        "criterion is not among them"
    );
    let twice: Vec<_> = binaries.difference(&with_benches).collect();
    assert!(
        twice.is_empty(),
        "compiled once for the binaries and once more for the benches: name the features that \
         `cargo tree --edges features,normal,dev --invert CRATE` shows beside the others of \
         Cargo.toml whose code is not used: {twice:#?}"
    );
    Ok(())
}

/// Every crate, with its features.
fn crates(edges: &str) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--format", "{p} [{f}]", "--edges", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A star marks what the tree has shown before.
    let lines = String::from_utf8(output.stdout)?;
    let lines = lines.lines().map(|line| line.trim_end_matches(" (*)"));
    Ok(lines.map(str::to_owned).collect())
}
