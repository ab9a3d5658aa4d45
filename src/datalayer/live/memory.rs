//! The logs of one process, which end with it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::bus::{Bus, Event, LiveError, Replay};
use super::update::{Draft, Entry, Position};

/// The embedded bus. Its epoch is its own, so that whoever comes back after a restart is told of a gap.
#[derive(Debug)]
pub(super) struct MemoryBus {
    epoch: String,
    history_updates: usize,
    logs: Mutex<HashMap<String, Log>>,
    events: mpsc::Sender<Event>,
}

/// The last entries of a tenant.
#[derive(Debug, Default)]
struct Log {
    seq: u64,
    kept: VecDeque<Entry>,
}

impl MemoryBus {
    pub(super) fn new(history_updates: usize, events: mpsc::Sender<Event>) -> Self {
        Self {
            epoch: Uuid::new_v4().to_string(),
            history_updates,
            logs: Mutex::default(),
            events,
        }
    }

    fn enter(&self, draft: &Draft) -> Entry {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry(draft.tenant.clone()).or_default();
        log.seq += 1;
        let entry = Entry {
            seq: log.seq,
            body: draft.body.clone(),
        };
        if log.kept.len() >= self.history_updates {
            log.kept.pop_front();
        }
        log.kept.push_back(entry.clone());
        entry
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, drafts: &[Draft]) -> Result<(), LiveError> {
        for draft in drafts {
            let event = Event {
                tenant: draft.tenant.clone(),
                epoch: self.epoch.clone(),
                entry: self.enter(draft),
            };
            // Nobody hears it when the hub has gone.
            let _ = self.events.send(event).await;
        }
        Ok(())
    }

    async fn since(&self, tenant: &str, after: Option<&Position>) -> Result<Replay, LiveError> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.get(tenant);
        let head = Position {
            epoch: self.epoch.clone(),
            seq: log.map_or(0, |log| log.seq),
        };
        let kept = log.zip(after).map(|(log, after)| {
            let later = log.kept.iter().filter(|entry| entry.seq > after.seq);
            later.cloned().collect()
        });
        Ok(Replay::new(head, after, kept.unwrap_or_default()))
    }

    async fn interrupted(&self) {
        std::future::pending().await
    }
}
