//! PostgreSQL and Redis for tests: each on a free port of 127.0.0.1 and in a temporary folder.
//!
//! A server belongs to the test that started it: dropping it stops the process and removes the
//! folder, also when the test fails. Should the test executable itself be killed, the kernel stops
//! the server (`setpriv --pdeathsig`); only the folder is then left to the system.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take from its start to its first answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often a start is tried when another process takes the port first.
const ATTEMPTS: usize = 5;

/// A PostgreSQL server with one empty database, `postgres`.
#[derive(Debug)]
pub(crate) struct Postgres {
    process: Option<Process>,
    port: u16,
    bin: PathBuf,
    // Dropped after the process.
    folder: TempDir,
    user: Option<&'static str>,
}

impl Postgres {
    /// A fresh cluster, started and answering. Takes about a second, most of it `initdb`.
    pub(crate) fn start() -> io::Result<Self> {
        let bin = postgres_bin()?;
        let folder = tempfile::Builder::new().prefix("plimsoll-pg-").tempdir()?;
        let root = fs::metadata(folder.path())?.uid() == 0;
        // The server refuses to run as root.
        let user = root.then_some("postgres");
        if let Some(user) = user {
            succeed(
                Command::new("chown")
                    .arg(format!("{user}:"))
                    .arg(folder.path()),
            )?;
        }
        let mut initdb = command_as(user, &bin.join("initdb"));
        initdb
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg("--no-sync");
        succeed(initdb.current_dir(folder.path()))?;
        let mut server = Self {
            process: None,
            port: 0,
            bin,
            folder,
            user,
        };
        on_a_free_port(|port| server.launch(port))?;
        Ok(server)
    }

    /// The address of the database as sqlx takes it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// A new empty database in the same server, and its address.
    pub(crate) fn create_database(&self, name: &str) -> io::Result<String> {
        let mut createdb = Command::new(self.bin.join("createdb"));
        let port = self.port.to_string();
        createdb.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port, name]);
        succeed(&mut createdb)?;
        Ok(format!(
            "postgres://postgres@127.0.0.1:{}/{name}",
            self.port
        ))
    }

    /// Stops the server at once, as a crash would: connections break, committed data stay.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |process| process.stop(Signal::SIGQUIT))
    }

    /// Starts a stopped server again, on the same port and data.
    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        self.stop()?;
        self.launch(self.port)
    }

    fn launch(&mut self, port: u16) -> io::Result<()> {
        let folder = self.folder.path();
        let mut command = command_as(self.user, &self.bin.join("postgres"));
        command
            .arg("-D")
            .arg(folder.join("data"))
            .arg("-k")
            .arg(folder);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        for setting in ["fsync=off", "full_page_writes=off", "max_connections=60"] {
            command.args(["-c", setting]);
        }
        let bin = &self.bin;
        let answers = || {
            Command::new(bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status()
                .is_ok_and(|status| status.success())
        };
        // SIGQUIT is an immediate shutdown that still frees the server's shared memory.
        self.process = Some(Process::start(command, Signal::SIGQUIT, folder, answers)?);
        self.port = port;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            complain("PostgreSQL", &error);
        }
    }
}

/// Makes every insert into a table wait within its statement for as long as whoever runs this keeps the advisory
/// lock 1: one answer is then all that is missing.
pub(crate) fn hold_inserts(table: &str) -> String {
    format!(
        "SELECT pg_advisory_lock(1); \
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$; \
         CREATE TRIGGER wait BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION wait()"
    )
}

/// A Redis server that keeps everything in memory.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// An empty server, started and answering.
    pub(crate) fn start() -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("plimsoll-redis-")
            .tempdir()?;
        let mut server = Self {
            process: None,
            port: 0,
            folder,
        };
        on_a_free_port(|port| server.launch(port))?;
        Ok(server)
    }

    /// The address of the server as the redis crate takes it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Stops the server as a crash would; what it held is lost but for the last `SAVE`.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |process| process.stop(Signal::SIGKILL))
    }

    /// Starts a stopped server again, with what it saved, on the same port.
    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        self.stop()?;
        self.launch(self.port)
    }

    /// Freezes the server: connections stay open and nothing answers.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| process.signal(Signal::SIGSTOP))
    }

    /// Ends a [`Redis::pause`].
    pub(crate) fn resume(&self) -> io::Result<()> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| process.signal(Signal::SIGCONT))
    }

    fn launch(&mut self, port: u16) -> io::Result<()> {
        let mut command = command_as(None, Path::new("redis-server"));
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path());
        let answers = || redis_answers(port).is_ok();
        self.process = Some(Process::start(
            command,
            Signal::SIGKILL,
            self.folder.path(),
            answers,
        )?);
        self.port = port;
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            complain("Redis", &error);
        }
    }
}

/// Both, for a service that is not embedded.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
}

impl Servers {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            postgres: Postgres::start()?,
            redis: Redis::start()?,
        })
    }

    /// What `refservice` is called with to use them.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let (database, redis) = (self.postgres.url(), self.redis.url());
        [
            "--database".to_owned(),
            database,
            "--redis".to_owned(),
            redis,
        ]
    }
}

/// A child with the thread that waits for it. The kernel ties "the parent has died" to the thread
/// that made the child, so that thread has to live as long as the child does.
#[derive(Debug)]
struct Process {
    pid: Pid,
    waiter: JoinHandle<io::Result<ExitStatus>>,
}

impl Process {
    /// Starts `command` and returns when `answers` does; `stop_signal` is how a failed start ends.
    fn start(
        mut command: Command,
        stop_signal: Signal,
        folder: &Path,
        answers: impl Fn() -> bool,
    ) -> io::Result<Self> {
        let log = folder.join("server.log");
        let output = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        command.current_dir(folder);
        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    let text = format!("{command:?}: {error}");
                    let _ = sender.send(Err(error));
                    return Err(io::Error::other(text));
                }
            };
            let _ = sender.send(Ok(child.id()));
            child.wait()
        });
        let id = receiver.recv().map_err(io::Error::other)??;
        let pid = Pid::from_raw(i32::try_from(id).map_err(io::Error::other)?);
        let process = Self { pid, waiter };
        let started = Instant::now();
        while !process.waiter.is_finished() && started.elapsed() < READY_WITHIN {
            // A stranger on the same port would answer too; ours then ends with "address in use".
            if answers() && !process.waiter.is_finished() {
                return Ok(process);
            }
            thread::sleep(Duration::from_millis(20));
        }
        process.stop(stop_signal)?;
        Err(io::Error::other(format!(
            "the server did not get ready; its log says:\n{}",
            fs::read_to_string(log)?
        )))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.waiter.is_finished() {
            Ok(())
        } else {
            Ok(kill(self.pid, signal)?)
        }
    }

    fn stop(self, signal: Signal) -> io::Result<()> {
        self.signal(signal)?;
        // A stopped process acts on its signal only when it goes on.
        self.signal(Signal::SIGCONT).or_else(gone_is_fine)?;
        self.waiter
            .join()
            .map_err(|_| io::Error::other("the waiting thread panicked"))??;
        Ok(())
    }
}

fn gone_is_fine(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) {
        Ok(())
    } else {
        Err(error)
    }
}

/// `program`, stopped by the kernel when its parent dies, under another user where one is named.
pub(crate) fn command_as(user: Option<&str>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=QUIT");
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.arg("--").arg(program);
    command
}

fn on_a_free_port(mut launch: impl FnMut(u16) -> io::Result<()>) -> io::Result<()> {
    let mut last = io::Error::other("never tried");
    for _ in 0..ATTEMPTS {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        match launch(port) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The folder of the newest PostgreSQL installed the way Debian lays it out, else what the path has.
fn postgres_bin() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path(),
            ))
        })
        .map(|(version, path)| (version, path.join("bin")))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|bin| bin.join("initdb").exists())
    };
    newest.map(|(_, bin)| bin).or_else(in_path).ok_or_else(|| {
        io::Error::other("no PostgreSQL server found: install the package `postgresql`")
    })
}

fn redis_answers(port: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    if &answer == b"+PONG\r\n" {
        Ok(())
    } else {
        Err(io::Error::other("not a Redis server"))
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("{}: {error}", command.get_program().display()),
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{command:?}: {}: {text}",
        output.status
    )))
}

#[expect(clippy::print_stderr, reason = "a test has nowhere else to say it")]
fn complain(server: &str, error: &io::Error) {
    eprintln!("{server} was not stopped cleanly: {error}");
}
