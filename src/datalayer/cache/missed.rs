//! What a second tier did not hear of while it was away.
//!
//! A tier that comes back with its data still holds what was changed meanwhile. Until it has caught
//! up with these changes, it has no say.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Scope;

/// Beyond so many changes the tier is cleared instead, which costs less than telling it each of them.
const MOST_SCOPES: usize = 1000;

/// Beyond so many leases the next ones are left to run out by themselves.
const MOST_LEASES: usize = 1000;

/// The news that are still to be told, by one teller at a time.
#[derive(Debug, Default)]
pub(super) struct Missed {
    changes: AtomicBool,
    news: Mutex<News>,
}

/// What a tier has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// What this is about has to go.
    Scope(Scope),
    /// A lease that may be held is given back; by `ends_at` it has run out by itself.
    Lease {
        key: Arc<str>,
        token: String,
        ends_at: Instant,
    },
}

#[derive(Debug, Default)]
struct News {
    scopes: HashSet<Scope>,
    all: bool,
    leases: VecDeque<Change>,
    /// On its way to the tier. What is missed meanwhile is news again, even of the same key.
    telling: Option<Change>,
}

impl Missed {
    /// Notes what the tier did not confirm.
    pub(super) fn note(&self, change: Change) {
        let mut news = self.lock();
        match change {
            Change::Lease { .. } if news.all || news.leases.len() == MOST_LEASES => {}
            Change::Lease { .. } => news.leases.push_back(change),
            Change::Scope(_) if news.all => {}
            Change::Scope(Scope::All) => news.all = true,
            Change::Scope(scope) => {
                news.scopes.insert(scope);
                news.all = news.scopes.len() > MOST_SCOPES;
            }
        }
        if news.all {
            news.scopes.clear();
            news.leases.clear();
        }
        self.changes.store(news.has_changes(), Ordering::Release);
    }

    /// Whether the tier may hold what has been changed. A lease that is to be given back does no
    /// such harm.
    pub(super) fn has_changes(&self) -> bool {
        self.changes.load(Ordering::Acquire)
    }

    /// What is to be told next; the same again until it is confirmed.
    pub(super) fn next(&self, now: Instant) -> Option<Change> {
        let mut news = self.lock();
        if news
            .telling
            .as_ref()
            .is_none_or(|change| change.is_over(now))
        {
            news.telling = news.pop(now);
        }
        news.telling.clone()
    }

    /// The tier has confirmed what [`Missed::next`] gave.
    pub(super) fn confirmed(&self) {
        let mut news = self.lock();
        news.telling = None;
        self.changes.store(news.has_changes(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    /// Whether it is a lease that has run out by itself.
    fn is_over(&self, now: Instant) -> bool {
        matches!(self, Self::Lease { ends_at, .. } if *ends_at <= now)
    }
}

impl News {
    fn has_changes(&self) -> bool {
        let told = matches!(self.telling, Some(Change::Scope(_)));
        self.all || !self.scopes.is_empty() || told
    }

    fn pop(&mut self, now: Instant) -> Option<Change> {
        if std::mem::take(&mut self.all) {
            return Some(Change::Scope(Scope::All));
        }
        if let Some(scope) = self.scopes.iter().next().cloned() {
            self.scopes.remove(&scope);
            return Some(Change::Scope(scope));
        }
        std::iter::from_fn(|| self.leases.pop_front()).find(|lease| !lease.is_over(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: Change = Change::Scope(Scope::All);

    fn key(key: impl ToString) -> Change {
        Change::Scope(Scope::Key(key.to_string()))
    }

    fn lease(number: usize, ends_at: Instant) -> Change {
        Change::Lease {
            key: number.to_string().into(),
            token: "t".to_owned(),
            ends_at,
        }
    }

    /// Tells what was missed to a tier that confirms the first `confirmed` changes.
    fn tell(missed: &Missed, confirmed: usize) -> Vec<Change> {
        let mut told = Vec::new();
        while let Some(change) = missed.next(Instant::now()) {
            told.push(change);
            if told.len() > confirmed {
                break;
            }
            missed.confirmed();
        }
        told
    }

    #[test]
    fn each_change_is_told_until_it_is_confirmed() {
        let missed = Missed::default();
        assert!(!missed.has_changes());
        missed.note(key("a"));
        missed.note(key("a"));
        assert_eq!(tell(&missed, 0), [key("a")]);
        missed.note(key("b"));
        assert!(missed.has_changes());
        assert_eq!(tell(&missed, 1), [key("a"), key("b")]);
        assert_eq!(tell(&missed, 9), [key("b")]);
        assert!(!missed.has_changes());
    }

    #[test]
    fn what_is_missed_while_it_is_being_told_is_told_again() {
        for change in [key("a"), Change::Scope(Scope::Tag("a".to_owned())), ALL] {
            let missed = Missed::default();
            missed.note(change.clone());
            assert_eq!(missed.next(Instant::now()), Some(change.clone()));
            missed.note(change.clone());
            missed.confirmed();
            assert!(missed.has_changes());
            assert_eq!(tell(&missed, 9), [change]);
        }
    }

    #[test]
    fn too_many_changes_become_one() {
        let missed = Missed::default();
        for number in 0..=MOST_SCOPES {
            missed.note(key(number));
        }
        missed.note(key("one more"));
        assert_eq!(tell(&missed, 0), [ALL]);
        assert_eq!(tell(&missed, 9), [ALL]);
        assert!(!missed.has_changes());
    }

    #[test]
    fn leases_are_given_back_last_unless_they_have_run_out() {
        let missed = Missed::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        missed.note(lease(1, now));
        missed.note(lease(2, later));
        missed.note(key("a"));
        assert_eq!(tell(&missed, 0), [key("a")]);
        missed.confirmed();
        assert!(!missed.has_changes(), "leases do not count");
        assert_eq!(tell(&missed, 0), [lease(2, later)]);
        missed.note(key("b"));
        assert!(missed.has_changes());
        assert_eq!(missed.next(later), Some(key("b")), "the lease has run out");
        missed.confirmed();
        assert!(!missed.has_changes());

        for number in 0..=MOST_LEASES {
            missed.note(lease(number, later));
        }
        assert_eq!(tell(&missed, usize::MAX).len(), MOST_LEASES);

        missed.note(lease(1, later));
        missed.note(ALL);
        missed.note(lease(2, later));
        assert_eq!(tell(&missed, 9), [ALL], "clearing voids every lease");
    }
}
