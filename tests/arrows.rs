//! Who may look at whom (docs/ARCHITECTURE.md, "Code map"): a line of code should know its room.
//!
//! The arrows are read from the sources, so a `use`, a path in an expression and a type in a
//! signature all count. What a room must not do (print, read the environment, exit) is held here
//! as well.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use support::files;

/// A room and the rooms it may look at, besides itself.
const HARNESS: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("stats", &[]),
    ("scenario", &["model"]),
    ("scaffold", &["model", "scenario"]),
    ("store", &["model"]),
    ("interchange", &["model"]),
    ("engine", &["model", "scenario", "interchange"]),
    ("compare", &["model", "stats"]),
    ("gate", &["model", "stats", "compare", "scenario"]),
    ("report", &["model", "scenario", "compare", "gate"]),
    (
        "cli",
        &[
            "model",
            "stats",
            "scenario",
            "scaffold",
            "store",
            "interchange",
            "engine",
            "compare",
            "gate",
            "report",
        ],
    ),
];

#[test]
fn harness_rooms_look_only_where_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = HARNESS.into();
    let mut wrong = Vec::new();
    for (room, file, text) in sources("src/harness") {
        let Some(may) = allowed.get(room.as_str()) else {
            assert_eq!(
                file.file_name().and_then(|name| name.to_str()),
                Some("mod.rs"),
                "{file:?} is in no room"
            );
            continue;
        };
        for seen in looked_at(&text, "crate::harness::") {
            if seen != room && !may.contains(&seen.as_str()) {
                wrong.push(format!("{} looks at harness::{seen}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_harness_never_looks_at_the_subject_nor_the_subject_at_the_harness() {
    let mut wrong = Vec::new();
    for (folder, forbidden) in [
        ("src/harness", &["datalayer", "service"][..]),
        ("src/datalayer", &["harness", "service"]),
        ("src/service", &["harness"]),
        ("benches", &["harness", "service"]),
    ] {
        for (_, file, text) in sources(folder) {
            let mut seen = looked_at(&text, "crate::");
            seen.extend(looked_at(&text, "plimsoll::"));
            for room in seen {
                if forbidden.contains(&room.as_str()) {
                    wrong.push(format!("{} looks at {room}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_cli_prints_reads_the_environment_and_exits() {
    let forbidden = Regex::new(r"\b(e?println!|e?print!|dbg!|env::vars?(_os)?\(|process::exit\()")
        .expect("a valid pattern");
    let mut wrong = Vec::new();
    for (room, file, text) in sources("src/harness") {
        // The two entry points that run as processes of their own speak their protocol on stdout
        // through a writer; neither prints.
        if room != "cli" {
            for found in forbidden.find_iter(without_tests(&file, &text)) {
                wrong.push(format!("{}: {}", file.display(), found.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn statistics_and_judging_do_no_io() {
    let forbidden = Regex::new(r"\bstd::(fs|net|process|env|io)\b|\btokio::|\bsqlx::|\breqwest::")
        .expect("a valid pattern");
    let mut wrong = Vec::new();
    for (room, file, text) in sources("src/harness") {
        if ["model", "scaffold", "stats", "compare", "gate", "report"].contains(&room.as_str()) {
            // The type of an error is no way of reading or writing.
            let text = without_tests(&file, &text).replace("std::io::Error", "");
            for found in forbidden.find_iter(&text) {
                wrong.push(format!("{}: {}", file.display(), found.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_scan_sees_every_way_of_looking() {
    let text = "use crate::harness::model::Run;\n// use crate::harness::cli;\n\
                use crate::harness::{stats::{a, b}, gate, compare::Design as D};\n\
                fn f(x: crate::harness::store::History) {}";
    assert_eq!(
        looked_at(&without_comments(text), "crate::harness::"),
        ["model", "stats", "gate", "compare", "store"]
    );
    let text = "#[cfg(test)]\nfn a() {}\nfn b() {}\n#[cfg(test)]\n#[expect(\n    c,\n    reason = \"d\"\n)]\nmod e {\n";
    assert!(without_tests(Path::new("c.rs"), text).ends_with("fn b() {}\n"));
    assert_eq!(without_tests(Path::new("c/tests.rs"), text), "");
}

/// Every Rust file below `folder` as (room, path, text without comments); the room is the first
/// folder or file below `folder`.
fn sources(folder: &str) -> Vec<(String, PathBuf, String)> {
    let root = files::repository(folder);
    let found = files::below(&root, "rs").expect("readable folders");
    assert!(!found.is_empty(), "no sources in {folder}");
    let source = |path: PathBuf| {
        let below = path.strip_prefix(&root).expect("below the root");
        let first = below.iter().next().expect("a name");
        let room = first.to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).expect("UTF-8");
        (room, path, without_comments(&text))
    };
    found.into_iter().map(source).collect()
}

/// The names that follow `prefix` anywhere in `text`, through braces of one level too.
fn looked_at(text: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut name = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.extend(first_name(&std::mem::take(&mut name))),
                    other if depth == 0 => name.push(other),
                    _ => {}
                }
            }
            names.extend(first_name(&name));
        } else {
            names.extend(first_name(rest));
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text
        .trim_start()
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

fn without_comments(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A file up to its test module, or nothing of one that is such a module: tests may print and read what
/// they like.
fn without_tests<'a>(file: &Path, text: &'a str) -> &'a str {
    if file.ends_with("tests.rs") {
        return "";
    }
    let tests = Regex::new(r"#\[cfg\(test\)\]\s*(#\[expect\([^\]]*\)\]\s*)?mod \w+ \{")
        .expect("a valid pattern");
    tests
        .find(text)
        .map_or(text, |found| &text[..found.start()])
}
