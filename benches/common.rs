//! What the benches share.

use std::time::Duration;

use criterion::Criterion;
use tokio::runtime::{Builder, Runtime};

/// Quick, because Plimsoll invokes each executable several times.
pub(crate) fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(500))
        .sample_size(20)
        // Plimsoll reads the samples and draws its own pictures; this keeps the executable quick.
        .nresamples(10_000)
        .without_plots()
}

/// One thread: what is measured is work, not the scheduling of a busy machine.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built")
}
