//! Changes that a second tier did not hear of while it was away.
//!
//! A tier that comes back with its data still holds what was changed meanwhile. Until it has caught
//! up with these changes, it has no say.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Beyond so many keys the tier is cleared instead, which costs less than telling it each of them.
const MOST_KEYS: usize = 1000;

/// The changes that are still to be told.
#[derive(Debug, Default)]
pub(super) struct Missed {
    any: AtomicBool,
    changes: Mutex<Changes>,
}

/// What has to go from the tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Key(String),
    All,
}

/// What [`Missed::to_tell`] finds.
#[derive(Debug)]
pub(super) enum ToTell<'a> {
    /// The tier knows everything.
    Nothing,
    /// Somebody else is telling it.
    Busy,
    /// The caller tells it.
    Changes(Telling<'a>),
}

/// The changes in the hands of the one who tells them; what is not confirmed stays.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    any: &'a AtomicBool,
    changes: MutexGuard<'a, Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    keys: HashSet<String>,
    all: bool,
}

impl Missed {
    /// Notes a change that the tier did not confirm.
    pub(super) async fn note(&self, change: Change) {
        let mut changes = self.changes.lock().await;
        match change {
            Change::Key(key) if !changes.all => {
                changes.keys.insert(key);
                changes.all = changes.keys.len() > MOST_KEYS;
            }
            Change::Key(_) => {}
            Change::All => changes.all = true,
        }
        if changes.all {
            changes.keys.clear();
        }
        self.any.store(true, Ordering::Release);
    }

    /// What is still to be told. Whoever holds it tells it; others are [`ToTell::Busy`] meanwhile.
    pub(super) fn to_tell(&self) -> ToTell<'_> {
        if !self.any.load(Ordering::Acquire) {
            return ToTell::Nothing;
        }
        match self.changes.try_lock() {
            Ok(changes) => ToTell::Changes(Telling {
                any: &self.any,
                changes,
            }),
            Err(_) => ToTell::Busy,
        }
    }
}

impl Telling<'_> {
    /// A change that is still to be told.
    pub(super) fn next(&self) -> Option<Change> {
        match self.changes.all {
            true => Some(Change::All),
            false => self.changes.keys.iter().next().cloned().map(Change::Key),
        }
    }

    /// The tier has confirmed this change.
    pub(super) fn confirmed(&mut self, change: &Change) {
        match change {
            Change::Key(key) => {
                self.changes.keys.remove(key);
            }
            Change::All => self.changes.all = false,
        }
        self.any.store(self.next().is_some(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: impl ToString) -> Change {
        Change::Key(key.to_string())
    }

    /// Tells what was missed to a tier that confirms the first `confirmed` changes.
    fn tell(missed: &Missed, confirmed: usize) -> Vec<Change> {
        let ToTell::Changes(mut telling) = missed.to_tell() else {
            return Vec::new();
        };
        let mut told = Vec::new();
        while let Some(change) = telling.next() {
            told.push(change);
            if told.len() > confirmed {
                break;
            }
            telling.confirmed(&told[told.len() - 1]);
        }
        told
    }

    #[tokio::test]
    async fn each_change_is_told_until_it_is_confirmed() {
        let missed = Missed::default();
        assert!(matches!(missed.to_tell(), ToTell::Nothing));
        missed.note(key("a")).await;
        missed.note(key("a")).await;
        assert_eq!(tell(&missed, 0), [key("a")]);
        missed.note(key("b")).await;
        let first = tell(&missed, 1);
        assert_eq!(first.len(), 2, "{first:?}");
        assert_eq!(tell(&missed, 9), first[1..]);
        assert!(matches!(missed.to_tell(), ToTell::Nothing));
    }

    #[tokio::test]
    async fn too_many_changes_become_one() {
        let missed = Missed::default();
        for number in 0..=MOST_KEYS {
            missed.note(key(number)).await;
        }
        missed.note(key("one more")).await;
        assert_eq!(tell(&missed, 0), [Change::All]);
        assert_eq!(tell(&missed, 9), [Change::All]);
        assert!(matches!(missed.to_tell(), ToTell::Nothing));
    }

    #[tokio::test]
    async fn one_tells_and_the_others_are_kept_out() {
        let missed = Missed::default();
        missed.note(Change::All).await;
        let telling = missed.to_tell();
        assert!(matches!(telling, ToTell::Changes(_)));
        assert!(matches!(missed.to_tell(), ToTell::Busy));
    }
}
