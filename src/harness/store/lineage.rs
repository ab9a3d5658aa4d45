//! Runs that may be compared with each other over time, and their values, without their payloads.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::error::StoreError;
use super::history::History;
use super::statement::Statement;
use super::summary::Query;
use crate::harness::model::{Direction, RunId, Unit, median};

/// The runs of one scenario under one fingerprint, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageSummary {
    /// The scenario's id.
    pub scenario: String,
    /// The machine part of the fingerprint.
    pub machine_id: String,
    /// The fingerprint's id.
    pub fingerprint_id: String,
    /// How many runs it has.
    pub runs: u64,
    /// How many of them may be judged.
    pub valid_runs: u64,
    /// When its first run started.
    pub first_started_at: Timestamp,
    /// When its last run started.
    pub last_started_at: Timestamp,
    /// What its last run measured.
    pub revision: Option<String>,
}

/// One metric over runs.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSeries {
    /// The metric's path.
    pub name: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Direction,
    /// Oldest first, at least one. Runs in which the metric was not measurable are left out.
    pub points: Vec<SeriesPoint>,
}

/// One metric of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesPoint {
    /// The run.
    pub run: RunId,
    /// The value that stands for the run: the median of its replicates.
    pub value: f64,
}

impl History {
    /// Every lineage with a run that `query` asks for, newest first, and how many of these runs it has.
    /// The limit of the query plays no part.
    pub async fn lineages(&self, query: &Query) -> Result<Vec<LineageSummary>, StoreError> {
        let failed = |source| self.failed("listing scenarios", source);
        let statement = lineages(query).map_err(failed)?;
        let rows = statement.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter()
            .map(|row| {
                let id = self.run_id(row)?;
                Ok(LineageSummary {
                    scenario: row.try_get("scenario").map_err(failed)?,
                    machine_id: row.try_get("machine_id").map_err(failed)?,
                    fingerprint_id: row.try_get("fingerprint_id").map_err(failed)?,
                    runs: self.count(row, id, "runs")?,
                    valid_runs: self.count(row, id, "valid_runs")?,
                    first_started_at: self.time(row, id, "first_ns")?,
                    last_started_at: self.time(row, id, "last_ns")?,
                    revision: row.try_get("revision").map_err(failed)?,
                })
            })
            .collect()
    }

    /// The metrics whose path is `wanted` over the runs that `query` asks for, sorted by path. A metric
    /// that changed its unit or direction is there once for each.
    pub async fn series(
        &self,
        query: &Query,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<MetricSeries>, StoreError> {
        let failed = |source| self.failed("reading metrics", source);
        let mut rows = series(query).map_err(failed)?.fetch(&self.pool);
        let mut found: BTreeMap<(String, String, String), Vec<Replicate>> = BTreeMap::new();
        // Rows are looked at as they come: there are as many as runs times metrics.
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let name: String = row.try_get("name").map_err(failed)?;
            if wanted(&name) {
                let unit = row.try_get("unit").map_err(failed)?;
                let better = row.try_get("better").map_err(failed)?;
                let replicates = found.entry((name, unit, better)).or_default();
                replicates.push(self.replicate(&row)?);
            }
        }
        found
            .into_iter()
            .map(|((name, unit, better), replicates)| {
                let first = replicates.first().map(|replicate| replicate.run);
                Ok(MetricSeries {
                    name,
                    unit: self.json(first, "unit", &unit)?,
                    better: self.json(first, "better", &better)?,
                    points: points(replicates),
                })
            })
            .collect()
    }

    fn replicate(&self, row: &AnyRow) -> Result<Replicate, StoreError> {
        let failed = |source| self.failed("reading metrics", source);
        let run = self.run_id(row)?;
        let value: f64 = row.try_get("value").map_err(failed)?;
        if !value.is_finite() {
            return Err(self.damaged(&run.to_string(), "value", &value.to_string()));
        }
        Ok(Replicate {
            started_at_ns: row.try_get("started_at_ns").map_err(failed)?,
            run,
            value,
        })
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        run: Option<RunId>,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        let id = || run.map(|run| run.to_string()).unwrap_or_default();
        serde_json::from_str(text).map_err(|_| self.damaged(&id(), column, text))
    }
}

fn lineages(query: &Query) -> Result<Statement, sqlx::Error> {
    let mut statement = Statement::new(
        "SELECT MIN(id) AS id, scenario, fingerprint_id, MIN(machine_id) AS machine_id, \
         COUNT(*) AS runs, CAST(SUM(valid) AS BIGINT) AS valid_runs, \
         MIN(started_at_ns) AS first_ns, MAX(started_at_ns) AS last_ns, \
         (SELECT revision FROM runs AS newest WHERE newest.scenario = runs.scenario \
         AND newest.fingerprint_id = runs.fingerprint_id"
            .to_owned(),
    );
    if query.without_heads {
        statement.push(" AND (newest.arm IS NULL OR newest.arm <> 'head')");
    }
    statement
        .push(" ORDER BY newest.started_at_ns DESC, newest.id DESC LIMIT 1) AS revision FROM runs");
    statement.conditions_of(query)?;
    statement
        .push(" GROUP BY scenario, fingerprint_id ORDER BY last_ns DESC, scenario, fingerprint_id");
    Ok(statement)
}

/// The runs first and then their values: SQLite takes the order of a CROSS JOIN as it stands.
fn series(query: &Query) -> Result<Statement, sqlx::Error> {
    let mut statement = Statement::new(
        "SELECT chosen.id AS id, chosen.started_at_ns AS started_at_ns, name, unit, better, value \
         FROM (SELECT id, started_at_ns FROM runs"
            .to_owned(),
    );
    statement.runs_of(query)?;
    statement.push(") AS chosen CROSS JOIN metrics WHERE metrics.run_id = chosen.id");
    Ok(statement)
}

struct Replicate {
    started_at_ns: i64,
    run: RunId,
    value: f64,
}

/// One point a run, oldest first.
fn points(mut replicates: Vec<Replicate>) -> Vec<SeriesPoint> {
    replicates.sort_by_key(|replicate| (replicate.started_at_ns, replicate.run));
    replicates
        .chunk_by(|a, b| a.run == b.run)
        .filter_map(|of_run| {
            let values: Vec<f64> = of_run.iter().map(|replicate| replicate.value).collect();
            Some(SeriesPoint {
                run: of_run.first()?.run,
                value: median(&values)?,
            })
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// What SQLite plans: every step of it, one a line.
    async fn plan(history: &History, statement: Statement) -> String {
        let rows = statement
            .explained()
            .fetch_all(&history.pool)
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.get::<String, _>("detail") + "\n")
            .collect()
    }

    /// A plan that reads whole tables would be as slow as the history is long.
    #[tokio::test]
    async fn indexes_answer_what_is_asked_over_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("history.db");
        let history = History::open(place.to_str().unwrap()).await.unwrap();
        let of_one = Query {
            scenario: Some("mixed".to_owned()),
            fingerprint: Some("aa".to_owned()),
            since: Some(Timestamp::UNIX_EPOCH),
            without_heads: true,
            limit: Some(200),
            ..Query::default()
        };

        let counted = plan(&history, lineages(&Query::default()).unwrap()).await;
        assert!(
            counted.contains("SCAN runs USING COVERING INDEX runs_by_lineage"),
            "{counted}"
        );
        assert!(!counted.contains("FOR GROUP BY"), "{counted}");

        let mut find = Statement::new("SELECT id, revision FROM runs".to_owned());
        find.runs_of(&of_one).unwrap();
        let found = plan(&history, find).await;
        assert!(
            found.contains(
                "SEARCH runs USING INDEX runs_by_lineage \
                 (scenario=? AND fingerprint_id=? AND started_at_ns>?)"
            ),
            "{found}"
        );
        assert!(!found.contains("TEMP B-TREE"), "{found}");

        let values = plan(&history, series(&of_one).unwrap()).await;
        assert!(
            values.contains("SEARCH runs USING COVERING INDEX runs_by_lineage"),
            "{values}"
        );
        assert!(
            values.contains("SEARCH metrics USING PRIMARY KEY (run_id=?)"),
            "{values}"
        );
        assert!(!values.contains("TEMP B-TREE"), "{values}");

        // The newest run of all, which `latest` means.
        let mut latest = Statement::new("SELECT id, session FROM runs".to_owned());
        let newest = Query {
            limit: Some(1),
            ..Query::default()
        };
        latest.runs_of(&newest).unwrap();
        let latest = plan(&history, latest).await;
        assert!(
            latest.contains("SCAN runs USING INDEX runs_by_time"),
            "{latest}"
        );
        assert!(!latest.contains("TEMP B-TREE"), "{latest}");
    }
}
