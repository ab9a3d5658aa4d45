//! The adapter to the files of criterion 0.5 to 0.8: `<benchmark>/new/{benchmark,sample}.json`
//! below `CRITERION_HOME`. criterion writes `benchmark.json` last, so a benchmark that was cut off
//! lacks it. The files carry no version; that of the crate is checked when it is built, and here
//! everything that is not as those versions write it is refused.
//!
//! Where nobody knows the `CRITERION_HOME`, such as in a folder of several, it follows from the
//! `directory_name` in `benchmark.json`; each is one run, because one process wrote it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{InterchangeError, Place, quoted};
use super::file::{read_text_at_most, reading};
use super::format::Format;
use super::imported::{Imported, ImportedRun};
use super::metric::measured;
use crate::harness::model::{BenchInvocation, Direction, Sampling, Unit, median, path::BENCH};

/// A larger file is refused: a hundred samples are some two kilobytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Folders nest by group, function and parameter, then `new`; a few more around several homes.
const MAX_DEPTH: usize = 12;
/// More files and folders than any set of benches has.
const MAX_ENTRIES: usize = 200_000;
const MAX_ID_BYTES: usize = 4096;

/// What one invocation measured of one benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchResult {
    /// criterion's `full_id`.
    pub id: String,
    /// Its samples.
    pub invocation: BenchInvocation,
}

/// The results of one process by id, each with its folder.
type Results = BTreeMap<String, (PathBuf, BenchInvocation)>;

/// The results below `home`, a `CRITERION_HOME` that one process wrote, by id. Symbolic links are
/// not followed. Empty where criterion wrote nothing.
pub fn read_results(home: &Path) -> Result<Vec<BenchResult>, InterchangeError> {
    let mut found = Results::new();
    for folder in result_folders(home)? {
        insert(&mut found, read_result(&folder)?, folder)?;
    }
    let results = found.into_iter();
    Ok(results
        .map(|(id, (_, invocation))| BenchResult { id, invocation })
        .collect())
}

/// Every `CRITERION_HOME` in `folder` as a run.
pub(super) fn read(folder: &Path) -> Result<Imported, InterchangeError> {
    let mut homes: BTreeMap<PathBuf, Results> = BTreeMap::new();
    for result in result_folders(folder)? {
        let one = read_result(&result)?;
        let home = home_of(&result, &one.directory);
        insert(homes.entry(home).or_default(), one, result)?;
    }
    let mut imported = Imported::new(Format::Criterion, folder.to_owned());
    for (home, results) in homes {
        let place = Place::file(&home);
        let mut run = ImportedRun::new(place.clone(), home.display().to_string());
        for (id, (_, invocation)) in results {
            let samples = invocation.times_ns.len() as u64;
            measured(
                &format!("{BENCH}.{id}"),
                Unit::Nanoseconds,
                Direction::Lower,
                vec![invocation.point_ns],
                samples,
            )
            .and_then(|metric| run.add(metric))
            .map_err(|wrong| wrong.at(&place))?;
        }
        imported.runs.push(run);
    }
    if imported.runs.is_empty() {
        return Err(Place::file(folder).wrong(
            "it holds no result file and no results of criterion",
            "name a file, or the folder that criterion wrote, such as target/criterion",
        ));
    }
    Ok(imported)
}

/// The `CRITERION_HOME` above the `new` folder of a benchmark.
fn home_of(result: &Path, directory: &str) -> PathBuf {
    let benchmark = result.parent().unwrap_or(result);
    let depth = Path::new(directory).components().count();
    let is_below = benchmark.ends_with(directory);
    let home = benchmark.ancestors().nth(if is_below { depth } else { 1 });
    home.unwrap_or(benchmark).to_owned()
}

fn insert(found: &mut Results, one: OneResult, folder: PathBuf) -> Result<(), InterchangeError> {
    let what = format!("the benchmark {}", quoted(&one.id));
    match found.insert(one.id, (folder.clone(), one.invocation)) {
        None => Ok(()),
        Some((first, _)) => Err(InterchangeError::Twice {
            what,
            first: Place::file(&first),
            again: Place::file(&folder),
            remedy: "rename one of them",
        }),
    }
}

struct OneResult {
    id: String,
    directory: String,
    invocation: BenchInvocation,
}

#[derive(Deserialize)]
struct BenchmarkFile {
    full_id: String,
    #[serde(default)]
    directory_name: String,
}

#[derive(Deserialize)]
struct SampleFile {
    sampling_mode: String,
    iters: Vec<f64>,
    times: Vec<f64>,
}

fn read_result(folder: &Path) -> Result<OneResult, InterchangeError> {
    let path = folder.join("benchmark.json");
    let BenchmarkFile {
        full_id,
        directory_name,
    } = read_json(&path)?;
    if full_id.is_empty() || full_id.len() > MAX_ID_BYTES {
        return Err(layout(&path, "its `full_id` is empty or too long"));
    }
    let path = folder.join("sample.json");
    let sample: SampleFile = read_json(&path)?;
    let sampling = match sample.sampling_mode.as_str() {
        "Linear" => Sampling::Linear,
        "Flat" => Sampling::Flat,
        _ => {
            return Err(layout(
                &path,
                "its `sampling_mode` is neither Linear nor Flat",
            ));
        }
    };
    if sample.iters.is_empty() || sample.iters.len() != sample.times.len() {
        return Err(layout(
            &path,
            "`iters` and `times` are empty or not of one length",
        ));
    }
    let is_positive = |value: &f64| value.is_finite() && *value > 0.0;
    if !sample.iters.iter().chain(&sample.times).all(is_positive) {
        return Err(layout(&path, "a sample is not a positive number"));
    }
    let invocation = BenchInvocation {
        point_ns: match sampling {
            Sampling::Linear => slope(&sample.iters, &sample.times),
            Sampling::Flat => median_per_iteration(&sample.iters, &sample.times),
        },
        sampling,
        iterations: sample.iters,
        times_ns: sample.times,
    };
    Ok(OneResult {
        id: full_id,
        directory: directory_name,
        invocation,
    })
}

/// The slope of the least-squares line through the origin, Σ xy / Σ x²: what criterion reports for
/// linear sampling. Longer samples weigh more, so the fixed cost of a sample hardly counts.
fn slope(iterations: &[f64], times_ns: &[f64]) -> f64 {
    let pairs = || iterations.iter().zip(times_ns);
    let xy: f64 = pairs().map(|(x, y)| x * y).sum();
    let xx: f64 = pairs().map(|(x, _)| x * x).sum();
    xy / xx
}

/// The median over the samples of the time of one iteration; not a number for no samples.
fn median_per_iteration(iterations: &[f64], times_ns: &[f64]) -> f64 {
    let pairs = iterations.iter().zip(times_ns);
    let each: Vec<f64> = pairs.map(|(x, y)| y / x).collect();
    median(&each).unwrap_or(f64::NAN)
}

/// The `new` folders of the benchmarks. A benchmark may itself be called `new`; its folder then
/// holds folders only.
fn result_folders(home: &Path) -> Result<Vec<PathBuf>, InterchangeError> {
    let mut results = Vec::new();
    let mut open = vec![(home.to_owned(), 0)];
    let mut entries = 0;
    while let Some((folder, depth)) = open.pop() {
        let reading = |source| reading(&folder)(source);
        let mut folders = Vec::new();
        let mut files = 0;
        for entry in fs::read_dir(&folder).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            entries += 1;
            // The type is that of the entry itself: a link is neither a folder nor a file.
            let kind = entry.file_type().map_err(reading)?;
            if kind.is_dir() {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() {
                files += 1;
            }
        }
        if entries > MAX_ENTRIES || depth > MAX_DEPTH {
            return Err(layout(&folder, "too many folders or files"));
        }
        let is_new = folder.file_name().is_some_and(|name| name == "new");
        if is_new && depth > 0 && (files > 0 || folders.is_empty()) {
            results.push(folder);
        } else {
            open.append(&mut folders);
        }
    }
    results.sort();
    Ok(results)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, InterchangeError> {
    if fs::symlink_metadata(path)
        .map_err(reading(path))?
        .is_symlink()
    {
        return Err(reading(path)(io::Error::other("it is a symbolic link")));
    }
    let text = read_text_at_most(path, MAX_FILE_BYTES)?;
    serde_json::from_str(&text).map_err(|error| layout(path, &error.to_string()))
}

fn layout(path: &Path, what: &str) -> InterchangeError {
    Place::file(path).wrong(
        format!("it is not of criterion 0.5 to 0.8, or not whole: {what}"),
        "run the benches again with one of these versions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_goes_through_the_origin() {
        // Σ xy = 1·10 + 2·22 + 3·27 = 135 and Σ x² = 14.
        assert_eq!(slope(&[1.0, 2.0, 3.0], &[10.0, 22.0, 27.0]), 135.0 / 14.0);
        assert_eq!(slope(&[5.0], &[35.0]), 7.0);
        // A cost of 100 a sample and 2 an iteration: (1·102 + 100·300) / (1 + 10000).
        assert_eq!(slope(&[1.0, 100.0], &[102.0, 300.0]), 30102.0 / 10001.0);
    }

    #[test]
    fn the_median_is_that_of_single_iterations() {
        assert_eq!(
            median_per_iteration(&[10.0, 10.0, 10.0], &[30.0, 900.0, 20.0]),
            3.0
        );
        assert_eq!(median_per_iteration(&[4.0, 4.0], &[8.0, 4.0]), 1.5);
        assert_eq!(
            median_per_iteration(&[2.0, 1.0, 4.0, 1.0], &[2.0, 9.0, 12.0, 5.0]),
            4.0
        );
    }
}
