//! Where the pages of a site lie, from its root. Names are hostile and come out as names of files; folders
//! stay small however many sessions there are; names that differ in their case only are two files also where
//! the site is unpacked on a system that takes them for one.

use sha2::{Digest as _, Sha256};

use crate::harness::model::hexadecimal;
use crate::harness::store::files;

/// The first page.
pub(super) const INDEX: &str = "index.html";
/// The feed.
pub(super) const FEED: &str = "feed.xml";
/// Tells GitHub Pages to leave names that begin with an underscore alone.
pub(super) const NO_JEKYLL: &str = ".nojekyll";

/// Folders of the site.
const FOLDERS: [&str; 4] = ["sessions", "scenarios", "archive", "badges"];

/// The page of a session of a scenario. One of 256 folders has it: a folder of ten thousand files is slow
/// to list and to upload.
pub(super) fn session(scenario: &str, session: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update((scenario.len() as u64).to_le_bytes());
    hasher.update(scenario);
    hasher.update(session);
    let folder = hexadecimal(&hasher.finalize()[..1]);
    // No component has a tilde, so that no two pairs of names are the same together.
    let (scenario, session) = (component(scenario), component(session));
    format!("sessions/{folder}/{scenario}~{session}.html")
}

/// The page of a scenario.
pub(super) fn scenario(scenario: &str) -> String {
    format!("scenarios/{}/{INDEX}", component(scenario))
}

/// The page of a lineage that is not its scenario's newest.
pub(super) fn lineage(scenario: &str, fingerprint: &str) -> String {
    let (scenario, fingerprint) = (component(scenario), component(fingerprint));
    format!("scenarios/{scenario}/trends/{fingerprint}.html")
}

/// A badge.
pub(super) fn badge(scenario: &str) -> String {
    format!("badges/{}.svg", component(scenario))
}

/// A list of the sessions of a month (`2026-11`), of all scenarios or of one; its parts are counted from 1.
pub(super) fn list(scenario: Option<&str>, month: &str, part: usize) -> String {
    let file = match part {
        1 => format!("{month}.html"),
        part => format!("{month}-{part}.html"),
    };
    match scenario {
        None => format!("archive/{file}"),
        Some(scenario) => format!("scenarios/{}/archive/{file}", component(scenario)),
    }
}

/// A name as a file or folder, as for baselines; one with a capital has its hash as well, because `Mixed` and
/// `mixed` are one file on half of all desks.
fn component(name: &str) -> String {
    let component = files::component(name);
    let is_alike = component == name && name.contains(|c: char| c.is_ascii_uppercase());
    match is_alike {
        true => format!("{component}-{}", hexadecimal(&Sha256::digest(name)[..4])),
        false => component,
    }
}

/// Whether something of a site may lie there: never outside of its folder, and nothing that a person
/// would put beside it.
pub(super) fn is_of_a_site(path: &str) -> bool {
    if [INDEX, FEED, NO_JEKYLL].contains(&path) {
        return true;
    }
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.@~".contains(c);
    let is_plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(harmless);
    let parts: Vec<&str> = path.split('/').collect();
    parts.len() > 1 && FOLDERS.contains(&parts[0]) && parts.into_iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 8] = [
        "",
        "..",
        "../../etc/passwd",
        "a/b",
        "a\"><script>",
        "\u{202e}x\0",
        ".hidden",
        "con:aux?#%2f",
    ];

    #[test]
    fn no_name_leads_out_or_needs_quotes() {
        let long = "x".repeat(10_000);
        for name in HOSTILE.iter().chain([&long.as_str()]) {
            for path in [
                session(name, name),
                scenario(name),
                lineage(name, name),
                badge(name),
                list(Some(name), "2026-11", 2),
            ] {
                assert!(is_of_a_site(&path), "{path}");
                assert!(path.split('/').all(|part| part.len() < 255), "{path}");
            }
        }
    }

    #[test]
    fn two_names_are_two_pages() {
        let mut pages: Vec<String> = HOSTILE
            .iter()
            .flat_map(|one| HOSTILE.map(|other| session(one, other)))
            .collect();
        pages.push(session("a", "b~c"));
        pages.push(session("a~b", "c"));
        pages.extend(["mixed", "Mixed", "MIXED", "a/b", "A/b"].map(scenario));
        // As a system that knows no case has them.
        let mut pages: Vec<String> = pages.iter().map(|page| page.to_lowercase()).collect();
        let all = pages.len();
        pages.sort();
        pages.dedup();
        assert_eq!(pages.len(), all);
    }

    #[test]
    fn what_no_site_has_is_told_from_what_it_has() {
        for path in [
            "",
            "/etc/passwd",
            "../index.html",
            "sessions/../../x",
            "sessions/./x",
            "sessions",
            "CNAME",
            "badges/a b.svg",
            "other/x.html",
            ".git/config",
            "sessions/..~/x",
        ] {
            assert!(!is_of_a_site(path), "{path}");
        }
        for path in ["index.html", ".nojekyll", "archive/2026-11-2.html"] {
            assert!(is_of_a_site(path), "{path}");
        }
    }
}
