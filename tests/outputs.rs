//! The forms of a verdict from outside: what stands on stdout, what is written beside it, and what is made of a
//! stranger's artifact.

mod support;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::Tested;
use support::project::{BUSY, Project, PythonServer};

/// A commit that is nobody's.
const SHA: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";

#[test]
fn every_format_is_written_beside_the_answer() -> Tested {
    let project = compared("shop.p95", 1.2)?;
    let (_, human, _) = project.output(
        &[
            &COMPARE[..],
            &[
                "--write",
                "json=out/deep/verdicts.jsonl",
                "--write",
                "junit=out/junit.xml",
                "--write",
                "markdown=comment.md",
                "--write",
                "sarif=plimsoll.sarif",
                "--write",
                "github=summary.md",
            ],
        ]
        .concat(),
        10,
    )?;
    assert!(human.starts_with("[FAIL]"), "{human}");
    let read = |file: &str| fs::read_to_string(project.path().join(file));
    let said = "shop.p95 is 20.0\u{202f}% slower than the base";
    assert!(human.contains(said), "{human}");
    for file in [
        "out/junit.xml",
        "comment.md",
        "plimsoll.sarif",
        "summary.md",
    ] {
        assert!(read(file)?.contains(said), "{file}");
    }
    let verdicts = read("out/deep/verdicts.jsonl")?;
    let (_, json, _) = project.output(&[&COMPARE[..], &["--format", "json"]].concat(), 10)?;
    assert_eq!(verdicts, json);
    // On stdout each is what it is as a file.
    for (format, file) in [
        ("junit", "out/junit.xml"),
        ("markdown", "comment.md"),
        ("sarif", "plimsoll.sarif"),
    ] {
        let (_, stdout, _) = project.output(&[&COMPARE[..], &["--format", format]].concat(), 10)?;
        let (stdout, file) = (without_time(&stdout), without_time(&read(file)?));
        assert_eq!(stdout, file, "{format}");
    }
    Ok(())
}

/// Whoever can't write one of its files has lost nothing else.
#[test]
fn a_file_that_can_not_be_written_takes_nothing_with_it() -> Tested {
    let project = compared("shop.p95", 1.2)?;
    project.write("in_the_way", "")?;
    let args = [
        &COMPARE[..],
        &[
            "--write",
            "junit=in_the_way/junit.xml",
            "--write",
            "json=verdicts.jsonl",
        ],
    ];
    let (_, human, stderr) = project.output(&args.concat(), 1)?;
    assert!(human.starts_with("[FAIL]"), "{human}");
    assert!(stderr.contains("in_the_way/junit.xml"), "{stderr}");
    let verdict: Value =
        serde_json::from_str(&fs::read_to_string(project.path().join("verdicts.jsonl"))?)?;
    assert_eq!(verdict["verdict"], "fail");
    assert_eq!(project.files(".", "xml")?.len(), 0);
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() -> Tested {
    let project = compared("shop.p95", 1.0)?;
    fs::create_dir(project.path().join("folder"))?;
    let check = |args: &[&str], expected: &str| -> Tested {
        let (_, stdout, stderr) = project.output(args, 2)?;
        assert_eq!(stdout, "", "{args:?}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
        Ok(())
    };
    for format in ["github", "junit", "markdown", "sarif"] {
        let no_form = format!("has no form {format}");
        for command in [
            "list",
            "check",
            "doctor",
            "schema",
            "export",
            "history",
            "calibrate",
        ] {
            check(&[command, "--format", format], &no_form)?;
        }
        check(&["baseline", "show", "--format", format], &no_form)?;
    }
    check(
        &["comment", "a", "--head", SHA, "--format", "json"],
        "leave --format out",
    )?;
    let write = |written: &[&'static str], expected: &str| -> Tested {
        let options = written.iter().flat_map(|it| ["--write", *it]);
        check(
            &[&COMPARE[..], &Vec::from_iter(options)[..]].concat(),
            expected,
        )
    };
    write(&["human=a"], "FORMAT=FILE")?;
    write(&["junit=-"], "--format")?;
    write(&["junit=a", "json=a"], "written twice")?;
    write(&["junit=folder"], "no regular file")?;
    write(&["junit=/dev/null"], "no regular file")?;
    check(
        &[&COMPARE[..], &["--comment-name", "a-->"]].concat(),
        "at most 64",
    )?;
    check(
        &[&COMPARE[..], &["--report-url", "javascript:alert(1)"]].concat(),
        "http or https",
    )?;
    for sha in ["main", "1a2b3c4d5e6f"] {
        check(&["comment", "a", "--head", sha], "hexadecimal digits")?;
    }
    Ok(())
}

/// Only what is ours reaches the runner as a command, whatever a metric is called.
#[test]
fn a_step_on_github_reads_our_commands_alone() -> Tested {
    let hostile = "::error::x ##[add-mask]a%0A::warning::b\n::add-mask::c";
    for (factor, code, kind) in [(1.2, 10, "error"), (1.0, 0, "")] {
        let project = compared(hostile, factor)?;
        let (_, stdout, _) =
            project.output(&[&COMPARE[..], &["--format", "github"]].concat(), code)?;
        let commands = commands(&stdout);
        let kinds: Vec<&str> = commands.iter().map(|(name, _)| &**name).collect();
        let ours = kinds
            .iter()
            .all(|kind| ["error", "warning", "notice"].contains(kind));
        assert!(ours, "{kinds:?} in {stdout}");
        if !kind.is_empty() {
            assert_eq!(kinds[0], kind);
            assert!(commands[0].1.contains("slower than the base"), "{stdout}");
            assert!(commands[0].1.contains("a%250A::warning::b"), "{stdout}");
        }
        assert!(stdout.contains("[FAIL]") || code == 0, "{stdout}");
        assert!(!stdout.contains('\u{1b}'), "{stdout}");
    }
    // What is said on stderr is no command either, nor is anything where no form was asked for.
    let project = Project::new()?;
    let name = "a\n::error::b";
    let (_, _, stderr) = project.output(&["report", name, "--format", "github"], 2)?;
    assert_eq!(commands(&stderr), [], "{stderr}");
    assert!(stderr.contains("::error::b"), "{stderr}");
    let in_a_step = project.with_env("GITHUB_ACTIONS", "true");
    let (_, _, stderr) = in_a_step.output(&["report", name], 2)?;
    assert_eq!(commands(&stderr), [], "{stderr}");
    let in_a_step = compared(hostile, 1.2)?.with_env("GITHUB_ACTIONS", "true");
    let (_, stdout, stderr) = in_a_step.output(&COMPARE, 10)?;
    assert!(stdout.contains("[FAIL]"), "{stdout}");
    assert_eq!(commands(&stdout), [], "{stdout}");
    assert_eq!(commands(&stderr), [], "{stderr}");
    Ok(())
}

/// The summary of a job is one file of a step, to which others may have written.
#[test]
fn the_summary_of_the_job_is_added_to_within_its_limit() -> Tested {
    let project = compared("shop.p95", 1.2)?;
    let path = project.path().join("summary.md");
    let on_github = project.with_env("GITHUB_STEP_SUMMARY", path.to_str().ok_or("UTF-8")?);
    let args = [&COMPARE[..], &["--format", "github"]].concat();
    fs::write(&path, "# Before\n")?;
    on_github.output(&args, 10)?;
    on_github.output(&args, 10)?;
    let text = fs::read_to_string(&path)?;
    assert!(text.starts_with("# Before\n"), "{text}");
    assert_eq!(text.matches("### FAIL: `comparison`").count(), 2, "{text}");
    assert!(!text.contains("<!--"), "{text}");
    // Another form says nothing there.
    on_github.output(&COMPARE, 10)?;
    assert_eq!(fs::read_to_string(&path)?, text);

    // A table of a thousand rows takes what there is, and one byte too few for anything takes nothing.
    let names: Vec<String> = (0..1000).map(|at| format!("shop.{at}.p95")).collect();
    let project = compared_all(&names, 1.2)?;
    let on_github = project.with_env("GITHUB_STEP_SUMMARY", path.to_str().ok_or("UTF-8")?);
    fs::write(&path, " ".repeat(950_000))?;
    on_github.output(&args, 10)?;
    let text = fs::read_to_string(&path)?;
    assert!(
        (990_000..=1_000_000).contains(&text.len()),
        "{}",
        text.len()
    );
    assert!(text.contains("of 1,000 rows"), "{text}");
    fs::write(&path, " ".repeat(999_990))?;
    let (_, _, stderr) = on_github.output(&args, 10)?;
    assert!(
        stderr.contains("the summary of the job is full"),
        "{stderr}"
    );
    assert_eq!(fs::metadata(&path)?.len(), 999_990);
    Ok(())
}

/// Scenarios of one call are together in every file, also those that came to nothing.
#[test]
fn every_file_holds_every_scenario() -> Tested {
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    let scenario = |name: &str, process: &str, gate: &str| {
        format!(
            "schema = 1\nname = \"{name}\"\n{process}\n[[flow.browse.step]]\nget = \"/\"\n[load.browse]\n\
             closed = {{ users = 2 }}\n{BUSY}\n[phases]\nwarmup = \"0s\"\nmeasure = \"1s\"\n\
             [[gate]]\nmetric = \"load.browse.p50\"\n{gate}\n"
        )
    };
    let url = format!("url = \"{}\"", server.url);
    let broken = "[[process]]\nname = \"web\"\nbuild = \"sh -c 'echo ::error::x; exit 3'\"\nstart = \"sh {port}\"\ntarget = true";
    project.write("scenarios/a.toml", &scenario("fine", &url, "max = \"5s\""))?;
    project.write("scenarios/b.toml", &scenario("slow", &url, "max = \"1us\""))?;
    project.write(
        "scenarios/c.toml",
        &scenario("broken", broken, "max = \"5s\""),
    )?;
    let workspace = project.path().to_str().ok_or("UTF-8")?.to_owned();
    let project = project.with_env("GITHUB_WORKSPACE", &workspace);
    let args = [
        "run",
        "--revision",
        SHA,
        "--format",
        "github",
        "--write",
        "json=verdicts.jsonl",
        "--write",
        "junit=junit.xml",
        "--write",
        "markdown=comment.md",
        "--write",
        "sarif=plimsoll.sarif",
    ];
    let (_, stdout, stderr) = project.output(&args, 1)?;
    assert_eq!(commands(&stderr), [], "{stderr}");
    let read = |file: &str| fs::read_to_string(project.path().join(file));

    let (first, rest) = read("verdicts.jsonl")?
        .split_once('\n')
        .map(|(first, rest)| (first.to_owned(), rest.to_owned()))
        .ok_or("one line")?;
    let (fine, slow): (Value, Value) =
        (serde_json::from_str(&first)?, serde_json::from_str(&rest)?);
    assert_eq!(
        (&fine["scenario"], &slow["scenario"]),
        (&json!("fine"), &json!("slow"))
    );
    assert_eq!(slow["head_revision"], SHA);

    let junit = read("junit.xml")?;
    for suite in ["fine", "slow", "broken"] {
        assert!(
            junit.contains(&format!("<testsuite name=\"{suite}\"")),
            "{junit}"
        );
    }
    assert_eq!(junit.matches("<failure ").count(), 1, "{junit}");
    assert_eq!(junit.matches("<error ").count(), 1, "{junit}");
    let sarif: Value = serde_json::from_str(&read("plimsoll.sarif")?)?;
    let run = &sarif["runs"][0];
    assert_eq!(run["results"].as_array().map(Vec::len), Some(1), "{run:#}");
    let place = &run["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "scenarios/b.toml");
    let text = read("scenarios/b.toml")?;
    let line = text.lines().position(|line| line.starts_with("metric"));
    assert_eq!(
        place["region"]["startLine"].as_u64(),
        line.map(|at| at as u64 + 1)
    );
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let comment = read("comment.md")?;
    let heads: Vec<&str> = comment
        .lines()
        .filter(|line| line.starts_with("### "))
        .collect();
    assert_eq!(
        heads,
        [
            "### NOT JUDGED: `broken`",
            "### FAIL: `slow`",
            "### PASS: `fine`"
        ]
    );

    let commands = commands(&stdout);
    assert_eq!(commands.len(), 2, "{stdout}");
    assert!(commands[0].1.contains("building broken"), "{stdout}");
    let line = line.ok_or("no gate")? + 1;
    let at = format!("::error file=scenarios/b.toml,line={line},title=slow%3A limit broken::");
    assert!(stdout.contains(&at), "{stdout}");

    // What a stranger's artifact would hold makes the same comment, but for what came to no verdict.
    let own = ["comment", "verdicts.jsonl", "--head", SHA];
    let (_, again, _) = project.output(&own, 0)?;
    assert!(again.starts_with("<!-- plimsoll:gate -->\n"), "{again}");
    let section = |text: &str| text.split_once("### FAIL").map(|(_, rest)| rest.to_owned());
    assert_eq!(section(&again), section(&comment));
    Ok(())
}

#[test]
fn a_comment_is_of_the_head_it_is_for() -> Tested {
    let project = compared("shop.p95", 1.2)?;
    let (_, json, _) = project.output(&[&COMPARE[..], &["--format", "json"]].concat(), 10)?;
    let verdict: Value = serde_json::from_str(&json)?;
    let check = |revision: Value, expected: Option<&str>| -> Tested {
        let mut verdict = verdict.clone();
        verdict["head_revision"] = revision.clone();
        // The others of the same artifact don't vouch for it.
        project.write("verdicts.jsonl", &format!("{}{verdict}\n", of(&json, SHA)?))?;
        let args = [
            "comment",
            "verdicts.jsonl",
            "--head",
            SHA,
            "--output",
            "out/comment.md",
        ];
        let written = project.path().join("out/comment.md");
        let _ = fs::remove_file(&written);
        match expected {
            None => {
                let (_, stdout, _) = project.output(&args, 0)?;
                assert_eq!(stdout, "");
                let comment = fs::read_to_string(&written)?;
                assert!(comment.starts_with("<!-- plimsoll:gate -->\n"), "{comment}");
            }
            Some(expected) => {
                let (_, _, stderr) = project.output(&args, 13)?;
                assert!(stderr.contains(expected), "{revision}: {stderr}");
                assert!(!written.exists());
            }
        }
        Ok(())
    };
    check(json!(SHA), None)?;
    check(json!(&SHA[..12]), None)?;
    check(json!(&SHA[..11]), Some("it judges 1a2b3c4d5e6"))?;
    check(json!(""), Some("is not of"))?;
    check(Value::Null, Some("name no revision"))?;
    check(json!("1a2b3c4d5e60"), Some("it judges 1a2b3c4d5e60"))?;
    check(
        json!(format!("{}+dirty.0a1b2c3d", &SHA[..12])),
        Some("a tree with changes"),
    )?;
    check(json!(format!("{SHA}0")), Some("it judges"))?;
    check(json!("\u{1b}[31m<!-- a -->"), Some("it judges <!-- a -->"))
}

/// A gate whose other scenario could not be built is red, and the verdict that it left is not.
#[test]
fn a_comment_tells_of_a_failure_that_no_verdict_explains() -> Tested {
    let told = "### NOT JUDGED: `gate`";
    for (factor, code, conclusion, expected) in [
        (1.0, 0, "failure", true),
        (1.0, 0, "timed_out", true),
        (1.0, 0, "success", false),
        (1.2, 10, "failure", false),
    ] {
        let project = compared("shop.p95", factor)?;
        let (_, json, _) = project.output(&[&COMPARE[..], &["--format", "json"]].concat(), code)?;
        project.write("verdicts.jsonl", &of(&json, SHA)?)?;
        let args = ["comment", "verdicts.jsonl", "--head", SHA];
        let (_, comment, _) =
            project.output(&[&args[..], &["--conclusion", conclusion]].concat(), 0)?;
        assert_eq!(comment.contains(told), expected, "{conclusion}: {comment}");
        let (_, comment, _) = project.output(&args, 0)?;
        assert!(
            !comment.contains(told),
            "nobody said how it ended: {comment}"
        );
    }
    Ok(())
}

/// An artifact that is meant to do harm is refused at once.
#[test]
fn a_hostile_artifact_is_refused() -> Tested {
    let project = Project::new()?;
    let path = project.path().join("verdicts.jsonl");
    let args = ["comment", "verdicts.jsonl", "--head", SHA];
    let check = |expected: &str| -> Tested {
        let began = Instant::now();
        let (_, stdout, stderr) = project.output(&args, 2)?;
        assert_eq!(stdout, "");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(began.elapsed() < Duration::from_secs(5), "it took its time");
        Ok(fs::remove_file(&path)?)
    };
    fs::File::create(&path)?.set_len(2 << 30)?;
    check("larger than")?;
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU)?;
    check("no regular file")?;
    std::os::unix::fs::symlink("/etc/passwd", &path)?;
    check("a link")?;
    fs::write(&path, "[".repeat(1 << 20))?;
    check("line 1 is no verdict")?;
    Ok(())
}

/// Of what is within the bounds a comment is made in a moment, however it is put together.
#[test]
fn a_large_artifact_takes_no_long_time() -> Tested {
    let names: Vec<String> = (0..2000)
        .map(|at| format!("{}{at:05}", "a".repeat(800)))
        .collect();
    let project = compared_all(&names, 1.2)?;
    let (_, json, _) = project.output(&[&COMPARE[..], &["--format", "json"]].concat(), 10)?;
    let line = of(&json, SHA)?;
    project.write(
        "verdicts.jsonl",
        &line.repeat(((30 << 20) / line.len()).min(5)),
    )?;
    let began = Instant::now();
    let (_, comment, _) = project.output(&["comment", "verdicts.jsonl", "--head", SHA], 0)?;
    assert!(comment.encode_utf16().count() <= 65_536);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    Ok(())
}

/// Five pairs of numbers of another tool, of which the head's are so much larger.
const COMPARE: [&str; 5] = ["compare", "runs.jsonl", "--regress", "5%", "--color=never"];

fn compared(metric: &str, factor: f64) -> Result<Project, Box<dyn Error>> {
    compared_all(&[metric.to_owned()], factor)
}

fn compared_all(metrics: &[String], factor: f64) -> Result<Project, Box<dyn Error>> {
    let project = Project::new()?;
    let mut lines = String::new();
    for pair in 1..=5 {
        for (arm, factor) in [("base", 1.0), ("head", factor)] {
            let value = (100.0 + 0.1 * f64::from(pair)) * factor;
            let metrics: Vec<Value> = metrics
                .iter()
                .map(
                    |name| json!({ "name": name, "value": value, "unit": "ms", "better": "lower" }),
                )
                .collect();
            let run = json!({
                "schema": "plimsoll.runs/1", "arm": arm, "run": format!("{arm}{pair}"), "pair": pair,
                "session": "s", "metrics": metrics,
            });
            writeln!(lines, "{run}")?;
        }
    }
    project.write("runs.jsonl", &lines)?;
    Ok(project)
}

/// The verdict as one on a revision.
fn of(verdict: &str, revision: &str) -> Result<String, Box<dyn Error>> {
    let mut verdict: Value = serde_json::from_str(verdict)?;
    verdict["head_revision"] = json!(revision);
    Ok(format!("{verdict}\n"))
}

/// JUnit says when it was judged, where nobody knows when it was measured.
fn without_time(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once(" timestamp=\"") {
            Some((before, rest)) => {
                let (_, after) = rest.split_once('"').unwrap_or_default();
                format!("{before}{after}")
            }
            None => line.to_owned(),
        });
    Vec::from_iter(lines).join("\n")
}

/// The commands that the runner of GitHub would perform, each with its data, after its `ActionCommand.cs` and
/// `ActionCommandManager.cs`.
fn commands(log: &str) -> Vec<(String, String)> {
    let mut commands = Vec::new();
    let mut stopped_until: Option<String> = None;
    for line in log.lines() {
        let v2 = line.trim_start().strip_prefix("::").and_then(|rest| {
            let (info, data) = rest.split_once("::")?;
            Some((info.split(' ').next()?.to_owned(), data.to_owned()))
        });
        let v1 = || {
            let (_, rest) = line.split_once("##[")?;
            let (info, data) = rest.split_once(']')?;
            Some((info.split(' ').next()?.to_owned(), data.to_owned()))
        };
        let Some((name, data)) = v2.or_else(v1) else {
            continue;
        };
        match &stopped_until {
            Some(token) if *token == name => stopped_until = None,
            Some(_) => {}
            None if name == "stop-commands" => stopped_until = Some(data),
            None => commands.push((name, data)),
        }
    }
    assert_eq!(stopped_until, None, "never resumed: {log}");
    commands
}
