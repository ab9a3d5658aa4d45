//! What keeps the logs of tenants, and tells every process of a new entry.

use async_trait::async_trait;

use super::update::{Draft, Entry, Position};

/// What a bus tells of a tenant's log. It may be lost on the way; the numbers tell.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) tenant: String,
    pub(super) epoch: String,
    pub(super) entry: Entry,
}

/// A look into a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// The end of the log.
    pub(super) head: Position,
    /// All entries after the place that was named, up to the end; `None` where some are not kept any more,
    /// or were never of this log.
    pub(super) entries: Option<Vec<Entry>>,
}

/// The logs of all tenants.
#[async_trait]
pub(super) trait Bus: Send + Sync {
    /// Enters updates in this order and tells all processes. After an error some may be in, or all.
    async fn publish(&self, drafts: &[Draft]) -> Result<(), LiveError>;

    /// What came after a place; after none, just where the log ends.
    async fn since(&self, tenant: &str, after: Option<&Position>) -> Result<Replay, LiveError>;

    /// Waits until the bus may have said something that did not come here.
    async fn interrupted(&self);

    /// Has the next call reach for the logs at once, whatever pause there is after failures.
    fn hurry(&self) {}
}

/// Why live updates cannot be had across processes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// The address is not well formed. It is not repeated: it may hold a password.
    #[error("the address of Redis for live updates was not understood: use redis://HOST:PORT/")]
    Address,
    /// Redis does not answer, or not as it should.
    #[error("Redis does not serve live updates ({reason}): see whether it is up")]
    Away {
        /// What kind of failure it was.
        reason: String,
    },
}

impl Replay {
    /// The entries after `after` of a log that ends at `head`, of which `kept` are still there.
    pub(super) fn new(head: Position, after: Option<&Position>, kept: Vec<Entry>) -> Self {
        let entries = match after {
            None => Some(Vec::new()),
            Some(after) => {
                let same = after.epoch == head.epoch && after.seq <= head.seq;
                let whole = same && kept.len() as u64 == head.seq - after.seq;
                let mut numbers = kept.iter().zip(after.seq..);
                (whole && numbers.all(|(entry, before)| entry.seq == before + 1)).then_some(kept)
            }
        };
        Self { head, entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datalayer::live::update::Body;

    #[test]
    fn what_is_not_whole_is_a_gap() {
        let at = |epoch: &str, seq| Position {
            epoch: epoch.to_owned(),
            seq,
        };
        let check = |after: Option<Position>, kept: &[u64], whole: bool| {
            let entry = |seq: &u64| Entry {
                seq: *seq,
                body: Body::new(None),
            };
            let kept: Vec<Entry> = kept.iter().map(entry).collect();
            let replay = Replay::new(at("e", 9), after.as_ref(), kept);
            assert_eq!(replay.entries.is_some(), whole, "{after:?}");
        };
        check(None, &[], true);
        check(Some(at("e", 9)), &[], true);
        check(Some(at("e", 7)), &[8, 9], true);
        check(Some(at("e", 6)), &[8, 9], false);
        check(Some(at("e", 7)), &[], false);
        check(Some(at("e", 7)), &[7, 9], false);
        check(Some(at("e", 10)), &[], false);
        check(Some(at("e", u64::MAX)), &[], false);
        check(Some(at("f", 9)), &[], false);
    }
}
