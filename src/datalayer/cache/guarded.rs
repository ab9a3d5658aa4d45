//! The second tier as the cache sees it: never slow, never an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex as TaskMutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Scope;
use super::attendant::{Desk, attend};
use super::circuit::Circuit;
use super::hearing::{Hear, Listener};
use super::lease::Lease;
use super::missed::{Change, Missed};
use super::second::{Claim, SecondTier, Stored, TierError, Usage};
use super::stats::Counters;
use crate::datalayer::config::CacheSettings;

/// A walk over all keys may take so many times the limit of one answer.
const WALK_LIMIT_FACTOR: u32 = 100;

/// A tier may refuse every call; the log hears of it once in so long, the counter each time.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// A second tier behind a time limit and a circuit. `None` from any of its calls means that the tier
/// has no say: it is away, refused, has not heard all news, cannot tell of what others change, or there
/// is none. A task in the background, the attendant, tells it the news and sees whether it is back, and
/// another one, the listener, hears from it; no reader and no writer waits for that.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) tier: Option<Arc<dyn SecondTier>>,
    circuit: Circuit,
    pub(super) missed: Missed,
    /// The name of this process in the tier's register.
    pub(super) name: String,
    /// Whether the tier is free of what processes before this one may have left unsaid.
    pub(super) settled: AtomicBool,
    /// Whether everything is heard that others change in it.
    hearing: Arc<AtomicBool>,
    /// What is told of it.
    first: Weak<dyn Hear>,
    /// There once the tier is attended.
    listener: OnceLock<AbortHandle>,
    /// Whether the attendant has something to ask the tier, so that readers need not see whether it is
    /// back.
    probed: bool,
    /// How full the tier was at the last beat.
    usage: Mutex<Option<Usage>>,
    /// Wakes the attendant.
    news: Arc<Notify>,
    /// In the hands of whoever talks to the tier on its own account.
    pub(super) desk: TaskMutex<Desk>,
    pub(super) beat: Duration,
    counters: Arc<Counters>,
    warned_at: Mutex<Option<Instant>>,
    limit: Duration,
    pub(super) max_value_bytes: usize,
    pub(super) lease: Duration,
    lease_wait: Duration,
    poll_min: Duration,
    poll_max: Duration,
}

/// On whose account a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// A request's, which must not wait to see whether the tier is back.
    Request,
    /// The cache's own.
    Attendant,
}

/// Why a call gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It was not made: the circuit is open.
    Spared,
    /// It was made. Whether the tier did what it was asked is not known.
    Failed,
}

/// What is known before a load.
#[derive(Debug)]
pub(super) enum Before {
    /// The second tier has the value.
    Found(Stored),
    /// It has not, and the caller has the right to load.
    Leased(Lease),
    /// The second tier has no say, or another process took too long.
    Alone,
}

impl Guarded {
    pub(super) fn new(
        tier: Option<Arc<dyn SecondTier>>,
        settings: &CacheSettings,
        counters: Arc<Counters>,
        first: Weak<dyn Hear>,
    ) -> Self {
        let ms = Duration::from_millis;
        let outlived = tier
            .as_deref()
            .is_some_and(|tier| tier.register().is_some());
        Self {
            tier,
            circuit: Circuit::new(ms(settings.l2_retry_min_ms), ms(settings.l2_retry_max_ms)),
            missed: Missed::default(),
            name: uuid::Uuid::new_v4().to_string(),
            settled: AtomicBool::new(!outlived),
            // What is in this process is heard from the moment of its subscription.
            hearing: Arc::new(AtomicBool::new(!outlived)),
            first,
            listener: OnceLock::new(),
            probed: outlived,
            usage: Mutex::default(),
            news: Arc::default(),
            desk: TaskMutex::new(Desk::new(ms(settings.l2_absent_ms))),
            beat: ms(settings.l2_beat_ms),
            counters,
            warned_at: Mutex::default(),
            limit: ms(settings.l2_timeout_ms),
            max_value_bytes: settings.l2_max_value_bytes,
            lease: ms(settings.lease_ms),
            lease_wait: ms(settings.lease_wait_ms),
            poll_min: ms(settings.lease_poll_min_ms),
            poll_max: ms(settings.lease_poll_max_ms.max(settings.lease_poll_min_ms)),
        }
    }

    pub(super) fn outages(&self) -> u64 {
        self.circuit.outages()
    }

    pub(super) fn is_available(&self) -> bool {
        self.tier.is_some() && self.circuit.is_closed() && self.is_current()
    }

    /// How full the tier is, as far as it says.
    pub(super) async fn usage(&self) -> Option<Usage> {
        match self.tier.as_deref() {
            // In this process, it answers at once.
            Some(tier) if !self.probed => tier.usage().await.ok(),
            Some(_) if self.is_available() => *self.noted(),
            _ => None,
        }
    }

    /// Asks the tier how full it is. That it may not be asked is no failure.
    pub(super) async fn note_usage(&self, tier: &dyn SecondTier) {
        let usage = timeout(self.limit, tier.usage()).await;
        *self.noted() = usage.ok().and_then(Result::ok);
    }

    fn noted(&self) -> MutexGuard<'_, Option<Usage>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the attendant may rest.
    pub(super) fn rest(&self) -> Duration {
        let probe = self.circuit.probe_in(Instant::now());
        let probe = probe.filter(|_| self.probed);
        probe.map_or(self.beat, |due| {
            due.max(self.circuit.pause_min()).min(self.beat)
        })
    }

    /// Whether the attendant is to see whether the tier is back.
    pub(super) fn is_probe_due(&self) -> bool {
        self.circuit.probe_in(Instant::now()) == Some(Duration::ZERO)
    }

    /// The value, if the tier has it.
    pub(super) async fn get(self: &Arc<Self>, key: &str) -> Option<Stored> {
        let tier = self.attended()?;
        let stored = match self.has_say() {
            true => {
                let get = self.call(Account::Request, tier.get(key));
                get.await.ok().flatten()
            }
            false => None,
        };
        self.count(stored.is_some());
        stored
    }

    /// The value, if it lives for `at_least`, or the right to load it, for which other processes are
    /// waited for.
    pub(super) async fn before_load(
        self: &Arc<Self>,
        key: &Arc<str>,
        tags: &[Arc<str>],
        at_least: Duration,
    ) -> Before {
        let Some(tier) = self.attended() else {
            return Before::Alone;
        };
        // Made before it is asked for: a caller that is cancelled in the middle gives it back.
        let lease = Lease::new(Arc::clone(key), Arc::clone(self));
        let give_up = Instant::now() + self.lease_wait;
        let mut pause = self.poll_min;
        let found = loop {
            if !self.has_say() {
                lease.disarm();
                break None;
            }
            let claim = tier.claim_beyond(key, lease.token(), self.lease, tags, at_least);
            match self.call(Account::Request, claim).await {
                Ok(Claim::Leased) => {
                    self.count(false);
                    return Before::Leased(lease);
                }
                Ok(Claim::Busy) if Instant::now() + pause < give_up => sleep(pause).await,
                // It may be held for all we know: the drop gives it back.
                Err(Silence::Failed) => break None,
                Ok(Claim::Busy) | Err(Silence::Spared) => {
                    lease.disarm();
                    break None;
                }
                Ok(Claim::Found(stored)) => {
                    lease.disarm();
                    break Some(stored);
                }
            }
            pause = (pause * 2).min(self.poll_max);
        };
        self.count(found.is_some());
        found.map_or(Before::Alone, Before::Found)
    }

    /// Stores a value under its tags and voids the key's lease.
    pub(super) async fn put(
        self: &Arc<Self>,
        key: &str,
        value: &Bytes,
        ttl: Duration,
        tags: &[Arc<str>],
    ) {
        let Some(tier) = self.attended() else {
            return;
        };
        let scope = Scope::Key(key.to_owned());
        if value.len() > self.max_value_bytes {
            return self.invalidate(&[scope]).await;
        }
        let put = tier.put(&self.name, key, value, ttl, tags);
        if self.call(Account::Request, put).await.is_err() {
            self.missed.note(Change::Scope(scope));
        }
    }

    /// Removes what the scopes are about and voids the leases.
    pub(super) async fn invalidate(self: &Arc<Self>, scopes: &[Scope]) {
        let Some(tier) = self.attended() else {
            return;
        };
        let told = self.tell_of(Account::Request, tier, &self.name, scopes);
        if told.await.is_err() {
            for scope in scopes {
                self.missed.note(Change::Scope(scope.clone()));
            }
        }
    }

    /// The tier, which has an attendant and a listener from now on.
    pub(super) fn attended(self: &Arc<Self>) -> Option<&dyn SecondTier> {
        let tier = self.tier.as_deref()?;
        self.listener.get_or_init(|| {
            tokio::spawn(attend(Arc::downgrade(self), Arc::clone(&self.news)));
            let listener = Listener {
                subscription: tier.subscribe(&self.name),
                hearing: Arc::clone(&self.hearing),
                counters: Arc::clone(&self.counters),
                pause_min: self.circuit.pause_min(),
                pause_max: self.circuit.pause_max(),
            };
            tokio::spawn(listener.listen(Weak::clone(&self.first))).abort_handle()
        });
        Some(tier)
    }

    /// Whether what the tier holds is good; where it may not be, the attendant is sent for.
    fn has_say(&self) -> bool {
        let current = self.is_current();
        if !current {
            self.counters.l2_skipped.add_one();
            self.news.notify_one();
        }
        current
    }

    fn is_current(&self) -> bool {
        self.settled.load(Ordering::Acquire)
            && self.hearing.load(Ordering::Acquire)
            && !self.missed.has_changes()
    }

    fn count(&self, hit: bool) {
        let l2 = &self.counters.l2;
        if hit {
            l2.hits.add_one()
        } else {
            l2.misses.add_one()
        }
    }

    /// Has the tier remove what the scopes are about, in the name of `by`.
    pub(super) async fn tell_of(
        &self,
        account: Account,
        tier: &dyn SecondTier,
        by: &str,
        scopes: &[Scope],
    ) -> Result<(), Silence> {
        let limit = match scopes.iter().any(Scope::is_wide) {
            true => self.limit * WALK_LIMIT_FACTOR,
            false => self.limit,
        };
        self.call_within(limit, account, tier.invalidate(by, scopes))
            .await
    }

    pub(super) async fn call<T>(
        &self,
        account: Account,
        answer: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, Silence> {
        self.call_within(self.limit, account, answer).await
    }

    /// One call of the tier, if the circuit allows it, within a limit.
    async fn call_within<T>(
        &self,
        limit: Duration,
        account: Account,
        answer: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, Silence> {
        let may_probe = account == Account::Attendant || !self.probed;
        let Some(attempt) = self.circuit.attempt(Instant::now(), may_probe) else {
            self.counters.l2_skipped.add_one();
            return Err(Silence::Spared);
        };
        let started = Instant::now();
        let away = || TierError::Away {
            reason: format!("no answer within {limit:?}"),
        };
        let result = timeout(limit, answer).await.unwrap_or_else(|_| Err(away()));
        let error = match result {
            Ok(value) => {
                self.counters.l2.latency.record(started.elapsed());
                self.answered();
                return Ok(value);
            }
            Err(error) => error,
        };
        self.counters.l2_errors.add_one();
        if !matches!(error, TierError::Away { .. }) {
            self.answered();
            if self.may_warn(Instant::now()) {
                let errors = self.counters.l2_errors.get();
                tracing::warn!(%error, errors, "the cache goes on without it this time");
            }
        } else if self.circuit.failed(attempt, Instant::now()) {
            tracing::warn!(%error, "the cache goes on without it until it is back");
            // To see in time whether it is.
            self.news.notify_one();
        }
        Err(Silence::Failed)
    }

    fn may_warn(&self, now: Instant) -> bool {
        let mut warned_at = self
            .warned_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let may = warned_at.is_none_or(|at| now >= at + WARNING_PAUSE);
        if may {
            *warned_at = Some(now);
        }
        may
    }

    fn answered(&self) {
        if self.circuit.succeeded() {
            tracing::info!("the second cache tier is back");
            self.news.notify_one();
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;

    use super::*;
    use crate::datalayer::cache::{MemoryTier, Register, Subscription};

    const MS: Duration = Duration::from_millis(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A tier that has its moods.
    #[derive(Debug)]
    struct Moody {
        memory: MemoryTier,
        mood: Mutex<Mood>,
    }

    #[derive(Debug, Clone, Copy)]
    enum Mood {
        Well,
        Away,
        /// It does what it is asked, and the answer is lost.
        Mute,
        Slow(Duration),
    }

    impl Moody {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                memory: MemoryTier::new(&CacheSettings::default()),
                mood: Mutex::new(Mood::Well),
            })
        }

        fn gets(&self, mood: Mood) {
            *self.mood.lock().unwrap() = mood;
        }

        async fn react<T>(
            &self,
            answer: impl Future<Output = Result<T, TierError>>,
        ) -> Result<T, TierError> {
            let mood = *self.mood.lock().unwrap();
            match mood {
                Mood::Well => answer.await,
                Mood::Away => Err(TierError::Away {
                    reason: "for a test".to_owned(),
                }),
                Mood::Mute => {
                    answer.await?;
                    pending().await
                }
                Mood::Slow(by) => {
                    sleep(by).await;
                    answer.await
                }
            }
        }
    }

    #[async_trait]
    impl SecondTier for Moody {
        async fn get(&self, key: &str) -> Result<Option<Stored>, TierError> {
            self.react(self.memory.get(key)).await
        }

        async fn claim_beyond(
            &self,
            key: &str,
            token: &str,
            lease: Duration,
            tags: &[Arc<str>],
            at_least: Duration,
        ) -> Result<Claim, TierError> {
            let claim = self.memory.claim_beyond(key, token, lease, tags, at_least);
            self.react(claim).await
        }

        async fn publish(
            &self,
            key: &str,
            token: &str,
            value: &Bytes,
            ttl: Duration,
        ) -> Result<bool, TierError> {
            self.react(self.memory.publish(key, token, value, ttl))
                .await
        }

        async fn release(&self, key: &str, token: &str) -> Result<(), TierError> {
            self.react(self.memory.release(key, token)).await
        }

        async fn put(
            &self,
            by: &str,
            key: &str,
            value: &Bytes,
            ttl: Duration,
            tags: &[Arc<str>],
        ) -> Result<(), TierError> {
            self.react(self.memory.put(by, key, value, ttl, tags)).await
        }

        async fn invalidate(&self, by: &str, scopes: &[Scope]) -> Result<(), TierError> {
            self.react(self.memory.invalidate(by, scopes)).await
        }

        async fn usage(&self) -> Result<Usage, TierError> {
            self.memory.usage().await
        }

        fn subscribe(&self, name: &str) -> Box<dyn Subscription> {
            self.memory.subscribe(name)
        }

        fn register(&self) -> Option<&dyn Register> {
            None
        }
    }

    /// Nobody to be told of what others change.
    struct Nobody;

    #[async_trait]
    impl Hear for Nobody {
        async fn forget(&self, _: &Scope) {}
    }

    fn nobody() -> Weak<dyn Hear> {
        Weak::<Nobody>::new()
    }

    fn guarded(tier: &Arc<Moody>) -> Arc<Guarded> {
        let settings = CacheSettings {
            l2_timeout_ms: 100,
            l2_retry_min_ms: 1,
            l2_retry_max_ms: 5,
            l2_beat_ms: 10,
            ..CacheSettings::default()
        };
        let tier = Arc::clone(tier) as Arc<dyn SecondTier>;
        Arc::new(Guarded::new(
            Some(tier),
            &settings,
            Arc::default(),
            nobody(),
        ))
    }

    async fn soon(what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(5);
        while !condition().await {
            assert!(Instant::now() < give_up, "{what}: not soon");
            sleep(5 * MS).await;
        }
    }

    #[tokio::test]
    async fn nobody_waits_while_the_tier_is_told_what_it_missed() {
        let tier = Moody::new();
        let guarded = guarded(&tier);
        let value = Bytes::from_static(b"v");
        for key in ["0", "untouched"] {
            guarded.put(key, &value, MINUTE, &[]).await;
        }
        tier.gets(Mood::Away);
        for key in 0..200 {
            guarded.invalidate(&[Scope::Key(key.to_string())]).await;
        }
        // Ten seconds of telling.
        tier.gets(Mood::Slow(50 * MS));
        soon("the tier is told", async || {
            let asked_at = Instant::now();
            assert_eq!(guarded.get("0").await, None);
            assert!(matches!(
                guarded.before_load(&"0".into(), &[], Duration::ZERO).await,
                Before::Alone
            ));
            guarded.invalidate(&[Scope::Key("201".to_owned())]).await;
            let took = asked_at.elapsed();
            assert!(took < 1000 * MS, "a request waited {took:?}");
            guarded.circuit.is_closed()
        })
        .await;
        assert!(!guarded.is_available(), "it has not been told everything");
        tier.gets(Mood::Well);
        soon("everything is told", async || guarded.is_available()).await;
        assert_eq!(guarded.get("0").await, None);
        assert_eq!(guarded.get("untouched").await.unwrap().value, value);
    }

    #[tokio::test]
    async fn a_lease_that_may_be_held_is_given_back_when_the_tier_is_there_again() {
        let tier = Moody::new();
        let guarded = guarded(&tier);
        tier.gets(Mood::Mute);
        let before = guarded.before_load(&"k".into(), &[], Duration::ZERO).await;
        assert!(matches!(before, Before::Alone), "{before:?}");
        tier.gets(Mood::Away);
        sleep(20 * MS).await;
        let claim = async || tier.memory.claim("k", "other", MINUTE, &[]).await.unwrap();
        assert_eq!(claim().await, Claim::Busy, "it was claimed, unheard");
        tier.gets(Mood::Well);
        soon("it is given back", async || claim().await == Claim::Leased).await;
    }

    #[tokio::test]
    async fn a_lease_that_was_not_published_is_given_back() {
        let tier = Moody::new();
        let guarded = guarded(&tier);
        let Before::Leased(lease) = guarded.before_load(&"k".into(), &[], Duration::ZERO).await
        else {
            panic!("the key is free");
        };
        tier.gets(Mood::Away);
        assert!(lease.publish(&Bytes::from_static(b"v"), MINUTE).await);
        sleep(20 * MS).await;
        tier.gets(Mood::Well);
        let claim = async || tier.memory.claim("k", "other", MINUTE, &[]).await.unwrap();
        soon("it is given back", async || claim().await == Claim::Leased).await;
    }

    #[tokio::test]
    async fn refusals_are_told_once_in_a_while() {
        let guarded = Guarded::new(None, &CacheSettings::default(), Arc::default(), nobody());
        let now = Instant::now();
        let check = |after_s, expected: bool| {
            let at = now + Duration::from_secs(after_s);
            assert_eq!(guarded.may_warn(at), expected, "after {after_s} s");
        };
        check(0, true);
        check(9, false);
        check(10, true);
        check(19, false);
    }
}
