//! The tables, as SQL for both databases and as the batch layer sees them.
//!
//! `records` has no foreign keys: bulk loads of millions of rows check them once, in the reader
//! that takes the rows in, not once a row in the database.

use crate::datalayer::batch::{Column, Table};

/// The tables and their columns; idempotent.
pub(super) const POSTGRES_TABLES: &str = include_str!("postgres.sql");
/// The same on SQLite.
pub(super) const SQLITE_TABLES: &str = include_str!("sqlite.sql");
/// Tables that only the service writes to, in SQL that both databases read; idempotent. Made whenever a
/// store is opened, so that one of before they were there gets them and keeps its rows.
pub(super) const SERVICE_TABLES_SQL: &str =
    concat!(include_str!("service.sql"), include_str!("jobs.sql"));
/// The names of these tables, children first. They are dropped with the dataset whose rows they speak of.
pub(super) const SERVICE_TABLES: [&str; 3] = ["payment_intents", "job_errors", "jobs"];
/// The tables that batch operations move or copy records into; idempotent.
pub(super) const POSTGRES_TARGETS: &str = include_str!("targets_postgres.sql");
/// The same on SQLite.
pub(super) const SQLITE_TARGETS: &str = include_str!("targets_sqlite.sql");
/// The indexes that the API needs, in SQL that both databases read; idempotent. Made after a load,
/// since an index built at once costs a fraction of one kept up row by row.
pub(super) const INDEXES: &str = include_str!("indexes.sql");

/// Organisations; everything else belongs to one.
pub static TENANTS: Table = Table {
    name: "tenants",
    columns: &[Column::integer("id"), Column::text("name")],
};

/// The people whom a tenant serves.
pub static CLIENTS: Table = Table {
    name: "clients",
    columns: &[
        Column::integer("id"),
        Column::integer("tenant_id"),
        Column::text("given_name"),
        Column::text("family_name"),
        Column::text("email"),
        Column::text("city"),
        Column::text("status"),
        Column::text("birth_date"),
        Column::text("created_at"),
        Column::text("updated_at"),
    ],
};

/// When a client comes, or came.
pub static APPOINTMENTS: Table = Table {
    name: "appointments",
    columns: &[
        Column::integer("id"),
        Column::integer("tenant_id"),
        Column::integer("client_id"),
        Column::text("starts_at"),
        Column::integer("duration_minutes"),
        Column::text("status"),
    ],
};

/// What a client paid, in whole cents.
pub static PAYMENTS: Table = Table {
    name: "payments",
    columns: &[
        Column::integer("id"),
        Column::integer("tenant_id"),
        Column::integer("client_id"),
        Column::text("paid_on"),
        Column::integer("amount_cents"),
        Column::text("method"),
    ],
};

/// Diagnoses: the large table, over which the dashboard aggregates.
pub static RECORDS: Table = Table {
    name: "records",
    columns: &[
        Column::integer("id"),
        Column::integer("tenant_id"),
        Column::integer("client_id"),
        Column::text("diagnosed_on"),
        Column::text("code"),
        Column::text("stage"),
        Column::text("city"),
        Column::integer("cost_cents"),
    ],
};

/// Records that were archived, with the day of that.
pub static RECORDS_ARCHIVE: Table = Table {
    name: "records_archive",
    columns: &[
        Column::integer("id"),
        Column::integer("tenant_id"),
        Column::integer("client_id"),
        Column::text("diagnosed_on"),
        Column::text("code"),
        Column::text("stage"),
        Column::text("city"),
        Column::integer("cost_cents"),
        Column::text("archived_on"),
    ],
};

/// Records in the columns of a reporting system, into which they are migrated.
pub static RECORDS_REPORTED: Table = Table {
    name: "records_reported",
    columns: &[
        Column::integer("id"),
        Column::integer("tenant_id"),
        Column::text("year"),
        Column::text("category"),
        Column::text("stage"),
        Column::integer("cost_units"),
    ],
};

/// The tables that batch operations move or copy records into.
pub(super) static TARGETS: [&Table; 2] = [&RECORDS_ARCHIVE, &RECORDS_REPORTED];

/// All tables that hold generated rows, parents first.
pub static TABLES: [&Table; 5] = [&TENANTS, &CLIENTS, &APPOINTMENTS, &PAYMENTS, &RECORDS];
