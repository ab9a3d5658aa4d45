//! The files that a scenario needs where it is performed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use crate::harness::cli::diagnostics;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::report::text;
use crate::harness::scenario::{self, Plan};

/// The keys that name a file, wherever they stand in a scenario.
const FILE_KEYS: [&str; 6] = ["file", "template", "ca", "certificate", "trace", "recorded"];
/// The key that names the file of a secret: it belongs into no ConfigMap.
const SECRET_KEY: &str = "key";
/// Marks the root of the project, so that a scenario may name files above its own folder there too.
const ROOT_MARK: &str = "plimsoll.toml";

/// The files of a scenario by their paths below the project's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// Where the scenario itself is.
    pub(super) scenario: String,
    /// Their contents; the scenario is one of them.
    pub(super) contents: BTreeMap<String, Vec<u8>>,
    /// Where the key of the client certificate is, which stays a secret.
    pub(super) key: Option<String>,
}

impl Files {
    /// Reads them, and makes sure that they are all: a copy of them has to be the same scenario.
    pub(super) fn of(plan: &Plan, output: &Output) -> Result<Self, Failure> {
        let reading = |error: &dyn std::error::Error| Failure::tool("reading the scenario", error);
        let file = std::path::absolute(&plan.file).map_err(|error| reading(&error))?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(|error| reading(&error))?;
        let file = folder.join(file.file_name().unwrap_or_default());
        let written = std::fs::read_to_string(&file).map_err(|error| reading(&error))?;
        let table: Table = written
            .parse()
            .map_err(|error: toml::de::Error| reading(&error))?;
        let below_root = |path: &Path| {
            let outside = || {
                Failure::usage(
                    format!("{} lies outside of the project", path.display()),
                    "put it beside the scenario",
                )
            };
            let path = without_dots(path);
            let below = path.strip_prefix(&plan.root).map_err(|_| outside())?;
            below.to_str().map(str::to_owned).ok_or_else(outside)
        };
        let mut contents = BTreeMap::from([(ROOT_MARK.to_owned(), Vec::new())]);
        for name in named(&table, &FILE_KEYS) {
            let path = folder.join(name);
            let bytes = std::fs::read(&path)
                .map_err(|error| Failure::tool(format!("reading {}", path.display()), &error))?;
            contents.insert(below_root(&path)?, bytes);
        }
        let scenario = below_root(&file)?;
        contents.insert(scenario.clone(), written.into_bytes());
        let key = table
            .get("http")
            .and_then(|http| http.get(SECRET_KEY)?.as_str());
        let files = Self {
            scenario,
            contents,
            key: key.map(|key| below_root(&folder.join(key))).transpose()?,
        };
        files.are_the_same_as(plan, output)?;
        Ok(files)
    }

    /// Whether a copy of them measures what the plan measures.
    fn are_the_same_as(&self, plan: &Plan, output: &Output) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::tool("copying the scenario's files", &error);
        let copy = tempfile::tempdir().map_err(failed)?;
        let place = |path: &str| -> std::io::Result<PathBuf> {
            let path = copy.path().join(path);
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            Ok(path)
        };
        for (path, bytes) in &self.contents {
            place(path)
                .and_then(|path| std::fs::write(path, bytes))
                .map_err(failed)?;
        }
        if let Some(key) = &self.key {
            let original = plan.root.join(key);
            place(key)
                .and_then(|path| std::fs::copy(original, path))
                .map_err(failed)?;
        }
        let copied = copy.path().join(&self.scenario);
        let plans = scenario::check(&copied).map_err(|rejection| {
            Failure::Scenario(diagnostics::render(
                &rejection,
                output.colour_err,
                output.width,
            ))
        })?;
        match plans.iter().any(|copied| copied.hash == plan.hash) {
            true => Ok(()),
            false => Err(Failure::Tool(format!(
                "BUG: a copy of {} with the files that it names is another scenario",
                text::one_line(&plan.id())
            ))),
        }
    }
}

/// The texts of some keys, at any depth.
fn named<'a>(table: &'a Table, keys: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::String(text) if keys.contains(&key.as_str()) => found.push(text.as_str()),
            other => gather(other, keys, &mut found),
        }
    }
    found
}

fn gather<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Table(table) => found.extend(named(table, keys)),
        Value::Array(values) => values.iter().for_each(|value| gather(value, keys, found)),
        _ => {}
    }
}

/// The path without `.` and `..`, as it is written: a link on its way stays one.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::cli::args::Format;

    const OUTPUT: Output = Output {
        format: Format::Human,
        quiet: true,
        colour: false,
        colour_err: false,
        live: false,
        width: 80,
    };

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_scenario_is_taken_with_the_files_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        write(&root.join("plimsoll.toml"), "anything");
        write(&root.join("data/rows.csv"), "id\n1\n");
        write(&root.join("scenarios/more.csv"), "id\n2\n");
        write(&root.join("scenarios/unnamed.csv"), "id\n3\n");
        let scenario = root.join("scenarios/shop.toml");
        write(
            &scenario,
            "schema = 1\nname = \"shop\"\nurl = \"http://10.0.0.1:1\"\n\
             [feed.rows]\nfile = \"../data/rows.csv\"\n[feed.more]\nfile = \"./more.csv\"\n\
             [[flow.f.step]]\nget = \"/{rows.id}/{more.id}\"\n[load.a]\nclosed = { users = 1 }\n",
        );
        let plan = scenario::check(&scenario).unwrap().remove(0);
        let files = Files::of(&plan, &OUTPUT).unwrap();
        assert_eq!(files.scenario, "scenarios/shop.toml");
        let names: Vec<&str> = files.contents.keys().map(String::as_str).collect();
        let expected = [
            "data/rows.csv",
            "plimsoll.toml",
            "scenarios/more.csv",
            "scenarios/shop.toml",
        ];
        assert_eq!(names, expected);
        assert_eq!(files.contents["data/rows.csv"], b"id\n1\n");
        assert_eq!(files.key, None);
    }

    #[test]
    fn what_is_left_out_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("shop.toml");
        write(&folder.path().join("rows.csv"), "id\n1\n");
        write(
            &scenario,
            "schema = 1\nname = \"shop\"\nurl = \"http://10.0.0.1:1\"\n[feed.rows]\nfile = \"rows.csv\"\n\
             [[flow.f.step]]\nget = \"/{rows.id}\"\n[load.a]\nclosed = { users = 1 }\n",
        );
        let plan = scenario::check(&scenario).unwrap().remove(0);
        let mut files = Files::of(&plan, &OUTPUT).unwrap();
        files
            .contents
            .insert("rows.csv".to_owned(), b"id\n2\n".to_vec());
        let other = files.are_the_same_as(&plan, &OUTPUT);
        assert!(matches!(other, Err(Failure::Tool(text)) if text.contains("another scenario")));
        files.contents.remove("rows.csv");
        let missing = files.are_the_same_as(&plan, &OUTPUT);
        assert!(matches!(missing, Err(Failure::Scenario(text)) if text.contains("rows.csv")));
    }

    #[test]
    fn keys_are_found_at_any_depth() {
        let table: Table =
            "file = \"a\"\n[[x.step]]\nmultipart = { p = { file = \"b\" }, q = \"no\" }\n\
                            think = { recorded = \"c\" }\nname = \"no\"\nfile = 3\n"
                .parse()
                .unwrap();
        let mut found = named(&table, &FILE_KEYS);
        found.sort_unstable();
        assert_eq!(found, ["a", "b", "c"]);
    }
}
