//! Invoking bench executables in turn and putting their results together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::sync::watch;

use super::command;
use super::{BenchError, Built, Executable};
use crate::harness::engine::Progress;
use crate::harness::engine::flag::became_true;
use crate::harness::interchange::{BenchResult, read_results};
use crate::harness::model::BenchMeasurement;

/// criterion's own text is shown only where an executable fails; its standard output is not kept.
const STDOUT_BYTES: usize = 0;

/// What the benches gave, also where it was not all that they should have given.
#[derive(Debug)]
pub struct Measured {
    /// By id.
    pub benches: Vec<BenchMeasurement>,
    /// Whether it was stopped before its time.
    pub partial: bool,
    /// Why it ended before its time.
    pub failed: Option<BenchError>,
}

/// Invokes every executable as often as its plan says, in turn, so that a slow drift of the machine
/// meets all of them alike. When `stop` becomes true, the invocation under way is killed; there, and
/// where one fails, what the others gave is returned. Each runs under a supervisor started from `exe`,
/// the plimsoll executable.
pub async fn measure(
    exe: &Path,
    built: &[Built],
    mut stop: watch::Receiver<bool>,
    observe: &(dyn Fn(Progress) + Send + Sync),
) -> Measured {
    let mut collected = Collected::default();
    let (partial, failed) = tokio::select! {
        biased;
        () = became_true(&mut stop) => (true, None),
        ended = invoke_all(exe, built, &mut collected, observe) => (false, ended.err()),
    };
    Measured {
        benches: collected.into_benches(),
        partial,
        failed,
    }
}

async fn invoke_all(
    exe: &Path,
    built: &[Built],
    collected: &mut Collected,
    observe: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), BenchError> {
    let rounds = built.iter().map(|one| one.invocations).max().unwrap_or(0);
    let of_one = |one: &Built| one.invocations.saturating_mul(one.executables.len() as u32);
    let all = built.iter().map(of_one).fold(0, u32::saturating_add);
    let mut done = 0;
    for invocation in 1..=rounds {
        for (plan, built) in built.iter().enumerate() {
            if invocation > built.invocations {
                continue;
            }
            for executable in &built.executables {
                observe(Progress::Bench {
                    target: executable.target.clone(),
                    invocation,
                    of: built.invocations,
                    done,
                    all,
                });
                let results = invoke(exe, executable, built, invocation).await?;
                if results.is_empty() && built.filter.is_none() {
                    return Err(BenchError::NoResult {
                        target: executable.target.clone(),
                    });
                }
                collected.add(plan, executable, invocation, results)?;
                done += 1;
            }
            if let (Some(filter), false) = (&built.filter, collected.has(plan)) {
                return Err(BenchError::NothingMatches {
                    filter: filter.clone(),
                });
            }
        }
    }
    Ok(())
}

async fn invoke(
    exe: &Path,
    executable: &Executable,
    built: &Built,
    invocation: u32,
) -> Result<Vec<BenchResult>, BenchError> {
    let target = || executable.target.clone();
    let home = tempfile::Builder::new().prefix("plimsoll-bench-").tempdir();
    let home = home.map_err(|source| BenchError::Home {
        target: target(),
        source,
    })?;
    let mut bench = Command::new(&executable.path);
    // Without `--bench` criterion is in test mode and measures nothing.
    bench
        .args(["--bench", "--noplot"])
        .current_dir(&executable.folder)
        .env("CARGO_MANIFEST_DIR", &executable.folder)
        .env("CRITERION_HOME", home.path())
        // Set by cargo-criterion, whom criterion would then tell its samples instead.
        .env_remove("CARGO_CRITERION_PORT");
    if let Some(filter) = &built.filter {
        bench.arg("--").arg(filter);
    }
    let limit = Duration::from_nanos(built.timeout_ns);
    let Ok(finished) = tokio::time::timeout(limit, command::run(exe, &bench, STDOUT_BYTES)).await
    else {
        return Err(BenchError::TimedOut {
            target: target(),
            invocation,
            limit_ns: built.timeout_ns,
        });
    };
    let finished = finished.map_err(|source| BenchError::Supervisor {
        exe: exe.to_owned(),
        source,
    })?;
    if !finished.status.success() {
        return Err(BenchError::Failed {
            target: target(),
            invocation,
            status: finished.status,
            output: finished.stderr_tail,
        });
    }
    Ok(read_results(home.path())?)
}

/// Benchmarks by id, each with the number of its plan and the file of its executable.
#[derive(Default)]
struct Collected {
    benches: BTreeMap<String, (usize, PathBuf, BenchMeasurement)>,
}

impl Collected {
    /// Adds what one invocation of an executable gave; each of them must give the same ids, and no
    /// two executables one, because the id names the metric.
    fn add(
        &mut self,
        plan: usize,
        executable: &Executable,
        invocation: u32,
        results: Vec<BenchResult>,
    ) -> Result<(), BenchError> {
        let not_in_each = |id: &str, invocation| BenchError::NotInEach {
            id: id.to_owned(),
            target: executable.target.clone(),
            invocation,
        };
        for result in results {
            match self.benches.entry(result.id) {
                Entry::Occupied(mut entry) => {
                    let (of, path, bench) = entry.get_mut();
                    if *path == executable.path && *of != plan {
                        return Err(BenchError::Overlap {
                            id: bench.id.clone(),
                            target: executable.target.clone(),
                        });
                    }
                    if *path != executable.path {
                        return Err(BenchError::Twice {
                            id: bench.id.clone(),
                            first: bench.target.clone(),
                            second: executable.target.clone(),
                        });
                    }
                    bench.invocations.push(result.invocation);
                }
                Entry::Vacant(entry) if invocation > 1 => {
                    return Err(not_in_each(entry.key(), invocation - 1));
                }
                Entry::Vacant(entry) => {
                    let bench = BenchMeasurement {
                        id: entry.key().clone(),
                        target: executable.target.clone(),
                        invocations: vec![result.invocation],
                    };
                    entry.insert((plan, executable.path.clone(), bench));
                }
            }
        }
        let left_out = self.benches.values().find(|(of, path, bench)| {
            (*of, path) == (plan, &executable.path)
                && bench.invocations.len() != invocation as usize
        });
        match left_out {
            Some((_, _, bench)) => Err(not_in_each(&bench.id, invocation)),
            None => Ok(()),
        }
    }

    fn has(&self, plan: usize) -> bool {
        self.benches.values().any(|(of, ..)| *of == plan)
    }

    fn into_benches(self) -> Vec<BenchMeasurement> {
        self.benches
            .into_values()
            .map(|(.., bench)| bench)
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::model::{BenchInvocation, Sampling};

    fn executable(target: &str) -> Executable {
        Executable {
            target: target.into(),
            path: format!("/t/{target}").into(),
            folder: "/".into(),
        }
    }

    fn results(ids: &[&str]) -> Vec<BenchResult> {
        let result = |id: &&str| BenchResult {
            id: (*id).into(),
            invocation: BenchInvocation {
                point_ns: 1.0,
                sampling: Sampling::Flat,
                iterations: vec![1.0],
                times_ns: vec![1.0],
            },
        };
        ids.iter().map(result).collect()
    }

    #[test]
    fn every_invocation_gives_the_same_ids() {
        let (one, two) = (executable("one"), executable("two"));
        let mut collected = Collected::default();
        collected.add(0, &one, 1, results(&["a", "b"])).unwrap();
        collected.add(1, &two, 1, results(&["c"])).unwrap();
        collected.add(0, &one, 2, results(&["a", "b"])).unwrap();
        let error = collected.add(1, &two, 2, results(&[])).unwrap_err();
        assert!(
            matches!(&error, BenchError::NotInEach { id, invocation: 2, .. } if id == "c"),
            "{error}"
        );
        let error = collected.add(1, &two, 2, results(&["c", "d"])).unwrap_err();
        assert!(
            matches!(&error, BenchError::NotInEach { id, invocation: 1, .. } if id == "d"),
            "{error}"
        );
        assert!(collected.has(0) && collected.has(1) && !collected.has(2));
        let benches = collected.into_benches();
        let counts: Vec<_> = benches
            .iter()
            .map(|bench| {
                (
                    bench.id.as_str(),
                    bench.target.as_str(),
                    bench.invocations.len(),
                )
            })
            .collect();
        assert_eq!(counts, [("a", "one", 2), ("b", "one", 2), ("c", "two", 2)]);
    }

    #[test]
    fn an_id_belongs_to_one_executable() {
        let mut collected = Collected::default();
        collected
            .add(0, &executable("one"), 1, results(&["a"]))
            .unwrap();
        let error = collected
            .add(0, &executable("two"), 1, results(&["a"]))
            .unwrap_err();
        assert!(matches!(error, BenchError::Twice { .. }), "{error}");
        let error = collected
            .add(1, &executable("one"), 1, results(&["a"]))
            .unwrap_err();
        assert!(matches!(error, BenchError::Overlap { .. }), "{error}");
    }
}
