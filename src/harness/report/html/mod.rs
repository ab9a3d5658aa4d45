//! One self-contained page: no outside request, no script, light and dark, on paper too.
//!
//! [`render`] puts together a `Page` of texts that are already formatted and lets the
//! templates (`report/templates`) lay them out. The template engine escapes every text; the only
//! things that it takes as they are, are the plots, which escape their own.

mod page;
mod table;
mod tiles;
mod judged;
mod loads;
mod capacity;
mod curves;
mod requests;
mod subject;
mod benches;
mod conditions;

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

/// The page as HTML text.
pub fn render(input: &ReportInput<'_>) -> String {
    let mut tera = Tera::default();
    tera.add_raw_templates(TEMPLATES)
        .expect("BUG: the page's templates are valid");
    let context =
        Context::from_serialize(&page::Page::new(input)).expect("BUG: a page is a map of texts");
    tera.render("page.html", &context)
        .expect("BUG: the templates use what a page has")
}
