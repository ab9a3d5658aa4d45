//! What a table looks like to the batch layer: named columns of two kinds, and rows of values.
//!
//! Two kinds are enough for the whole schema: instants and days are ISO 8601 text, which sorts as
//! it reads, and money is whole cents. Every column is `NOT NULL`.

use std::borrow::Cow;

/// A table of the schema; `columns` is in the order of its rows, the key `id` first.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The name in the database.
    pub name: &'static str,
    /// All columns. The first is `id`, the primary key of every table.
    pub columns: &'static [Column],
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name in the database and in every answer.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A 64-bit integer (`BIGINT`, `INTEGER`).
    Integer,
    /// UTF-8 text, ordered by its bytes on both databases.
    Text,
}

/// One value. Text that the generator takes from its word lists is borrowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// See [`Kind::Integer`].
    Integer(i64),
    /// See [`Kind::Text`].
    Text(Cow<'static, str>),
}

/// One row: a value for each of the columns that were asked for, in that order.
pub type Row = Vec<Value>;

impl Column {
    /// An integer column.
    pub const fn integer(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Integer,
        }
    }

    /// A text column.
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Text,
        }
    }
}

impl Table {
    /// The column called `name`, if the table has it.
    pub fn column(&self, name: &str) -> Option<Column> {
        self.columns
            .iter()
            .copied()
            .find(|column| column.name == name)
    }

    /// The columns without the key, for rows whose `id` the database gives.
    pub fn unkeyed(&self) -> &'static [Column] {
        &self.columns[1..]
    }
}

impl Value {
    /// The kind that this value fits.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Integer(number) => (*number).into(),
            Value::Text(text) => text.as_ref().into(),
        }
    }
}

/// The names of `columns`, comma-separated, as a select or insert list.
pub fn name_list(columns: &[Column]) -> String {
    columns
        .iter()
        .map(|column| column.name)
        .collect::<Vec<_>>()
        .join(", ")
}
