//! Which bench targets a checkout has.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::BenchError;
use super::cargo;
use crate::harness::engine::Redactor;

/// The part of `cargo metadata` that is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The names of the bench targets of the packages in the folder `root`, or of the one called
/// `package`. cargo runs under a supervisor started from `exe`, the plimsoll executable.
pub async fn targets(
    exe: &Path,
    root: &Path,
    package: Option<&str>,
) -> Result<BTreeSet<String>, BenchError> {
    let mut command = Command::new("cargo");
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root);
    let shown = "cargo metadata --no-deps --format-version 1".to_owned();
    // Nothing is built, so nothing that knows a secret says anything here.
    let metadata = cargo::run(exe, &command, &shown, &Redactor::default()).await?;
    bench_targets(&metadata, package).map_err(|error| BenchError::Messages {
        command: shown,
        what: error.to_string(),
    })
}

fn bench_targets(metadata: &[u8], package: Option<&str>) -> serde_json::Result<BTreeSet<String>> {
    let metadata: Metadata = serde_json::from_slice(metadata)?;
    Ok(metadata
        .packages
        .into_iter()
        .filter(|found| package.is_none_or(|package| found.name == package))
        .flat_map(|found| found.targets)
        .filter(|target| target.kind.iter().any(|kind| kind == "bench"))
        .map(|target| target.name)
        .collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn bench_targets_of_a_workspace_or_of_one_package() {
        let target = |name: &str, kind: &str| serde_json::json!({"name": name, "kind": [kind]});
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "targets": [target("a", "lib"), target("fast", "bench")]},
            {"name": "b", "targets": [target("slow", "bench"), target("b", "bin")]},
        ]})
        .to_string();
        let check = |package, expected: &[&str]| {
            let found = bench_targets(metadata.as_bytes(), package).unwrap();
            assert!(found.iter().eq(expected), "{found:?}");
        };
        check(None, &["fast", "slow"]);
        check(Some("a"), &["fast"]);
        check(Some("c"), &[]);
        assert!(bench_targets(b"{}", None).is_err());
    }
}
