//! A store brought to hold one dataset: schema, rows, indexes, and last a row that says so.

use std::sync::Arc;
use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr};
use uuid::Uuid;

use super::generator::Generator;
use super::schema::{
    INDEXES, POSTGRES_TABLES, POSTGRES_TARGETS, SERVICE_TABLES, SERVICE_TABLES_SQL, SQLITE_TABLES,
    SQLITE_TARGETS, TABLES, TARGETS,
};
use crate::datalayer::batch::operations::{LEDGER_TABLES, ledger_schema};
use crate::datalayer::batch::{BatchError, Column, Loader, MemorySource, Row, Value, fetch_rows};
use crate::datalayer::config::BatchSettings;
use crate::datalayer::pool::{Connection, DatabaseKind, Pool, PoolError};

/// Raised with every change of the schema or of what the generator makes of a seed.
const VERSION: i64 = 3;

/// The table whose one row names the dataset that the store holds. Where it is, the other tables
/// are ours to replace.
const MARKER: &str = "refservice_dataset";

/// A number of our own for PostgreSQL's advisory locks ("plim" in ASCII).
const LOCK: i64 = 0x706c_696d;

/// For statements that may take longer than the pool allows, to the end of their transaction.
const NO_LIMIT: &str =
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// The name of a dataset: the same name is the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetId {
    /// Where the generator starts.
    pub seed: u64,
    /// How many records; the other tables follow from it.
    pub records: u64,
}

/// A store that holds its dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ensured {
    /// Drawn at random when the rows were made. Two stores of one dataset differ in it, since each
    /// is written to: what is cached of one is no answer for the other.
    pub store: Uuid,
    /// What was made; nothing where the store held the dataset already.
    pub generated: Option<Generated>,
}

/// A dataset that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generated {
    /// Rows in all tables.
    pub rows: u64,
    /// From the empty store to the last index.
    pub elapsed_ns: u64,
}

/// Why a store could not be brought to hold a dataset.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No connection could be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Rows could not be written.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A table of ours was not made by us.
    #[error(
        "the database has a table {table} that is not the reference service's; nothing was changed: \
         give the service a database of its own"
    )]
    Foreign {
        /// The table.
        table: &'static str,
    },
    /// The schema could not be made.
    #[error("could not {action}")]
    Schema {
        /// What was being done.
        action: &'static str,
        /// What the driver says.
        source: sqlx::Error,
    },
}

/// Makes the store behind `pool` hold the dataset `id`, and nothing else in its tables. What the
/// service has written since into a store of this dataset stays. On PostgreSQL this needs two
/// connections of the pool.
///
/// Of several processes on one PostgreSQL database, one generates and the others wait for it.
///
/// # Errors
/// [`DatasetError::Foreign`] before anything is changed; after any other error the store holds no
/// dataset, and the next call begins again.
pub async fn ensure(
    pool: &Pool,
    id: DatasetId,
    settings: &BatchSettings,
    memory: Arc<dyn MemorySource>,
) -> Result<Ensured, DatasetError> {
    let mut checkout = pool.acquire().await?;
    let activity = checkout.activity();
    let _held = activity.run(("hold the lock of", MARKER));
    let Connection::Postgres(connection) = checkout.connection() else {
        drop(checkout);
        return ensure_alone(pool, id, settings, memory).await;
    };
    // A lock of the transaction goes with it, however this ends.
    let begun = activity.begin(connection.begin()).await;
    let mut lock = begun.map_err(schema("begin the generation"))?;
    // To generate millions of rows takes longer than any other statement may, and meanwhile the lock rests.
    sqlx::raw_sql(NO_LIMIT)
        .execute(&mut *lock)
        .await
        .map_err(schema("begin the generation"))?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *lock)
        .await
        .map_err(schema("wait for another process that generates"))?;
    let ensured = ensure_alone(pool, id, settings, memory).await;
    let ended = lock.rollback().await.map_err(schema("end the generation"));
    ensured.and_then(|ensured| ended.map(|()| ensured))
}

/// Removes the indexes that the API's queries need from a store that holds its dataset, to see what they
/// are good for. The next [`ensure`] makes them again.
///
/// # Errors
/// What the pool or the database says.
pub async fn drop_indexes(pool: &Pool) -> Result<(), DatasetError> {
    let drops: String = index_names()
        .map(|name| format!("DROP INDEX IF EXISTS {name};"))
        .collect();
    run(pool, "drop the indexes", AssertSqlSafe(drops)).await
}

fn index_names() -> impl Iterator<Item = &'static str> {
    let made = INDEXES.split("CREATE INDEX IF NOT EXISTS ").skip(1);
    made.filter_map(|index| index.split_whitespace().next())
}

/// Claims `rows` further records of the generator for a caller that inserts them, and gives the
/// index of the first. The store itself counts them: nobody gets them again, neither another process
/// on the same database nor this one after a restart. What is claimed and not inserted is skipped.
///
/// # Errors
/// What the pool or the database says; [`sqlx::Error::RowNotFound`] where the database has come to
/// hold another store than `store`.
pub async fn claim_records(pool: &Pool, store: Uuid, rows: u64) -> Result<u64, BatchError> {
    let next = [Column::integer("next_record")];
    let sql = AssertSqlSafe(format!(
        "UPDATE {MARKER} SET next_record = next_record + $1 WHERE store = $2 RETURNING next_record"
    ));
    let values: Row = vec![(rows as i64).into(), store.to_string().into()];
    let claimed = fetch_rows(pool, ("claim records in", MARKER), sql, &values, &next).await?;
    match claimed.first().and_then(|row| row.first()) {
        Some(Value::Integer(end)) => Ok(*end as u64 - rows),
        _ => Err(BatchError::Database {
            action: "claim records in",
            table: MARKER,
            source: sqlx::Error::RowNotFound,
        }),
    }
}

async fn ensure_alone(
    pool: &Pool,
    id: DatasetId,
    settings: &BatchSettings,
    memory: Arc<dyn MemorySource>,
) -> Result<Ensured, DatasetError> {
    let tables = table_names(pool).await?;
    if tables.iter().any(|name| name == MARKER) {
        if let Some(store) = held(pool, id).await? {
            // An older store lacks them. They begin empty, so that nothing of it has to go.
            grow(pool).await?;
            // Whoever used the store last may have done without.
            run(pool, "make the indexes", INDEXES).await?;
            return Ok(Ensured {
                store,
                generated: None,
            });
        }
    } else if let Some(table) = our_names().find(|name| tables.iter().any(|t| t == name)) {
        return Err(DatasetError::Foreign { table });
    }

    let begun = Instant::now();
    // The marker's table comes before all others and its row after them: a generation that is cut
    // off leaves tables that are known to be ours, and known to be incomplete.
    // An older version's has other columns, so it is made anew, in one step.
    let replace = format!(
        "BEGIN; DROP TABLE IF EXISTS {MARKER}; CREATE TABLE {MARKER} (version BIGINT NOT NULL, \
         seed TEXT NOT NULL, records BIGINT NOT NULL, store TEXT NOT NULL, \
         next_record BIGINT NOT NULL); COMMIT;"
    );
    run(pool, "mark the database", AssertSqlSafe(replace)).await?;
    // What was done to another dataset's rows, and the runs that could go on with it, go with them.
    for name in our_names() {
        let drop = AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"));
        run(pool, "drop the tables of another dataset", drop).await?;
    }
    let postgres = pool.kind() == DatabaseKind::Postgres;
    let tables = if postgres {
        POSTGRES_TABLES
    } else {
        SQLITE_TABLES
    };
    run(pool, "make the tables", tables).await?;
    grow(pool).await?;

    let generator = Generator::new(id.seed, id.records);
    let mut rows = 0;
    for table in TABLES {
        let mut loader = Loader::new(
            pool.clone(),
            table,
            table.columns,
            settings,
            Arc::clone(&memory),
        );
        for row in generator.rows(table) {
            loader.push(row).await?;
        }
        rows += loader.finish().await?.rows;
        if postgres {
            // The ids were given; the sequences have to be told.
            let name = table.name;
            let restart = AssertSqlSafe(format!(
                "SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"
            ));
            run(pool, "set the sequences", restart).await?;
        }
    }
    run(pool, "make the indexes", INDEXES).await?;
    run(pool, "analyse the tables", "ANALYZE").await?;
    let store = Uuid::new_v4();
    let values: Row = vec![
        VERSION.into(),
        id.seed.to_string().into(),
        (id.records as i64).into(),
        store.to_string().into(),
        (id.records as i64).into(),
    ];
    let insert = AssertSqlSafe(format!("INSERT INTO {MARKER} VALUES ($1, $2, $3, $4, $5)"));
    fetch_rows(pool, ("write", MARKER), insert, &values, &[]).await?;
    let elapsed_ns = begun.elapsed().as_nanos() as u64;
    Ok(Ensured {
        store,
        generated: Some(Generated { rows, elapsed_ns }),
    })
}

/// Makes the tables that hold nothing at first: those that the service and batch operations write to.
async fn grow(pool: &Pool) -> Result<(), DatasetError> {
    run(pool, "make the service's tables", SERVICE_TABLES_SQL).await?;
    let kind = pool.kind();
    let targets = match kind {
        DatabaseKind::Postgres => POSTGRES_TARGETS,
        DatabaseKind::Sqlite => SQLITE_TARGETS,
    };
    run(pool, "make the tables of batch operations", targets).await?;
    run(
        pool,
        "make the ledger of batch operations",
        ledger_schema(kind),
    )
    .await
}

/// Every table of ours but the marker, children first.
fn our_names() -> impl Iterator<Item = &'static str> {
    let generated = TABLES.iter().rev().chain(&TARGETS).map(|table| table.name);
    SERVICE_TABLES
        .into_iter()
        .chain(generated)
        .chain(LEDGER_TABLES)
}

async fn table_names(pool: &Pool) -> Result<Vec<String>, BatchError> {
    let (sql, catalogue) = match pool.kind() {
        DatabaseKind::Postgres => (
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
            "pg_tables",
        ),
        DatabaseKind::Sqlite => (
            "SELECT name FROM sqlite_schema WHERE type = 'table'",
            "sqlite_schema",
        ),
    };
    let rows = fetch_rows(pool, ("read", catalogue), sql, &[], &[Column::text("name")]).await?;
    Ok(rows
        .into_iter()
        .flatten()
        .filter_map(|value| match value {
            Value::Text(name) => Some(name.into_owned()),
            Value::Integer(_) => None,
        })
        .collect())
}

/// The store's own id, if it holds this dataset as this version makes it.
async fn held(pool: &Pool, id: DatasetId) -> Result<Option<Uuid>, BatchError> {
    let version = [Column::integer("version")];
    let sql = AssertSqlSafe(format!("SELECT version FROM {MARKER}"));
    let rows = fetch_rows(pool, ("read", MARKER), sql, &[], &version).await?;
    if rows != [vec![VERSION.into()]] {
        return Ok(None);
    }
    let store = [Column::text("store")];
    let sql = AssertSqlSafe(format!(
        "SELECT store FROM {MARKER} WHERE seed = $1 AND records = $2"
    ));
    let name: Row = vec![id.seed.to_string().into(), (id.records as i64).into()];
    let rows = fetch_rows(pool, ("read", MARKER), sql, &name, &store).await?;
    Ok(match rows.first().and_then(|row| row.first()) {
        Some(Value::Text(store)) => store.parse().ok(),
        _ => None,
    })
}

/// Runs statements without parameters.
async fn run(pool: &Pool, action: &'static str, sql: impl SqlSafeStr) -> Result<(), DatasetError> {
    let sql = sql.into_sql_str();
    let mut checkout = pool.acquire().await?;
    let activity = checkout.activity();
    let _running = activity.run((action, "the schema"));
    match checkout.connection() {
        Connection::Postgres(connection) => {
            // An index of millions of rows takes longer than any other statement may.
            let sql = AssertSqlSafe(format!("{NO_LIMIT}; {}", sql.as_str()));
            sqlx::raw_sql(sql).execute(connection).await.map(drop)
        }
        Connection::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
    }
    .map_err(schema(action))
}

fn schema(action: &'static str) -> impl Fn(sqlx::Error) -> DatasetError {
    move |source| DatasetError::Schema { action, source }
}
