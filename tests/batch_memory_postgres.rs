//! Streaming in constant memory from PostgreSQL.
#![cfg(feature = "reference")]

mod support;

use support::Tested;
use support::servers::Postgres;
use support::streaming::takes_a_fraction_of_the_rows;

#[tokio::test]
async fn a_stream_of_a_million_rows_takes_a_fraction_of_what_they_take_on_postgres() -> Tested {
    let server = Postgres::start()?;
    takes_a_fraction_of_the_rows(&server.url()).await
}
