//! Server-sent events, read by the rules of WHATWG HTML, section 9.2.6. The crates that do this keep
//! lines and events of any length.

use bytes::{Buf as _, Bytes};
use hyper::body::Incoming;

use super::exchange::{MAX_KEPT_BYTES, next_part};
use super::failure::Failure;
use super::stream::Message;
use super::wire::Sender;
use crate::harness::model::ErrorKind;

/// An open stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    parser: Parser,
    /// What has come and is not parsed yet.
    part: Bytes,
    body: Incoming,
    /// The connection ends with it.
    _sender: Sender,
}

impl Events {
    pub(super) fn new(body: Incoming, sender: Sender) -> Self {
        Self {
            parser: Parser::default(),
            part: Bytes::new(),
            body,
            _sender: sender,
        }
    }

    /// The next event; `None` at the end of the stream. An event that was begun is none.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            if let Some(event) = self.parser.next(&mut self.part)? {
                return Ok(Some(event));
            }
            match next_part(&mut self.body).await? {
                Some(part) => self.part = part,
                None => return Ok(None),
            }
        }
    }
}

/// What is known of the event that is being read.
#[derive(Debug, Default)]
struct Parser {
    /// The line, as far as it has come.
    line: Vec<u8>,
    data: String,
    event: String,
    /// Whether the first line is behind us; a byte order mark may stand before it.
    has_begun: bool,
    /// Whether a line feed would belong to the end of the line before.
    after_return: bool,
}

impl Parser {
    /// The first event that ends in `part`, which is read up to there; without one, to its end.
    fn next(&mut self, part: &mut Bytes) -> Result<Option<Message>, Failure> {
        while let Some(&first) = part.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                part.advance(1);
                continue;
            }
            let end = part.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let line = part.split_to(end.unwrap_or(part.len()));
            if self.line.len() + line.len() > MAX_KEPT_BYTES {
                return Err(too_long());
            }
            self.line.extend_from_slice(&line);
            if end.is_some() {
                self.after_return = part.get_u8() == b'\r';
                if let Some(event) = self.end_line()? {
                    return Ok(Some(event));
                }
            }
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<Option<Message>, Failure> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match std::mem::replace(&mut self.has_begun, true) {
            true => &*line,
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
        };
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.data.len() + value.len() >= MAX_KEPT_BYTES {
                    return Err(too_long());
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event),
            // The others are for connecting again. A comment has no field.
            _ => {}
        }
        Ok(None)
    }

    fn end_event(&mut self) -> Option<Message> {
        let mut text = std::mem::take(&mut self.data);
        let event = std::mem::take(&mut self.event);
        // Without any data there is no event.
        text.pop()?;
        let event = match event.is_empty() {
            true => "message".to_owned(),
            false => event,
        };
        Some(Message {
            event: Some(event),
            text,
        })
    }
}

fn too_long() -> Failure {
    let message = format!("an event or a line has more than {MAX_KEPT_BYTES} bytes");
    Failure::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn parsed(parts: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for part in parts {
            let mut part = Bytes::copy_from_slice(part);
            while let Some(event) = parser.next(&mut part).unwrap() {
                events.push((event.event.unwrap(), event.text));
            }
            assert!(part.is_empty());
        }
        events
    }

    #[test]
    fn events_are_read_by_the_rules_of_the_standard() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(event, text)| ((*event).to_owned(), (*text).to_owned()))
                .collect();
            let bytes = text.as_bytes();
            assert_eq!(parsed(&[bytes]), expected, "{text:?}");
            // However it is cut.
            for cut in 0..bytes.len() {
                let (before, after) = bytes.split_at(cut);
                assert_eq!(parsed(&[before, after]), expected, "{text:?} at {cut}");
            }
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(parsed(&single), expected, "{text:?}");
        };
        // The examples of the standard.
        check(
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            &[("message", "YHOO\n+2\n10")],
        );
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                ("message", "first event"),
                ("message", "second event"),
                ("message", " third event"),
            ],
        );
        check(
            "data\n\ndata\ndata\n\ndata:",
            &[("message", ""), ("message", "\n")],
        );
        check(
            "data:test\n\ndata: test\n\n",
            &[("message", "test"), ("message", "test")],
        );
        check(
            "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\ndata: 1\n\n",
            &[("add", "73857293"), ("remove", "2153"), ("message", "1")],
        );
        // Each end of a line.
        check(
            "data: a\r\n\r\ndata: b\r\rdata: c\n\n",
            &[("message", "a"), ("message", "b"), ("message", "c")],
        );
        check("data: a\r\ndata: b\r\n\r\n", &[("message", "a\nb")]);
        // A byte order mark stands before the first line and nowhere else.
        check(
            "\u{feff}data: a\n\n\u{feff}data: b\n\n",
            &[("message", "a")],
        );
        // Without data there is no event, and its name is forgotten.
        check("event: a\n\ndata: b\n\n", &[("message", "b")]);
        check("event: a\nevent: b\ndata: ü: x\n\n", &[("b", "ü: x")]);
        check("Data: a\nretry: 10\nunknown: b\n:data: c\n\n", &[]);
        check("data: a\n", &[]);
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let events = parsed(&[b"data: a\xffb\n\n"]);
        assert_eq!(events, [("message".to_owned(), "a\u{fffd}b".to_owned())]);
    }

    #[test]
    fn neither_a_line_nor_an_event_grows_without_bounds() {
        let check = |text: &[u8]| {
            let mut parser = Parser::default();
            let parts = MAX_KEPT_BYTES / text.len() + 1;
            let failure = (0..parts).find_map(|_| {
                let mut part = Bytes::copy_from_slice(text);
                parser.next(&mut part).err()
            });
            assert_eq!(failure.unwrap().kind, ErrorKind::Protocol);
        };
        let large = "a".repeat(1 << 20);
        check(format!("data: {large}\n").as_bytes());
        check(large.as_bytes());
    }
}
