//! `plimsoll.runs/1`: JSON Lines, one run a line.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{InterchangeError, Place, Wrong, quoted};
use super::file;
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::{Said, metric};
use super::read::Options;
use crate::harness::model::{Arm, Direction, Fingerprint, path};

/// The format of interchange.
pub(super) const RUNS_FORMAT: &str = "plimsoll.runs/1";
/// Keys that begin so are whoever's wrote them.
const OWN_KEYS: &str = "x-";
const SEE: &str = "write it as docs/INTERCHANGE.md shows; keys of your own begin with `x-`";

/// One run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arm: Option<Arm>,
    pub(super) run: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pair: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
    pub(super) metrics: Vec<LineMetric>,
    /// The conditions of the run: only runs with equal ones are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<Fingerprint>,
}

/// One metric of a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineMetric {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<f64>,
    /// Instead of `value`, for benchmarks alone: one value a process invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) better: Option<Direction>,
    /// How many requests or samples the value rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) observations: Option<u64>,
}

/// The runs of a file, a line at a time. Empty lines are passed over.
pub(super) fn read(path: &Path, options: &Options) -> Result<Imported, InterchangeError> {
    let mut imported = Imported::new(Format::Runs, path.to_owned());
    for line in file::lines(path)? {
        let (number, text) = line?;
        if text.trim().is_empty() {
            continue;
        }
        let place = Place::line(path, number);
        let run = parse(&text)
            .and_then(|line| run(line, &place, options))
            .map_err(|wrong| wrong.at(&place))?;
        imported.runs.push(run);
    }
    Ok(imported)
}

fn parse(text: &str) -> Result<Line, Wrong> {
    let parsed: Result<Line, _> = serde_json::from_str(text);
    // Keys of one's own are rare, and serde can't tell them from misspelt ones.
    let is_own = |error: &serde_json::Error| {
        let unknown = format!("unknown field `{OWN_KEYS}");
        error.to_string().starts_with(&unknown)
    };
    let parsed = match parsed {
        Err(error) if is_own(&error) => without_own_keys(text),
        parsed => parsed,
    };
    let line = parsed.map_err(|error| {
        // A newer version may have another shape, so that comes first.
        version(text).err().unwrap_or_else(|| {
            // What serde says of its place is of the line alone.
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            Wrong::new(said, SEE)
        })
    })?;
    version_of(&line.schema)?;
    Ok(line)
}

fn without_own_keys(text: &str) -> Result<Line, serde_json::Error> {
    let is_known = |key: &String, _: &mut Value| !key.starts_with(OWN_KEYS);
    let mut run: Map<String, Value> = serde_json::from_str(text)?;
    run.retain(is_known);
    let metrics = run.get_mut("metrics").and_then(Value::as_array_mut);
    for metric in metrics.into_iter().flatten() {
        if let Some(metric) = metric.as_object_mut() {
            metric.retain(is_known);
        }
    }
    serde_json::from_value(Value::Object(run))
}

fn version(text: &str) -> Result<(), Wrong> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    match serde_json::from_str::<Head>(text) {
        Ok(head) => version_of(&head.schema),
        Err(_) => Ok(()),
    }
}

fn version_of(schema: &str) -> Result<(), Wrong> {
    if schema == RUNS_FORMAT {
        return Ok(());
    }
    Err(Wrong::new(
        format!(
            "its schema is {}, this Plimsoll knows {RUNS_FORMAT:?}",
            quoted(schema)
        ),
        "write that schema, or use the Plimsoll that knows this one",
    ))
}

fn run(line: Line, place: &Place, options: &Options) -> Result<ImportedRun, Wrong> {
    let mut run = ImportedRun {
        arm: line.arm,
        pair: line.pair,
        session: line.session,
        fingerprint: line.fingerprint,
        ..ImportedRun::new(place.clone(), line.run)
    };
    if run.name.is_empty() {
        return Err(Wrong::new("its `run` is empty", "give every run a name"));
    }
    if line.metrics.is_empty() {
        return Err(Wrong::new(
            format!("run {} has no metrics", quoted(&run.name)),
            SEE,
        ));
    }
    for said in line.metrics {
        let values = match (said.value, said.values) {
            (Some(value), None) => vec![value],
            (None, Some(values)) if path::is_bench(&said.name) => values,
            (None, Some(_)) => {
                return Err(Wrong::new(
                    format!("metric {} has several values", quoted(&said.name)),
                    "write each as a run of its own; only the invocations of a benchmark (`bench.…`) stand in one run",
                ));
            }
            _ => {
                return Err(Wrong::new(
                    format!(
                        "metric {} needs one of `value` and `values`",
                        quoted(&said.name)
                    ),
                    SEE,
                ));
            }
        };
        run.add(metric(
            &said.name,
            &values,
            Said {
                unit: said.unit.as_deref(),
                better: said.better.or(options.better),
            },
            said.observations.unwrap_or(values.len() as u64),
        )?)?;
    }
    Ok(run)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const RUN: &str = r#"{"schema":"plimsoll.runs/1","arm":"base","run":"b1","pair":1,"session":"s1","metrics":[{"name":"request.p95","value":31.28,"unit":"ms","better":"lower"}]}"#;

    fn read_text(text: &str) -> Result<Imported, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path, &Options::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_run_of_the_documentation_is_read() {
        let imported = read_text(&format!("{RUN}\n\n")).unwrap();
        let [run] = &imported.runs[..] else {
            panic!("{imported:?}");
        };
        assert_eq!(
            (run.arm, run.name.as_str(), run.pair, run.session.as_deref()),
            (Some(Arm::Base), "b1", Some(1), Some("s1"))
        );
        let metric = &run.metrics["request.p95"];
        assert_eq!(metric.value(), Some(31.28e6));
        assert_eq!(metric.better, Direction::Lower);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let check = |from: &str, to: &str, expected: &str| {
            let text = format!("{RUN}\n{}\n", RUN.replace("b1", "b2").replace(from, to));
            assert_ne!(text, format!("{RUN}\n{}\n", RUN.replace("b1", "b2")));
            let error = read_text(&text).unwrap_err();
            assert!(
                error.contains("line 2: ") && error.contains(expected) && error.contains("; "),
                "{to}: {error}"
            );
        };
        check(
            "\"metrics\"",
            "\"metric\"",
            "unknown field `metric`, expected one of",
        );
        check("\"better\"", "\"beter\"", "unknown field `beter`");
        check("runs/1", "runs/2", "its schema is \"plimsoll.runs/2\"");
        check("\"metrics\":[", "\"new\":[", "unknown field `new`");
        check(
            "\"base\"",
            "\"bas\"",
            "unknown variant `bas`, expected `base` or `head`",
        );
        check("\"run\":\"b2\",", "", "missing field `run`");
        check("\"run\":\"b2\"", "\"run\":\"\"", "its `run` is empty");
        check("31.28", "\"31.28\"", "invalid type: string \"31.28\"");
        check("31.28", "NaN", "expected value");
        check("31.28", "1e999", "number out of range");
        check("31.28", "null", "needs one of `value` and `values`");
        check(
            "\"value\":31.28",
            "\"value\":1,\"value\":2",
            "duplicate field `value`",
        );
        check("\"value\":31.28", "\"values\":[1,2]", "has several values");
        check(
            "\"unit\":\"ms\",\"better\":\"lower\"",
            "\"unit\":\"count\"",
            "which way is better",
        );
        check("[{", "[],\"x\":[{", "unknown field `x`");
        check("}]}", "}]", "EOF while parsing");
        check("request.p95", "", "the metric's name \"\" is empty");
        check(
            "[{",
            "[{\"name\":\"request.p95\",\"value\":1,\"unit\":\"s\"},{",
            "comes twice",
        );
        check("\"pair\":1", "\"pair\":-1", "invalid value: integer `-1`");
    }

    #[test]
    fn a_newer_version_is_told_before_its_shape() {
        let error = read_text(r#"{"schema":"plimsoll.runs/2","new":{}}"#).unwrap_err();
        assert!(
            error.contains("plimsoll.runs/2") && !error.contains("unknown field"),
            "{error}"
        );
    }

    #[test]
    fn keys_of_ones_own_are_let_pass() {
        let text = RUN
            .replace("{\"name\"", "{\"x-ci\":{\"a\":[1]},\"name\"")
            .replace("\"pair\"", "\"x-job\":\"7\",\"pair\"");
        let metrics = |text: &str| read_text(text).unwrap().runs[0].metrics.clone();
        assert_eq!(metrics(&text), metrics(RUN));
        let error = read_text(&text.replace("\"metrics\"", "\"metric\"")).unwrap_err();
        assert!(error.contains("unknown field `metric`"), "{error}");
    }

    #[test]
    fn invocations_of_a_benchmark_stand_in_one_run() {
        let text = RUN
            .replace("request.p95", "bench.cache/get")
            .replace("\"value\":31.28", "\"values\":[1,2,3]");
        let imported = read_text(&text).unwrap();
        let metric = &imported.runs[0].metrics["bench.cache/get"];
        assert_eq!(metric.values(), [1e6, 2e6, 3e6]);
    }
}
