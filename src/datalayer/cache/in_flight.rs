//! Reads under way in this process: one load a key at a time, whose value goes to all who wait for
//! it, and which a change to the key voids.
//!
//! moka's own single flight knows neither: a change can't void what it is loading, and callers that go
//! away in the middle make it start over, and panic after two hundred of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use super::tags::Marks;

/// The keys that are being brought into the first tier. `T` is what a load gives to those who wait.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    /// How long a load is waited for by those who come later; after it another one may try.
    patience: Duration,
    keys: Mutex<HashMap<Arc<str>, Flight<T>>>,
}

/// What [`InFlight::join`] says.
#[derive(Debug)]
pub(super) enum Turn<T> {
    /// Nobody loads the key: the caller does, and tells the outcome to all, itself included.
    Load(Load<T>, oneshot::Sender<T>, Outcome<T>),
    /// Somebody does.
    Wait(Outcome<T>),
}

/// What a load will give; an error if it ended without saying.
pub(super) type Outcome<T> = Shared<oneshot::Receiver<T>>;

/// What is under way for one key. Several reads may be: a load, and promotions beside it.
#[derive(Debug)]
struct Flight<T> {
    reads: usize,
    voided: Arc<AtomicBool>,
    load: Option<Leading<T>>,
}

/// The load that others wait for.
#[derive(Debug)]
struct Leading<T> {
    since: Instant,
    outcome: Outcome<T>,
    marks: Marks,
}

/// One read, listed until it is dropped.
#[derive(Debug)]
pub(super) struct Load<T> {
    list: Arc<InFlight<T>>,
    key: Arc<str>,
    voided: Arc<AtomicBool>,
    /// Whether others wait for this one.
    awaited: bool,
}

impl<T> InFlight<T> {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            keys: Mutex::default(),
        }
    }

    /// Lists a read that nobody waits for.
    pub(super) fn begin(self: &Arc<Self>, key: Arc<str>) -> Load<T> {
        let mut keys = self.lock();
        let flight = keys.entry(Arc::clone(&key)).or_default();
        self.list(flight, key, false)
    }

    /// The outcome of the load of this key that is under way, or the turn to load it with these tags.
    /// A load that takes too long is left alone, and so is one whose tags were voided meanwhile;
    /// what it brings is no longer kept.
    pub(super) fn join(self: &Arc<Self>, key: &Arc<str>, marks: &Marks) -> Turn<T>
    where
        T: Clone,
    {
        let mut keys = self.lock();
        let flight = keys.entry(Arc::clone(key)).or_default();
        match &flight.load {
            Some(load) if load.since.elapsed() < self.patience && !load.marks.are_void() => {
                return Turn::Wait(load.outcome.clone());
            }
            Some(_) => flight.void(),
            None => {}
        }
        let (teller, outcome) = oneshot::channel();
        let outcome = outcome.shared();
        flight.load = Some(Leading {
            since: Instant::now(),
            outcome: outcome.clone(),
            marks: marks.clone(),
        });
        Turn::Load(self.list(flight, Arc::clone(key), true), teller, outcome)
    }

    /// What is under way for this key must not be kept, and is no answer to whoever asks from now on.
    pub(super) fn void(&self, key: &str) {
        if let Some(flight) = self.lock().get_mut(key) {
            flight.void();
        }
    }

    /// What is under way for any key that `is_meant` must not be kept.
    pub(super) fn void_where(&self, is_meant: impl Fn(&str) -> bool) {
        for (key, flight) in self.lock().iter_mut() {
            if is_meant(key) {
                flight.void();
            }
        }
    }

    /// What is under way for any key must not be kept.
    pub(super) fn void_all(&self) {
        self.void_where(|_| true);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn list(self: &Arc<Self>, flight: &mut Flight<T>, key: Arc<str>, awaited: bool) -> Load<T> {
        flight.reads += 1;
        Load {
            list: Arc::clone(self),
            key,
            voided: Arc::clone(&flight.voided),
            awaited,
        }
    }

    // The lock also orders the flags: whoever voids a key either finds its reads listed, or knows
    // that they have stored their values and looked at the flag.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight<T>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Flight<T> {
    /// What begins after this is not void: it reads what the change has left.
    fn void(&mut self) {
        std::mem::take(&mut self.voided).store(true, Ordering::Relaxed);
        self.load = None;
    }
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self {
            reads: 0,
            voided: Arc::default(),
            load: None,
        }
    }
}

impl<T> Load<T> {
    /// The key that is being read.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Set once what this read brings must not be kept; it goes along with the value, so that
    /// nobody takes a voided one for good between its storing and its removal.
    pub(super) fn voided(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.voided)
    }

    /// What this read brings must not be kept, nor what others have been bringing meanwhile.
    pub(super) fn void(&self) {
        self.voided.store(true, Ordering::Relaxed);
        if let Some(flight) = self.list.lock().get_mut(&self.key)
            && self.is_of(flight)
        {
            flight.void();
        }
    }

    /// Takes the read off the list; `true` when its value must not be kept.
    pub(super) fn end(self) -> bool {
        let voided = self.voided();
        drop(self);
        voided.load(Ordering::Relaxed)
    }

    /// Whether nothing has voided the flight since this read began.
    fn is_of(&self, flight: &Flight<T>) -> bool {
        Arc::ptr_eq(&self.voided, &flight.voided)
    }
}

impl<T> Drop for Load<T> {
    fn drop(&mut self) {
        let mut keys = self.list.lock();
        let Some(flight) = keys.get_mut(&self.key) else {
            return;
        };
        if self.awaited && self.is_of(flight) {
            flight.load = None;
        }
        flight.reads -= 1;
        if flight.reads == 0 {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datalayer::cache::tags::TagIndex;

    fn list() -> Arc<InFlight<u8>> {
        Arc::new(InFlight::new(Duration::from_secs(60)))
    }

    #[test]
    fn only_what_was_voided_while_it_was_under_way_is_void() {
        let list = list();
        let check = |action: &dyn Fn(&Load<u8>), expected: bool| {
            list.void("a");
            let load = list.begin("a".into());
            action(&load);
            assert_eq!(load.end(), expected);
        };
        check(&|_| {}, false);
        check(&|_| list.void("b"), false);
        check(&|_| list.void("a"), true);
        check(&|_| list.void_all(), true);
        check(&|_| list.void_where(|key| key == "a"), true);
        check(&|_| list.void_where(|key| key == "b"), false);
        check(&|load| load.void(), true);
        assert!(list.is_empty());
    }

    #[test]
    fn a_read_that_ends_does_not_take_others_off_the_list() {
        let list = list();
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

    fn load(turn: Turn<u8>) -> (Load<u8>, oneshot::Sender<u8>) {
        match turn {
            Turn::Load(load, teller, _) => (load, teller),
            Turn::Wait(_) => panic!("somebody else loads"),
        }
    }

    fn wait(turn: Turn<u8>) -> Outcome<u8> {
        match turn {
            Turn::Load(..) => panic!("nobody loads"),
            Turn::Wait(outcome) => outcome,
        }
    }

    #[tokio::test]
    async fn one_loads_and_the_others_are_told() {
        let (list, key) = (list(), "a".into());
        let promoted = list.begin(Arc::clone(&key));
        let (leading, teller) = load(list.join(&key, &Marks::default()));
        let outcomes = [
            wait(list.join(&key, &Marks::default())),
            wait(list.join(&key, &Marks::default())),
        ];
        drop(promoted);
        let late = wait(list.join(&key, &Marks::default()));
        leading.end();
        assert!(list.is_empty());
        assert_eq!(teller.send(7), Ok(()));
        for outcome in outcomes.into_iter().chain([late]) {
            assert_eq!(outcome.await, Ok(7));
        }
        let (lost, teller) = load(list.join(&key, &Marks::default()));
        let outcome = wait(list.join(&key, &Marks::default()));
        drop((lost, teller));
        assert!(outcome.await.is_err(), "it ended without a word");
        let (next, _teller) = load(list.join(&key, &Marks::default()));
        assert!(!next.end());
    }

    #[test]
    fn who_asks_after_a_change_does_not_wait_for_what_began_before() {
        let key = "a".into();
        for void in [
            |list: &InFlight<u8>, _: &Load<u8>| list.void("a"),
            |list: &InFlight<u8>, _: &Load<u8>| list.void_all(),
            |_: &InFlight<u8>, load: &Load<u8>| load.void(),
        ] {
            let list = list();
            let (before, _teller) = load(list.join(&key, &Marks::default()));
            void(&list, &before);
            let (after, _teller) = load(list.join(&key, &Marks::default()));
            assert!(before.end());
            let _under_way = wait(list.join(&key, &Marks::default()));
            assert!(!after.end());
            assert!(list.is_empty());
        }
    }

    #[test]
    fn who_asks_after_a_tag_was_voided_does_not_wait_for_what_began_before() {
        let (list, tags, key) = (list(), TagIndex::default(), "a".into());
        let names = ["t".into()];
        let (before, _teller) = load(list.join(&key, &tags.mark(&names)));
        let _under_way = wait(list.join(&key, &tags.mark(&names)));
        tags.void("t");
        let (after, _teller) = load(list.join(&key, &tags.mark(&names)));
        assert!(before.end());
        assert!(!after.end());
    }

    #[test]
    fn a_load_that_does_not_end_is_not_waited_for() {
        let list = Arc::new(InFlight::<u8>::new(Duration::ZERO));
        let key = "a".into();
        let (stuck, _teller) = load(list.join(&key, &Marks::default()));
        let (next, _teller) = load(list.join(&key, &Marks::default()));
        assert!(stuck.end() && !next.end());
    }
}
