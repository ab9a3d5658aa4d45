//! Rows that a flow draws values from, read whole into memory before the load starts.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::harness::scenario::{FeedOrder, FeedPlan, MAX_FEED_BYTES};

/// Why a feed could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file system said no.
    #[error("feed {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// It has grown since the scenario was checked.
    #[error("feed {path} is larger than {MAX_FEED_BYTES} bytes; use fewer rows")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no CSV file.
    #[error("feed {path}: {error}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: csv::Error,
    },
    /// It has a header and nothing else.
    #[error("feed {path} has no rows below its header")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It changed since the scenario was checked.
    #[error("feed {path} has no column `{column}`; check the scenario again")]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
}

/// The rows of one file.
#[derive(Debug)]
pub(super) struct Feed {
    path: PathBuf,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
    order: FeedOrder,
}

impl Feed {
    /// Reads the file.
    pub(super) fn read(plan: &FeedPlan) -> Result<Self, FeedError> {
        let path = plan.file.clone();
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_FEED_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| FeedError::Io {
                path: path.clone(),
                error,
            })?;
        if bytes.len() as u64 > MAX_FEED_BYTES {
            return Err(FeedError::TooLarge { path });
        }
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let csv_error = |error| FeedError::Csv {
            path: plan.file.clone(),
            error,
        };
        let header = reader.headers().map_err(csv_error)?.clone();
        let rows = reader
            .records()
            .collect::<Result<Vec<_>, _>>()
            .map_err(csv_error)?;
        if rows.is_empty() {
            return Err(FeedError::Empty { path });
        }
        Ok(Self {
            path,
            header,
            rows,
            order: plan.order,
        })
    }

    /// The index of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize, FeedError> {
        self.header
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| FeedError::Column {
                path: self.path.clone(),
                column: name.to_owned(),
            })
    }

    /// The row of the iteration with that number.
    pub(super) fn draw(&self, iteration: u64, random: &mut ChaCha8Rng) -> usize {
        match self.order {
            FeedOrder::Sequential => (iteration % self.rows.len() as u64) as usize,
            FeedOrder::Random => random.random_range(0..self.rows.len()),
            FeedOrder::Shuffled | FeedOrder::Unique => {
                unimplemented!("no scenario can say this yet")
            }
        }
    }

    /// One value.
    pub(super) fn value(&self, row: usize, column: usize) -> &str {
        // The reader refuses rows of another length than the header.
        self.rows[row].get(column).unwrap_or_default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::scenario::FeedFormat;

    #[test]
    fn a_feed_that_grew_beyond_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("grown.csv");
        File::create(&file)
            .unwrap()
            .set_len(MAX_FEED_BYTES + 1)
            .unwrap();
        let feed = Feed::read(&FeedPlan {
            file,
            format: FeedFormat::Csv,
            columns: vec![],
            order: FeedOrder::Sequential,
        });
        assert!(matches!(feed, Err(FeedError::TooLarge { .. })), "{feed:?}");
    }
}
