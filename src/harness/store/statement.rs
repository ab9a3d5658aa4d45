//! Statements that are put together from what is asked, for either database.

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::{AnyConnection, AnyPool, Arguments as _, AssertSqlSafe, Encode, Type};

use super::summary::Query;
use crate::harness::model::RunId;

/// A statement whose conditions depend on what is asked. Its text is made of constants; whatever
/// comes from outside is bound.
pub(super) struct Statement {
    sql: String,
    arguments: AnyArguments,
}

impl Statement {
    pub(super) fn new(sql: String) -> Self {
        Self {
            sql,
            arguments: AnyArguments::default(),
        }
    }

    pub(super) fn push(&mut self, sql: &'static str) {
        self.sql.push_str(sql);
    }

    pub(super) fn bind<T>(&mut self, value: T) -> Result<(), sqlx::Error>
    where
        T: Type<Any> + for<'v> Encode<'v, Any>,
    {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        self.sql.push('$');
        self.sql.push_str(&self.arguments.len().to_string());
        Ok(())
    }

    /// The conditions, order and limit of `query` on the table `runs`, newest first.
    pub(super) fn runs_of(&mut self, query: &Query) -> Result<(), sqlx::Error> {
        self.conditions_of(query)?;
        self.push(" ORDER BY started_at_ns DESC, id DESC");
        if let Some(limit) = query.limit {
            self.push(" LIMIT ");
            self.bind(i64::from(limit))?;
        }
        Ok(())
    }

    /// The conditions of `query` on the table `runs`, whatever its limit.
    pub(super) fn conditions_of(&mut self, query: &Query) -> Result<(), sqlx::Error> {
        let texts = [
            (" AND scenario = ", query.scenario.clone()),
            (" AND fingerprint_id = ", query.fingerprint.clone()),
            (" AND session = ", query.session.clone()),
        ];
        let numbers = [
            (" AND valid = ", query.only_valid.then_some(1)),
            (" AND started_at_ns >= ", query.since.map(to_ns)),
        ];
        self.push(" WHERE 1 = 1");
        for (condition, value) in texts {
            if let Some(value) = value {
                self.push(condition);
                self.bind(value)?;
            }
        }
        for (condition, value) in numbers {
            if let Some(value) = value {
                self.push(condition);
                self.bind(value)?;
            }
        }
        if query.without_heads {
            self.push(" AND (arm IS NULL OR arm <> 'head')");
        }
        Ok(())
    }

    /// The list of `ids` in parentheses.
    pub(super) fn bind_ids(&mut self, ids: &[RunId]) -> Result<(), sqlx::Error> {
        for (index, id) in ids.iter().enumerate() {
            self.push(if index == 0 { "(" } else { ", " });
            self.bind(id.to_string())?;
        }
        self.push(")");
        Ok(())
    }

    /// Its rows as they come.
    pub(super) fn fetch(self, pool: &AnyPool) -> BoxStream<'_, Result<AnyRow, sqlx::Error>> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).fetch(pool)
    }

    /// The question how SQLite would answer this one.
    #[cfg(test)]
    pub(super) fn explained(mut self) -> Self {
        self.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    pub(super) async fn fetch_all(self, pool: &AnyPool) -> Result<Vec<AnyRow>, sqlx::Error> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments)
            .fetch_all(pool)
            .await
    }

    /// Executes it and gives the number of rows that it changed.
    pub(super) async fn execute(self, connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
        let done = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments)
            .execute(connection)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Nanoseconds since 1970; a time outside of 1678–2261 is kept as that bound. Only the order of the
/// rows depends on it: the run itself is in the payload.
pub(super) fn to_ns(time: Timestamp) -> i64 {
    let bounds = (i128::from(i64::MIN), i128::from(i64::MAX));
    time.as_nanosecond().clamp(bounds.0, bounds.1) as i64
}
