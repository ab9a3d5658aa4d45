//! The open model's clock: hands each arrival to an idle user at its due time, or drops it.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::alarm::Alarm;
use super::clock::LoadClock;
use super::recorder::Recorder;
use crate::harness::engine::flag::became_true;

/// So much time must pass for each time that the dispatcher wakes up. To wake a core that has nothing
/// to do costs as much as ten requests: docs/COST.md has what it comes to. So of more than 2,100 arrivals
/// a second those within one such time are handed out together, at its end; how late that makes them is
/// part of their response times and of the lateness of the tickets. No part of the kernel's tick, which
/// would find a generator that wakes in step with it at the same place always, and so tell the user's time
/// from the kernel's wrongly.
const TIME_PER_WAKE_NS: u64 = 470_000;
/// Of that time so much may be owed: a few arrivals that come close to one another at random, as those
/// of a Poisson process do, are each handed out when they are due.
const MOST_OWED_NS: u64 = 20 * TIME_PER_WAKE_NS;

/// An arrival that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// When it was due, in ns from the start of the load: its intended start.
    pub(super) due_ns: u64,
}

/// Where idle users wait for tickets, each on a seat of its own.
///
/// No channel: what matters is that a ticket is handed out exactly where a user is idle, that nobody
/// is woken but the user who gets it, and that handing it out allocates nothing. (flume's channel
/// without room has the first property only as long as no receiver is faster than the one that was
/// woken; then it wakes all of them, and until they wait again, everything seems busy.)
#[derive(Debug, Default)]
pub(super) struct Counter {
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    places: Vec<Place>,
    /// The places of idle users. The one who became idle last is served first: its memory is still
    /// warm.
    idle: Vec<usize>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Place {
    /// Handed out and not taken yet.
    ticket: Option<Ticket>,
    /// Wakes the user, while it is idle.
    waker: Option<Waker>,
}

/// A user's seat at the counter.
#[derive(Debug)]
pub(super) struct Seat {
    counter: Arc<Counter>,
    place: usize,
}

impl Counter {
    /// A seat for one more user, who is not idle yet.
    pub(super) fn seat(self: &Arc<Self>) -> Seat {
        let mut waiting = self.lock();
        waiting.places.push(Place::default());
        Seat {
            counter: Arc::clone(self),
            place: waiting.places.len() - 1,
        }
    }

    /// Gives the ticket to an idle user; whether there was one.
    fn hand_out(&self, ticket: Ticket) -> bool {
        let waker = {
            let mut waiting = self.lock();
            let Some(idle) = waiting.idle.pop() else {
                return false;
            };
            let place = &mut waiting.places[idle];
            place.ticket = Some(ticket);
            place.waker.take()
        };
        // Not under the lock: whoever is woken asks for it.
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Sends idle users away, and all others when they come back.
    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.idle.clear();
        let wakers = waiting.places.iter_mut();
        let wakers: Vec<Waker> = wakers.filter_map(|place| place.waker.take()).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes back the tickets that were handed out to users who never came to take them.
    pub(super) fn take_back(&self) -> Vec<Ticket> {
        let mut waiting = self.lock();
        let places = waiting.places.iter_mut();
        places.filter_map(|place| place.ticket.take()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Makes its user an idle one, until it is handed a ticket; `None` once there are no more.
    pub(super) async fn ticket(&mut self) -> Option<Ticket> {
        let mut is_idle = false;
        poll_fn(|context| self.poll(&mut is_idle, context)).await
    }

    fn poll(&self, is_idle: &mut bool, context: &Context<'_>) -> Poll<Option<Ticket>> {
        let mut waiting = self.counter.lock();
        if let Some(ticket) = waiting.places[self.place].ticket.take() {
            return Poll::Ready(Some(ticket));
        }
        if waiting.closed {
            return Poll::Ready(None);
        }
        if !std::mem::replace(is_idle, true) {
            waiting.idle.push(self.place);
        }
        waiting.places[self.place].waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Who leaves while idle can be handed nothing any more.
impl Drop for Seat {
    fn drop(&mut self) {
        let mut waiting = self.counter.lock();
        waiting.places[self.place].waker = None;
        waiting.idle.retain(|place| *place != self.place);
    }
}

/// When the dispatcher may wake up.
#[derive(Debug, Default)]
struct Wakes {
    /// The load time at which it owes nothing any more.
    paid_ns: u64,
}

impl Wakes {
    /// When it is to wake up for an arrival that is due then.
    fn next_ns(&self, due_ns: u64) -> u64 {
        self.paid_ns.saturating_sub(MOST_OWED_NS).max(due_ns)
    }

    fn woke(&mut self, now_ns: u64) {
        self.paid_ns = self.paid_ns.max(now_ns) + TIME_PER_WAKE_NS;
    }
}

/// Dispatches a shard's arrivals, which are due at `due_times` in ascending order, until they end or
/// `stop` becomes true; then closes the counter. Every arrival that was due by then is handed out or
/// dropped, however late: when the machine stands still over the end of the load, its last arrivals
/// are none the less offered.
///
/// It is a task on the users' own thread: they share a core, and a thread beside it would have to wake
/// it for each arrival, which costs more than a request. An arrival that comes while the thread is busy
/// would have to wait for it anyway; how long is its lateness. Due times are absolute, so a late
/// wake-up makes one arrival late and doesn't shift the later ones.
///
/// # Errors
/// The alarm can't be set.
pub(super) async fn dispatch(
    due_times: impl Iterator<Item = u64>,
    mut alarm: Alarm,
    clock: LoadClock,
    counter: &Counter,
    recorder: &Recorder,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let offer = |due_ns| {
        if !counter.hand_out(Ticket { due_ns }) {
            recorder.dropped(due_ns);
        }
    };
    let mut due_times = due_times.peekable();
    let dispatching = async {
        let mut wakes = Wakes::default();
        while let Some(due_ns) = due_times.peek() {
            let left = clock.until(wakes.next_ns(*due_ns));
            if !left.is_zero() {
                alarm.after(left).await?;
                wakes.woke(clock.now_ns());
            }
            // Whatever became due meanwhile, too.
            let now_ns = clock.now_ns();
            while let Some(due_ns) = due_times.next_if(|due_ns| *due_ns <= now_ns) {
                offer(due_ns);
            }
            consume_budget().await;
        }
        Ok(())
    };
    let dispatched = tokio::select! {
        biased;
        () = became_true(&mut stop) => Ok(()),
        dispatched = dispatching => dispatched,
    };
    let now_ns = clock.now_ns();
    due_times
        .take_while(|due_ns| *due_ns < now_ns)
        .for_each(offer);
    counter.close();
    dispatched
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;

    use super::*;
    use crate::harness::engine::Redactor;

    const S: u64 = 1_000_000_000;

    fn alarm() -> Alarm {
        Alarm::new().expect("a file is left")
    }

    /// What is offered of thirty arrivals, one every hundred seconds, by a dispatcher that wakes so
    /// long after the first of them and finds that it is to stop.
    async fn offered_after(since_start_s: u64) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let start_at = now.unwrap_or_default() - Duration::from_secs(since_start_s);
        let clock = LoadClock::starting_at(start_at.as_nanos() as u64);
        let recorder = Recorder::new(&[], &[], 0..3000 * S, 0, Redactor::default());
        let (_raise, stop) = watch::channel(true);
        let counter = Counter::default();
        let due_times = (0..30).map(|nth| nth * 100 * S);
        let dispatched = dispatch(due_times, alarm(), clock, &counter, &recorder, stop).await;
        assert!(dispatched.is_ok());
        recorder.finish().0.counts.offered
    }

    #[tokio::test]
    async fn what_was_due_when_the_end_came_is_not_lost() {
        assert_eq!(offered_after(9000).await, 30);
        assert_eq!(offered_after(950).await, 10);
    }

    /// It sleeps in between: one that asked for the time again and again would take a core for itself.
    #[tokio::test]
    async fn twenty_thousand_arrivals_a_second_leave_most_of_a_core_to_others() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let start_at_ns = now.unwrap_or_default().as_nanos() as u64;
        let clock = LoadClock::starting_at(start_at_ns);
        let recorder = Recorder::new(&[], &[], 0..S, 0, Redactor::default());
        let (_never, stop) = watch::channel(false);
        let counter = Counter::default();
        let due_times = (0..10_000).map(|nth| nth * S / 20_000);
        let used_ns = || {
            let used = getrusage(UsageWho::RUSAGE_THREAD).map(|usage| {
                let us = usage.user_time().num_microseconds();
                us + usage.system_time().num_microseconds()
            });
            used.unwrap_or_default() * 1000
        };
        let before_ns = used_ns();
        let dispatched = dispatch(due_times, alarm(), clock, &counter, &recorder, stop).await;
        assert!(dispatched.is_ok());
        let share = (used_ns() - before_ns) as f64 / clock.now_ns() as f64;
        assert_eq!(recorder.finish().0.counts.dropped, 10_000);
        assert!(share < 0.6, "{share} of a core");
    }

    #[test]
    fn arrivals_are_handed_out_together_only_where_they_are_always_close() {
        /// The largest lateness in ns, and how often it wakes up, where it always does so in time.
        fn check(due_times: impl Iterator<Item = u64>) -> (u64, u64) {
            let mut wakes = Wakes::default();
            let (mut now_ns, mut latest_ns, mut count) = (0, 0, 0);
            for due_ns in due_times {
                if due_ns > now_ns {
                    now_ns = wakes.next_ns(due_ns);
                    wakes.woke(now_ns);
                    count += 1;
                }
                latest_ns = latest_ns.max(now_ns - due_ns);
            }
            (latest_ns, count)
        }
        // Two hundred a second in pairs that are 0.1 ms apart, and two thousand evenly.
        let pairs = (1..100).flat_map(|nth| [nth * S / 100, nth * S / 100 + S / 10_000]);
        assert_eq!(check(pairs), (0, 198));
        assert_eq!(check((1..=2000).map(|nth| nth * S / 2000)), (0, 2000));
        // Twenty thousand: those of one such time together, after those for which it may owe.
        let (latest_ns, count) = check((1..=20_000).map(|nth| nth * S / 20_000));
        assert!(
            (400_000..=TIME_PER_WAKE_NS).contains(&latest_ns),
            "{latest_ns}"
        );
        assert!((2100..2200).contains(&count), "{count}");
    }

    /// Asks once.
    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Leaves the user of a seat idle, or gives what it was handed.
    fn sit(seat: &Seat, is_idle: &mut bool) -> Poll<Option<u64>> {
        let context = Context::from_waker(Waker::noop());
        let found = seat.poll(is_idle, &context);
        found.map(|ticket| ticket.map(|ticket| ticket.due_ns))
    }

    #[test]
    fn a_ticket_goes_to_exactly_one_idle_user() {
        let counter = Arc::new(Counter::default());
        let hand_out = |due_ns| counter.hand_out(Ticket { due_ns });
        let seats = [(); 4].map(|()| counter.seat());
        assert!(!hand_out(1), "nobody is idle");
        let mut idle = [false; 4];
        for (seat, is_idle) in seats.iter().zip(&mut idle) {
            assert_eq!(sit(seat, is_idle), Poll::Pending);
            // Being asked again doesn't make it idle twice.
            assert_eq!(sit(seat, is_idle), Poll::Pending);
        }
        let [first, second, third, fourth] = seats;
        drop(third);
        assert!(hand_out(2) && hand_out(3) && hand_out(4));
        assert!(!hand_out(5), "one of the four has gone");
        // The last to sit down was served first.
        assert_eq!(sit(&fourth, &mut idle[3]), Poll::Ready(Some(2)));
        assert_eq!(sit(&second, &mut idle[1]), Poll::Ready(Some(3)));
        assert_eq!(sit(&first, &mut idle[0]), Poll::Ready(Some(4)));
        assert!(!hand_out(6), "none of them is idle again yet");
    }

    #[test]
    fn a_ticket_that_nobody_took_is_given_back() {
        let counter = Arc::new(Counter::default());
        let mut seats = [(); 2].map(|()| counter.seat());
        for seat in &seats {
            assert_eq!(sit(seat, &mut false), Poll::Pending);
        }
        assert!(counter.hand_out(Ticket { due_ns: 7 }));
        assert!(counter.hand_out(Ticket { due_ns: 8 }));
        counter.close();
        // What was handed out before the end is still taken after it.
        assert_eq!(
            poll(seats[0].ticket()),
            Poll::Ready(Some(Ticket { due_ns: 8 }))
        );
        drop(seats);
        assert_eq!(counter.take_back(), [Ticket { due_ns: 7 }]);
        assert_eq!(counter.take_back(), []);
    }

    #[tokio::test]
    async fn nobody_waits_at_a_closed_counter() {
        let counter = Arc::new(Counter::default());
        let mut before = counter.seat();
        let waiting = tokio::spawn(async move { before.ticket().await });
        // The other task runs until it waits.
        tokio::task::yield_now().await;
        counter.close();
        assert!(matches!(waiting.await, Ok(None)));
        assert_eq!(counter.seat().ticket().await, None);
    }

    /// As long as there is somebody for each, everybody gets one and nothing is lost, whoever is faster.
    #[tokio::test]
    async fn every_arrival_is_started_or_dropped() {
        let counter = Arc::new(Counter::default());
        let users: Vec<_> = (0..20)
            .map(|_| {
                let mut seat = counter.seat();
                tokio::spawn(async move {
                    let mut taken = 0;
                    while seat.ticket().await.is_some() {
                        taken += 1;
                    }
                    taken
                })
            })
            .collect();
        let recorder = Arc::new(Recorder::new(&[], &[], 0..u64::MAX, 0, Redactor::default()));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let clock = LoadClock::starting_at(now.as_nanos() as u64);
        let dispatching = {
            let (counter, recorder) = (Arc::clone(&counter), Arc::clone(&recorder));
            let (_never, stop) = watch::channel(false);
            tokio::spawn(async move {
                let due_times = (0..10_000).map(|nth| nth * 10_000);
                dispatch(due_times, alarm(), clock, &counter, &recorder, stop).await
            })
        };
        let mut taken = 0;
        for user in users {
            taken += user.await.unwrap_or_default();
        }
        assert!(matches!(dispatching.await, Ok(Ok(()))));
        let dropped = recorder.finish().0.counts.dropped;
        assert_eq!(taken + dropped, 10_000);
        assert!(taken > 100, "{taken}");
    }
}
