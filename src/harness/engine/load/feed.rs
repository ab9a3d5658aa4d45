//! Rows that a flow draws values from, read whole into memory before the load starts.

use std::path::PathBuf;

use csv::StringRecord;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::files::{self, FileError};
use super::shuffle::Shuffle;
use crate::harness::scenario::{FeedFormat, FeedOrder, FeedPlan, each_row};

/// Why a feed could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file could not be read.
    #[error("feed {0}")]
    File(#[from] FileError),
    /// It is no CSV file.
    #[error("feed {path}: {error}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: csv::Error,
    },
    /// It is no JSON array of objects with the same keys.
    #[error("feed {path}: {error}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It has a header and nothing else.
    #[error("feed {path} has no rows")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The plan names a column that the file has not, although it is the one that was checked.
    #[error("feed {path} has no column `{column}`; check the scenario again")]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
}

/// The rows of one file, and how they are drawn.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) name: String,
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<StringRecord>,
    order: Order,
}

#[derive(Debug)]
enum Order {
    Sequential,
    Random,
    Shuffled(Shuffle),
    /// This load's place among those that draw from the feed, and their number.
    Unique {
        place: u64,
        of: u64,
    },
}

impl Feed {
    /// Reads the file. `seed` is that of the load; `turn` its place among the loads that draw from
    /// the feed, and their number.
    pub(super) fn read(
        name: &str,
        plan: &FeedPlan,
        seed: u64,
        turn: (u32, u32),
    ) -> Result<Self, FeedError> {
        let path = plan.file.path.clone();
        let bytes = files::read_checked(&plan.file)?;
        let (columns, rows) = match plan.format {
            FeedFormat::Csv => from_csv(&bytes).map_err(|error| FeedError::Csv {
                path: path.clone(),
                error,
            })?,
            FeedFormat::Json => from_json(&bytes).map_err(|error| FeedError::Json {
                path: path.clone(),
                error,
            })?,
        };
        if rows.is_empty() {
            return Err(FeedError::Empty { path });
        }
        let order = match plan.order {
            FeedOrder::Sequential => Order::Sequential,
            FeedOrder::Random => Order::Random,
            FeedOrder::Shuffled => Order::Shuffled(Shuffle::new(seed, name, rows.len() as u64)),
            FeedOrder::Unique => Order::Unique {
                place: u64::from(turn.0),
                of: u64::from(turn.1.max(1)),
            },
        };
        Ok(Self {
            name: name.to_owned(),
            path,
            columns,
            rows,
            order,
        })
    }

    /// The index of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize, FeedError> {
        let mut columns = self.columns.iter();
        columns
            .position(|column| column == name)
            .ok_or_else(|| FeedError::Column {
                path: self.path.clone(),
                column: name.to_owned(),
            })
    }

    /// The row of the iteration with that number; `None` where each had its only turn.
    pub(super) fn draw(&self, iteration: u64, random: &mut ChaCha8Rng) -> Option<usize> {
        let rows = self.rows.len() as u64;
        let row = match self.order {
            Order::Sequential => iteration % rows,
            Order::Random => random.random_range(0..rows),
            Order::Shuffled(shuffle) => shuffle.row(iteration / rows, iteration % rows),
            Order::Unique { place, of } => iteration.checked_mul(of)?.checked_add(place)?,
        };
        (row < rows).then_some(row as usize)
    }

    /// One value.
    pub(super) fn value(&self, row: usize, column: usize) -> &str {
        // The reader refuses rows of another length than the header.
        self.rows[row].get(column).unwrap_or_default()
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn from_csv(bytes: &[u8]) -> Result<(Vec<String>, Vec<StringRecord>), csv::Error> {
    let mut reader = csv::Reader::from_reader(bytes);
    let columns = reader.headers()?.iter().map(str::to_owned).collect();
    Ok((columns, reader.records().collect::<Result<_, _>>()?))
}

fn from_json(bytes: &[u8]) -> Result<(Vec<String>, Vec<StringRecord>), serde_json::Error> {
    let mut rows = Vec::new();
    let columns = each_row(bytes, |row| rows.push(row.iter().collect()))?;
    Ok((columns, rows))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::SeedableRng as _;

    use super::super::fixture;
    use super::*;

    fn read(name: &str, text: &str, order: FeedOrder, turn: (u32, u32)) -> Result<Feed, FeedError> {
        let folder = tempfile::tempdir().unwrap();
        let file = fixture::file(folder.path(), name, text.as_bytes());
        let format = match name.ends_with(".json") {
            true => FeedFormat::Json,
            false => FeedFormat::Csv,
        };
        let columns = vec!["id".to_owned(), "name".to_owned()];
        let plan = FeedPlan {
            file,
            format,
            columns,
            order,
        };
        Feed::read("clients", &plan, 3, turn)
    }

    /// A feed of so many rows.
    fn feed(rows: usize, order: FeedOrder, turn: (u32, u32)) -> Feed {
        let rows: String = (0..rows).map(|row| format!("{row},x\n")).collect();
        read("c.csv", &format!("id,name\n{rows}"), order, turn).unwrap()
    }

    #[test]
    fn csv_and_json_give_the_same_values() {
        let csv = "name,id\n\"a \"\"b\"\"\",1\nü,2.5\ntrue,-3\n";
        let json = r#"[{"id": 1, "name": "a \"b\""}, {"name": "ü", "id": 2.5},
                       {"id": "-3", "name": true}]"#;
        for (file, text) in [("c.csv", csv), ("c.json", json)] {
            let feed = read(file, text, FeedOrder::Sequential, (0, 1)).unwrap();
            let column = |name| {
                let column = feed.column(name).unwrap();
                let rows = 0..feed.len();
                rows.map(|row| feed.value(row, column).to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(column("id"), ["1", "2.5", "-3"], "{file}");
            assert_eq!(column("name"), ["a \"b\"", "ü", "true"], "{file}");
            assert!(matches!(feed.column("x"), Err(FeedError::Column { .. })));
        }
    }

    #[test]
    fn other_rows_than_those_that_were_checked_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let plan = FeedPlan {
            file: fixture::file(folder.path(), "c.csv", b"id\n1\n"),
            format: FeedFormat::Csv,
            columns: vec!["id".into()],
            order: FeedOrder::Sequential,
        };
        assert_eq!(Feed::read("clients", &plan, 3, (0, 1)).unwrap().len(), 1);
        std::fs::write(&plan.file.path, "id\n2\n").unwrap();
        let error = Feed::read("clients", &plan, 3, (0, 1)).unwrap_err();
        let changed = FeedError::File(FileError::Changed {
            path: plan.file.path,
        });
        assert_eq!(error.to_string(), changed.to_string());
    }

    #[test]
    fn what_is_no_feed_is_refused() {
        let check = |name: &str, text: &str, expected: &str| {
            let error = read(name, text, FeedOrder::Sequential, (0, 1)).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("c.csv", "id,name\n", "no rows");
        check("c.csv", "id,name\n1\n", "CSV error");
        check("c.json", "[]", "no rows");
        check("c.json", r#"{"id": 1}"#, "an array of objects");
        check("c.json", r#"[{"id": 1, "name": "a"}] x"#, "trailing");
        check(
            "c.json",
            r#"[{"id": 1, "name": "a"}, {"id": 2}]"#,
            "other keys than the first",
        );
        check(
            "c.json",
            r#"[{"id": [1], "name": "a"}]"#,
            "a text, a number or a boolean",
        );
    }

    #[test]
    fn each_order_draws_the_rows_that_it_promises() {
        let drawn = |order, turn| -> Vec<Option<usize>> {
            let feed = feed(10, order, turn);
            let mut random = ChaCha8Rng::seed_from_u64(1);
            (0..40)
                .map(|iteration| feed.draw(iteration, &mut random))
                .collect()
        };
        let sequential: Vec<_> = (0..40).map(|nth| Some(nth % 10)).collect();
        assert_eq!(drawn(FeedOrder::Sequential, (0, 1)), sequential);

        let shuffled = drawn(FeedOrder::Shuffled, (0, 1));
        for pass in shuffled.chunks(10) {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            assert_eq!(pass, sequential[..10]);
        }
        assert_ne!(shuffled[..10], shuffled[10..20]);

        let random = drawn(FeedOrder::Random, (0, 1));
        assert!(random.iter().all(Option::is_some));
        assert_ne!(random, shuffled);

        // Two loads take turns, and each has an end.
        let first = drawn(FeedOrder::Unique, (0, 2));
        let second = drawn(FeedOrder::Unique, (1, 2));
        assert_eq!(
            first[..6],
            [Some(0), Some(2), Some(4), Some(6), Some(8), None]
        );
        assert_eq!(
            second[..6],
            [Some(1), Some(3), Some(5), Some(7), Some(9), None]
        );
    }

    #[test]
    fn a_unique_feed_ends_at_any_number() {
        let feed = feed(3, FeedOrder::Unique, (2, 3));
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(feed.draw(0, &mut random), Some(2));
        assert_eq!(feed.draw(u64::MAX, &mut random), None);
        assert_eq!(feed.draw(u64::MAX / 3, &mut random), None);
    }
}
