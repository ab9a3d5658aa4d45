//! A load of any number of rows: pushed one by one, inserted batch by batch.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    brake: Brake,
}

/// Stops a load from elsewhere. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Brake(Arc<Mutex<Braked>>);

#[derive(Debug, Default)]
struct Braked {
    tally: Tally,
    is_pulled: bool,
}

/// How far a load is. What is not counted was not sent to the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows inserted.
    pub rows: u64,
    /// Rows behind these of which it is not known whether they are: those of a batch whose answer has not
    /// come yet, or did not come.
    pub unsure: u64,
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
            brake: Brake::default(),
        }
    }

    /// Takes a row in; inserts the batch that it completes.
    ///
    /// # Errors
    /// As [`insert`](super::insert), [`BatchError::MemoryCeiling`] and [`BatchError::Stopped`]. What
    /// [`Brake::tally`] counts is inserted.
    pub async fn push(&mut self, row: Row) -> Result<(), BatchError> {
        self.waiting.push(row);
        if self.waiting.len() >= self.pace.rows() {
            self.flush().await?;
            self.pace.step().await?;
        }
        Ok(())
    }

    /// What stops the load, and says how far it is.
    pub fn brake(&self) -> Brake {
        self.brake.clone()
    }

    /// Inserts the rest and says what was done.
    ///
    /// # Errors
    /// As [`insert`](super::insert), and [`BatchError::Stopped`].
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
        let table = self.table.name;
        if !self.brake.begin(count) {
            return Err(BatchError::Stopped { table });
        }
        let inserted = insert_for(self.place, &self.pool, self.table, self.columns, rows).await;
        match &inserted {
            Ok(_) => self.brake.end(count),
            Err(error) if error.is_in_doubt() => {}
            Err(_) => self.brake.end(0),
        }
        inserted?;
        self.loaded.rows += count;
        self.loaded.batches += 1;
        self.loaded.largest_batch_rows = self.loaded.largest_batch_rows.max(count);
        Ok(())
    }
}

impl Brake {
    /// How far the load is.
    pub fn tally(&self) -> Tally {
        self.braked().tally
    }

    /// From now on no batch is begun. Says how far the load is: of what is under way that is not known.
    pub fn pull(&self) -> Tally {
        let mut braked = self.braked();
        braked.is_pulled = true;
        braked.tally
    }

    /// Whether a batch of so many rows may be begun.
    fn begin(&self, rows: u64) -> bool {
        let mut braked = self.braked();
        if !braked.is_pulled {
            braked.tally.unsure = rows;
        }
        !braked.is_pulled
    }

    /// So many rows of the batch are in, and no others.
    fn end(&self, rows: u64) {
        let mut braked = self.braked();
        braked.tally.rows += rows;
        braked.tally.unsure = 0;
    }

    fn braked(&self) -> MutexGuard<'_, Braked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
