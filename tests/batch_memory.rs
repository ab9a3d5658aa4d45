//! Streaming in constant memory from SQLite.
#![cfg(feature = "reference")]

mod support;

use support::Tested;
use support::streaming::takes_a_fraction_of_the_rows;
use tempfile::TempDir;

#[tokio::test]
async fn a_stream_of_a_million_rows_takes_a_fraction_of_what_they_take() -> Tested {
    let folder = TempDir::new()?;
    let file = folder.path().join("test.db");
    takes_a_fraction_of_the_rows(&format!("sqlite:{}?mode=rwc", file.display())).await
}
