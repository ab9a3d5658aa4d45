//! The three limits of a request.

use std::convert::Infallible;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};

use super::limiter::{Decision, Limiter};
use crate::datalayer::config::LimitSettings;

/// What a limit is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Who asks.
    User,
    /// All users of a tenant together.
    Tenant,
    /// Requests of one kind by one user: who asks for one thing too often takes nothing from others, nor
    /// from what else it asks for.
    Endpoint,
}

/// What the limits say of one request: the first that refuses it, else the one of which the least
/// remains, and of equal ones the broader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Which limit says so.
    pub dimension: Dimension,
    /// What it says.
    pub decision: Decision,
}

/// Figures of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitStats {
    /// Which limit.
    pub dimension: Dimension,
    /// Requests a minute for each key.
    pub per_min: u32,
    /// Keys with a state in memory.
    pub keys: usize,
    /// Requests refused since the start.
    pub refused: u64,
}

/// The limits of a service. Each may be off.
#[derive(Debug)]
pub struct Limits<C: Clock = DefaultClock> {
    user: Option<Limiter<String, C>>,
    tenant: Option<Limiter<i64, C>>,
    endpoint: Option<Limiter<String, C>>,
    settings: LimitSettings,
}

impl Dimension {
    /// Its name in headers, metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Endpoint => "endpoint",
        }
    }
}

impl Limits {
    /// The limits of these settings.
    pub fn new(settings: &LimitSettings) -> Self {
        Self::with_clock(settings, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// [`Limits::new`] with a clock that a test can advance.
    pub fn with_clock(settings: &LimitSettings, clock: &C) -> Self {
        Self {
            user: limiter(settings.user_per_min, settings.keys_max, clock),
            tenant: limiter(settings.tenant_per_min, settings.keys_max, clock),
            endpoint: limiter(settings.endpoint_per_min, settings.keys_max, clock),
            settings: settings.clone(),
        }
    }
}

impl<C: Clock> Limits<C> {
    /// Counts one request. The narrowest limit is asked first, the user's for this endpoint, then the
    /// user's, then the tenant's; a request that one refuses counts for none after it. So who is refused
    /// takes nothing from others. `None` where no limit holds.
    pub fn check(&self, user: &String, tenant: Option<i64>, endpoint: &str) -> Option<Verdict> {
        // An endpoint begins with its method, and no user's text ends with one.
        let endpoint = format!("{user} {endpoint}");
        let ask_endpoint = || verdict(self.endpoint.as_ref(), Dimension::Endpoint, &endpoint);
        let ask_user = || verdict(self.user.as_ref(), Dimension::User, user);
        let ask_tenant = || verdict(self.tenant.as_ref(), Dimension::Tenant, &tenant?);
        let asks: [&dyn Fn() -> Option<Verdict>; 3] = [&ask_endpoint, &ask_user, &ask_tenant];
        let mut tightest: Option<Verdict> = None;
        for verdict in asks.into_iter().filter_map(|ask| ask()) {
            if !verdict.decision.allowed {
                return Some(verdict);
            }
            let least = |known: Verdict| verdict.decision.remaining <= known.decision.remaining;
            if tightest.is_none_or(least) {
                tightest = Some(verdict);
            }
        }
        tightest
    }

    /// Drops the states of idle keys every `limit.upkeep_ms`, for ever.
    pub async fn keep_tidy(&self) -> Infallible {
        let mut period = tokio::time::interval(Duration::from_millis(self.settings.upkeep_ms));
        loop {
            period.tick().await;
            self.forget_idle();
        }
    }

    /// Figures of the limits that are on.
    pub fn stats(&self) -> Vec<LimitStats> {
        let all = [
            stats(self.user.as_ref(), Dimension::User),
            stats(self.tenant.as_ref(), Dimension::Tenant),
            stats(self.endpoint.as_ref(), Dimension::Endpoint),
        ];
        all.into_iter().flatten().collect()
    }

    fn forget_idle(&self) {
        self.user.as_ref().inspect(|limiter| limiter.forget_idle());
        self.tenant
            .as_ref()
            .inspect(|limiter| limiter.forget_idle());
        self.endpoint
            .as_ref()
            .inspect(|limiter| limiter.forget_idle());
    }
}

fn limiter<K: Hash + Eq + Clone, C: Clock + Clone>(
    per_min: u32,
    keys_max: usize,
    clock: &C,
) -> Option<Limiter<K, C>> {
    let per_min = NonZeroU32::new(per_min)?;
    Some(Limiter::with_clock(per_min, keys_max, clock.clone()))
}

fn verdict<K: Hash + Eq + Clone, C: Clock>(
    limiter: Option<&Limiter<K, C>>,
    dimension: Dimension,
    key: &K,
) -> Option<Verdict> {
    let decision = limiter?.check(key);
    Some(Verdict {
        dimension,
        decision,
    })
}

fn stats<K: Hash + Eq + Clone, C: Clock>(
    limiter: Option<&Limiter<K, C>>,
    dimension: Dimension,
) -> Option<LimitStats> {
    limiter.map(|limiter| LimitStats {
        dimension,
        per_min: limiter.per_min(),
        keys: limiter.keys(),
        refused: limiter.refused(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limits(
        user: u32,
        tenant: u32,
        endpoint: u32,
    ) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
        let settings = LimitSettings {
            user_per_min: user,
            tenant_per_min: tenant,
            endpoint_per_min: endpoint,
            ..LimitSettings::default()
        };
        let clock = FakeRelativeClock::default();
        (Limits::with_clock(&settings, &clock), clock)
    }

    /// Who is refused, after as many requests as were let through, of a user, a tenant and an
    /// endpoint.
    fn spend(
        limits: &Limits<FakeRelativeClock>,
        user: &str,
        tenant: Option<i64>,
        endpoint: &str,
    ) -> (Dimension, u32) {
        let user = user.to_owned();
        for passed in 0.. {
            let verdict = limits.check(&user, tenant, endpoint).unwrap();
            if !verdict.decision.allowed {
                return (verdict.dimension, passed);
            }
        }
        unreachable!("a limit is reached")
    }

    #[test]
    fn each_limit_holds_for_its_own() {
        let (limits, _) = limits(3, 5, 2);
        assert_eq!(spend(&limits, "a", Some(1), "x"), (Dimension::Endpoint, 2));
        // Who has spent one endpoint is in nobody's way there.
        assert_eq!(spend(&limits, "b", Some(2), "x"), (Dimension::Endpoint, 2));
        // However often it was refused there, it has what is left of its own elsewhere: one of three.
        for _ in 0..10 {
            assert_eq!(spend(&limits, "a", Some(1), "x"), (Dimension::Endpoint, 0));
        }
        assert_eq!(spend(&limits, "a", Some(1), "y"), (Dimension::User, 1));
        // Nor were any of the refused the tenant's: two are left of its five.
        assert_eq!(spend(&limits, "c", Some(1), "x"), (Dimension::Endpoint, 2));
        assert_eq!(spend(&limits, "d", Some(1), "x"), (Dimension::Tenant, 0));
        let refused: Vec<u64> = limits.stats().iter().map(|limit| limit.refused).collect();
        assert_eq!(refused, [1, 1, 13]);
    }

    #[test]
    fn the_tightest_limit_is_told() {
        let (limits, _) = limits(5, 9, 4);
        let user = "a".to_owned();
        let told = |endpoint: &str| {
            let verdict = limits.check(&user, Some(1), endpoint).unwrap();
            (verdict.dimension, verdict.decision.remaining)
        };
        assert_eq!(told("x"), (Dimension::Endpoint, 3));
        assert_eq!(
            told("y"),
            (Dimension::User, 3),
            "of equal ones, the broader"
        );
    }

    #[test]
    fn each_limit_can_be_off() {
        let (off, _) = limits(0, 0, 0);
        assert_eq!(off.check(&"a".to_owned(), Some(1), "x"), None);
        assert_eq!(off.stats(), []);
        let (limits, _) = limits(0, 2, 0);
        assert_eq!(spend(&limits, "a", Some(1), "x"), (Dimension::Tenant, 2));
        assert_eq!(limits.check(&"a".to_owned(), None, "x"), None);
    }

    #[tokio::test]
    async fn idle_keys_are_forgotten_by_and_by() {
        let settings = LimitSettings {
            upkeep_ms: 5,
            ..LimitSettings::default()
        };
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&settings, &clock);
        let tidy_for = |ms| tokio::time::timeout(Duration::from_millis(ms), limits.keep_tidy());
        limits.check(&"a".to_owned(), Some(1), "x");
        let keys = || -> Vec<usize> { limits.stats().iter().map(|limit| limit.keys).collect() };
        assert!(tidy_for(50).await.is_err(), "it goes on for ever");
        assert_eq!(keys(), [1, 1, 1], "no time has passed");
        let (tidied, ()) = tokio::join!(tidy_for(500), async {
            clock.advance(Duration::from_secs(3));
        });
        assert!(tidied.is_err());
        assert_eq!(keys(), [0, 0, 0]);
    }
}
