//! A histogram at rest: HDR's "V2" encoding, read slot by slot.
//!
//! hdrhistogram reads an encoding only into a whole histogram of about 200 KB, after it has set
//! aside as much as the header asks for, up to 4 GB. But a long run has tens of thousands of
//! encodings with some hundred slots each, and a file is hostile. So the header is checked and the
//! slots are walked here; the crate decodes only what was accepted, where all counters are wanted.
//!
//! The format: 40 bytes of header, big-endian (cookie, length of the payload, offset, digits,
//! lowest and highest value, ratio), then zigzag numbers in LEB128 of at most nine bytes: a count,
//! or negative so many empty slots. Source: `encodeIntoByteBuffer` and `ZigZagLEB128Codec` of
//! HdrHistogram.

use std::sync::LazyLock;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};

use super::histogram::{HistogramError, bounds, empty};

const COOKIE: u32 = 0x1c84_9313;
const HEADER_BYTES: usize = 40;
/// The longest number; its last byte has eight bits.
const NUMBER_BYTES: usize = 9;
/// A millennium at ten thousand requests a second. Sums of counts of hostile files can't overflow.
const MAX_COUNT: u64 = 1 << 48;

/// The largest latency in ns of each slot of a histogram with our bounds.
static SLOTS_NS: LazyLock<Box<[u64]>> = LazyLock::new(|| {
    empty()
        .iter_all()
        .map(|slot| slot.value_iterated_to())
        .collect()
});

/// The encoding of a histogram with our bounds.
#[derive(Clone)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    count: u64,
}

impl Packed {
    /// The encoding of a histogram.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .expect("BUG: writing to a Vec doesn't fail");
        Self {
            bytes: bytes.into(),
            count: histogram.len(),
        }
    }

    /// Takes a hostile encoding, if it is one of a histogram with our bounds.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, HistogramError> {
        check_header(&bytes)?;
        let mut count = 0;
        for slot in slots(&bytes) {
            let (_, at_slot) = slot?;
            count += at_slot;
            if count > MAX_COUNT {
                return Err(HistogramError::NotV2("it counts more than any run can"));
            }
        }
        Ok(Self {
            bytes: bytes.into(),
            count,
        })
    }

    /// How many latencies it counts.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The encoding.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each latency in ns that it has, with how often; ascending.
    pub(super) fn latencies(&self) -> impl Iterator<Item = (u64, u64)> {
        slots(&self.bytes).map_while(Result::ok)
    }

    /// All counters.
    pub(super) fn open(&self) -> Histogram<u64> {
        Deserializer::new()
            .deserialize(&mut &*self.bytes)
            .expect("BUG: only what was encoded or checked is kept packed")
    }
}

fn check_header(bytes: &[u8]) -> Result<(), HistogramError> {
    let (header, payload) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(HistogramError::NotV2("its header is cut short"))?;
    let four = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let eight = |at: usize| u64::from(four(at)) << 32 | u64::from(four(at + 4));
    if four(0) != COOKIE {
        return Err(HistogramError::NotV2(
            "its first bytes are those of another format",
        ));
    }
    if four(4) as usize != payload.len() {
        return Err(HistogramError::NotV2("its header tells another length"));
    }
    if four(8) != 0 || f64::from_bits(eight(32)) != 1.0 {
        return Err(HistogramError::NotV2("its values are shifted or scaled"));
    }
    let found = (eight(16), eight(24), four(12));
    match found == bounds() {
        true => Ok(()),
        false => Err(HistogramError::Bounds {
            low_ns: found.0,
            high_ns: found.1,
            digits: found.2,
        }),
    }
}

/// The slots that count something: the largest latency in ns of each, and its count. Ends with the
/// first error.
fn slots(bytes: &[u8]) -> impl Iterator<Item = Result<(u64, u64), HistogramError>> {
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut slot = 0_usize;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((number, after)) = number(rest) else {
                rest = &[];
                return Some(Err(HistogramError::NotV2("its last number is cut short")));
            };
            rest = after;
            let here = slot;
            slot = slot.saturating_add(match number {
                skipped @ ..0 => usize::try_from(skipped.unsigned_abs()).unwrap_or(usize::MAX),
                _ => 1,
            });
            let ns = match SLOTS_NS.get(here) {
                Some(ns) if slot <= SLOTS_NS.len() => *ns,
                _ => {
                    rest = &[];
                    return Some(Err(HistogramError::NotV2("it has too many slots")));
                }
            };
            if number > 0 {
                return Some(Ok((ns, number.unsigned_abs())));
            }
        }
        None
    })
}

/// The number in front, and what follows it; `None` where it is cut short.
fn number(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut zigzag = 0;
    for (at, byte) in bytes.iter().enumerate().take(NUMBER_BYTES) {
        let is_last = at + 1 == NUMBER_BYTES;
        let bits = if is_last { *byte } else { byte & 0x7f };
        zigzag |= u64::from(bits) << (7 * at);
        if is_last || byte & 0x80 == 0 {
            let number = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded(values: &[(u64, u64)]) -> Histogram<u64> {
        let mut histogram = empty();
        for (ns, count) in values {
            histogram.saturating_record_n(*ns, *count);
        }
        histogram
    }

    fn encoded() -> Vec<u8> {
        let histogram = recorded(&[(1_000, 3), (5_000_000, 1 << 40), (3_600_000_000_000, 1)]);
        Packed::of(&histogram).bytes.into()
    }

    fn check(spoil: impl Fn(&mut Vec<u8>), expected: &str) {
        let mut bytes = encoded();
        spoil(&mut bytes);
        let refused = Packed::read(bytes).err().map(|error| error.to_string());
        assert!(
            refused.as_ref().is_some_and(|told| told.contains(expected)),
            "{refused:?} is not about `{expected}`"
        );
    }

    /// Appends to the payload and makes the header tell it.
    fn append(bytes: &mut Vec<u8>, more: &[u8]) {
        bytes.extend(more);
        let payload = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
        bytes[4..8].copy_from_slice(&payload.to_be_bytes());
    }

    #[test]
    fn what_is_no_histogram_is_refused_before_it_takes_memory() {
        assert!(Packed::read(encoded()).is_ok());
        check(|bytes| bytes.truncate(39), "cut short");
        check(|bytes| bytes[3] += 1, "another format");
        // A payload of 4 GB, says the header.
        check(|bytes| bytes[4..8].fill(0xff), "another length");
        check(|bytes| bytes.push(0), "another length");
        check(|bytes| bytes[11] = 1, "shifted");
        check(|bytes| bytes[32] = 0, "scaled");
        check(|bytes| bytes[15] = 2, "2 digits");
        check(|bytes| append(bytes, &[0x80]), "cut short");
        check(|bytes| append(bytes, &[0; 30_000]), "too many slots");
        // i64::MIN: more empty ones than can be negated.
        check(|bytes| append(bytes, &[0xff; 9]), "too many slots");
        let mut first = encoded();
        first.truncate(HEADER_BYTES);
        append(
            &mut first,
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        );
        let error = Packed::read(first).err().unwrap();
        assert!(error.to_string().contains("more than any run"), "{error}");
    }

    proptest! {
        #[test]
        fn the_slots_are_those_of_the_crate(
            values in prop::collection::vec((0..4_000_000_000_000_u64, 1..1_u64 << 40), 0..60),
        ) {
            let histogram = recorded(&values);
            let packed = Packed::of(&histogram);
            let of_crate: Vec<(u64, u64)> = histogram
                .iter_recorded()
                .map(|slot| (slot.value_iterated_to(), slot.count_at_value()))
                .collect();
            prop_assert_eq!(packed.latencies().collect::<Vec<_>>(), of_crate);
            let read = Packed::read(packed.bytes.clone().into()).unwrap();
            prop_assert_eq!(read.count, histogram.len());
            prop_assert_eq!(read.open(), histogram);
        }

        /// Nothing that is accepted makes the crate refuse or panic.
        #[test]
        fn what_is_accepted_can_be_opened(
            payload in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = encoded();
            bytes.truncate(HEADER_BYTES);
            append(&mut bytes, &payload);
            if let Ok(packed) = Packed::read(bytes) {
                let open = packed.open();
                prop_assert_eq!(open.len(), packed.count);
                prop_assert!(open.max() >= open.value_at_quantile(0.5) || open.is_empty());
            }
        }
    }
}
