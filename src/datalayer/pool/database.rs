//! sqlx's two pools behind one face: opened without its timers, which this module's users replace.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::Either;
use sqlx::Connection as _;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use tokio::time::timeout;

use super::PoolError;
use crate::datalayer::config::PoolSettings;

/// Which of the two databases a pool is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatabaseKind {
    /// PostgreSQL.
    Postgres,
    /// SQLite, embedded.
    Sqlite,
}

/// sqlx's pool of either database.
#[derive(Debug, Clone)]
pub(super) enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// One connection out of a [`Database`].
#[derive(Debug)]
pub(super) enum Handle {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// The file of an SQLite address; none for a database in memory and for every other address.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    if !url.starts_with("sqlite:") || in_memory(url) {
        return None;
    }
    let options = SqliteConnectOptions::from_str(url).ok()?;
    Some(options.get_filename().to_owned())
}

impl Database {
    /// Prepares a pool; nothing is connected yet.
    pub(super) fn open(url: &str, settings: &PoolSettings) -> Result<Self, PoolError> {
        let address = |source| PoolError::Address { source };
        match url.split(':').next().unwrap_or_default() {
            "postgres" | "postgresql" => {
                // A caller who gives up can't always tell the server, which would go on alone.
                let limit_ms = settings.statement_timeout_ms + settings.peer_timeout_ms;
                let options = PgConnectOptions::from_str(url).map_err(address)?.options([
                    ("statement_timeout", limit_ms),
                    (
                        "idle_in_transaction_session_timeout",
                        settings.idle_transaction_timeout_ms,
                    ),
                ]);
                Ok(Self::Postgres(
                    options_for(settings).connect_lazy_with(options),
                ))
            }
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url)
                    .map_err(address)?
                    .foreign_keys(true)
                    .busy_timeout(Duration::from_millis(settings.sqlite_busy_timeout_ms));
                // A database in memory has no log to write ahead to.
                let options = if in_memory(url) {
                    options
                } else {
                    options
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Normal)
                };
                Ok(Self::Sqlite(
                    options_for(settings).connect_lazy_with(options),
                ))
            }
            scheme => Err(PoolError::Scheme {
                scheme: scheme.chars().take(20).collect(),
            }),
        }
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        match self {
            Self::Postgres(_) => DatabaseKind::Postgres,
            Self::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// A connection, opened where none is free.
    pub(super) async fn acquire(&self) -> Result<Handle, sqlx::Error> {
        match self {
            Self::Postgres(pool) => pool.acquire().await.map(Handle::Postgres),
            Self::Sqlite(pool) => pool.acquire().await.map(Handle::Sqlite),
        }
    }

    /// A connection that is open and free, if there is one.
    pub(super) fn try_acquire(&self) -> Option<Handle> {
        match self {
            Self::Postgres(pool) => pool.try_acquire().map(Handle::Postgres),
            Self::Sqlite(pool) => pool.try_acquire().map(Handle::Sqlite),
        }
    }

    pub(super) fn open_connections(&self) -> u32 {
        match self {
            Self::Postgres(pool) => pool.size(),
            Self::Sqlite(pool) => pool.size(),
        }
    }

    pub(super) fn idle_connections(&self) -> u32 {
        let idle = match self {
            Self::Postgres(pool) => pool.num_idle(),
            Self::Sqlite(pool) => pool.num_idle(),
        };
        u32::try_from(idle).unwrap_or(u32::MAX)
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

impl Handle {
    /// Asks the peer for a sign of life.
    pub(super) async fn ping(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(connection) => connection.ping().await,
            Self::Sqlite(connection) => connection.ping().await,
        }
    }

    /// Gives the connection back, tested, or drops it where the test fails; `false` when its peer
    /// did not answer within `limit`.
    ///
    /// sqlx tests a returned connection without a limit, so that the permit of a peer which went
    /// silent is lost for good (<https://github.com/launchbadge/sqlx/issues/4349>). Dropping the
    /// future here, polled or not, closes the socket and gives the permit back.
    pub(super) fn give_back(mut self, limit: Duration) -> impl Future<Output = bool> + use<> {
        let returned = match &mut self {
            Self::Postgres(connection) => Either::Left(connection.return_to_pool()),
            Self::Sqlite(connection) => Either::Right(connection.return_to_pool()),
        };
        async move { timeout(limit, returned).await.is_ok() }
    }

    /// Closes the connection at once and without a word to its peer.
    pub(super) fn discard(self) {
        match self {
            Self::Postgres(connection) => drop(connection.detach()),
            Self::Sqlite(connection) => drop(connection.detach()),
        }
    }

    /// Closes the connection, politely if the peer answers within `limit`.
    pub(super) async fn close(self, limit: Duration) {
        let closing = async {
            match self {
                Self::Postgres(connection) => connection.close().await,
                Self::Sqlite(connection) => connection.close().await,
            }
        };
        match timeout(limit, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection was closed with an error"),
            Err(_) => tracing::debug!("a peer did not answer while its connection was closed"),
        }
    }
}

fn options_for<DB: sqlx::Database>(settings: &PoolSettings) -> PoolOptions<DB> {
    let rest = Duration::from_millis(settings.test_after_idle_ms);
    let limit = Duration::from_millis(settings.peer_timeout_ms);
    PoolOptions::new()
        .max_connections(settings.max_connections)
        // `Pool` has limits of its own, and one that is the caller's would break off what is gone on with.
        .acquire_timeout(Duration::from_secs(24 * 60 * 60))
        // sqlx's reaper closes idle connections below the minimum too and opens them again, each
        // period anew; `Pool` keeps the minimum instead.
        .min_connections(0)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut DB::Connection, meta| {
            Box::pin(async move {
                if meta.idle_for < rest {
                    return Ok(true);
                }
                let answered = timeout(limit, connection.ping()).await;
                answered
                    .unwrap_or(Err(sqlx::Error::PoolTimedOut))
                    .map(|()| true)
            })
        })
}

/// Whether closing the last connection would lose the data.
fn in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_files_or_none() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(sqlite_file(url), expected.map(PathBuf::from), "{url}");
        };
        check("sqlite:/data/a.db?mode=rwc", Some("/data/a.db"));
        check("sqlite:///data/a%3Fb.db", Some("/data/a?b.db"));
        check("sqlite::memory:", None);
        check("sqlite:a?mode=memory", None);
        check("sqlite:a?mode=never", None);
        check("postgres://127.0.0.1/a", None);
    }
}
