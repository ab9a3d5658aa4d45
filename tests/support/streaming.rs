//! What a stream of many rows takes, in a test executable of its own for each database: what other tests
//! use would be counted.

use std::sync::Arc;

use futures_util::StreamExt;
use plimsoll::datalayer::batch::{
    Loader, MemorySource, ProcessMemory, Row, Select, fetch_rows, stream_batches,
};
use plimsoll::datalayer::config::{BatchSettings, PoolSettings};
use plimsoll::datalayer::dataset::{DatasetId, Generator, RECORDS, drop_indexes, ensure};
use plimsoll::datalayer::pool::Pool;
use sqlx::AssertSqlSafe;

use super::Tested;

const ROWS: u64 = 1_000_000;
/// How often the rows that are loaded are doubled.
const DOUBLINGS: u32 = 6;
const MIB: u64 = 1024 * 1024;
/// Most that a stream may take above what the process takes at rest; 64 MiB were promised.
const MOST: u64 = 24 * MIB;

/// Streams a million rows of the database at `url`, which is empty, and holds what that takes against what
/// a fifth of the rows takes.
pub(crate) async fn takes_a_fraction_of_the_rows(url: &str) -> Tested {
    let settings = PoolSettings {
        min_connections: 1,
        ..PoolSettings::default()
    };
    let pool = Pool::connect(url, settings).await?;
    let settings = BatchSettings::default();
    let memory: Arc<dyn MemorySource> = Arc::new(ProcessMemory);
    let id = DatasetId {
        seed: 42,
        records: 0,
    };
    ensure(&pool, id, &settings, Arc::clone(&memory)).await?;
    let idle = memory.resident_bytes();
    assert!(idle > 0, "the system tells what the process uses");
    load(&pool, &settings, &memory).await?;

    let stream = || {
        let select = Select::all(&RECORDS);
        let memory = Arc::clone(&memory);
        Box::pin(stream_batches(pool.clone(), select, &settings, memory))
    };
    let mut peak = idle;
    let mut rows = 0;
    let mut batches = stream();
    while let Some(batch) = batches.next().await {
        rows += batch?.len() as u64;
        peak = peak.max(memory.resident_bytes());
    }
    assert_eq!(rows, ROWS);
    let streamed = peak - idle;

    // Some of them kept, so that the limit is known to mean something here.
    let mut kept: Vec<Row> = Vec::new();
    let mut batches = stream();
    while (kept.len() as u64) < ROWS / 5 {
        kept.extend(batches.next().await.ok_or("too few rows")??);
    }
    let whole = memory.resident_bytes().saturating_sub(idle);
    drop(kept);

    assert!(streamed < MOST, "{} MiB", streamed / MIB);
    assert!(whole > 2 * MOST, "kept, a fifth takes {} MiB", whole / MIB);
    Ok(())
}

/// A part of the rows comes from here and the database makes the others, which is faster.
async fn load(pool: &Pool, settings: &BatchSettings, memory: &Arc<dyn MemorySource>) -> Tested {
    drop_indexes(pool).await?;
    let (columns, memory) = (RECORDS.unkeyed(), Arc::clone(memory));
    let mut loader = Loader::new(pool.clone(), &RECORDS, columns, settings, memory);
    let loaded = ROWS >> DOUBLINGS;
    for row in Generator::new(42, 0).records_from(0).take(loaded as usize) {
        loader.push(row).await?;
    }
    loader.finish().await?;
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let names = names.join(", ");
    for _ in 0..DOUBLINGS {
        let double = AssertSqlSafe(format!(
            "INSERT INTO records ({names}) SELECT {names} FROM records"
        ));
        fetch_rows(pool, ("double", "records"), double, &[], &[]).await?;
    }
    Ok(())
}
