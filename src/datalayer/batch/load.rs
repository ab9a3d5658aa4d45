//! A load of any number of rows: pushed one by one, inserted batch by batch.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::BatchError;
use super::insert::insert_for;
use super::memory::MemorySource;
use super::pace::Pace;
use super::table::{Column, Row, Table};
use crate::datalayer::config::BatchSettings;
use crate::datalayer::pool::Pool;

/// A load under way. Batches that were inserted stay whatever happens to later ones.
pub struct Loader {
    place: &'static Location<'static>,
    pool: Pool,
    table: &'static Table,
    columns: &'static [Column],
    pace: Pace,
    waiting: Vec<Row>,
    begun: Instant,
    loaded: Loaded,
}

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Rows in the database.
    pub rows: u64,
    /// Batches they came in.
    pub batches: u64,
    /// The most rows that one batch had.
    pub largest_batch_rows: u64,
    /// How often the load waited for memory.
    pub pauses: u64,
    /// The most memory that the process was seen to use between batches.
    pub peak_resident_bytes: u64,
    /// From the beginning of the load to its last commit.
    pub elapsed_ns: u64,
}

impl Loader {
    /// Begins a load of rows with `columns` into `table`.
    #[track_caller]
    pub fn new(
        pool: Pool,
        table: &'static Table,
        columns: &'static [Column],
        settings: &BatchSettings,
        memory: Arc<dyn MemorySource>,
    ) -> Self {
        Self {
            place: Location::caller(),
            pool,
            table,
            columns,
            pace: Pace::new(settings, memory),
            waiting: Vec::new(),
            begun: Instant::now(),
            loaded: Loaded::default(),
        }
    }

    /// Takes a row in; inserts the batch that it completes.
    ///
    /// # Errors
    /// As [`insert`](super::insert), and [`BatchError::MemoryCeiling`]. What [`Self::rows`] counts is inserted.
    pub async fn push(&mut self, row: Row) -> Result<(), BatchError> {
        self.waiting.push(row);
        if self.waiting.len() >= self.pace.rows() {
            self.flush().await?;
            self.pace.step().await?;
        }
        Ok(())
    }

    /// Rows inserted so far.
    pub fn rows(&self) -> u64 {
        self.loaded.rows
    }

    /// Inserts the rest and says what was done.
    ///
    /// # Errors
    /// As [`insert`](super::insert).
    pub async fn finish(mut self) -> Result<Loaded, BatchError> {
        self.flush().await?;
        Ok(Loaded {
            pauses: self.pace.pauses(),
            peak_resident_bytes: self.pace.peak_resident_bytes(),
            elapsed_ns: self.begun.elapsed().as_nanos() as u64,
            ..self.loaded
        })
    }

    async fn flush(&mut self) -> Result<(), BatchError> {
        let rows = std::mem::take(&mut self.waiting);
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len() as u64;
        insert_for(self.place, &self.pool, self.table, self.columns, rows).await?;
        self.loaded.rows += count;
        self.loaded.batches += 1;
        self.loaded.largest_batch_rows = self.loaded.largest_batch_rows.max(count);
        Ok(())
    }
}

impl Loaded {
    /// Rows a second over the whole load; 0 for a load that took no time at all.
    pub fn rows_per_s(&self) -> f64 {
        if self.elapsed_ns == 0 {
            0.0
        } else {
            self.rows as f64 * 1e9 / self.elapsed_ns as f64
        }
    }
}
