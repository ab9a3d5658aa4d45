//! From the command line to the exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use crate::harness::engine::load::worker_main;
use crate::harness::engine::process::supervise_main;
use crate::harness::gate::exit;
use crate::harness::report::{ci, text};

use super::args::{Cli, Command, Format};
use super::failure::Failure;
use super::output::Output;
use super::{
    baseline, calibrate, check, comment, compare, doctor, export, gate, history, init, k8s, list,
    merge, report, run, worker,
};

/// The whole program.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let said = format!(
            "BUG: {info}\nThis is a mistake in plimsoll {}, not in what you did; please report it with the command line.",
            env!("CARGO_PKG_VERSION")
        );
        // A panic may tell a text of others, and before the options are read nobody knows who reads this.
        let _ = writeln!(std::io::stderr(), "{}", ci::defused(&said));
    }));
    let cli = Cli::parse();
    match &cli.command {
        // Processes of our own, which speak a protocol and are no commands for people.
        Command::LoadWorker => {
            return match worker_main() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => ExitCode::from(explain(
                    &Failure::tool("generating load", &error),
                    &Output::new(&cli.global),
                )),
            };
        }
        Command::Supervise => return supervise_main(),
        _ => {}
    }
    let output = Output::new(&cli.global);
    log_to_stderr(cli.global.verbose, output);
    let code = refuse_format(&cli)
        .and_then(|()| dispatch(&cli, &output))
        .unwrap_or_else(|failure| explain(&failure, &output));
    ExitCode::from(code)
}

/// Says where the answer of a command has no such form.
fn refuse_format(cli: &Cli) -> Result<(), Failure> {
    let format = cli.global.format;
    let fits = match &cli.command {
        Command::Report(args) if args.site.is_some() => !format.is_of_verdicts(),
        Command::Run(_)
        | Command::Gate(_)
        | Command::Compare(_)
        | Command::Report(_)
        | Command::Merge(_) => true,
        Command::Comment(_) => matches!(format, Format::Human | Format::Markdown),
        _ => !format.is_of_verdicts(),
    };
    match fits {
        true => Ok(()),
        false => Err(Failure::usage(
            format!("the answer of this command has no form {}", format.name()),
            match &cli.command {
                Command::Comment(_) => "it is Markdown: leave --format out",
                _ => {
                    "leave --format out, or write --format json; the others are forms of verdicts: run, gate, compare, report and merge"
                }
            },
        )),
    }
}

fn dispatch(cli: &Cli, output: &Output) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::tool("starting the runtime", &error))?;
    let global = &cli.global;
    runtime.block_on(async {
        match &cli.command {
            Command::Init(args) => init::run(output, args),
            Command::Run(args) => run::run(global, output, args).await,
            Command::Gate(args) => gate::run(global, output, args).await,
            Command::Calibrate(args) => calibrate::run(global, output, args).await,
            Command::Compare(args) => compare::run(global, output, args).await,
            Command::Export(args) => export::run(global, output, args).await,
            Command::Report(args) => report::run(global, output, args).await,
            Command::Baseline(command) => baseline::run(global, output, command).await,
            Command::History(args) => history::run(global, output, args).await,
            Command::Check(args) => check::run(output, args),
            Command::Schema(args) => check::schema(output, args),
            Command::List(args) => list::run(global, output, args).await,
            Command::Doctor => doctor::run(output).await,
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Cli::command(), "plimsoll", &mut script);
                output.document(&String::from_utf8_lossy(&script))?;
                Ok(exit::PASS)
            }
            Command::Worker(args) => worker::run(output, args).await,
            Command::Merge(args) => merge::run(global, output, args).await,
            Command::Comment(args) => comment::run(output, args),
            Command::K8s(args) => k8s::run(output, args),
            Command::LoadWorker | Command::Supervise => Ok(exit::PASS),
        }
    })
}

/// Says on stderr what went wrong and gives the exit code.
pub(super) fn explain(failure: &Failure, output: &Output) -> u8 {
    let (open, close) = match output.colour_err {
        true => (
            anstyle::AnsiColor::Red
                .on_default()
                .bold()
                .render()
                .to_string(),
            anstyle::Reset.render().to_string(),
        ),
        false => (String::new(), String::new()),
    };
    let said = |text: &str| text::block(text);
    // Names of a shared store and words of other programs are among it: nothing of them may steer a
    // terminal.
    match failure {
        Failure::Usage(what, remedy) | Failure::Invalid(what, remedy) => {
            let (what, remedy) = (said(what), said(remedy));
            output.complain(&format!("{open}error{close}: {what}\n  help: {remedy}"));
        }
        Failure::Scenario(rendered) => output.complain(rendered),
        Failure::Tool(what) | Failure::NoBase(what) => {
            output.complain(&format!("{open}error{close}: {}", said(what)));
        }
        Failure::BrokenPipe => {}
    }
    match failure {
        Failure::Usage(..) | Failure::Scenario(_) => exit::USAGE,
        Failure::Tool(_) => exit::FAILURE,
        Failure::Invalid(..) => exit::INVALID,
        Failure::NoBase(_) => exit::NO_BASELINE,
        Failure::BrokenPipe => exit::PASS,
    }
}

/// Logs are for finding out what happens inside: silent unless asked for with -v or PLIMSOLL_LOG.
fn log_to_stderr(verbose: u8, output: Output) {
    let level = match verbose {
        0 => "error",
        1 => "plimsoll=info,warn",
        2 => "plimsoll=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("PLIMSOLL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(output.colour_err)
        .with_writer(move || output.log_to(std::io::stderr()))
        .init();
}
