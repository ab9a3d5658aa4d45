//! `plimsoll history` from outside: what it shows of a history, what it finds in it, what it removes.

mod support;

use std::error::Error;
use std::fs;

use jiff::Timestamp;
use plimsoll::harness::model::*;
use plimsoll::harness::store::Baseline;
use serde_json::Value;

use support::Tested;
use support::project::Project;
use support::runs::light_run;
use support::schemas::{assert_valid, validator};

const P95: &str = "load.reads.p95";
const ERRORS: &str = "load.reads.error_rate";
const RATE: &str = "load.reads.rate";

/// A run of a main branch, an hour after the one before it.
fn run(number: u64, p95_ms: f64, error_rate: f64) -> Run {
    let start = Timestamp::from_second(1_790_000_000 + number as i64 * 3600);
    let single = |name: &str, unit, better, value| Metric::single(name, unit, better, value, 1000);
    Run {
        arm: None,
        started_at: start.unwrap_or_default(),
        session: format!("night-{number}"),
        revision: Some(format!("{number:012x}")),
        metrics: vec![
            single(ERRORS, Unit::Ratio, Direction::Lower, error_rate),
            single(P95, Unit::Nanoseconds, Direction::Lower, p95_ms * 1e6),
            single(RATE, Unit::PerSecond, Direction::Higher, 500.0),
        ],
        ..light_run(number)
    }
}

/// Forty runs, 20 % slower from the 26th on (number 25), of which the 31st is invalid.
fn slower() -> Vec<Run> {
    (0..40)
        .map(|number| {
            let wave = 1.0 + 0.004 * (number % 3) as f64;
            let level = if number < 25 { 50.0 } else { 60.0 };
            Run {
                partial: number == 30,
                ..run(number, level * wave, 0.0)
            }
        })
        .collect()
}

/// The metric of that name in the only lineage with details.
fn metric<'a>(document: &'a Value, name: &str) -> &'a Value {
    let all = document["lineages"].as_array().into_iter().flatten();
    all.flat_map(|lineage| {
        lineage["detail"]["metrics"]
            .as_array()
            .into_iter()
            .flatten()
    })
    .find(|metric| metric["name"] == name)
    .unwrap_or(&Value::Null)
}

#[test]
fn a_change_is_found_with_its_run_and_size() -> Tested {
    let runs = slower();
    let project = Project::with_history(&runs)?;
    let document = project.json(&["history", "mixed"], 0)?;
    assert_eq!(document["schema"], "plimsoll.history/1");
    let lineage = &document["lineages"][0];
    assert_eq!(
        (&lineage["runs"], &lineage["valid_runs"]),
        (&40.into(), &39.into())
    );
    assert_eq!(lineage["machine"], runs[0].fingerprint.machine_id());
    let first = &lineage["detail"]["runs"][0];
    assert_eq!(first["revision"], "000000000027", "the newest run is first");

    let p95 = metric(&document, P95);
    // The invalid run is listed and counts nowhere.
    assert_eq!(p95["points"].as_array().map(Vec::len), Some(39));
    assert_eq!(lineage["detail"]["runs"].as_array().map(Vec::len), Some(40));
    let changes = p95["changes"].as_array().ok_or("no changes")?;
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert_eq!(change["run"], runs[25].id.to_string());
    assert_eq!(change["revision"], "000000000019");
    assert_eq!(change["revision_before"], "000000000018");
    assert_eq!(change["started_at"], runs[25].started_at.to_string());
    let effect = change["effect"].as_f64().ok_or("no effect")?;
    assert!((effect - 0.2).abs() < 0.005, "{effect}");
    assert_eq!(metric(&document, RATE)["changes"], Value::Array(Vec::new()));
    assert_eq!(metric(&document, RATE)["searched_runs"], 39);
    // The newest five are 36 to 40 valid ones, all after the change; 20 before them was before it.
    let since = p95["effect_since_20_runs"].as_f64().ok_or("no effect")?;
    assert!((since - 0.2).abs() < 0.01, "{since}");
    Ok(())
}

#[test]
fn nineteen_runs_are_too_few() -> Tested {
    let jump = |number| run(number, if number < 10 { 50.0 } else { 90.0 }, 0.0);
    let few = Project::with_history(&(0..19).map(jump).collect::<Vec<_>>())?;
    let document = few.json(&["history", "mixed"], 0)?;
    assert_eq!(metric(&document, P95)["searched_runs"], Value::Null);
    let (_, human, _) = few.output(&["history", "mixed"], 0)?;
    assert!(human.contains("20 valid runs"), "{human}");
    let enough = Project::with_history(&(0..20).map(jump).collect::<Vec<_>>())?;
    let document = enough.json(&["history", "mixed"], 0)?;
    assert_eq!(
        metric(&document, P95)["changes"].as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

#[test]
fn a_rate_of_zero_changes_by_points() -> Tested {
    let runs: Vec<Run> = (0..30)
        .map(|number| run(number, 50.0, if number < 20 { 0.0 } else { 0.02 }))
        .collect();
    let project = Project::with_history(&runs)?;
    let document = project.json(&["history", "mixed", "--metric", "*.error_rate"], 0)?;
    let errors = metric(&document, ERRORS);
    assert_eq!(errors["is_difference"], true);
    assert_eq!(errors["changes"][0]["effect"], 0.02);
    assert_eq!(metric(&document, P95), &Value::Null, "it was not asked for");
    let (_, human, _) = project.output(&["history", "mixed", "--metric", "*.error_rate"], 0)?;
    assert!(human.replace('\u{202f}', " ").contains("+2 pp"), "{human}");
    Ok(())
}

/// What is not comparable is not mixed: the newest fingerprint in full, the others by name.
#[test]
fn fingerprints_and_scenarios_stay_apart() -> Tested {
    let mut older = light_run(1).fingerprint;
    older.kernel = "6.0".into();
    let mut runs: Vec<Run> = (0..3)
        .map(|number| Run {
            fingerprint: older.clone(),
            ..run(number, 10.0, 0.0)
        })
        .collect();
    runs.extend((3..6).map(|number| run(number, 50.0, 0.0)));
    runs.push(Run {
        scenario: "other@servers".into(),
        ..run(6, 70.0, 0.0)
    });
    // Neither a head that is newer nor its value is part of the history.
    runs.push(Run {
        arm: Some(Arm::Head),
        ..run(7, 900.0, 0.0)
    });
    let project = Project::with_history(&runs)?;

    let all = project.json(&["history"], 0)?;
    let names: Vec<_> = all["lineages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            (
                one["scenario"].as_str(),
                one["runs"].as_u64(),
                one["detail"].is_null(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            (Some("other@servers"), Some(1), true),
            (Some("mixed"), Some(3), true),
            (Some("mixed"), Some(3), true)
        ]
    );
    let mixed = project.json(&["history", "mixed"], 0)?;
    assert_eq!(mixed["lineages"].as_array().map(Vec::len), Some(2));
    assert_eq!(mixed["lineages"][1]["detail"], Value::Null);
    assert_eq!(metric(&mixed, P95)["last"], 50e6);
    let named = project.json(&["history", "--fingerprint", &older.id()[..6]], 0)?;
    assert_eq!(metric(&named, P95)["last"], 10e6);
    let both = project.json(&["history", "*", "--metric", P95], 0)?;
    let details = both["lineages"].as_array().into_iter().flatten();
    assert_eq!(details.filter(|one| !one["detail"].is_null()).count(), 2);
    Ok(())
}

#[test]
fn what_is_asked_for_is_what_is_shown() -> Tested {
    let runs = slower();
    let project = Project::with_history(&runs)?;
    let points = |args: &[&str]| -> Result<Option<usize>, Box<dyn Error>> {
        let document = project.json(&[&["history", "mixed"], args].concat(), 0)?;
        Ok(metric(&document, P95)["points"].as_array().map(Vec::len))
    };
    assert_eq!(points(&["--limit", "7"])?, Some(7));
    // The eleventh newest is the invalid one.
    assert_eq!(points(&["--limit", "10"])?, Some(9));
    assert_eq!(
        points(&["--since", &runs[37].started_at.to_string()])?,
        Some(3)
    );
    let day = runs[39].started_at.strftime("%Y-%m-%d").to_string();
    let today = runs
        .iter()
        .filter(|run| run.started_at.to_string().starts_with(&day));
    assert_eq!(points(&["--since", &day])?, Some(today.count()));
    assert_eq!(points(&["--metric", "nothing"])?, None);

    for (args, said) in [
        (&["history", "unknown"][..], "`unknown`"),
        (&["history", "mixed", "--since", "2099-01-01"], "`mixed`"),
        (&["history", "mixed", "--since", "yesterday"], "2026-11-01"),
        (&["history", "mixed", "--limit", "0"], "--limit"),
        (&["history", "mixed", "--fingerprint", "zz"], "`zz`"),
        (&["history", "prune"], "--keep-days"),
        (
            &["history", "prune", "--keep-days", "3", "--keep-runs", "3"],
            "--keep-runs",
        ),
        (
            &[
                "history",
                "prune",
                "--keep-days",
                "3",
                "--baselines",
                "nowhere",
            ],
            "nowhere",
        ),
    ] {
        let (_, _, stderr) = project.output(args, 2)?;
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    let empty = Project::new()?;
    empty.output(&["history"], 0)?;
    empty.output(&["history", "mixed"], 2)?;
    assert!(
        !empty.path().join(".plimsoll").exists(),
        "looking made something"
    );
    Ok(())
}

#[test]
fn a_terminal_shows_it_at_any_width() -> Tested {
    let mut older = light_run(1).fingerprint;
    older.kernel = "6.0".into();
    let mut runs = slower();
    runs.push(Run {
        id: RunId(uuid::Uuid::from_u128(7)),
        fingerprint: older,
        revision: None,
        ..run(0, 10.0, 0.0)
    });
    let project = Project::with_history(&runs)?;
    for columns in ["100", "44"] {
        let sized = project.with_env("COLUMNS", columns);
        let (_, overview, _) = sized.output(&["history"], 0)?;
        let (_, trends, _) = sized.output(&["history", "mixed"], 0)?;
        let (_, one, _) = sized.output(&["history", "mixed", "--metric", P95], 0)?;
        for line in overview.lines().chain(trends.lines()).chain(one.lines()) {
            let width = line.chars().count();
            assert!(width <= columns.parse()?, "{width} columns: {line}");
        }
        insta::assert_snapshot!(format!("overview_{columns}"), overview);
        insta::assert_snapshot!(format!("trends_{columns}"), trends);
        insta::assert_snapshot!(format!("one_metric_{columns}"), one);
    }
    Ok(())
}

#[test]
fn hostile_text_stays_harmless() -> Tested {
    let hostile = "a\u{1b}[31m\nname\u{202e}";
    let mut run = run(1, 50.0, 0.0);
    run.scenario = hostile.into();
    run.revision = Some(hostile.into());
    run.metrics[0].name = hostile.into();
    let project = Project::with_history(&[run])?;
    for args in [&["history"][..], &["history", "*"]] {
        let (_, human, _) = project.output(args, 0)?;
        assert!(
            !human.contains('\u{1b}') && !human.contains('\u{202e}'),
            "{human:?}"
        );
        assert!(human.contains("a name"), "{human:?}");
    }
    Ok(())
}

#[test]
fn the_document_is_what_its_schema_says() -> Tested {
    let validator = validator("history");
    let project = Project::with_history(&slower())?;
    for args in [&["history"][..], &["history", "mixed"]] {
        let mut document = project.json(args, 0)?;
        assert_valid(&validator, &document);
        document["lineages"][0]["runs"] = "many".into();
        assert!(!validator.is_valid(&document));
    }
    Ok(())
}

#[test]
fn pruning_spares_what_a_baseline_refers_to() -> Tested {
    let mut runs = slower();
    runs.push(Run {
        scenario: "other".into(),
        ..run(40, 50.0, 0.0)
    });
    let project = Project::with_history(&runs)?;
    let baselines = project.path().join("baselines");
    Baseline::from_runs(&[Run {
        session: "night".into(),
        ..runs[3].clone()
    }])?
    .save(&baselines)?;
    let count = |scenario: &str| -> Result<Option<u64>, Box<dyn Error>> {
        let document = project.json(&["history", scenario], 0)?;
        Ok(document["lineages"][0]["runs"].as_u64())
    };

    let prune = ["history", "prune", "--keep-runs", "10"];
    let dry = project.json(&[&prune[..], &["--dry-run"]].concat(), 0)?;
    assert_eq!(dry["dry_run"], true);
    assert_eq!(count("mixed")?, Some(40), "a dry run removed something");
    let done = project.json(&prune, 0)?;
    assert_eq!(
        done["scenarios"], dry["scenarios"],
        "it did not do what it had said"
    );
    let mixed = &done["scenarios"][0];
    assert_eq!(mixed["scenario"], "mixed");
    let removed = mixed["removed"].as_array().ok_or("nothing removed")?;
    let expected: Vec<Value> = runs[..30]
        .iter()
        .filter(|run| run.id != runs[3].id)
        .map(|run| run.id.to_string().into())
        .collect();
    assert_eq!(removed, &expected);
    assert_eq!(
        (&mixed["kept"], &mixed["kept_for_baselines"]),
        (&11.into(), &1.into())
    );
    assert_eq!((count("mixed")?, count("other")?), (Some(11), Some(1)));
    let kept = project.json(&["history", "mixed"], 0)?;
    let kept = kept["lineages"][0]["detail"]["runs"]
        .as_array()
        .ok_or("no runs")?;
    assert_eq!(
        kept.last().map(|run| &run["id"]),
        Some(&runs[3].id.to_string().into())
    );

    // All of these runs are of the past: only the one of the baseline is kept.
    let (_, said, _) = project.output(&["history", "prune", "--keep-days", "1"], 0)?;
    let today = Timestamp::now() - jiff::SignedDuration::from_hours(24) > runs[40].started_at;
    assert!(today, "the runs of this test are of the future");
    assert!(said.contains("mixed: removed 10 runs of"), "{said}");
    assert!(said.contains("1 kept, 1 of them for a baseline"), "{said}");
    assert!(said.contains("other: removed 1 run of"), "{said}");
    assert_eq!(count("mixed")?, Some(1));
    Ok(())
}

/// A baseline that can't be read may refer to anything.
#[test]
fn pruning_stops_at_a_damaged_baseline() -> Tested {
    let project = Project::with_history(&slower())?;
    project.write("baselines/0123456789abcdef/mixed.json", "{")?;
    let (_, _, stderr) = project.output(&["history", "prune", "--keep-runs", "1"], 1)?;
    assert!(stderr.contains("mixed.json"), "{stderr}");
    let document = project.json(&["history", "mixed"], 0)?;
    assert_eq!(document["lineages"][0]["runs"], 40);
    Ok(())
}

/// The file gets smaller by what is removed.
#[test]
fn pruning_gives_back_space() -> Tested {
    let runs: Vec<Run> = (0..30)
        .map(|number| {
            let mut run = run(number, 50.0, 0.0);
            run.measurement.events.push(TimelineEvent {
                at_ns: 0,
                what: "x".repeat(100_000),
            });
            run
        })
        .collect();
    let project = Project::with_history(&runs)?;
    let file = project.path().join(".plimsoll/history.db");
    let before = fs::metadata(&file)?.len();
    let done = project.json(&["history", "prune", "--keep-runs", "10"], 0)?;
    let freed = done["freed_bytes"].as_u64().ok_or("no space")?;
    let after = fs::metadata(&file)?.len();
    assert!(freed >= 20 * 100_000, "{freed}");
    assert!(
        after < before - 20 * 100_000,
        "{before} bytes became {after}"
    );
    Ok(())
}
