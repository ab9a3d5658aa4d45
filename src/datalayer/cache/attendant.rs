//! What is said to the second tier on the cache's own account, in the background: the news that it
//! missed, and the signature in its register.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::guarded::{Account, Guarded, Silence};
use super::missed::Change;
use super::register::{Register, Roll};
use super::{Scope, SecondTier};

/// What the attendant has before it.
#[derive(Debug)]
pub(super) struct Desk {
    roll: Roll,
    sign_at: Instant,
    closed: bool,
}

/// Serves the tier until nobody uses it any more: at every beat, when there is news, and when it is
/// time to see whether the tier is back.
pub(super) async fn attend(guarded: Weak<Guarded>, news: Arc<Notify>) {
    while let Some(guarded) = guarded.upgrade() {
        if let Some(tier) = guarded.tier.as_deref() {
            // What fails is still to be done the next time; the circuit has said why.
            let _ = guarded.serve(tier).await;
        }
        let rest = guarded.rest();
        drop(guarded);
        // Either is a reason to look again.
        let _ = timeout(rest, news.notified()).await;
    }
}

impl Desk {
    pub(super) fn new(absent: Duration) -> Self {
        Self {
            roll: Roll::new(absent),
            sign_at: Instant::now(),
            closed: false,
        }
    }
}

impl Guarded {
    /// Tells what is still to be told; only then does the name go from the register.
    pub(super) async fn close(&self) {
        let Some(tier) = self.tier.as_deref() else {
            return;
        };
        let mut desk = self.desk.lock().await;
        desk.closed = true;
        if self.tell(tier).await.is_ok()
            && let Some(register) = tier.register()
            && self
                .strike(register, std::slice::from_ref(&self.name))
                .await
                .is_ok()
        {
            tracing::debug!("the second cache tier is left with everything told");
        }
    }

    /// What there is to be done for the tier.
    async fn serve(&self, tier: &dyn SecondTier) -> Result<(), Silence> {
        let mut desk = self.desk.lock().await;
        if desk.closed {
            return Ok(());
        }
        self.tell(tier).await?;
        match tier.register() {
            Some(register) if Instant::now() >= desk.sign_at || self.is_probe_due() => {
                self.sign(tier, register, &mut desk).await?;
                self.note_usage(tier).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn tell(&self, tier: &dyn SecondTier) -> Result<(), Silence> {
        while let Some(change) = self.missed.next(Instant::now()) {
            match &change {
                Change::Scope(scope) => {
                    let scopes = std::slice::from_ref(scope);
                    self.tell_of(Account::Attendant, tier, &self.name, scopes)
                        .await?;
                }
                Change::Lease { key, token, .. } => {
                    let release = tier.release(key, token);
                    self.call(Account::Attendant, release).await?;
                }
            }
            self.missed.confirmed();
        }
        Ok(())
    }

    /// Signs the register, and clears the tier where a process has ended without taking leave.
    async fn sign(
        &self,
        tier: &dyn SecondTier,
        register: &dyn Register,
        desk: &mut Desk,
    ) -> Result<(), Silence> {
        let asked_at = Instant::now();
        let sign = register.sign(&self.name);
        let others = self.call(Account::Attendant, sign).await?;
        let gone = desk.roll.read(others, asked_at, Instant::now());
        if !gone.is_empty() {
            self.settled.store(false, Ordering::Release);
            // In nobody's name: the first tier of this process does not know either what they left.
            self.tell_of(Account::Attendant, tier, "", &[Scope::All])
                .await?;
            self.strike(register, &gone).await?;
            desk.roll.cleared(&gone);
            let processes = gone.len();
            tracing::warn!(
                processes,
                "the second cache tier was cleared: its users have ended without taking leave"
            );
        }
        self.settled
            .store(desk.roll.is_settled(), Ordering::Release);
        desk.sign_at = asked_at + self.beat;
        Ok(())
    }

    async fn strike(&self, register: &dyn Register, names: &[String]) -> Result<(), Silence> {
        self.call(Account::Attendant, register.strike(names)).await
    }
}
