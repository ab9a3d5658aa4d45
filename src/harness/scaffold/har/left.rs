//! What of a recording is not in the scenario.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_PAGES, MAX_STEPS};
use crate::harness::scaffold::text::shown;

/// What was left out, and how often.
#[derive(Default)]
pub(super) struct Left {
    pub(super) hosts: BTreeMap<String, usize>,
    pub(super) assets: usize,
    pub(super) writes: usize,
    pub(super) unusable: usize,
    pub(super) failed: usize,
    pub(super) bodies: usize,
    pub(super) pages: usize,
    pub(super) steps: usize,
    pub(super) cookies: bool,
    pub(super) headers: BTreeSet<String>,
    pub(super) replaced: usize,
}

impl Left {
    /// A sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let beyond = self.pages + self.steps;
        let of_hosts: usize = self.hosts.values().sum();
        let hosts: Vec<String> = self.hosts.keys().take(5).map(|host| shown(host)).collect();
        let more = match self.hosts.len() {
            0..=5 => "",
            _ => " and others",
        };
        let headers = self.headers.iter().take(8).map(|name| shown(name));
        let headers: Vec<String> = headers.collect();
        let all = [
            (
                self.replaced,
                format!(
                    "replaced by variables of the environment: secrets of the recording ({})",
                    self.replaced
                ),
            ),
            (
                usize::from(self.cookies),
                "left out: cookies; those that the server sets are kept by themselves, and where a login sets them, make it a step".to_owned(),
            ),
            (
                self.writes,
                format!("left out: requests that write ({}; --writes takes them along)", self.writes),
            ),
            (
                self.assets,
                format!("left out: scripts, styles and pictures ({}; --assets takes them along)", self.assets),
            ),
            (
                of_hosts,
                format!("left out: requests to other hosts ({of_hosts}): {}{more}", hosts.join(", ")),
            ),
            (
                self.bodies,
                format!("left out: requests whose bodies are too long, no text, or hold a secret ({})", self.bodies),
            ),
            (
                self.failed,
                format!("left out: what the server failed at ({})", self.failed),
            ),
            (
                self.unusable,
                format!(
                    "left out: what was never answered, is not HTTP, or was sent by the browser for itself ({})",
                    self.unusable
                ),
            ),
            (
                beyond,
                format!("left out: requests beyond {MAX_PAGES} pages of {MAX_STEPS} requests ({beyond})"),
            ),
            (
                headers.len(),
                format!("left out: headers {}", headers.join(", ")),
            ),
        ];
        let said = all.into_iter().filter(|(count, _)| *count > 0);
        said.map(|(_, text)| text).collect()
    }
}
