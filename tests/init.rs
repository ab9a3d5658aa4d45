//! `plimsoll init` in repositories of others: what it writes is in order, and runs what it found.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;

use support::Tested;
use support::http_servers::{Server, ok};
use support::project::{BUSY, Project};

const NODE: &str = r#"
const http = require("http");
const server = http.createServer((request, response) => {
  if (request.url === "/health") return response.end("well");
  if (request.url === "/products") return response.end("[]");
  response.writeHead(404).end();
});
server.listen(process.env.PORT || 3000, "127.0.0.1");
"#;

const PYTHON: &str = r#"
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/items":
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")
        else:
            self.send_error(404)
    def log_message(self, *args):
        pass

if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const RUST: &str = r#"
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

fn main() {
    let port = std::env::var("PORT").unwrap_or_default();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("a free port");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        std::thread::spawn(move || {
            let Ok(copy) = stream.try_clone() else { return };
            let mut lines = BufReader::new(copy).lines();
            while let Some(Ok(line)) = lines.next() {
                if line.is_empty() && stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
        });
    }
}
"#;

const PETSTORE: &str = include_str!("data/init/petstore.yaml");
const SESSION: &str = include_str!("data/init/session.har");

/// Initialises, checks, and makes a short run of what was written: the requests that were in order.
fn runs(project: &Project, scenario: &str) -> Result<f64, Box<dyn std::error::Error>> {
    project.output(&["init", "--yes"], 0)?;
    project.output(&["check"], 0)?;
    relax(&project.path().join(scenario))?;
    let args = [
        "run",
        scenario,
        "--duration",
        "1s",
        "--format",
        "json",
        "--out",
        "runs",
    ];
    let (_, verdict, said) = project.output_of(&args, &[0])?;
    let verdict: Value = serde_json::from_str(&verdict)?;
    let runs = plimsoll::harness::store::files::read_runs(&project.path().join("runs"))?;
    let run = runs
        .first()
        .ok_or_else(|| format!("no run\n{verdict}\n{said}"))?;
    let load = run.measurement.loads.first().ok_or("no load")?;
    assert_eq!(load.counts.failed, 0, "{verdict}");
    Ok(load.counts.completed as f64)
}

/// Other tests share this machine's few cores, and what is tested is not how punctual the generator is.
fn relax(scenario: &Path) -> Tested {
    let text = fs::read_to_string(scenario)?;
    let patient = text.replace("\nopen = ", "\nallowed_dropped = \"50%\"\nopen = ");
    assert_ne!(patient, text);
    Ok(fs::write(scenario, format!("{patient}\n{BUSY}"))?)
}

#[test]
fn a_node_service_is_found_started_and_measured() -> Tested {
    let project = Project::new()?;
    project.write(
        "package.json",
        r#"{"name": "@acme/shop", "scripts": {"start": "node server.js"}}"#,
    )?;
    project.write("server.js", NODE)?;
    assert!(runs(&project, "scenarios/shop.toml")? > 50.0);
    let scenario = fs::read_to_string(project.path().join("scenarios/shop.toml"))?;
    for line in [
        "start = \"node server.js\"",
        "env = { PORT = \"{port}\" }",
        "ready = { http = \"/health\" }",
        "get = \"/products\"",
    ] {
        assert!(scenario.contains(line), "{scenario}");
    }
    Ok(())
}

#[test]
fn a_python_service_is_found_started_and_measured() -> Tested {
    let project = Project::new()?;
    project.write("pyproject.toml", "[project]\nname = \"stock\"\n")?;
    project.write("server.py", PYTHON)?;
    assert!(runs(&project, "scenarios/stock.toml")? > 50.0);
    Ok(())
}

#[test]
fn a_rust_service_is_found_built_started_and_measured() -> Tested {
    // Where cargo builds is not for the environment to say, or what was built would not be found.
    let project = Project::new()?.with_env("CARGO_TARGET_DIR", "elsewhere");
    project.write(
        "Cargo.toml",
        "[package]\nname = \"orders\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    )?;
    project.write("src/main.rs", RUST)?;
    assert!(runs(&project, "scenarios/orders.toml")? > 50.0);
    Ok(())
}

#[test]
fn a_document_becomes_requests_that_a_server_gets() -> Tested {
    // The answer to a HEAD has no body.
    let server = Server::answering(|request| match request.line.starts_with("HEAD") {
        true => ok(""),
        false => ok("[]"),
    });
    let project = Project::new()?
        .with_env("PETS_TOKEN", "hunter2")
        .with_env("PETS_API_KEY", "hunter2");
    project.write("openapi.yaml", PETSTORE)?;
    let url = server.url();
    let args = [
        "init",
        "--from-openapi",
        "openapi.yaml",
        "--url",
        &url,
        "--name",
        "pets",
        "--rate",
        "100/s",
    ];
    let (_, said, _) = project.output(&args, 0)?;
    assert!(
        said.contains("petId") && said.contains("export PETS_TOKEN"),
        "{said}"
    );
    project.output(&["check", "scenarios/pets.toml"], 0)?;
    relax(&project.path().join("scenarios/pets.toml"))?;
    project.write("scenarios/pets-values.csv", "petId,orders_id\n41,a\n42,b\n")?;
    project.output(&["run", "scenarios/pets.toml", "--duration", "1s"], 0)?;
    let seen = server.seen();
    let paths: Vec<&str> = seen.iter().map(|request| request.path()).collect();
    for path in ["/v1/pets/41", "/v1/pets/42", "/v1/orders/a/items/7"] {
        assert!(paths.contains(&path), "{path} was not asked for");
    }
    Ok(())
}

#[test]
fn a_recording_becomes_a_scenario_in_order() -> Tested {
    let project = Project::new()?;
    project.write("session.har", SESSION)?;
    let (_, said, _) = project.output(&["init", "--from-har", "session.har", "--writes"], 0)?;
    project.output(&["check"], 0)?;
    assert!(
        !said.contains("hunter2") && said.contains("shop.example"),
        "{said}"
    );
    // Everything that was written, wherever it is.
    for file in support::files::below(project.path(), "toml")? {
        let text = fs::read_to_string(&file)?;
        assert!(
            !text.contains("hunter2") && !text.contains("very-secret"),
            "{}",
            file.display()
        );
    }
    Ok(())
}

#[test]
fn no_file_is_changed() -> Tested {
    let project = Project::new()?;
    project.write(
        "package.json",
        r#"{"name": "shop", "scripts": {"start": "node server.js"}}"#,
    )?;
    project.write("server.js", NODE)?;
    project.write("baselines/README.md", "mine")?;
    let (_, shown, _) = project.output(&["init", "--yes", "--dry-run"], 0)?;
    assert!(
        shown.contains("==> scenarios/shop.toml <==") && shown.contains("schema = 1"),
        "{shown}"
    );
    assert!(!project.path().join("scenarios").exists() && !project.path().join(".github").exists());
    let first = project.json(&["init", "--yes"], 0)?;
    let state = |answer: &Value, path: &str| -> Option<String> {
        let mut files = answer["files"].as_array()?.iter();
        let file = files.find(|file| file["path"] == path)?;
        file["state"].as_str().map(str::to_owned)
    };
    assert_eq!(
        state(&first, "scenarios/shop.toml").as_deref(),
        Some("written")
    );
    assert_eq!(
        state(&first, "baselines/README.md").as_deref(),
        Some("kept")
    );
    project.write("scenarios/shop.toml", "mine")?;
    let second = project.json(&["init", "--yes"], 0)?;
    for path in [
        "scenarios/shop.toml",
        "baselines/README.md",
        ".github/workflows/plimsoll.yml",
    ] {
        assert_eq!(state(&second, path).as_deref(), Some("kept"), "{second}");
    }
    let read = |path: &str| fs::read_to_string(project.path().join(path));
    assert_eq!(
        (read("scenarios/shop.toml")?, read("baselines/README.md")?),
        ("mine".to_owned(), "mine".to_owned())
    );
    // What was wished is done, or refused: never passed over.
    for wish in [
        ["--name", "shop"],
        ["--url", "http://127.0.0.1:1"],
        ["--rate", "5/s"],
    ] {
        let (_, _, said) = project.output(&[&["init", "--yes"], &wish[..]].concat(), 2)?;
        assert!(
            said.contains("scenarios/shop.toml is there already"),
            "{said}"
        );
    }
    let (_, _, said) = project.output(&["init", "--yes", "--action", ACTION], 2)?;
    assert!(
        said.contains(".github/workflows/plimsoll.yml is there already")
            && said.contains("remove it"),
        "{said}"
    );
    Ok(())
}

const ACTION: &str = "acme/plimsoll@0123456789abcdef0123456789abcdef01234567";

/// Nobody's repository is named that was not said.
#[test]
fn a_workflow_says_where_plimsoll_is_or_that_nobody_said_it() -> Tested {
    let start = ["init", "--yes", "--start", "./shop --port {port}"];
    let check = |more: &[&str], uses: &str, is_told: bool| -> Tested {
        let project = Project::new()?;
        let (_, said, _) = project.output(&[&start[..], more].concat(), 0)?;
        let workflow = fs::read_to_string(project.path().join(".github/workflows/plimsoll.yml"))?;
        let line = format!("      - uses: {uses}\n");
        assert!(workflow.contains(&line), "{workflow}");
        assert_eq!(workflow.contains("# FILL IN"), is_told, "{workflow}");
        assert_eq!(said.contains("fill that in"), is_told, "{said}");
        Ok(())
    };
    let path = ".github/actions/plimsoll";
    check(
        &["--action", ACTION],
        &ACTION.replace("@", &format!("/{path}@")),
        false,
    )?;
    check(&[], &format!("<OWNER>/<REPOSITORY>/{path}@<COMMIT>"), true)
}

#[test]
fn what_can_not_be_done_is_said_with_a_remedy() -> Tested {
    let project = Project::new()?;
    let check = |args: &[&str], expected: &str| -> Tested {
        let (_, stdout, said) = project.output(&[&["init"], args].concat(), 2)?;
        assert!(stdout.is_empty(), "{stdout}");
        assert!(said.contains(expected) && said.contains("help"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert!(!project.path().join("scenarios").exists());
        Ok(())
    };
    check(&["--yes"], "nothing here says how the service starts")?;
    check(
        &["--from-openapi", "nothing.yaml"],
        "nothing.yaml can't be read",
    )?;
    check(&["--url", "http://127.0.0.1:1", "--rate", "5"], "--rate 5")?;
    check(
        &["--url", "http://127.0.0.1:1", "--path", "products"],
        "--path products",
    )?;
    check(
        &["--url", "http://127.0.0.1:1", "--path", "/a b"],
        "not a path",
    )?;
    check(&["--start", "shop '"], "can't be split into words")?;
    check(
        &["--url", "http://127.0.0.1:1", "--name", "../shop"],
        "--name ../shop",
    )?;
    check(
        &[
            "--start",
            "./shop --port {port}",
            "--action",
            "acme/plimsoll@v1",
        ],
        "--action acme/plimsoll@v1",
    )?;
    // A folder that leads out of the project.
    let elsewhere = tempfile::tempdir()?;
    std::os::unix::fs::symlink(elsewhere.path(), project.path().join("baselines"))?;
    check(
        &["--start", "./shop --port {port}"],
        "baselines is no folder of this project",
    )?;
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 0);
    project.write(
        "bomb.yaml",
        "openapi: 3.0.0\npaths:\n  /\u{202e}a:\n    post: {}\n",
    )?;
    check(
        &["--from-openapi", "bomb.yaml"],
        "operations that write (1;",
    )?;
    check(&["--from-har", "bomb.yaml"], "it is no HAR file")?;
    // Something without an end is not read to its end.
    check(
        &["--from-har", "/dev/zero", "--name", "zero"],
        "more than 64 MiB",
    )?;
    Ok(())
}

/// In a folder of a repository, the commands start there, and GitHub reads workflows at the top.
#[test]
fn a_folder_of_a_repository_is_a_project_of_its_own() -> Tested {
    let project = Project::new()?;
    fs::create_dir(project.path().join(".git"))?;
    project.write(
        "services/shop/package.json",
        r#"{"name": "shop", "scripts": {"start": "node server.js"}}"#,
    )?;
    project.write("services/shop/server.js", NODE)?;
    let shop = Path::new("services/shop");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["init", "--yes"])
        .current_dir(project.path().join(shop))
        .stdin(std::process::Stdio::null())
        .output()?;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout)?;
    assert!(
        said.contains("../../.github/workflows/plimsoll.yml"),
        "{said}"
    );
    let workflow = fs::read_to_string(project.path().join(".github/workflows/plimsoll.yml"))?;
    assert!(
        workflow.contains("scenarios: services/shop/scenarios/shop.toml"),
        "{workflow}"
    );
    assert!(project.path().join("services/shop/plimsoll.toml").is_file());
    let plans = plimsoll::harness::scenario::check(
        &project.path().join("services/shop/scenarios/shop.toml"),
    );
    let plans = plans.map_err(|rejection| format!("{rejection:?}"))?;
    assert_eq!(plans[0].root, project.path().canonicalize()?.join(shop));
    Ok(())
}
