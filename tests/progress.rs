//! What is said while it works: lines of a log, and the view on a terminal, which `script` lends.

mod support;

use std::error::Error;
use std::process::{Command, Stdio};

use regex::Regex;

use support::Tested;
use support::project::{BUSY, Project, PythonServer};

/// A project with a scenario of three seconds, and what it is sent to.
fn shop() -> Result<(Project, PythonServer), Box<dyn Error>> {
    let server = PythonServer::start("ok")?;
    let project = Project::new()?;
    let scenario = format!(
        r#"schema = 1
name = "shop"
url = "{}"
[[flow.browse.step]]
get = "/"
[load.browse]
open = {{ rate = "100/s", max_in_flight = 300 }}
{BUSY}
[phases]
warmup = "0s"
measure = "3s"
[[gate]]
metric = "load.browse.p50"
max = "5s"
"#,
        server.url
    );
    project.write("shop.toml", &scenario)?;
    Ok((project, server))
}

#[test]
fn without_a_terminal_a_line_now_and_then_says_how_far_it_is() -> Tested {
    let (project, _server) = shop()?;
    let (_, answer, said) = project.output(&["run", "shop.toml", "--runs", "2"], 0)?;
    let line = Regex::new(
        r"(?m)^shop run 1/2: measure 1\u{202f}s of 3\u{202f}s, \d+\u{202f}s left in all \| browse: \d+ of 100/s, p50 [^,]+, p95 [^,]+, p99 [^,|]+ \| generator ok$",
    )?;
    assert!(line.is_match(&said), "{said}");
    // A line every five seconds, and no more.
    let lines = said.lines().filter(|line| line.contains("generator ok"));
    assert!(lines.count() <= 3, "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");

    assert!(answer.contains('\u{202f}'), "{answer}");
    let (_, answer, said) = project.output(&["run", "shop.toml", "--ascii"], 0)?;
    assert!(answer.is_ascii() && said.is_ascii(), "{answer}{said}");
    assert!(
        said.contains("shop: measure 1 s of 3 s | browse: "),
        "{said}"
    );
    // Programs read what is there.
    project.write(
        "cafe.toml",
        "schema = 1\nname = \"cafe\"\ndescription = \"caf\u{e9}\"\nurl = \"http://127.0.0.1:9\"\n\
         [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = { users = 1 }\n",
    )?;
    let listed = project.json(&["list", "cafe.toml", "--ascii"], 0)?;
    assert_eq!(listed[0]["description"], "caf\u{e9}");
    let (_, listed, _) = project.output(&["list", "cafe.toml", "--ascii"], 0)?;
    assert!(listed.contains("caf?"), "{listed}");
    Ok(())
}

/// Whatever `script` shows of two runs on a terminal of so many columns, with the escapes that it is drawn with.
fn on_a_terminal(
    project: &Project,
    columns: u32,
    env: &[(&str, &str)],
    options: &str,
) -> Result<String, Box<dyn Error>> {
    let plimsoll = env!("CARGO_BIN_EXE_plimsoll");
    let call = format!("'{plimsoll}' run shop.toml --runs 2 {options}");
    let (code, shown) = called_on_a_terminal(project, columns, env, &call)?;
    match code {
        Some(0) => Ok(shown),
        _ => Err(shown.into()),
    }
}

/// The exit code of a shell's line, and what it shows.
fn called_on_a_terminal(
    project: &Project,
    columns: u32,
    env: &[(&str, &str)],
    line: &str,
) -> Result<(Option<i32>, String), Box<dyn Error>> {
    let call = format!("stty cols {columns} rows 40; {line}");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &call, "/dev/null"])
        .current_dir(project.path())
        .env_remove("PLIMSOLL_STORE")
        .env_remove("PLIMSOLL_LOG")
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .env_remove("LC_ALL")
        .env_remove("LC_CTYPE")
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

/// The lines that were drawn, without escapes and colours.
fn lines(shown: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let colours = Regex::new("\u{1b}\\[[0-9;]*m")?;
    let moves = Regex::new("\u{1b}\\[[0-9]*[AJ]")?;
    let shown = colours.replace_all(shown, "");
    let shown = moves.replace_all(&shown, "\n");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    Ok(shown.split(['\n', '\r']).map(str::to_owned).collect())
}

#[test]
fn the_view_fits_a_narrow_terminal() -> Tested {
    let (project, _server) = shop()?;
    let shown = on_a_terminal(&project, 40, &[("NO_COLOR", "1")], "")?;
    assert!(
        !Regex::new("\u{1b}\\[[0-9;]*m")?.is_match(&shown),
        "colours: {shown:?}"
    );
    let lines = lines(&shown)?;
    for line in &lines {
        assert!(
            line.starts_with("Report: ") || line.chars().count() <= 40,
            "{line}"
        );
    }
    let view = lines.join("\n");
    for part in [
        r"(?m)^\S shop  run 1/2  .*\d\u{202f}s left  \d+\u{202f}s in all",
        r"(?m)^  browse  \d+ of 100/s  .*p95 ",
        r"(?m)^  generator ok  \S+\u{202f}% of a core$",
        r"(?m)^\[PASS\] shop$",
    ] {
        assert!(Regex::new(part)?.is_match(&view), "{part}: {view}");
    }
    Ok(())
}

#[test]
fn the_view_has_the_colours_and_the_characters_that_are_wanted() -> Tested {
    let (project, _server) = shop()?;
    let dim = "\u{1b}[2mgenerator ok";
    let shown = on_a_terminal(&project, 100, &[], "")?;
    assert!(shown.contains(dim), "{shown:?}");
    assert!(!shown.is_ascii());
    let shown = on_a_terminal(&project, 100, &[], "--ascii --color never")?;
    assert!(shown.contains("generator ok") && !shown.contains(dim));
    assert!(shown.is_ascii(), "{shown}");
    let shown = on_a_terminal(&project, 100, &[("LANG", "C")], "")?;
    assert!(shown.is_ascii(), "{shown}");
    // A terminal that nothing is known of gets lines.
    let shown = on_a_terminal(&project, 100, &[("TERM", "dumb")], "")?;
    assert!(
        shown.contains("shop run 1/2: measure 1\u{202f}s of"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    Ok(())
}

/// What cleans the view up: from where the cursor stands to the end.
const WIPE: &str = "\r\u{1b}[J";

#[test]
fn a_terminal_may_get_another_width() -> Tested {
    let (project, _server) = shop()?;
    let plimsoll = env!("CARGO_BIN_EXE_plimsoll");
    let call =
        format!("(sleep 4; stty -F /dev/tty cols 36) & '{plimsoll}' run shop.toml --duration 8s");
    let (code, shown) = called_on_a_terminal(&project, 100, &[], &call)?;
    assert_eq!(code, Some(0), "{shown}");
    // While the load goes on the view takes it up, and so does the verdict.
    let wide = |line: &String| line.chars().count() > 36;
    let lines = lines(&shown)?;
    let lines: Vec<String> = lines
        .into_iter()
        .filter(|line| !line.starts_with("Report: "))
        .collect();
    let last = lines.iter().rposition(wide).ok_or("nothing was wide")?;
    let after = lines[last..].iter().skip(1);
    assert!(
        after.clone().any(|line| line.contains("generator ok")),
        "{lines:?}"
    );
    assert!(
        after
            .clone()
            .any(|line| line == "[PASS] shop" || line.ends_with(" PASS  shop")),
        "{lines:?}"
    );
    Ok(())
}

#[test]
fn what_is_stopped_says_so_at_once_and_leaves_the_terminal_clean() -> Tested {
    let (project, _server) = shop()?;
    let plimsoll = env!("CARGO_BIN_EXE_plimsoll");
    let interrupted = format!("timeout --foreground --preserve-status --signal=INT 6 '{plimsoll}'");
    let call = format!("{interrupted} run shop.toml --duration 30s --color never");
    let (code, shown) = called_on_a_terminal(&project, 100, &[], &call)?;
    assert_eq!(code, Some(13), "{shown}");
    let (before, after) = shown
        .split_once("stopping: what was measured is kept")
        .ok_or_else(|| format!("{shown:?}"))?;
    assert!(before.contains("generator ok"), "{shown:?}");
    // What is said takes the place of the view, which goes on below it.
    assert!(before.ends_with(WIPE), "{shown:?}");
    let (_, answer) = after
        .rsplit_once(WIPE)
        .ok_or("the view was not taken off")?;
    assert!(answer.contains("[INVALID] shop"), "{shown:?}");
    assert!(!answer.contains('\u{1b}'), "{answer:?}");
    assert!(!answer.contains("generator ok"), "{answer}");
    Ok(())
}

#[test]
fn a_log_gets_lines_whoever_lends_it_a_terminal() -> Tested {
    let (project, _server) = shop()?;
    let line = "shop run 1/2: measure 1\u{202f}s of";
    let shown = on_a_terminal(&project, 100, &[("CI", "true")], "--color never")?;
    assert!(
        shown.contains(line) && !shown.contains('\u{1b}'),
        "{shown:?}"
    );
    let shown = on_a_terminal(&project, 100, &[], "--verbose --color never")?;
    assert!(shown.contains(line), "{shown:?}");
    let shown = on_a_terminal(&project, 100, &[("CI", "false")], "")?;
    assert!(!shown.contains(line), "{shown:?}");
    Ok(())
}
