//! Redis as the second tier.
//!
//! A value is the string `PREFIXv1:KEY`, a lease the string `PREFIXlease:KEY`, the version of a tag the
//! string `PREFIXtag:NAME`, the register the sorted set `PREFIXregister` of names by the time of their
//! last signature. Changes are told on the channel `PREFIXchanges`, each after it was made.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::ConnectionManagerConfig;
use redis::{Client, ErrorKind, InfoDict, RedisError, ServerErrorKind};

use super::envelope::{may_have_tags, pack, unpack};
use super::hearing::Subscription;
use super::pattern::literally;
use super::register::{Register, Signature};
use super::scripts::{CLAIM, GET, PUBLISH, PUT, RELEASE, SIGN};
use super::second::{Claim, SecondTier, Stored, TierError, Usage};
use super::subscription::{Message, RedisSubscription};
use super::{Pattern, Scope};
use crate::datalayer::config::CacheSettings;
use crate::datalayer::link::{Link, RESPONSE_MARGIN, is_of_connection};

/// A second tier in Redis, shared by every process that uses the same server and prefix.
#[derive(Debug)]
pub struct RedisTier {
    client: Client,
    link: Link,
    prefix: String,
    tag_prefix: String,
    channel: String,
    max_value_bytes: usize,
    compress_above_bytes: usize,
    limit: Duration,
    beat: Duration,
}

/// Keys looked at in one step of a walk over all of them, and removed in one at most: the server does
/// nothing else meanwhile.
const SCAN_STEP: usize = 1000;

/// The lease of a `put` lasts for so many time limits: for its two answers.
const PUT_LIMITS: u32 = 2;

/// What `PTTL` says of a key that is not there.
const NO_SUCH_KEY: i64 = -2;

/// Names read from the register at once, the ones longest silent first.
const MOST_NAMES: usize = 1000;

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
        let limit = Duration::from_millis(settings.l2_timeout_ms);
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit - limit / RESPONSE_MARGIN))
            .set_min_delay(Duration::from_millis(settings.l2_retry_min_ms))
            .set_max_delay(Duration::from_millis(settings.l2_retry_max_ms));
        let prefix = settings.l2_key_prefix.clone();
        Ok(Self {
            link: Link::new(client.clone(), config).map_err(|_| TierError::Address)?,
            client,
            tag_prefix: format!("{prefix}tag:"),
            channel: format!("{prefix}changes"),
            prefix,
            max_value_bytes: settings.l2_max_value_bytes,
            compress_above_bytes: settings.l2_compress_above_bytes,
            limit,
            beat: Duration::from_millis(settings.l2_beat_ms),
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

    fn message(&self, by: &str, scopes: &[Scope]) -> Result<Vec<u8>, TierError> {
        let message = Message {
            by: by.to_owned(),
            scopes: scopes.to_vec(),
        };
        serde_json::to_vec(&message).map_err(|_| TierError::Refused {
            reason: "the change could not be written as JSON".to_owned(),
        })
    }

    /// What was found under a key. What makes no sense is removed, so that it is not found again.
    async fn stored(&self, key: &str, value: Vec<u8>, ttl_ms: i64) -> Result<Stored, TierError> {
        let Some(unpacked) = unpack(value, self.max_value_bytes) else {
            redis::cmd("UNLINK")
                .arg(self.value_key(key))
                .exec_async(&mut self.link.clone())
                .await?;
            return Err(TierError::Refused {
                reason: "a value made no sense and was removed".to_owned(),
            });
        };
        Ok(Stored {
            value: unpacked.value,
            // A negative lifetime means that the key has none or has just gone; such a value is
            // used once and not promoted.
            ttl: Duration::from_millis(u64::try_from(ttl_ms).unwrap_or(0)),
            tags: unpacked.tags,
        })
    }

    /// Removes what a glob matches and voids the leases.
    async fn unlink_matching(&self, pattern: &Pattern) -> Result<(), TierError> {
        for prefix in [self.lease_key(""), self.value_key("")] {
            let pattern = format!("{}{}", literally(&prefix), pattern.as_redis());
            self.unlink_all(&pattern).await?;
        }
        Ok(())
    }

    /// Removes every key, but for the register.
    async fn clear(&self) -> Result<(), TierError> {
        // The leases first: once they are gone nobody can publish what was loaded before, and what
        // is published in between is found by the second scan.
        for prefix in [&self.lease_key(""), &self.prefix] {
            self.unlink_all(&format!("{}*", literally(prefix))).await?;
        }
        Ok(())
    }

    /// Removes every key that a glob of Redis matches, but for the register.
    async fn unlink_all(&self, pattern: &str) -> Result<(), TierError> {
        let mut connection = self.link.clone();
        let register = self.register_key();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(SCAN_STEP);
            let (next, mut keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
            keys.retain(|key| key != register.as_bytes());
            // A step may find more than it was to look at.
            for keys in keys.chunks(SCAN_STEP) {
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
        let most = self.max_value_bytes;
        let value_key = self.value_key(key);
        // One transaction costs the server a fraction of a script. One byte more than is allowed, so that
        // what is too large shows.
        let (ttl_ms, start): (i64, Vec<u8>) = redis::pipe()
            .atomic()
            .pttl(&value_key)
            .getrange(&value_key, 0, isize::try_from(most).unwrap_or(isize::MAX))
            .query_async(&mut self.link.clone())
            .await?;
        if ttl_ms == NO_SUCH_KEY {
            return Ok(None);
        }
        if start.len() <= most && !may_have_tags(&start) {
            return self.stored(key, start, ttl_ms).await.map(Some);
        }
        // It has tags to be compared, or is too large.
        let found: Option<(Vec<u8>, i64)> = GET
            .key(value_key)
            .arg(most)
            .arg(&self.tag_prefix)
            .invoke_async(&mut self.link.clone())
            .await?;
        match found {
            Some((value, ttl_ms)) => self.stored(key, value, ttl_ms).await.map(Some),
            None => Ok(None),
        }
    }

    async fn claim_beyond(
        &self,
        key: &str,
        token: &str,
        lease: Duration,
        tags: &[Arc<str>],
        at_least: Duration,
    ) -> Result<Claim, TierError> {
        let mut claim = CLAIM.key(self.value_key(key));
        claim
            .key(self.lease_key(key))
            .arg(self.max_value_bytes)
            .arg(&self.tag_prefix)
            .arg(token)
            .arg(whole_ms(lease))
            // Not rounded up to 1 as a lifetime is: 0 takes whatever is there.
            .arg(u64::try_from(at_least.as_millis()).unwrap_or(u64::MAX));
        for tag in tags {
            claim.arg(&**tag);
        }
        let (state, value, ttl_ms): (u8, Vec<u8>, i64) =
            claim.invoke_async(&mut self.link.clone()).await?;
        Ok(match state {
            2 => Claim::Found(self.stored(key, value, ttl_ms).await?),
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
        let packed = pack(value, self.compress_above_bytes);
        let published: u8 = PUBLISH
            .key(self.value_key(key))
            .key(self.lease_key(key))
            .arg(token)
            .arg(&self.tag_prefix)
            .arg(whole_ms(ttl))
            .arg(packed.flags)
            .arg(&packed.length)
            .arg(&*packed.body)
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

    async fn put(
        &self,
        by: &str,
        key: &str,
        value: &Bytes,
        ttl: Duration,
        tags: &[Arc<str>],
    ) -> Result<(), TierError> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        // The lease first, and only its holder stores. A value that comes late, over a connection that
        // hung meanwhile, finds the lease gone and does not replace what was changed since.
        redis::cmd("SET")
            .arg(self.lease_key(key))
            .arg(&token)
            .arg("PX")
            .arg(whole_ms(self.limit * PUT_LIMITS))
            .exec_async(&mut self.link.clone())
            .await?;
        let packed = pack(value, self.compress_above_bytes);
        let mut put = PUT.key(self.value_key(key));
        put.key(self.lease_key(key))
            .arg(token)
            .arg(&self.tag_prefix)
            .arg(whole_ms(ttl))
            .arg(packed.flags)
            .arg(&packed.length)
            .arg(&*packed.body)
            .arg(&self.channel)
            .arg(self.message(by, &[Scope::Key(key.to_owned())])?);
        for tag in tags {
            put.arg(&**tag);
        }
        let stored: u8 = put.invoke_async(&mut self.link.clone()).await?;
        match stored {
            1 => Ok(()),
            // Somebody changed the key at the same time, or the lease ran out.
            _ => self.invalidate(by, &[Scope::Key(key.to_owned())]).await,
        }
    }

    async fn invalidate(&self, by: &str, scopes: &[Scope]) -> Result<(), TierError> {
        let mut named = Vec::new();
        for scope in scopes {
            match scope {
                Scope::All => self.clear().await?,
                Scope::Pattern(pattern) => self.unlink_matching(pattern).await?,
                Scope::Key(_) | Scope::Tag(_) | Scope::Family(_) => {}
            }
            if let Some(key) = scope.key() {
                named.extend([self.value_key(key), self.lease_key(key)]);
            }
            let tag = scope.tag();
            named.extend(tag.map(|name| format!("{}{name}", self.tag_prefix)));
        }
        let mut pipe = redis::pipe();
        if !named.is_empty() {
            pipe.cmd("UNLINK").arg(named).ignore();
        }
        // Last: who hears of it finds it done.
        pipe.cmd("PUBLISH")
            .arg(&self.channel)
            .arg(self.message(by, scopes)?)
            .ignore();
        pipe.query_async(&mut self.link.clone())
            .await
            .map_err(TierError::from)
    }

    async fn usage(&self) -> Result<Usage, TierError> {
        let mut pipe = redis::pipe();
        pipe.cmd("DBSIZE");
        pipe.cmd("INFO").arg("memory");
        pipe.cmd("INFO").arg("stats");
        let (entries, memory, stats): (u64, InfoDict, InfoDict) =
            pipe.query_async(&mut self.link.clone()).await?;
        let missing = || TierError::Refused {
            reason: "INFO does not say how full it is".to_owned(),
        };
        Ok(Usage {
            entries,
            bytes: memory.get("used_memory").ok_or_else(missing)?,
            evictions: stats.get("evicted_keys").ok_or_else(missing)?,
        })
    }

    fn subscribe(&self, name: &str) -> Box<dyn Subscription> {
        Box::new(RedisSubscription {
            client: self.client.clone(),
            channel: self.channel.clone(),
            name: name.to_owned(),
            limit: self.limit,
            beat: self.beat,
            connection: None,
        })
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

/// Redis counts in milliseconds and refuses 0.
fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, i64::MAX as u64 / 2)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use redis::Value;

    use super::*;

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
