//! Writes that run to their end, whether or not the client still waits: what was changed in the
//! database must also be forgotten by the cache.

use std::convert::Infallible;

use tokio::sync::oneshot;

use super::error::{ApiError, chain};

/// The client of a write, as the write sees it: there, or gone.
#[derive(Debug)]
pub(super) struct Client(oneshot::Sender<Infallible>);

/// Runs `write` as a task of its own, which goes on when the caller is dropped. A write that takes
/// long asks the [`Client`] where it can stop.
pub(super) async fn to_the_end<T, F>(write: impl FnOnce(Client) -> F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    // Nothing is ever sent: what tells is that the receiver goes with the caller.
    let (client, _waiting) = oneshot::channel();
    let ended = tokio::spawn(write(Client(client))).await;
    ended.unwrap_or_else(|gone| match gone.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(gone) => Err(ApiError::internal(chain(&gone))),
    })
}

impl Client {
    /// An error once nobody waits any more.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.0.is_closed() {
            return Err(ApiError::timed_out());
        }
        Ok(())
    }

    /// What `read` gives, or an error if the client goes away before. `read` must be safe to drop.
    pub(super) async fn or_gone<T>(
        &mut self,
        read: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            () = self.0.closed() => Err(ApiError::timed_out()),
            value = read => Ok(value),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_write_outlives_its_client_and_knows_it() {
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let caller = tokio::spawn(to_the_end(async move |mut client: Client| {
            assert!(client.check().is_ok());
            assert_eq!(client.or_gone(async { 7 }).await.unwrap(), 7);
            begin.send(()).unwrap();
            let gone = client.or_gone(pending::<()>()).await.is_err();
            end.send(gone && client.check().is_err()).unwrap();
            Ok(())
        }));
        begun.await.unwrap();
        caller.abort();
        assert!(ended.await.unwrap());
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let caller = tokio::spawn(to_the_end(async |_| -> Result<(), ApiError> {
            panic!("as planned")
        }));
        assert!(caller.await.unwrap_err().is_panic());
    }
}
