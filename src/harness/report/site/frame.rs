//! What every page has: its name, its place, and the way that leads to it.

use serde::Serialize;

use crate::harness::report::layout::{self, Link};
use crate::harness::report::text;

/// A page of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// What a link to it says; hostile.
    pub label: String,
    /// Where it is, from the site's root.
    pub path: String,
}

impl Page {
    /// The same, fit to be shown.
    pub(super) fn shown(&self) -> Self {
        Self {
            label: named(&self.label),
            path: self.path.clone(),
        }
    }
}

/// Where a page lies and what it is called.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    title: String,
    /// The way from the page to the site's root: nothing, or `../` as often as it needs.
    root: String,
    way: Vec<Link>,
    version: &'static str,
}

impl Frame {
    /// That of the page at `path`, from the site's root; `way` are the pages above it, the first one first.
    pub(super) fn new(path: &str, title: &str, way: &[Page]) -> Self {
        Self {
            title: text::shown(title, 120),
            root: up(path),
            way: links(path, way),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The page that a template makes of this.
pub(super) fn render(template: &str, frame: &Frame, page: &impl Serialize) -> String {
    let mut context = layout::context(page);
    context.extend(layout::context(frame));
    layout::render(template, &context)
}

/// Links from the page at `from` to these.
pub(super) fn links(from: &str, pages: &[Page]) -> Vec<Link> {
    let link = |page: &Page| Link {
        label: named(&page.label),
        href: format!("{}{}", up(from), page.path),
    };
    pages.iter().map(link).collect()
}

/// A scenario's name, or a page's. Numbers of other tools have none.
pub(super) fn named(name: &str) -> String {
    match text::shown(name, 60) {
        empty if empty.trim().is_empty() => "(no scenario)".to_owned(),
        name => name,
    }
}

/// The way from the page at `path` to the site's root.
fn up(path: &str) -> String {
    "../".repeat(path.matches('/').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_how_deep_it_lies() {
        assert_eq!(up("index.html"), "");
        assert_eq!(up("scenarios/mixed/index.html"), "../../");
        let way = [
            ("a", "index.html"),
            ("\u{1b}[31mb", "scenarios/b/index.html"),
        ];
        let way = way.map(|(label, path)| Page {
            label: label.to_owned(),
            path: path.to_owned(),
        });
        let links = links("sessions/00/x.html", &way);
        let shown: Vec<_> = links
            .iter()
            .map(|link| (link.label.as_str(), link.href.as_str()))
            .collect();
        let expected = [
            ("a", "../../index.html"),
            ("b", "../../scenarios/b/index.html"),
        ];
        assert_eq!(shown, expected);
    }
}
