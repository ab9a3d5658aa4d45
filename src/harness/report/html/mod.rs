//! One self-contained page: no outside request, whole without its script, light and dark, on paper too.
//!
//! [`render`] puts together a `Page` of texts that are already formatted and lets the
//! templates (`report/templates`) lay them out. The template engine escapes every text; the only
//! things that it takes as they are, are the plots, which escape their own, and the page's one script, which is
//! the same on every page. Its hash is all that the page's policy lets run, so that a name that became markup
//! in spite of everything would still do nothing.

mod page;
mod table;
mod tiles;
mod judged;
mod gates;
mod loads;
mod capacity;
mod curves;
mod requests;
mod subject;
mod benches;
mod conditions;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::input::ReportInput;
use super::layout::{self, Link};

/// What the page does beyond being read.
const SCRIPT: &str = include_str!("../templates/page.js");

/// The page as HTML text.
pub fn render(input: &ReportInput<'_>) -> String {
    render_within(input, &[])
}

/// The same as a page among others, with the way that leads to it.
pub(super) fn render_within(input: &ReportInput<'_>, way: &[Link]) -> String {
    let mut context = layout::context(&page::Page::new(input));
    context.insert("way", way);
    context.insert("script", SCRIPT);
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    context.insert("script_hash", &format!("sha256-{hash}"));
    layout::render("page.html", &context)
}
