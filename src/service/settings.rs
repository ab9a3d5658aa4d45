//! The figures of the service, and the one file that holds them together with the data layer's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::datalayer::cache::Kind;
use crate::datalayer::config::{
    self, BatchSettings, BreakerSettings, CacheSettings, JobSettings, LimitSettings, LiveSettings,
    LockSettings, PoolSettings, SettingsError,
};

/// Everything that a settings file of the service can hold, section by section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The HTTP service.
    pub service: ServiceSettings,
    /// The two-tier cache.
    pub cache: CacheSettings,
    /// The database pool.
    pub pool: PoolSettings,
    /// Rate limits.
    pub limit: LimitSettings,
    /// Circuit breakers of calls to other services.
    pub breaker: BreakerSettings,
    /// Batches and streams.
    pub batch: BatchSettings,
    /// Locks.
    pub lock: LockSettings,
    /// Live updates.
    pub live: LiveSettings,
    /// Jobs that run in the background.
    pub jobs: JobSettings,
    /// Payments.
    pub payments: PaymentSettings,
}

/// Figures of the HTTP service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// Longest time for an ordinary request. More than `pool.acquire_timeout_ms`, so that a client
    /// learns that the pool was exhausted.
    pub request_timeout_ms: u64,
    /// Longest time for a bulk load, and for an export to begin.
    pub bulk_timeout_ms: u64,
    /// Longest wait for the database when readiness is asked for.
    pub ready_timeout_ms: u64,
    /// Longest time from being told to stop to the end. Less than the 10 s after which whoever
    /// started the service may kill it.
    pub drain_timeout_ms: u64,
    /// Largest body of an ordinary request.
    pub body_max_bytes: usize,
    /// Largest body of a bulk load in lines, which is never in memory as a whole.
    pub bulk_body_max_bytes: usize,
    /// Largest body of a bulk load as one JSON array, which is.
    pub bulk_array_max_bytes: usize,
    /// Longest line of a bulk load.
    pub bulk_line_max_bytes: usize,
    /// Most bulk loads at once, generated ones included. What each may hold in memory is limited
    /// above; this limits the sum.
    pub bulk_loads_max: u32,
    /// Longest wait for the next piece of the body of a bulk load: a client that sends nothing
    /// keeps others out.
    pub bulk_chunk_wait_ms: u64,
    /// Longest wait for another bulk load to end.
    pub bulk_wait_ms: u64,
    /// Whether the tables have the indexes that the API's queries need. Without, those read whole tables, and a
    /// service can be compared with and without them.
    pub indexes: bool,
    /// Most rows that one request may generate.
    pub generate_rows_max: u64,
    /// Answers above this size are compressed for clients that accept it.
    pub compress_above_bytes: u16,
    /// What a client is told to wait when the service is busy.
    pub retry_after_s: u64,
    /// Addresses of the gateways in front: who connects from one of them is believed what the headers
    /// X-Tenant-Id and X-User-Id say. A gateway has to set them, and to remove what clients send under
    /// these names.
    pub gateways: Vec<IpAddr>,
    /// Longest name of a user in X-User-Id.
    pub user_id_max_bytes: usize,
    /// Longest time for the webhook to answer.
    pub webhook_timeout_ms: u64,
    /// How long a client may use an answer again without asking, by kind of data.
    pub max_age: MaxAgeSettings,
}

/// How long a client may use an answer again without asking. No invalidation reaches it meanwhile, so
/// each is 0 by default: the client asks every time, and is told 304 while nothing has changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaxAgeSettings {
    /// A page of a listing.
    pub list_s: u64,
    /// One object.
    pub detail_s: u64,
    /// A user and their rights.
    pub user_s: u64,
    /// Aggregates over many rows.
    pub analytics_s: u64,
    /// A dashboard.
    pub dashboard_s: u64,
    /// Reference data that hardly ever change.
    pub reference_s: u64,
    /// Everything else.
    pub other_s: u64,
}

/// Figures of payments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentSettings {
    /// Longest time for a request to make or change a payment, retries included.
    pub timeout_ms: u64,
    /// Longest wait of a payment for a connection. It and `payments.lock_wait_ms` are over before
    /// `payments.timeout_ms` is, so that a client learns that the pool was exhausted or the database is away.
    pub acquire_timeout_ms: u64,
    /// How old a callback may be by the provider's clock, and how far that may be ahead of ours.
    pub callback_tolerance_ms: u64,
    /// How long a request waits for another one with the same key before both ask the database.
    pub lock_wait_ms: u64,
    /// First pause before a transaction is tried again that others had undone, or whose connection broke.
    pub retry_min_ms: u64,
    /// The pause doubles with each attempt up to this.
    pub retry_max_ms: u64,
    /// How often it is tried again.
    pub retries_max: usize,
    /// Longest idempotency key.
    pub key_max_bytes: usize,
    /// Largest payment.
    pub amount_max_cents: i64,
}

impl Default for PaymentSettings {
    fn default() -> Self {
        Self {
            timeout_ms: 10_000,
            acquire_timeout_ms: 7000,
            callback_tolerance_ms: 300_000,
            lock_wait_ms: 2000,
            retry_min_ms: 10,
            retry_max_ms: 500,
            retries_max: 5,
            key_max_bytes: 255,
            amount_max_cents: 100_000_000,
        }
    }
}

impl PaymentSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        let rules = [
            (
                self.lock_wait_ms < self.timeout_ms,
                "payments.lock_wait_ms",
                "must be below payments.timeout_ms",
            ),
            (
                self.acquire_timeout_ms > 0,
                "payments.acquire_timeout_ms",
                "must be at least 1",
            ),
            (
                self.acquire_timeout_ms.saturating_add(self.lock_wait_ms) < self.timeout_ms,
                "payments.acquire_timeout_ms",
                "must, with payments.lock_wait_ms, be below payments.timeout_ms",
            ),
            (
                self.callback_tolerance_ms > 0,
                "payments.callback_tolerance_ms",
                "must be at least 1",
            ),
            (
                (1..=self.retry_max_ms).contains(&self.retry_min_ms),
                "payments.retry_min_ms",
                "must be between 1 and payments.retry_max_ms",
            ),
            (
                self.retry_max_ms <= self.timeout_ms,
                "payments.retry_max_ms",
                "must not be above payments.timeout_ms",
            ),
            (
                self.key_max_bytes > 0,
                "payments.key_max_bytes",
                "must be at least 1",
            ),
            (
                self.amount_max_cents > 0,
                "payments.amount_max_cents",
                "must be at least 1",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, reason)) => Err(SettingsError::Figure { key, reason }),
            None => Ok(()),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    pub(super) fn callback_tolerance(&self) -> Duration {
        Duration::from_millis(self.callback_tolerance_ms)
    }
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            request_timeout_ms: 35_000,
            bulk_timeout_ms: 600_000,
            ready_timeout_ms: 2000,
            drain_timeout_ms: 8000,
            body_max_bytes: 64 * 1024,
            bulk_body_max_bytes: 1024 * 1024 * 1024,
            bulk_array_max_bytes: 8 * 1024 * 1024,
            bulk_line_max_bytes: 16 * 1024,
            bulk_loads_max: 8,
            bulk_chunk_wait_ms: 30_000,
            bulk_wait_ms: 10_000,
            indexes: true,
            generate_rows_max: 5_000_000,
            compress_above_bytes: 1024,
            retry_after_s: 1,
            gateways: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            user_id_max_bytes: 64,
            webhook_timeout_ms: 5000,
            max_age: MaxAgeSettings::default(),
        }
    }
}

impl Settings {
    /// The defaults, changed by a TOML text and then by variables of the environment such as
    /// `REFSERVICE__SERVICE__BODY_MAX_BYTES=1000`.
    ///
    /// # Errors
    /// A text that is no TOML, an unknown key, a value of the wrong type or out of its range.
    pub fn load(
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let settings: Self = config::read(text, env)?;
        settings.data_layer().validate()?;
        settings.service.validate()?;
        settings.payments.validate()?;
        // Else a client that waits for a connection hears of a timeout, and nobody of the pool.
        if settings.pool.acquire_timeout_ms >= settings.service.request_timeout_ms {
            return Err(SettingsError::Figure {
                key: "service.request_timeout_ms",
                reason: "must be above pool.acquire_timeout_ms",
            });
        }
        // Else a client hears of a timeout, and nobody that it was the webhook's.
        if settings.service.webhook_timeout_ms >= settings.service.request_timeout_ms {
            return Err(SettingsError::Figure {
                key: "service.webhook_timeout_ms",
                reason: "must be below service.request_timeout_ms",
            });
        }
        // Else the service is gone before its jobs are given back.
        if settings.jobs.stop_grace_ms >= settings.service.drain_timeout_ms {
            return Err(SettingsError::Figure {
                key: "jobs.stop_grace_ms",
                reason: "must be below service.drain_timeout_ms",
            });
        }
        if settings.payments.timeout_ms >= settings.service.request_timeout_ms {
            return Err(SettingsError::Figure {
                key: "payments.timeout_ms",
                reason: "must be below service.request_timeout_ms",
            });
        }
        // Else a client uses an answer that the cache itself would not give any more.
        let outlives =
            |kind: &Kind| settings.service.max_age.of(*kind) > settings.cache.ttl.of(*kind);
        if Kind::ALL.iter().any(outlives) {
            return Err(SettingsError::Figure {
                key: "service.max_age",
                reason: "must not be above cache.ttl for any kind of data",
            });
        }
        Ok(settings)
    }

    fn data_layer(&self) -> config::Settings {
        config::Settings {
            cache: self.cache.clone(),
            pool: self.pool.clone(),
            limit: self.limit.clone(),
            breaker: self.breaker.clone(),
            batch: self.batch.clone(),
            lock: self.lock.clone(),
            live: self.live.clone(),
            jobs: self.jobs.clone(),
        }
    }
}

impl MaxAgeSettings {
    /// The time for an answer of this kind.
    pub fn of(&self, kind: Kind) -> Duration {
        Duration::from_secs(match kind {
            Kind::List => self.list_s,
            Kind::Detail => self.detail_s,
            Kind::User => self.user_s,
            Kind::Analytics => self.analytics_s,
            Kind::Dashboard => self.dashboard_s,
            Kind::Reference => self.reference_s,
            Kind::Other => self.other_s,
        })
    }
}

impl ServiceSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        let rules = [
            (self.request_timeout_ms > 0, "service.request_timeout_ms"),
            (self.bulk_timeout_ms > 0, "service.bulk_timeout_ms"),
            (self.ready_timeout_ms > 0, "service.ready_timeout_ms"),
            (self.body_max_bytes > 0, "service.body_max_bytes"),
            (self.bulk_body_max_bytes > 0, "service.bulk_body_max_bytes"),
            (
                self.bulk_array_max_bytes > 0,
                "service.bulk_array_max_bytes",
            ),
            (self.bulk_line_max_bytes > 0, "service.bulk_line_max_bytes"),
            (self.bulk_loads_max > 0, "service.bulk_loads_max"),
            (self.bulk_chunk_wait_ms > 0, "service.bulk_chunk_wait_ms"),
            (self.generate_rows_max > 0, "service.generate_rows_max"),
            (self.user_id_max_bytes > 0, "service.user_id_max_bytes"),
            (self.webhook_timeout_ms > 0, "service.webhook_timeout_ms"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, key)) => Err(SettingsError::Figure {
                key,
                reason: "must be at least 1",
            }),
            None => Ok(()),
        }
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn bulk_timeout(&self) -> Duration {
        Duration::from_millis(self.bulk_timeout_ms)
    }

    pub(super) fn bulk_chunk_wait(&self) -> Duration {
        Duration::from_millis(self.bulk_chunk_wait_ms)
    }

    pub(super) fn bulk_wait(&self) -> Duration {
        Duration::from_millis(self.bulk_wait_ms)
    }

    pub(super) fn webhook_timeout(&self) -> Duration {
        Duration::from_millis(self.webhook_timeout_ms)
    }

    pub(super) fn ready_timeout(&self) -> Duration {
        Duration::from_millis(self.ready_timeout_ms)
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn one_file_holds_all_sections() {
        let text = "[service]\nbody_max_bytes = 10\n[pool]\nmax_connections = 7\n";
        let env = [(
            "REFSERVICE__SERVICE__RETRY_AFTER_S".to_owned(),
            "9".to_owned(),
        )];
        let settings = Settings::load(text, env).unwrap();
        assert_eq!(settings.service.body_max_bytes, 10);
        assert_eq!(settings.service.retry_after_s, 9);
        assert_eq!(settings.pool.max_connections, 7);
        assert_eq!(settings.batch, BatchSettings::default());
        assert_eq!(settings.payments.timeout_ms, 10_000);
    }

    #[test]
    fn answers_above_a_kibibyte_are_compressed() {
        assert_eq!(ServiceSettings::default().compress_above_bytes, 1024);
    }

    #[test]
    fn gateways_are_this_machine_or_those_that_are_named() {
        let gateways = |text: &str, env: Option<&str>| {
            let name = "REFSERVICE__SERVICE__GATEWAYS".to_owned();
            let env = env.map(|value| (name, value.to_owned()));
            let settings = Settings::load(text, env).unwrap();
            let gateways = settings.service.gateways.iter();
            gateways.map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(gateways("", None), ["127.0.0.1", "::1"]);
        let text = "[service]\ngateways = [\"10.0.0.1\"]\n";
        assert_eq!(gateways(text, None), ["10.0.0.1"]);
        let env = Some(r#"["10.0.0.2", "2001:db8::1"]"#);
        assert_eq!(gateways(text, env), ["10.0.0.2", "2001:db8::1"]);
        assert_eq!(gateways(text, Some("[]")), [""; 0]);
        let wrong = "[service]\ngateways = [\"everybody\"]\n";
        assert!(Settings::load(wrong, []).is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expected: &str| {
            let error = Settings::load(text, []).unwrap_err().to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not name {expected:?}"
            );
        };
        check("[service]\nbody = 10", "unknown field `body`");
        check("[server]\n", "unknown field `server`");
        check("[pool]\nmax_connections = 0", "pool.max_connections");
        check(
            "[service]\nrequest_timeout_ms = 0",
            "service.request_timeout_ms must be at least 1",
        );
        check("[service]\nbulk_loads_max = 0", "service.bulk_loads_max");
        check("[lock]\nttl_ms = 1", "lock.ttl_ms must leave");
        check(
            "[payments]\ntimeout_ms = 1000",
            "payments.lock_wait_ms must be below payments.timeout_ms",
        );
        check(
            "[payments]\nacquire_timeout_ms = 8000",
            "payments.acquire_timeout_ms must, with payments.lock_wait_ms, be below",
        );
        check(
            "[payments]\ntimeout_ms = 35000",
            "payments.timeout_ms must be below service.request_timeout_ms",
        );
        check(
            "[payments]\nretry_min_ms = 501",
            "payments.retry_min_ms must be between",
        );
        check(
            "[service]\nwebhook_timeout_ms = 35000",
            "service.webhook_timeout_ms must be below service.request_timeout_ms",
        );
        check(
            "[jobs]\nstop_grace_ms = 8000",
            "jobs.stop_grace_ms must be below service.drain_timeout_ms",
        );
        check(
            "[service]\nuser_id_max_bytes = 0",
            "service.user_id_max_bytes",
        );
        check(
            "[service.max_age]\nlist_s = 1801",
            "service.max_age must not be above cache.ttl",
        );
        check(
            "[pool]\nacquire_timeout_ms = 35000",
            "service.request_timeout_ms must be above pool.acquire_timeout_ms",
        );
    }
}
