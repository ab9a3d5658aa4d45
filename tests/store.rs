//! The store at its boundary: one suite on SQLite and on PostgreSQL, run files, and what a killed
//! process leaves behind.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll::harness::model::*;
use plimsoll::harness::store::{
    AcceptedDrift, Anchor, AnchorError, Baseline, BaselineError, Calibration, CalibrationSession,
    DecodeError, FileError, FormatError, History, MetricSeries, Query, Retention, Saved,
    StoreError, files,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use support::runs::light_run;
use support::servers::Postgres;

type Checked = Result<(), Box<dyn Error>>;

/// Where the writer of the tests below writes; without it that test has nothing to do.
const WRITER_PLACE: &str = "PLIMSOLL_TEST_WRITER_PLACE";
/// How many runs it writes.
const WRITER_RUNS: &str = "PLIMSOLL_TEST_WRITER_RUNS";

#[tokio::test]
async fn the_suite_on_sqlite() -> Checked {
    let folder = tempfile::tempdir()?;
    suite(&|name| {
        let path = folder.path().join("new folder").join(format!("{name}.db"));
        Ok((
            path.display().to_string(),
            format!("sqlite:{}", path.display()),
        ))
    })
    .await
}

#[tokio::test]
async fn the_suite_on_postgresql() -> Checked {
    let server = Postgres::start()?;
    suite(&|name| {
        let url = server.create_database(name)?;
        Ok((url.clone(), url))
    })
    .await
}

/// A fresh place by name: as the history takes it, and as sqlx does.
type Fresh<'a> = &'a dyn Fn(&str) -> Result<(String, String), std::io::Error>;

async fn suite(fresh: Fresh<'_>) -> Checked {
    what_is_saved_is_read_back(&History::open(&fresh("roundtrip")?.0).await?).await?;
    an_id_is_taken_once(&History::open(&fresh("taken")?.0).await?).await?;
    every_condition_of_a_query_counts(&History::open(&fresh("query")?.0).await?).await?;
    hostile_text_stays_text(&History::open(&fresh("hostile")?.0).await?).await?;
    a_series_needs_no_payload(&History::open(&fresh("series")?.0).await?).await?;
    sessions_are_counted(&History::open(&fresh("sessions")?.0).await?).await?;
    lineages_are_counted(&History::open(&fresh("lineages")?.0).await?).await?;
    old_runs_are_found_and_removed(fresh("prune")?).await?;
    an_older_database_is_brought_up_to_date(fresh("older")?).await?;
    a_hundred_thousand_runs_are_no_burden(fresh("large")?).await?;
    a_prefix_finds_one_run(&History::open(&fresh("prefix")?.0).await?).await?;
    a_run_is_saved_whole_or_not_at_all(&History::open(&fresh("atomic")?.0).await?).await?;
    damage_names_the_run(fresh("damage")?).await?;
    a_newer_database_is_refused(fresh("newer")?).await?;
    many_processes_share_a_fresh_place(&fresh("shared")?.0).await
}

async fn what_is_saved_is_read_back(history: &History) -> Checked {
    let run = rich_run(1);
    assert_eq!(history.save(&run).await?, Saved::New);
    assert_eq!(history.get(run.id).await?, run);
    let later = rich_run(2);
    history.save(&later).await?;
    let (first, second) = (run.id, later.id);
    assert_eq!(
        history.load(&[second, first]).await?,
        [later.clone(), run.clone()]
    );
    assert_eq!(history.load(&[]).await?, []);

    let missing = history.load(&[first, RunId::now()]).await;
    assert!(
        matches!(missing, Err(StoreError::NotFound { .. })),
        "{missing:?}"
    );
    // More than one statement reads, and one of them twice.
    let mut many = vec![later, run];
    for number in 3..60 {
        history.save(&light_run(number)).await?;
        many.push(light_run(number));
    }
    many.push(light_run(59));
    many.push(light_run(3));
    let ids: Vec<RunId> = many.iter().map(|run| run.id).collect();
    assert_eq!(history.load(&ids).await?, many);
    Ok(())
}

async fn an_id_is_taken_once(history: &History) -> Checked {
    let run = rich_run(1);
    assert_eq!(history.save(&run).await?, Saved::New);
    assert_eq!(history.save(&run).await?, Saved::AlreadyThere);
    let other = Run {
        duration_ns: run.duration_ns + 1,
        ..run.clone()
    };
    let refused = history.save(&other).await;
    assert!(
        matches!(refused, Err(StoreError::Taken { id, .. }) if id == run.id),
        "{refused:?}"
    );
    assert_eq!(history.get(run.id).await?, run);
    assert_eq!(history.find(&Query::default()).await?.len(), 1);
    Ok(())
}

async fn every_condition_of_a_query_counts(history: &History) -> Checked {
    let plain = light_run(1);
    let mut fingerprint = plain.fingerprint.clone();
    fingerprint.kernel = "6.2".into();
    let runs = [
        plain.clone(),
        Run {
            scenario: "other@servers".into(),
            ..light_run(2)
        },
        Run {
            fingerprint: fingerprint.clone(),
            ..light_run(3)
        },
        Run {
            session: "another".into(),
            ..light_run(4)
        },
        Run {
            arm: Some(Arm::Base),
            pair: Some(7),
            ..light_run(5)
        },
        Run {
            revision: None,
            ..light_run(6)
        },
        Run {
            partial: true,
            ..light_run(7)
        },
        Run {
            invalid: vec![InvalidReason::NothingMeasured {
                load: "reads".into(),
            }],
            ..light_run(8)
        },
    ];
    for run in &runs {
        history.save(run).await?;
    }
    let all = Query::default();
    // The runs that a query finds, by their numbers, newest first.
    let check = async |query: Query, expected: &[usize]| -> Checked {
        let found = history.find(&query).await?;
        let ids: Vec<RunId> = found.iter().map(|summary| summary.id).collect();
        let expected: Vec<RunId> = expected.iter().map(|number| runs[number - 1].id).collect();
        assert_eq!(ids, expected, "{query:?}");
        Ok(())
    };
    check(all.clone(), &[8, 7, 6, 5, 4, 3, 2, 1]).await?;
    check(
        Query {
            scenario: Some("other@servers".into()),
            ..all.clone()
        },
        &[2],
    )
    .await?;
    check(
        Query {
            fingerprint: Some(fingerprint.id()),
            ..all.clone()
        },
        &[3],
    )
    .await?;
    check(
        Query {
            session: Some("another".into()),
            ..all.clone()
        },
        &[4],
    )
    .await?;
    check(
        Query {
            without_heads: true,
            ..all.clone()
        },
        &[5],
    )
    .await?;
    check(
        Query {
            only_valid: true,
            ..all.clone()
        },
        &[6, 5, 4, 3, 2, 1],
    )
    .await?;
    check(
        Query {
            since: Some(runs[5].started_at),
            ..all.clone()
        },
        &[8, 7, 6],
    )
    .await?;
    check(
        Query {
            limit: Some(2),
            ..all.clone()
        },
        &[8, 7],
    )
    .await?;
    check(
        Query {
            limit: Some(0),
            ..all.clone()
        },
        &[],
    )
    .await?;
    let both = Query {
        only_valid: true,
        since: Some(runs[3].started_at),
        limit: Some(1),
        session: Some("another".into()),
        ..all.clone()
    };
    check(both, &[4]).await?;

    let run = &runs[4];
    let found = history.find(&all).await?;
    let summary = found.iter().find(|summary| summary.id == run.id);
    let summary = summary.ok_or("it was not found")?;
    assert_eq!(summary.scenario, run.scenario);
    assert_eq!(summary.session, run.session);
    assert_eq!((summary.arm, summary.pair), (run.arm, run.pair));
    assert_eq!(summary.started_at, run.started_at);
    assert_eq!(summary.duration_ns, run.duration_ns);
    assert_eq!(summary.revision, run.revision);
    assert!(summary.valid);
    Ok(())
}

async fn hostile_text_stays_text(history: &History) -> Checked {
    let hostile = "'; DROP TABLE runs; -- <script>%_\\ \u{202e}ü";
    let mut run = Run {
        scenario: hostile.into(),
        session: hostile.into(),
        revision: Some(hostile.into()),
        ..light_run(1)
    };
    run.metrics[0].name = hostile.into();
    run.metrics[0].unit = Unit::Other(hostile.into());
    run.measurement.events.push(TimelineEvent {
        at_ns: 0,
        what: "a \0 in a text".into(),
    });
    history.save(&run).await?;
    let query = Query {
        scenario: Some(hostile.into()),
        session: Some(hostile.into()),
        ..Query::default()
    };
    assert_eq!(history.find(&query).await?.len(), 1);
    assert_eq!(history.get(run.id).await?, run);
    let series = history.series(&query, |name| name == hostile).await?;
    assert_eq!(series[0].unit, Unit::Other(hostile.into()));
    let all = Query {
        scenario: Some("%".into()),
        ..Query::default()
    };
    assert_eq!(history.find(&all).await?, []);
    Ok(())
}

async fn a_series_needs_no_payload(history: &History) -> Checked {
    for number in [2, 1, 3] {
        history.save(&rich_run(number)).await?;
    }
    history
        .save(&Run {
            scenario: "other".into(),
            ..rich_run(4)
        })
        .await?;
    let query = Query {
        scenario: Some("mixed".into()),
        limit: Some(2),
        ..Query::default()
    };
    let series = history.series(&query, |_| true).await?;
    let names: Vec<&str> = series.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["bench.cache/get_hot", "load.reads.rate"]);
    let values = |one: &MetricSeries| -> Vec<(RunId, f64)> {
        let points = one.points.iter();
        points.map(|point| (point.run, point.value)).collect()
    };
    let (second, third) = (rich_run(2).id, rich_run(3).id);
    // Replicates stand for their run with their median.
    assert_eq!(values(&series[0]), [(second, 30.5), (third, 30.5)]);
    assert_eq!(
        values(&series[1]),
        [(second, 502.0 / 3.0), (third, 503.0 / 3.0)]
    );
    assert_eq!(series[1].unit, Unit::PerSecond);
    assert_eq!(series[1].better, Direction::Higher);
    let one = history.series(&query, |name| name == "load.reads.rate");
    assert_eq!(one.await?, series[1..]);
    assert_eq!(
        history.series(&query, |name| name == "load.reads").await?,
        []
    );

    // Another unit is another series.
    let mut moved = rich_run(5);
    moved.metrics[2].unit = Unit::Count;
    history.save(&moved).await?;
    let rates = history.series(&query, |name| name == "load.reads.rate");
    let units: Vec<Unit> = rates.await?.into_iter().map(|one| one.unit).collect();
    assert_eq!(units, [Unit::Count, Unit::PerSecond]);
    Ok(())
}

async fn lineages_are_counted(history: &History) -> Checked {
    let query = Query {
        without_heads: true,
        ..Query::default()
    };
    assert_eq!(history.lineages(&query).await?, []);
    let mut other = light_run(1).fingerprint;
    other.scenario_hash = "77".into();
    let runs = [
        Run {
            fingerprint: other.clone(),
            ..light_run(1)
        },
        light_run(2),
        Run {
            scenario: "other".into(),
            ..light_run(3)
        },
        Run {
            partial: true,
            revision: Some("new".into()),
            ..light_run(4)
        },
    ];
    for run in runs {
        history.save(&Run { arm: None, ..run }).await?;
    }
    // The head of a comparison is newer and no part of it.
    history
        .save(&Run {
            revision: Some("proposal".into()),
            ..light_run(5)
        })
        .await?;

    let found = history.lineages(&query).await?;
    let fingerprint = light_run(1).fingerprint;
    let shown: Vec<_> = found
        .iter()
        .map(|one| {
            (
                one.scenario.as_str(),
                one.fingerprint_id.clone(),
                (one.runs, one.valid_runs),
                one.revision.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("mixed", fingerprint.id(), (2, 1), Some("new")),
            ("other", fingerprint.id(), (1, 1), Some("1a2b3c4")),
            ("mixed", other.id(), (1, 1), Some("1a2b3c4")),
        ]
    );
    assert_eq!(found[0].machine_id, fingerprint.machine_id());
    assert_eq!(found[0].first_started_at, light_run(2).started_at);
    assert_eq!(found[0].last_started_at, light_run(4).started_at);

    let since = Query {
        since: Some(light_run(3).started_at),
        ..query
    };
    let found = history.lineages(&since).await?;
    let counts: Vec<_> = found.iter().map(|one| one.runs).collect();
    assert_eq!(counts, [1, 1]);
    let with_heads = history.lineages(&Query::default()).await?;
    assert_eq!(with_heads[0].runs, 3);
    assert_eq!(with_heads[0].revision.as_deref(), Some("proposal"));
    Ok(())
}

async fn old_runs_are_found_and_removed((place, url): (String, String)) -> Checked {
    let history = History::open(&place).await?;
    let mut saved = Vec::new();
    for number in 1..=6 {
        let run = Run {
            scenario: if number == 2 { "other" } else { "mixed" }.into(),
            ..rich_run(number)
        };
        history.save(&run).await?;
        saved.push(run.id);
    }
    let ids = |numbers: &[usize]| -> Vec<RunId> { numbers.iter().map(|n| saved[n - 1]).collect() };
    let protected = BTreeSet::from([saved[2]]);
    // Expected: scenario, what may go, protected, kept.
    let check = async |retention, expected: &[(&str, &[usize], u64, u64)]| -> Checked {
        let found = history.expired(retention, &protected).await?;
        assert_eq!(found.len(), expected.len(), "{retention:?}: {found:?}");
        for (one, (scenario, runs, protected, kept)) in found.iter().zip(expected) {
            assert_eq!(one.scenario, *scenario);
            assert_eq!(one.runs, ids(runs));
            assert_eq!((one.protected, one.kept), (*protected, *kept), "{one:?}");
            let times = runs.first().zip(runs.last()).map(|(first, last)| {
                let started_at = |number: usize| rich_run(number as u64).started_at;
                (started_at(*first), started_at(*last))
            });
            assert_eq!(one.started_at, times);
        }
        Ok(())
    };
    check(Retention::Newest(5), &[]).await?;
    check(Retention::Newest(2), &[("mixed", &[1, 4], 1, 3)]).await?;
    check(Retention::Newest(3), &[("mixed", &[1], 1, 4)]).await?;
    let since = |number| Retention::Since(rich_run(number).started_at);
    check(since(1), &[]).await?;
    check(since(4), &[("mixed", &[1], 1, 4), ("other", &[2], 0, 0)]).await?;

    assert_eq!(history.remove(&ids(&[1, 4])).await?, 2);
    assert_eq!(history.remove(&ids(&[1, 4])).await?, 0);
    let left = history.find(&Query::default()).await?;
    let left: Vec<RunId> = left.into_iter().map(|run| run.id).collect();
    assert_eq!(left, ids(&[6, 5, 3, 2]));
    let mut database = sqlx::AnyConnection::connect(&url).await?;
    let (values,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM metrics")
        .fetch_one(&mut database)
        .await?;
    assert_eq!(values, 4 * 4, "the values of removed runs are still there");
    database.close().await?;

    // Space is given back in SQLite and used again in PostgreSQL.
    let space = history.compact().await?;
    assert!(space.before_bytes > 0, "{space:?}");
    if url.starts_with("sqlite") {
        assert!(space.after_bytes < space.before_bytes, "{space:?}");
        let bytes = std::fs::metadata(&place)?.len();
        assert_eq!(bytes, space.after_bytes);
    }
    assert_eq!(history.get(saved[2]).await?.id, saved[2]);
    Ok(())
}

/// The tables of version 1 with a run in them: nothing is lost, and its metrics are found.
async fn an_older_database_is_brought_up_to_date((place, url): (String, String)) -> Checked {
    let history = History::open(&place).await?;
    history.save(&rich_run(1)).await?;
    let before = history.series(&Query::default(), |_| true).await?;
    history.close().await;
    let mut database = sqlx::AnyConnection::connect(&url).await?;
    for statement in [
        "DROP INDEX runs_by_lineage",
        "DROP INDEX runs_by_session",
        "DROP INDEX runs_by_time",
        "CREATE INDEX runs_by_scenario ON runs (scenario, fingerprint_id, started_at_ns)",
        "CREATE INDEX runs_by_session ON runs (session)",
        "CREATE INDEX metrics_by_name ON metrics (name, run_id)",
        "DELETE FROM _sqlx_migrations WHERE version = 2",
    ] {
        database.execute(statement).await?;
    }
    database.close().await?;
    let history = History::open(&place).await?;
    assert_eq!(history.get(rich_run(1).id).await?, rich_run(1));
    assert_eq!(before.len(), 2);
    assert_eq!(history.series(&Query::default(), |_| true).await?, before);
    Ok(())
}

/// 100,000 runs whose documents can't be read: what is asked over time needs none of them, and how long it
/// takes follows from how many runs are asked for and not from how many there are. The bounds are far
/// above what it takes, because other tests share the machine.
async fn a_hundred_thousand_runs_are_no_burden((place, url): (String, String)) -> Checked {
    const RUNS: usize = 100_000;
    const METRICS: usize = 5;
    let history = History::open(&place).await?;
    let fingerprint = light_run(1).fingerprint.id();
    let mut database = sqlx::AnyConnection::connect(&url).await?;
    let runs = format!(
        "WITH RECURSIVE numbers(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {RUNS}) \
         INSERT INTO runs SELECT '00000000-0000-7000-8000-' || (100000000000 + n), \
         CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END, 'sitting', NULL, NULL, \
         n * 60000000000, 1, '1a2b3c4', '0.1.0', 'machine', '{fingerprint}', 1, \
         'plimsoll.run/1', 'no run' FROM numbers"
    );
    let metrics = format!(
        "WITH RECURSIVE numbers(k) AS \
         (SELECT 1 UNION ALL SELECT k + 1 FROM numbers WHERE k < {METRICS}) \
         INSERT INTO metrics SELECT id, 'load.reads.p' || k, 0, '\"nanoseconds\"', '\"lower\"', \
         started_at_ns / 60000000000 + k FROM runs CROSS JOIN numbers"
    );
    database.execute(AssertSqlSafe(runs)).await?;
    database.execute(AssertSqlSafe(metrics)).await?;
    database.close().await?;

    let newest = Query {
        scenario: Some("even".into()),
        fingerprint: Some(fingerprint),
        without_heads: true,
        limit: Some(200),
        ..Query::default()
    };
    let asked = Instant::now();
    let lineages = history.lineages(&Query::default()).await?;
    let counts: Vec<_> = lineages
        .iter()
        .map(|one| (one.scenario.as_str(), one.runs))
        .collect();
    assert_eq!(counts, [("even", 50_000), ("odd", 50_000)]);
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );

    let asked = Instant::now();
    let found = history.find(&newest).await?;
    let series = history.series(&newest, |_| true).await?;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(found.len(), 200);
    assert_eq!(series.len(), METRICS);
    let values: Vec<f64> = series[0].points.iter().map(|point| point.value).collect();
    let expected: Vec<f64> = (0..200).map(|n| (RUNS - 398 + 2 * n + 1) as f64).collect();
    assert_eq!(values, expected);

    let asked = Instant::now();
    let old = history
        .expired(Retention::Newest(49_000), &BTreeSet::new())
        .await?;
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    let counts: Vec<_> = old.iter().map(|one| (one.runs.len(), one.kept)).collect();
    assert_eq!(counts, [(1_000, 49_000); 2]);
    assert_eq!(history.remove(&old[0].runs).await?, 1_000);
    Ok(())
}

async fn sessions_are_counted(history: &History) -> Checked {
    let fingerprint = light_run(1).fingerprint.id();
    assert_eq!(history.sessions().await?, []);
    for (number, session, partial) in [
        (1, "a", false),
        (2, "a", true),
        (3, "b", false),
        (4, "a", false),
    ] {
        let run = Run {
            session: session.into(),
            partial,
            ..light_run(number)
        };
        history.save(&run).await?;
    }
    let sessions = history.sessions().await?;
    let counts: Vec<_> = sessions
        .iter()
        .map(|one| (one.session.as_str(), one.runs, one.valid_runs))
        .collect();
    assert_eq!(counts, [("a", 3, 2), ("b", 1, 1)]);
    assert_eq!(sessions[0].first_started_at, light_run(1).started_at);
    assert_eq!(sessions[0].last_started_at, light_run(4).started_at);
    assert_eq!(sessions[0].fingerprint_id, fingerprint);
    Ok(())
}

async fn a_prefix_finds_one_run(history: &History) -> Checked {
    let with_id = |id: &str| -> Result<Run, Box<dyn Error>> {
        Ok(Run {
            id: serde_json::from_value(id.into())?,
            ..light_run(1)
        })
    };
    let one = with_id("0192aaaa-0000-7000-8000-000000000001")?;
    let two = with_id("0192aaab-0000-7000-8000-000000000002")?;
    history.save(&one).await?;
    history.save(&two).await?;
    assert_eq!(history.resolve("0192aaab").await?, two.id);
    assert_eq!(history.resolve("0192AAAA-0").await?, one.id);
    assert_eq!(history.resolve(&two.id.to_string()).await?, two.id);
    let ambiguous = history.resolve("0192").await;
    assert!(
        matches!(&ambiguous, Err(StoreError::Ambiguous { candidates, .. }) if candidates.len() == 2),
        "{ambiguous:?}"
    );
    assert!(matches!(
        history.resolve("0193").await,
        Err(StoreError::NotFound { .. })
    ));
    for bad in ["", "%", "0192_", "latest", "'"] {
        assert!(
            matches!(
                history.resolve(bad).await,
                Err(StoreError::BadPrefix { .. })
            ),
            "{bad}"
        );
    }
    Ok(())
}

async fn a_run_is_saved_whole_or_not_at_all(history: &History) -> Checked {
    // The second row of a metric's replicate is refused by the table, after the run's own row.
    let mut twice = light_run(1);
    twice.metrics.push(twice.metrics[0].clone());
    assert!(matches!(
        history.save(&twice).await,
        Err(StoreError::Database { .. })
    ));
    assert!(matches!(
        history.get(twice.id).await,
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(history.find(&Query::default()).await?, []);

    let mut endless = light_run(2);
    endless.metrics[0].reading = Reading::Measured {
        values: vec![f64::NAN],
    };
    let refused = history.save(&endless).await;
    assert!(
        matches!(refused, Err(StoreError::Encode { id, source: DecodeError::NotFinite }) if id == endless.id),
        "{refused:?}"
    );
    let newer = Run {
        schema: "plimsoll.run/2".into(),
        ..light_run(3)
    };
    assert!(matches!(
        history.save(&newer).await,
        Err(StoreError::Encode { .. })
    ));
    assert_eq!(history.find(&Query::default()).await?, []);
    Ok(())
}

async fn damage_names_the_run((place, url): (String, String)) -> Checked {
    let history = History::open(&place).await?;
    let run = light_run(1);
    history.save(&run).await?;
    let mut database = sqlx::AnyConnection::connect(&url).await?;

    database
        .execute("UPDATE runs SET payload = substr(payload, 1, 400)")
        .await?;
    let error = history
        .get(run.id)
        .await
        .err()
        .ok_or("half a run was read")?;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(&run.id.to_string()), "{error}");

    database
        .execute("UPDATE runs SET format = 'plimsoll.run/2', payload = '{}'")
        .await?;
    let error = history
        .get(run.id)
        .await
        .err()
        .ok_or("a newer run was read")?;
    let newer = |error: &StoreError| {
        matches!(
            error,
            StoreError::Corrupt {
                source: DecodeError::Format(FormatError::Newer { .. }),
                ..
            }
        )
    };
    assert!(newer(&error), "{error}");
    // A list needs no payload, so it still shows the run.
    assert_eq!(history.find(&Query::default()).await?.len(), 1);

    database.execute("UPDATE runs SET arm = 'neither'").await?;
    let error = history
        .find(&Query::default())
        .await
        .err()
        .ok_or("a third arm was read")?;
    assert!(
        matches!(error, StoreError::CorruptColumn { column: "arm", .. }),
        "{error}"
    );
    database
        .execute("UPDATE runs SET arm = NULL, duration_ns = -1")
        .await?;
    let error = history
        .find(&Query::default())
        .await
        .err()
        .ok_or("a negative length was read")?;
    assert!(
        matches!(
            error,
            StoreError::CorruptColumn {
                column: "duration_ns",
                ..
            }
        ),
        "{error}"
    );
    Ok(())
}

async fn a_newer_database_is_refused((place, url): (String, String)) -> Checked {
    let history = History::open(&place).await?;
    history.save(&light_run(1)).await?;
    history.close().await;
    let again = History::open(&place).await?;
    assert_eq!(again.find(&Query::default()).await?.len(), 1);
    again.close().await;

    let mut database = sqlx::AnyConnection::connect(&url).await?;
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 99, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await?;
    let refused = History::open(&place).await;
    assert!(
        matches!(refused, Err(StoreError::NewerDatabase { version: 99, .. })),
        "{refused:?}"
    );
    Ok(())
}

async fn many_processes_share_a_fresh_place(place: &str) -> Checked {
    const PROCESSES: usize = 4;
    const RUNS: usize = 5;
    let writers: Vec<Child> = (0..PROCESSES)
        .map(|_| writer(place, RUNS))
        .collect::<Result<_, _>>()?;
    for writer in writers {
        let output = writer.wait_with_output()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    let history = History::open(place).await?;
    assert_eq!(
        history.find(&Query::default()).await?.len(),
        PROCESSES * RUNS
    );
    Ok(())
}

#[tokio::test]
async fn what_was_saved_survives_a_kill() -> Checked {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.db");
    let place = path.display().to_string();
    let mut acknowledged = Vec::new();
    for kill_after in [1, 7, 20] {
        let mut writer = writer(&place, usize::MAX)?;
        let output = BufReader::new(writer.stdout.take().ok_or("no output")?);
        let mut saved = output
            .lines()
            .filter_map(|line| Some(line.ok()?.strip_prefix("saved ")?.to_owned()));
        for id in saved.by_ref().take(kill_after) {
            acknowledged.push(id);
        }
        writer.kill()?;
        writer.wait()?;
        // What it said before it was killed and we had not read yet.
        acknowledged.extend(saved);

        let history = History::open(&place).await?;
        for id in &acknowledged {
            history.get(history.resolve(id).await?).await?;
        }
        // At most the one run that was being saved is there without having been acknowledged.
        let found = history.find(&Query::default()).await?;
        assert!(found.len() >= acknowledged.len());
        for summary in &found {
            history.get(summary.id).await?;
        }
        let rate = |name: &str| name == "load.reads.rate";
        let series = history.series(&Query::default(), rate).await?;
        assert_eq!(series[0].points.len(), found.len());
        acknowledged = found.iter().map(|summary| summary.id.to_string()).collect();
        history.close().await;
    }
    assert!(acknowledged.len() >= 28, "{}", acknowledged.len());
    let mut database = sqlx::AnyConnection::connect(&format!("sqlite:{place}")).await?;
    let (check,): (String,) = sqlx::query_as("PRAGMA integrity_check")
        .fetch_one(&mut database)
        .await?;
    assert_eq!(check, "ok");
    Ok(())
}

#[tokio::test]
async fn a_password_never_shows() -> Checked {
    // Nothing listens on port 1.
    let error = History::open("postgres://someone:s3cret@127.0.0.1:1/runs").await;
    let error = error.err().ok_or("something listens there")?;
    let text = format!("{error:?} {error}");
    assert!(text.contains("127.0.0.1:1"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");

    let server = Postgres::start()?;
    let url = server.url().replace("postgres@", "postgres:s3cret@");
    let history = History::open(&url).await?;
    assert!(!format!("{history:?} {}", history.location()).contains("s3cret"));
    Ok(())
}

#[tokio::test]
async fn what_is_no_database_is_an_error() -> Checked {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.db");
    std::fs::write(
        &path,
        "not a database, but long enough to be looked at as one: ".repeat(100),
    )?;
    let before = std::fs::read(&path)?;
    let error = History::open(&path.display().to_string()).await;
    assert!(matches!(error, Err(StoreError::Open { .. })), "{error:?}");
    assert_eq!(std::fs::read(&path)?, before, "a foreign file was touched");
    Ok(())
}

#[test]
fn run_files_are_read_back() -> Checked {
    let folder = tempfile::tempdir()?;
    let (one, two, three) = (rich_run(1), rich_run(2), rich_run(3));
    files::write_run(&folder.path().join("b/one.json"), &one)?;
    assert_eq!(
        files::read_runs(&folder.path().join("b/one.json"))?,
        std::slice::from_ref(&one)
    );
    let lines = format!(
        "{}\n\n{}\n",
        serde_json::to_string(&three)?,
        serde_json::to_string(&two)?
    );
    std::fs::write(folder.path().join("b/a.jsonl"), lines)?;
    std::fs::write(folder.path().join("b/.half.json"), "{")?;
    std::fs::write(folder.path().join("b/notes.txt"), "hello")?;
    assert_eq!(
        files::read_runs(&folder.path().join("b/a.jsonl"))?,
        [two.clone(), three.clone()]
    );
    assert_eq!(
        files::read_runs(&folder.path().join("b"))?,
        [one, two, three]
    );
    Ok(())
}

#[test]
fn a_bad_run_file_is_named() -> Checked {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let good = serde_json::to_string(&light_run(1))?;
    let error = |name: &str, text: &str| -> Result<FileError, Box<dyn Error>> {
        std::fs::write(path(name), text)?;
        let error = files::read_runs(&path(name)).err().ok_or("it was read")?;
        assert!(error.to_string().contains(name), "{error}");
        Ok(error)
    };
    assert!(matches!(
        error("half.json", &good[..good.len() / 2])?,
        FileError::Decode { line: None, .. }
    ));
    let third = format!("{good}\n\n{{\"schema\": \"plimsoll.run/1\"}}\n");
    assert!(matches!(
        error("line.jsonl", &third)?,
        FileError::Decode { line: Some(3), .. }
    ));
    let newer = good.replacen("plimsoll.run/1", "plimsoll.run/2", 1);
    let newer = error("newer.json", &newer)?;
    assert!(newer.to_string().contains("newer"), "{newer}");
    let verdict = error("verdict.json", "{\"schema\": \"plimsoll.verdict/1\"}")?;
    assert!(
        verdict.to_string().contains("plimsoll.verdict/1"),
        "{verdict}"
    );
    assert!(matches!(error("run.txt", &good)?, FileError::Kind { .. }));
    assert!(matches!(
        error("deep.json", &"[".repeat(100_000))?,
        FileError::Decode { .. }
    ));
    assert!(matches!(
        error("none.jsonl", "\n\n")?,
        FileError::Empty { .. }
    ));
    assert!(matches!(
        files::read_runs(&path("missing.json")),
        Err(FileError::Read { .. })
    ));
    std::fs::create_dir(path("empty"))?;
    assert!(matches!(
        files::read_runs(&path("empty")),
        Err(FileError::Empty { .. })
    ));

    std::fs::create_dir(path("twice"))?;
    std::fs::write(path("twice/a.json"), &good)?;
    std::fs::write(path("twice/b.json"), &good)?;
    assert!(matches!(
        files::read_runs(&path("twice")),
        Err(FileError::Twice { .. })
    ));

    // A sparse file larger than the cap, and a pipe that nobody writes to.
    std::fs::File::create(path("large.json"))?.set_len((256 << 20) + 1)?;
    assert!(matches!(
        files::read_runs(&path("large.json")),
        Err(FileError::TooLarge { .. })
    ));
    nix::unistd::mkfifo(&path("pipe.json"), nix::sys::stat::Mode::S_IRWXU)?;
    assert!(matches!(
        files::read_runs(&path("pipe.json")),
        Err(FileError::Kind { .. })
    ));
    Ok(())
}

#[test]
fn a_baseline_file_is_a_text_to_review() -> Checked {
    let mut runs = [
        rich_run(1),
        rich_run(2),
        Run {
            session: "later".into(),
            ..rich_run(3)
        },
    ];
    runs[1].metrics[2].reading = Reading::NotMeasurable {
        reason: "too short".into(),
        remedy: "run longer".into(),
    };
    for run in &mut runs {
        let mut few = LatencyHistogram::new();
        for ms in 1..=3 {
            few.record(ms * 1_000_000);
        }
        let request = &mut run.measurement.loads[0].requests[0];
        request.response.insert(Outcome::Ok, few);
    }
    let baseline = Baseline::from_runs(&runs)?;
    insta::assert_snapshot!(baseline.to_text()?);
    // Not `load.reads.p999`, which no run could measure and nobody will miss.
    assert_eq!(baseline.partly_measured(), ["load.reads.rate"]);
    Ok(())
}

#[test]
fn a_baseline_is_read_back() -> Checked {
    let folder = tempfile::tempdir()?;
    let runs = [
        rich_run(2),
        Run {
            partial: true,
            ..rich_run(9)
        },
        rich_run(1),
    ];
    let baseline = Baseline::from_runs(&runs)?;
    let path = baseline.save(folder.path())?;
    assert_eq!(
        path,
        Baseline::path(folder.path(), &baseline.fingerprint, "mixed")
    );
    assert_eq!(Baseline::load(&path)?, baseline);
    assert_eq!(Baseline::list(folder.path())?, [path]);
    let found = Baseline::find(folder.path(), &baseline.fingerprint, "mixed")?;
    assert_eq!(found, Some(baseline.clone()));
    assert_eq!(
        Baseline::find(folder.path(), &baseline.fingerprint, "other")?,
        None
    );
    assert_eq!(
        Baseline::list(&folder.path().join("missing"))?,
        Vec::<std::path::PathBuf>::new()
    );

    let base = baseline.to_runs();
    assert_eq!(
        base.iter().map(|run| run.id).collect::<Vec<_>>(),
        [runs[2].id, runs[0].id]
    );
    for (light, full) in base.iter().zip([&runs[2], &runs[0]]) {
        assert!(light.is_valid());
        assert_eq!(light.fingerprint, full.fingerprint);
        assert_eq!(light.metrics.len(), full.metrics.len());
        for (light, full) in light.metrics.iter().zip(&full.metrics) {
            assert_eq!(
                (&light.name, &light.unit, light.better),
                (&full.name, &full.unit, full.better)
            );
            assert_eq!(light.observations, full.observations);
            assert_eq!(light.values().len(), full.values().len());
            for (light, full) in light.values().iter().zip(full.values()) {
                assert!((light / full - 1.0).abs() < 5e-6, "{light} for {full}");
            }
        }
    }
    let request = &baseline.loads[0].requests[0];
    assert_eq!(request.count, 2 * 1000);
    assert_eq!(
        request.response.quantile_ns(0.5),
        base_response().quantile_ns(0.5)
    );
    // The same values again are the same baseline: nothing is lost by keeping six digits twice.
    let again = Baseline::from_runs(&base)?;
    assert_eq!(again.sessions, baseline.sessions);
    Ok(())
}

#[test]
fn only_what_belongs_together_makes_a_baseline() -> Checked {
    let error = |runs: &[Run]| Baseline::from_runs(runs).err().ok_or("it was made");
    assert!(matches!(
        error(&[])?,
        BaselineError::NothingValid { runs: 0 }
    ));
    let partial = Run {
        partial: true,
        ..light_run(1)
    };
    assert!(matches!(
        error(&[partial])?,
        BaselineError::NothingValid { runs: 1 }
    ));
    assert!(matches!(
        error(&[light_run(1), light_run(2), light_run(1)])?,
        BaselineError::Twice { id } if id == light_run(1).id
    ));
    let scenario = Run {
        scenario: "other".into(),
        ..light_run(2)
    };
    assert!(matches!(
        error(&[light_run(1), scenario])?,
        BaselineError::Scenarios { .. }
    ));
    let mut moved = light_run(2);
    moved.fingerprint.kernel = "6.2".into();
    let differs = error(&[light_run(1), moved])?.to_string();
    assert!(differs.contains("kernel is `6.1` and `6.2`"), "{differs}");
    let revision = Run {
        revision: None,
        ..light_run(2)
    };
    assert!(matches!(
        error(&[light_run(1), revision])?,
        BaselineError::Revisions { .. }
    ));
    let mut unit = light_run(2);
    unit.metrics[0].unit = Unit::Count;
    assert!(matches!(
        error(&[light_run(1), unit])?,
        BaselineError::Units { .. }
    ));
    Ok(())
}

#[test]
fn a_new_baseline_says_what_it_changes() -> Checked {
    let with = |number: u64, values: &[f64]| {
        let mut run = light_run(number);
        run.metrics[0] = Metric {
            reading: Reading::Measured {
                values: values.to_vec(),
            },
            ..run.metrics[0].clone()
        };
        run
    };
    let old = Baseline::from_runs(&[with(1, &[90.0]), with(2, &[100.0]), with(3, &[500.0])])?;
    let mut newer = [with(4, &[110.0]), with(5, &[110.0])];
    for run in &mut newer {
        run.metrics.push(Metric::single(
            "z.new",
            Unit::Count,
            Direction::Lower,
            1.0,
            1,
        ));
        run.fingerprint.toolchain = "rustc 1.96.0".into();
    }
    let new = Baseline::from_runs(&newer)?;
    let diff = old.diff(&new);
    assert_eq!(diff.fingerprint.len(), 1);
    let rate = &diff.rows[0];
    assert_eq!(
        (rate.metric.as_str(), rate.old, rate.new),
        ("load.reads.rate", Some(100.0), Some(110.0))
    );
    assert!((rate.change.ok_or("no change")? - 0.1).abs() < 1e-9);
    let added = &diff.rows[1];
    assert_eq!(
        (added.metric.as_str(), added.old, added.new, added.change),
        ("z.new", None, Some(1.0), None)
    );
    assert_eq!(old.diff(&old).rows[0].change, Some(0.0));
    Ok(())
}

#[test]
fn an_anchor_is_a_copy_that_stays() -> Checked {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let baseline = Baseline::from_runs(&[rich_run(1)])?;
    let fingerprint = &baseline.fingerprint;
    assert_eq!(Anchor::find(root, fingerprint, "mixed")?, []);

    let later = Baseline::from_runs(&[rich_run(2)])?;
    let second = Anchor::pin(root, later.clone(), "a-later-one")?;
    let first = Anchor::pin(root, baseline.clone(), "v1.0")?;
    let machine = root.join(fingerprint.machine_id());
    assert_eq!(first.path, machine.join("anchors/v1.0/mixed.json"));
    // By what was measured first, not by name.
    let files = [&second, &first].map(|anchor| anchor.path.clone());
    assert_eq!(Anchor::list(root)?, files);
    assert_eq!(
        Anchor::find(root, fingerprint, "mixed")?,
        [first.clone(), second]
    );
    assert_eq!(Anchor::find(root, fingerprint, "other")?, []);
    // An anchor is no baseline of the machine.
    assert_eq!(Baseline::list(root)?, Vec::<std::path::PathBuf>::new());

    let again = Anchor::pin(root, later, "v1.0");
    assert!(
        matches!(again, Err(AnchorError::Pinned { .. })),
        "{again:?}"
    );
    assert_eq!(Baseline::load(&first.path)?, baseline);
    for name in ["", "..", ".hidden", "a/b", "../v1.0", "a b"] {
        let refused = Anchor::pin(root, baseline.clone(), name);
        assert!(matches!(refused, Err(AnchorError::Name { .. })), "{name:?}");
    }

    std::fs::write(&first.path, "{}")?;
    let error = Anchor::find(root, fingerprint, "mixed").err();
    let error = error.ok_or("it was read")?.to_string();
    assert!(error.contains("v1.0/mixed.json"), "{error}");
    Ok(())
}

/// What was accepted is in the file, and a file from before there was anything to accept is read.
#[test]
fn what_was_accepted_stays_with_the_baseline() -> Checked {
    let folder = tempfile::tempdir()?;
    let mut baseline = Baseline::from_runs(&[rich_run(1)])?;
    assert!(!baseline.to_text()?.contains("accepted"));
    baseline.accepted.push(AcceptedDrift {
        metric: "load.reads.p95".to_owned(),
        effect: Some(0.07),
        reason: "the index is gone".to_owned(),
    });
    let path = baseline.save(folder.path())?;
    assert_eq!(Baseline::load(&path)?, baseline);
    Ok(())
}

#[test]
fn a_bad_baseline_file_is_named() -> Checked {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("baseline.json");
    let good = Baseline::from_runs(&[rich_run(1), rich_run(2)])?.to_text()?;
    let error = |text: &str| -> Result<String, Box<dyn Error>> {
        std::fs::write(&path, text)?;
        let error = Baseline::load(&path)
            .err()
            .ok_or("it was read")?
            .to_string();
        assert!(error.contains("baseline.json"), "{error}");
        Ok(error)
    };
    assert!(error(&good.replacen("baseline/1", "baseline/2", 1))?.contains("newer"));
    assert!(error(&good.replacen("[[30.5, 31.25, 1], ", "[", 1))?.contains("bench.cache/get_hot"));
    error(&good[..good.len() - 10])?;
    error("[]")?;
    let mut calibrated = Baseline::from_runs(&[rich_run(1)])?;
    calibrated.calibration = Some(calibration()?);
    let calibrated = calibrated.to_text()?.replacen("29.75]", "29.75, 3]", 1);
    assert!(error(&calibrated)?.contains("`load.reads.p95` of its calibration"));
    Ok(())
}

/// What two pairs of one sitting say of a metric, with what follows from it.
fn calibration() -> Result<Calibration, Box<dyn Error>> {
    let mut calibration = Calibration::default();
    for (session, base) in [("first", [30.0, 31.25]), ("second", [29.5, 30.123_456_7])] {
        let pairs = PairedValues {
            unit: Unit::Nanoseconds,
            better: Direction::Lower,
            base: base.to_vec(),
            head: vec![30.5, 29.75],
        };
        let of_session = CalibrationSession {
            session: session.into(),
            revision: Some("1a2b3c4".into()),
            plimsoll_version: "0.1.0".into(),
            started_at: light_run(1).started_at,
            pairs: 2,
        };
        calibration.add(of_session, [("load.reads.p95".into(), pairs)].into());
    }
    let metric = calibration.metrics.get_mut("load.reads.p95");
    metric
        .ok_or("not added")?
        .state(Some(0.012_345_678), 4, None, 0);
    Ok(calibration)
}

#[test]
fn a_calibration_is_read_back_and_reviewed() -> Checked {
    let folder = tempfile::tempdir()?;
    let old = Baseline::from_runs(&[light_run(1), light_run(2)])?;
    assert!(!old.to_text()?.contains("calibration"));
    let mut baseline = old.clone();
    baseline.calibration = Some(calibration()?);
    let path = baseline.save(folder.path())?;
    assert_eq!(Baseline::load(&path)?, baseline);
    insta::assert_snapshot!(baseline.to_text()?);
    // A file without it is as good as ever.
    std::fs::write(&path, old.to_text()?)?;
    assert_eq!(Baseline::load(&path)?, old);
    Ok(())
}

#[test]
fn a_new_baseline_keeps_the_calibration_of_its_fingerprint() -> Checked {
    let folder = tempfile::tempdir()?;
    let mut old = Baseline::from_runs(&[light_run(1), light_run(2)])?;
    old.calibration = Some(calibration()?);
    let path = old.save(folder.path())?;
    let new = Baseline::from_runs(&[light_run(3)])?;
    assert_eq!(new.save(folder.path())?, path);
    let kept = Baseline::load(&path)?;
    assert_eq!(
        (&kept.sessions, &kept.calibration),
        (&new.sessions, &old.calibration)
    );

    let mut other = light_run(4);
    other.fingerprint.scenario_hash = "another".into();
    assert_eq!(Baseline::from_runs(&[other])?.save(folder.path())?, path);
    assert_eq!(Baseline::load(&path)?.calibration, None);
    Ok(())
}

/// A file with the marks of a merge was taken for one without a calibration, and a link to nothing for no
/// baseline, against which every margin passes.
#[test]
fn what_can_not_be_read_is_neither_replaced_nor_missing() -> Checked {
    let folder = tempfile::tempdir()?;
    let mut old = Baseline::from_runs(&[light_run(1)])?;
    old.calibration = Some(calibration()?);
    let path = old.save(folder.path())?;
    let spoilt = format!("<<<<<<< ours\n{}", old.to_text()?);
    std::fs::write(&path, &spoilt)?;
    let new = Baseline::from_runs(&[light_run(2)])?;
    let error = new.save(folder.path()).err().ok_or("it was replaced")?;
    assert!(matches!(error, BaselineError::Decode { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path)?, spoilt);

    std::fs::remove_file(&path)?;
    std::os::unix::fs::symlink("nowhere.json", &path)?;
    let found = Baseline::find(folder.path(), &old.fingerprint, "mixed");
    assert!(matches!(found, Err(BaselineError::File(_))), "{found:?}");
    Ok(())
}

#[test]
fn a_scenario_never_leads_out_of_the_folder() {
    let fingerprint = light_run(1).fingerprint;
    let root = Path::new("/baselines");
    let folder = root.join(fingerprint.machine_id());
    let file = |scenario: &str| {
        let path = Baseline::path(root, &fingerprint, scenario);
        assert_eq!(path.parent(), Some(folder.as_path()), "{scenario}");
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        assert!(!name.starts_with('.') && name.len() < 128, "{name}");
        name
    };
    assert_eq!(
        file("mixed-workload@servers_2.0"),
        "mixed-workload@servers_2.0.json"
    );
    let hostile = [
        "..",
        ".",
        "",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0b",
        "a b",
        "ü",
        ".hidden",
    ];
    let mut names: Vec<String> = hostile.iter().map(|scenario| file(scenario)).collect();
    names.extend(["a_b", "_hidden", "_"].map(file));
    names.push(file(&"x".repeat(300)));
    names.push(file(&"x".repeat(301)));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two scenarios share a file");
}

/// Not a test of its own: the process that the tests above start and kill.
#[tokio::test]
async fn writer_process() -> Checked {
    let Ok(place) = std::env::var(WRITER_PLACE) else {
        return Ok(());
    };
    let runs: usize = std::env::var(WRITER_RUNS)?.parse()?;
    let history = History::open(&place).await?;
    for number in 0..runs {
        let run = Run {
            id: RunId::now(),
            ..rich_run(number as u64 % 1000)
        };
        history.save(&run).await?;
        writeln!(std::io::stdout(), "saved {}", run.id)?;
    }
    Ok(())
}

fn writer(place: &str, runs: usize) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--exact", "writer_process", "--nocapture"])
        .env(WRITER_PLACE, place)
        .env(WRITER_RUNS, runs.to_string())
        .stdout(Stdio::piped())
        .spawn()
}

/// A run with something in every corner.
fn rich_run(number: u64) -> Run {
    let histogram = base_response();
    let counts = Counts {
        offered: 1010,
        started: 1009,
        dropped: 1,
        completed: 1000,
        failed: 8,
        cancelled: 1,
        ..Counts::default()
    };
    let load = LoadMeasurement {
        counts,
        windows: vec![LoadWindow {
            start_ns: 0,
            length_ns: 1_000_000_000,
            phase: Phase::Measure,
            counts,
            in_flight: 1,
            target_rate: Some(1010.1),
        }],
        iteration: histogram.clone(),
        requests: vec![RequestSeries {
            response: BTreeMap::from([
                (Outcome::Ok, histogram.clone()),
                (Outcome::Failed, LatencyHistogram::new()),
            ]),
            service: BTreeMap::from([(Outcome::Ok, histogram.clone())]),
            errors: BTreeMap::from([(
                ErrorKind::Timeout,
                ErrorTally {
                    count: 8,
                    example: "\"\u{0}\\ü".into(),
                },
            )]),
            statuses: BTreeMap::from([(200, 1000), (503, 8)]),
            bytes_received: 123_456,
            windows: vec![RequestWindow {
                start_ns: 0,
                response: histogram.clone(),
                service: histogram,
                failed: 8,
                bytes_received: 123_456,
            }],
            ..RequestSeries::new("GET /<b>{id}</b>")
        }],
        ..LoadMeasurement::new("reads", "read", ArrivalModel::Open)
    };
    let bench = Metric {
        reading: Reading::Measured {
            values: vec![30.5, 31.25, number as f64],
        },
        ..Metric::single(
            "bench.cache/get_hot",
            Unit::Nanoseconds,
            Direction::Lower,
            0.0,
            300,
        )
    };
    let p999 = Metric {
        reading: Reading::NotMeasurable {
            reason: "only 1 request lies beyond p999; 100 are needed".into(),
            remedy: "run for at least 100s".into(),
        },
        ..Metric::single(
            "load.reads.p999",
            Unit::Nanoseconds,
            Direction::Lower,
            0.0,
            1000,
        )
    };
    let mut run = light_run(number);
    run.metrics = vec![bench, p999, run.metrics.remove(0)];
    run.measurement = Measurement {
        phases: vec![PhaseSpan {
            phase: Phase::Measure,
            start_ns: 0,
            end_ns: 1_000_000_000,
        }],
        loads: vec![load],
        processes: vec![ProcessSeries {
            name: "service".into(),
            samples: vec![ProcessSample {
                at_ns: -1,
                cpu_cores: 0.1 + 0.2,
                rss_bytes: 1 << 40,
                threads: 3,
                fds: 9,
            }],
            usage: None,
        }],
        probes: vec![ProbeSeries {
            name: "cache_hit_ratio".into(),
            points: vec![ProbePoint {
                at_ns: 5,
                value: 1.0 / 3.0,
            }],
            value: Some(f64::MIN_POSITIVE),
        }],
        benches: vec![BenchMeasurement {
            id: "cache/get_hot".into(),
            target: "cache".into(),
            invocations: vec![BenchInvocation {
                point_ns: 30.5,
                sampling: Sampling::Linear,
                iterations: vec![1.0, 2.0],
                times_ns: vec![30.0, 61.5],
            }],
        }],
        events: vec![TimelineEvent {
            at_ns: 20,
            what: "stop redis".into(),
        }],
    };
    run
}

/// One thousand latencies from 1 ms to 100 ms.
fn base_response() -> LatencyHistogram {
    let mut histogram = LatencyHistogram::new();
    for number in 0..1000_u64 {
        histogram.record(1_000_000 + number * 99_000);
    }
    histogram
}
