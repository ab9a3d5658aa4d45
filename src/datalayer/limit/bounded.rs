//! The states of so many keys at most.

use std::hash::Hash;

use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};

/// States by key. When it is full, all further keys share one state: they are limited together, and
/// nobody who is known already is the worse for them.
#[derive(Debug)]
pub(super) struct BoundedStates<K: Hash + Eq> {
    known: DashMapStateStore<K>,
    others: InMemoryState,
    keys_max: usize,
}

impl<K: Hash + Eq + Clone> BoundedStates<K> {
    pub(super) fn new(keys_max: usize) -> Self {
        Self {
            known: DashMapStateStore::default(),
            others: InMemoryState::default(),
            keys_max,
        }
    }
}

impl<K: Hash + Eq + Clone> StateStore for BoundedStates<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Between the look and the insertion others may insert too: the most is passed by as many
        // keys as there are threads.
        if !self.known.contains_key(key) && self.known.len() >= self.keys_max {
            return self.others.measure_and_replace(&NotKeyed::NonKey, decide);
        }
        self.known.measure_and_replace(key, decide)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for BoundedStates<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.known.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.known.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.known.len()
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
