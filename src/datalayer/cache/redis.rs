//! Redis as the second tier.
//!
//! A value is the string `PREFIXv1:KEY`, a lease the string `PREFIXlease:KEY` that holds its token, the
//! register the sorted set `PREFIXregister` of names by the time of their last signature. What has to be
//! one step is a script: the server runs scripts one at a time.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::ConnectionManagerConfig;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind};

use super::link::{Link, is_of_connection};
use super::register::{Register, Signature};
use super::second::{Claim, SecondTier, Stored, TierError};
use crate::datalayer::config::CacheSettings;

/// A second tier in Redis, shared by every process that uses the same server and prefix.
#[derive(Debug)]
pub struct RedisTier {
    link: Link,
    prefix: String,
    max_value_bytes: usize,
}

/// Keys scanned in one step of [`RedisTier::clear`].
const SCAN_STEP: usize = 1000;

/// Names read from the register at once, the ones longest silent first.
const MOST_NAMES: usize = 1000;

/// The value and its remaining milliseconds, or nothing. Larger values than allowed are not sent.
static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local value = redis.call('GET', KEYS[1])
        if value and #value <= tonumber(ARGV[1]) then
            return {value, redis.call('PTTL', KEYS[1])}
        end
        return false
        ",
    )
});

/// 2 with the value and its remaining milliseconds, 1 when the lease was free, else 0.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local value = redis.call('GET', KEYS[1])
        if value and #value <= tonumber(ARGV[1]) then
            return {2, value, redis.call('PTTL', KEYS[1])}
        end
        if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then
            return {1, '', 0}
        end
        return {0, '', 0}
        ",
    )
});

/// 1 when the token held the lease and the value was stored, else 0.
static PUBLISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[2]) ~= ARGV[1] then
            return 0
        end
        redis.call('DEL', KEYS[2])
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1
        ",
    )
});

/// Deletes the lease if the token holds it.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) == ARGV[1] then
            return redis.call('DEL', KEYS[1])
        end
        return 0
        ",
    )
});

/// The other names and the milliseconds since they signed.
static SIGN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        redis.call('ZADD', KEYS[1], now, ARGV[1])
        local signed = redis.call('ZRANGE', KEYS[1], 0, ARGV[2], 'WITHSCORES')
        local others = {}
        for i = 1, #signed, 2 do
            if signed[i] ~= ARGV[1] then
                table.insert(others, {signed[i], math.max(0, now - signed[i + 1])})
            end
        end
        return others
        ",
    )
});

impl RedisTier {
    /// Prepares a connection; it is made with the first call and made again whenever it breaks, so
    /// that a service can start before its Redis does.
    ///
    /// # Errors
    /// An address that is not understood.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn connect(url: &str, settings: &CacheSettings) -> Result<Self, TierError> {
        let client = Link::client(url).map_err(|_| TierError::Address)?;
        let limit = Some(Duration::from_millis(settings.l2_timeout_ms));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(limit)
            .set_response_timeout(limit)
            .set_min_delay(Duration::from_millis(settings.l2_retry_min_ms))
            .set_max_delay(Duration::from_millis(settings.l2_retry_max_ms));
        Ok(Self {
            link: Link::new(client, config).map_err(|_| TierError::Address)?,
            prefix: settings.l2_key_prefix.clone(),
            max_value_bytes: settings.l2_max_value_bytes,
        })
    }

    fn value_key(&self, key: &str) -> String {
        format!("{}v1:{key}", self.prefix)
    }

    fn lease_key(&self, key: &str) -> String {
        format!("{}lease:{key}", self.prefix)
    }

    fn register_key(&self) -> String {
        format!("{}register", self.prefix)
    }

    /// Removes every key that begins with `prefix`, but for the register.
    async fn unlink_all(&self, prefix: &str) -> Result<(), TierError> {
        let mut connection = self.link.clone();
        let pattern = format!("{}*", escape_glob(prefix));
        let register = self.register_key();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(SCAN_STEP);
            let (next, mut keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
            keys.retain(|key| key != register.as_bytes());
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys).exec_async(&mut connection).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

#[async_trait]
impl SecondTier for RedisTier {
    async fn get(&self, key: &str) -> Result<Option<Stored>, TierError> {
        let found: Option<(Vec<u8>, i64)> = GET
            .key(self.value_key(key))
            .arg(self.max_value_bytes)
            .invoke_async(&mut self.link.clone())
            .await?;
        Ok(found.map(stored))
    }

    async fn claim(&self, key: &str, token: &str, lease: Duration) -> Result<Claim, TierError> {
        let (state, value, ttl_ms): (u8, Vec<u8>, i64) = CLAIM
            .key(self.value_key(key))
            .key(self.lease_key(key))
            .arg(self.max_value_bytes)
            .arg(token)
            .arg(whole_ms(lease))
            .invoke_async(&mut self.link.clone())
            .await?;
        Ok(match state {
            2 => Claim::Found(stored((value, ttl_ms))),
            1 => Claim::Leased,
            _ => Claim::Busy,
        })
    }

    async fn publish(
        &self,
        key: &str,
        token: &str,
        value: &Bytes,
        ttl: Duration,
    ) -> Result<bool, TierError> {
        let published: u8 = PUBLISH
            .key(self.value_key(key))
            .key(self.lease_key(key))
            .arg(token)
            .arg(&value[..])
            .arg(whole_ms(ttl))
            .invoke_async(&mut self.link.clone())
            .await?;
        Ok(published == 1)
    }

    async fn release(&self, key: &str, token: &str) -> Result<(), TierError> {
        let _: u8 = RELEASE
            .key(self.lease_key(key))
            .arg(token)
            .invoke_async(&mut self.link.clone())
            .await?;
        Ok(())
    }

    async fn put(&self, key: &str, value: &Bytes, ttl: Duration) -> Result<(), TierError> {
        redis::pipe()
            .atomic()
            .cmd("SET")
            .arg(self.value_key(key))
            .arg(&value[..])
            .arg("PX")
            .arg(whole_ms(ttl))
            .ignore()
            .cmd("DEL")
            .arg(self.lease_key(key))
            .ignore()
            .query_async(&mut self.link.clone())
            .await
            .map_err(TierError::from)
    }

    async fn invalidate(&self, key: &str) -> Result<(), TierError> {
        redis::cmd("UNLINK")
            .arg(self.value_key(key))
            .arg(self.lease_key(key))
            .query_async(&mut self.link.clone())
            .await
            .map_err(TierError::from)
    }

    async fn clear(&self) -> Result<(), TierError> {
        // The leases first: once they are gone nobody can publish what was loaded before, and what
        // is published in between is found by the second scan.
        self.unlink_all(&self.lease_key("")).await?;
        self.unlink_all(&self.prefix).await
    }

    fn register(&self) -> Option<&dyn Register> {
        Some(self)
    }
}

#[async_trait]
impl Register for RedisTier {
    async fn sign(&self, name: &str) -> Result<Vec<Signature>, TierError> {
        let others: Vec<(String, u64)> = SIGN
            .key(self.register_key())
            .arg(name)
            .arg(MOST_NAMES)
            .invoke_async(&mut self.link.clone())
            .await?;
        let signature = |(name, age_ms)| Signature {
            name,
            age: Duration::from_millis(age_ms),
        };
        Ok(others.into_iter().map(signature).collect())
    }

    async fn strike(&self, names: &[String]) -> Result<(), TierError> {
        redis::cmd("ZREM")
            .arg(self.register_key())
            .arg(names)
            .query_async(&mut self.link.clone())
            .await
            .map_err(TierError::from)
    }
}

impl From<RedisError> for TierError {
    fn from(error: RedisError) -> Self {
        // The category and the server's own code, and no detail: that may repeat a value.
        let reason = match error.code() {
            Some(code) => format!("{}: {code}", error.category()),
            None => error.category().to_owned(),
        };
        if is_of_connection(&error) || is_not_serving(error.kind()) {
            Self::Away { reason }
        } else {
            Self::Refused { reason }
        }
    }
}

/// Whether every command would be answered so for a while: the server loads its data, has lost its
/// master or its cluster, or may not be written to.
fn is_not_serving(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ReadOnly
        )
    )
}

/// A negative lifetime means that the key has none or has just gone; such a value is used once and
/// not promoted.
fn stored((value, ttl_ms): (Vec<u8>, i64)) -> Stored {
    let ttl = Duration::from_millis(u64::try_from(ttl_ms).unwrap_or(0));
    Stored {
        value: value.into(),
        ttl,
    }
}

/// Redis counts in milliseconds and refuses 0.
fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, i64::MAX as u64 / 2)
}

/// The pattern that matches this text and nothing else.
fn escape_glob(text: &str) -> String {
    let special = |character| matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-');
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if special(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn a_pattern_matches_its_text_literally() {
        let check = |text, expected| assert_eq!(escape_glob(text), expected);
        check("refservice:", "refservice:");
        check("a*b?[c]\\", r"a\*b\?\[c\]\\");
    }

    #[test]
    fn lifetimes_are_what_redis_accepts() {
        let check = |duration, expected| assert_eq!(whole_ms(duration), expected);
        check(Duration::ZERO, 1);
        check(Duration::from_micros(1500), 1);
        check(Duration::from_secs(2), 2000);
        check(Duration::MAX, i64::MAX as u64 / 2);
    }

    #[test]
    fn a_server_that_does_not_serve_is_away() {
        let check = |answer: &str, away: bool| {
            let answer = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes());
            let error = TierError::from(answer.and_then(Value::extract_error).unwrap_err());
            assert_eq!(matches!(error, TierError::Away { .. }), away, "{error}");
        };
        check("LOADING Redis is loading the dataset in memory", true);
        check("MASTERDOWN Link with MASTER is down", true);
        check("CLUSTERDOWN Hash slot not served", true);
        check(
            "TRYAGAIN Multiple keys request during rehashing of slot",
            true,
        );
        check(
            "READONLY You can't write against a read only replica.",
            true,
        );
        check("ERR unknown command", false);
        check("NOPERM this user has no permissions", false);
        check("WRONGTYPE Operation against a key", false);
    }

    #[test]
    fn a_connection_that_was_refused_is_away() {
        // What the client makes of a refused `SELECT`.
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        let error = TierError::from(RedisError::from((kind, "no such database")));
        assert!(matches!(error, TierError::Away { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_address_is_not_repeated() {
        let error = RedisTier::connect("mysql://u:secret@host/", &CacheSettings::default());
        let text = error
            .map(|_| String::new())
            .unwrap_or_else(|error| error.to_string());
        assert!(text.contains("redis://"), "{text:?} names no remedy");
        assert!(!text.contains("secret"), "{text:?}");
    }
}
