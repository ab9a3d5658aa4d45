//! How the first tier hears what others change in the second.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::stats::Counters;
use super::{Scope, TierError};

/// What a [`Subscription`] brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody else has changed this.
    Change(Vec<Scope>),
    /// Something may have been missed before; nothing will be from here on.
    Gap,
}

/// The news of a second tier for one of its users.
#[async_trait]
pub trait Subscription: Debug + Send {
    /// Waits for the next news, and connects where that is necessary.
    ///
    /// # Errors
    /// No news can be had; the next call tries to connect again.
    async fn next(&mut self) -> Result<Heard, TierError>;
}

/// Who keeps values that others may change.
#[async_trait]
pub(super) trait Hear: Send + Sync {
    /// Drops what this is about, and does not keep what is being read of it.
    async fn forget(&self, scope: &Scope);
}

/// One listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) subscription: Box<dyn Subscription>,
    /// Set while everything is heard.
    pub(super) hearing: Arc<AtomicBool>,
    pub(super) counters: Arc<Counters>,
    pub(super) pause_min: Duration,
    pub(super) pause_max: Duration,
}

impl Listener {
    /// Passes on what is heard until there is nobody to pass it to. When news could not be had for a
    /// while, everything is forgotten once they can be had again.
    pub(super) async fn listen(mut self, first: Weak<dyn Hear>) {
        let mut pause = self.pause_min;
        let mut refused = false;
        loop {
            let heard = self.subscription.next().await;
            let Some(first) = first.upgrade() else {
                return;
            };
            match heard {
                Ok(Heard::Change(scopes)) => {
                    for scope in &scopes {
                        first.forget(scope).await;
                        self.counters.heard.add_one();
                    }
                }
                Ok(Heard::Gap) => {
                    first.forget(&Scope::All).await;
                    self.counters.gaps.add_one();
                    self.hearing.store(true, Ordering::Release);
                    (pause, refused) = (self.pause_min, false);
                }
                Err(error) => {
                    drop(first);
                    self.hearing.store(false, Ordering::Release);
                    // An outage is told by the circuit.
                    if !matches!(error, TierError::Away { .. }) && !refused {
                        refused = true;
                        tracing::warn!(
                            %error,
                            "the second cache tier is not used: what other processes change cannot \
                             be heard; may this user subscribe to its channel?"
                        );
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(self.pause_max);
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Debug)]
    struct Scripted(mpsc::UnboundedReceiver<Option<Heard>>);

    #[async_trait]
    impl Subscription for Scripted {
        async fn next(&mut self) -> Result<Heard, TierError> {
            let heard = self.0.recv().await.flatten();
            heard.ok_or(TierError::Away {
                reason: "for a test".to_owned(),
            })
        }
    }

    #[derive(Default)]
    struct Forgotten(Mutex<Vec<Scope>>);

    #[async_trait]
    impl Hear for Forgotten {
        async fn forget(&self, scope: &Scope) {
            self.0.lock().unwrap().push(scope.clone());
        }
    }

    #[tokio::test]
    async fn after_silence_everything_is_forgotten_before_anything_is_trusted() {
        let (script, heard) = mpsc::unbounded_channel();
        let forgotten = Arc::new(Forgotten::default());
        let hearing = Arc::new(AtomicBool::default());
        let listener = Listener {
            subscription: Box::new(Scripted(heard)),
            hearing: Arc::clone(&hearing),
            counters: Arc::default(),
            pause_min: MS,
            pause_max: 5 * MS,
        };
        let listener_of = Arc::downgrade(&forgotten) as Weak<dyn Hear>;
        let task = tokio::spawn(listener.listen(listener_of));
        let key = Scope::Key("k".to_owned());
        let check = async |heard: Option<Heard>, scopes: &[Scope], hears: bool| {
            script.send(heard).unwrap();
            let as_expected = async {
                while *forgotten.0.lock().unwrap() != scopes
                    || hearing.load(Ordering::Acquire) != hears
                {
                    sleep(MS).await;
                }
            };
            timeout(5000 * MS, as_expected).await.expect("it is heard");
            forgotten.0.lock().unwrap().clear();
        };
        check(None, &[], false).await;
        check(Some(Heard::Gap), &[Scope::All], true).await;
        let change = || Some(Heard::Change(vec![key.clone()]));
        check(change(), std::slice::from_ref(&key), true).await;
        check(None, &[], false).await;
        check(Some(Heard::Gap), &[Scope::All], true).await;
        drop(forgotten);
        script.send(change()).unwrap();
        task.await.unwrap();
    }
}
