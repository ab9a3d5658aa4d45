//! What a stream of many rows takes, in a test executable of its own for each database: what other tests
//! use would be counted.

use std::sync::Arc;

use futures_util::StreamExt;
use plimsoll::datalayer::batch::{
    Loader, MemorySource, ProcessMemory, Row, Select, stream_batches,
};
use plimsoll::datalayer::config::{BatchSettings, PoolSettings};
use plimsoll::datalayer::dataset::{DatasetId, Generator, RECORDS, ensure};
use plimsoll::datalayer::pool::Pool;

use super::Tested;

const ROWS: u64 = 200_000;
const MIB: u64 = 1024 * 1024;

/// Streams 200,000 rows of the database at `url`, which is empty, and holds what that takes against what
/// the rows themselves take.
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
    let columns = RECORDS.unkeyed();
    let mut loader = Loader::new(
        pool.clone(),
        &RECORDS,
        columns,
        &settings,
        Arc::clone(&memory),
    );
    for row in Generator::new(42, 0).records_from(0).take(ROWS as usize) {
        loader.push(row).await?;
    }
    loader.finish().await?;

    let before = memory.resident_bytes();
    assert!(before > 0, "the system tells what the process uses");
    let mut peak = before;
    let mut rows = 0;
    let select = Select::all(&RECORDS);
    let mut stream = Box::pin(stream_batches(
        pool.clone(),
        select.clone(),
        &settings,
        Arc::clone(&memory),
    ));
    while let Some(batch) = stream.next().await {
        rows += batch?.len() as u64;
        peak = peak.max(memory.resident_bytes());
    }
    assert_eq!(rows, ROWS);
    let streamed = peak - before;

    // The same rows kept, so that the limit is known to mean something here.
    let mut kept: Vec<Vec<Row>> = Vec::new();
    let mut stream = Box::pin(stream_batches(pool, select, &settings, Arc::clone(&memory)));
    while let Some(batch) = stream.next().await {
        kept.push(batch?);
    }
    let whole = memory.resident_bytes().saturating_sub(before);
    assert_eq!(kept.iter().map(Vec::len).sum::<usize>() as u64, ROWS);

    assert!(streamed < 24 * MIB, "{} MiB", streamed / MIB);
    assert!(
        whole > 2 * 24 * MIB,
        "kept, the rows take {} MiB",
        whole / MIB
    );
    Ok(())
}
