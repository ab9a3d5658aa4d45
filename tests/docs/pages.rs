//! The README and the book as values: what is to be written and called, in the order of the page; links and
//! anchors.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

use crate::support::files;

/// Languages of a block that is typed into a shell.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// A page of the repository.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its path in the repository: `docs/GATING.md`.
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) links: Vec<Link>,
    /// Where links into it lead.
    pub(crate) anchors: BTreeSet<String>,
}

/// What a reader does who follows a page.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// "`shop.toml`:" stands in front of the block.
    File { name: String, text: String },
    /// "In place of `url`:" stands in front of the block: the line of that key in the file that was named last
    /// gives way to it.
    Line { key: String, text: String },
    /// A shell block, and the line in which its text begins.
    Shell { line: usize, text: String },
}

/// A link, as it is written, and its line.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) to: String,
    pub(crate) line: usize,
}

/// The README and every page of the book.
pub(crate) fn all() -> Result<Vec<Page>, Box<dyn Error>> {
    let mut paths = vec![files::repository("README.md")];
    paths.extend(files::below(&files::repository("docs"), "md")?);
    paths.iter().map(|path| read(path)).collect()
}

impl Page {
    /// Its files as they are in the end.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = Vec::new();
        for step in &self.steps {
            let (name, text) = match step {
                Step::File { name, text } => (name.clone(), text.clone()),
                Step::Line { key, text } => {
                    let Some((name, before)) = files.last() else {
                        continue;
                    };
                    (name.clone(), in_place_of(before, key, text))
                }
                Step::Shell { .. } => continue,
            };
            files.retain(|(known, _)| *known != name);
            files.push((name, text));
        }
        files
    }
}

/// A text in which a block stands where the line of a key stood.
pub(crate) fn in_place_of(text: &str, key: &str, block: &str) -> String {
    let is_line = |line: &str| line.split(['=', ' ']).next() == Some(key);
    assert!(text.lines().any(is_line), "no line of `{key}` in\n{text}");
    let lines = text.lines().map(|line| match is_line(line) {
        true => block.to_owned(),
        false => format!("{line}\n"),
    });
    lines.collect()
}

fn read(path: &Path) -> Result<Page, Box<dyn Error>> {
    let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR"))?;
    Ok(parse(
        &name.display().to_string(),
        &fs::read_to_string(path)?,
    ))
}

fn parse(name: &str, text: &str) -> Page {
    let mut page = Page {
        name: name.to_owned(),
        steps: Vec::new(),
        links: Vec::new(),
        anchors: BTreeSet::new(),
    };
    let file = Regex::new(r"`([\w./-]*\.\w+)`:$").expect("a regular expression");
    let line = Regex::new(r"In place of `(\w+)`:$").expect("a regular expression");
    // The paragraph in front, the heading or the block that is being read.
    let mut said = String::new();
    let mut block = None;
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    for (event, range) in events {
        let line_at = |at: usize| text[..at].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some((language, line_at(range.start) + 1, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((language, at, text)) = block.take() {
                    let named = |rule: &Regex| Some(rule.captures(&said)?[1].to_owned());
                    if SHELLS.contains(&language.as_str()) {
                        page.steps.push(Step::Shell { line: at, text });
                    } else if let Some(key) = named(&line) {
                        page.steps.push(Step::Line { key, text });
                    } else if let Some(name) = named(&file) {
                        page.steps.push(Step::File { name, text });
                    }
                }
                said.clear();
            }
            Event::Start(Tag::Paragraph | Tag::Heading { .. }) => said.clear(),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&std::mem::take(&mut said));
                let numbered = (1..).map(|number| format!("{slug}-{number}"));
                let mut free = std::iter::once(slug.clone()).chain(numbered);
                let anchor = free.find(|anchor| !page.anchors.contains(anchor));
                page.anchors.extend(anchor);
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(Link {
                    to: dest_url.to_string(),
                    line: line_at(range.start),
                });
            }
            Event::Text(piece) => match &mut block {
                Some((_, _, text)) => text.push_str(&piece),
                None => said.push_str(&piece),
            },
            Event::Code(piece) => said.push_str(&format!("`{piece}`")),
            Event::SoftBreak => said.push(' '),
            _ => {}
        }
    }
    page
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
    let lower = heading.to_lowercase();
    lower
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn a_page_is_what_a_reader_does() {
    let page = parse(
        "page.md",
        "# It is `[so]`, isn't it?\n\nWrite `a/b.toml`:\n\n```toml\none = 1\ntwo = 2\n```\n\n```sh\ntype it\n```\n\n## Twice\n\nBut \
         `name`:\n\n```csv\nno file\n```\n\nIn place of `two`:\n\n```toml\nthree = 3\n```\n\n## Twice\n\n[See](#twice)\n",
    );
    let [
        Step::File { name, .. },
        Step::Shell { line, text },
        Step::Line { key, .. },
    ] = &page.steps[..]
    else {
        panic!("{:?}", page.steps)
    };
    assert_eq!((name.as_str(), key.as_str()), ("a/b.toml", "two"));
    assert_eq!((*line, text.as_str()), (11, "type it\n"));
    let files = vec![("a/b.toml".to_owned(), "one = 1\nthree = 3\n".to_owned())];
    assert_eq!(page.files(), files);
    let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["it-is-so-isnt-it", "twice", "twice-1"]);
    assert_eq!(
        (page.links[0].to.as_str(), page.links[0].line),
        ("#twice", 30)
    );
}
