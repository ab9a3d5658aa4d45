//! criterion at its boundary: recorded results, damaged ones, and a real crate that is built and run.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use plimsoll::harness::engine::bench::{BenchError, Built, build, measure};
use plimsoll::harness::engine::{Progress, Redactor};
use plimsoll::harness::interchange::{BenchResult, InterchangeError, read_results};
use plimsoll::harness::model::Sampling;
use plimsoll::harness::scenario::BenchPlan;
use tokio::sync::watch;

use support::files::{copy, repository};

type Checked = Result<(), Box<dyn Error>>;

#[test]
fn recorded_results_are_read() -> Checked {
    let results = read_results(&data("criterion/recorded"))?;
    let ids: Vec<&str> = results.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(
        ids,
        ["new/<b>a/b?</b>", "new/new", "sum/flat/1000", "sum/linear"]
    );
    for result in &results {
        assert_eq!(result.invocation.iterations.len(), 10, "{}", result.id);
        assert_eq!(result.invocation.times_ns.len(), 10, "{}", result.id);
    }
    let flat = &results[2].invocation;
    assert_eq!(flat.sampling, Sampling::Flat);
    let first = flat.iterations[0];
    assert!(
        flat.iterations
            .iter()
            .all(|iterations| *iterations == first)
    );
    let linear = &results[3].invocation;
    assert_eq!(linear.sampling, Sampling::Linear);
    assert!(linear.iterations.windows(2).all(|pair| pair[0] < pair[1]));
    Ok(())
}

#[test]
fn the_estimates_are_those_of_criterion() -> Checked {
    let results = read_results(&data("criterion/recorded"))?;
    let check = |id: &str, folder: &str, statistic: &str| -> Checked {
        let path = data("criterion/recorded")
            .join(folder)
            .join("new/estimates.json");
        let estimates: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let theirs = estimates[statistic]["point_estimate"]
            .as_f64()
            .ok_or("no estimate")?;
        let ours = find(&results, id)?.invocation.point_ns;
        assert!(
            (ours / theirs - 1.0).abs() < 1e-12,
            "{id}: {ours}, criterion says {theirs}"
        );
        Ok(())
    };
    check("sum/linear", "sum/linear", "slope")?;
    check("sum/flat/1000", "sum/flat/1000", "median")?;
    check("new/new", "new/new", "slope")
}

#[test]
fn a_damaged_result_is_named() -> Checked {
    // What is done to the results of `sum/linear`, and the file that the error then names.
    let check = |damage: &dyn Fn(&Path) -> std::io::Result<()>,
                 named: &str|
     -> Result<InterchangeError, Box<dyn Error>> {
        let home = tempfile::tempdir()?;
        copy(&data("criterion/recorded"), home.path())?;
        let folder = home.path().join("sum/linear/new");
        damage(&folder)?;
        let error = read_results(home.path())
            .err()
            .ok_or(format!("{named} was read"))?;
        let text = error.to_string();
        let whole = folder.join(named).display().to_string();
        assert!(text.contains(whole.trim_end_matches('/')), "{text}");
        Ok(error)
    };
    let write = |name: &'static str, text: &'static str| {
        move |folder: &Path| fs::write(folder.join(name), text)
    };
    let whole = fs::read_to_string(data("criterion/recorded/sum/linear/new/sample.json"))?;
    let half = &whole[..whole.len() / 2];

    let missing = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name));
    assert!(matches!(
        check(&missing("sample.json"), "sample.json")?,
        InterchangeError::Read { .. }
    ));
    assert!(matches!(
        check(&missing("benchmark.json"), "benchmark.json")?,
        InterchangeError::Read { .. }
    ));
    let emptied = |folder: &Path| {
        fs::remove_dir_all(folder)?;
        fs::create_dir(folder)
    };
    assert!(matches!(
        check(&emptied, "benchmark.json")?,
        InterchangeError::Read { .. }
    ));

    let layouts = [
        ("sample.json", ""),
        ("sample.json", "[]"),
        ("sample.json", r#"{"iters":[1.0],"times":[1.0]}"#),
        (
            "sample.json",
            r#"{"sampling_mode":"Quadratic","iters":[1.0],"times":[1.0]}"#,
        ),
        (
            "sample.json",
            r#"{"sampling_mode":"Flat","iters":[],"times":[]}"#,
        ),
        (
            "sample.json",
            r#"{"sampling_mode":"Flat","iters":[1.0,2.0],"times":[1.0]}"#,
        ),
        (
            "sample.json",
            r#"{"sampling_mode":"Flat","iters":[0.0],"times":[1.0]}"#,
        ),
        (
            "sample.json",
            r#"{"sampling_mode":"Flat","iters":[1.0],"times":[-1.0]}"#,
        ),
        (
            "sample.json",
            r#"{"sampling_mode":"Flat","iters":[1.0],"times":[null]}"#,
        ),
        ("benchmark.json", "{}"),
        ("benchmark.json", r#"{"full_id":""}"#),
        ("benchmark.json", r#"{"full_id":7}"#),
    ];
    for (name, text) in layouts {
        assert!(
            matches!(
                check(&write(name, text), name)?,
                InterchangeError::Content { .. }
            ),
            "{text}"
        );
    }
    let cut = |folder: &Path| fs::write(folder.join("sample.json"), half);
    assert!(matches!(
        check(&cut, "sample.json")?,
        InterchangeError::Content { .. }
    ));
    let large =
        |folder: &Path| fs::File::create(folder.join("sample.json"))?.set_len((16 << 20) + 1);
    assert!(matches!(
        check(&large, "sample.json")?,
        InterchangeError::Content { .. }
    ));
    let link = |folder: &Path| {
        fs::remove_file(folder.join("sample.json"))?;
        std::os::unix::fs::symlink(
            "../../flat/1000/new/sample.json",
            folder.join("sample.json"),
        )
    };
    assert!(matches!(
        check(&link, "sample.json")?,
        InterchangeError::Read { .. }
    ));
    let twice = |folder: &Path| {
        let other = folder.join("../../flat/1000/new/benchmark.json");
        fs::copy(other, folder.join("benchmark.json")).map(drop)
    };
    assert!(matches!(check(&twice, "")?, InterchangeError::Twice { .. }));
    Ok(())
}

#[test]
fn a_link_to_another_folder_is_not_followed() -> Checked {
    let home = tempfile::tempdir()?;
    std::os::unix::fs::symlink(data("criterion/recorded/sum"), home.path().join("sum"))?;
    assert_eq!(read_results(home.path())?, []);
    assert!(matches!(
        read_results(&home.path().join("missing")),
        Err(InterchangeError::Read { .. })
    ));
    Ok(())
}

/// One test, because cargo builds one thing at a time.
#[tokio::test]
async fn a_real_crate_is_built_and_measured() -> Checked {
    let tiny = built("tiny", None, 2).await?;
    let seen = Mutex::new(Vec::new());
    let observe = |progress| {
        if let (
            Progress::Bench {
                target,
                invocation,
                of,
                done,
                all,
            },
            Ok(mut seen),
        ) = (progress, seen.lock())
        {
            seen.push((target, [invocation, of], [done, all]));
        }
    };
    let (_stop, stopped) = watch::channel(false);
    let measured = measure(
        exe(),
        std::slice::from_ref(&tiny),
        stopped.clone(),
        &observe,
    )
    .await;
    assert!(measured.failed.is_none(), "{:?}", measured.failed);
    assert_eq!(
        *seen.lock().map_err(|_| "poisoned")?,
        [
            ("tiny".into(), [1, 2], [0, 2]),
            ("tiny".into(), [2, 2], [1, 2])
        ]
    );
    assert!(!measured.partial);
    let ids: Vec<&str> = measured.benches.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(
        ids,
        ["new/<b>a/b?</b>", "new/new", "sum/flat/1000", "sum/linear"]
    );
    for bench in &measured.benches {
        assert_eq!(
            (bench.target.as_str(), bench.invocations.len()),
            ("tiny", 2)
        );
        for invocation in &bench.invocations {
            let pairs = invocation.iterations.iter().zip(&invocation.times_ns);
            let each: Vec<f64> = pairs.map(|(iterations, ns)| ns / iterations).collect();
            let low = each.iter().copied().fold(f64::INFINITY, f64::min);
            let high = each.iter().copied().fold(0.0, f64::max);
            assert!((low..=high).contains(&invocation.point_ns), "{bench:?}");
        }
    }
    // Ten times the work is some ten times the time, whatever the machine. The fastest samples are
    // asked, because on a busy machine any other may be anything.
    let point = |id: &str| -> Result<f64, Box<dyn Error>> {
        let bench = measured
            .benches
            .iter()
            .find(|one| one.id == id)
            .ok_or("no such bench")?;
        let each = bench.invocations.iter().flat_map(|invocation| {
            let pairs = invocation.iterations.iter().zip(&invocation.times_ns);
            pairs.map(|(iterations, ns)| ns / iterations)
        });
        Ok(each.fold(f64::INFINITY, f64::min))
    };
    let ratio = point("sum/flat/1000")? / point("sum/linear")?;
    assert!((3.0..30.0).contains(&ratio), "{ratio}");

    let quiet = |_| ();
    let filtered = Built {
        filter: Some("^sum/lin".into()),
        invocations: 1,
        ..tiny.clone()
    };
    let measured = measure(exe(), &[filtered], stopped.clone(), &quiet).await;
    assert!(measured.failed.is_none(), "{:?}", measured.failed);
    assert_eq!(measured.benches.len(), 1);
    let nothing = Built {
        filter: Some("--list".into()),
        ..tiny.clone()
    };
    let error = measure(exe(), &[nothing], stopped.clone(), &quiet)
        .await
        .failed
        .ok_or("a filter is no option")?;
    assert!(
        matches!(error, BenchError::NothingMatches { .. }),
        "{error}"
    );
    let twice = [tiny.clone(), tiny.clone()];
    let failed = measure(exe(), &twice, stopped.clone(), &quiet).await.failed;
    assert!(
        matches!(failed, Some(BenchError::Overlap { .. })),
        "{failed:?}"
    );

    let panics = built("faulty", Some("panics"), 1).await?;
    let measured = measure(exe(), &[tiny, panics], stopped.clone(), &quiet).await;
    let error = measured.failed.ok_or("a panic went unnoticed")?;
    assert!(
        error.to_string().contains("this benchmark panics"),
        "{error}"
    );
    // What came before is kept, and what would have come after is not begun.
    assert!(!measured.partial);
    let invocations = measured.benches.iter().map(|one| one.invocations.len());
    assert_eq!(invocations.collect::<Vec<_>>(), [1; 4]);

    let sleeps = built("faulty", Some("sleeps"), 1).await?;
    let short = Built {
        timeout_ns: 300_000_000,
        ..sleeps.clone()
    };
    let begun = Instant::now();
    let error = measure(exe(), &[short], stopped, &quiet)
        .await
        .failed
        .ok_or("it never ends")?;
    assert!(
        matches!(error, BenchError::TimedOut { invocation: 1, .. }),
        "{error}"
    );
    let (stop, stopped) = watch::channel(false);
    let stopper = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.send(true)
    };
    let sleeping = [sleeps];
    let (measured, sent) = tokio::join!(measure(exe(), &sleeping, stopped, &quiet), stopper);
    sent?;
    assert!(measured.partial);
    assert!(begun.elapsed() < Duration::from_secs(60));
    let program = sleeping[0].executables[0].path.display().to_string();
    while is_running(&program)? {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{program} was left running"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let broken = BenchPlan {
        features: vec!["broken".into()],
        ..plan("tiny", None, 1)
    };
    let error = build(
        exe(),
        &broken,
        &data("bench-crate"),
        Some(&target_dir()),
        &Redactor::default(),
        &quiet,
    )
    .await
    .err()
    .ok_or("it was built")?;
    let text = error.to_string();
    assert!(matches!(error, BenchError::Build { .. }), "{text}");
    assert!(text.contains("the feature `broken` is on"), "{text}");
    let unknown = build(
        exe(),
        &plan("nowhere", None, 1),
        &data("bench-crate"),
        Some(&target_dir()),
        &Redactor::default(),
        &quiet,
    )
    .await;
    let text = unknown.err().ok_or("there is no such target")?.to_string();
    assert!(text.contains("nowhere"), "{text}");
    Ok(())
}

/// What a build script writes reaches a terminal and a log.
#[tokio::test]
async fn what_can_not_be_started_is_named() -> Checked {
    let plan = plan("tiny", None, 1);
    let redactor = Redactor::default();
    let build = async |exe: &Path, root: &Path| {
        let built = build(exe, &plan, root, None, &redactor, &|_| ()).await;
        built.err().ok_or("it was built")
    };
    // As where there is no cargo: the operating system doesn't start it.
    let error = build(exe(), Path::new("/no/such/project")).await?;
    assert!(matches!(error, BenchError::NoCargo { .. }), "{error}");
    let error = build(Path::new("/no/such/plimsoll"), Path::new("/")).await?;
    assert!(matches!(error, BenchError::Supervisor { .. }), "{error}");
    assert!(error.to_string().contains("`/no/such/plimsoll`"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_build_that_fails_tells_no_secret_and_does_nothing_to_the_terminal() -> Checked {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
    write(
        "Cargo.toml",
        "[package]\nname = \"told\"\nversion = \"0.1.0\"\n[workspace]\n[[bench]]\nname = \"tiny\"\npath = \"tiny.rs\"\n",
    )?;
    write("tiny.rs", "fn main() {}\n")?;
    write(
        "build.rs",
        r#"fn main() { eprintln!("\x1b[2Jtoken=hun\x1b[1mter2."); std::process::exit(1) }"#,
    )?;
    let secrets = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
    let error = build(
        exe(),
        &plan("tiny", None, 1),
        folder.path(),
        None,
        &Redactor::new(&secrets),
        &|_| (),
    )
    .await
    .err()
    .ok_or("it was built")?;
    let text = error.to_string();
    assert!(text.contains("token={$env.TOKEN}."), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    Ok(())
}

fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_plimsoll"))
}

async fn built(target: &str, filter: Option<&str>, invocations: u32) -> Result<Built, BenchError> {
    build(
        exe(),
        &plan(target, filter, invocations),
        &data("bench-crate"),
        Some(&target_dir()),
        &Redactor::default(),
        &|_| (),
    )
    .await
}

fn plan(target: &str, filter: Option<&str>, invocations: u32) -> BenchPlan {
    BenchPlan {
        targets: vec![target.to_owned()],
        package: None,
        features: Vec::new(),
        filter: filter.map(str::to_owned),
        invocations,
        timeout_ns: 60_000_000_000,
    }
}

/// Kept from one run of the tests to the next, so that criterion is compiled once.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-crate")
}

fn data(path: &str) -> PathBuf {
    repository("tests/data").join(path)
}

fn find<'a>(results: &'a [BenchResult], id: &str) -> Result<&'a BenchResult, String> {
    results
        .iter()
        .find(|one| one.id == id)
        .ok_or(format!("no `{id}`"))
}

/// Whether a process of this program is alive; one that was killed may still be going.
fn is_running(program: &str) -> std::io::Result<bool> {
    Ok(fs::read_dir("/proc")?.flatten().any(|entry| {
        fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == Path::new(program))
    }))
}
