//! The sessions of the history that have a page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::harness::model::RunId;
use crate::harness::store::RunSummary;

use super::places;

/// The runs of one scenario in one session, which one page reports on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sitting {
    /// The scenario's id.
    pub(super) scenario: String,
    /// The session.
    pub(super) session: String,
    /// Whether the session has runs of other scenarios, too.
    pub(super) is_shared: bool,
    /// Its page, from the site's root.
    pub(super) page: String,
    /// Oldest first, at least one.
    pub(super) runs: Vec<RunSummary>,
}

/// Which sessions have a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// The newest so many of each scenario.
    pub(super) sessions: usize,
    /// And of them those with a run that started then or later.
    pub(super) since: Option<Timestamp>,
}

impl Sitting {
    /// When its last run started.
    pub(super) fn at(&self) -> Timestamp {
        let newest = self.runs.iter().map(|run| run.started_at).max();
        newest.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What it is called where a session or a run is meant; `None` where no name means all of its runs and only
    /// those.
    pub(super) fn name(&self) -> Option<String> {
        match self.runs.as_slice() {
            _ if !self.is_shared => Some(self.session.clone()),
            [only] => Some(only.id.to_string()),
            _ => None,
        }
    }

    /// Its runs, oldest first.
    pub(super) fn ids(&self) -> Vec<RunId> {
        self.runs.iter().map(|run| run.id).collect()
    }
}

/// The sessions of these runs that are kept, newest first, and how many are not.
pub(super) fn kept(runs: &[RunSummary], retention: Retention) -> (Vec<Sitting>, u64) {
    let mut all: BTreeMap<(&str, &str), Vec<RunSummary>> = BTreeMap::new();
    let mut scenarios: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        let (scenario, session) = (run.scenario.as_str(), run.session.as_str());
        all.entry((scenario, session))
            .or_default()
            .push(run.clone());
        scenarios.entry(session).or_default().insert(scenario);
    }
    let mut sittings: Vec<Sitting> = all
        .into_iter()
        .map(|((scenario, session), mut runs)| {
            runs.sort_by_key(|run| (run.started_at, run.id));
            Sitting {
                is_shared: scenarios[session].len() > 1,
                page: places::session(scenario, session),
                scenario: scenario.to_owned(),
                session: session.to_owned(),
                runs,
            }
        })
        .collect();
    sittings
        .sort_by_cached_key(|one| Reverse((one.at(), one.scenario.clone(), one.session.clone())));
    let before = sittings.len();
    let mut of_scenario: BTreeMap<String, usize> = BTreeMap::new();
    sittings.retain(|sitting| {
        let number = of_scenario.entry(sitting.scenario.clone()).or_default();
        *number += 1;
        *number <= retention.sessions && retention.since.is_none_or(|since| sitting.at() >= since)
    });
    let left_out = (before - sittings.len()) as u64;
    (sittings, left_out)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn run(scenario: &str, session: &str, second: i64) -> RunSummary {
        RunSummary {
            id: RunId::now(),
            scenario: scenario.into(),
            session: session.into(),
            arm: None,
            pair: None,
            started_at: Timestamp::from_second(second).unwrap(),
            duration_ns: 1,
            revision: None,
            machine_id: "m".into(),
            fingerprint_id: "f".into(),
            valid: true,
        }
    }

    #[test]
    fn a_scenario_that_runs_often_does_not_push_out_others() {
        let mut runs: Vec<RunSummary> = (0..10)
            .map(|n| run("often", &format!("s{n}"), 1000 + n))
            .collect();
        runs.push(run("rare", "r", 10));
        // One session is of two scenarios: two pages.
        runs.push(run("rare", "s9", 2000));
        // Its second run is its newest.
        runs.push(run("often", "s0", 3000));
        let check = |sessions, since: Option<i64>, expected: &[(&str, &str)], expected_out| {
            let since = since.map(|second| Timestamp::from_second(second).unwrap());
            let (kept, left_out) = kept(&runs, Retention { sessions, since });
            let names: Vec<(&str, &str)> = kept
                .iter()
                .map(|one| (one.scenario.as_str(), one.session.as_str()))
                .collect();
            assert_eq!((names.as_slice(), left_out), (expected, expected_out));
        };
        let two = [
            ("often", "s0"),
            ("rare", "s9"),
            ("often", "s9"),
            ("rare", "r"),
        ];
        check(2, None, &two, 8);
        check(2, Some(1009), &two[..3], 9);
        check(1, Some(3000), &two[..1], 11);
        let (all, left_out) = kept(
            &runs,
            Retention {
                sessions: 100,
                since: None,
            },
        );
        assert_eq!((all.len(), left_out), (12, 0));
        assert_eq!(all[0].runs.len(), 2);
        // By a name that would mean both scenarios neither of them can be shown.
        let names: Vec<Option<String>> = all[..3].iter().map(Sitting::name).collect();
        let id = all[1].runs[0].id.to_string();
        assert_eq!(names[..2], [Some("s0".to_owned()), Some(id)]);
        let mut both = all[2].clone();
        both.runs.push(run("often", "s9", 2001));
        assert_eq!(both.name(), None);
        assert!(all[0].runs[0].started_at < all[0].runs[1].started_at);
    }
}
