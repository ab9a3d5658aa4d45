//! The files that a scenario needs where it is performed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use crate::harness::cli::diagnostics;
use crate::harness::cli::failure::Failure;
use crate::harness::cli::output::Output;
use crate::harness::report::text::one_line;
use crate::harness::scenario::{self, Plan};

/// The keys of `[http]` that name a file which is no secret.
const HTTP_FILES: [&str; 2] = ["ca", "certificate"];
/// The keys of a step that name a file.
const STEP_FILES: [&str; 2] = ["file", "template"];
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
        for name in named(&table) {
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
            Failure::Scenario(diagnostics::render(&rejection, output.style_err()))
        })?;
        match plans.iter().any(|copied| copied.hash == plan.hash) {
            true => Ok(()),
            false => Err(Failure::Tool(format!(
                "BUG: a copy of {} with the files that it names is another scenario",
                one_line(&plan.id())
            ))),
        }
    }
}

/// The files that a scenario names, wherever its grammar has one. What a request sends may have keys of the same
/// names.
fn named(scenario: &Table) -> Vec<&str> {
    let mut found = Vec::new();
    let below = |key: &str| scenario.get(key).and_then(Value::as_table);
    if let Some(http) = below("http") {
        found.extend(HTTP_FILES.iter().filter_map(|key| text(http, key)));
    }
    let tables = |key: &str| below(key).into_iter().flat_map(Table::values);
    for feed in tables("feed").filter_map(Value::as_table) {
        found.extend(text(feed, "file"));
    }
    for load in tables("load") {
        let open = load.get("open").and_then(Value::as_table);
        found.extend(open.and_then(|open| text(open, "trace")));
    }
    let once = ["setup", "teardown"].map(|key| scenario.get(key));
    for flow in tables("flow").chain(once.into_iter().flatten()) {
        of_steps(flow.get("step"), &mut found);
    }
    found
}

/// Those of an array of steps, and of the steps inside of them.
fn of_steps<'a>(steps: Option<&'a Value>, found: &mut Vec<&'a str>) {
    let steps = steps.and_then(Value::as_array).into_iter().flatten();
    for step in steps.filter_map(Value::as_table) {
        found.extend(STEP_FILES.iter().filter_map(|key| text(step, key)));
        let table = |key: &str| step.get(key).and_then(Value::as_table);
        found.extend(table("think").and_then(|think| text(think, "recorded")));
        let parts = table("multipart").into_iter().flat_map(Table::values);
        found.extend(parts.filter_map(|part| text(part.as_table()?, "file")));
        of_steps(step.get("step"), found);
        of_steps(step.get("else"), found);
        let branches = step.get("choice").and_then(Value::as_array);
        for branch in branches.into_iter().flatten() {
            of_steps(branch.get("step"), found);
        }
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
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
        let files = Files::of(&plan, &Output::SILENT).unwrap();
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
        let mut files = Files::of(&plan, &Output::SILENT).unwrap();
        files
            .contents
            .insert("rows.csv".to_owned(), b"id\n2\n".to_vec());
        let other = files.are_the_same_as(&plan, &Output::SILENT);
        assert!(matches!(other, Err(Failure::Tool(text)) if text.contains("another scenario")));
        files.contents.remove("rows.csv");
        let missing = files.are_the_same_as(&plan, &Output::SILENT);
        assert!(matches!(missing, Err(Failure::Scenario(text)) if text.contains("rows.csv")));
    }

    #[test]
    fn files_are_found_where_the_grammar_has_them() {
        let table: Table = r#"
            file = "no"
            name = "no"
            [http]
            ca = "ca.pem"
            certificate = "client.pem"
            key = "no"
            [feed.file]
            file = "rows.csv"
            [load.a]
            open = { trace = "arrivals.csv" }
            [[setup.step]]
            post = "/login"
            file = "login.bin"
            [[flow.f.step]]
            post = "/a"
            template = "order.json"
            think = { recorded = "think.csv" }
            query = { file = "no", trace = "no" }
            headers = { certificate = "no" }
            check = { json = { "file" = "no" } }
            [[flow.f.step]]
            put = "/b"
            form = { file = "no", template = "no" }
            [[flow.f.step]]
            put = "/c"
            json = { file = "no", step = [{ file = "no" }], recorded = "no" }
            [[flow.f.step]]
            post = "/d"
            multipart = { file = "no", photo = { file = "cat.jpg" }, more = { text = "no" } }
            [[flow.f.step]]
            group = "g"
            step = [
                { choice = [{ weight = 1, step = [{ post = "/", file = "branch.bin" }] }] },
                { if = { chance = "1%" }, step = [], else = [{ think = { recorded = "else.csv" } }] },
            ]
            [[teardown.step]]
            repeat = 2
            step = [{ post = "/logout", file = "logout.bin" }]
        "#
        .parse()
        .unwrap();
        let mut found = named(&table);
        found.sort_unstable();
        let expected = [
            "arrivals.csv",
            "branch.bin",
            "ca.pem",
            "cat.jpg",
            "client.pem",
            "else.csv",
            "login.bin",
            "logout.bin",
            "order.json",
            "rows.csv",
            "think.csv",
        ];
        assert_eq!(found, expected);
    }
}
