//! How long a job waits between two attempts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

use crate::datalayer::config::JobSettings;

/// The pause after the attempt of that number, counted from 1, has failed: `backoff_min_ms`, doubled with
/// each further attempt up to `backoff_max_ms`, and up to twice as long by chance, so that what failed
/// together does not come again together.
pub(super) fn delay(settings: &JobSettings, attempt: i64) -> Duration {
    let nth = usize::try_from(attempt - 1).unwrap_or(0);
    let max = Duration::from_millis(settings.backoff_max_ms);
    let mut delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(settings.backoff_min_ms))
        .with_max_delay(max)
        .without_max_times()
        .with_jitter()
        .build();
    delays.nth(nth).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_cap() {
        let settings = JobSettings {
            backoff_min_ms: 1000,
            backoff_max_ms: 5000,
            ..JobSettings::default()
        };
        let check = |attempt, least_ms| {
            let pause = delay(&settings, attempt);
            let least = Duration::from_millis(least_ms);
            assert!(
                (least..=2 * least).contains(&pause),
                "attempt {attempt}: {pause:?}"
            );
        };
        for _ in 0..100 {
            check(1, 1000);
            check(2, 2000);
            check(3, 4000);
            check(4, 5000);
            check(60, 5000);
        }
    }
}
