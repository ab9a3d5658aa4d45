//! Streams: stdout is the answer, stderr has progress, warnings and logs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use terminal_size::{Height, Width, terminal_size, terminal_size_of};

use crate::harness::report::ci;
use crate::harness::report::format;
use crate::harness::report::terminal::TerminalStyle;

use super::args::{Color, Format, Global};
use super::failure::Failure;

/// How this call speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// For people or for programs.
    pub(super) format: Format,
    /// Whether only the verdict is wanted, and what its reader must know beside it.
    pub(super) quiet: bool,
    /// Whether nothing is wanted but answers.
    is_silent: bool,
    /// Whether stdout takes colour.
    pub(super) colour: bool,
    /// Whether stderr takes colour.
    pub(super) colour_err: bool,
    /// Whether what a person reads on stdout is to be ASCII.
    ascii: bool,
    /// The same of stderr.
    ascii_err: bool,
    /// Whether a runner of GitHub looks for commands in what is said.
    on_github: bool,
    /// Whether a live view makes sense.
    pub(super) live: bool,
}

/// Columns where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 100;
/// What the runner of GitHub sets to `true`.
const ON_GITHUB: &str = "GITHUB_ACTIONS";
/// Columns and rows of a terminal that doesn't tell its size.
const USUAL_SIZE: (Width, Height) = (Width(80), Height(24));

impl Output {
    /// Asks the options, the environment and the streams.
    pub(super) fn new(global: &Global) -> Self {
        let term = std::env::var_os("TERM");
        let dumb = term.as_ref().is_some_and(|term| term == "dumb");
        let wanted = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                is_terminal && !refused && !dumb
            }
        };
        let is_foreign = is_foreign(|name| std::env::var(name).ok());
        let stdout = std::io::stdout().is_terminal();
        let stderr = std::io::stderr().is_terminal();
        Self {
            format: global.format,
            quiet: global.quiet,
            is_silent: false,
            // Of what a step on GitHub says, its log is all that anybody sees.
            colour: wanted(stdout) && global.format != Format::Github,
            colour_err: wanted(stderr),
            // A file and a pipe are read somewhere else, where another locale may hold.
            ascii: global.ascii || (stdout && is_foreign),
            ascii_err: global.ascii || (stderr && is_foreign),
            // A command may say something else there than verdicts.
            on_github: global.format == Format::Github
                || std::env::var_os(ON_GITHUB).is_some_and(|value| value == "true"),
            // A view moves the cursor, which nobody knows of a terminal without a name. A log keeps whatever was drawn,
            // also where its CI system lends a terminal; and ours would stand between the lines of a view.
            live: stderr
                && !global.quiet
                && term.is_some()
                && !dumb
                && !is_ci()
                && !is_logging(global),
        }
    }

    /// One for tests, that says nothing beside its answers.
    #[cfg(test)]
    pub(super) const SILENT: Self = Self {
        format: Format::Human,
        quiet: true,
        is_silent: true,
        colour: false,
        colour_err: false,
        ascii: false,
        ascii_err: false,
        on_github: false,
        live: false,
    };

    /// The same, saying nothing beside its answers.
    pub(super) fn silenced(&self) -> Self {
        Self {
            quiet: true,
            is_silent: true,
            live: false,
            ..*self
        }
    }

    /// How text for stdout is drawn.
    pub(super) fn style(&self) -> TerminalStyle {
        TerminalStyle {
            colour: self.colour,
            width: width(),
            ascii: self.ascii,
        }
    }

    /// How text for stderr is drawn.
    pub(super) fn style_err(&self) -> TerminalStyle {
        TerminalStyle {
            colour: self.colour_err,
            width: width(),
            ascii: self.ascii_err,
        }
    }

    /// How the live view is drawn on stderr, and in how many rows. A line that is wider than the terminal would
    /// take two of them, so here COLUMNS can only make it narrower.
    pub(super) fn style_live(&self) -> (TerminalStyle, usize) {
        let (Width(columns), Height(rows)) =
            terminal_size_of(std::io::stderr()).unwrap_or(USUAL_SIZE);
        let columns = usize::from(columns);
        let style = TerminalStyle {
            colour: self.colour_err,
            width: named_columns().map_or(columns, |named| named.min(columns)),
            ascii: self.ascii_err,
        };
        (style, rows.into())
    }

    /// Whether the answer is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes text for a person to stdout.
    pub(super) fn answer(&self, text: &str) -> Result<(), Failure> {
        let text = readable(text, self.ascii);
        // Of what is said in GitHub's own form, the commands are ours.
        match self.on_github && self.format == Format::Human {
            true => self.document(&ci::defused(&text)),
            false => self.document(&text),
        }
    }

    /// Writes text for a program, or for another place, to stdout as it is.
    pub(super) fn document(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()?;
        Ok(())
    }

    /// Writes a value to stdout as one line of JSON.
    pub(super) fn answer_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::tool("writing the answer as JSON", &error))?;
        self.document(&text)
    }

    /// Says on stderr how far it has come, unless only the verdict is wanted.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// Says on stderr what the reader of the answer must know: what was left out, and why there is none.
    pub(super) fn warn(&self, text: &str) {
        if !self.is_silent {
            self.complain(text);
        }
    }

    /// Says on stderr why there is no answer, to whoever else is to hear nothing as well.
    pub(super) fn complain(&self, text: &str) {
        // Words of other programs are among it, and a step on GitHub looks for commands in both streams.
        let text = readable(text, self.ascii_err);
        let text = match self.on_github {
            true => Cow::Owned(ci::defused(&text)),
            false => text,
        };
        // stderr that went away is nobody's loss; the exit code has to be enough then.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Writes a part of the live view to stderr, in one go so that it doesn't flicker.
    pub(super) fn draw(&self, text: &str) {
        // A terminal that went away is nobody's loss.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// What writes logs to a stream: they are read by whoever reads what is said there.
    pub(super) fn log_to<W: Write>(&self, stream: W) -> Log<W> {
        Log {
            stream,
            on_github: self.on_github,
        }
    }
}

/// Logs on their way to a stream.
pub(super) struct Log<W> {
    stream: W,
    on_github: bool,
}

impl<W: Write> Write for Log<W> {
    /// Takes one event, as a whole: so tracing-subscriber writes them.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        match self.on_github {
            true => {
                let text = ci::defused(&String::from_utf8_lossy(event));
                self.stream.write_all(text.as_bytes())?;
            }
            false => self.stream.write_all(event)?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The columns that an answer has now: the terminal may have got another width since the start. COLUMNS beats it.
fn width() -> usize {
    let asked = || terminal_size().map(|(Width(columns), _)| columns.into());
    named_columns().or_else(asked).unwrap_or(DEFAULT_WIDTH)
}

fn named_columns() -> Option<usize> {
    let columns: usize = std::env::var("COLUMNS").ok()?.parse().ok()?;
    Some(columns).filter(|columns| *columns > 0)
}

/// Whether this is a job of a CI system, as all of them say.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Whether a log of what happens inside was asked for.
fn is_logging(global: &Global) -> bool {
    global.verbose > 0 || std::env::var_os("PLIMSOLL_LOG").is_some()
}

fn readable(text: &str, ascii: bool) -> Cow<'_, str> {
    match ascii && !text.is_ascii() {
        true => Cow::Owned(format::ascii(text)),
        false => Cow::Borrowed(text),
    }
}

/// Whether the locale says which characters the terminal shows, and that they are not UTF-8. Of its three
/// variables the first that is set counts, as everywhere; where none is, nothing is known.
fn is_foreign(variable: impl Fn(&str) -> Option<String>) -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().map(variable);
    let locale = set.find_map(|value| value.filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A stream whose text can be looked at.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics here").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What others wrote gets into logs too, such as a statement of many lines.
    #[test]
    fn a_log_has_no_command_where_somebody_looks_for_one() {
        let check = |on_github: bool, expected: &str| {
            let output = Output {
                on_github,
                ..Output::SILENT
            };
            let kept = Kept::default();
            let stream = kept.clone();
            let logs = tracing_subscriber::fmt()
                .without_time()
                .with_ansi(false)
                .with_target(false)
                .with_writer(move || output.log_to(stream.clone()))
                .finish();
            tracing::subscriber::with_default(logs, || {
                let error = "a\n::add-mask::b ##[error]c";
                tracing::warn!(%error, "it failed");
            });
            let written = kept.0.lock().expect("no test panics here").clone();
            assert_eq!(String::from_utf8_lossy(&written), expected);
        };
        let said = " WARN it failed error=a\n";
        check(false, &format!("{said}::add-mask::b ##[error]c\n"));
        check(true, &format!("{said}| ::add-mask::b ## [error]c\n"));
    }

    #[test]
    fn a_locale_that_is_not_utf_8_is_foreign() {
        let check = |set: &[(&str, &str)], expected: bool| {
            let value = |name: &str| set.iter().find(|(known, _)| *known == name);
            let found = is_foreign(|name| value(name).map(|(_, value)| (*value).to_owned()));
            assert_eq!(found, expected, "{set:?}");
        };
        check(&[], false);
        check(&[("LANG", "")], false);
        check(&[("LANG", "en_US.UTF-8")], false);
        check(&[("LANG", "C.utf8")], false);
        check(&[("LANG", "C")], true);
        check(&[("LANG", "de_DE.ISO-8859-1")], true);
        check(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")], true);
        check(&[("LC_CTYPE", "UTF-8"), ("LANG", "C")], false);
        check(&[("LC_ALL", ""), ("LANG", "C.UTF-8")], false);
    }
}
