//! Building bench executables and finding where cargo put them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::BenchError;
use super::cargo;
use crate::harness::engine::{Progress, Redactor, apart};
use crate::harness::scenario::BenchPlan;

/// Minor versions of criterion 0.x whose files are known.
const KNOWN_CRITERION: std::ops::RangeInclusive<u32> = 5..=8;

/// The bench executables of one plan, ready to be invoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// In the order of their names.
    pub executables: Vec<Executable>,
    /// A filter handed to criterion.
    pub filter: Option<String>,
    /// Invocations per executable in one run.
    pub invocations: u32,
    /// The longest that one invocation may take, in ns.
    pub timeout_ns: u64,
}

/// One bench executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// The bench target.
    pub target: String,
    /// The file.
    pub path: PathBuf,
    /// The folder of its package, in which cargo would start it.
    pub folder: PathBuf,
}

/// Builds the executables of `plan` with cargo in the folder `root`, in cargo's own target
/// directory or in `target_dir`: one for each revision that is to be kept apart. cargo runs under a
/// supervisor started from `exe`, the plimsoll executable. Fails where cargo does, with its last lines
/// without what `redactor` knows, and where the benches do not use a criterion whose files are known.
pub async fn build(
    exe: &Path,
    plan: &BenchPlan,
    root: &Path,
    target_dir: Option<&Path>,
    redactor: &Redactor,
    observe: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Built, BenchError> {
    let arguments = arguments(plan, target_dir);
    let shown = format!("cargo {}", shell_words::join(&arguments));
    observe(Progress::Building {
        what: match plan.targets.as_slice() {
            [] => "benches".to_owned(),
            targets => format!("benches {}", targets.join(", ")),
        },
        command: shown.clone(),
    });
    let mut command = Command::new("cargo");
    command.args(&arguments).current_dir(root);
    if let Some(folder) = target_dir {
        let (set, unset) = apart::variables(folder);
        command.envs(set);
        for name in unset {
            command.env_remove(name);
        }
    }
    let messages = cargo::run(exe, &command, &shown, redactor).await?;
    Ok(Built {
        executables: executables(&messages, &shown)?,
        filter: plan.filter.clone(),
        invocations: plan.invocations,
        timeout_ns: plan.timeout_ns,
    })
}

fn arguments(plan: &BenchPlan, target_dir: Option<&Path>) -> Vec<String> {
    // Compiler errors go to standard error as a person reads them, and only cargo's own messages
    // to standard output.
    let mut arguments = vec![
        "bench".to_owned(),
        "--no-run".to_owned(),
        "--message-format=json-render-diagnostics".to_owned(),
    ];
    if let Some(package) = &plan.package {
        arguments.extend(["--package".to_owned(), package.clone()]);
    }
    if !plan.features.is_empty() {
        arguments.extend(["--features".to_owned(), plan.features.join(",")]);
    }
    if let Some(target_dir) = target_dir {
        arguments.extend(["--target-dir".to_owned(), target_dir.display().to_string()]);
    }
    if plan.targets.is_empty() {
        arguments.push("--benches".to_owned());
    }
    for target in &plan.targets {
        arguments.extend(["--bench".to_owned(), target.clone()]);
    }
    arguments
}

/// The part of cargo's messages that is read here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    manifest_path: Option<PathBuf>,
    target: Option<MessageTarget>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    kind: Vec<String>,
    name: String,
}

fn executables(messages: &[u8], shown: &str) -> Result<Vec<Executable>, BenchError> {
    let mut executables = Vec::new();
    let mut criterion = None;
    for line in messages.split(|byte| *byte == b'\n') {
        // A build script's output can stand between the messages; they are objects.
        if !line.starts_with(b"{") {
            continue;
        }
        let message: Message =
            serde_json::from_slice(line).map_err(|error| BenchError::Messages {
                command: shown.to_owned(),
                what: error.to_string(),
            })?;
        let Some(target) = message
            .target
            .filter(|_| message.reason == "compiler-artifact")
        else {
            continue;
        };
        if target.name == "criterion" && target.kind.iter().any(|kind| kind == "lib") {
            let version = version_of(message.package_id.as_deref().unwrap_or_default());
            if !is_known(version) {
                return Err(BenchError::CriterionVersion {
                    found: version.to_owned(),
                });
            }
            criterion = Some(version.to_owned());
        }
        if let (Some(path), Some(manifest), true) = (
            message.executable,
            message.manifest_path,
            target.kind.iter().any(|kind| kind == "bench"),
        ) {
            executables.push(Executable {
                target: target.name,
                path,
                folder: manifest.parent().unwrap_or(Path::new("/")).to_owned(),
            });
        }
    }
    let command = shown.to_owned();
    if executables.is_empty() {
        return Err(BenchError::NoExecutable { command });
    }
    if criterion.is_none() {
        return Err(BenchError::NotCriterion { command });
    }
    executables.sort_by(|a, b| (&a.target, &a.path).cmp(&(&b.target, &b.path)));
    Ok(executables)
}

/// The version in a package id: `registry+https://…#criterion@0.8.2`, `path+file:///…#0.8.2`, or
/// `criterion 0.5.1 (registry+https://…)` from a cargo before 1.77.
fn version_of(package_id: &str) -> &str {
    match package_id.rsplit_once('#') {
        Some((_, fragment)) => fragment.rsplit('@').next().unwrap_or(fragment),
        None => package_id.split(' ').nth(1).unwrap_or(package_id),
    }
}

fn is_known(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    matches!(
        (numbers.next(), numbers.next()),
        (Some(Ok(0)), Some(Ok(minor))) if KNOWN_CRITERION.contains(&minor)
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn versions_of_package_ids() {
        let check = |id: &str, version: &str, known: bool| {
            assert_eq!(version_of(id), version, "{id}");
            assert_eq!(is_known(version_of(id)), known, "{id}");
        };
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        check(&format!("{registry}#criterion@0.8.2"), "0.8.2", true);
        check(&format!("{registry}#criterion@0.5.1"), "0.5.1", true);
        check(&format!("{registry}#criterion@0.4.0"), "0.4.0", false);
        check(
            &format!("{registry}#criterion@0.9.0-rc.1"),
            "0.9.0-rc.1",
            false,
        );
        check(&format!("{registry}#criterion@1.5.0"), "1.5.0", false);
        check("path+file:///src/criterion#0.6.0", "0.6.0", true);
        check("git+https://host/c?branch=x#criterion@0.7.0", "0.7.0", true);
        check("criterion 0.5.1 (registry+https://host)", "0.5.1", true);
        check("", "", false);
    }

    #[test]
    fn the_arguments_follow_the_plan() {
        let mut plan = BenchPlan {
            targets: vec!["cache".into(), "pool".into()],
            package: Some("layer".into()),
            features: vec!["a".into(), "b".into()],
            filter: Some("hot".into()),
            invocations: 5,
            timeout_ns: 1,
        };
        assert_eq!(
            arguments(&plan, Some(Path::new("/t"))).join(" "),
            "bench --no-run --message-format=json-render-diagnostics --package layer \
             --features a,b --target-dir /t --bench cache --bench pool"
        );
        plan.targets.clear();
        assert!(arguments(&plan, None).ends_with(&["--benches".into()]));
    }

    fn artifact(package_id: &str, kind: &str, name: &str, executable: &str) -> String {
        serde_json::json!({
            "reason": "compiler-artifact",
            "package_id": package_id,
            "manifest_path": "/src/layer/Cargo.toml",
            "target": {"kind": [kind], "name": name, "src_path": "/x"},
            "executable": (!executable.is_empty()).then_some(executable),
        })
        .to_string()
    }

    #[test]
    fn executables_come_from_cargo_s_messages() {
        let criterion = artifact("r#criterion@0.8.2", "lib", "criterion", "");
        let bench = artifact("p#0.1.0", "bench", "pool", "/t/pool-1");
        let other = artifact("p#0.1.0", "bench", "cache", "/t/cache-1");
        let library = artifact("p#0.1.0", "lib", "layer", "/t/layer-1");
        let end = r#"{"reason":"build-finished","success":true}"#;
        let read = |lines: &[&str]| executables(lines.join("\n").as_bytes(), "cargo");

        let found = read(&[&criterion, "noise", &bench, &library, &other, end]).unwrap();
        let targets: Vec<_> = found.iter().map(|one| one.target.as_str()).collect();
        assert_eq!(targets, ["cache", "pool"]);
        assert_eq!(found[0].path, Path::new("/t/cache-1"));
        assert_eq!(found[0].folder, Path::new("/src/layer"));

        assert!(matches!(
            read(&[&criterion, end]),
            Err(BenchError::NoExecutable { .. })
        ));
        assert!(matches!(
            read(&[&bench, end]),
            Err(BenchError::NotCriterion { .. })
        ));
        assert!(matches!(read(&["{half"]), Err(BenchError::Messages { .. })));
        let newer = artifact("r#criterion@0.9.0", "lib", "criterion", "");
        let error = read(&[&newer, &bench]).unwrap_err();
        assert!(error.to_string().contains("criterion 0.9.0"), "{error}");
    }
}
