//! One limit, for each of many keys.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};

use super::bounded::BoundedStates;

/// So many requests a minute for each key.
pub struct Limiter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    governor: RateLimiter<K, BoundedStates<K>, C, StateInformationMiddleware>,
    quota: Quota,
    refused: AtomicU64,
}

/// What a limit says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Requests a minute.
    pub limit: u32,
    /// Requests that would be let through at once after this one.
    pub remaining: u32,
    /// While something remains, the time until all of the limit is there again; else the time until
    /// the next request is let through.
    pub reset: Duration,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// `per_min` requests a minute, and the states of `keys_max` keys.
    pub fn new(per_min: NonZeroU32, keys_max: usize) -> Self {
        Self::with_clock(per_min, keys_max, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock> Limiter<K, C> {
    /// [`Limiter::new`] with a clock that a test can advance.
    pub fn with_clock(per_min: NonZeroU32, keys_max: usize, clock: C) -> Self {
        let quota = Quota::per_minute(per_min);
        Self {
            governor: RateLimiter::new(quota, BoundedStates::new(keys_max), clock),
            quota,
            refused: AtomicU64::new(0),
        }
    }

    /// Counts one request of `key`; one that is refused is not counted.
    pub fn check(&self, key: &K) -> Decision {
        let limit = self.per_min();
        let interval = self.quota.replenish_interval();
        match self.governor.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let awaited = match remaining {
                    0 => 1,
                    _ => limit.saturating_sub(remaining),
                };
                Decision {
                    allowed: true,
                    limit,
                    remaining,
                    reset: interval.saturating_mul(awaited),
                }
            }
            Err(not_until) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Decision {
                    allowed: false,
                    limit,
                    remaining: 0,
                    reset: not_until.wait_time_from(self.governor.clock().now()),
                }
            }
        }
    }

    /// Drops the states of keys that have all of their limit again: without a state they have the
    /// same.
    pub fn forget_idle(&self) {
        self.governor.retain_recent();
        self.governor.shrink_to_fit();
    }

    /// Requests a minute for each key.
    pub fn per_min(&self) -> u32 {
        self.quota.burst_size().get()
    }

    /// How many keys have a state.
    pub fn keys(&self) -> usize {
        self.governor.len()
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl<K: Hash + Eq + Clone, C: Clock> fmt::Debug for Limiter<K, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Limiter")
            .field("quota", &self.quota)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(
        per_min: u32,
        keys_max: usize,
    ) -> (Limiter<u32, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let per_min = NonZeroU32::new(per_min).unwrap();
        (Limiter::with_clock(per_min, keys_max, clock.clone()), clock)
    }

    #[test]
    fn a_minute_holds_as_many_as_it_says_and_each_key_has_its_own() {
        let (limiter, clock) = limiter(60, 10);
        for remaining in (0..60).rev() {
            let decision = limiter.check(&1);
            assert!(decision.allowed);
            assert_eq!((decision.limit, decision.remaining), (60, remaining));
            let reset_s = if remaining == 0 { 1 } else { 60 - remaining };
            assert_eq!(decision.reset.as_secs(), u64::from(reset_s));
        }
        let refused = limiter.check(&1);
        assert!(!refused.allowed);
        assert_eq!(
            (refused.remaining, refused.reset),
            (0, Duration::from_secs(1))
        );
        assert!(limiter.check(&2).allowed);
        // A sixtieth of a minute later there is room for one, no sooner and for no more.
        clock.advance(Duration::from_millis(999));
        assert!(!limiter.check(&1).allowed);
        clock.advance(Duration::from_millis(1));
        assert!(limiter.check(&1).allowed);
        assert!(!limiter.check(&1).allowed);
        assert_eq!(limiter.refused(), 3);
        clock.advance(Duration::from_secs(60));
        let allowed = (0..100).filter(|_| limiter.check(&1).allowed).count();
        assert_eq!(allowed, 60);
    }

    #[test]
    fn made_up_keys_take_no_more_memory_than_they_may_and_share_one_limit() {
        let (limiter, clock) = limiter(10, 100);
        assert!(limiter.check(&0).allowed);
        let allowed = (1..100_000)
            .filter(|key| limiter.check(key).allowed)
            .count();
        assert_eq!(limiter.keys(), 100);
        // 99 further keys, and then ten requests for all the rest.
        assert_eq!(allowed, 99 + 10);
        assert_eq!(
            limiter.check(&0).remaining,
            8,
            "who was there is not concerned"
        );
        limiter.forget_idle();
        assert_eq!(limiter.keys(), 100, "all of them were there just now");
        // 6 s bring one request back, and as long after it a state is let go: the first key asked
        // for two.
        clock.advance(Duration::from_secs(13));
        limiter.forget_idle();
        assert_eq!(limiter.keys(), 1);
        clock.advance(Duration::from_secs(6));
        limiter.forget_idle();
        assert_eq!(limiter.keys(), 0);
        assert_eq!(limiter.check(&0).remaining, 9);
    }
}
