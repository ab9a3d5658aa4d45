//! What a process writes: its last lines, and whether one of them says that it is ready.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anstream::adapter::strip_str;
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

/// The output of a process over all of its starts in a run. Hostile text: escape sequences,
/// control characters and secrets are taken out before anything is kept.
#[derive(Debug)]
pub(crate) struct Output {
    redactor: Arc<Redactor>,
    ready_pattern: Option<Regex>,
    ready: watch::Sender<bool>,
    last: Mutex<VecDeque<String>>,
}

impl Output {
    /// Nothing yet. `ready_pattern` is looked for in every line.
    pub(crate) fn new(redactor: Arc<Redactor>, ready_pattern: Option<Regex>) -> Self {
        Self {
            redactor,
            ready_pattern,
            ready: watch::Sender::new(false),
            last: Mutex::default(),
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
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from_iter(last.iter().map(String::as_str)).join("\n")
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
        let plain = strip_str(line.trim_end()).to_string();
        // The pattern is for the line as it was written: a secret may be a word of it.
        if self
            .ready_pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(&plain))
        {
            self.ready.send_replace(true);
        }
        let mut text = without_secrets(&plain, &self.redactor);
        if text.len() > KEPT_LINE_BYTES {
            text.truncate(text.floor_char_boundary(KEPT_LINE_BYTES));
            text.push('…');
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
}

/// The lines of a program's output as they may be shown and kept: without escape sequences, secrets
/// and control characters.
pub(in crate::harness::engine) fn clean(lines: &str, redactor: &Redactor) -> String {
    let lines = lines
        .lines()
        .map(|line| without_secrets(&strip_str(line).to_string(), redactor));
    Vec::from_iter(lines).join("\n")
}

/// Of a line whose escape sequences are gone already, lest one of them hide a secret.
fn without_secrets(plain: &str, redactor: &Redactor) -> String {
    redactor.redact(plain).replace(
        |character: char| steers(character) && character != '\t',
        "\u{fffd}",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    async fn check(written: &[u8], expected: &str) {
        let secrets = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let output = Output::new(Arc::new(Redactor::new(&secrets)), None);
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
    async fn memory_is_bounded() {
        let output = Output::new(Arc::default(), None);
        let flood = "x".repeat(300_000) + "\n";
        output.copy(flood.repeat(100).as_bytes()).await;
        let lines = output.last_lines();
        assert_eq!(lines.lines().count(), KEPT_LINES);
        assert!(lines.len() < KEPT_LINES * (KEPT_LINE_BYTES + 4));
    }

    #[tokio::test]
    async fn the_ready_line_is_noticed_whenever_it_was_written() {
        let pattern = Regex::new("ready to accept").unwrap();
        let output = Output::new(Arc::default(), Some(pattern));
        output.copy(&b"starting\n"[..]).await;
        assert!(!*output.ready.borrow());
        output
            .copy(&b"db is ready to accept connections\nmore\n"[..])
            .await;
        output.ready().await;
    }

    #[tokio::test]
    async fn the_ready_line_may_have_a_secret_in_it() {
        let secrets = BTreeMap::from([("USER".to_owned(), "postgres".to_owned())]);
        let redactor = Arc::new(Redactor::new(&secrets));
        let pattern = Regex::new("^postgres: ready$").unwrap();
        let output = Output::new(redactor, Some(pattern));
        output.copy(&b"\x1b[1mpostgres\x1b[0m: ready\n"[..]).await;
        assert!(*output.ready.borrow());
        assert_eq!(output.last_lines(), "{$env.USER}: ready");
    }
}
