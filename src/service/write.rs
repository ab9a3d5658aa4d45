//! Writes that run to their end, whether or not the client still waits: what was changed in the
//! database must also be forgotten by the cache.

use std::convert::Infallible;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::error::{ApiError, chain};

/// The client of a write, as the write sees it: there, or gone, and how long it waits.
#[derive(Debug)]
pub(super) struct Client {
    gone: oneshot::Sender<Infallible>,
    deadline: Instant,
}

/// Runs `write` as a task of its own, which goes on when the caller is dropped.
pub(super) async fn to_the_end<T, F>(write: impl FnOnce() -> F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    settled(tokio::spawn(write())).await
}

/// As [`to_the_end`], for a write of many steps, which asks the [`Client`] where it can stop. At the deadline
/// the caller hears from `late` how far it was, and the write still ends its step.
pub(super) async fn to_the_deadline<T, F>(
    deadline: Instant,
    write: impl FnOnce(Client) -> F,
    late: impl FnOnce() -> ApiError,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    // Nothing is ever sent: what tells is that the receiver goes with the caller.
    let (gone, _waiting) = oneshot::channel();
    let write = tokio::spawn(write(Client { gone, deadline }));
    tokio::select! {
        biased;
        ended = settled(write) => ended,
        () = sleep_until(deadline) => Err(late()),
    }
}

async fn settled<T>(write: JoinHandle<Result<T, ApiError>>) -> Result<T, ApiError> {
    let ended = write.await;
    ended.unwrap_or_else(|gone| match gone.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(gone) => Err(ApiError::internal(chain(&gone))),
    })
}

impl Client {
    /// An error once nobody waits any more.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.gone.is_closed() || Instant::now() >= self.deadline {
            return Err(ApiError::timed_out());
        }
        Ok(())
    }

    /// What `step` gives, or an error if the client goes away before, or has waited for as long as it
    /// may. `step` must be safe to drop.
    pub(super) async fn or_gone<T>(
        &mut self,
        step: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            () = self.gone.closed() => Err(ApiError::timed_out()),
            () = sleep_until(self.deadline) => Err(ApiError::timed_out()),
            value = step => Ok(value),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    fn in_an_hour() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[tokio::test]
    async fn a_write_outlives_its_client_and_knows_it() {
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let caller = tokio::spawn(to_the_deadline(
            in_an_hour(),
            async move |mut client: Client| {
                assert!(client.check().is_ok());
                assert_eq!(client.or_gone(async { 7 }).await.unwrap(), 7);
                begin.send(()).unwrap();
                let gone = client.or_gone(pending::<()>()).await.is_err();
                end.send(gone && client.check().is_err()).unwrap();
                Ok(())
            },
            ApiError::timed_out,
        ));
        begun.await.unwrap();
        caller.abort();
        assert!(ended.await.unwrap());
    }

    #[tokio::test]
    async fn a_write_hears_of_its_deadline_and_ends_its_step() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let (go, gone_on) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let write = async move |mut client: Client| {
            let read = client.or_gone(pending::<()>()).await;
            let heard = read.is_err() && client.check().is_err();
            gone_on.await.unwrap();
            end.send(heard).unwrap();
            Ok(())
        };
        let told = to_the_deadline(deadline, write, || ApiError::not_found("time"));
        let error = told.await.unwrap_err();
        assert!(!error.is_ours(), "it is the one that says how far it was");
        assert!(Instant::now() >= deadline);
        go.send(()).unwrap();
        assert!(ended.await.unwrap());
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let caller = tokio::spawn(to_the_end(async || -> Result<(), ApiError> {
            panic!("as planned")
        }));
        assert!(caller.await.unwrap_err().is_panic());
    }
}
