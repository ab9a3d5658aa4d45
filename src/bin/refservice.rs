//! The reference service binary: parse, serve until told to stop, exit code.
//!
//! Options can also be given in the environment; nothing of an address is ever logged.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use jiff::SignedDuration;
use plimsoll::datalayer::dataset::DatasetId;
use plimsoll::service::{AdminToken, Options, ProviderSecret, Server, Settings, chain};
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The service that Plimsoll measures first: a cached HTTP API over a generated dataset.
///
/// Without options it is embedded: an SQLite file in a temporary folder, and a second cache tier in
/// the process. Every figure (lifetimes, sizes, limits) can be set in a file, and on top of that in
/// the environment, for example REFSERVICE__POOL__MAX_CONNECTIONS=40.
#[derive(Parser)]
#[command(
    name = "refservice",
    version,
    after_help = "Example:
  refservice --listen 127.0.0.1:8080 --records 100000
  refservice --database postgres://user:password@127.0.0.1/app --redis redis://127.0.0.1/

Who sends `Authorization: Bearer TOKEN`, with the token in REFSERVICE_ADMIN_TOKEN, is held to no rate
limit. Without that variable everybody is.

Callbacks of payments are signed as Standard Webhooks has it, with the secret in
REFSERVICE_PROVIDER_SECRET (whsec_…). Without that variable all of them are refused."
)]
struct Arguments {
    /// Where to listen; port 0 takes a free one. The address is printed to stdout
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// The database: postgres://… or sqlite:FILE?mode=rwc. Its tables must be the service's own
    #[arg(
        long,
        value_name = "URL",
        env = "REFSERVICE_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,

    /// The folder of the embedded database; without it a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Redis as the second cache tier: redis://…
    #[arg(
        long,
        value_name = "URL",
        env = "REFSERVICE_REDIS",
        hide_env_values = true
    )]
    redis: Option<String>,

    /// Redis servers for locks, redis://…, separated by commas; three that know nothing of each other
    /// survive the loss of one. Without it the one of --redis
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "REFSERVICE_LOCK_REDIS",
        hide_env_values = true
    )]
    lock_redis: Vec<String>,

    /// The same seed makes the same data
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// How many records; clients, appointments and payments follow from it
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1000..=5_000_000))]
    records: u64,

    /// A TOML file with settings, such as --print-config writes
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Prints every setting as it would be in force, with what it is for, and ends
    #[arg(long)]
    print_config: bool,

    /// Where notifications are posted: http://… or https://…
    #[arg(
        long,
        value_name = "URL",
        env = "REFSERVICE_WEBHOOK",
        hide_env_values = true
    )]
    webhook: Option<String>,

    /// Requests a minute of each user, tenant and endpoint, instead of those in the settings: for a
    /// load test, which asks for more from one address than a user may. 0 is no limit
    #[arg(long, value_name = "N", env = "REFSERVICE_RATE_LIMIT", value_parser = rate_limit)]
    rate_limit: Option<RateLimit>,

    /// Adds a delay, such as 20ms, to every request under /api: how the harness's own tests plant a
    /// regression
    #[arg(
        long,
        value_name = "DURATION",
        env = "REFSERVICE_INJECT_DELAY",
        hide = true,
        value_parser = duration,
        default_value = "0ms"
    )]
    inject_delay: Duration,
}

/// Requests a minute; none where the environment has an empty text.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RateLimit(Option<u32>);

impl Arguments {
    /// Takes an empty address for none at all: that is how whoever starts the service keeps an
    /// address that happens to be exported from it. Ends the process where two contradict each other.
    fn checked(self) -> Self {
        let given = |url: Option<String>| url.filter(|url| !url.is_empty());
        let arguments = Self {
            database: given(self.database),
            redis: given(self.redis),
            webhook: given(self.webhook),
            lock_redis: self
                .lock_redis
                .into_iter()
                .filter_map(|url| given(Some(url)))
                .collect(),
            ..self
        };
        if arguments.database.is_some() && arguments.data.is_some() {
            let message = "--data is for the embedded database: leave it out, or --database (or the \
                           environment's REFSERVICE_DATABASE)";
            let error = Self::command().error(ErrorKind::ArgumentConflict, message);
            error.exit();
        }
        arguments
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse().checked();
    // sqlx repeats at level INFO what PostgreSQL remarks.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx::postgres::notice=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let ended = if arguments.print_config {
        print_config(&arguments)
    } else {
        run(arguments).await
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "refservice: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let settings = settings(&arguments)?;
    // Before anything is made that a signal would leave behind.
    let (terminate, interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    // Removed when it goes out of scope, after the service.
    let (database, _temporary) = match (arguments.database, arguments.data) {
        (Some(url), _) => (url, None),
        (None, Some(folder)) => {
            std::fs::create_dir_all(&folder)
                .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
            (sqlite_url(&folder), None)
        }
        (None, None) => {
            let folder = TempDir::with_prefix("refservice-")?;
            (sqlite_url(folder.path()), Some(folder))
        }
    };
    let options = Options {
        listen: arguments.listen,
        database,
        redis: arguments.redis,
        lock_redis: arguments.lock_redis,
        dataset: DatasetId {
            seed: arguments.seed,
            records: arguments.records,
        },
        settings,
        inject_delay: arguments.inject_delay,
        // No option, since the options of a process can be seen by others.
        admin_token: std::env::var("REFSERVICE_ADMIN_TOKEN")
            .ok()
            .and_then(|token| AdminToken::new(&token)),
        provider_secret: provider_secret()?,
        webhook: arguments.webhook,
    };
    let server = Server::bind(options).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", server.address())?;
    stdout.flush()?;
    server.serve(first_of(terminate, interrupt)).await?;
    Ok(())
}

/// What is no text is no secret, and not as good as none.
fn provider_secret() -> Result<Option<ProviderSecret>, Box<dyn Error>> {
    let Some(text) = std::env::var_os("REFSERVICE_PROVIDER_SECRET") else {
        return Ok(None);
    };
    Ok(ProviderSecret::new(&text.to_string_lossy())?)
}

fn print_config(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let text = settings(arguments)?.to_toml();
    let mut stdout = io::stdout();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        // Whoever read the beginning had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn settings(arguments: &Arguments) -> Result<Settings, Box<dyn Error>> {
    let text = match &arguments.config {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read the settings in {}: {error}", file.display()))?,
        None => String::new(),
    };
    // What is no text is no setting.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = Settings::load(&text, env)?;
    if let Some(RateLimit(Some(per_min))) = arguments.rate_limit {
        settings.limit.user_per_min = per_min;
        settings.limit.tenant_per_min = per_min;
        settings.limit.endpoint_per_min = per_min;
    }
    Ok(settings)
}

async fn first_of(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping: told to terminate"),
        _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
    }
}

/// The address of the database file in a folder. In an address, `?` begins the options and `%` an
/// escape.
fn sqlite_url(folder: &Path) -> String {
    let file = folder.join("reference.db");
    let path = file
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3F");
    format!("sqlite:{path}?mode=rwc")
}

fn rate_limit(text: &str) -> Result<RateLimit, String> {
    if text.is_empty() {
        return Ok(RateLimit(None));
    }
    let per_min = text.parse().map_err(|error| format!("{error}"))?;
    Ok(RateLimit(Some(per_min)))
}

fn duration(text: &str) -> Result<Duration, String> {
    // In the environment, empty is as good as not there.
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let duration: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration
        .try_into()
        .map_err(|_| "a delay cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration(""), Ok(Duration::ZERO));
        assert!(duration("-1s").is_err());
        assert!(duration("20").is_err());
    }

    #[test]
    fn rate_limits_are_read() {
        assert_eq!(rate_limit("0"), Ok(RateLimit(Some(0))));
        assert_eq!(rate_limit("1000000"), Ok(RateLimit(Some(1_000_000))));
        assert_eq!(rate_limit(""), Ok(RateLimit(None)));
        assert!(rate_limit("-1").is_err());
        assert!(rate_limit("many").is_err());
    }

    #[test]
    fn odd_folders_have_addresses() {
        let url = sqlite_url(Path::new("/tmp/a?b%20"));
        assert_eq!(url, "sqlite:/tmp/a%3Fb%2520/reference.db?mode=rwc");
    }
}
