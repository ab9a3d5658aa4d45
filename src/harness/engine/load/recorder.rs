//! What happened, as it happens: counts and latencies of the measure phase, and of each second.
//!
//! Every user reports here, so this must cost little: one lock that is almost never contended (the
//! users of a worker share a thread) and a few counters below it. Seconds that have passed are
//! taken away by the clerk, which encodes them on its own thread; so memory doesn't grow with the
//! duration, and no user ever waits for an encoding.
//!
//! An iteration belongs to the second and the phase of its intended start; a request belongs to
//! the phase of its own intended start and to the second in which it ended.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::windows::WINDOW_NS;
use crate::harness::engine::Redactor;
use crate::harness::model::{Counts, ErrorKind, LatencyHistogram, Outcome, RequestSeries};

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
    /// Requests that failed since the start.
    pub(super) failed: u64,
    /// Arrivals that were dropped since the start.
    pub(super) dropped: u64,
    /// Iterations under way now.
    pub(super) in_flight: u64,
}

/// A request that ended, well or not.
#[derive(Debug)]
pub(super) struct Ended {
    /// The index of its name.
    pub(super) request: usize,
    pub(super) intended_ns: u64,
    pub(super) sent_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) status: Option<u16>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// What failed, and a message that may hold hostile text; `None` for one in order.
    pub(super) failure: Option<(ErrorKind, String)>,
}

impl Recorder {
    /// A recorder for a flow with these request names. `measure` is the measure phase in load time.
    pub(super) fn new(
        requests: &[String],
        measure: Range<u64>,
        late_ns: u64,
        redactor: Redactor,
    ) -> Self {
        let state = State {
            measured: Measured::nothing_of(requests.iter()),
            under_way: vec![0; requests.len()],
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

    /// A user took up an iteration. `due_ns` is its due time in an open model; in a closed one it
    /// is due when the user begins it, and can't be late.
    pub(super) fn began(&self, intended_ns: u64, due_ns: Option<u64>, taken_ns: u64) {
        let mut state = self.lock();
        state.last.in_flight += 1;
        let lateness_ns = due_ns.map(|due_ns| taken_ns.saturating_sub(due_ns));
        if let Some(lateness_ns) = lateness_ns
            && self.measure.contains(&intended_ns)
        {
            state.measured.lateness.record(lateness_ns);
        }
        let is_late = lateness_ns.is_some_and(|lateness_ns| lateness_ns > self.late_ns);
        self.count(&mut state, intended_ns, |counts| {
            counts.offered += 1;
            counts.started += 1;
            counts.late += u64::from(is_late);
        });
    }

    /// Every step of an iteration was in order.
    pub(super) fn completed(&self, intended_ns: u64, ended_ns: u64) {
        let mut state = self.lock();
        state.last.in_flight -= 1;
        state.last.iterations += 1;
        if self.measure.contains(&intended_ns) {
            let latency_ns = ended_ns.saturating_sub(intended_ns);
            state.measured.iteration.record(latency_ns);
        }
        self.count(&mut state, intended_ns, |counts| counts.completed += 1);
    }

    /// A step of an iteration failed.
    pub(super) fn failed(&self, intended_ns: u64, timed_out: bool) {
        let mut state = self.lock();
        state.last.in_flight -= 1;
        state.last.iterations += 1;
        self.count(&mut state, intended_ns, |counts| {
            counts.failed += 1;
            counts.timed_out += u64::from(timed_out);
        });
    }

    /// A request could not be built, so nothing was sent.
    pub(super) fn unsendable(&self, request: usize, intended_ns: u64, message: &str) {
        let mut state = self.lock();
        state.last.failed += 1;
        if self.measure.contains(&intended_ns) {
            let series = &mut state.measured.requests[request];
            self.tally(series, ErrorKind::Template, message);
        }
    }

    /// A request is about to be sent.
    pub(super) fn sending(&self, request: usize, intended_ns: u64) {
        let mut state = self.lock();
        state.waiting.count += 1;
        state.waiting.since_ns += u128::from(self.in_measure(intended_ns));
        if self.measure.contains(&intended_ns) {
            state.under_way[request] += 1;
        }
    }

    /// A request ended.
    pub(super) fn ended(&self, ended: &Ended) {
        let response_ns = ended.ended_ns.saturating_sub(ended.intended_ns);
        let service_ns = ended.ended_ns.saturating_sub(ended.sent_ns);
        let outcome = match ended.failure {
            None => Outcome::Ok,
            Some(_) => Outcome::Failed,
        };
        let mut state = self.lock();
        let since_ns = self.in_measure(ended.intended_ns);
        state.waiting.count -= 1;
        state.waiting.since_ns -= u128::from(since_ns);
        if outcome == Outcome::Failed {
            let until_ns = self.in_measure(ended.ended_ns);
            state.measured.failed_ns += until_ns.saturating_sub(since_ns);
        }
        if self.measure.contains(&ended.intended_ns) {
            state.under_way[ended.request] -= 1;
            let series = &mut state.measured.requests[ended.request];
            let response = series.response.entry(outcome).or_default();
            response.record(response_ns);
            let service = series.service.entry(outcome).or_default();
            service.record(service_ns);
            series.bytes_sent += ended.bytes_sent;
            series.bytes_received += ended.bytes_received;
            if let Some(status) = ended.status {
                *series.statuses.entry(status).or_default() += 1;
            }
            if let Some((kind, message)) = &ended.failure {
                self.tally(series, *kind, message);
            }
        }
        state.last.ended += 1;
        if outcome == Outcome::Ok {
            state.last.response.record(response_ns);
        } else {
            state.last.failed += 1;
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
        let names = state.measured.requests.iter().map(|series| &series.name);
        let nothing = Measured {
            counts,
            ..Measured::nothing_of(names)
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
        (measured, seconds)
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

    fn tally(&self, series: &mut RequestSeries, kind: ErrorKind, message: &str) {
        let tally = series.errors.entry(kind).or_default();
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

impl Measured {
    /// Of a flow with these request names, before there is anything.
    fn nothing_of(requests: impl Iterator<Item = impl Into<String>>) -> Self {
        Self {
            requests: requests.map(RequestSeries::new).collect(),
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
        let redactor = Redactor::new(&BTreeMap::from([("T".into(), "hush".into())]));
        Recorder::new(&["one".into()], S..2 * S, 1_000_000, redactor)
    }

    fn ended(intended_ns: u64, ended_ns: u64, failure: Option<ErrorKind>) -> Ended {
        Ended {
            request: 0,
            intended_ns,
            sent_ns: intended_ns,
            ended_ns,
            status: Some(200),
            bytes_sent: 1,
            bytes_received: 10,
            failure: failure.map(|kind| (kind, format!("{kind:?} hush"))),
        }
    }

    #[test]
    fn only_what_was_meant_to_start_in_the_measure_phase_counts() {
        let recorder = recorder();
        for start in [S - 1, S, 2 * S - 1, 2 * S] {
            recorder.began(start, Some(start), start + 2_000_000);
            recorder.sending(0, start);
            recorder.ended(&ended(start, start + 5_000_000, None));
            recorder.completed(start, start + 5_000_000);
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
            recorder.began(start, None, start);
            recorder.sending(0, start);
        }
        recorder.dropped(S + 11);
        for start in S..S + 4 {
            recorder.ended(&ended(start, 3 * S, None));
            recorder.completed(start, 3 * S);
        }
        for start in S + 4..S + 7 {
            recorder.ended(&ended(start, 3 * S, Some(ErrorKind::Timeout)));
            recorder.failed(start, true);
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
            recorder.began(start_ns, Some(start_ns), start_ns + 5);
            recorder.sending(0, start_ns);
            recorder.ended(&ended(start_ns, start_ns + 9, failure));
            recorder.completed(start_ns, start_ns + 9);
        };
        one(S, None);
        one(S + 1, Some(ErrorKind::Timeout));
        recorder.began(S + 2, None, S + 2);
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
    fn a_second_that_was_taken_can_be_added_to() {
        let recorder = recorder();
        recorder.began(S, None, S);
        assert_eq!(recorder.take_before(1).len(), 0);
        assert_eq!(recorder.take_before(2)[&1].counts.started, 1);
        recorder.completed(S, 5 * S);
        let late = recorder.take_before(5);
        assert_eq!(late[&1].counts.completed, 1);
        assert_eq!(late[&1].counts.started, 0);
    }
}
