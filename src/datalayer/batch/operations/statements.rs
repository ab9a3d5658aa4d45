//! The SQL of what is done to rows that match, for both databases. Names come from our tables;
//! values are always bound.

use super::super::table::{Column, Table, Value, name_list};
use super::work::{Comparison, Condition, Mapping, Transform};
use crate::datalayer::pool::DatabaseKind;

/// A statement with its values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// The rows of one batch: their ids from the first to the last one, as far as they match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'a> {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) conditions: &'a [Condition],
}

/// The next ids behind `after`, at most `limit`.
pub(super) fn keys(table: &Table, conditions: &[Condition], after: i64, limit: usize) -> Statement {
    let mut statement = Statement::default();
    let after = statement.bind(after.into());
    let matching = statement.conditions(conditions);
    let limit = statement.bind((limit as i64).into());
    statement.sql = format!(
        "SELECT id FROM {} WHERE id > {after}{matching} ORDER BY id LIMIT {limit}",
        table.name
    );
    statement
}

/// How many rows match.
pub(super) fn count(table: &Table, conditions: &[Condition]) -> Statement {
    let mut statement = Statement::default();
    let matching = statement.conditions(conditions);
    statement.sql = format!(
        "SELECT count(*) FROM {} WHERE id IS NOT NULL{matching}",
        table.name
    );
    statement
}

pub(super) fn remove(table: &Table, range: Range<'_>) -> Statement {
    let mut statement = Statement::default();
    let range = statement.range(range);
    statement.sql = format!("DELETE FROM {} WHERE {range}", table.name);
    statement
}

pub(super) fn set(table: &Table, set: &[(Column, Value)], range: Range<'_>) -> Statement {
    let mut statement = Statement::default();
    let set: Vec<String> = set
        .iter()
        .map(|(column, value)| format!("{} = {}", column.name, statement.bind(value.clone())))
        .collect();
    let range = statement.range(range);
    statement.sql = format!("UPDATE {} SET {} WHERE {range}", table.name, set.join(", "));
    statement
}

pub(super) fn copy(table: &Table, into: &Table, mapping: &Mapping, range: Range<'_>) -> Statement {
    let mut statement = Statement::default();
    let (names, values) = statement.mapping(mapping);
    let range = statement.range(range);
    statement.sql = format!(
        "INSERT INTO {} ({names}) SELECT {values} FROM {} WHERE {range}",
        into.name, table.name
    );
    statement
}

/// What moves rows: one statement on PostgreSQL, where a row that came between a copy and a removal
/// would be removed without having been copied; two on SQLite, which lets no other writer in between.
/// The last one says how many rows were moved.
pub(super) fn relocate(
    kind: DatabaseKind,
    table: &Table,
    into: &Table,
    mapping: &Mapping,
    range: Range<'_>,
) -> Vec<Statement> {
    match kind {
        DatabaseKind::Postgres => {
            let mut statement = Statement::default();
            let (names, values) = statement.mapping(mapping);
            let range = statement.range(range);
            statement.sql = format!(
                "WITH moved AS (DELETE FROM {} WHERE {range} RETURNING *) INSERT INTO {} ({names}) \
                 SELECT {values} FROM moved",
                table.name, into.name
            );
            vec![statement]
        }
        DatabaseKind::Sqlite => vec![copy(table, into, mapping, range), remove(table, range)],
    }
}

/// Changes rows by the rows of `batch`, which has the same columns, and gives the ids that were there.
pub(super) fn update_from(table: &Table, columns: &[Column], batch: &str) -> String {
    let set: Vec<String> = columns[1..]
        .iter()
        .map(|column| format!("{0} = {batch}.{0}", column.name))
        .collect();
    format!(
        "UPDATE {0} SET {1} FROM {batch} WHERE {0}.id = {batch}.id RETURNING {0}.id",
        table.name,
        set.join(", ")
    )
}

/// What an upsert does where the id is there already: nothing where the row has another owner. Gives the
/// ids of what it inserted or changed.
pub(super) fn on_conflict(table: &Table, columns: &[Column], owner: Option<Column>) -> String {
    let set: Vec<String> = columns
        .iter()
        .filter(|column| column.name != "id")
        .map(|column| format!("{0} = excluded.{0}", column.name))
        .collect();
    let own =
        owner.map(|Column { name, .. }| format!(" WHERE {}.{name} = excluded.{name}", table.name));
    format!(
        " ON CONFLICT (id) DO UPDATE SET {}{} RETURNING id",
        set.join(", "),
        own.unwrap_or_default()
    )
}

/// Whether an id lies ahead of the sequence of a PostgreSQL table: gives it, or no row. A table without
/// a sequence has none ahead.
pub(super) fn ahead_of_sequence(table: &Table) -> String {
    format!("SELECT CAST($1 AS BIGINT) {}", behind(table))
}

/// Keeps all others from drawing ids, to the end of the transaction: what they drew between a look at the
/// sequence and its setting would be drawn again.
pub(super) fn lock_against_draws(table: &Table) -> String {
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table.name)
}

/// Lets the sequence of a PostgreSQL table go on behind an id that was given and not drawn.
pub(super) fn advance_sequence(table: &Table) -> String {
    format!("SELECT setval(sequence, $1) {}", behind(table))
}

fn behind(table: &Table) -> String {
    format!(
        "FROM (SELECT pg_get_serial_sequence('{}', 'id')::regclass AS sequence) AS owned \
         WHERE sequence IS NOT NULL AND $1 > coalesce(pg_sequence_last_value(sequence), 0)",
        table.name
    )
}

/// The row with an id, whole.
pub(super) fn row(table: &Table, id: i64) -> Statement {
    Statement {
        sql: format!(
            "SELECT {} FROM {} WHERE id = $1",
            name_list(table.columns),
            table.name
        ),
        values: vec![id.into()],
    }
}

impl Statement {
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn conditions(&mut self, conditions: &[Condition]) -> String {
        conditions
            .iter()
            .map(|condition| {
                let sign = match condition.comparison {
                    Comparison::Equal => "=",
                    Comparison::Below => "<",
                    Comparison::AtLeast => ">=",
                };
                let value = self.bind(condition.value.clone());
                format!(" AND {} {sign} {value}", condition.column.name)
            })
            .collect()
    }

    fn range(&mut self, range: Range<'_>) -> String {
        let first = self.bind(range.first.into());
        let last = self.bind(range.last.into());
        let matching = self.conditions(range.conditions);
        format!("id >= {first} AND id <= {last}{matching}")
    }

    fn mapping(&mut self, mapping: &Mapping) -> (String, String) {
        let (names, values): (Vec<&str>, Vec<String>) = mapping
            .iter()
            .map(|(column, transform)| {
                let value = match transform {
                    Transform::Copy(from) => from.name.to_owned(),
                    Transform::Constant(value) => self.bind(value.clone()),
                    Transform::Prefix(from, characters) => {
                        format!("substr({}, 1, {characters})", from.name)
                    }
                    Transform::Divided(from, by) => format!("{} / {by}", from.name),
                };
                (column.name, value)
            })
            .unzip();
        (names.join(", "), values.join(", "))
    }
}
