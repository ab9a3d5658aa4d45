//! What a process writes: the last lines in memory, the beginning in a file.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use regex::Regex;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;

use crate::harness::engine::redact::Redactor;
use crate::harness::model::steers;

/// How many lines are remembered.
const KEPT_LINES: usize = 40;
/// A longer line is cut here after the secrets were taken out of it.
const KEPT_LINE_BYTES: usize = 2_000;
/// A longer line is not searched to its end, neither for secrets nor for the ready pattern.
const READ_LINE_BYTES: usize = 64 << 10;
/// The file takes no more than this.
const LOG_BYTES: usize = 64 << 20;

/// The output of a process over all of its starts in a run. Hostile text: escape sequences,
/// control characters and secrets are taken out before anything is kept.
#[derive(Debug)]
pub(crate) struct Output {
    redactor: Arc<Redactor>,
    ready_pattern: Option<Regex>,
    ready: watch::Sender<bool>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    last: VecDeque<String>,
    log: Option<std::fs::File>,
    log_room: usize,
}

impl Output {
    /// Nothing yet. `ready_pattern` is looked for in every line; all lines go into `log`.
    pub(crate) fn new(
        redactor: Arc<Redactor>,
        ready_pattern: Option<Regex>,
        log: Option<std::fs::File>,
    ) -> Self {
        Self {
            redactor,
            ready_pattern,
            ready: watch::Sender::new(false),
            kept: Mutex::new(Kept {
                last: VecDeque::new(),
                log,
                log_room: LOG_BYTES,
            }),
        }
    }

    /// Reads to the end. Bounded in memory whatever comes.
    pub(crate) async fn copy(&self, mut from: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; 16 << 10];
        let mut line = Vec::new();
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            for piece in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
                let room = READ_LINE_BYTES - line.len();
                line.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    self.keep(&line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.keep(&line);
        }
    }

    /// The last lines, the oldest first.
    pub(crate) fn last_lines(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from_iter(kept.last.iter().map(String::as_str)).join("\n")
    }

    /// Forgets that a line matched: the process starts anew.
    pub(crate) fn not_ready(&self) {
        self.ready.send_replace(false);
    }

    /// Waits until a line matched the ready pattern.
    pub(crate) async fn ready(&self) {
        // The sender is in `self`, so it can't be gone.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    fn keep(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let mut text = clean_line(line.trim_end(), &self.redactor);
        if self
            .ready_pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(&text))
        {
            self.ready.send_replace(true);
        }
        if text.len() > KEPT_LINE_BYTES {
            text.truncate(text.floor_char_boundary(KEPT_LINE_BYTES));
            text.push('…');
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept {
            last,
            log,
            log_room,
        } = &mut *kept;
        if let Some(file) = log
            && text.len() < *log_room
            && writeln!(file, "{text}").is_ok()
        {
            *log_room -= text.len() + 1;
        }
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
}

/// The lines of a program's output as they may be shown and kept: without escape sequences, secrets
/// and control characters.
pub(in crate::harness::engine) fn clean(lines: &str, redactor: &Redactor) -> String {
    let lines = lines.lines().map(|line| clean_line(line, redactor));
    Vec::from_iter(lines).join("\n")
}

/// Escape sequences go first, lest one of them hide a secret.
fn clean_line(line: &str, redactor: &Redactor) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    redactor.redact(&plain).replace(
        |character: char| steers(character) && character != '\t',
        "\u{fffd}",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read as _, Seek as _};

    use super::*;

    async fn check(written: &[u8], expected: &str) {
        let secrets = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let output = Output::new(Arc::new(Redactor::new(&secrets)), None, None);
        output.copy(written).await;
        assert_eq!(output.last_lines(), expected);
    }

    #[tokio::test]
    async fn lines_come_without_secrets_and_escapes() {
        check(b"", "").await;
        check(b"one\ntwo\r\nthree", "one\ntwo\nthree").await;
        check(
            b"\x1b[32mINFO\x1b[0m token=hunter2\n",
            "INFO token={$env.TOKEN}",
        )
        .await;
        check(b"a\x07b\xff\n", "ab\u{fffd}").await;
        // An escape sequence must not hide a secret.
        check(b"hun\x1b[1mter2\n", "{$env.TOKEN}").await;
    }

    #[tokio::test]
    async fn memory_and_file_are_bounded() {
        let log = tempfile::tempfile().unwrap();
        let output = Output::new(Arc::default(), None, Some(log.try_clone().unwrap()));
        let flood = "x".repeat(300_000) + "\n";
        output.copy(flood.repeat(100).as_bytes()).await;
        let lines = output.last_lines();
        assert_eq!(lines.lines().count(), KEPT_LINES);
        assert!(lines.len() < KEPT_LINES * (KEPT_LINE_BYTES + 4));
        let mut log = log;
        let mut text = String::new();
        log.rewind().unwrap();
        log.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 100);
    }

    #[tokio::test]
    async fn the_ready_line_is_noticed_whenever_it_was_written() {
        let pattern = Regex::new("ready to accept").unwrap();
        let output = Output::new(Arc::default(), Some(pattern), None);
        output.copy(&b"starting\n"[..]).await;
        assert!(!*output.ready.borrow());
        output
            .copy(&b"db is ready to accept connections\nmore\n"[..])
            .await;
        output.ready().await;
    }
}
