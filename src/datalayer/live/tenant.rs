//! A tenant in this process: who is connected, in which rooms, and what they have been told.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::bus::{Event, Replay};
use super::message::Delivery;
use super::stats::Counters;
use super::update::{Body, Entry, Position, Update};
use crate::datalayer::config::LiveSettings;

/// Why a subscription ends other than by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It left more messages unread than may wait for it.
    Slow,
    /// The hub closes.
    Closing,
}

/// Whoever resumes has to do it before anything else: what it has seen of other rooms is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection resumes before it joins any room: connect again")]
pub struct NotFirst;

/// A tenant that somebody is connected to.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: String,
    pub(super) settings: Arc<LiveSettings>,
    pub(super) counters: Arc<Counters>,
    state: Mutex<State>,
}

/// What an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The next one.
    Next,
    /// One that is known.
    Known,
    /// Others came before it that were not heard of.
    Early,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The place in the log up to which everything is known here; none before the log could be asked.
    seen: Option<Position>,
    /// The place in the log after which everything is heard here: what lies before it is not.
    begun: Option<Position>,
    /// The place up to which it was sent.
    sent: Option<Position>,
    /// What is known and not sent.
    pending: Vec<Arc<Update>>,
    /// Whether updates were lost since the last sending.
    gap: bool,
    /// Whether somebody joined while the log could not be asked.
    blind: bool,
    /// Whether a sending is to come by itself.
    due: bool,
    /// What was delivered past the log and may yet turn up in it.
    past_the_log: VecDeque<Uuid>,
    /// What was heard last: to whoever published it that may look as if it had failed.
    heard: VecDeque<Uuid>,
    /// How many connections there are, those that were let go and have not gone included.
    places: u32,
    subscribers: HashMap<u64, Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    rooms: BTreeSet<String>,
    /// What has a number up to this it has already.
    floor: u64,
    /// What came while it resumes.
    held: Option<Held>,
    queue: mpsc::Sender<Delivery>,
    ending: watch::Sender<Option<Ending>>,
}

#[derive(Debug, Default)]
struct Held {
    updates: Vec<Arc<Update>>,
    gap: bool,
}

impl Tenant {
    pub(super) fn new(name: &str, settings: &Arc<LiveSettings>, counters: &Arc<Counters>) -> Self {
        Self {
            name: name.to_owned(),
            settings: Arc::clone(settings),
            counters: Arc::clone(counters),
            state: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the bus says.
    pub(super) fn hear(self: &Arc<Self>, event: Event) -> Heard {
        let mut state = self.lock();
        let heard = state.hear(&event.epoch, event.entry, self.settings.history_updates);
        self.send_soon(&mut state);
        heard
    }

    /// Takes in what the log says that came after the place where it was seen last.
    pub(super) fn catch_up(self: &Arc<Self>, asked: Option<&Position>, replay: Replay) {
        let mut state = self.lock();
        state.catch_up(asked, replay, &self.settings, &self.counters);
        self.send_soon(&mut state);
    }

    /// Delivers an update past the log.
    pub(super) fn deliver(self: &Arc<Self>, body: Body) {
        let mut state = self.lock();
        state.deliver(body, self.settings.history_updates);
        self.send_soon(&mut state);
    }

    /// Sends at the end of the time for others to go with it, or at once where there is enough.
    fn send_soon(self: &Arc<Self>, state: &mut State) {
        if state.pending.len() >= self.settings.batch_max_updates {
            state.send(&self.settings, &self.counters);
        } else if !state.due && (state.gap || !state.pending.is_empty()) {
            state.due = true;
            let tenant = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(tenant.settings.batch_ms)).await;
                let mut state = tenant.lock();
                state.due = false;
                state.send(&tenant.settings, &tenant.counters);
            });
        }
    }
}

impl State {
    pub(super) fn seen(&self) -> Option<Position> {
        self.seen.clone()
    }

    /// Whether the log was asked already.
    pub(super) fn is_placed(&self) -> bool {
        self.seen.is_some()
    }

    /// Begins at a place in the log, unless that was done.
    pub(super) fn place(&mut self, at: Position) {
        if self.seen.is_none() {
            self.sent = Some(at.clone());
            self.begun = Some(at.clone());
            self.seen = Some(at);
            self.gap |= std::mem::take(&mut self.blind);
        }
    }

    /// Whether everything after a place in the log is heard here, which may begin there. It is not where somebody
    /// else has meanwhile begun at a later one.
    pub(super) fn hears_all_after(&mut self, at: &Position) -> bool {
        self.place(at.clone());
        let begun = self.begun.as_ref();
        begun.is_none_or(|begun| begun.epoch != at.epoch || begun.seq <= at.seq)
    }

    fn hear(&mut self, epoch: &str, entry: Entry, remembered: usize) -> Heard {
        if self.seen.is_none() {
            self.place(Position {
                epoch: epoch.to_owned(),
                seq: entry.seq.saturating_sub(1),
            });
        }
        let Some(seen) = self.seen.as_mut() else {
            return Heard::Early;
        };
        if seen.epoch != epoch || entry.seq > seen.seq + 1 {
            return Heard::Early;
        }
        if entry.seq <= seen.seq {
            return Heard::Known;
        }
        seen.seq = entry.seq;
        let Entry { seq, body } = entry;
        match body.change {
            None => self.gap = true,
            Some(_) if self.past_the_log.contains(&body.id) => {}
            Some(change) => {
                remember(&mut self.heard, body.id, remembered);
                self.pending.push(Arc::new(Update {
                    seq: Some(seq),
                    at_ns: body.at_ns,
                    change,
                }));
            }
        }
        Heard::Next
    }

    fn catch_up(
        &mut self,
        asked: Option<&Position>,
        replay: Replay,
        settings: &LiveSettings,
        counters: &Counters,
    ) {
        let Replay { head, entries } = replay;
        self.place(head.clone());
        match entries {
            Some(entries) => {
                for entry in entries {
                    self.hear(&head.epoch, entry, settings.history_updates);
                }
            }
            // Unless another answer was there before. The end of the log may even be before the place
            // that was seen: what Redis had not saved when it died is lost.
            None if self.seen.as_ref() == asked => {
                // What is known is of the time before.
                self.send(settings, counters);
                self.begun = Some(head.clone());
                self.seen = Some(head);
                self.gap = true;
                for subscriber in self.subscribers.values_mut() {
                    subscriber.floor = 0;
                }
            }
            None => {}
        }
    }

    fn deliver(&mut self, body: Body, remembered: usize) {
        let Some(change) = body.change else {
            self.gap = true;
            return;
        };
        if self.heard.contains(&body.id) {
            return;
        }
        remember(&mut self.past_the_log, body.id, remembered);
        self.pending.push(Arc::new(Update {
            seq: None,
            at_ns: body.at_ns,
            change,
        }));
    }

    /// Sends what is known to those whom it concerns. A message is written once for all who are in the same
    /// rooms.
    fn send(&mut self, settings: &LiveSettings, counters: &Counters) {
        let pending = std::mem::take(&mut self.pending);
        let gap = std::mem::take(&mut self.gap);
        self.sent.clone_from(&self.seen);
        if pending.is_empty() && !gap {
            return;
        }
        Counters::add(&counters.gaps, gap.into());
        let lowest = pending.iter().filter_map(|update| update.seq).min();
        let mut written: HashMap<BTreeSet<String>, Delivery> = HashMap::new();
        let mut slow = Vec::new();
        for (id, subscriber) in &mut self.subscribers {
            let (rooms, floor) = (&subscriber.rooms, subscriber.floor);
            let concerns =
                |update: &Update| update.is_above(floor) && rooms.contains(&update.change.room);
            if let Some(held) = &mut subscriber.held {
                held.gap |= gap;
                let concerning = pending.iter().filter(|update| concerns(update));
                held.updates.extend(concerning.cloned());
                if held.updates.len() > settings.history_updates {
                    held.updates.clear();
                    held.gap = true;
                }
                continue;
            }
            if rooms.is_empty() {
                continue;
            }
            let write = || {
                let place = reached(self.sent.as_ref(), floor);
                let concerning = pending.iter().map(AsRef::as_ref);
                let concerning = concerning.filter(|update| concerns(update));
                Delivery::new(place.as_ref(), gap, None, concerning)
            };
            let sent = self.sent.as_ref().map_or(0, |sent| sent.seq);
            let is_as_others = floor <= sent && lowest.is_none_or(|lowest| lowest > floor);
            let delivery = if is_as_others {
                match written.get(rooms) {
                    Some(delivery) => delivery.clone(),
                    None => written.entry(rooms.clone()).or_insert(write()).clone(),
                }
            } else {
                write()
            };
            if delivery.updates == 0 && !gap {
                continue;
            }
            if !subscriber.take(delivery, counters) {
                slow.push(*id);
            }
        }
        for id in slow {
            self.subscribers.remove(&id);
        }
    }

    /// One more connection, unless there are as many as there may be.
    pub(super) fn connect(
        &mut self,
        id: u64,
        settings: &LiveSettings,
    ) -> Option<(mpsc::Receiver<Delivery>, watch::Receiver<Option<Ending>>)> {
        if self.places >= settings.connections_per_tenant {
            return None;
        }
        let (queue, queued) = mpsc::channel(settings.queue_batches);
        let (ending, ended) = watch::channel(None);
        let subscriber = Subscriber {
            rooms: BTreeSet::new(),
            floor: 0,
            held: None,
            queue,
            ending,
        };
        self.subscribers.insert(id, subscriber);
        self.places += 1;
        Some((queued, ended))
    }

    /// The end of a connection; true when it was the last.
    pub(super) fn disconnect(&mut self, id: u64) -> bool {
        self.subscribers.remove(&id);
        self.places -= 1;
        self.places == 0
    }

    pub(super) fn close(&mut self) {
        for subscriber in self.subscribers.values() {
            subscriber.ending.send_replace(Some(Ending::Closing));
        }
    }

    /// How many rooms somebody is in.
    pub(super) fn rooms(&self) -> usize {
        let all = self.subscribers.values();
        let rooms: BTreeSet<&String> = all.flat_map(|subscriber| &subscriber.rooms).collect();
        rooms.len()
    }

    /// Lets a connection into rooms: it gets everything after the place that it is told.
    pub(super) fn join(&mut self, id: u64, rooms: BTreeSet<String>, counters: &Counters) {
        self.blind |= self.seen.is_none();
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            return;
        };
        subscriber.rooms.extend(rooms.iter().cloned());
        let place = reached(self.sent.as_ref(), subscriber.floor);
        let joined = Delivery::new(place.as_ref(), false, Some(&rooms), [].iter());
        if !subscriber.take(joined, counters) {
            self.subscribers.remove(&id);
        }
    }

    pub(super) fn leave(&mut self, id: u64, room: &str) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.rooms.remove(room);
        }
    }

    /// Begins to hold what comes in rooms that a connection resumes.
    pub(super) fn hold(&mut self, id: u64, rooms: &BTreeSet<String>) -> Result<(), NotFirst> {
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            return Ok(());
        };
        if !subscriber.rooms.is_empty() {
            return Err(NotFirst);
        }
        subscriber.rooms.clone_from(rooms);
        subscriber.held = Some(Held::default());
        Ok(())
    }

    /// Sends what a connection missed, of the log and then of what came meanwhile. Without an answer of the
    /// log that is a gap; and with one of another log than the one that is known here, since what the two
    /// have in common is not known; and with one that ends before what is heard here begins.
    pub(super) fn release(&mut self, id: u64, replay: Option<Replay>, counters: &Counters) {
        let hears_rest = replay
            .as_ref()
            .is_some_and(|replay| self.hears_all_after(&replay.head));
        self.blind |= self.seen.is_none();
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            return;
        };
        let held = subscriber.held.take().unwrap_or_default();
        let known = self.seen.as_ref().map(|seen| &seen.epoch);
        let head = replay.as_ref().map(|replay| &replay.head);
        let head = head.filter(|head| hears_rest && Some(&head.epoch) == known);
        subscriber.floor = head.map_or(0, |head| head.seq);
        let entries = replay.as_ref().and_then(|replay| replay.entries.as_ref());
        let is_mark = |entry: &Entry| entry.body.change.is_none();
        let gap =
            held.gap || head.is_none() || entries.is_none_or(|entries| entries.iter().any(is_mark));
        let missed = entries.into_iter().flatten().filter_map(|entry| {
            let change = entry.body.change.clone()?;
            let (seq, at_ns) = (Some(entry.seq), entry.body.at_ns);
            let known = subscriber.rooms.contains(&change.room);
            known.then_some(Update { seq, at_ns, change })
        });
        let mut updates: Vec<Update> = missed.collect();
        let meanwhile = held.updates.iter().map(|update| Update::clone(update));
        updates.extend(meanwhile.filter(|update| update.is_above(subscriber.floor)));
        let position = match (&self.sent, head) {
            (Some(sent), Some(head)) if sent.epoch == head.epoch && sent.seq > head.seq => {
                Some(sent)
            }
            (_, Some(head)) => Some(head),
            (sent, None) => sent.as_ref(),
        };
        let rooms = subscriber.rooms.clone();
        Counters::add(&counters.gaps, gap.into());
        let delivery = Delivery::new(position, gap, Some(&rooms), updates.iter());
        if !subscriber.take(delivery, counters) {
            self.subscribers.remove(&id);
        }
    }
}

/// How far whoever has everything up to `floor` has come: what it is told must not lie before what it was
/// told when it came back.
fn reached(sent: Option<&Position>, floor: u64) -> Option<Position> {
    let sent = sent?;
    Some(Position {
        epoch: sent.epoch.clone(),
        seq: sent.seq.max(floor),
    })
}

/// Remembers so many at most.
fn remember(ids: &mut VecDeque<Uuid>, id: Uuid, most: usize) {
    if ids.len() >= most {
        ids.pop_front();
    }
    ids.push_back(id);
}

impl Subscriber {
    /// Whether there was room for one more message; where there is none, it ends.
    fn take(&self, delivery: Delivery, counters: &Counters) -> bool {
        let updates = delivery.updates;
        match self.queue.try_send(delivery) {
            Ok(()) => true,
            Err(_) => {
                Counters::add(&counters.dropped, updates);
                if !self.queue.is_closed() {
                    Counters::add(&counters.slow, 1);
                }
                self.ending.send_replace(Some(Ending::Slow));
                false
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::datalayer::live::update::Change;

    /// A tenant with one connection, in room `a` of the log `e` from 9 on.
    struct Scene {
        state: State,
        settings: LiveSettings,
        counters: Counters,
        queue: mpsc::Receiver<Delivery>,
    }

    impl Scene {
        fn new() -> Self {
            let settings = LiveSettings {
                history_updates: 3,
                queue_batches: 2,
                ..LiveSettings::default()
            };
            let mut state = State::default();
            state.place(at("e", 9));
            let (queue, _) = state.connect(1, &settings).unwrap();
            Self {
                state,
                settings,
                counters: Counters::default(),
                queue,
            }
        }

        fn joined() -> Self {
            let mut scene = Self::new();
            scene.state.join(1, rooms(), &scene.counters);
            assert_eq!(scene.told(), Some((9, false, vec![])));
            scene
        }

        fn hear(&mut self, epoch: &str, entry: Entry) -> Heard {
            let remembered = self.settings.history_updates;
            self.state.hear(epoch, entry, remembered)
        }

        fn deliver(&mut self, body: Body) {
            self.state.deliver(body, self.settings.history_updates);
        }

        fn send(&mut self) {
            self.state.send(&self.settings, &self.counters);
        }

        fn catch_up(&mut self, asked: &Position, replay: Replay) {
            let asked = Some(asked);
            self.state
                .catch_up(asked, replay, &self.settings, &self.counters);
        }

        /// The place, whether there is a gap, and the numbers of the next message.
        fn told(&mut self) -> Option<(u64, bool, Vec<u64>)> {
            let delivery = self.queue.try_recv().ok()?;
            let message: Value = serde_json::from_slice(&delivery.text).unwrap();
            let updates = message["updates"].as_array().unwrap();
            let seqs = updates.iter().map(|update| update["seq"].as_u64());
            let seqs = seqs.map(Option::unwrap_or_default).collect();
            Some((
                message["seq"].as_u64().unwrap(),
                message["gap"] == json!(true),
                seqs,
            ))
        }
    }

    fn at(epoch: &str, seq: u64) -> Position {
        Position {
            epoch: epoch.to_owned(),
            seq,
        }
    }

    fn rooms() -> BTreeSet<String> {
        ["a".to_owned()].into()
    }

    fn entry(seq: u64) -> Entry {
        let (room, data) = ("a".to_owned(), "{}".to_owned());
        let body = Body::new(Some(Change { room, data }));
        Entry { seq, body }
    }

    #[test]
    fn the_numbers_say_what_is_next() {
        let mut scene = Scene::joined();
        let mut check = |epoch: &str, seq, expected| {
            assert_eq!(scene.hear(epoch, entry(seq)), expected, "{seq}");
        };
        check("e", 9, Heard::Known);
        check("e", 11, Heard::Early);
        check("f", 10, Heard::Early);
        check("e", 10, Heard::Next);
        check("e", 10, Heard::Known);
        check("e", 11, Heard::Next);
        scene.send();
        assert_eq!(scene.told(), Some((11, false, vec![10, 11])));
        scene.send();
        assert_eq!(scene.told(), None, "nothing new is nothing to say");
    }

    #[test]
    fn what_the_log_does_not_have_any_more_is_told_once() {
        let mut scene = Scene::joined();
        scene.hear("e", entry(10));
        let gap = || Replay {
            head: at("e", 50),
            entries: None,
        };
        // The answer to an older question says nothing about now.
        scene.catch_up(&at("e", 9), gap());
        scene.send();
        assert_eq!(scene.told(), Some((10, false, vec![10])));
        scene.catch_up(&at("e", 10), gap());
        scene.catch_up(&at("e", 10), gap());
        scene.send();
        assert_eq!(scene.told(), Some((50, true, vec![])));
        scene.send();
        assert_eq!(scene.told(), None);
    }

    #[test]
    fn a_log_that_went_back_is_a_gap() {
        let mut scene = Scene::joined();
        let back = Replay {
            head: at("e", 5),
            entries: None,
        };
        scene.catch_up(&at("e", 9), back);
        assert_eq!(scene.hear("e", entry(6)), Heard::Next);
        scene.send();
        assert_eq!(scene.told(), Some((6, true, vec![6])));
    }

    #[test]
    fn a_mark_in_the_log_is_a_gap_for_those_who_are_there_and_those_who_come_back() {
        let mut scene = Scene::joined();
        let mark = Entry {
            seq: 10,
            body: Body::new(None),
        };
        scene.hear("e", mark.clone());
        scene.send();
        assert_eq!(scene.told(), Some((10, true, vec![])));
        let mut back = Scene::new();
        back.state.hold(1, &rooms()).unwrap();
        let replay = Replay {
            head: at("e", 11),
            entries: Some(vec![mark, entry(11)]),
        };
        back.state.release(1, Some(replay), &back.counters);
        assert_eq!(back.told(), Some((11, true, vec![11])));
    }

    #[test]
    fn an_answer_that_ends_before_all_is_heard_is_a_gap() {
        let check = |seq: u64, hears_all: bool| {
            let mut scene = Scene::new();
            scene.state.hold(1, &rooms()).unwrap();
            assert_eq!(scene.state.hears_all_after(&at("e", seq)), hears_all);
            let replay = Replay {
                head: at("e", seq),
                entries: Some(Vec::new()),
            };
            scene.state.release(1, Some(replay), &scene.counters);
            assert_eq!(scene.told(), Some((9.max(seq), !hears_all, vec![])));
        };
        check(8, false);
        check(9, true);
        check(12, true);
        let mut new = State::default();
        assert!(new.hears_all_after(&at("e", 8)));
        assert!(!new.hears_all_after(&at("e", 7)));
        assert!(new.hears_all_after(&at("f", 7)));
    }

    #[test]
    fn what_went_past_the_log_is_not_told_again_from_it() {
        let mut scene = Scene::joined();
        let entry = entry(10);
        scene.deliver(entry.body.clone());
        scene.send();
        assert_eq!(scene.told(), Some((9, false, vec![0])));
        assert_eq!(scene.hear("e", entry), Heard::Next);
        scene.send();
        assert_eq!(scene.told(), None);
    }

    #[test]
    fn what_came_through_although_it_looked_lost_is_told_once() {
        let mut scene = Scene::joined();
        let [first, second] = [entry(10), entry(11)];
        scene.hear("e", first.clone());
        scene.deliver(first.body.clone());
        scene.send();
        assert_eq!(scene.told(), Some((10, false, vec![10])));
        scene.hear("e", second.clone());
        scene.send();
        assert_eq!(scene.told(), Some((11, false, vec![11])));
        scene.deliver(first.body);
        scene.deliver(second.body);
        scene.send();
        assert_eq!(scene.told(), None);
        assert!(scene.state.past_the_log.is_empty());
        for seq in 12..=20 {
            scene.hear("e", entry(seq));
        }
        assert_eq!(scene.state.heard.len(), 3);
    }

    #[test]
    fn an_answer_of_a_log_that_is_lost_holds_nothing_back_of_the_next() {
        let mut scene = Scene::new();
        scene.state.hold(1, &rooms()).unwrap();
        let answer = Replay {
            head: at("e", 50),
            entries: Some(vec![entry(50)]),
        };
        let next = Replay {
            head: at("f", 0),
            entries: None,
        };
        scene.catch_up(&at("e", 9), next);
        scene.state.release(1, Some(answer), &scene.counters);
        scene.send();
        assert_eq!(scene.told(), Some((9, true, vec![50])));
        scene.send();
        scene.hear("f", entry(1));
        scene.send();
        let told = std::iter::from_fn(|| scene.told()).last();
        assert_eq!(told, Some((1, false, vec![1])));
    }

    #[test]
    fn who_is_ahead_of_the_others_is_not_told_a_place_before_its_own() {
        let mut scene = Scene::new();
        scene.state.hold(1, &rooms()).unwrap();
        let replay = Replay {
            head: at("e", 50),
            entries: Some(vec![]),
        };
        scene.state.release(1, Some(replay), &scene.counters);
        assert_eq!(scene.told(), Some((50, false, vec![])));
        scene.hear("e", entry(10));
        scene.deliver(entry(0).body);
        scene.send();
        assert_eq!(scene.told(), Some((50, false, vec![0])));
        scene.state.gap = true;
        scene.send();
        assert_eq!(scene.told(), Some((50, true, vec![])));
        scene.state.join(1, rooms(), &scene.counters);
        assert_eq!(scene.told(), Some((50, false, vec![])));
    }

    #[test]
    fn who_is_let_go_keeps_its_place_until_it_has_gone() {
        let mut scene = Scene::joined();
        scene.settings.connections_per_tenant = 1;
        for seq in 10..=12 {
            scene.hear("e", entry(seq));
            scene.send();
        }
        assert!(scene.state.subscribers.is_empty(), "two messages may wait");
        assert!(scene.state.connect(2, &scene.settings).is_none());
        assert!(scene.state.disconnect(1));
        assert!(scene.state.connect(2, &scene.settings).is_some());
    }

    #[test]
    fn what_comes_while_the_log_is_asked_comes_after_what_it_says_and_once() {
        let mut scene = Scene::new();
        scene.state.hold(1, &rooms()).unwrap();
        scene.hear("e", entry(10));
        scene.hear("e", entry(11));
        scene.send();
        scene.hear("e", entry(12));
        assert_eq!(scene.told(), None);
        // The log was asked when it had come to 10; or it is ahead of what was heard.
        let replay = Replay {
            head: at("e", 10),
            entries: Some(vec![entry(8), entry(9), entry(10)]),
        };
        scene.state.release(1, Some(replay), &scene.counters);
        assert_eq!(scene.told(), Some((11, false, vec![8, 9, 10, 11])));
        scene.send();
        assert_eq!(scene.told(), Some((12, false, vec![12])));

        let mut scene = Scene::new();
        scene.state.hold(1, &rooms()).unwrap();
        let replay = Replay {
            head: at("e", 11),
            entries: Some(vec![entry(10), entry(11)]),
        };
        scene.state.release(1, Some(replay), &scene.counters);
        assert_eq!(scene.told(), Some((11, false, vec![10, 11])));
        for seq in 10..=12 {
            scene.hear("e", entry(seq));
        }
        scene.send();
        assert_eq!(scene.told(), Some((12, false, vec![12])));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut scene = Scene::new();
        scene.state.hold(1, &rooms()).unwrap();
        for seq in 10..=14 {
            scene.hear("e", entry(seq));
        }
        scene.send();
        let replay = Replay {
            head: at("e", 9),
            entries: Some(vec![]),
        };
        scene.state.release(1, Some(replay), &scene.counters);
        assert_eq!(scene.told(), Some((14, true, vec![])));
    }

    #[test]
    fn who_joined_without_the_log_hears_of_a_gap_when_it_is_there() {
        let mut scene = Scene::new();
        scene.state.seen = None;
        scene.state.sent = None;
        scene.state.join(1, rooms(), &scene.counters);
        scene.queue.try_recv().unwrap();
        assert_eq!(scene.hear("e", entry(20)), Heard::Next);
        scene.send();
        assert_eq!(scene.told(), Some((20, true, vec![20])));
    }
}
