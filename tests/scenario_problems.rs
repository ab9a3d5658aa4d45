//! Scenario files that are wrong: every code, every mistake at once, as a person sees it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};

use plimsoll::harness::cli::diagnostics;
use plimsoll::harness::scenario::{self, Code, Rejection};

const WIDTH: usize = 100;

fn rejected(file: &str) -> Rejection {
    match scenario::check(Path::new(file)) {
        Ok(_) => panic!("{file} has no problems"),
        Err(rejection) => rejection,
    }
}

/// Codes of files of which nothing can be shown.
const WITHOUT_TEXT: [Code; 3] = [Code::Unreadable, Code::TooLarge, Code::NotText];

#[test]
fn every_code_has_a_bad_scenario_and_its_picture() {
    let mut foreign = Vec::new();
    for &code in Code::ALL {
        if WITHOUT_TEXT.contains(&code) {
            continue;
        }
        let name = code.as_str().strip_prefix("scenario::").unwrap();
        let rejection = rejected(&format!("tests/scenarios/bad/{name}.toml"));
        let others = rejection
            .problems
            .iter()
            .filter(|problem| problem.code != code);
        foreign.extend(others.map(|problem| format!("{name}: {problem:?}")));
        insta::assert_snapshot!(
            format!("bad-{name}"),
            diagnostics::render(&rejection, false, WIDTH)
        );
    }
    assert!(
        foreign.is_empty(),
        "a mistake causes no problems of other kinds:\n{}",
        foreign.join("\n")
    );
}

#[test]
fn every_bad_scenario_is_named_after_its_code() {
    let known: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("{}.toml", code.as_str().replace("scenario::", "")))
        .collect();
    for entry in std::fs::read_dir("tests/scenarios/bad").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} is no code");
    }
}

#[test]
fn fifteen_mistakes_are_shown_in_one_go() {
    let rejection = rejected("tests/scenarios/fifteen.toml");
    let marked: Vec<usize> = rejection
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            let number = line.rsplit("  # ").next().unwrap();
            number.parse::<u32>().is_ok()
        })
        .map(|(index, _)| index + 1)
        .collect();
    let found: Vec<usize> = rejection
        .problems
        .iter()
        .map(|problem| problem.line)
        .collect();
    assert_eq!(marked.len(), 15);
    assert_eq!(
        found, marked,
        "one problem on each marked line, and no other"
    );
    insta::assert_snapshot!("fifteen", diagnostics::render(&rejection, false, WIDTH));
    insta::assert_json_snapshot!("fifteen-json", diagnostics::to_json(&rejection));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let rejection = rejected("tests/scenarios/fifteen.toml");
    let coloured = diagnostics::render(&rejection, true, WIDTH);
    assert!(coloured.contains("\u{1b}["));
    let escapes = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    assert_eq!(
        escapes.replace_all(&coloured, ""),
        diagnostics::render(&rejection, false, WIDTH)
    );
}

#[test]
fn files_of_which_nothing_can_be_shown_are_rejected_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: Option<&[u8]>, expected: Code| {
        let path: PathBuf = folder.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let rejection = scenario::check(&path).unwrap_err();
        let codes: Vec<Code> = rejection
            .problems
            .iter()
            .map(|problem| problem.code)
            .collect();
        assert_eq!(codes, [expected]);
        let drawn = diagnostics::render(&rejection, false, WIDTH);
        assert!(drawn.contains(expected.as_str()), "{drawn}");
        assert!(scenario::looks_like_one(&path), "somebody has to say why");
    };
    check("missing.toml", None, Code::Unreadable);
    check(
        "large.toml",
        Some(&vec![b'#'; (1 << 20) + 1]),
        Code::TooLarge,
    );
    check("latin1.toml", Some(b"name = \"\xE9\""), Code::NotText);
    let largest = vec![b'#'; 1 << 20];
    let path = folder.path().join("largest.toml");
    std::fs::write(&path, largest).unwrap();
    let rejection = scenario::check(&path).unwrap_err();
    assert!(
        rejection
            .problems
            .iter()
            .all(|problem| problem.code != Code::TooLarge)
    );
}

#[test]
fn a_file_cannot_steer_the_terminal() {
    let text = "schema = 1\n\"\\u001B[31mred\" = 1 # \u{202E}\u{1b}[31m\nname = \"\\u001B]0;title\\u0007\"\n";
    let problems = scenario::parse(text, Path::new("hostile.toml")).unwrap_err();
    let rejection = Rejection {
        file: PathBuf::from("host\u{1b}ile.toml"),
        text: text.to_owned(),
        problems,
    };
    let drawn = diagnostics::render(&rejection, false, WIDTH);
    assert!(
        drawn.chars().all(|char| char == '\n' || !char.is_control()),
        "{drawn:?}"
    );
    assert!(!drawn.contains('\u{202E}'));
}

#[test]
fn an_unknown_variant_is_told_from_a_known_one() {
    let file = Path::new("tests/scenarios/good/everything.toml");
    let scenario = scenario::load(file).unwrap();
    let check = |variant: &str, expected: Option<Option<&str>>| {
        let plan = scenario.plan_of(variant);
        let found = plan.map(|plan| plan.variant.as_deref());
        assert_eq!(found, expected, "{variant}");
    };
    // The first is the scenario itself.
    check("small", Some(None));
    check("large", Some(Some("large")));
    check("lage", None);
}

#[test]
fn what_is_no_scenario_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, expected: bool| {
        let path = folder.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        assert_eq!(scenario::looks_like_one(&path), expected, "{text}");
    };
    check("schema = 1", true);
    check("schema = \"wrong\"\nbroken = [", true);
    check("[package]\nname = \"x\"", false);
}
