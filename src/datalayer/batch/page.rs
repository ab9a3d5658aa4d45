//! Keyset pages (BA7): a list with filter, search, sort and field selection, cut by the key of the
//! last row seen instead of a count of rows to skip. A page costs the same wherever it lies, and
//! rows that come or go between two requests neither repeat nor hide others.
//!
//! `page=N` is there beside the cursor for whoever wants to jump: it skips rows, which costs what
//! reading them costs, so it reaches `batch.page_max_skip_rows` rows far and no further. Every page
//! names the cursor of the next one, however it was reached.
//!
//! Names of columns come from the [`Listing`]'s whitelists and values are always bound, so that
//! nothing a client writes becomes SQL.

use sqlx::AssertSqlSafe;

use super::BatchError;
use super::cursor::Cursor;
use super::rows::fetch_rows;
use super::table::{Column, Kind, Row, Table, Value, name_list};
use crate::datalayer::config::BatchSettings;
use crate::datalayer::pool::Pool;

/// The longest search text, in bytes; longer than any name or address.
const SEARCH_MAX_BYTES: usize = 128;

/// The parameters that every listing knows; all others are columns to filter by.
const COMMON_PARAMETERS: [&str; 6] = ["cursor", "fields", "limit", "page", "q", "sort"];

/// What may be asked of a table.
#[derive(Debug)]
pub struct Listing {
    /// The table.
    pub table: &'static Table,
    /// Columns that can be required to have a value.
    pub filters: &'static [&'static str],
    /// Columns that `q` searches, by prefix and without regard to ASCII case; each needs an index
    /// on `lower(column)`.
    pub search: &'static [&'static str],
    /// Columns to sort by; each needs an index on itself and `id`. The first is the default.
    pub sorts: &'static [&'static str],
}

/// A question that was checked against a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    table: &'static Table,
    fields: Vec<Column>,
    filters: Vec<(Column, Value)>,
    search: Option<(&'static [&'static str], String)>,
    sort: Sort,
    limit: usize,
    skip: usize,
    after: Option<(Value, i64)>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The columns of the rows.
    pub fields: Vec<Column>,
    /// The rows, at most as many as the limit says.
    pub rows: Vec<Row>,
    /// Where the next page starts; none after the last row.
    pub next: Option<String>,
}

/// A question that cannot be answered as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Neither a common parameter nor a filter.
    #[error("unknown parameter `{name}`; known are {known}")]
    UnknownParameter {
        /// What was given.
        name: String,
        /// What there is.
        known: String,
    },
    /// Which of the two would count?
    #[error("parameter `{name}` is given twice")]
    Repeated {
        /// The parameter.
        name: String,
    },
    /// A field to select or to sort by that the list does not offer.
    #[error("unknown field `{name}` in `{parameter}`; known are {known}")]
    UnknownField {
        /// `fields` or `sort`.
        parameter: &'static str,
        /// What was given.
        name: String,
        /// What there is.
        known: String,
    },
    /// A value that the parameter cannot have.
    #[error("`{parameter}` must be {expected}")]
    Value {
        /// The parameter.
        parameter: String,
        /// What it can have.
        expected: String,
    },
    /// Not a cursor of ours, or one of another question.
    #[error("the cursor {reason}; start again without one")]
    Cursor {
        /// What is wrong with it.
        reason: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sort {
    column: Column,
    descending: bool,
}

impl Listing {
    /// Checks the parameters of a request: `fields=a,b`, `sort=a` or `sort=-a`, `limit`, `cursor`
    /// or `page` (from 1), `q`, and `column=value` for the columns to filter by. All are optional.
    ///
    /// # Errors
    /// The first mistake found, in the words of the client.
    pub fn query<N: AsRef<str>, V: AsRef<str>>(
        &self,
        parameters: &[(N, V)],
        settings: &BatchSettings,
    ) -> Result<PageQuery, PageError> {
        let mut query = PageQuery {
            table: self.table,
            fields: self.table.columns.to_vec(),
            filters: Vec::new(),
            search: None,
            sort: self.sort(self.sorts.first().copied().unwrap_or("id"))?,
            limit: settings.page_rows as usize,
            skip: 0,
            after: None,
        };
        let mut cursor = None;
        let mut page = None;
        for (index, (name, value)) in parameters.iter().enumerate() {
            let (name, value) = (name.as_ref(), value.as_ref());
            if parameters[..index]
                .iter()
                .any(|(earlier, _)| earlier.as_ref() == name)
            {
                return Err(PageError::Repeated { name: clip(name) });
            }
            match name {
                "fields" => query.fields = self.fields(value)?,
                "sort" => query.sort = self.sort(value)?,
                "limit" => query.limit = limit(value, settings.page_max_rows as usize)?,
                "cursor" => cursor = Some(value),
                "page" => page = Some(value),
                "q" if !self.search.is_empty() => query.search = self.search_for(value)?,
                _ => query.filters.push(self.filter(name, value)?),
            }
        }
        // One spelling for one question, so that the order of its parameters does not part it from
        // its cursors.
        query.filters.sort_by_key(|(column, _)| column.name);
        if let Some(page) = page {
            if cursor.is_some() {
                return Err(PageError::Value {
                    parameter: "page".to_owned(),
                    expected: "left out where a cursor is given".to_owned(),
                });
            }
            // The limit may stand behind it.
            query.skip = skip(page, query.limit, settings.page_max_skip_rows as usize)?;
        }
        if let Some(cursor) = cursor {
            let cursor = Cursor::decode(cursor, &query.scope(), query.sort.column.kind)?;
            query.after = Some((cursor.key, cursor.id));
        }
        Ok(query)
    }

    fn fields(&self, list: &str) -> Result<Vec<Column>, PageError> {
        let mut fields: Vec<Column> = Vec::new();
        for name in list.split(',') {
            let column = self.table.column(name).ok_or_else(|| {
                let known = name_list(self.table.columns);
                PageError::UnknownField {
                    parameter: "fields",
                    name: clip(name),
                    known,
                }
            })?;
            if fields.contains(&column) {
                return Err(PageError::Repeated { name: clip(name) });
            }
            fields.push(column);
        }
        Ok(fields)
    }

    fn sort(&self, text: &str) -> Result<Sort, PageError> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        self.sorts
            .contains(&name)
            .then(|| self.table.column(name))
            .flatten()
            .map(|column| Sort { column, descending })
            .ok_or_else(|| {
                let known = self.sorts.join(", ");
                PageError::UnknownField {
                    parameter: "sort",
                    name: clip(name),
                    known,
                }
            })
    }

    fn search_for(
        &self,
        text: &str,
    ) -> Result<Option<(&'static [&'static str], String)>, PageError> {
        let text = text.trim();
        if text.is_empty() || text.len() > SEARCH_MAX_BYTES || text.contains('\0') {
            let expected = format!("text of 1 to {SEARCH_MAX_BYTES} bytes");
            return Err(PageError::Value {
                parameter: "q".to_owned(),
                expected,
            });
        }
        Ok(Some((self.search, text.to_ascii_lowercase())))
    }

    fn filter(&self, name: &str, value: &str) -> Result<(Column, Value), PageError> {
        let column = self
            .filters
            .contains(&name)
            .then(|| self.table.column(name))
            .flatten()
            .ok_or_else(|| {
                let common = COMMON_PARAMETERS
                    .into_iter()
                    .filter(|name| *name != "q" || !self.search.is_empty());
                let known: Vec<&str> = common.chain(self.filters.iter().copied()).collect();
                PageError::UnknownParameter {
                    name: clip(name),
                    known: known.join(", "),
                }
            })?;
        let wrong = |expected: &str| PageError::Value {
            parameter: column.name.to_owned(),
            expected: expected.to_owned(),
        };
        let value = match column.kind {
            Kind::Integer => value
                .parse::<i64>()
                .map_err(|_| wrong("a whole number"))?
                .into(),
            // PostgreSQL's text cannot hold a NUL.
            Kind::Text if value.contains('\0') => return Err(wrong("text without NUL")),
            Kind::Text => value.to_owned().into(),
        };
        Ok((column, value))
    }
}

impl PageQuery {
    /// Reads the page.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn fetch(&self, pool: &Pool) -> Result<Page, BatchError> {
        // The key of the last row must be known even when it was not asked for.
        let mut columns = self.fields.clone();
        columns.extend([self.sort.column, Column::integer("id")]);
        let (sql, values) = self.sql(&columns);
        let what = ("list", self.table.name);
        let mut rows = fetch_rows(pool, what, AssertSqlSafe(sql), &values, &columns).await?;
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = match rows.last_mut() {
            Some(row) if more => {
                let id = row.pop();
                let key = row.pop();
                match (key, id) {
                    (Some(key), Some(Value::Integer(id))) => {
                        Some(Cursor { key, id }.encode(&self.scope()))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        for row in &mut rows {
            row.truncate(self.fields.len());
        }
        Ok(Page {
            fields: self.fields.clone(),
            rows,
            next,
        })
    }

    /// The question without its place: a cursor fits only the question that it came from.
    fn scope(&self) -> String {
        format!(
            "{} {:?} {:?} {:?}",
            self.table.name, self.sort, self.filters, self.search
        )
    }

    fn sql(&self, columns: &[Column]) -> (String, Vec<Value>) {
        let mut values: Vec<Value> = Vec::new();
        let mut bind = |value: Value| {
            values.push(value);
            format!("${}", values.len())
        };
        let mut conditions: Vec<String> = Vec::new();
        for (column, value) in &self.filters {
            conditions.push(format!("{} = {}", column.name, bind(value.clone())));
        }
        if let Some((columns, prefix)) = &self.search {
            // A prefix as a range uses an ordinary index on both databases; nothing in UTF-8 sorts
            // after U+10FFFF.
            let low = bind(prefix.clone().into());
            let high = bind(format!("{prefix}\u{10FFFF}").into());
            let ranges: Vec<String> = columns
                .iter()
                .map(|name| format!("(lower({name}) >= {low} AND lower({name}) < {high})"))
                .collect();
            conditions.push(format!("({})", ranges.join(" OR ")));
        }
        let sort = self.sort.column.name;
        let (compare, direction) = if self.sort.descending {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        if let Some((key, id)) = &self.after {
            let (key, id) = (bind(key.clone()), bind((*id).into()));
            conditions.push(format!("({sort}, id) {compare} ({key}, {id})"));
        }
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let skip = match self.skip {
            0 => String::new(),
            rows => format!(" OFFSET {rows}"),
        };
        let sql = format!(
            "SELECT {} FROM {}{filter} ORDER BY {sort} {direction}, id {direction} LIMIT {}{skip}",
            name_list(columns),
            self.table.name,
            self.limit + 1,
        );
        (sql, values)
    }
}

fn limit(text: &str, max: usize) -> Result<usize, PageError> {
    match text.parse() {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(PageError::Value {
            parameter: "limit".to_owned(),
            expected: format!("a number from 1 to {max}"),
        }),
    }
}

/// The rows before a page, of which there may be `max`.
fn skip(text: &str, limit: usize, max: usize) -> Result<usize, PageError> {
    let last = max / limit + 1;
    match text.parse::<usize>() {
        Ok(page) if (1..=last).contains(&page) => Ok((page - 1) * limit),
        _ => Err(PageError::Value {
            parameter: "page".to_owned(),
            expected: format!(
                "a number from 1 to {last} for this limit; beyond, follow the cursor"
            ),
        }),
    }
}

/// What of a client's text is repeated to it.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
