//! `plimsoll calibrate` from outside: what it measures, stores, says, and what gates make of it.

mod support;

use std::error::Error;
use std::fs;

use plimsoll::harness::compare::{ArmSize, Between, Calibrated};
use plimsoll::harness::gate::{FalseAlarms, Relabelled};
use plimsoll::harness::model::Unit;
use plimsoll::harness::report::calibration::{
    CALIBRATION_FORMAT, CalibratedMetric, CalibratedSession, CalibrationReport, GateSize,
    MetricSize, sessions_note,
};
use plimsoll::harness::report::terminal::{TerminalStyle, render_calibration};
use serde_json::Value;

use support::Tested;
use support::project::{BUSY, Project, PythonServer};
use support::schemas::{assert_valid, validator};

const RATE: &str = "load.browse.rate";

/// A scenario that takes little time, gated by pairs of two.
fn scenario(url: &str, measure: &str) -> String {
    format!(
        r#"schema = 1
name = "shop"
url = "{url}"
[[flow.browse.step]]
get = "/products"
[load.browse]
flow = "browse"
closed = {{ users = 2 }}
{BUSY}
[phases]
warmup = "100ms"
measure = "{measure}"
[sampling]
runs = 2
[[gate]]
metric = "{RATE}"
regress = "500%"
"#
    )
}

/// The document of a calibration, which is what its schema says.
fn calibrate(project: &Project, args: &[&str]) -> Result<Value, Box<dyn Error>> {
    let command = ["calibrate", "shop.toml", "--revision", "1a2b3c4"];
    let document = project.json(&[&command[..], args].concat(), 0)?;
    assert_valid(&validator("calibration"), &document);
    Ok(document)
}

#[test]
fn calibrations_add_up_and_gates_use_them() -> Tested {
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    project.write("shop.toml", &scenario(&server.url, "300ms"))?;

    // Three sessions of two pairs: τ, but too few pairs for s₀.
    let first = calibrate(&project, &["--sessions", "3", "--pairs", "2"])?;
    assert_eq!(first["schema"], CALIBRATION_FORMAT);
    let of = |document: &Value, key: &str| document["metrics"][0][key].clone();
    assert_eq!(of(&first, "name"), RATE);
    assert_eq!(
        (of(&first, "pairs"), of(&first, "s0")),
        (0.into(), Value::Null)
    );
    assert!(of(&first, "tau").is_number(), "{first}");
    assert!(of(&first, "mde_stored").is_number(), "{first}");
    assert_eq!(first["sessions"].as_array().map(Vec::len), Some(3));
    let alarms = &first["false_alarms"];
    assert_eq!(
        (&alarms["pairs"], &alarms["blocks"]),
        (&2.into(), &3.into())
    );
    assert_eq!(alarms["relabelled"], 12);
    let notes = first["notes"].to_string();
    assert!(notes.contains("these runs make the first"), "{notes}");
    let file = project
        .path()
        .join(first["file"].as_str().ok_or("no file")?);
    let stored = || -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&fs::read_to_string(&file)?)?)
    };
    let before = stored()?;
    assert_eq!(before["sessions"].as_array().map(Vec::len), Some(3));

    // Five pairs more: they count with those before, in the gates as well.
    let second = calibrate(&project, &["--pairs", "5"])?;
    assert_eq!(
        (of(&second, "pairs"), of(&second, "tau_sessions")),
        (5.into(), 4.into())
    );
    assert!(of(&second, "mde_paired").is_number(), "{second}");
    assert_eq!(
        second["false_alarms"]["blocks"], 5,
        "earlier pairs are in the history"
    );
    let new: Vec<bool> = second["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|session| session["is_new"].as_bool())
        .collect();
    assert_eq!(new, [false, false, false, true]);
    let after = stored()?;
    assert_eq!(after["sessions"], before["sessions"], "the baseline stays");
    let kept = &after["calibration"]["metrics"][RATE];
    assert_eq!((&kept["pairs"], &kept["sessions"]), (&5.into(), &4.into()));

    // Every run is in the history.
    let sessions = project.json(&["list", "--sessions"], 0)?;
    let runs: Vec<u64> = sessions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|session| session["runs"].as_u64())
        .collect();
    assert_eq!(runs.iter().sum::<u64>(), 22, "{runs:?}");

    // A stored gate takes τ from it, because it rests on more sessions than the baseline has.
    let verdict = project.json(&["gate", "shop.toml"], 0)?;
    let compared = verdict["comparison"]["metrics"]
        .as_array()
        .into_iter()
        .flatten();
    let estimate = compared
        .filter(|metric| metric["name"] == RATE)
        .map(|metric| &metric["estimate"])
        .next()
        .ok_or("not compared")?;
    // The file writes a τ of zero without a point.
    let tau = kept["tau"].as_f64().ok_or("no τ")?;
    assert_eq!(estimate["tau"].as_f64(), Some(tau), "{estimate}");
    let method = estimate["method"].to_string();
    assert!(method.contains("4 sessions"), "{method}");

    // Nothing says that it is the same code: its pairs count, its session alone.
    let unnamed = project.json(&["calibrate", "shop.toml", "--pairs", "2"], 0)?;
    assert_eq!(of(&unnamed, "tau"), Value::Null, "{unnamed}");
    fs::write(&file, serde_json::to_string(&after)?)?;

    // A new baseline keeps it; a scenario that measures something else begins anew.
    project.output(&["baseline", "save", "shop"], 0)?;
    assert_eq!(stored()?["calibration"], after["calibration"]);
    let (_, shown, _) = project.output(&["baseline", "show"], 0)?;
    assert!(
        shown.contains("calibrated with 11 pairs in 4 sessions"),
        "{shown}"
    );
    project.write("shop.toml", &scenario(&server.url, "310ms"))?;
    let third = calibrate(&project, &["--pairs", "4", "--budget", "1ms"])?;
    assert_eq!(third["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(third["sessions"][0]["pairs"], 2);
    let notes = third["notes"].to_string();
    assert!(notes.contains("scenario_hash changed"), "{notes}");
    assert!(notes.contains("2 pairs of 4"), "{notes}");
    Ok(())
}

#[test]
fn what_can_not_be_read_costs_no_runs() -> Tested {
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    project.write("shop.toml", &scenario(&server.url, "300ms"))?;
    let first = calibrate(&project, &["--pairs", "2"])?;
    project.write(first["file"].as_str().ok_or("no file")?, "{}")?;
    let (_, _, stderr) = project.output(&["calibrate", "shop.toml"], 1)?;
    assert!(stderr.contains("shop.json"), "{stderr}");
    let (_, _, stderr) = project.output(&["calibrate", "shop.toml", "--budget", "x"], 2)?;
    assert!(stderr.contains("--budget 15m"), "{stderr}");
    let sessions = project.json(&["list", "--sessions"], 0)?;
    assert_eq!(sessions.as_array().map(Vec::len), Some(1), "{sessions}");
    Ok(())
}

#[test]
fn a_target_that_is_not_there_is_a_failure_of_no_arm() -> Tested {
    let project = Project::new()?;
    project.write("shop.toml", &scenario("http://127.0.0.1:9", "300ms"))?;
    let (_, _, stderr) = project.output(&["calibrate", "shop.toml"], 1)?;
    assert!(stderr.contains("127.0.0.1:9"), "{stderr}");
    Ok(())
}

fn session(number: i64, hours: i64, is_new: bool) -> CalibratedSession {
    let start = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000 + hours);
    CalibratedSession {
        session: format!("sitting-{number}"),
        revision: Some("1a2b3c4".into()),
        started_at: start,
        pairs: 10,
        is_new,
    }
}

/// One metric that is held, one that isn't, an error rate, and one that is far out of reach.
fn report() -> CalibrationReport {
    let gate = GateSize {
        pairs: 5,
        base_runs: 15,
        base_sessions: 3,
        head_runs: 5,
    };
    let found = |s0: f64| Calibrated {
        s0: Some(s0),
        pairs: 30,
        between: Some(Between {
            tau: s0 / 2.0,
            sessions: 3,
        }),
        within: Some(s0 * s0 / 2.0),
    };
    let metric = |name: &str, median: f64, found: Option<Calibrated>| {
        let kind = (Unit::Nanoseconds, Some(median));
        let size = |runs, sessions| ArmSize { runs, sessions };
        let size = MetricSize {
            base: size(15, 3),
            head: size(5, 1),
            invocations: 1,
        };
        CalibratedMetric::new(name.into(), kind, 0.05, found.as_ref(), (5, size))
    };
    CalibrationReport {
        schema: CALIBRATION_FORMAT.into(),
        scenario: "mixed-workload".into(),
        machine: "0123456789abcdef".into(),
        fingerprint: "fedcba9876543210".into(),
        file: "baselines/0123456789abcdef/mixed-workload.json".into(),
        sessions: vec![
            session(1, 0, false),
            session(2, 30, false),
            session(3, 60, true),
        ],
        dropped_pairs: 1,
        gate,
        metrics: vec![
            metric("bench.cache/get_hot", 812.0, Some(found(0.008))),
            metric("load.reads.error_rate", 0.0, None),
            metric("load.reads.p95", 31.2e6, Some(found(0.06))),
            metric("load.writes.p99", 80.0e6, Some(found(0.9))),
        ],
        other_metrics: 12,
        false_alarms: FalseAlarms {
            pairs: 5,
            blocks: 6,
            red: 0,
            inconclusive: 4,
            limits_broken: 1,
            upper: 0.393,
            relabelled: Relabelled {
                judged: 192,
                red: 7,
                is_exact: true,
            },
        }
        .into(),
        notes: vec!["pair 4 was dropped: load reads dropped 3 % of its arrivals".into()],
    }
}

#[test]
fn it_reads_well_at_every_width() {
    for columns in [100, 44] {
        let style = TerminalStyle {
            colour: false,
            width: columns,
            ascii: false,
        };
        let text = render_calibration(&report(), style);
        for line in text.lines() {
            assert!(line.chars().count() <= columns, "{line}");
        }
        insta::assert_snapshot!(format!("calibration_{columns}"), text);
    }
}

/// Ten invocations of a bench are ten differences, over however few pairs.
#[test]
fn the_invocations_of_a_bench_are_replicates() {
    let found = Calibrated {
        s0: Some(0.05),
        ..Calibrated::default()
    };
    let arm = ArmSize {
        runs: 5,
        sessions: 1,
    };
    let metric = |invocations| {
        let size = MetricSize {
            base: arm,
            head: arm,
            invocations,
        };
        let kind = (Unit::Nanoseconds, None);
        CalibratedMetric::new("bench.a".into(), kind, 0.05, Some(&found), (5, size))
    };
    assert_eq!(metric(10).mde_paired, found.mde_paired(10));
    assert_eq!(metric(1).mde_paired, found.mde_paired(5));
    let held = |invocations: usize| {
        metric(invocations)
            .holds
            .iter()
            .map(|held| held.margin)
            .collect::<Vec<_>>()
    };
    assert_eq!(held(10)[0], held(10)[1]);
    assert_eq!(held(10)[1..], held(1)[1..]);
    assert!(metric(10).pairs_needed < metric(1).pairs_needed);
}

#[test]
fn too_little_is_said() {
    let style = TerminalStyle {
        colour: false,
        width: 100,
        ascii: false,
    };
    let mut report = report();
    report.metrics.clear();
    report.false_alarms = FalseAlarms {
        pairs: 5,
        upper: 1.0,
        ..FalseAlarms::default()
    }
    .into();
    let text = render_calibration(&report, style);
    assert!(text.contains("No metric has a margin"), "{text}");
    assert!(text.contains("Too few to say"), "{text}");
    assert!(!text.contains("relabelings"), "{text}");
}

#[test]
fn sessions_of_one_sitting_are_no_days() {
    let check = |sessions: &[CalibratedSession], expected: Option<&str>| {
        let note = sessions_note(sessions);
        match expected {
            None => assert_eq!(note, None),
            Some(text) => assert!(note.as_deref().unwrap_or("").contains(text), "{note:?}"),
        }
    };
    let days = [
        session(1, 0, false),
        session(2, 30, false),
        session(3, 60, true),
    ];
    check(&days, None);
    check(&days[..2], Some("1 more"));
    let row: Vec<_> = (0..3).map(|at| session(at, at, true)).collect();
    check(&row, Some("one after the other"));
    let mut other = days.to_vec();
    other[2].revision = Some("5d6e7f8".into());
    check(&other, Some("2 more"));
}

#[test]
fn hostile_text_stays_harmless() {
    let hostile = "a\u{1b}[31m\nname\u{202e}";
    let mut report = report();
    report.scenario = hostile.into();
    report.file = hostile.into();
    report.metrics[2].name = hostile.into();
    report.notes.push(hostile.into());
    let style = TerminalStyle {
        colour: false,
        width: 100,
        ascii: false,
    };
    let text = render_calibration(&report, style);
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text:?}"
    );
}

#[test]
fn the_document_is_what_its_schema_says() -> Tested {
    let validator = validator("calibration");
    let mut document = serde_json::to_value(report())?;
    assert_valid(&validator, &document);
    document["metrics"][0]["s0"] = "much".into();
    assert!(!validator.is_valid(&document));
    Ok(())
}
