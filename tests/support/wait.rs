//! Waiting for what should happen soon.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use super::Tested;

const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again, for so long at most.
pub(crate) fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<T, Box<dyn Error>> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if began.elapsed() > within {
            return Err(format!("not within {within:?}: {what}").into());
        }
        thread::sleep(PAUSE);
    }
}

/// As [`until`], for what has to be awaited itself.
pub(crate) async fn until_async(
    what: &str,
    within: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) -> Tested {
    let began = Instant::now();
    while !holds().await {
        if began.elapsed() > within {
            return Err(format!("not within {within:?}: {what}").into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
