//! Waiting for a flag.

use tokio::sync::watch;

/// Waits until the flag is true; for ever where nobody is left who could raise it.
pub(super) async fn became_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending::<()>().await;
    }
}
