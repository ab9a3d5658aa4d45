//! Opening a history: the first connection, its settings, and tables that are up to date.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{
    AnyConnection, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _,
    SqlSafeStr as _,
};

use super::error::StoreError;
use super::location::{Backend, Location};

/// How long SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a fresh SQLite file is tried while another process sets it up.
const OPEN_ATTEMPTS: u32 = 100;

/// The first connection. Two processes that switch one fresh SQLite file to WAL at the same time
/// can meet "database is locked" at once, whatever the busy timeout.
pub(super) async fn connect(location: &Location) -> Result<AnyConnection, StoreError> {
    let mut attempt = 1;
    loop {
        let opened = async {
            let mut connection = location.options.connect().await?;
            configure(&mut connection, location.backend).await?;
            Ok(connection)
        };
        match opened.await {
            Err(error) if attempt < OPEN_ATTEMPTS && is_busy(&error, location.backend) => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result.map_err(|source| opening(location, source)),
        }
    }
}

fn is_busy(error: &sqlx::Error, backend: Backend) -> bool {
    // SQLITE_BUSY is 5; the extended codes keep it in their lowest byte.
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<u32>().ok());
    backend == Backend::Sqlite && code.is_some_and(|code| code & 0xff == 5)
}

pub(super) async fn configure(
    connection: &mut AnyConnection,
    backend: Backend,
) -> Result<(), sqlx::Error> {
    if backend == Backend::Sqlite {
        let busy_timeout = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
        connection.execute(AssertSqlSafe(busy_timeout)).await?;
        connection.execute("PRAGMA journal_mode = WAL").await?;
        connection.execute("PRAGMA synchronous = NORMAL").await?;
        connection.execute("PRAGMA foreign_keys = ON").await?;
    }
    Ok(())
}

/// Brings the tables up to date. On PostgreSQL sqlx holds an advisory lock meanwhile; on SQLite
/// it holds nothing, so a write transaction around it keeps other processes out.
pub(super) async fn migrate(
    connection: &mut AnyConnection,
    location: &Location,
) -> Result<(), StoreError> {
    let migrator = migrator(location.backend);
    let migrated = match location.backend {
        Backend::Postgres => migrator.run_direct(None, connection, false).await,
        Backend::Sqlite => {
            let transaction = connection.begin_with(begin_statement(location.backend));
            let mut transaction = transaction
                .await
                .map_err(|source| opening(location, source))?;
            match migrator.run_direct(None, &mut *transaction, false).await {
                Ok(()) => transaction.commit().await.map_err(MigrateError::from),
                Err(error) => Err(error),
            }
        }
    };
    migrated.map_err(|source| match source {
        MigrateError::VersionMissing(version) => StoreError::NewerDatabase {
            location: location.to_string(),
            version,
        },
        source => StoreError::Migrate {
            location: location.to_string(),
            source,
        },
    })
}

fn migrator(backend: Backend) -> Migrator {
    let all = match backend {
        Backend::Sqlite => [
            (1, "runs", include_str!("migrations/sqlite/0001_runs.sql")),
            (
                2,
                "lineages",
                include_str!("migrations/sqlite/0002_lineages.sql"),
            ),
        ],
        Backend::Postgres => [
            (1, "runs", include_str!("migrations/postgres/0001_runs.sql")),
            (
                2,
                "lineages",
                include_str!("migrations/postgres/0002_lineages.sql"),
            ),
        ],
    };
    let migrations = all.into_iter().map(|(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

/// On SQLite a transaction that begins by reading can't always wait for a writer later, so every
/// one of ours takes the write lock at once.
pub(super) fn begin_statement(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "BEGIN IMMEDIATE",
        Backend::Postgres => "BEGIN",
    }
}

pub(super) fn opening(location: &Location, source: sqlx::Error) -> StoreError {
    StoreError::Open {
        location: location.to_string(),
        source,
    }
}
