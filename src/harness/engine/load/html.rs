//! HTML, read within limits: a page of nothing but open elements takes the parser time that grows with
//! the square of its length, and all users of a worker share a thread.

use std::cell::Cell;
use std::time::{Duration, Instant};

use html5ever::interface::Tracer;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use html5ever::{ParseOpts, parse_document};
use scraper::{Html, HtmlTreeSink};

/// A longer page is not read.
const MAX_BYTES: usize = 1 << 20;
/// Elements that are open at the same time; browsers nest as many.
const MAX_OPEN: usize = 512;
/// Elements and texts. Some markup makes more of them than it has bytes.
const MAX_NODES: usize = 1 << 18;
/// Whatever else a page does to the parser, it doesn't do for longer.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// The limits are looked at after so much of a page.
const PART_BYTES: usize = 1 << 10;

/// The document; anything can be read as one that is no larger than that. The error says what is too
/// large.
pub(super) fn document(text: &str) -> Result<Html, String> {
    document_within(TIME_LIMIT, text)
}

fn document_within(limit: Duration, text: &str) -> Result<Html, String> {
    if text.len() > MAX_BYTES {
        return Err(format!(
            "the body has {} bytes; only {MAX_BYTES} are read as HTML",
            text.len()
        ));
    }
    let began = Instant::now();
    let sink = HtmlTreeSink::new(Html::new_document());
    let mut parser = parse_document(sink, ParseOpts::default());
    let mut left = text;
    while !left.is_empty() {
        let (part, rest) = left.split_at(left.floor_char_boundary(PART_BYTES));
        left = rest;
        parser.process(StrTendril::from(part));
        let tree_builder = &parser.tokenizer.sink;
        let open = Open::default();
        tree_builder.trace_handles(&open);
        if open.0.get() > MAX_OPEN {
            return Err(format!(
                "more than {MAX_OPEN} elements of the body are inside of one another"
            ));
        }
        if tree_builder.sink.0.borrow().tree.nodes().len() > MAX_NODES {
            return Err(format!(
                "the body has more than {MAX_NODES} elements and texts"
            ));
        }
        if began.elapsed() > limit {
            return Err(format!(
                "it takes longer than {limit:?} to read the body as HTML"
            ));
        }
    }
    Ok(parser.finish())
}

/// Counts the elements that a parser remembers: those that are open, above all.
#[derive(Default)]
struct Open(Cell<usize>);

impl Tracer for Open {
    type Handle = <HtmlTreeSink as html5ever::interface::TreeSink>::Handle;

    fn trace_handle(&self, _element: &Self::Handle) {
        self.0.set(self.0.get() + 1);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use nix::time::{ClockId, clock_gettime};
    use scraper::Selector;

    use super::*;

    #[test]
    fn a_page_is_read_whole() {
        let item = "<li>ä <b>one</b><br><img src=x>";
        let page = format!("<ul>{}</ul><p id=end>é", item.repeat(5_000));
        // However busy the machine is.
        let found = document_within(60 * TIME_LIMIT, &page).unwrap();
        let count = |selector| {
            let selector = Selector::parse(selector).unwrap();
            found.select(&selector).count()
        };
        assert_eq!(count("ul > li > b"), 5_000);
        assert_eq!(count("p#end"), 1);
        assert_eq!(count("li li"), 0);
    }

    #[test]
    fn what_would_keep_the_thread_busy_is_refused() {
        // Of the processor: the machine may have something else to do, too.
        let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let check_within = |limit, page: String, expected: &str| {
            let began = used();
            let error = document_within(limit, &page).unwrap_err();
            assert!(error.contains(expected), "{error}");
            // Without limits each takes from many seconds to minutes, even where it is optimised.
            let took = used() - began;
            assert!(took < 4 * TIME_LIMIT, "{took:?}");
        };
        // Nor must the limit of time come before the others there.
        let check = |page, expected| check_within(60 * TIME_LIMIT, page, expected);
        let whole = |unit: &str| unit.repeat(MAX_BYTES / unit.len());
        check(format!("{} ", whole("x")), "only 1048576 are read");
        check(whole("<div>"), "inside of one another");
        check(
            format!("<table>{}", "<div>".repeat(100_000)),
            "inside of one another",
        );
        // Each paragraph opens again what is open in the one before it.
        let fonts: String = (0..200).map(|nth| format!("<font size={nth}>")).collect();
        check(
            format!("{fonts}{}", "<p>x".repeat(200_000)),
            "elements and texts",
        );
        // A name of an attribute is compared with all others of its element.
        let names: String = (0..150_000).map(|nth| format!(" {nth:x}")).collect();
        check_within(TIME_LIMIT, format!("<a{names}>"), "takes longer");
    }
}
