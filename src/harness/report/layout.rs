//! The templates of all pages, read once: a site has hundreds of pages, and reading the templates takes as long as
//! one of them.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Tera};

/// The templates by name. Those whose names end in `.html`, `.xml` and `.svg` are escaped, so all that show anything
/// are.
const TEMPLATES: [(&str, &str); 13] = [
    ("base.html", include_str!("templates/base.html")),
    ("page.html", include_str!("templates/page.html")),
    ("sections.html", include_str!("templates/sections.html")),
    ("components.html", include_str!("templates/components.html")),
    ("style.css", include_str!("templates/style.css")),
    ("site/base.html", include_str!("templates/site/base.html")),
    ("site/index.html", include_str!("templates/site/index.html")),
    (
        "site/scenario.html",
        include_str!("templates/site/scenario.html"),
    ),
    ("site/list.html", include_str!("templates/site/list.html")),
    (
        "site/components.html",
        include_str!("templates/site/components.html"),
    ),
    ("site/site.css", include_str!("templates/site/site.css")),
    ("site/feed.xml", include_str!("templates/site/feed.xml")),
    ("site/badge.svg", include_str!("templates/site/badge.svg")),
];

/// A link to another page.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    /// What it says, fit to be shown.
    pub(super) label: String,
    /// Where it leads, from the page that it is on.
    pub(super) href: String,
}

/// What a template is to know.
pub(super) fn context(of: &impl Serialize) -> Context {
    Context::from_serialize(of).expect("BUG: what is shown is a map of texts")
}

/// What a template makes of it.
pub(super) fn render(template: &str, context: &Context) -> String {
    static TERA: LazyLock<Tera> = LazyLock::new(|| {
        let mut tera = Tera::default();
        tera.autoescape_on([".html", ".xml", ".svg"]);
        tera.add_raw_templates(TEMPLATES)
            .expect("BUG: the templates are valid");
        tera
    });
    TERA.render(template, context)
        .expect("BUG: the templates use what a page has")
}
