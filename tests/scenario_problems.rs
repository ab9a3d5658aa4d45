//! Scenario files that are wrong: every code, every mistake at once, as a person sees it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};

use plimsoll::harness::cli::diagnostics;
use plimsoll::harness::report::terminal::TerminalStyle;
use plimsoll::harness::scenario::{self, Code, Rejection, StepPlan};

const PLAIN: TerminalStyle = TerminalStyle {
    colour: false,
    width: 100,
    ascii: false,
};
const COLOURED: TerminalStyle = TerminalStyle {
    colour: true,
    ..PLAIN
};

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
        for problem in &rejection.problems {
            assert!(!problem.help.is_empty(), "{name}: {problem:?}");
        }
        let others = rejection
            .problems
            .iter()
            .filter(|problem| problem.code != code);
        foreign.extend(others.map(|problem| format!("{name}: {problem:?}")));
        insta::assert_snapshot!(
            format!("bad-{name}"),
            diagnostics::render(&rejection, PLAIN)
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

/// The codes and lines of what is wrong with a text.
#[track_caller]
fn check(text: &str, expected: &[(Code, usize)]) {
    let problems = scenario::parse(text, Path::new("s.toml")).err();
    let problems = problems.unwrap_or_default();
    let found: Vec<(Code, usize)> = problems.iter().map(|one| (one.code, one.line)).collect();
    assert_eq!(found, expected, "{text}{problems:#?}");
}

const LOADED: &str = "schema = 1\n[[flow.f.step]]\nget = \"/\"\n[load.a]\n";

#[test]
fn a_load_without_content_is_no_load() {
    let nothing = [(Code::NothingToDo, 1)];
    check("schema = 1\n[load]\n", &nothing);
    check("schema = 1\nload = {}\n", &nothing);
    check("schema = 1\nbench = []\n", &nothing);
    check("schema = 1\nload = 5\n", &[(Code::WrongType, 2)]);
}

/// They would be left out in silence, and everything measured without them.
#[test]
fn a_fault_needs_a_load() {
    let text = "schema = 1\n[[bench]]\n[[process]]\nname = \"redis\"\nstart = \"redis {port}\"\n\
                [[fault]]\nat = \"5s\"\nstop = \"redis\"\n";
    check(text, &[(Code::MissingKey, 6)]);
}

#[test]
fn a_mistake_causes_no_others() {
    let process = "[[process]]\nname = 5\nstart = \"serve {port}\"\ntarget = true\n";
    let fault = "[[fault]]\nat = \"5s\"\nstop = \"service\"\n";
    let gate = "[[gate]]\nmetric = \"process.service.rss_max\"\nmax = \"1GB\"\n";
    let load = format!("{LOADED}open = {{ rate = \"100/s\" }}\n");
    check(
        &format!("{load}{process}{fault}{gate}"),
        &[(Code::WrongType, 7)],
    );
    let url = "schema = 1\nurl = \"http://127.0.0.1:1\"";
    let users = LOADED.replace("schema = 1", url) + "closed = { users = 0 }\n";
    check(&users, &[(Code::OutOfRange, 6)]);
}

#[test]
fn a_body_that_is_too_large_to_be_looked_at_is_not_asked_for() {
    let text = |more: &str| {
        format!(
            "schema = 1\nurl = \"http://127.0.0.1:1\"\n[[flow.a.step]]\nget = \"/\"\n{more}\n\
             [load.a]\nclosed = {{ users = 1 }}\n"
        )
    };
    let range = [(Code::OutOfRange, 5)];
    let size = "size = { min = \"20MiB\" }";
    check(
        &text(&format!("check = {{ {size}, json = {{ \"$.a\" = 1 }} }}")),
        &range,
    );
    let extracting = "extract = { a = { regex = \"(a)\" } }";
    check(
        &text(&format!("check = {{ {size} }}\n{extracting}")),
        &range,
    );
    let most = "size = { min = \"16MiB\", max = \"17MiB\" }";
    check(
        &text(&format!("check = {{ {most}, body_contains = \"a\" }}")),
        &range,
    );
    // Only counted, or of the head.
    let extracting = "extract = { a = { header = \"etag\" } }";
    check(&text(&format!("check = {{ {size} }}\n{extracting}")), &[]);
}

#[test]
fn what_is_wrong_in_two_variants_is_said_of_both() {
    let listed = LOADED.replace("schema = 1", "schema = 1\nvariants = [\"x\", \"y\"]");
    let text = format!("{listed}open = {{ rate = \"100/s\" }}\n");
    check(&text, &[(Code::NoTarget, 5); 2]);
    let many: Vec<String> = (0..17).map(|number| format!("\"v{number}\"")).collect();
    let listed = format!("schema = 1\nvariants = [{}]\n[[bench]]\n", many.join(", "));
    check(&listed, &[(Code::OutOfRange, 2)]);
}

#[test]
fn a_number_that_json_lacks_can_not_be_demanded() {
    let demand = |value: &str| {
        let url = "schema = 1\nurl = \"http://127.0.0.1:1\"";
        let step = format!("get = \"/\"\ncheck = {{ json = {{ \"$.id\" = {value} }} }}");
        let text = LOADED
            .replace("schema = 1", url)
            .replace("get = \"/\"", &step);
        format!("{text}open = {{ rate = \"100/s\" }}\n")
    };
    check(&demand("9223372036854775807"), &[]);
    for lacked in [
        "18446744073709551615",
        "nan",
        "inf",
        "[1, [inf]]",
        "{ a = nan }",
    ] {
        check(&demand(lacked), &[(Code::BadBody, 5)]);
    }
}

/// A scenario with a target and one flow, and with these lines from line 5 on.
fn with(lines: &str) -> String {
    format!("schema = 1\nurl = \"http://127.0.0.1:1\"\n[[flow.f.step]]\nget = \"/\"\n{lines}\n")
}

/// It would be compared as it is written, and fail every request.
#[test]
fn a_check_holds_no_values() {
    let with_check = |check: &str| {
        let load = "[load.a]\nopen = { rate = \"1/s\" }";
        with(&format!("check = {{ {check} }}\n{load}"))
    };
    let check = |check: &str, expected: &[(Code, usize)]| {
        self::check(&with_check(check), expected);
    };
    let value = [(Code::UnknownValue, 5)];
    check("body_contains = '{\"id\":{n}'", &value);
    check(
        "body_contains = '{users.name} and {setup.id}'",
        &[(Code::UnknownValue, 5); 2],
    );
    check("body_matches = '^{users.name}$'", &value);
    check("body_matches = 'at {$now}'", &value);
    check("json = { \"$.id\" = \"{$env.ID}\" }", &value);
    check("json = { \"$.id\" = [{ a = \"{id}\" }] }", &value);
    check("headers = { location = \"/of/{id}\" }", &value);
    for literal in [
        "body_contains = '{\"a\": {\"b\": {}}} {4} { x }'",
        "body_contains = 'p {color: red} f() {return {{id}'",
        "body_matches = '^\\d{4}[{a}]\\p{Lu}\\x{e9}\\{id\\}$'",
        "json = { \"$.path\" = \"/of/{{id}\" }",
        "headers = { location = \"/of/{{id}\", etag = true }",
    ] {
        check(literal, &[]);
    }
    check("body_matches = 'a{4'", &[(Code::BadRegex, 5)]);

    let text = with_check("json = { \"$.path\" = \"/of/{{id}\" }, body_contains = '{return 1'");
    let scenario = scenario::parse(&text, Path::new("s.toml")).unwrap();
    let StepPlan::Request(request) = &scenario.plans[0].flows["f"].steps[0] else {
        panic!("{scenario:?}");
    };
    assert_eq!(request.check.json[0].1, "/of/{id}");
    assert_eq!(request.check.body_contains.as_deref(), Some("{return 1"));
    let problems = scenario::parse(
        &with_check("json = { \"$.id\" = \"{$env.ID}\" }"),
        Path::new("s.toml"),
    )
    .unwrap_err();
    assert!(problems[0].help.contains("tested by `if`"), "{problems:?}");
    assert_eq!(problems[0].column, 30);
}

#[test]
fn stages_are_of_one_kind_and_within_bounds() {
    let stage = |stage: &str| {
        with(&format!(
            "[load.a]\nopen = {{ stages = [{{ for = \"9s\", {stage} }}] }}"
        ))
    };
    check(&stage("from = \"1/s\", to = \"9/s\", steps = 2"), &[]);
    check(
        &stage("mean = \"9/s\", amplitude = \"9/s\", period = \"1s\""),
        &[],
    );
    let missing = [(Code::MissingKey, 6)];
    check(&stage("rate = \"1/s\", steps = 2"), &missing);
    check(&stage("from = \"1/s\""), &missing);
    check(&stage("mean = \"1/s\", amplitude = \"1/s\""), &missing);
    check(&stage("mean = \"1/s\""), &[(Code::MissingKey, 6); 2]);
    check(
        &stage("rate = \"1/s\", mean = \"1/s\", amplitude = \"1/s\", period = \"1s\""),
        &[(Code::ConflictingKeys, 6)],
    );
    let range = [(Code::OutOfRange, 6)];
    check(
        &stage("mean = \"9/s\", amplitude = \"10/s\", period = \"1s\""),
        &range,
    );
    check(
        &stage("mean = \"9000000/s\", amplitude = \"9000000/s\", period = \"1s\""),
        &range,
    );
    check(
        &stage("mean = \"9/s\", amplitude = \"1/s\", period = \"9ms\""),
        &range,
    );
    check(&stage("from = \"1/s\", to = \"9/s\", steps = 1"), &range);
    check(
        &stage("from = \"1/s\", to = \"99999999/s\", steps = 3"),
        &range,
    );
    check(&stage("from = \"0/s\", to = \"0/s\", steps = 3"), &range);
    let users = |stage: &str| {
        with(&format!(
            "[load.a]\nclosed = {{ stages = [{{ for = \"9s\", {stage} }}] }}"
        ))
    };
    check(&users("mean = 9, amplitude = 9, period = \"1s\""), &[]);
    check(
        &users("mean = 60000, amplitude = 60000, period = \"1s\""),
        &range,
    );
    let stairs = "{ for = \"1s\", from = \"1/s\", to = \"9/s\", steps = 1000 },".repeat(11);
    check(
        &with(&format!("[load.a]\nopen = {{ stages = [{stairs}] }}")),
        &range,
    );
}

#[test]
fn a_trace_is_a_column_of_seconds_that_fits_the_phases() {
    let folder = tempfile::tempdir().unwrap();
    let check = |trace: &str, keys: &str, expected: &[(Code, &str)]| {
        std::fs::write(folder.path().join("t.csv"), trace).unwrap();
        let text = with(&format!("[load.a]\nopen = {{ trace = \"t.csv\"{keys} }}"));
        let problems = scenario::parse(&text, &folder.path().join("s.toml")).err();
        let problems = problems.unwrap_or_default();
        assert_eq!(problems.len(), expected.len(), "{trace:?}: {problems:#?}");
        for (problem, (code, label)) in problems.iter().zip(expected) {
            assert_eq!(problem.code, *code, "{problem:#?}");
            assert!(problem.label.contains(label), "{problem:#?}");
            assert_eq!(problem.line, 6);
        }
    };
    check("5\n34.9\n", "", &[]);
    check("69\n", ", speed = 2", &[]);
    check("5\n4\n", "", &[(Code::BadFile, "row 2: 4s comes before")]);
    check("", "", &[(Code::BadFile, "no arrivals")]);
    check(
        "a,b\n1,2\n",
        "",
        &[(Code::BadFile, "row 1: it has 2 columns")],
    );
    check(
        "5\n35\n36\n",
        "",
        &[(Code::OutOfRange, "2 of its 3 arrivals")],
    );
    check("4\n", "", &[(Code::OutOfRange, "none of its arrivals")]);
    check("9\n", ", speed = 0", &[(Code::OutOfRange, "out of range")]);
    check(
        "9\n",
        ", arrivals = \"even\"",
        &[(Code::ConflictingKeys, "only one")],
    );
    let text = with("[load.a]\nopen = { rate = \"1/s\", speed = 2 }");
    self::check(&text, &[(Code::MissingKey, 6)]);
    let text = with("[load.a]\nopen = { trace = \"../t.csv\" }");
    self::check(&text, &[(Code::PathOutside, 6)]);
    let text = with(
        "[load.a]\nopen = { trace = \"nowhere.csv\" }\n[[gate]]\nmetric = \"load.a.p95\"\nmax = \"1s\"",
    );
    self::check(&text, &[(Code::MissingFile, 6)]);
}

#[test]
fn a_mix_and_its_shares_belong_together() {
    let two = "[load.a]\nweight = 5\n[load.b]\nweight = 1";
    let mix = |arrivals: &str| with(&format!("[mix]\n{arrivals}\n{two}"));
    check(&mix("open = { rate = \"6/s\" }"), &[]);
    check(&with(two), &[(Code::MissingKey, 6)]);
    let own = "[mix]\nopen = { rate = \"6/s\" }\n[load.a]\nopen = { rate = \"6/s\" }";
    check(&with(own), &[(Code::MissingKey, 5)]);
    check(
        &with(&format!(
            "[mix]\nopen = {{ rate = \"6/s\" }}\n{two}\nclosed = {{ users = 1 }}"
        )),
        &[(Code::ConflictingKeys, 11)],
    );
    check(&mix(""), &[(Code::MissingKey, 5)]);
    check(&mix("open = { rate = \"0/s\" }"), &[(Code::OutOfRange, 6)]);
    check(
        &mix("open = { rate = \"6/s\", max_in_flight = 1 }"),
        &[(Code::OutOfRange, 6)],
    );
    check(&mix("closed = { users = 2 }"), &[(Code::OutOfRange, 10)]);
    check(&mix("closed = { users = 4 }"), &[]);
}

#[test]
fn a_search_needs_limits_and_nothing_beside_it_that_changes() {
    let gate = |metric: &str, keys: &str| format!("[[gate]]\nmetric = \"{metric}\"\n{keys}\n");
    let mean = gate("load.a.mean", "max = \"1s\"");
    let search = |keys: &str, more: &str| {
        with(&format!(
            "[load.a]\ncapacity = {{ from = \"100/s\", {keys} }}\n{more}"
        ))
    };
    let to = "to = \"900/s\"";
    check(&search(to, &mean), &[]);
    // Without limits of its own there is nothing to search for.
    let unlimited = [(Code::MissingKey, 6)];
    check(&search(to, ""), &unlimited);
    check(
        &search(to, &gate("load.a.capacity", "min = \"500/s\"")),
        &unlimited,
    );
    check(&search(to, &gate("load.*.error_rate", "max = \"5%\"")), &[]);
    check(
        &search(to, &gate("load.a.p59x", "max = \"5s\"")),
        &[(Code::UnknownMetric, 8)],
    );

    let range = [(Code::OutOfRange, 6)];
    check(&search("to = \"100/s\"", &mean), &range);
    check(&search("to = \"99999999/s\"", &mean), &range);
    check(&search(&format!("{to}, within = \"60%\""), &mean), &range);
    check(&search(&format!("{to}, within = \"0.05%\""), &mean), &range);
    check(&search(&format!("{to}, hold = \"0s\""), &mean), &range);
    check(&search("within = \"5%\"", &mean), &unlimited);

    let beside = |load: &str| search(to, &format!("[load.b]\n{load}\n{mean}"));
    check(&beside("open = { rate = \"5/s\" }"), &[]);
    check(
        &beside("closed = { stages = [{ for = \"5s\", users = 3 }] }"),
        &[],
    );
    let changing = [(Code::ConflictingKeys, 8)];
    check(
        &beside("open = { stages = [{ for = \"5s\", from = \"1/s\", to = \"2/s\" }] }"),
        &changing,
    );
    check(
        &beside(
            "open = { stages = [{ for = \"5s\", mean = \"2/s\", amplitude = \"1/s\", period = \"1s\" }] }",
        ),
        &changing,
    );
    let both = format!(
        "capacity = {{ from = \"1/s\", {to} }}\n{}",
        gate("load.b.mean", "max = \"1s\"")
    );
    check(&beside(&both), &changing);

    let more = |gate: String| search(to, &format!("{mean}{gate}"));
    // From 100/s on, p99 would need rates to be held longer than anybody guesses.
    check(
        &more(gate("load.a.p99", "max = \"1s\"")),
        &[(Code::NotMeasurable, 11)],
    );
    check(
        &more(gate("load.a.p95", "regress = \"5%\"")),
        &[(Code::UnknownMetric, 12)],
    );
    check(
        &more(gate("load.a.rate", "min = \"5/s\"")),
        &[(Code::UnknownMetric, 11)],
    );
    check(
        &more(gate("load.a.p95", "max = \"1s\"\nabort = true")),
        &[(Code::OutOfRange, 13)],
    );
    check(&more(gate("load.a.capacity", "regress = \"5%\"")), &[]);

    let fault = "[[process]]\nname = \"p\"\nstart = \"p\"\n[[fault]]\nat = \"6s\"\nkill = \"p\"\n";
    check(
        &search(to, &format!("{fault}{mean}")),
        &[(Code::ConflictingKeys, 10)],
    );
}

#[test]
fn a_search_needs_rows_for_all_of_its_rates() {
    let folder = tempfile::tempdir().unwrap();
    let check = |rows: usize, order: &str, more: &str, expected: Option<&str>| {
        let feed = format!("id\n{}", "1\n".repeat(rows));
        std::fs::write(folder.path().join("rows.csv"), feed).unwrap();
        let text = format!(
            "schema = 1\nurl = \"http://127.0.0.1:1\"\n\
             [feed.rows]\nfile = \"rows.csv\"\norder = \"{order}\"\n\
             [[flow.f.step]]\nget = \"/{{rows.id}}\"\n[[flow.g.step]]\nget = \"/\"\n\
             [phases]\nwarmup = \"500ms\"\ncooldown = \"500ms\"\n\
             [load.a]\nflow = \"f\"\ncapacity = {{ from = \"10/s\", to = \"40/s\", hold = \"1s\" }}\n\
             [[gate]]\nmetric = \"load.a.mean\"\nmax = \"1s\"\n{more}"
        );
        let problems = scenario::parse(&text, &folder.path().join("s.toml")).err();
        let problems = problems.unwrap_or_default();
        let found = problems
            .iter()
            .map(|one| (one.code, one.line, one.message.as_str()));
        let found: Vec<_> = found.collect();
        let expected = expected.map(|message| (Code::UniqueFeed, 15, message));
        assert_eq!(found, Vec::from_iter(expected), "{text}");
    };
    // Two seconds at 10, 20, 40 and once more at 40 a second.
    check(220, "unique", "", None);
    let few =
        "feed `rows` has 219 rows, and a search up to 40/s draws about 220 of them, each once";
    check(219, "unique", "", Some(few));
    check(219, "shuffled", "", None);
    // Two loads take turns, and the other one goes on all the time.
    let other =
        |flow: &str| format!("[load.b]\nflow = \"{flow}\"\nopen = {{ rate = \"100/s\" }}\n");
    let few =
        "feed `rows` has 1599 rows, and a search up to 40/s draws about 1600 of them, each once";
    check(1599, "unique", &other("f"), Some(few));
    check(1600, "unique", &other("f"), None);
    check(220, "unique", &other("g"), None);
}

/// Each rate is measured for its hold, and so is what arrives beside it.
#[test]
fn a_hold_stands_in_the_place_of_the_measure_phase() {
    let text = |hold: &str, more: &str| {
        with(&format!(
            "[load.a]\ncapacity = {{ from = \"100/s\", to = \"900/s\"{hold} }}\n\
             [load.b]\nopen = {{ rate = \"50/s\" }}\n\
             [[gate]]\nmetric = \"load.a.mean\"\nmax = \"1s\"\n\
             [[gate]]\nmetric = \"load.b.p90\"\nmax = \"1s\"\n{more}"
        ))
    };
    check(&text("", ""), &[]);
    let held = |text: &str| scenario::parse(text, Path::new("s.toml")).unwrap().plans[0].phases;
    // 100 of 1000 requests lie beyond p90.
    assert!(held(&text("", "")).measure_ns >= 20_000_000_000);
    let too_short = text(", hold = \"10s\"", "");
    check(&too_short, &[(Code::NotMeasurable, 13)]);
    let problems = scenario::parse(&too_short, Path::new("s.toml")).unwrap_err();
    assert!(
        problems[0].help.contains("`hold` each rate"),
        "{problems:#?}"
    );
    let measured = text("", "[phases]\nmeasure = \"1h\"");
    check(&measured, &[(Code::NoEffect, 16)]);
}

#[test]
fn a_limit_ends_no_run_that_is_over_before() {
    let text = |measure: &str| {
        with(&format!(
            "[load.a]\nopen = {{ rate = \"100/s\" }}\n[phases]\nmeasure = \"{measure}\"\n\
             [[gate]]\nmetric = \"load.a.error_rate\"\nmax = \"5%\"\nabort = true\n"
        ))
    };
    check(&text("6s"), &[]);
    check(&text("5s"), &[(Code::NoEffect, 12)]);
}

/// What a flow says of all its requests, a step may not be able to keep.
#[test]
fn the_pause_before_a_further_attempt_is_held_against_the_timeout_of_each_step() {
    let text = |flow: &str, step: &str| {
        format!(
            "schema = 1\nurl = \"http://127.0.0.1:1\"\n[flow.f]\n{flow}\n[[flow.f.step]]\nget = \"/\"\n\
             {step}\n[load.a]\nopen = {{ rate = \"1/s\" }}\n"
        )
    };
    let retry = |wait: &str| format!("retry = {{ times = 2, wait = \"{wait}\" }}");
    check(&text(&retry("200ms"), ""), &[]);
    check(
        &text(&retry("200ms"), "timeout = \"100ms\""),
        &[(Code::OutOfRange, 4)],
    );
    check(&text(&retry("40s"), "timeout = \"2min\""), &[]);
    check(&text(&retry("40s"), ""), &[(Code::OutOfRange, 4)]);
    check(
        &text("timeout = \"1s\"", &retry("1s")),
        &[(Code::OutOfRange, 7)],
    );
}

#[test]
fn a_flow_can_t_say_what_the_handshake_of_a_web_socket_says() {
    let text = |header: &str, step: &str| {
        format!(
            "schema = 1\nurl = \"http://127.0.0.1:1\"\n[flow.f]\nheaders = {{ {header} = \"8\" }}\n\
             [[flow.f.step]]\n{step} = \"/\"\n[load.a]\nopen = {{ rate = \"1/s\" }}\n"
        )
    };
    let bad = [(Code::BadHeader, 4)];
    check(&text("Sec-WebSocket-Version", "websocket"), &bad);
    check(&text("sec-websocket-extensions", "websocket"), &bad);
    check(&text("sec-websocket-protocol", "websocket"), &[]);
    check(&text("sec-websocket-version", "get"), &[]);
}

#[test]
fn templates_together_have_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let text = LOADED.replace("schema = 1", "schema = 1\nurl = \"http://127.0.0.1:1\"")
        .replace("get = \"/\"", "post = \"/\"\ntemplate = \"a.txt\"\n[[flow.f.step]]\npost = \"/\"\ntemplate = \"a.txt\"")
        + "open = { rate = \"1/s\" }\n";
    let check = |contents: &str, expected: &[(Code, usize)]| {
        std::fs::write(folder.path().join("a.txt"), contents).unwrap();
        let problems = scenario::parse(&text, &folder.path().join("s.toml")).err();
        let problems = problems.unwrap_or_default();
        let found: Vec<_> = problems.iter().map(|one| (one.code, one.line)).collect();
        assert_eq!(found, expected, "{problems:#?}");
    };
    check(&"a".repeat(4 << 20), &[]);
    check(&"a".repeat((4 << 20) + 1), &[(Code::OutOfRange, 8)]);
    check(&"{$now}".repeat(50_000), &[]);
    check(&"{$now}".repeat(50_001), &[(Code::OutOfRange, 8)]);
}

#[test]
fn only_a_limit_on_a_load_ends_a_run() {
    let gate = |keys: &str| {
        with(&format!(
            "[load.a]\nclosed = {{ users = 1 }}\n[[gate]]\n{keys}"
        ))
    };
    check(
        &gate("metric = \"load.a.error_rate\"\nmax = \"5%\"\nabort = true"),
        &[],
    );
    check(
        &gate("metric = \"load.a.p95\"\nmax = \"5s\"\nregress = \"5%\"\nabort = true"),
        &[],
    );
    check(
        &gate("metric = \"load.a.p95\"\nregress = \"5%\"\nabort = true"),
        &[(Code::MissingKey, 10)],
    );
    let process = "metric = \"process.web.rss_max\"\nmax = \"1GB\"\nabort = true\n\
                   [[process]]\nname = \"web\"\nstart = \"web {port}\"";
    check(&gate(process), &[(Code::OutOfRange, 10)]);
    let pattern = "metric = \"*max\"\nmin = \"1ns\"\nabort = true";
    check(&gate(pattern), &[]);
    check(
        &gate("metric = \"load.a.p95\"\nmax = \"5s\"\nabort = false"),
        &[],
    );
}

/// A scenario with these steps in its only flow, which begin on line 3.
fn steps(steps: &str) -> String {
    format!("schema = 1\nurl = \"http://127.0.0.1:1\"\n{steps}[load.a]\nclosed = {{ users = 1 }}\n")
}

#[test]
fn a_step_is_of_one_kind() {
    let check = |text: &str, expected: &[(Code, usize)]| check(&steps(text), expected);
    let get = "[[flow.f.step]]\nget = \"/\"\n";
    let missing = |line| [(Code::MissingKey, line)];
    check(get, &[]);
    check(
        &format!("{get}[[flow.f.step]]\nname = \"x\"\n"),
        &missing(5),
    );
    check(
        &format!("{get}group = \"g\"\n"),
        &[(Code::ConflictingKeys, 5)],
    );
    check(
        &format!("{get}send = \"x\"\n"),
        &[(Code::ConflictingKeys, 5)],
    );
    // One that lacks its kind is not told of everything that goes with it.
    check(
        "[[flow.f.step]]\njson = 'x'\ncheck = { status = 200 }\n",
        &[(Code::MissingKey, 3), (Code::BadBody, 4)],
    );
    check(
        "[[flow.f.step]]\ngte = \"/\"\njson = '1'\n",
        &[(Code::UnknownKey, 4)],
    );
    check(&format!("{get}step = [{{ get = \"/\" }}]\n"), &missing(5));
    check(
        &format!("{get}until = {{ value = \"{{$uuid}}\", is = \"a\" }}\n"),
        &missing(5),
    );
    check(&format!("{get}else = [{{ get = \"/\" }}]\n"), &missing(5));
    // `else` says what is missing: no other kind is asked for as well.
    let alone = "[[flow.f.step]]\nelse = [{ get = \"/\" }]\n";
    check(&format!("{get}{alone}"), &missing(6));
    check(&format!("{get}[[flow.f.step]]\nrepeat = 2\n"), &missing(6));
    check(&format!("{get}[[flow.f.step]]\nthink = \"1s\"\n"), &[]);
    check("[[flow.f.step]]\nthink = \"1s\"\n", &missing(3));
    let think = |think: &str| format!("{get}think = {{ {think} }}\n");
    check(
        &think("mean = \"2s\", deviation = \"1s\", min = \"1s\""),
        &[(Code::ConflictingKeys, 5)],
    );
    check(&think("min = \"1s\""), &missing(5));
    check(&think("min = \"1s\", max = \"2s\""), &[]);
}

#[test]
fn a_condition_is_one_test_of_one_text() {
    let check = |condition: &str, expected: &[Code]| {
        let text = steps(&format!(
            "[[flow.f.step]]\nif = {condition}\nstep = [{{ get = \"/\" }}]\n"
        ));
        let expected: Vec<_> = expected.iter().map(|code| (*code, 4)).collect();
        check(&text, &expected);
    };
    check(r#"{ value = "{$uuid}", is = "a" }"#, &[]);
    check(r#"{ value = "a", is_not = "{$uuid}" }"#, &[]);
    check(r#"{ value = "{$uuid}", above = 1 }"#, &[]);
    check(r#"{ chance = 0.5 }"#, &[]);
    check(r#"{ chance = "100%" }"#, &[]);
    check(r#"{}"#, &[Code::MissingKey]);
    check(r#"{ value = "{$uuid}" }"#, &[Code::MissingKey]);
    check(r#"{ is = "a" }"#, &[Code::MissingKey]);
    check(
        r#"{ value = "{$uuid}", is = "a", above = 1 }"#,
        &[Code::ConflictingKeys],
    );
    check(
        r#"{ value = "{$uuid}", chance = 0.5 }"#,
        &[Code::ConflictingKeys],
    );
    check(r#"{ chance = 0 }"#, &[Code::OutOfRange]);
    check(r#"{ chance = "101%" }"#, &[Code::OutOfRange]);
    check(r#"{ value = "a", above = 1 }"#, &[Code::OutOfRange]);
    check(r#"{ value = "{$uuid}", above = inf }"#, &[Code::OutOfRange]);
    check(
        r#"{ value = "{nothing}", is = "a" }"#,
        &[Code::UnknownValue],
    );
}

/// A stream is looked for on every way through a flow, and missed only where none leads to it.
#[test]
fn a_stream_is_opened_before_it_is_used() {
    let check = |flow: &str, expected: &[usize]| {
        let open = "{ websocket = \"/\" }";
        let events = "{ events = \"/\" }";
        let send = "{ send = \"x\" }";
        let close = "{ close = true }";
        let flow = flow
            .replace("OPEN", open)
            .replace("EVENTS", events)
            .replace("SEND", send)
            .replace("CLOSE", close)
            .replace("EXPECT", "{ expect = {} }")
            .replace("CHANCE", "if = { chance = 0.5 }");
        let text = steps(&format!("[flow.f]\nstep = [\n{flow}\n]\n"));
        let expected: Vec<_> = expected
            .iter()
            .map(|line| (Code::StreamOrder, line + 4))
            .collect();
        check(&text, &expected);
    };
    check("OPEN,\nSEND,\nEXPECT,\nCLOSE", &[]);
    check("EVENTS,\nEXPECT,\nSEND", &[3]);
    check("{ get = \"/\" },\nSEND", &[2]);
    check("OPEN,\nCLOSE,\nEXPECT,\nCLOSE", &[3, 4]);
    check("OPEN,\nOPEN", &[2]);
    check("OPEN,\nCLOSE,\nEVENTS", &[]);
    // It may be open behind a condition, and may not be.
    check("{ CHANCE, step = [OPEN] },\nSEND,\nOPEN", &[]);
    check("{ CHANCE, step = [OPEN], else = [OPEN] },\nOPEN", &[2]);
    check("{ CHANCE, step = [OPEN], else = [\nSEND] }", &[2]);
    check(
        "{ choice = [{ weight = 1, step = [OPEN] },\n{ weight = 1, step = [SEND] }] },\nCLOSE",
        &[2],
    );
    // The second pass begins where the first one ends.
    check("{ repeat = 2, step = [\nOPEN\n] }", &[2]);
    check("{ repeat = 1, step = [\nOPEN\n] }", &[]);
    check(
        "{ repeat = { min = 1, max = 2 }, step = [\nOPEN,\nCLOSE] }",
        &[],
    );
    check("{ group = \"g\", step = [OPEN] },\nSEND", &[]);
}

/// The parser of TOML bounds neither dotted keys within tables nor tables within dotted keys.
#[test]
fn json_is_only_so_deep() {
    let nested = |levels: usize| {
        let path = ["a"; 30].join(".");
        let inner =
            (0..levels / 30).fold("1".to_owned(), |inner, _| format!("{{ {path} = {inner} }}"));
        (0..levels % 30).fold(inner, |inner, _| format!("[{inner}]"))
    };
    let body = |levels| {
        steps(&format!(
            "[[flow.f.step]]\npost = \"/\"\njson = {}\n",
            nested(levels)
        ))
    };
    let demand = |levels| {
        let value = nested(levels);
        steps(&format!(
            "[[flow.f.step]]\nget = \"/\"\ncheck.json.\"$\" = {value}\n"
        ))
    };
    check(&body(64), &[]);
    check(&demand(64), &[]);
    for levels in [65, 1500] {
        check(&body(levels), &[(Code::BadBody, 5)]);
        check(&demand(levels), &[(Code::BadBody, 5)]);
    }
}

#[test]
fn blocks_and_steps_are_bounded() {
    let nested = |depth: usize| {
        let inner = (0..depth).fold("{ get = \"/\" }".to_owned(), |inner, _| {
            format!("{{ repeat = 1, step = [{inner}] }}")
        });
        steps(&format!("[flow.f]\nstep = [{inner}]\n"))
    };
    check(&nested(8), &[]);
    check(&nested(9), &[(Code::OutOfRange, 4)]);
    check(&nested(30), &[(Code::OutOfRange, 4)]);
    let many = |steps_of_group: usize, more: usize| {
        let get = "{ get = \"/\" },\n";
        steps(&format!(
            "[flow.f]\nstep = [{{ group = \"g\", step = [\n{}] }},\n{}]\n",
            get.repeat(steps_of_group),
            get.repeat(more)
        ))
    };
    check(&many(500, 499), &[]);
    check(&many(500, 500), &[(Code::OutOfRange, 4 + 500 + 1 + 500)]);
    check(&many(2000, 500), &[(Code::OutOfRange, 4 + 1000)]);
    let loops = |counts: &[u32]| {
        let inner = counts
            .iter()
            .fold("{ get = \"/\" }".to_owned(), |inner, count| {
                format!("{{ repeat = {count}, step = [{inner}] }}")
            });
        steps(&format!("[flow.f]\nstep = [{inner}]\n"))
    };
    check(&loops(&[1000, 1000]), &[]);
    // Said of the loop that makes it too many, and not of those around it.
    check(
        &loops(&[1000, 1001, 10_000, 10_000]),
        &[(Code::OutOfRange, 4)],
    );
}

#[test]
fn what_a_setup_extracts_is_known_behind_it() {
    let base = "[[setup.step]]\nget = \"/\"\nextract.id.json = \"$.id\"\n";
    let flow = "[[flow.f.step]]\nget = \"/{setup.id}\"\n";
    let teardown = "[[teardown.step]]\nget = \"/{setup.id}\"\n";
    check(&steps(&format!("{teardown}{flow}{base}")), &[]);
    check(&steps(flow), &[(Code::UnknownValue, 4)]);
    let without_load = format!("schema = 1\n[[bench]]\n{base}{teardown}");
    check(
        &without_load,
        &[(Code::MissingKey, 3), (Code::MissingKey, 6)],
    );
}

#[test]
fn how_a_target_is_reached_is_checked_as_far_as_it_is_known() {
    let check = |http: &str, expected: &[(Code, usize)]| {
        let text = format!(
            "schema = 1\nurl = \"https://127.0.0.1:1\"\n[http]\n{http}\n[[flow.f.step]]\nget = \"/\"\n\
             [load.a]\nclosed = {{ users = 1 }}\n"
        );
        let path = Path::new("tests/scenarios/s.toml");
        let problems = scenario::parse(&text, path).err().unwrap_or_default();
        let found: Vec<_> = problems.iter().map(|one| (one.code, one.line)).collect();
        assert_eq!(found, expected, "{http}: {problems:#?}");
    };
    let proxy = |url: &str, is_right: bool| {
        let wrong = [(Code::BadUrl, 4)];
        let expected = if is_right { &[][..] } else { &wrong[..] };
        check(&format!("proxy = \"{url}\""), expected);
    };
    proxy("http://ada:secret@proxy.example/", true);
    for wrong in [
        "",
        "127.0.0.1:3128",
        "socks5://127.0.0.1",
        "http://",
        "http://a/b",
        "http://a?b",
    ] {
        proxy(wrong, false);
    }
    check("proxy = \"http://{$now}\"", &[(Code::UnknownValue, 4)]);
    check(
        "certificate = \"certs/client.pem\"",
        &[(Code::MissingKey, 4)],
    );
    check("key = \"certs/client.key\"", &[(Code::MissingKey, 4)]);
    check("ca = \"certs/client.key\"", &[(Code::BadFile, 4)]);
    check("ca = \"certs\"", &[(Code::MissingFile, 4)]);
    check("server_name = \"a b\"", &[(Code::BadUrl, 4)]);
    check("server_name = \"127.0.0.1\"\ninsecure = true", &[]);
    check("version = 2", &[(Code::WrongType, 4)]);
    check("version = \"3\"", &[(Code::OutOfRange, 4)]);
}

/// One mistake in a file of a template is shown with its place there, and causes no other.
#[test]
fn a_mistake_in_a_template_is_found_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let labels = |body: &str| -> Vec<String> {
        std::fs::write(folder.path().join("body.json"), body).unwrap();
        let text = steps("[[flow.f.step]]\npost = \"/\"\ntemplate = \"body.json\"\n");
        let problems = scenario::parse(&text, &folder.path().join("s.toml")).err();
        let problems = problems.unwrap_or_default();
        assert!(
            problems.iter().all(|problem| problem.line == 5),
            "{problems:?}"
        );
        problems.into_iter().map(|problem| problem.label).collect()
    };
    assert!(labels("{ \"id\": {$counter} }\n").is_empty());
    assert_eq!(
        labels("{\n  \"a\": {nothing},\n  \"é\": \"{$uuid\"\n}"),
        [
            "line 2, column 8 of it: nothing extracts this",
            "line 3, column 9 of it: opened here",
        ]
    );
    let [label] = labels("{\n  \"a\": {$counter}\n  \"b\": 1\n}")
        .try_into()
        .unwrap();
    assert!(label.contains("line 3"), "{label}");
    let many = format!("[{}]", "{nothing},\n".repeat(10_000));
    assert_eq!(labels(&many).len(), 20);
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
    insta::assert_snapshot!("fifteen", diagnostics::render(&rejection, PLAIN));
    insta::assert_json_snapshot!("fifteen-json", diagnostics::to_json(&rejection));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let rejection = rejected("tests/scenarios/fifteen.toml");
    let coloured = diagnostics::render(&rejection, COLOURED);
    assert!(coloured.contains("\u{1b}["));
    let escapes = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    assert_eq!(
        escapes.replace_all(&coloured, ""),
        diagnostics::render(&rejection, PLAIN)
    );
}

/// The marks are below what they mean also where each byte of a name is a question mark.
#[test]
fn only_ascii_is_drawn_where_nothing_else_can_be_shown() {
    let text = "schema = 1\nname = \"s\"\n\"größe→\" = 1\n";
    let rejection = Rejection {
        file: PathBuf::from("größe.toml"),
        text: text.to_owned(),
        problems: scenario::parse(text, Path::new("größe.toml")).unwrap_err(),
    };
    let style = TerminalStyle {
        ascii: true,
        ..PLAIN
    };
    let drawn = diagnostics::render(&rejection, style);
    assert!(drawn.is_ascii(), "{drawn}");
    insta::assert_snapshot!("ascii", drawn);
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
        let drawn = diagnostics::render(&rejection, PLAIN);
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
    let drawn = diagnostics::render(&rejection, PLAIN);
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
