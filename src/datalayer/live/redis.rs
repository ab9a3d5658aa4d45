//! The logs of all processes, in Redis.
//!
//! A tenant has a hash `PREFIXhead:TENANT` with the `epoch` and the last `seq` of its log, and the log itself,
//! a stream `PREFIXlog:TENANT` whose ids are `SEQ-0`. Each entry is also published in the channel
//! `PREFIXchannel`, in the order of the numbers: a script does it all in one step. All keys are of one
//! server, not of a cluster.
//!
//! A log belongs to one history of the server's data, which Redis names by its replication id: another one
//! begins when a server starts and when a replica takes over
//! (<https://redis.io/docs/latest/operate/oss_and_stack/management/replication/>). What was saved, or
//! copied, last may be older than what was told already, so that numbers would be given twice; so a log of
//! another history begins anew. Where Redis does not say which one it has (`INFO` is forbidden), that is not
//! seen.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::aio::ConnectionManagerConfig;
use redis::{Client, RedisError, RedisResult, Script, Value};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use uuid::Uuid;

use super::bus::{Bus, Event, LiveError, Replay};
use super::stats::{Counters, Part};
use super::update::{Body, Draft, Entry, Position};
use crate::datalayer::config::LiveSettings;
use crate::datalayer::link::{Link, RESPONSE_MARGIN};

/// What both scripts begin with: the epoch of a log, which begins anew where it has no head, or one of
/// another history.
const EPOCH: &str = r"
    local info = redis.pcall('INFO', 'replication')
    local history = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
    local function epoch_of(head, log, new)
        local known = redis.call('HMGET', head, 'epoch', 'history')
        if known[1] and (history == '' or known[2] == history) then
            return known[1]
        end
        redis.call('DEL', log)
        redis.call('HSET', head, 'epoch', new, 'seq', 0, 'history', history)
        return new
    end
";

/// For each pair of keys: numbers an update, keeps and publishes it.
static PUBLISH: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
        for i = 1, #KEYS, 2 do
            local head, log = KEYS[i], KEYS[i + 1]
            local tenant, body = ARGV[4 + i], ARGV[5 + i]
            local epoch = epoch_of(head, log, ARGV[1])
            local seq = string.format('%.0f', redis.call('HINCRBY', head, 'seq', 1))
            redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], seq .. '-0', 'body', body)
            redis.call('EXPIRE', head, ARGV[3])
            redis.call('EXPIRE', log, ARGV[3])
            redis.call('PUBLISH', ARGV[4], cjson.encode({tenant, epoch, seq, body}))
        end
        ",
    )
});

/// The epoch, the last number and the entries from one number on; a log that is not there begins.
static SINCE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
        local epoch = epoch_of(KEYS[1], KEYS[2], ARGV[1])
        redis.call('EXPIRE', KEYS[1], ARGV[2])
        redis.call('EXPIRE', KEYS[2], ARGV[2])
        local seq = redis.call('HGET', KEYS[1], 'seq')
        if ARGV[3] ~= epoch then
            return {epoch, seq, {}}
        end
        return {epoch, seq, redis.call('XRANGE', KEYS[2], ARGV[4] .. '-0', '+')}
        ",
    )
});

/// A bus over Redis; dropping it ends its task.
pub(super) struct RedisBus {
    link: Link,
    settings: Arc<LiveSettings>,
    interrupted: Arc<Notify>,
    listener: JoinHandle<()>,
}

/// What listens to the channel.
struct Listener {
    client: Client,
    settings: Arc<LiveSettings>,
    events: mpsc::Sender<Event>,
    interrupted: Arc<Notify>,
    counters: Arc<Counters>,
}

impl RedisBus {
    /// Prepares the connections; they are made when they are needed, and again whenever they break.
    pub(super) fn new(
        url: &str,
        settings: &Arc<LiveSettings>,
        events: mpsc::Sender<Event>,
        counters: &Arc<Counters>,
    ) -> Result<Self, LiveError> {
        let client = Link::client(url).map_err(|_| LiveError::Address)?;
        let limit = Duration::from_millis(settings.timeout_ms);
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit - limit / RESPONSE_MARGIN))
            .set_min_delay(Duration::from_millis(settings.retry_min_ms))
            .set_max_delay(Duration::from_millis(settings.retry_max_ms));
        let interrupted = Arc::new(Notify::new());
        let listener = Listener {
            client: client.clone(),
            settings: Arc::clone(settings),
            events,
            interrupted: Arc::clone(&interrupted),
            counters: Arc::clone(counters),
        };
        Ok(Self {
            link: Link::new(client, config).map_err(|_| LiveError::Address)?,
            settings: Arc::clone(settings),
            interrupted,
            listener: tokio::spawn(listener.listen()),
        })
    }

    fn keys(&self, tenant: &str) -> [String; 2] {
        let prefix = &self.settings.key_prefix;
        [
            format!("{prefix}head:{tenant}"),
            format!("{prefix}log:{tenant}"),
        ]
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, drafts: &[Draft]) -> Result<(), LiveError> {
        let mut publish = PUBLISH.prepare_invoke();
        publish
            .arg(Uuid::new_v4().to_string())
            .arg(self.settings.history_updates)
            .arg(self.settings.history_ttl_s)
            .arg(channel(&self.settings));
        for draft in drafts {
            let [head, log] = self.keys(&draft.tenant);
            let body = serde_json::to_string(&draft.body).map_err(|_| away("no JSON"))?;
            publish.key(head).key(log).arg(&draft.tenant).arg(body);
        }
        let mut link = self.link.clone();
        within(&self.settings, publish.invoke_async(&mut link)).await
    }

    async fn since(&self, tenant: &str, after: Option<&Position>) -> Result<Replay, LiveError> {
        let [head, log] = self.keys(tenant);
        let mut since = SINCE.key(head);
        since
            .key(log)
            .arg(Uuid::new_v4().to_string())
            .arg(self.settings.history_ttl_s)
            .arg(after.map_or("", |after| &after.epoch))
            .arg(after.map_or(0, |after| after.seq.saturating_add(1)));
        let mut link = self.link.clone();
        let found = since.invoke_async::<(String, u64, Vec<(String, Vec<String>)>)>(&mut link);
        let (epoch, seq, rows) = within(&self.settings, found).await?;
        // What cannot be read is missing, and so a gap.
        let kept = rows
            .iter()
            .filter_map(|(id, fields)| entry(id.strip_suffix("-0")?, fields.get(1)?));
        Ok(Replay::new(Position { epoch, seq }, after, kept.collect()))
    }

    async fn interrupted(&self) {
        self.interrupted.notified().await;
    }

    fn hurry(&self) {
        if let Err(error) = self.link.renew() {
            tracing::debug!(%error, "the connection for live updates was not made anew");
        }
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the address, which may hold a password.
        f.debug_struct("RedisBus").finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens for ever, connecting again whenever the connection breaks.
    async fn listen(self) {
        let first = Duration::from_millis(self.settings.retry_min_ms);
        let longest = Duration::from_millis(self.settings.retry_max_ms);
        let mut pause = first;
        loop {
            if self.listen_once().await.is_ok() {
                pause = first;
            }
            self.counters.failed(Part::Channel);
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Listens until the connection breaks, or is silent where it ought to answer.
    async fn listen_once(&self) -> Result<(), LiveError> {
        let connect = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(channel(&self.settings)).await?;
            Ok::<_, RedisError>(connection.split())
        };
        let (mut sink, mut messages) = within(&self.settings, connect).await?;
        self.counters.answered(Part::Channel);
        // What was said before is in the logs.
        self.interrupted.notify_one();
        let every = Duration::from_millis(self.settings.check_ms);
        let mut period = interval_at(Instant::now() + every, every);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = period.tick() => {
                    within(&self.settings, sink.ping::<Value>()).await?;
                    continue;
                }
            };
            let Some(message) = message else {
                return Ok(());
            };
            let Some(event) = event(message.get_payload_bytes()) else {
                tracing::warn!("a live update from another process was not understood");
                continue;
            };
            // What does not fit is fetched from the log when its number is missed.
            if self.events.try_send(event).is_err() {
                self.interrupted.notify_one();
            }
        }
    }
}

impl From<RedisError> for LiveError {
    fn from(error: RedisError) -> Self {
        // The category and the server's own code, and no detail: that may repeat a value.
        match error.code() {
            Some(code) => away(&format!("{}: {code}", error.category())),
            None => away(error.category()),
        }
    }
}

fn script(rest: &str) -> Script {
    Script::new(&format!("{EPOCH}{rest}"))
}

/// What Redis answers in time.
async fn within<T>(
    settings: &LiveSettings,
    answer: impl Future<Output = RedisResult<T>>,
) -> Result<T, LiveError> {
    let limit = Duration::from_millis(settings.timeout_ms);
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(away("no answer in time")),
    }
}

fn away(reason: &str) -> LiveError {
    LiveError::Away {
        reason: reason.to_owned(),
    }
}

fn channel(settings: &LiveSettings) -> String {
    format!("{}channel", settings.key_prefix)
}

fn event(payload: &[u8]) -> Option<Event> {
    let (tenant, epoch, seq, body): (String, String, String, String) =
        serde_json::from_slice(payload).ok()?;
    let entry = entry(&seq, &body)?;
    Some(Event {
        tenant,
        epoch,
        entry,
    })
}

fn entry(seq: &str, body: &str) -> Option<Entry> {
    let body: Body = serde_json::from_str(body).ok()?;
    Some(Entry {
        seq: seq.parse().ok()?,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_update_is_no_event() {
        let body = serde_json::to_string(&Body::new(None)).unwrap_or_default();
        let told = serde_json::json!(["t", "e", "12", body]).to_string();
        let event_ = event(told.as_bytes()).map(|event| (event.tenant, event.entry.seq));
        assert_eq!(event_, Some(("t".to_owned(), 12)));
        for wrong in [
            "",
            "[]",
            "[\"t\",\"e\",\"12\",\"{}\"]",
            &told.replace("12", "x"),
        ] {
            assert!(event(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_wrong_address_is_not_repeated() {
        let (events, _) = mpsc::channel(1);
        let bus = RedisBus::new(
            "mysql://u:secret@host/",
            &Arc::default(),
            events,
            &Arc::default(),
        );
        let text = bus
            .map(|_| String::new())
            .unwrap_or_else(|error| error.to_string());
        assert!(text.contains("redis://"), "{text:?} names no remedy");
        assert!(!text.contains("secret"), "{text:?}");
    }
}
