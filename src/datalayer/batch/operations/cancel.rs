//! Telling a run to end.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells one run to end after the batch that is under way. Clones are the same.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Cancel {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Tells the run; at once when it waits for another attempt.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether the run was told.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the run was told.
    pub(super) async fn cancelled(&self) {
        // The sender is held here, so that the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|told| *told).await;
    }
}
