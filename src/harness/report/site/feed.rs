//! The newest sessions and changes as an Atom feed (RFC 4287).

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::harness::report::{layout, text};

use super::frame::named;
use super::session::SessionLine;
use super::trends::ChangeLine;

/// Sessions that are entries, the newest.
const MAX_SESSIONS: usize = 50;

#[derive(Debug, Serialize)]
struct Feed {
    id: String,
    updated: String,
    version: &'static str,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize)]
struct Entry {
    id: String,
    #[serde(skip)]
    at: Timestamp,
    updated: String,
    title: String,
    summary: String,
    page: String,
}

/// The feed of the site that is known as `site`: the newest of these sessions, which are given newest first, and
/// all of these changes: a change is found some runs after the one that it is dated by, and newer sessions would
/// keep it from ever being told. Its links lead from the site's root.
pub fn feed(site: Uuid, sessions: &[&SessionLine], changes: &[&ChangeLine]) -> String {
    let sessions = sessions.iter().take(MAX_SESSIONS);
    let sessions = sessions.map(|line| session(site, line));
    let changes = changes.iter().map(|line| change(site, line));
    let mut entries: Vec<Entry> = sessions.chain(changes).collect();
    entries.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    let newest = entries
        .first()
        .map_or(Timestamp::UNIX_EPOCH, |entry| entry.at);
    let feed = Feed {
        id: urn(site, &[]),
        updated: rfc3339(newest),
        version: env!("CARGO_PKG_VERSION"),
        entries,
    };
    layout::render("site/feed.xml", &layout::context(&feed))
}

/// Without what XML can't hold. [`text`] takes the control characters out; these two are none.
pub(super) fn xml(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "")
}

fn session(site: Uuid, line: &SessionLine) -> Entry {
    let mut title = format!("{}: {}", line.standing.mark().word, named(&line.scenario));
    if let Some(revision) = &line.revision {
        title.push_str(&format!(" ({})", text::shown(revision, 20)));
    }
    // Or what somebody tried would be read as what happened to the main branch.
    if line.is_proposal {
        title.push_str(", a proposal");
    }
    let mut summary = format!("{}.", text::shown(&line.headline, 300));
    if let Some(figure) = &line.figure {
        let metric = text::shown(&figure.metric, 60);
        summary.push_str(&format!(" {metric}: {}.", text::shown(&figure.value, 40)));
    }
    Entry {
        id: urn(site, &["session", &line.page]),
        at: line.at,
        updated: rfc3339(line.at),
        title: xml(&title),
        summary: xml(&summary),
        page: line.page.clone(),
    }
}

fn change(site: Uuid, line: &ChangeLine) -> Entry {
    let since = text::shown(line.revision.as_deref().unwrap_or("a run"), 20);
    let title = format!(
        "{}: {} changed by {}",
        named(&line.scenario),
        text::shown(&line.metric, 80),
        line.effect
    );
    let summary = format!(
        "From {} to {} since {since}. + is worse. Changes over time are reported and never judged.",
        line.before, line.after
    );
    Entry {
        id: urn(
            site,
            &[
                "change",
                &line.scenario,
                &line.metric,
                &line.run.to_string(),
            ],
        ),
        at: line.at,
        updated: rfc3339(line.at),
        title: xml(&title),
        summary: xml(&summary),
        page: line.page.clone(),
    }
}

/// An id that stays as long as what it is of, and that no other site gives.
fn urn(site: Uuid, of: &[&str]) -> String {
    if of.is_empty() {
        return site.urn().to_string();
    }
    let mut hasher = Sha256::new();
    hasher.update(site.as_bytes());
    for part in of {
        // A length before each part: `ab` + `c` must not hash as `a` + `bc`.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    Builder::from_custom_bytes(bytes)
        .into_uuid()
        .urn()
        .to_string()
}

fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, is_harmless, session};
    use super::*;
    use crate::harness::model::RunId;

    fn change() -> ChangeLine {
        ChangeLine {
            scenario: "mixed".into(),
            metric: "load.reads.p95".into(),
            run: RunId(Uuid::nil()),
            at: Timestamp::from_second(1_790_000_000).unwrap_or_default(),
            revision: None,
            before: "50 ms".into(),
            after: "60 ms".into(),
            effect: "+20 %".into(),
            is_worse: true,
            page: "scenarios/mixed/index.html".into(),
        }
    }

    #[test]
    fn names_are_text() {
        let line = hostile();
        let text = feed(Uuid::nil(), &[&line], &[]);
        is_harmless(&text);
        assert!(!text.contains('\u{ffff}'), "{text}");
    }

    #[test]
    fn the_newest_entries_are_there_once() {
        let lines: Vec<SessionLine> = (0..100)
            .rev()
            .map(|hours| session("mixed", hours))
            .collect();
        let lines: Vec<&SessionLine> = lines.iter().collect();
        let of = |site| feed(Uuid::from_u128(site), &lines, &[&change()]);
        let text = of(1);
        assert_eq!(text.matches("<entry>").count(), MAX_SESSIONS + 1);
        assert!(!text.contains("s~49.html"), "{text}");
        // The change is as old as the first session, and was found just now.
        let told = text.find("changed by").unwrap_or_default();
        assert!(
            told > text.find("s~50.html").unwrap_or(usize::MAX),
            "{text}"
        );
        let first = text.find("s~99.html").unwrap_or(usize::MAX);
        assert!(first < text.find("s~98.html").unwrap_or_default(), "{text}");
        // The same session is the same entry, and another one in another site.
        let ids = |text: &str| -> Vec<String> {
            let ids = text.split("<id>").skip(1);
            ids.map(|rest| rest.split('<').next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(ids(&text), ids(&of(1)));
        let mut all = ids(&text);
        all.extend(ids(&of(2)));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        let proposal = SessionLine {
            is_proposal: true,
            ..session("mixed", 1)
        };
        let proposed = feed(Uuid::nil(), &[&proposal], &[]);
        assert!(proposed.contains("<title>PASS: mixed (1a2b3c4), a proposal</title>"));
        let few = feed(Uuid::nil(), &[], &[&change()]);
        assert!(few.contains("From 50 ms to 60 ms since a run."), "{few}");
    }
}
