//! Reads under way in this process, so that a change to a key can void what brings its old value.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keys that are being brought into the first tier.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    keys: Mutex<HashMap<Arc<str>, Flight>>,
}

/// What is under way for one key. Several reads may be: a load, and promotions beside it.
#[derive(Debug, Default)]
struct Flight {
    reads: usize,
    voided: Arc<AtomicBool>,
}

/// One read, listed until it is dropped.
#[derive(Debug)]
pub(super) struct Load<'a> {
    list: &'a InFlight,
    key: Arc<str>,
    voided: Arc<AtomicBool>,
}

impl InFlight {
    /// Lists a read.
    pub(super) fn begin(&self, key: Arc<str>) -> Load<'_> {
        let mut keys = self.lock();
        let flight = keys.entry(Arc::clone(&key)).or_default();
        flight.reads += 1;
        let voided = Arc::clone(&flight.voided);
        Load {
            list: self,
            key,
            voided,
        }
    }

    /// What is under way for this key must not be kept, and is no answer to whoever asks from now on.
    pub(super) fn void(&self, key: &str) {
        if let Some(flight) = self.lock().get_mut(key) {
            flight.void();
        }
    }

    /// What is under way for any key must not be kept.
    pub(super) fn void_all(&self) {
        for flight in self.lock().values_mut() {
            flight.void();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    // The lock also orders the flags: whoever voids a key either finds its reads listed, or knows
    // that they have stored their values and looked at the flag.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// What begins after this is not void: it reads what the change has left.
    fn void(&mut self) {
        std::mem::take(&mut self.voided).store(true, Ordering::Relaxed);
    }
}

impl Load<'_> {
    /// Set once what this read brings must not be kept; it goes along with the value, so that
    /// nobody takes a voided one for good between its storing and its removal.
    pub(super) fn voided(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.voided)
    }

    /// What this read brings must not be kept.
    pub(super) fn void(&self) {
        self.voided.store(true, Ordering::Relaxed);
    }

    /// Takes the read off the list; `true` when its value must not be kept.
    pub(super) fn end(self) -> bool {
        let voided = self.voided();
        drop(self);
        voided.load(Ordering::Relaxed)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let mut keys = self.list.lock();
        let Some(flight) = keys.get_mut(&self.key) else {
            return;
        };
        flight.reads -= 1;
        if flight.reads == 0 {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_voided_while_it_was_under_way_is_void() {
        let list = InFlight::default();
        let check = |action: &dyn Fn(&Load<'_>), expected: bool| {
            list.void("a");
            let load = list.begin("a".into());
            action(&load);
            assert_eq!(load.end(), expected);
        };
        check(&|_| {}, false);
        check(&|_| list.void("b"), false);
        check(&|_| list.void("a"), true);
        check(&|_| list.void_all(), true);
        check(&|load| load.void(), true);
        assert!(list.is_empty());
    }

    #[test]
    fn a_read_that_ends_does_not_take_others_off_the_list() {
        let list = InFlight::default();
        let (cancelled, first, second) = (
            list.begin("a".into()),
            list.begin("a".into()),
            list.begin("a".into()),
        );
        drop(cancelled);
        assert!(!first.end());
        list.void("a");
        let third = list.begin("a".into());
        assert!(second.end());
        assert!(!third.end(), "it began after the change");
        assert!(!list.begin("a".into()).end(), "a later read starts anew");
    }
}
