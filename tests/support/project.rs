//! A project in a temporary folder, and the binary called from it as a person would.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll::harness::model::Run;
use plimsoll::harness::store::History;
use plimsoll::harness::store::files::read_runs;
use serde_json::Value;

use super::servers::command_as;
use super::{Tested, files, wait};

/// For scenarios: other tests share this machine's few cores, and what is tested with it is not the
/// generator's punctuality.
pub(crate) const BUSY: &str = "[generator]\nlate = \"1s\"\ncpu = \"100%\"\n";

/// A folder with scenarios, removed in the end.
pub(crate) struct Project {
    folder: std::rc::Rc<tempfile::TempDir>,
    env: Vec<(String, String)>,
}

impl Project {
    /// An empty project.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            folder: std::rc::Rc::new(tempfile::tempdir()?),
            env: Vec::new(),
        })
    }

    /// A project whose history holds these runs.
    pub(crate) fn with_history(runs: &[Run]) -> Result<Self, Box<dyn Error>> {
        let project = Self::new()?;
        project.keep(runs)?;
        Ok(project)
    }

    /// Adds runs to its history.
    pub(crate) fn keep(&self, runs: &[Run]) -> Result<(), Box<dyn Error>> {
        let place = self.path().join(".plimsoll/history.db");
        tokio::runtime::Runtime::new()?.block_on(async {
            let history = History::open(&place.display().to_string()).await?;
            for run in runs {
                history.save(run).await?;
            }
            history.close().await;
            Ok(())
        })
    }

    /// The same project with one more variable in the environment of its calls.
    pub(crate) fn with_env(&self, name: &str, value: &str) -> Self {
        Self {
            folder: self.folder.clone(),
            env: [self.env.as_slice(), &[(name.to_owned(), value.to_owned())]].concat(),
        }
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A name that only this project has, to find its processes by.
    pub(crate) fn marker(&self) -> String {
        format!("server-{}", uuid::Uuid::new_v4().simple())
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, text)?)
    }

    /// Writes a small HTTP server in Python that takes its port as an argument, and waits DELAY_S
    /// seconds before each answer.
    pub(crate) fn write_server(&self, name: &str) -> Result<(), Box<dyn Error>> {
        self.write(&format!("{name}.py"), PYTHON_SERVER)
    }

    /// Calls plimsoll, demands an exit code, and gives code, stdout and stderr.
    pub(crate) fn output(
        &self,
        args: &[&str],
        expected: i32,
    ) -> Result<(i32, String, String), Box<dyn Error>> {
        self.output_of(args, &[expected])
    }

    /// As [`output`](Self::output), where one of several exit codes is right.
    pub(crate) fn output_of(
        &self,
        args: &[&str],
        expected: &[i32],
    ) -> Result<(i32, String, String), Box<dyn Error>> {
        let output = self.command(args).output()?;
        let stdout = String::from_utf8(output.stdout)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(code) if expected.contains(&code) => Ok((code, stdout, stderr)),
            code => {
                Err(format!("{args:?} gave {code:?}, not {expected:?}\n{stdout}\n{stderr}").into())
            }
        }
    }

    /// As [`output`](Self::output) with `--format json`, and stdout read as one JSON value.
    pub(crate) fn json(&self, args: &[&str], expected: i32) -> Result<Value, Box<dyn Error>> {
        let (_, stdout, _) = self.output(&[args, &["--format", "json"]].concat(), expected)?;
        serde_json::from_str(&stdout).map_err(|error| format!("{error} in {stdout}").into())
    }

    /// Makes one run of a scenario, which ends with one of these exit codes: stdout, which is the verdict as
    /// JSON, stderr, and the run.
    pub(crate) fn run(
        &self,
        scenario: &str,
        expected: &[i32],
    ) -> Result<(String, String, Run), Box<dyn Error>> {
        let args = ["run", scenario, "--format", "json", "--out", "runs"];
        let (_, stdout, stderr) = self.output_of(&args, expected)?;
        let mut runs = read_runs(&self.path().join("runs"))?;
        let run = runs.pop().ok_or("no run was written")?;
        Ok((stdout, stderr, run))
    }

    /// Starts plimsoll and goes on; its stderr goes to a file that
    /// [`wait_until_said`](Self::wait_until_said) reads.
    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Running, Box<dyn Error>> {
        let mut command = self.command(args);
        let stderr = fs::File::create(self.path().join("stderr"))?;
        // A group of its own, so that an interrupt reaches it and not the tests.
        command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(stderr);
        Ok(Running(command.spawn()?))
    }

    /// Waits until the call that was spawned last has said `text`.
    pub(crate) fn wait_until_said(&self, text: &str) -> Tested {
        let said = || fs::read_to_string(self.path().join("stderr")).unwrap_or_default();
        let what = format!("it says {text}");
        wait::until(&what, Duration::from_secs(60), || {
            said().contains(text).then_some(())
        })
        .map_err(|error| format!("{error}\n{}", said()).into())
    }

    /// The files with that extension anywhere below a folder of the project, sorted.
    pub(crate) fn files(
        &self,
        folder: &str,
        extension: &str,
    ) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        Ok(files::below(&self.path().join(folder), extension)?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command
            .args(args)
            .current_dir(self.path())
            .env_remove("PLIMSOLL_STORE")
            .env("NO_COLOR", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }
}

/// A call that goes on.
pub(crate) struct Running(Child);

impl Running {
    /// SIGKILL to plimsoll alone.
    pub(crate) fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// SIGINT to plimsoll's group, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> Result<(), Box<dyn Error>> {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        Ok(nix::sys::signal::killpg(
            group,
            nix::sys::signal::Signal::SIGINT,
        )?)
    }

    /// Waits for its end: the exit code and stdout.
    pub(crate) fn finish(
        &mut self,
        within: Duration,
    ) -> Result<(Option<i32>, String), Box<dyn Error>> {
        let status = wait::until("it ends", within, || self.0.try_wait().ok().flatten())?;
        let mut stdout = String::new();
        if let Some(pipe) = self.0.stdout.as_mut() {
            pipe.read_to_string(&mut stdout)?;
        }
        Ok((status.code(), stdout))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server in Python; HTTP/1.1 and the same body for every request where nothing else is said.
pub(crate) struct PythonServer {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl PythonServer {
    /// Starts it on a port that is free.
    pub(crate) fn start(body: &str) -> Result<Self, Box<dyn Error>> {
        Self::running(PYTHON_SERVER, &["0", body])
    }

    /// Starts a server of another kind, a program in Python that prints its port once it listens there.
    pub(crate) fn running(program: &str, args: &[&str]) -> Result<Self, Box<dyn Error>> {
        let child = command_as(None, Path::new("python3"))
            .args(["-c", program])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self {
            child,
            url: String::new(),
        };
        let stdout = server.child.stdout.take().ok_or("no stdout")?;
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        let port: u16 = port.trim().parse().map_err(|_| "python3 did not listen")?;
        server.url = format!("http://127.0.0.1:{port}");
        Ok(server)
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PYTHON_SERVER: &str = r#"
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

delay_s = float(os.environ.get("DELAY_S", "0"))
body = (sys.argv[2] if len(sys.argv) > 2 else "ok").encode()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        time.sleep(delay_s)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// The processes that have `text` in their command line or that work in a folder of that name.
pub(crate) fn processes_mentioning(text: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            String::from_utf8_lossy(&cmdline).contains(text) || cwd.to_string_lossy().contains(text)
        })
        .collect()
}

/// Waits until there are no such processes any more.
pub(crate) fn wait_until_gone(text: &str) -> Tested {
    let what = format!("no process mentions {text}");
    wait::until(&what, Duration::from_secs(10), || {
        processes_mentioning(text).is_empty().then_some(())
    })
}
