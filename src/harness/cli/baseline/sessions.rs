//! The new sessions of a refresh: measured now, or measured before and taken from the store.

use tokio::sync::watch;

use crate::harness::cli::args::RefreshArgs;
use crate::harness::cli::execute::{measure_here, new_session};
use crate::harness::cli::failure::Failure;
use crate::harness::cli::live::Live;
use crate::harness::cli::output::Output;
use crate::harness::cli::session::{Labels, git_revision, state_of_call};
use crate::harness::cli::sources::in_words;
use crate::harness::cli::workspace::{self, reading};
use crate::harness::model::{Fingerprint, Run, same_state};
use crate::harness::report::words;
use crate::harness::scenario::Plan;
use crate::harness::store::{History, Query};

/// What a refresh measures with.
pub(super) struct Bench<'a> {
    pub(super) output: &'a Output,
    pub(super) live: &'a Live,
    pub(super) args: &'a RefreshArgs,
    pub(super) history: &'a History,
    pub(super) stop: &'a watch::Receiver<bool>,
}

/// The runs of the new sessions.
pub(super) enum NewSessions {
    /// Valid ones, at least one of each session, in the order in which they were made.
    Measured(Vec<Run>),
    /// There is nothing to make a baseline from, and why.
    Invalid(String),
}

impl Bench<'_> {
    /// The new sessions of `plan`. Each run is saved as it ends; invalid ones are said and left out.
    pub(super) async fn sessions(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
    ) -> Result<NewSessions, Failure> {
        let sessions = match self.args.measured.as_slice() {
            [] => self.measure(plan, fingerprint).await?,
            ids => self.take(plan, fingerprint, ids).await?,
        };
        if *self.stop.borrow() {
            return Ok(NewSessions::Invalid(
                "stopped before its last session ended".to_owned(),
            ));
        }
        let mut valid = Vec::new();
        for runs in sessions {
            let session = runs.first().map(|run| run.session.clone());
            for (number, run) in (1..).zip(&runs) {
                for why in words::unfit(run) {
                    self.output.warn(&format!(
                        "run {number} of session {} is left out: {}",
                        run.session, why.what
                    ));
                }
            }
            let before = valid.len();
            valid.extend(runs.into_iter().filter(Run::is_valid));
            if valid.len() == before {
                return Ok(NewSessions::Invalid(format!(
                    "no run of session {} is valid",
                    session.as_deref().unwrap_or("(without runs)")
                )));
            }
        }
        Ok(NewSessions::Measured(valid))
    }

    async fn measure(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
    ) -> Result<Vec<Vec<Run>>, Failure> {
        let revision = match &self.args.revision {
            Some(revision) => Some(revision.clone()),
            None => git_revision(&plan.root, &[&self.args.baselines]).await,
        };
        let revision = Some(state_of_call(revision));
        let runs = self.args.runs.unwrap_or(plan.runs);
        let mut sessions = Vec::new();
        for number in 1..=self.args.sessions {
            let labels = Labels {
                session: new_session(),
                arm: None,
                pair: None,
                revision: revision.clone(),
                fingerprint: fingerprint.clone(),
            };
            self.output.say(&format!(
                "{}: session {number} of {}, {}",
                plan.id(),
                self.args.sessions,
                labels.session
            ));
            let save = async |run: &Run| workspace::keep(self.history, run).await;
            sessions
                .push(measure_here(self.live, plan, runs, &labels, None, self.stop, save).await?);
            if *self.stop.borrow() {
                break;
            }
        }
        Ok(sessions)
    }

    /// The runs of sessions that were measured before, each named once, of one state of the code and under
    /// the conditions of now.
    async fn take(
        &self,
        plan: &Plan,
        fingerprint: &Fingerprint,
        ids: &[String],
    ) -> Result<Vec<Vec<Run>>, Failure> {
        let mut sessions: Vec<Vec<Run>> = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if ids[..at].contains(id) {
                return Err(Failure::usage(
                    format!("session {id} is named twice, and would count twice"),
                    "name each session once",
                ));
            }
            let query = Query {
                scenario: Some(plan.id()),
                session: Some(id.clone()),
                without_heads: true,
                ..Query::default()
            };
            let found = self.history.find(&query).await.map_err(reading)?;
            // Oldest first.
            let ids: Vec<_> = found.iter().rev().map(|run| run.id).collect();
            let runs = self.history.load(&ids).await.map_err(reading)?;
            let Some(first) = runs.first() else {
                return Err(Failure::usage(
                    format!("session {id} has no runs of {}", plan.id()),
                    "see what there is: plimsoll list --sessions",
                ));
            };
            let differences = first.fingerprint.differences(fingerprint);
            if !differences.is_empty() {
                return Err(Failure::usage(
                    format!(
                        "session {id} says nothing of this machine and scenario: {}",
                        in_words(&differences)
                    ),
                    "measure anew: leave out --session",
                ));
            }
            if let Some(other) = sessions.iter().flatten().next()
                && !same_state(first.state(), other.state())
            {
                return Err(Failure::usage(
                    format!(
                        "sessions {} and {id} measured different states of the code, as far as their revisions tell",
                        other.session
                    ),
                    "take sessions of one revision, or measure anew: leave out --session",
                ));
            }
            sessions.push(runs);
        }
        Ok(sessions)
    }
}
