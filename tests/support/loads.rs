//! What holds of every load, whatever its server did.

use std::collections::BTreeMap;

use plimsoll::harness::model::{
    Counts, ErrorKind, LatencyHistogram, LoadMeasurement, Outcome, Phase,
};

/// Demands that everything adds up: iterations over all and over time, requests by outcome and by kind
/// of failure.
pub(crate) fn check_arithmetic(load: &LoadMeasurement) {
    assert!(load.counts.adds_up(), "{:?}", load.counts);
    let mut windows = Counts::default();
    for window in &load.windows {
        assert!(window.counts.adds_up(), "{window:?}");
        if window.phase == Phase::Measure {
            windows.add(&window.counts);
        }
    }
    assert_eq!(
        windows, load.counts,
        "the windows don't add up to the measure phase"
    );
    assert_eq!(load.iteration.count(), load.counts.completed);
    for series in &load.requests {
        let ended = |of: &BTreeMap<Outcome, LatencyHistogram>| -> u64 {
            of.values().map(LatencyHistogram::count).sum()
        };
        assert_eq!(ended(&series.response), ended(&series.service));
        let failed = series.response.get(&Outcome::Failed);
        let tallied: u64 = series
            .errors
            .iter()
            .filter(|(kind, _)| !matches!(kind, ErrorKind::Cancelled | ErrorKind::Template))
            .map(|(_, tally)| tally.count)
            .sum();
        assert_eq!(failed.map_or(0, LatencyHistogram::count), tallied);
    }
}
