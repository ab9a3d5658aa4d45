//! The reference service as a child process, and bodies for it that come piece by piece.

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::servers::command_as;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `refservice`; dropping it kills it and removes what it then leaves behind.
pub(crate) struct Refservice {
    pub(crate) child: Child,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    temporary: TempDir,
}

impl Refservice {
    /// Starts the service and waits for its address, not for its data.
    pub(crate) fn start(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let temporary = TempDir::new().expect("a folder");
        let folder = temporary.path().display().to_string();
        let env = [&[("TMPDIR", folder.as_str())], env].concat();
        // A pipe that nobody empties would stop a service with much to say.
        let log = temporary.path().join("log");
        let mut child = command(arguments, &env)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let base = line.trim().strip_prefix("listening on ");
        let base = base.map(str::to_owned);
        let http = reqwest::Client::builder()
            .no_proxy()
            // What is compressed is to be seen as such.
            .no_gzip()
            .timeout(PATIENCE)
            .build();
        let service = Self {
            child,
            base: base.clone().unwrap_or_default(),
            http: http.expect("a client"),
            temporary,
        };
        if read.is_err() || base.is_none() {
            panic!("it does not listen: {line}{}", service.log());
        }
        service
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let sent = self.request(Method::GET, path).send().await;
        sent.expect("an answer")
    }

    /// The value of one series, by its name with its labels.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.expect("a text");
        let mut values = text.lines().filter_map(|line| line.strip_prefix(series));
        let value = values.next();
        let value = value.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim().parse().expect("a number")
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("its end");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it is there");
        // Each thread stops when it comes to it, and could do something more until then.
        while signal == Signal::SIGSTOP && !self.is_stopped() {
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.expect("the threads").all(|task| {
            let stat = task.expect("a thread").path().join("stat");
            // The state is behind the name, in which anything may be; a thread that is gone has stopped.
            let stat = std::fs::read_to_string(stat).unwrap_or_else(|_| ") T".to_owned());
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// The memory of the process in bytes, by its name in `/proc/PID/status`.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("the status");
        let mut lines = status.lines().filter_map(|line| line.strip_prefix(name));
        let line = lines.next().unwrap_or_else(|| panic!("no {name}"));
        let kib = line.split_whitespace().nth(1).map(str::parse::<u64>);
        kib.expect("a figure").expect("a number") * 1024
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.temporary.path().join("log")).expect("a log")
    }
}

impl Drop for Refservice {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, which sees no settings but these, whatever is exported where the tests run: a
/// database above all.
pub(crate) fn command(arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = command_as(None, Path::new(env!("CARGO_BIN_EXE_refservice")));
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("REFSERVICE") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(env.iter().copied());
    command
}

/// A body of what is sent into a channel, with no end until that is dropped.
pub(crate) fn fed() -> (mpsc::Sender<Bytes>, reqwest::Body) {
    let (feed, body) = mpsc::channel(1);
    (feed, reqwest::Body::wrap(Fed(body)))
}

struct Fed(mpsc::Receiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let fed = self.0.poll_recv(context);
        fed.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
