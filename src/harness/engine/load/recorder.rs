//! What happened, as it happens: counts and latencies of the measure phase, and of each second.
//!
//! Every user reports here, so this must cost little: one lock that is almost never contended (the
//! users of a worker share a thread) and a few counters below it. An iteration of one request takes
//! it twice, when it begins and when it ends. Seconds that have passed are taken away by the clerk,
//! which encodes them on its own thread; so memory doesn't grow with the duration, and no user ever
//! waits for an encoding.
//!
//! An iteration belongs to the second and the phase of its intended start; a request belongs to
//! the phase of its own intended start and to the second in which it ended; a group belongs to the
//! phase in which it began.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::check::Complaint;
use super::transport::Timings;
use super::windows::WINDOW_NS;
use crate::harness::engine::Redactor;
use crate::harness::model::{
    ConnectionSeries, Counts, ErrorKind, GroupSeries, LatencyHistogram, Outcome, RequestSeries,
};

/// An example of a failure is cut to this many characters.
const MAX_EXAMPLE_CHARS: usize = 300;

/// Takes note of everything that users and the dispatcher do.
#[derive(Debug)]
pub(super) struct Recorder {
    measure: Range<u64>,
    late_ns: u64,
    redactor: Redactor,
    state: Mutex<State>,
}

/// What the recorder knows.
#[derive(Debug, Default)]
struct State {
    measured: Measured,
    /// Requests of the measure phase that are under way, by request name.
    under_way: Vec<u64>,
    /// Groups that began in the measure phase and did not end, by name.
    groups_under_way: Vec<u64>,
    waiting: Waiting,
    /// Seconds that the clerk has not taken yet, by number.
    seconds: BTreeMap<u64, Second>,
    last: LastSecond,
}

/// Totals of the measure phase.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) counts: Counts,
    pub(super) iteration: LatencyHistogram,
    pub(super) lateness: LatencyHistogram,
    /// By request name; without windows.
    pub(super) requests: Vec<RequestSeries>,
    /// By the name of the group.
    pub(super) groups: Vec<GroupSeries>,
    pub(super) connections: ConnectionSeries,
    /// Iterations that found no row left in a feed, by feed.
    pub(super) exhausted_feeds: BTreeMap<String, u64>,
    /// Time of users in the measure phase that went into requests that failed, in ns. Of the measure
    /// phase is the time, not the request: one that began before it counts from its start on.
    pub(super) failed_ns: u64,
}

/// Requests that nobody has answered yet, whenever they began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    count: u64,
    /// The sum of the instants from which on they wait, moved into the measure phase, in ns.
    since_ns: u128,
}

/// What of the measure phase is known while it goes on.
#[derive(Debug)]
pub(super) struct SoFar {
    /// The counts so far, and what was noted besides since the last time.
    pub(super) measured: Measured,
    /// Requests of the measure phase that are under way, by request name.
    pub(super) under_way: Vec<u64>,
}

/// What is added to one second; it can be added to again after it was taken.
#[derive(Debug, Default)]
pub(super) struct Second {
    /// Iterations whose intended start is in it.
    pub(super) counts: Counts,
    /// By request name: those that ended in it.
    pub(super) requests: Vec<SecondOfRequest>,
}

/// The requests of one name that ended in one second.
#[derive(Debug, Clone, Default)]
pub(super) struct SecondOfRequest {
    pub(super) response: LatencyHistogram,
    pub(super) service: LatencyHistogram,
    pub(super) failed: u64,
    pub(super) bytes_received: u64,
}

/// For whoever watches.
#[derive(Debug, Default)]
pub(super) struct LastSecond {
    /// Response times since the last look, of all requests in order.
    pub(super) response: LatencyHistogram,
    /// Requests that ended since the last look.
    pub(super) ended: u64,
    /// Iterations that ended since the last look.
    pub(super) iterations: u64,
    /// How late the tickets were that were taken since the last look.
    pub(super) lateness: LatencyHistogram,
    /// Requests that failed since the last look.
    pub(super) newly_failed: u64,
    /// Requests that failed since the start.
    pub(super) failed: u64,
    /// Arrivals that were dropped since the start.
    pub(super) dropped: u64,
    /// Iterations under way now.
    pub(super) in_flight: u64,
}

/// An iteration that a user takes up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    pub(super) intended_ns: u64,
    /// Its due time in an open model; in a closed one it is due when the user begins it, and can't be
    /// late.
    pub(super) due_ns: Option<u64>,
    pub(super) taken_ns: u64,
}

/// A request that ended, well or not. Its attempts and redirects belong to it.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The index of its name.
    pub(super) request: usize,
    pub(super) intended_ns: u64,
    /// The first time.
    pub(super) sent_ns: u64,
    /// The last time.
    pub(super) ended_ns: u64,
    /// Of the last answer.
    pub(super) status: Option<u16>,
    /// Of all attempts that were answered.
    pub(super) bytes_sent: u64,
    /// Of all answers.
    pub(super) bytes_received: u64,
    pub(super) retries: u64,
    pub(super) redirects: u64,
    /// Of the last exchange; of those before it see [`Recorder::exchanged`].
    pub(super) timings: Timings,
    /// What failed, and a message that may hold hostile text; `None` for one in order.
    pub(super) failure: Option<Complaint>,
}

/// A group of steps that a user is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenGroup {
    /// The index of its name.
    pub(super) group: usize,
    pub(super) began_ns: u64,
}

impl Recorder {
    /// A recorder for a flow with requests and groups of these names. `measure` is the measure phase in
    /// load time.
    pub(super) fn new(
        requests: &[String],
        groups: &[String],
        measure: Range<u64>,
        late_ns: u64,
        redactor: Redactor,
    ) -> Self {
        let state = State {
            measured: Measured::nothing_of(requests.iter(), groups.iter()),
            under_way: vec![0; requests.len()],
            groups_under_way: vec![0; groups.len()],
            ..State::default()
        };
        Self {
            measure,
            late_ns,
            redactor,
            state: Mutex::new(state),
        }
    }

    /// An arrival found no idle user.
    pub(super) fn dropped(&self, due_ns: u64) {
        let mut state = self.lock();
        state.last.dropped += 1;
        self.count(&mut state, due_ns, |counts| {
            counts.offered += 1;
            counts.dropped += 1;
        });
    }

    /// A user took up an iteration.
    pub(super) fn began(&self, began: &Began) {
        self.note_began(&mut self.lock(), began);
    }

    /// A user took up an iteration and is about to send its first request.
    pub(super) fn began_sending(&self, began: &Began, request: usize, intended_ns: u64) {
        let mut state = self.lock();
        self.note_began(&mut state, began);
        self.note_sending(&mut state, request, intended_ns);
    }

    /// A request is about to be sent.
    pub(super) fn sending(&self, request: usize, intended_ns: u64) {
        self.note_sending(&mut self.lock(), request, intended_ns);
    }

    /// An exchange ended that was not the last of its request, which was meant to be sent then.
    pub(super) fn exchanged(&self, intended_ns: u64, timings: &Timings) {
        if self.measure.contains(&intended_ns) {
            note_timings(&mut self.lock().measured.connections, timings);
        }
    }

    /// A request ended.
    pub(super) fn ended(&self, ended: &Ended) {
        self.note_ended(&mut self.lock(), ended);
    }

    /// A request ended in order, and with it the iteration that was meant to begin at
    /// `iteration_ns`.
    pub(super) fn ended_last(&self, ended: &Ended, iteration_ns: u64) {
        let mut state = self.lock();
        self.note_ended(&mut state, ended);
        self.note_completed(&mut state, iteration_ns, ended.ended_ns);
    }

    /// Something went wrong that is no request: one could not be built, or a loop waited in vain. It
    /// counts among the failures of `request`, without a latency.
    pub(super) fn fault(&self, request: usize, intended_ns: u64, complaint: &Complaint) {
        let mut state = self.lock();
        state.last.fail();
        if self.measure.contains(&intended_ns) {
            let series = &mut state.measured.requests[request];
            self.tally(series, complaint);
        }
    }

    /// An iteration found no row left in a feed.
    pub(super) fn feed_exhausted(&self, feed: &str, intended_ns: u64) {
        if self.measure.contains(&intended_ns) {
            let mut state = self.lock();
            let feeds = &mut state.measured.exhausted_feeds;
            *feeds.entry(feed.to_owned()).or_default() += 1;
        }
    }

    /// A user came to a group.
    pub(super) fn group_began(&self, open: OpenGroup) {
        if self.measure.contains(&open.began_ns) {
            self.lock().groups_under_way[open.group] += 1;
        }
    }

    /// Every step of a group was in order.
    pub(super) fn group_ended(&self, open: OpenGroup, ended_ns: u64) {
        if self.measure.contains(&open.began_ns) {
            let mut state = self.lock();
            state.groups_under_way[open.group] -= 1;
            let series = &mut state.measured.groups[open.group];
            series
                .duration
                .record(ended_ns.saturating_sub(open.began_ns));
        }
    }

    /// Every step of an iteration was in order.
    pub(super) fn completed(&self, intended_ns: u64, ended_ns: u64) {
        self.note_completed(&mut self.lock(), intended_ns, ended_ns);
    }

    /// A step of an iteration failed, and with it the groups that it was in.
    pub(super) fn failed(&self, intended_ns: u64, timed_out: bool, groups: &[OpenGroup]) {
        let mut state = self.lock();
        state.last.in_flight -= 1;
        state.last.iterations += 1;
        self.count(&mut state, intended_ns, |counts| {
            counts.failed += 1;
            counts.timed_out += u64::from(timed_out);
        });
        for open in groups {
            if self.measure.contains(&open.began_ns) {
                state.groups_under_way[open.group] -= 1;
                state.measured.groups[open.group].failed += 1;
            }
        }
    }

    /// An iteration was given up because the load was stopped. It did not end: with the groups that it
    /// is in, it is one of those that [`finish`](Self::finish) counts as cancelled.
    pub(super) fn cut(&self) {
        self.lock().last.in_flight -= 1;
    }

    /// Takes away what was noted of the seconds before `second`.
    pub(super) fn take_before(&self, second: u64) -> BTreeMap<u64, Second> {
        let mut state = self.lock();
        let later = state.seconds.split_off(&second);
        std::mem::replace(&mut state.seconds, later)
    }

    /// What was noted since the last look.
    pub(super) fn look(&self) -> LastSecond {
        let mut state = self.lock();
        let last = &mut state.last;
        LastSecond {
            response: std::mem::take(&mut last.response),
            ended: std::mem::take(&mut last.ended),
            iterations: std::mem::take(&mut last.iterations),
            lateness: std::mem::take(&mut last.lateness),
            newly_failed: std::mem::take(&mut last.newly_failed),
            failed: last.failed,
            dropped: last.dropped,
            in_flight: last.in_flight,
        }
    }

    /// Takes away what was noted of the measure phase, but for the counts; [`finish`](Self::finish)
    /// gives the rest of it.
    pub(super) fn take_measured(&self) -> SoFar {
        let mut state = self.lock();
        let counts = state.measured.counts;
        let requests = state.measured.requests.iter().map(|series| &series.name);
        let groups = state.measured.groups.iter().map(|series| &series.name);
        let nothing = Measured {
            counts,
            ..Measured::nothing_of(requests, groups)
        };
        SoFar {
            measured: std::mem::replace(&mut state.measured, nothing),
            under_way: state.under_way.clone(),
        }
    }

    /// The requests that nobody has answered yet.
    pub(super) fn waiting(&self) -> Waiting {
        self.lock().waiting
    }

    /// The totals. Whatever is under way now was cut off by the end of the run: it is cancelled.
    pub(super) fn finish(&self) -> (Measured, BTreeMap<u64, Second>) {
        let mut state = self.lock();
        let seconds = std::mem::take(&mut state.seconds);
        let mut measured = std::mem::take(&mut state.measured);
        measured.counts.cancelled = under_way(&measured.counts);
        debug_assert!(
            measured.counts.adds_up(),
            "BUG: iterations got lost: {:?}",
            measured.counts
        );
        let cancelled = std::mem::take(&mut state.under_way);
        for (series, count) in measured.requests.iter_mut().zip(cancelled) {
            if count > 0 {
                let tally = series.errors.entry(ErrorKind::Cancelled).or_default();
                tally.count += count;
                tally.example = "the drain ended while the request was in flight".to_owned();
            }
        }
        let cut = std::mem::take(&mut state.groups_under_way);
        for (series, count) in measured.groups.iter_mut().zip(cut) {
            series.cancelled += count;
        }
        (measured, seconds)
    }

    fn note_began(&self, state: &mut State, began: &Began) {
        state.last.in_flight += 1;
        let taken_ns = began.taken_ns;
        let lateness_ns = began.due_ns.map(|due_ns| taken_ns.saturating_sub(due_ns));
        if let Some(lateness_ns) = lateness_ns {
            state.last.lateness.record(lateness_ns);
            if self.measure.contains(&began.intended_ns) {
                state.measured.lateness.record(lateness_ns);
            }
        }
        let is_late = lateness_ns.is_some_and(|lateness_ns| lateness_ns > self.late_ns);
        self.count(state, began.intended_ns, |counts| {
            counts.offered += 1;
            counts.started += 1;
            counts.late += u64::from(is_late);
        });
    }

    fn note_sending(&self, state: &mut State, request: usize, intended_ns: u64) {
        state.waiting.count += 1;
        state.waiting.since_ns += u128::from(self.in_measure(intended_ns));
        if self.measure.contains(&intended_ns) {
            state.under_way[request] += 1;
        }
    }

    fn note_ended(&self, state: &mut State, ended: &Ended) {
        let response_ns = ended.ended_ns.saturating_sub(ended.intended_ns);
        let service_ns = ended.ended_ns.saturating_sub(ended.sent_ns);
        let outcome = match ended.failure {
            None => Outcome::Ok,
            Some(_) => Outcome::Failed,
        };
        let since_ns = self.in_measure(ended.intended_ns);
        state.waiting.count -= 1;
        state.waiting.since_ns -= u128::from(since_ns);
        if outcome == Outcome::Failed {
            let until_ns = self.in_measure(ended.ended_ns);
            state.measured.failed_ns += until_ns.saturating_sub(since_ns);
        }
        if self.measure.contains(&ended.intended_ns) {
            state.under_way[ended.request] -= 1;
            note_timings(&mut state.measured.connections, &ended.timings);
            let series = &mut state.measured.requests[ended.request];
            let response = series.response.entry(outcome).or_default();
            response.record(response_ns);
            let service = series.service.entry(outcome).or_default();
            service.record(service_ns);
            series.bytes_sent += ended.bytes_sent;
            series.bytes_received += ended.bytes_received;
            series.retries += ended.retries;
            series.redirects += ended.redirects;
            if let Some(status) = ended.status {
                *series.statuses.entry(status).or_default() += 1;
            }
            if let Some(complaint) = &ended.failure {
                self.tally(series, complaint);
            }
        }
        state.last.ended += 1;
        if outcome == Outcome::Ok {
            state.last.response.record(response_ns);
        } else {
            state.last.fail();
        }
        let names = state.under_way.len();
        let second = state
            .seconds
            .entry(ended.ended_ns / WINDOW_NS)
            .or_default()
            .request(ended.request, names);
        second.bytes_received += ended.bytes_received;
        if outcome == Outcome::Ok {
            second.response.record(response_ns);
            second.service.record(service_ns);
        } else {
            second.failed += 1;
        }
    }

    fn note_completed(&self, state: &mut State, intended_ns: u64, ended_ns: u64) {
        state.last.in_flight -= 1;
        state.last.iterations += 1;
        if self.measure.contains(&intended_ns) {
            let latency_ns = ended_ns.saturating_sub(intended_ns);
            state.measured.iteration.record(latency_ns);
        }
        self.count(state, intended_ns, |counts| counts.completed += 1);
    }

    /// The instant of the measure phase that is nearest.
    fn in_measure(&self, at_ns: u64) -> u64 {
        at_ns.clamp(self.measure.start, self.measure.end)
    }

    fn count(&self, state: &mut State, intended_ns: u64, add: impl Fn(&mut Counts)) {
        if self.measure.contains(&intended_ns) {
            add(&mut state.measured.counts);
        }
        let second = state.seconds.entry(intended_ns / WINDOW_NS).or_default();
        add(&mut second.counts);
    }

    fn tally(&self, series: &mut RequestSeries, (kind, message): &Complaint) {
        let tally = series.errors.entry(*kind).or_default();
        tally.count += 1;
        if tally.count == 1 {
            // Redacted before it is cut, lest half a secret be left.
            let message = self.redactor.redact(message);
            tally.example = message.chars().take(MAX_EXAMPLE_CHARS).collect();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastSecond {
    fn fail(&mut self) {
        self.newly_failed += 1;
        self.failed += 1;
    }
}

impl Measured {
    /// Of a flow with requests and groups of these names, before there is anything.
    fn nothing_of<'a>(
        requests: impl Iterator<Item = &'a String>,
        groups: impl Iterator<Item = &'a String>,
    ) -> Self {
        Self {
            requests: requests.map(RequestSeries::new).collect(),
            groups: groups.map(GroupSeries::new).collect(),
            ..Self::default()
        }
    }
}

impl Waiting {
    /// How long they have waited together in the measure phase, in ns. `until_ns` is now, or the end of
    /// the phase where that was before.
    pub(super) fn lost_ns(&self, until_ns: u64) -> u64 {
        let waited_ns = u128::from(self.count) * u128::from(until_ns);
        u64::try_from(waited_ns.saturating_sub(self.since_ns)).unwrap_or(u64::MAX)
    }
}

fn note_timings(connections: &mut ConnectionSeries, timings: &Timings) {
    let note = |histogram: &mut LatencyHistogram, ns: Option<u64>| {
        if let Some(ns) = ns {
            histogram.record(ns);
        }
    };
    note(&mut connections.dns, timings.dns_ns);
    note(&mut connections.connect, timings.connect_ns);
    note(&mut connections.tls, timings.tls_ns);
    note(&mut connections.first_byte, timings.first_byte_ns);
}

impl Second {
    fn request(&mut self, request: usize, names: usize) -> &mut SecondOfRequest {
        if self.requests.is_empty() {
            self.requests.resize(names, SecondOfRequest::default());
        }
        &mut self.requests[request]
    }
}

/// Iterations that began and did not end.
pub(super) fn under_way(counts: &Counts) -> u64 {
    counts.started - counts.completed - counts.failed
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn recorder() -> Recorder {
        recorder_of_groups(&[])
    }

    fn recorder_of_groups(groups: &[String]) -> Recorder {
        let redactor = Redactor::new(&BTreeMap::from([("T".into(), "hush".into())]));
        Recorder::new(&["one".into()], groups, S..2 * S, 1_000_000, redactor)
    }

    fn ended(intended_ns: u64, ended_ns: u64, failure: Option<ErrorKind>) -> Ended {
        Ended {
            intended_ns,
            sent_ns: intended_ns,
            ended_ns,
            status: Some(200),
            bytes_sent: 1,
            bytes_received: 10,
            failure: failure.map(|kind| (kind, format!("{kind:?} hush"))),
            ..Ended::default()
        }
    }

    fn began(intended_ns: u64, due_ns: Option<u64>, taken_ns: u64) -> Began {
        Began {
            intended_ns,
            due_ns,
            taken_ns,
        }
    }

    #[test]
    fn only_what_was_meant_to_start_in_the_measure_phase_counts() {
        let recorder = recorder();
        for start in [S - 1, S, 2 * S - 1, 2 * S] {
            let late = began(start, Some(start), start + 2_000_000);
            recorder.began_sending(&late, 0, start);
            recorder.ended_last(&ended(start, start + 5_000_000, None), start);
        }
        let (measured, seconds) = recorder.finish();
        assert_eq!(measured.counts.completed, 2);
        assert_eq!(measured.counts.late, 2);
        assert_eq!(measured.lateness.count(), 2);
        assert_eq!(measured.requests[0].response[&Outcome::Ok].count(), 2);
        assert_eq!(measured.requests[0].bytes_received, 20);
        let started: Vec<_> = seconds
            .iter()
            .map(|(k, s)| (*k, s.counts.started))
            .collect();
        assert_eq!(started, [(0, 1), (1, 2), (2, 1)]);
    }

    #[test]
    fn what_did_not_end_is_cancelled_and_everything_adds_up() {
        let recorder = recorder();
        for start in S..S + 10 {
            recorder.began(&began(start, None, start));
            recorder.sending(0, start);
        }
        recorder.dropped(S + 11);
        for start in S..S + 4 {
            recorder.ended(&ended(start, 3 * S, None));
            recorder.completed(start, 3 * S);
        }
        for start in S + 4..S + 7 {
            recorder.ended(&ended(start, 3 * S, Some(ErrorKind::Timeout)));
            recorder.failed(start, true, &[]);
        }
        let last = recorder.look();
        assert_eq!((last.in_flight, last.iterations, last.ended), (3, 7, 7));
        let (measured, _) = recorder.finish();
        assert!(measured.counts.adds_up(), "{:?}", measured.counts);
        assert_eq!(measured.counts.cancelled, 3);
        assert_eq!(measured.counts.timed_out, 3);
        let errors = &measured.requests[0].errors;
        assert_eq!(errors[&ErrorKind::Cancelled].count, 3);
        assert_eq!(errors[&ErrorKind::Timeout].count, 3);
        assert_eq!(errors[&ErrorKind::Timeout].example, "Timeout {$env.T}");
    }

    /// Lateness of every phase: whoever watches wants to know it before it counts.
    #[test]
    fn a_look_sees_what_came_since_the_last_one() {
        let recorder = recorder();
        let look = || {
            let last = recorder.look();
            (last.lateness.count(), last.newly_failed, last.failed)
        };
        recorder.began_sending(&began(S / 2, Some(S / 2), S / 2 + 3_000_000), 0, S / 2);
        recorder.began_sending(&began(S, None, S), 0, S);
        assert_eq!(look(), (1, 0, 0));
        recorder.ended(&ended(S / 2, S, Some(ErrorKind::Timeout)));
        assert_eq!(look(), (0, 1, 1));
        recorder.ended(&ended(S, 2 * S, Some(ErrorKind::Timeout)));
        recorder.fault(0, S, &(ErrorKind::Check, String::new()));
        assert_eq!(look(), (0, 2, 3));
        assert_eq!(look(), (0, 0, 3));
    }

    #[test]
    fn a_second_that_was_taken_can_be_added_to() {
        let recorder = recorder();
        recorder.began(&began(S, None, S));
        assert_eq!(recorder.take_before(1).len(), 0);
        assert_eq!(recorder.take_before(2)[&1].counts.started, 1);
        recorder.completed(S, 5 * S);
        let late = recorder.take_before(5);
        assert_eq!(late[&1].counts.completed, 1);
        assert_eq!(late[&1].counts.started, 0);
    }

    #[test]
    fn attempts_and_what_connections_took_are_those_of_the_measure_phase() {
        let recorder = recorder();
        for start in [0, S, S + 1] {
            recorder.began_sending(&began(start, None, start), 0, start);
            let timings = Timings {
                connect_ns: Some(2_000_000),
                first_byte_ns: Some(3_000_000),
                ..Timings::default()
            };
            recorder.exchanged(start, &timings);
            let ended = Ended {
                retries: 1,
                redirects: 2,
                timings: Timings {
                    first_byte_ns: Some(4_000_000),
                    ..Timings::default()
                },
                ..ended(start, start + 9_000_000, None)
            };
            recorder.ended_last(&ended, start);
        }
        let (measured, _) = recorder.finish();
        let series = &measured.requests[0];
        assert_eq!((series.retries, series.redirects), (2, 4));
        let connections = &measured.connections;
        let counts = [
            &connections.dns,
            &connections.connect,
            &connections.tls,
            &connections.first_byte,
        ];
        assert_eq!(counts.map(LatencyHistogram::count), [0, 2, 0, 4]);
    }

    #[test]
    fn groups_are_those_that_began_in_the_measure_phase() {
        let groups = ["outer".to_owned(), "inner".to_owned()];
        let recorder = recorder_of_groups(&groups);
        let open = |group, began_ns| OpenGroup { group, began_ns };
        let ends = [open(0, S - 1), open(0, S)];
        let fails = [open(0, S - 1), open(1, S + 1)];
        let never_ends = [open(0, S + 2), open(1, 2 * S)];
        for open in [ends, fails, never_ends].concat() {
            recorder.group_began(open);
        }
        recorder.group_ended(ends[0], S + 5_000_000);
        recorder.group_ended(ends[1], 3 * S);
        recorder.began(&began(0, None, 0));
        // The outer one began before the measure phase, the inner one in it.
        recorder.failed(0, false, &fails);
        let (measured, _) = recorder.finish();
        let found: Vec<_> = measured
            .groups
            .iter()
            .map(|it| {
                (
                    it.name.as_str(),
                    it.duration.count(),
                    it.failed,
                    it.cancelled,
                )
            })
            .collect();
        assert_eq!(found, [("outer", 1, 0, 1), ("inner", 0, 1, 0)]);
    }

    /// Of a phase from second 1 to 2, whenever the requests began and ended.
    #[test]
    fn time_in_requests_that_failed_is_counted_where_it_lies_in_the_measure_phase() {
        let recorder = recorder();
        let half = S / 2;
        let mut all_ns = 0;
        for (sent_ns, ended_ns, failed, lost_ns) in [
            (half, S - 1, true, 0),
            (half, S + half, true, half),
            (half, 9 * S, true, S),
            (S + half, S + half + 7, true, 7),
            (S + half, 5 * S, true, half),
            (S + half, 5 * S, false, 0),
            (3 * S, 4 * S, true, 0),
        ] {
            recorder.sending(0, sent_ns);
            recorder.ended(&ended(
                sent_ns,
                ended_ns,
                failed.then_some(ErrorKind::Timeout),
            ));
            all_ns += lost_ns;
            assert_eq!(
                recorder.lock().measured.failed_ns,
                all_ns,
                "{sent_ns} to {ended_ns}"
            );
        }
        assert_eq!(recorder.waiting().lost_ns(2 * S), 0);
        // Two that are never answered: one waits for all of the phase, one for a quarter of it.
        recorder.sending(0, half);
        recorder.sending(0, S + 3 * S / 4);
        assert_eq!(recorder.waiting().lost_ns(2 * S), S + S / 4);
        assert_eq!(recorder.waiting().lost_ns(S + 7 * S / 8), 7 * S / 8 + S / 8);
    }

    #[test]
    fn what_was_taken_and_what_is_left_are_the_whole() {
        let recorder = recorder();
        let one = |start_ns: u64, failure| {
            recorder.began(&began(start_ns, Some(start_ns), start_ns + 5));
            recorder.sending(0, start_ns);
            recorder.ended(&ended(start_ns, start_ns + 9, failure));
            recorder.completed(start_ns, start_ns + 9);
        };
        one(S, None);
        one(S + 1, Some(ErrorKind::Timeout));
        recorder.began(&began(S + 2, None, S + 2));
        recorder.sending(0, S + 2);
        let first = recorder.take_measured();
        assert_eq!(first.under_way, [1]);
        assert_eq!(first.measured.counts.started, 3);
        assert_eq!(first.measured.iteration.count(), 2);
        let taken = &first.measured.requests[0];
        assert_eq!(taken.errors[&ErrorKind::Timeout].count, 1);
        one(S + 3, None);
        let (rest, _) = recorder.finish();
        // Counts are told in full each time; the rest is told once.
        assert_eq!((rest.counts.started, rest.counts.cancelled), (4, 1));
        assert_eq!(rest.iteration.count(), 1);
        assert_eq!(rest.lateness.count(), 1);
        let left = &rest.requests[0];
        assert_eq!(left.response[&Outcome::Ok].count(), 1);
        assert_eq!(
            left.errors.keys().collect::<Vec<_>>(),
            [&ErrorKind::Cancelled]
        );
    }

    #[test]
    fn a_fault_counts_without_a_latency() {
        let recorder = recorder();
        let fault = |kind| (kind, "hush".to_owned());
        recorder.fault(0, S, &fault(ErrorKind::Condition));
        recorder.fault(0, 0, &fault(ErrorKind::Template));
        recorder.feed_exhausted("clients", S);
        recorder.feed_exhausted("clients", S + 1);
        recorder.feed_exhausted("clients", 2 * S);
        assert_eq!(recorder.look().failed, 2);
        let (measured, _) = recorder.finish();
        let series = &measured.requests[0];
        assert_eq!(series.errors.len(), 1);
        assert_eq!(series.errors[&ErrorKind::Condition].example, "{$env.T}");
        assert!(series.response.is_empty());
        assert_eq!(measured.exhausted_feeds, [("clients".to_owned(), 2)].into());
    }
}
