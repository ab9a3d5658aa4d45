//! Wakes a task at an instant, within µs. The runtime's own timers are as coarse as a millisecond.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One task's alarm. The kernel's timer is a file among those for which the runtime waits anyway, so
/// that nothing needs a thread of its own, and nobody is woken twice.
#[derive(Debug)]
pub(super) struct Alarm(AsyncFd<Timer>);

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// # Errors
    /// No file is left for it.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for files that change; a timer doesn't"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// Returns so long after this; sooner never, and later where the thread is busy.
    pub(super) async fn after(&mut self, time: Duration) -> io::Result<()> {
        // None at all would put the timer off for ever.
        let time = time.max(Duration::from_nanos(1));
        let end = Instant::now() + time;
        let expiration = Expiration::OneShot(TimeSpec::from(time));
        let timer = &self.0.get_ref().0;
        timer.set(expiration, TimerSetTimeFlags::empty())?;
        loop {
            self.0.readable().await?.clear_ready();
            // Where nobody waited for the last time to its end, that may be what there was. The clock says so
            // without the kernel; what is in the file is forgotten when the timer is set again.
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_time_passes_once() {
        let mut alarm = Alarm::new().expect("a file is left");
        for time in [0, 2_000, 300, 1, 5_000, 40].map(Duration::from_micros) {
            let began = Instant::now();
            assert!(alarm.after(time).await.is_ok());
            assert!(began.elapsed() >= time, "{:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn who_no_longer_waits_disturbs_nobody() {
        let mut alarm = Alarm::new().expect("a file is left");
        // It expires while nobody looks at it.
        let short = alarm.after(Duration::from_millis(1));
        assert!(futures_util::FutureExt::now_or_never(short).is_none());
        std::thread::sleep(Duration::from_millis(5));
        tokio::task::yield_now().await;
        let (began, time) = (Instant::now(), Duration::from_millis(30));
        assert!(alarm.after(time).await.is_ok());
        assert!(began.elapsed() >= time, "{:?}", began.elapsed());
    }
}
