//! A batch that goes through at its fourth attempt, with each way to pause between them. Beside each a bare loop:
//! the same rows by `COPY` in a transaction, with the same pauses. What is between the two is the ledger, in which
//! the run, the batch and its audit are written.

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use plimsoll::datalayer::batch::operations::{Operations, RunState, Work};
use plimsoll::datalayer::batch::{Row, fetch_rows, name_list};
use plimsoll::datalayer::config::{BatchSettings, RetrySettings, RetryStrategy};
use plimsoll::datalayer::dataset::{Generator, RECORDS};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::sleep;

use crate::bulk::text;
use crate::common;
use crate::empty_store;
use crate::servers::Postgres;

const ROWS: usize = 100;
/// Three of four statements that insert records meet somebody in their way. A sequence is not rolled back.
const IN_THE_WAY: &str = "
    CREATE SEQUENCE attempts;
    CREATE FUNCTION in_the_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') % 4 <> 0 THEN
            RAISE EXCEPTION 'in the way' USING ERRCODE = 'serialization_failure';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER in_the_way BEFORE INSERT ON records EXECUTE FUNCTION in_the_way();
";
/// Each strategy with its three pauses, in ms.
const STRATEGIES: [(&str, RetryStrategy, [u64; 3]); 4] = [
    ("exponential", RetryStrategy::Exponential, [1, 2, 4]),
    ("linear", RetryStrategy::Linear, [1, 2, 3]),
    ("fixed", RetryStrategy::Fixed, [1, 1, 1]),
    ("fibonacci", RetryStrategy::Fibonacci, [1, 1, 2]),
];

pub(crate) fn benches(criterion: &mut Criterion) {
    let runtime = common::runtime();
    let server = Postgres::start().expect("PostgreSQL is installed");
    let settings = BatchSettings::default();
    let pool = runtime.block_on(empty_store(&server.url(), &settings));
    let mut bare = runtime
        .block_on(PgConnection::connect(&server.url()))
        .expect("it answers");
    runtime
        .block_on(sqlx::raw_sql(IN_THE_WAY).execute(&mut bare))
        .expect("it can be made");
    let rows: Vec<Row> = Generator::new(42, ROWS as u64)
        .records_from(0)
        .take(ROWS)
        .collect();
    let copied = text(&rows);
    let copy = format!("COPY records ({}) FROM STDIN", name_list(RECORDS.unkeyed()));
    let rows = Arc::new(rows);
    let mut group = criterion.benchmark_group("retry");
    for (name, strategy, pauses_ms) in STRATEGIES {
        let retry = RetrySettings {
            strategy,
            attempts: 4,
            min_delay_ms: 1,
            factor: 2.0,
            jitter_ratio: 0.0,
            ..RetrySettings::default()
        };
        let settings = BatchSettings {
            retry,
            ..settings.clone()
        };
        let operations = Operations::new(pool.clone(), settings, Arc::new(|| 0));
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let rows = Arc::clone(&rows);
                let source = move |from: u64, limit: usize| {
                    let rows = rows.iter().skip(from as usize).take(limit);
                    rows.cloned().collect::<Vec<Row>>()
                };
                let work = Work::create(&RECORDS, RECORDS.unkeyed(), source, Some(ROWS as u64));
                let run = operations.start(work, "bench", "").await;
                let run = run.expect("it answers").finish().await;
                let progress = run.expect("the fourth attempt goes through");
                assert_eq!(progress.state, RunState::Done);
            });
        });
        group.bench_function(format!("{name}_bare"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    for pause_ms in pauses_ms {
                        let refused = attempt(&mut bare, &copy, &copied).await;
                        assert!(refused.is_err(), "somebody is in the way");
                        sleep(Duration::from_millis(pause_ms)).await;
                    }
                    let copied = attempt(&mut bare, &copy, &copied).await;
                    copied.expect("the fourth attempt goes through");
                });
            });
        });
        let emptied = fetch_rows(&pool, ("empty", "records"), "TRUNCATE records", &[], &[]);
        runtime.block_on(emptied).expect("a table can be emptied");
    }
    group.finish();
}

async fn attempt(bare: &mut PgConnection, copy: &str, text: &str) -> sqlx::Result<()> {
    let mut transaction = bare.begin().await?;
    let mut sink = transaction.copy_in_raw(copy).await?;
    sink.send(text.as_bytes()).await?;
    sink.finish().await?;
    transaction.commit().await
}
