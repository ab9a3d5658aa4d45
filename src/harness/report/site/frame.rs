//! What every page has: the engine that lays it out, its place, and the way to the others.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Tera};

use crate::harness::report::text;

/// The templates by name. Names that end otherwise than in `.html`, `.xml` and `.svg` are not escaped.
const TEMPLATES: [(&str, &str); 9] = [
    ("style.css", include_str!("../templates/style.css")),
    ("site/site.css", include_str!("../templates/site/site.css")),
    (
        "site/base.html",
        include_str!("../templates/site/base.html"),
    ),
    (
        "site/components.html",
        include_str!("../templates/site/components.html"),
    ),
    (
        "site/index.html",
        include_str!("../templates/site/index.html"),
    ),
    (
        "site/scenario.html",
        include_str!("../templates/site/scenario.html"),
    ),
    (
        "site/list.html",
        include_str!("../templates/site/list.html"),
    ),
    ("site/feed.xml", include_str!("../templates/site/feed.xml")),
    (
        "site/badge.svg",
        include_str!("../templates/site/badge.svg"),
    ),
];

/// Where a page lies and what it is called.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    title: String,
    /// The way from the page to the site's root: nothing, or `../` as often as it needs.
    root: String,
    version: &'static str,
}

impl Frame {
    /// That of the page at `path`, from the site's root.
    pub(super) fn new(path: &str, title: &str) -> Self {
        Self {
            title: text::shown(title, 120),
            root: up(path),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// A link to another page of the site.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// What it says; hostile.
    pub label: &'a str,
    /// Where it leads, from the site's root.
    pub path: &'a str,
}

/// The way from the page at `path` to the site's root.
pub(super) fn up(path: &str) -> String {
    "../".repeat(path.matches('/').count())
}

/// What a template makes of a page.
pub(super) fn render(template: &str, page: &impl Serialize) -> String {
    // A site has hundreds of pages, and reading the templates takes as long as one of them.
    static TERA: LazyLock<Tera> = LazyLock::new(|| {
        let mut tera = Tera::default();
        tera.autoescape_on([".html", ".xml", ".svg"]);
        tera.add_raw_templates(TEMPLATES)
            .expect("BUG: the site's templates are valid");
        tera
    });
    let context = Context::from_serialize(page).expect("BUG: a page is a map of texts");
    TERA.render(template, &context)
        .expect("BUG: the templates use what a page has")
}

/// A report's page with links to the rest of the site before everything else in it. The page is made for
/// itself and knows of no site.
pub(super) fn with_way_back(page: &str, path: &str, way: &[Way<'_>]) -> String {
    let body = page.find("<body").and_then(|body| {
        let end = page[body..].find('>')?;
        Some(body + end + 1)
    });
    let Some(body) = body else {
        return page.to_owned();
    };
    let links: Vec<String> = way
        .iter()
        .map(|way| {
            format!(
                "<a style=\"color:inherit;border:0;background:none;padding:.3rem 0\" href=\"{}{}\">{}</a>",
                up(path),
                text::escaped(way.path),
                text::escaped(&text::shown(way.label, 60))
            )
        })
        .collect();
    format!(
        "{}\n<nav aria-label=\"Site\" style=\"display:flex;flex-wrap:wrap;gap:0 1.5rem;max-width:84rem;margin:0 auto;\
         padding:.3rem 1.5rem;font-size:.875rem\">{}</nav>{}",
        &page[..body],
        links.concat(),
        &page[body..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_the_first_thing_of_a_page() {
        let page =
            "<html><head><title>x</title></head><body class=\"pass\"><main>…</main></body></html>";
        let way = [Way {
            label: "<b>\u{1b}[31m",
            path: "a\"b",
        }];
        let linked = with_way_back(page, "sessions/x.html", &way);
        let (head, rest) = linked
            .split_once("<body class=\"pass\">")
            .unwrap_or_default();
        assert!(head.ends_with("</head>") && rest.trim_start().starts_with("<nav "));
        assert!(
            rest.contains("href=\"../a&quot;b\">&lt;b&gt;</a>"),
            "{rest}"
        );
        assert!(
            rest.ends_with("</nav><main>…</main></body></html>"),
            "{rest}"
        );
    }

    #[test]
    fn a_page_knows_how_deep_it_lies() {
        assert_eq!(up("index.html"), "");
        assert_eq!(up("scenarios/mixed/index.html"), "../../");
    }
}
