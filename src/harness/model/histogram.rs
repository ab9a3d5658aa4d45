//! A latency histogram: HDR, 1 µs to 1 h, three significant digits, mergeable.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::packed::Packed;

/// The smallest latency that is told apart from zero: 1 µs.
const MIN_LATENCY_NS: u64 = 1_000;
/// The largest latency that is recorded as it is: 1 h. Larger ones are counted there.
const MAX_LATENCY_NS: u64 = 3_600_000_000_000;
/// The number of significant decimal digits that are kept.
const SIGNIFICANT_DIGITS: u8 = 3;
/// A serialised histogram larger than this is refused before it is decoded. The dense form of our
/// bounds is about 250 KB; the V2 encoding of it can't be larger than ten bytes a slot.
const MAX_ENCODED_BYTES: usize = 1 << 20;

/// Latencies in nanoseconds. Any two can be merged, so a worker's file merges with any other's.
///
/// Serialised as the base64 text of the HDR "V2" encoding, which every HDR library reads.
///
/// A histogram that is written to is about 200 KB of counters. A long run holds thousands of them,
/// one per request and second, which nobody writes to any more; so an empty one has no counters,
/// and one that was read back or [packed](Self::pack) keeps its encoding (about 1 KB) until it is
/// written to again.
#[derive(Clone)]
pub struct LatencyHistogram(Form);

#[derive(Clone)]
enum Form {
    Empty,
    Open(Histogram<u64>),
    Packed(Packed),
}

/// Why a serialised histogram was refused.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// The text is larger than any histogram of ours.
    #[error("a histogram of {0} bytes is larger than the {MAX_ENCODED_BYTES} that one can have")]
    TooLarge(usize),
    /// The text is not base64.
    #[error("not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The bytes are not an HDR V2 histogram.
    #[error("not an HDR V2 histogram: {0}")]
    NotV2(&'static str),
    /// The bounds differ from ours, so merging would lose digits.
    #[error(
        "a histogram with the bounds {low_ns}–{high_ns} ns at {digits} digits; expected {MIN_LATENCY_NS}–{MAX_LATENCY_NS} at {SIGNIFICANT_DIGITS}"
    )]
    Bounds {
        /// Its lowest discernible value.
        low_ns: u64,
        /// Its highest trackable value.
        high_ns: u64,
        /// Its significant digits.
        digits: u32,
    },
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self(Form::Empty)
    }

    /// Counts one latency; one beyond 1 h is counted there.
    pub fn record(&mut self, latency_ns: u64) {
        self.open().saturating_record(latency_ns);
    }

    /// Adds all of `other`'s latencies.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (_, Form::Empty) => {}
            (form @ Form::Empty, other) => *form = other.clone(),
            (_, Form::Open(other)) => self
                .open()
                .add(other)
                .expect("BUG: all our histograms have the same bounds"),
            // A window has some hundred of the 24,000 slots; a report merges thousands of windows.
            (_, Form::Packed(other)) => {
                let counters = self.open();
                for (latency_ns, count) in other.latencies() {
                    counters.saturating_record_n(latency_ns, count);
                }
            }
        }
    }

    /// Gives up the memory of the counters until the next [`record`](Self::record) or
    /// [`merge`](Self::merge). Reading stays possible, but decodes each time.
    pub fn pack(&mut self) {
        if let Form::Open(histogram) = &self.0 {
            self.0 = match histogram.len() {
                0 => Form::Empty,
                _ => Form::Packed(Packed::of(histogram)),
            };
        }
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Empty => 0,
            Form::Open(histogram) => histogram.len(),
            Form::Packed(packed) => packed.count(),
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The latency in ns at `quantile` (0 to 1), or `None` for an empty histogram.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        self.quantiles_ns([quantile]).first().copied()
    }

    /// The latencies in ns at quantiles (0 to 1) that ascend, by reading the counters once; nothing
    /// for an empty histogram.
    pub fn quantiles_ns(&self, ascending: impl IntoIterator<Item = f64>) -> Vec<u64> {
        if self.is_empty() {
            return Vec::new();
        }
        let counters = self.counters();
        counters
            .value_at_quantiles(ascending)
            .map(|ns| ns.min(counters.max()))
            .collect()
    }

    /// How many latencies are expected beyond `quantile`: the number on which a quantile rests.
    pub fn beyond(&self, quantile: f64) -> f64 {
        self.count() as f64 * (1.0 - quantile)
    }

    /// How many latencies are at most as large as each of `ascending_ns`, by reading the counters once.
    pub fn counts_up_to(&self, ascending_ns: &[u64]) -> Vec<u64> {
        let counters = self.counters();
        let mut recorded = counters.iter_recorded().peekable();
        let mut count = 0;
        ascending_ns
            .iter()
            .map(|edge_ns| {
                while let Some(bucket) = recorded.next_if(|it| it.value_iterated_to() <= *edge_ns) {
                    count += bucket.count_at_value();
                }
                count
            })
            .collect()
    }

    /// The mean in ns, or `None` for an empty histogram.
    pub fn mean_ns(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.counters().mean())
    }

    /// The largest latency in ns (to three digits), or `None` for an empty histogram.
    pub fn max_ns(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.counters().max())
    }

    /// The HDR V2 encoding in base64.
    pub fn encode(&self) -> String {
        match &self.0 {
            Form::Packed(packed) => STANDARD.encode(packed.bytes()),
            _ => STANDARD.encode(Packed::of(&self.counters()).bytes()),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. The text is hostile until this has checked it.
    pub fn decode(text: &str) -> Result<Self, HistogramError> {
        if text.len() > MAX_ENCODED_BYTES {
            return Err(HistogramError::TooLarge(text.len()));
        }
        let packed = Packed::read(STANDARD.decode(text)?)?;
        Ok(Self(match packed.count() {
            0 => Form::Empty,
            _ => Form::Packed(packed),
        }))
    }

    /// The counters, to read.
    fn counters(&self) -> Cow<'_, Histogram<u64>> {
        match &self.0 {
            Form::Empty => Cow::Owned(empty()),
            Form::Open(histogram) => Cow::Borrowed(histogram),
            Form::Packed(packed) => Cow::Owned(packed.open()),
        }
    }

    /// The counters, to write.
    fn open(&mut self) -> &mut Histogram<u64> {
        if !matches!(self.0, Form::Open(_)) {
            self.0 = Form::Open(self.counters().into_owned());
        }
        match &mut self.0 {
            Form::Open(histogram) => histogram,
            Form::Empty | Form::Packed(_) => unreachable!("BUG: it was opened just above"),
        }
    }
}

/// Counters of nothing.
pub(super) fn empty() -> Histogram<u64> {
    let (low_ns, high_ns, _) = bounds();
    Histogram::new_with_bounds(low_ns, high_ns, SIGNIFICANT_DIGITS)
        .expect("BUG: the constant bounds are valid")
}

/// The smallest and the largest latency in ns and the digits of all our histograms.
pub(super) fn bounds() -> (u64, u64, u32) {
    (
        MIN_LATENCY_NS,
        MAX_LATENCY_NS,
        u32::from(SIGNIFICANT_DIGITS),
    )
}

impl PartialEq for LatencyHistogram {
    fn eq(&self, other: &Self) -> bool {
        // A run that is saved is compared with what it reads back as: thousands of these, not opened.
        if let (Form::Packed(one), Form::Packed(other)) = (&self.0, &other.0)
            && one.bytes() == other.bytes()
        {
            return true;
        }
        self.count() == other.count() && self.counters() == other.counters()
    }
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyHistogram")
            .field("count", &self.count())
            .field("p50_ns", &self.quantile_ns(0.5))
            .field("max_ns", &self.max_ns())
            .finish()
    }
}

impl Serialize for LatencyHistogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for LatencyHistogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::decode(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for LatencyHistogram {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LatencyHistogram".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "HDR histogram, V2 encoding, nanoseconds, 1 µs to 1 h at three digits"
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quantile_is_right_to_three_digits() {
        let mut histogram = LatencyHistogram::new();
        for ms in 1..=1000_u64 {
            histogram.record(ms * 1_000_000);
        }
        let p95 = histogram.quantile_ns(0.95).unwrap() as f64;
        assert!((p95 / 950e6 - 1.0).abs() < 1e-3, "{p95}");
    }

    #[test]
    fn latencies_are_counted_up_to_an_edge() {
        let mut histogram = LatencyHistogram::new();
        for ms in 1..=100_u64 {
            histogram.record(ms * 1_000_000);
        }
        let edges = [500_000, 10_500_000, 10_500_000, 99_500_000, MAX_LATENCY_NS];
        assert_eq!(histogram.counts_up_to(&edges), [0, 10, 10, 99, 100]);
        assert_eq!(LatencyHistogram::new().counts_up_to(&edges), [0; 5]);
    }

    #[test]
    fn beyond_the_bound_is_counted_at_the_bound() {
        let mut histogram = LatencyHistogram::new();
        histogram.record(u64::MAX);
        assert_eq!(histogram.count(), 1);
        assert!(histogram.max_ns().unwrap() >= MAX_LATENCY_NS);
    }

    #[test]
    fn foreign_bounds_are_refused() {
        let foreign = Histogram::<u64>::new_with_bounds(1, 1_000_000, 2).unwrap();
        let text = STANDARD.encode(Packed::of(&foreign).bytes());
        let error = LatencyHistogram::decode(&text).unwrap_err();
        assert!(matches!(error, HistogramError::Bounds { .. }), "{error}");
    }

    #[test]
    fn a_packed_histogram_is_the_same_histogram() {
        let mut open = LatencyHistogram::new();
        for ns in [3_000_000, 137_000_000, 137_000_000] {
            open.record(ns);
        }
        let mut packed = open.clone();
        packed.pack();
        assert!(matches!(&packed.0, Form::Packed(packed) if packed.count() == 3));
        assert_eq!(packed, open);
        assert_eq!(packed.encode(), open.encode());
        assert_eq!(packed.quantile_ns(0.5), open.quantile_ns(0.5));
        packed.record(1_000_000);
        open.record(1_000_000);
        assert_eq!(packed, open);
        assert_eq!(packed.count(), 4);
    }

    #[test]
    fn an_empty_histogram_has_no_counters_and_merges_like_any_other() {
        let mut empty = LatencyHistogram::new();
        empty.merge(&LatencyHistogram::new());
        assert!(matches!(empty.0, Form::Empty));
        assert_eq!(LatencyHistogram::decode(&empty.encode()).unwrap(), empty);
        let mut one = LatencyHistogram::new();
        one.record(5_000_000);
        empty.merge(&one);
        assert_eq!(empty, one);
    }

    proptest! {
        #[test]
        fn a_round_trip_keeps_everything(values in prop::collection::vec(0..MAX_LATENCY_NS, 0..200)) {
            let mut histogram = LatencyHistogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            prop_assert_eq!(LatencyHistogram::decode(&histogram.encode()).unwrap(), histogram);
        }

        #[test]
        fn merging_is_recording_both(a in prop::collection::vec(0..MAX_LATENCY_NS, 0..100),
                                     b in prop::collection::vec(0..MAX_LATENCY_NS, 0..100)) {
            let mut left = LatencyHistogram::new();
            let mut right = LatencyHistogram::new();
            let mut both = LatencyHistogram::new();
            for value in &a { left.record(*value); both.record(*value); }
            for value in &b { right.record(*value); both.record(*value); }
            let (mut from_packed, mut packed) = (left.clone(), right.clone());
            packed.pack();
            from_packed.merge(&packed);
            prop_assert_eq!(&from_packed, &both);
            left.merge(&right);
            prop_assert_eq!(left, both);
        }

        #[test]
        fn hostile_text_is_an_error_and_never_a_panic(text in ".{0,400}") {
            let _ = LatencyHistogram::decode(&text);
        }
    }
}
