//! The store in tables: what a person types to find the id of a run.

use std::path::Path;
use std::process::{Command, Output};

use plimsoll::harness::model::{Arm, InvalidReason};
use plimsoll::harness::store::History;

use crate::fixture;

fn list(store: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .arg("list")
        .args(arguments)
        .arg("--store")
        .arg(store)
        .output()
        .unwrap()
}

/// Two runs of one session, the second invalid, and a run of an older session.
async fn filled(store: &Path) -> [String; 2] {
    let history = History::open(store.to_str().unwrap()).await.unwrap();
    let mut older = fixture::run(Arm::Head, 1, 1.0, 1.0);
    older.session = "older".into();
    let first = fixture::run(Arm::Base, 2, 1.0, 1.0);
    let mut second = fixture::run(Arm::Head, 2, 1.0, 1.0);
    second.invalid = vec![InvalidReason::NothingMeasured {
        load: "reads".into(),
    }];
    for run in [&second, &first, &older] {
        history.save(run).await.unwrap();
    }
    history.close().await;
    [first.id.to_string(), second.id.to_string()]
}

#[tokio::test]
async fn the_runs_of_a_session_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("history.db");
    let ids = filled(&store).await;
    for session in ["2026-11-20T10-00-00Z", "latest"] {
        let listed = list(&store, &["--runs", session]);
        let text = String::from_utf8(listed.stdout).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for ((line, id), rest) in lines.iter().zip(&ids).zip([
            "2026-11-20 10:03:00 41.3 s yes base 2 mixed-workload",
            "2026-11-20 10:03:45 41.3 s no head 2 mixed-workload",
        ]) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words.join(" "), format!("{id} {rest}"));
        }
        let listed = list(&store, &["--runs", session, "--format", "json"]);
        let document: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let told: Vec<_> = [0, 1]
            .map(|at| (&document[at]["id"], &document[at]["valid"]))
            .into_iter()
            .collect();
        assert_eq!(
            told,
            [
                (&ids[0].clone().into(), &true.into()),
                (&ids[1].clone().into(), &false.into())
            ]
        );
    }
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_is_told_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("history.db");
    let listed = list(&store, &["--runs", "latest"]);
    let told = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(listed.status.code(), Some(2), "{told}");
    assert!(!store.exists(), "looking made a history");
    filled(&store).await;
    let listed = list(&store, &["--runs", "yesterday"]);
    let told = String::from_utf8(listed.stderr).unwrap();
    assert_eq!(listed.status.code(), Some(2), "{told}");
    assert!(told.contains("plimsoll list --sessions"), "{told}");
}
