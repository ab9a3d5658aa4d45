//! What is to be done: rows that come from a source and go into a table, or rows of a table that
//! match a filter.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::table::{Column, Row, Table, Value};
use super::RunError;

/// The seven operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Rows are inserted.
    Create,
    /// Rows that are there are changed.
    Update,
    /// Rows are removed.
    Delete,
    /// Rows are inserted, or changed where their id is there already.
    Upsert,
    /// Rows are copied into another table, with other columns.
    Migrate,
    /// Rows are moved into the archive.
    Archive,
    /// Rows are removed from the archive for good.
    Purge,
}

/// The greatest id that a row may bring along. Whole numbers up to here are exact in JSON, and the ids
/// that the database draws behind it do not run out.
pub const KEY_MAX: i64 = 1 << 53;

/// Why a source gave no rows.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Where rows come from. A run that is resumed asks again from a later place, so a source must give
/// the same rows for the same place each time.
#[async_trait]
pub trait RowSource: Send {
    /// At most `limit` rows, beginning `from` rows behind the first one; none at the end.
    ///
    /// # Errors
    /// Whatever keeps the source from giving rows; the run fails and can be resumed.
    async fn rows(&mut self, from: u64, limit: usize) -> Result<Vec<Row>, SourceError>;
}

#[async_trait]
impl<F: FnMut(u64, usize) -> Vec<Row> + Send> RowSource for F {
    async fn rows(&mut self, from: u64, limit: usize) -> Result<Vec<Row>, SourceError> {
        Ok(self(from, limit))
    }
}

/// How the value of a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<`; of days as text, before.
    Below,
    /// `>=`
    AtLeast,
}

/// One condition on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The column.
    pub column: Column,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: Value,
}

/// Rows of a table that meet all conditions; all rows where there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The table.
    pub table: &'static Table,
    /// What holds of the rows.
    pub conditions: Vec<Condition>,
}

/// What becomes of a row's columns in the column of another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transform {
    /// The value of a column as it is.
    Copy(Column),
    /// The same value for every row.
    Constant(Value),
    /// The first characters of a text.
    Prefix(Column, u32),
    /// A whole number divided by another one, its fraction cut off.
    Divided(Column, i64),
}

/// The columns of the table that rows go into, and where their values come from.
pub type Mapping = Vec<(Column, Transform)>;

/// One operation on one table.
pub struct Work {
    pub(super) plan: Plan,
    /// There where rows are written.
    pub(super) source: Option<Box<dyn RowSource>>,
    /// Rows of the source, where it knows.
    pub(super) total: Option<u64>,
}

/// What is done to which table.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) operation: Operation,
    pub(super) table: &'static Table,
    pub(super) task: Task,
    /// A row that is there is changed only where it has the same value in this column.
    pub(super) owner: Option<Column>,
}

#[derive(Debug)]
pub(super) enum Task {
    /// Rows with these columns are written.
    Write(Vec<Column>),
    /// Rows that match are changed.
    Change(Vec<Condition>, Change),
}

/// What happens to rows that match.
#[derive(Debug)]
pub(super) enum Change {
    Set(Vec<(Column, Value)>),
    Remove,
    Copy(&'static Table, Mapping),
    Move(&'static Table, Mapping),
}

impl Work {
    /// CREATE: inserts the rows of `source`, which have `columns`. `total` is how many there are, for
    /// the progress.
    pub fn create(
        table: &'static Table,
        columns: &[Column],
        source: impl RowSource + 'static,
        total: Option<u64>,
    ) -> Self {
        Self::write(Operation::Create, table, columns, source, total)
    }

    /// UPDATE: changes the rows that have the ids of the source's rows; `columns` begins with `id`.
    /// A row whose id is not there becomes a dead letter. Of rows of one batch with one id the last
    /// one counts.
    pub fn update(
        table: &'static Table,
        columns: &[Column],
        source: impl RowSource + 'static,
        total: Option<u64>,
    ) -> Self {
        Self::write(Operation::Update, table, columns, source, total)
    }

    /// UPSERT: inserts whole rows, or changes those whose id is there already. Of rows of one batch
    /// with one id the last one counts.
    pub fn upsert(
        table: &'static Table,
        source: impl RowSource + 'static,
        total: Option<u64>,
    ) -> Self {
        Self::write(Operation::Upsert, table, table.columns, source, total)
    }

    /// UPSERT among rows that have owners: as [`Work::upsert`], but a row that is there and has another
    /// value in the column `owner` stays as it is, and what was to replace it becomes a dead letter.
    pub fn upsert_own(
        table: &'static Table,
        owner: Column,
        source: impl RowSource + 'static,
        total: Option<u64>,
    ) -> Self {
        let mut work = Self::upsert(table, source, total);
        work.plan.owner = Some(owner);
        work
    }

    /// UPDATE by filter: gives `set` to the rows that match.
    pub fn set(filter: Filter, set: Vec<(Column, Value)>) -> Self {
        Self::change(Operation::Update, filter, Change::Set(set))
    }

    /// DELETE: removes the rows that match.
    pub fn delete(filter: Filter) -> Self {
        Self::change(Operation::Delete, filter, Change::Remove)
    }

    /// MIGRATE: copies the rows that match into another table.
    pub fn migrate(filter: Filter, into: &'static Table, mapping: Mapping) -> Self {
        Self::change(Operation::Migrate, filter, Change::Copy(into, mapping))
    }

    /// ARCHIVE: moves the rows that match into another table.
    pub fn archive(filter: Filter, into: &'static Table, mapping: Mapping) -> Self {
        Self::change(Operation::Archive, filter, Change::Move(into, mapping))
    }

    /// PURGE: removes the rows that match for good.
    pub fn purge(filter: Filter) -> Self {
        Self::change(Operation::Purge, filter, Change::Remove)
    }

    /// Which operation this is.
    pub fn operation(&self) -> Operation {
        self.plan.operation
    }

    fn write(
        operation: Operation,
        table: &'static Table,
        columns: &[Column],
        source: impl RowSource + 'static,
        total: Option<u64>,
    ) -> Self {
        let plan = Plan {
            operation,
            table,
            task: Task::Write(columns.to_vec()),
            owner: None,
        };
        Self {
            plan,
            source: Some(Box::new(source)),
            total,
        }
    }

    fn change(operation: Operation, filter: Filter, change: Change) -> Self {
        let plan = Plan {
            operation,
            table: filter.table,
            task: Task::Change(filter.conditions, change),
            owner: None,
        };
        Self {
            plan,
            source: None,
            total: None,
        }
    }
}

impl Plan {
    /// Whether the statements that this leads to make sense.
    pub(super) fn check(&self) -> Result<(), RunError> {
        let key = self.table.columns[0];
        let reason = match &self.task {
            Task::Write(columns) if columns.is_empty() => "it has no columns",
            Task::Write(columns)
                if self.operation == Operation::Update
                    && (columns.len() < 2 || columns[0] != key) =>
            {
                "an update needs the id first and a column to change"
            }
            Task::Change(_, Change::Set(set))
                if set.is_empty() || set.iter().any(|(column, _)| *column == key) =>
            {
                "an update needs a column to change, and the id is none"
            }
            Task::Change(_, Change::Copy(_, mapping) | Change::Move(_, mapping))
                if mapping.is_empty() =>
            {
                "the table that rows go into gets no columns"
            }
            _ => return Ok(()),
        };
        Err(RunError::Work { reason })
    }
}

impl Operation {
    /// As it stands in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Upsert => "upsert",
            Self::Migrate => "migrate",
            Self::Archive => "archive",
            Self::Purge => "purge",
        }
    }
}
