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
use tera::{Context, Tera};

use super::input::ReportInput;

/// The templates by name. Only names that end in `.html` are escaped, so all that show anything do.
const TEMPLATES: [(&str, &str); 4] = [
    ("page.html", include_str!("../templates/page.html")),
    ("sections.html", include_str!("../templates/sections.html")),
    (
        "components.html",
        include_str!("../templates/components.html"),
    ),
    ("style.css", include_str!("../templates/style.css")),
];

/// What the page does beyond being read.
const SCRIPT: &str = include_str!("../templates/page.js");

/// The page as HTML text.
pub fn render(input: &ReportInput<'_>) -> String {
    let mut tera = Tera::default();
    tera.add_raw_templates(TEMPLATES)
        .expect("BUG: the page's templates are valid");
    let mut context =
        Context::from_serialize(&page::Page::new(input)).expect("BUG: a page is a map of texts");
    context.insert("script", SCRIPT);
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    context.insert("script_hash", &format!("sha256-{hash}"));
    tera.render("page.html", &context)
        .expect("BUG: the templates use what a page has")
}
