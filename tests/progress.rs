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
open = {{ rate = "100/s", max_in_flight = 50 }}
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

/// Whatever `script` shows on a terminal of so many columns, with the escapes that it is drawn with.
fn on_a_terminal(
    project: &Project,
    columns: u32,
    env: &[(&str, &str)],
    options: &str,
) -> Result<String, Box<dyn Error>> {
    let plimsoll = env!("CARGO_BIN_EXE_plimsoll");
    let call =
        format!("stty cols {columns} rows 40; '{plimsoll}' run shop.toml --runs 2 {options}");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &call, "/dev/null"])
        .current_dir(project.path())
        .env_remove("PLIMSOLL_STORE")
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .env_remove("LC_ALL")
        .env_remove("LC_CTYPE")
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    let shown = String::from_utf8(output.stdout)?;
    match output.status.success() {
        true => Ok(shown),
        false => Err(shown.into()),
    }
}

/// The lines that were drawn, without escapes. Those of the view fill the terminal, so that no line break stands
/// between them.
fn lines(shown: &str, columns: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let escapes = Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]")?;
    let mut lines = Vec::new();
    for piece in escapes.replace_all(shown, "\n").split(['\n', '\r']) {
        let chars: Vec<char> = piece.chars().collect();
        for line in chars.chunks(columns) {
            lines.push(line.iter().collect::<String>().trim_end().to_owned());
        }
    }
    Ok(lines)
}

#[test]
fn the_view_fits_a_narrow_terminal() -> Tested {
    let (project, _server) = shop()?;
    let shown = on_a_terminal(&project, 40, &[("NO_COLOR", "1")], "")?;
    assert!(
        !Regex::new("\u{1b}\\[[0-9;]*m")?.is_match(&shown),
        "colours: {shown:?}"
    );
    let lines = lines(&shown, 40)?;
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
