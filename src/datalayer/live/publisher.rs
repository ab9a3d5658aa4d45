//! What carries updates from those who publish to the bus, and past it while it is away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::hub::Shared;
use super::stats::Part;
use super::update::{Body, Draft};

/// The only task that publishes, so that updates keep their order.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Draft>,
    /// Asked to try once more, whatever pause there is, and to say when that is done.
    last_calls: mpsc::Receiver<oneshot::Sender<()>>,
    /// While the bus is away: when it is tried again, and after which pause that is.
    away: Option<(Instant, Duration)>,
}

impl Publisher {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Draft>,
        last_calls: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> Self {
        Self {
            shared,
            queue,
            last_calls,
            away: None,
        }
    }

    /// Carries until nobody can publish any more.
    pub(super) async fn run(mut self) {
        let most = self.shared.settings.batch_max_updates;
        let mut drafts = Vec::new();
        loop {
            let retry_at = self.away.map(|(at, _)| at);
            let mut last_call = None;
            tokio::select! {
                received = self.queue.recv_many(&mut drafts, most) => {
                    if received == 0 {
                        return;
                    }
                }
                () = wait_until(retry_at) => {}
                () = self.shared.owing.notified() => {}
                Some(call) = self.last_calls.recv() => {
                    if self.away.take().is_some() {
                        self.shared.bus.hurry();
                    }
                    last_call = Some(call);
                }
            }
            let count = drafts.len();
            self.carry(std::mem::take(&mut drafts)).await;
            self.shared
                .carried
                .fetch_add(count as u64, Ordering::Relaxed);
            if let Some(call) = last_call {
                // Whoever asked may have given up.
                let _ = call.send(());
            }
        }
    }

    async fn carry(&mut self, drafts: Vec<Draft>) {
        let now = Instant::now();
        if self.away.is_some_and(|(retry_at, _)| now < retry_at) {
            self.shared.deliver_past_the_log(drafts);
            return;
        }
        // Whoever missed what was not published hears of that first.
        let owed = self.shared.owed();
        let mark = |tenant: &String| Draft {
            tenant: tenant.clone(),
            body: Body::new(None),
        };
        let mut all: Vec<Draft> = owed.iter().map(mark).collect();
        all.extend(drafts.iter().cloned());
        if all.is_empty() {
            self.away = None;
            return;
        }
        match self.shared.bus.publish(&all).await {
            Ok(()) => {
                self.away = None;
                self.shared.counters.answered(Part::Log);
            }
            Err(error) => {
                tracing::debug!(%error, "live updates were not published");
                self.shared.counters.failed(Part::Log);
                let settings = &self.shared.settings;
                let first = Duration::from_millis(settings.retry_min_ms);
                let longest = Duration::from_millis(settings.retry_max_ms);
                let pause = self
                    .away
                    .map_or(first, |(_, pause)| (pause * 2).min(longest));
                self.away = Some((Instant::now() + pause, pause));
                self.shared.owe(owed);
                self.shared.deliver_past_the_log(drafts);
            }
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// The tenants that are still to be told of a gap, which are told now.
    fn owed(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.lock_owed())
    }

    fn owe(&self, tenants: impl IntoIterator<Item = String>) {
        self.lock_owed().extend(tenants);
    }

    /// Delivers within this process, and owes everybody else a gap.
    pub(super) fn deliver_past_the_log(&self, drafts: Vec<Draft>) {
        for draft in drafts {
            if let Some(tenant) = self.tenant(&draft.tenant) {
                tenant.deliver(draft.body);
            }
            self.owe([draft.tenant]);
        }
    }
}
