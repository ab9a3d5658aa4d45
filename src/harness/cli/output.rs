//! Streams: stdout is the answer, stderr has progress, warnings and logs.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::harness::report::ci;
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
    /// Whether a live view makes sense.
    pub(super) live: bool,
    /// Columns of the terminal.
    pub(super) width: usize,
}

/// Columns where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 100;

impl Output {
    /// Asks the options, the environment and the streams.
    pub(super) fn new(global: &Global) -> Self {
        let wanted = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                is_terminal && !refused && !dumb
            }
        };
        let stdout = std::io::stdout().is_terminal();
        let stderr = std::io::stderr().is_terminal();
        let width = terminal_width().unwrap_or(DEFAULT_WIDTH);
        Self {
            format: global.format,
            quiet: global.quiet,
            is_silent: false,
            // Of what a step on GitHub says, its log is all that anybody sees.
            colour: wanted(stdout) && global.format != Format::Github,
            colour_err: wanted(stderr),
            live: stderr && !global.quiet,
            width,
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
        live: false,
        width: 80,
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
            width: self.width,
        }
    }

    /// Whether the answer is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes text to stdout as it is.
    pub(super) fn answer(&self, text: &str) -> Result<(), Failure> {
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
        self.answer(&text)
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
        let text = match self.format {
            Format::Github => Cow::Owned(ci::defused(text)),
            _ => Cow::Borrowed(text),
        };
        // stderr that went away is nobody's loss; the exit code has to be enough then.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// The width of the terminal; COLUMNS beats it.
fn terminal_width() -> Option<usize> {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    columns.or_else(|| {
        let (width, _) = terminal_size::terminal_size()?;
        Some(usize::from(width.0))
    })
}
