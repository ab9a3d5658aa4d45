//! The open model's clock: hands each arrival to an idle user at its due time, or drops it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::clock::LoadClock;
use super::job::Shard;
use super::recorder::Recorder;
use super::shape::Shape;

/// A stop is noticed within this time, however far away the next arrival is.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// An arrival that was handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    /// When it was due, in ns from the start of the load: its intended start.
    pub(super) due_ns: u64,
}

/// Where users wait for tickets. Without room in it, so that sending succeeds only where a user is
/// waiting: exactly then is a user idle.
pub(super) fn counter() -> (flume::Sender<Ticket>, flume::Receiver<Ticket>) {
    flume::bounded(0)
}

/// Dispatches a shard's arrivals until the shape ends or `stop` becomes true.
///
/// This needs a thread of its own: the runtime's timers are as coarse as a millisecond, and users
/// that are busy must not delay an arrival, only miss it. Due times are absolute, so a late wake-up
/// makes one arrival late and doesn't shift the later ones.
pub(super) fn dispatch(
    rate: &Shape,
    shard: Shard,
    clock: LoadClock,
    tickets: &flume::Sender<Ticket>,
    recorder: &Arc<Recorder>,
    stop: &watch::Receiver<bool>,
) {
    wake_up_promptly();
    let due_times = (0..).map_while(|nth| rate.due_ns(shard.global(nth)));
    for due_ns in due_times {
        loop {
            let left = clock.until(due_ns);
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(LONGEST_SLEEP));
            if *stop.borrow() {
                return;
            }
        }
        if *stop.borrow() {
            return;
        }
        match tickets.try_send(Ticket { due_ns }) {
            Ok(()) => {}
            Err(flume::TrySendError::Full(_)) => recorder.dropped(due_ns),
            // No users are left: the run is over.
            Err(flume::TrySendError::Disconnected(_)) => return,
        }
    }
}

/// By default Linux wakes a sleeping thread up to 50 µs late, to save energy; not this one.
fn wake_up_promptly() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        tracing::debug!(%error, "the timer slack stays as it is: tickets may be 50 µs late");
    }
}
