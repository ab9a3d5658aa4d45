//! The open model's clock: hands each arrival to an idle user at its due time, or drops it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::clock::LoadClock;
use super::job::Shard;
use super::recorder::Recorder;
use super::shape::Shape;

/// A stop is noticed within this time, however far away the next arrival is.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// An arrival that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// When it was due, in ns from the start of the load: its intended start.
    pub(super) due_ns: u64,
}

/// Where idle users wait for tickets.
///
/// No channel: what matters is that a ticket is handed out exactly where a user is idle, and that
/// nobody is woken but the user who gets it. (flume's channel without room has the first property
/// only as long as no receiver is faster than the one that was woken; then it wakes all of them,
/// and until they wait again, everything seems busy.)
#[derive(Debug, Default)]
pub(super) struct Counter {
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The one who became idle last is served first: its memory is still warm.
    idle: Vec<oneshot::Sender<Ticket>>,
    closed: bool,
}

impl Counter {
    /// Makes the caller an idle user. The receiver gets a ticket, or an error once there are no more.
    pub(super) fn wait(&self) -> oneshot::Receiver<Ticket> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.idle.push(sender);
        }
        receiver
    }

    /// Gives the ticket to an idle user; whether there was one.
    fn hand_out(&self, ticket: Ticket) -> bool {
        // A sender without a receiver belongs to a user who has gone.
        std::iter::from_fn(|| self.lock().idle.pop()).any(|user| user.send(ticket).is_ok())
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.idle.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dispatches a shard's arrivals until the shape ends or `stop` becomes true, then closes the
/// counter. Every arrival that was due by then is handed out or dropped, however late: when the
/// machine stands still over the end of the load, its last arrivals are none the less offered.
///
/// This needs a thread of its own: the runtime's timers are as coarse as a millisecond, and users
/// that are busy must not delay an arrival, only miss it. Due times are absolute, so a late wake-up
/// makes one arrival late and doesn't shift the later ones.
pub(super) fn dispatch(
    rate: &Shape,
    shard: Shard,
    clock: LoadClock,
    counter: &Counter,
    recorder: &Arc<Recorder>,
    stop: &watch::Receiver<bool>,
) {
    wake_up_promptly();
    let offer = |due_ns| {
        if !counter.hand_out(Ticket { due_ns }) {
            recorder.dropped(due_ns);
        }
    };
    let due_times = (0..).map_while(|nth| rate.due_ns(shard.global(nth)));
    let mut due_times = due_times.peekable();
    while let Some(due_ns) = due_times.next_if(|due_ns| wait_until(*due_ns, clock, stop)) {
        offer(due_ns);
    }
    let now_ns = clock.now_ns();
    due_times
        .take_while(|due_ns| *due_ns < now_ns)
        .for_each(offer);
    counter.close();
}

/// False where the load was stopped before.
fn wait_until(due_ns: u64, clock: LoadClock, stop: &watch::Receiver<bool>) -> bool {
    loop {
        if *stop.borrow() {
            return false;
        }
        let left = clock.until(due_ns);
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(LONGEST_SLEEP));
    }
}

/// By default Linux wakes a sleeping thread up to 50 µs late, to save energy; not this one. Where it
/// can't be helped, the lateness of the tickets shows it.
fn wake_up_promptly() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::harness::engine::Redactor;
    use crate::harness::scenario::Stage;

    const S: u64 = 1_000_000_000;

    /// What is offered of thirty arrivals, one every hundred seconds, by a dispatcher that wakes so
    /// long after the first of them and finds that it is to stop.
    fn offered_after(since_start_s: u64) -> u64 {
        let total_ns = 3000 * S;
        let stage = Stage::constant(total_ns, 0.01);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let start_at = now.unwrap_or_default() - Duration::from_secs(since_start_s);
        let clock = LoadClock::starting_at(start_at.as_nanos() as u64);
        let recorder = Arc::new(Recorder::new(&[], 0..total_ns, 0, Redactor::default()));
        let (_raise, stop) = watch::channel(true);
        let rate = Shape::new(&[stage], total_ns);
        let counter = Counter::default();
        dispatch(&rate, Shard::WHOLE, clock, &counter, &recorder, &stop);
        recorder.finish().0.counts.offered
    }

    #[test]
    fn what_was_due_when_the_end_came_is_not_lost() {
        assert_eq!(offered_after(9000), 30);
        assert_eq!(offered_after(950), 10);
    }

    #[test]
    fn a_ticket_goes_to_exactly_one_idle_user() {
        let counter = Counter::default();
        let ticket = |due_ns| Ticket { due_ns };
        assert!(!counter.hand_out(ticket(1)), "nobody is idle");
        let mut users = [counter.wait(), counter.wait(), counter.wait()];
        drop(std::mem::replace(&mut users[2], counter.wait()));
        assert!(counter.hand_out(ticket(2)));
        assert!(counter.hand_out(ticket(3)));
        assert!(counter.hand_out(ticket(4)));
        assert!(!counter.hand_out(ticket(5)), "one of the four has gone");
        let mut due: Vec<_> = users
            .iter_mut()
            .map(|user| user.try_recv().map(|ticket| ticket.due_ns))
            .collect();
        due.sort_unstable_by_key(|due| due.as_ref().map_or(0, |due| *due));
        assert_eq!(due, [Ok(2), Ok(3), Ok(4)]);
    }

    #[test]
    fn nobody_waits_at_a_closed_counter() {
        let counter = Counter::default();
        let mut before = counter.wait();
        counter.close();
        let mut after = counter.wait();
        let closed = Err(oneshot::error::TryRecvError::Closed);
        assert_eq!(
            (before.try_recv(), after.try_recv()),
            (closed.clone(), closed)
        );
    }
}
