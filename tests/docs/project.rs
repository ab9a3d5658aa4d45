//! The project in which a page's commands are performed: what the page takes for granted is there, and its
//! scenarios are short.

use std::fmt::Write as _;
use std::fs;

use regex::Regex;

use crate::pages::{Page, Step, in_place_of};
use crate::shell::{self, Act, Typed};
use crate::support::project::{BUSY, Project, PythonServer, wait_until_gone};
use crate::support::{Tested, files};

const START: &str = "docs/GETTING_STARTED.md";

/// A repository as the pages speak of one: its branch is known to a remote, and something was released.
const IN_GIT: &str = "git init --quiet && git add --all && git commit --quiet -m begin \
                      && git update-ref refs/remotes/origin/main HEAD && git tag v1.2";

/// What npm knows of the README's service.
const PACKAGE: &str = r#"{"name": "shop", "scripts": {"start": "node server.js"}}"#;

/// Performs the commands of a page that are not left out, in a project of its own.
pub(crate) fn perform(page: &Page, pages: &[Page], is_left_out: impl Fn(&Typed) -> bool) -> Tested {
    // The README's service that is there already.
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    let notes = tempfile::tempdir()?;
    let worktrees = notes.path().join("worktrees");
    let set = format!("export PLIMSOLL_WORKTREES='{}'", worktrees.display());
    let mut acts = vec![call(&set)];
    acts.extend(given(page, pages, &server.url)?);
    let mut last: Option<(String, String)> = None;
    let mut calls = 0;
    for step in &page.steps {
        let (name, text) = match step {
            Step::Shell { line, text } => {
                let typed = shell::commands(*line, text)?;
                let typed = typed.into_iter().filter(|typed| !is_left_out(typed));
                let before = acts.len();
                acts.extend(typed.map(Act::Call));
                calls += acts.len() - before;
                continue;
            }
            Step::File { name, text } => (name.clone(), text.clone()),
            Step::Line { key, text } => {
                let (name, before) = last.ok_or("no file was named")?;
                (name, in_place_of(&before, key, text))
            }
        };
        acts.extend(written(&page.name, &name, &text, &server.url));
        last = Some((name, text));
    }
    if calls == 0 {
        return Ok(());
    }
    shell::perform(&acts, project.path(), notes.path())?;
    wait_until_gone(&project.path().display().to_string())?;
    wait_until_gone(&worktrees.display().to_string())
}

/// What is there before a page's first command.
fn given(page: &Page, pages: &[Page], url: &str) -> Result<Vec<Act>, Box<dyn std::error::Error>> {
    if page.name == START {
        // "Everything from here on happens in an empty folder."
        return Ok(Vec::new());
    }
    let mut acts = Vec::new();
    // Pages go on with the shop of the first one, under the name that they have for it.
    let scenario = match page.name.as_str() {
        "docs/BASELINES.md" => "quickstart",
        "docs/HISTORY.md" => "mixed-workload",
        _ => "shop",
    };
    for of in [START, "README.md", "docs/RECIPES.md"] {
        let of = pages.iter().find(|page| page.name == of).ok_or(of)?;
        for (name, text) in of.files() {
            match name.as_str() {
                "scenarios/shop.toml" => {
                    let text = text.replace(
                        "name = \"shop\"\ndesc",
                        &format!("name = \"{scenario}\"\ndesc"),
                    );
                    acts.extend(written(
                        &page.name,
                        &format!("scenarios/{scenario}.toml"),
                        &text,
                        url,
                    ));
                }
                _ => acts.extend(written(&page.name, &name, &text, url)),
            }
        }
    }
    let mut write = |name: String, text: String| acts.push(Act::Write { name, text });
    // Two arms that another tool measured, by the names that the pages have for them.
    let mut runs = String::new();
    for run in 1..=6 {
        let path = format!("tests/data/interchange/pytest-benchmark/run-{run}.json");
        let text = fs::read_to_string(files::repository(&path))?;
        let (arm, folder, old) = if run % 2 == 1 {
            ("base", "base", "old")
        } else {
            ("head", "head", "new")
        };
        write(format!("{folder}/{run}.json"), text.clone());
        write(format!("{old}-{run}.json"), text);
        writeln!(
            runs,
            r#"{{"schema":"plimsoll.runs/1","arm":"{arm}","run":"{run}","pair":{},"metrics":[{{"name":"request.p95","value":31.{run},"unit":"ms"}}]}}"#,
            (run + 1) / 2
        )?;
    }
    write("runs.jsonl".to_owned(), runs);
    write("package.json".to_owned(), PACKAGE.to_owned());
    acts.push(call(IN_GIT));
    acts.extend(match page.name.as_str() {
        // Something was measured.
        "docs/HISTORY.md" | "docs/READING_A_REPORT.md" | "docs/SITE.md" => {
            Some(call("plimsoll run"))
        }
        // The commit that a pull request has, by GitHub's word.
        "docs/OUTPUTS.md" => Some(call("export HEAD_SHA=$(git rev-parse HEAD)")),
        _ => None,
    });
    Ok(acts)
}

/// A file of a page. A scenario is checked as it stands, and then made short.
fn written(page: &str, name: &str, text: &str, url: &str) -> Vec<Act> {
    let write = |text: String| Act::Write {
        name: name.to_owned(),
        text,
    };
    match text.starts_with("schema = 1\n") {
        true => vec![
            write(text.to_owned()),
            call(&format!("plimsoll check {name}")),
            write(hurried(page, text, url)),
        ],
        false => vec![write(text.to_owned())],
    }
}

/// A scenario that takes a second, on a machine that has other things to do. The commands stay as they are; this
/// alone is changed: how long phases are (a whole second lies in the measure phase, when processes are looked at) and how
/// often they are run, that a p50 takes the place of a quantile which needs more requests, that limits, margins and
/// allowances are wide enough for any machine, and what would ask a registry or another server.
fn hurried(page: &str, text: &str, url: &str) -> String {
    // The widest that there is, but for the page that is to find 50 ms where there was one.
    let margin = match page {
        START => "regress = \"300%\"",
        _ => "regress = \"1000%\"",
    };
    let changes = [
        (r"(?m)^\[(?:phases|sampling)\]\n(?:\w+ = .*\n)*", ""),
        (r#"rate = "\d+/s""#, "rate = \"250/s\""),
        (r"(?m)^(open = .*)$", "$1\nallowed_dropped = \"50%\""),
        (r#"(?m)^metric = "(.*)\.p\d+"$"#, "metric = \"$1.p50\""),
        (r#"(?m)^max = "\d+ms"$"#, "max = \"30s\""),
        (r#"(?m)^max = "\d+/s"$"#, "max = \"100000/s\""),
        (r#"(?m)^max = "\d+MiB"$"#, "max = \"16GiB\""),
        (r"(?m)^max = [\d.]+$", "max = 64"),
        (r"(?m)^regress = .*$", margin),
        (r#"build = "npm ci""#, "build = \"node --check server.js\""),
        (r"http://127\.0\.0\.1:8080", url),
    ];
    let mut text = text.to_owned();
    for (from, to) in changes {
        let rule = Regex::new(from).expect("a regular expression");
        text = rule.replace_all(&text, to).into_owned();
    }
    // What has to be found there needs twice its requests, on a machine that answers half of them in time.
    let measure = match page {
        START => "1900ms",
        _ => "900ms",
    };
    format!(
        "{text}\n[phases]\nwarmup = \"300ms\"\nmeasure = \"{measure}\"\n[sampling]\nruns = 3\n{BUSY}"
    )
}

fn call(text: &str) -> Act {
    Act::Call(Typed::new(0, text))
}
