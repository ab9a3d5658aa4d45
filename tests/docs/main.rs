//! The README and the book are true: their commands are executed, in the order of the page and in a project of its
//! own, and their links lead somewhere.

#[path = "../support/mod.rs"]
mod support;

mod pages;
mod project;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use pages::{Page, Step};
use regex::Regex;
use shell::Typed;
use support::{Tested, files};

/// Commands that no test can execute: where they stand, how they begin, and why. What they ask of plimsoll is
/// checked all the same.
const NOT_EXECUTED: &[(&str, &str, &str)] = &[
    (
        "README.md",
        "cargo run --release",
        "compiles for minutes; CI calls it by itself",
    ),
    ("README.md", "./tests/run.sh", "is what calls this test"),
    ("README.md", "cargo install", "installs"),
    ("README.md", "plimsoll worker", SHARDS),
    ("README.md", "plimsoll merge", SHARDS),
    (
        "docs/BASELINES.md",
        "plimsoll calibrate --sessions 3",
        "takes an hour; the line above it is the same for ten pairs",
    ),
    ("docs/COST.md", "cargo build", PEERS),
    ("docs/COST.md", "apt-get install", PEERS),
    ("docs/COST.md", "cargo install", PEERS),
    ("docs/COST.md", "git clone", PEERS),
    ("docs/COST.md", "python3 benches/", PEERS),
    ("docs/FAULTS.md", "cargo build", "compiles for minutes"),
    ("docs/FAULTS.md", "python3 benches/", "takes twenty minutes"),
    ("docs/FIGURES.md", "cargo build", "compiles for minutes"),
    ("docs/FIGURES.md", "python3 benches/", "takes half an hour"),
    ("docs/GETTING_STARTED.md", "cargo install", "installs"),
    ("docs/OUTPUTS.md", "marker=", GITHUB),
    ("docs/OUTPUTS.md", "id=", GITHUB),
    ("docs/OUTPUTS.md", "if [ -n", GITHUB),
    ("docs/SHARDS.md", "plimsoll worker", SHARDS),
    ("docs/SHARDS.md", "plimsoll merge", SHARDS),
    ("docs/SHARDS.md", "hosts=", SSH),
    ("docs/SHARDS.md", "folder=", SSH),
    ("docs/SHARDS.md", "scenario=", SSH),
    ("docs/SHARDS.md", "target=", SSH),
    ("docs/SHARDS.md", "ahead=", SSH),
    ("docs/SHARDS.md", "set --", SSH),
    ("docs/SHARDS.md", "start=", SSH),
    ("docs/SHARDS.md", "i=0", SSH),
    ("docs/SHARDS.md", "for host", SSH),
    ("docs/SHARDS.md", "wait", SSH),
    ("docs/SHARDS.md", "kubectl", CLUSTER),
    ("docs/SHARDS.md", "until kubectl", CLUSTER),
    ("docs/SHARDS.md", "for i in", CLUSTER),
];
const SHARDS: &str =
    "several machines at a time that is gone; tests/shards.rs performs shards and merges them";
const SSH: &str =
    "several machines; tests/shards.rs performs these lines where an sshd is installed";
const GITHUB: &str = "asks GitHub for the comments of a pull request";
const CLUSTER: &str = "a cluster of Kubernetes; tests/k8s.rs does by hand what it does";
const PEERS: &str = "installs other load generators, and measures for half an hour";

#[test]
fn every_command_does_what_its_page_says() -> Tested {
    let pages = pages::all()?;
    let waiting = Mutex::new(pages.iter());
    let wrong = Mutex::new(Vec::new());
    // The guard must not outlive the call, or one page would wait for another.
    let next = || waiting.lock().expect("nobody panics").next();
    let work = || {
        while let Some(page) = next() {
            let done = project::perform(page, &pages, |typed| is_left_out(page, typed));
            if let Err(error) = done {
                let error = format!("{}, {error}", page.name);
                wrong.lock().expect("nobody panics").push(error);
            }
        }
    };
    // Most of the time is spent in waiting for phases to end, but what a page finds is to be its own.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner()?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn what_is_not_executed_is_understood() -> Tested {
    let mut unused: BTreeSet<_> = NOT_EXECUTED
        .iter()
        .map(|(page, begins, _)| (page, begins))
        .collect();
    let mut executed = 0;
    for page in pages::all()? {
        for step in &page.steps {
            let Step::Shell { line, text } = step else {
                continue;
            };
            for typed in shell::commands(*line, text)? {
                if !is_left_out(&page, &typed) {
                    executed += 1;
                    continue;
                }
                let at = |error| format!("{}, line {}: {error}", page.name, typed.line);
                typed.parses().map_err(at)?;
                unused.retain(|(name, begins)| !(**name == page.name && typed.begins(begins)));
            }
        }
    }
    assert!(unused.is_empty(), "listed, and in no page: {unused:?}");
    assert!(executed > 30, "only {executed} commands are executed");
    Ok(())
}

#[test]
fn every_link_leads_somewhere() -> Tested {
    let pages = pages::all()?;
    let anchors: BTreeMap<&str, _> = pages
        .iter()
        .map(|page| (page.name.as_str(), &page.anchors))
        .collect();
    let mut followed = 0;
    for page in &pages {
        for link in &page.links {
            if link.to.contains("://") {
                continue;
            }
            followed += 1;
            let (file, anchor) = link.to.split_once('#').unwrap_or((&link.to, ""));
            let folder = Path::new(&page.name).parent().unwrap_or(Path::new(""));
            let leads_to = match file {
                "" => page.name.clone(),
                file => plain(&folder.join(file)),
            };
            let at = format!("{}, line {}: {}", page.name, link.line, link.to);
            let is_there = files::repository(&leads_to).exists();
            assert!(is_there, "{at}: there is no {leads_to}");
            if !anchor.is_empty() {
                let known = anchors.get(leads_to.as_str());
                assert!(
                    known.is_some_and(|known| known.contains(anchor)),
                    "{at}: {known:?}"
                );
            }
        }
    }
    assert!(followed > 50, "only {followed} links were found");
    Ok(())
}

/// Whoever meets a section of a report finds in the book what it is for.
#[test]
fn every_section_of_a_report_is_explained() -> Tested {
    let template = "src/harness/report/templates/sections.html";
    let template = fs::read_to_string(files::repository(template))?;
    let page = fs::read_to_string(files::repository("docs/READING_A_REPORT.md"))?.to_lowercase();
    let section = Regex::new(r#"<section id="(\w+)""#)?;
    let mut sections = 0;
    for found in section.captures_iter(&template) {
        sections += 1;
        // A link has the last word of a title: `#metrics` is "All metrics".
        assert!(page.contains(&format!("{}**", &found[1])), "{}", &found[1]);
    }
    assert!(sections > 10, "{sections}");
    Ok(())
}

#[test]
fn the_contents_name_every_page() -> Tested {
    let pages = pages::all()?;
    let contents = pages
        .iter()
        .find(|page| page.name == "docs/README.md")
        .ok_or("no contents")?;
    let named: BTreeSet<&str> = contents.links.iter().map(|link| link.to.as_str()).collect();
    for page in &pages {
        let name = page.name.strip_prefix("docs/").unwrap_or("../README.md");
        assert!(
            named.contains(name) || name == "README.md",
            "docs/README.md doesn't name {name}"
        );
    }
    Ok(())
}

fn is_left_out(page: &Page, typed: &Typed) -> bool {
    let mut left_out = NOT_EXECUTED.iter();
    left_out.any(|(name, begins, _)| *name == page.name && typed.begins(begins))
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path {
        match part.to_str() {
            Some("..") => drop(parts.pop()),
            part => parts.extend(part.map(str::to_owned)),
        }
    }
    parts.join("/")
}
