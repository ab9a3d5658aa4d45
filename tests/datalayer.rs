//! The data layer against real servers.

mod support;

use support::servers::{Postgres, Redis};

#[test]
fn servers_start_stop_and_start_again() -> std::io::Result<()> {
    let mut redis = Redis::start()?;
    redis.stop()?;
    redis.start_again()?;
    redis.pause()?;
    redis.resume()?;
    let mut postgres = Postgres::start()?;
    postgres.create_database("another")?;
    postgres.stop()?;
    postgres.start_again()
}
