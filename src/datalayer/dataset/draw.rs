//! Random draws of which each takes exactly one word of the stream.
//!
//! That is why `rand`'s samplers are not used: some reject and draw again, and their value may
//! change with a release. Here row k of a table owns the words 64·k..64·(k+1) of a ChaCha8 stream,
//! so that any row can be made alone, in any order and in any batch, and is always the same.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Four ChaCha blocks: what the generator computes at once, and more than any row draws.
const WORDS_A_ROW: u128 = 64;

/// The draws of one row.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The draws of row `index` of the table that owns `stream`.
    pub(super) fn new(seed: u64, stream: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(index) * WORDS_A_ROW);
        Self(rng)
    }

    /// Evenly from `0..bound`. The bias of taking the high word of the product is below
    /// bound / 2³², nothing for the bounds used here.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// Evenly from `low..high`; the two are at most 2³² − 1 apart, and `low` is less than `high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u32::try_from(high - low).unwrap_or(u32::MAX);
        low + i64::from(self.below(width))
    }

    /// From `0..bound`, denser towards the end: the larger of two even draws, whose density rises
    /// linearly.
    pub(super) fn rising(&mut self, bound: u32) -> u32 {
        self.below(bound).max(self.below(bound))
    }

    /// One of the items, by weight.
    pub(super) fn pick<'a, T>(&mut self, items: &'a Weighted<T>) -> &'a T {
        let point = self.below(items.total);
        &items.items[items.ends.partition_point(|end| *end <= point)]
    }
}

/// Items with weights, laid end to end; never empty.
#[derive(Debug)]
pub(super) struct Weighted<T> {
    items: Vec<T>,
    ends: Vec<u32>,
    total: u32,
}

impl<T: Copy> Weighted<T> {
    /// Items with their own weights, of which at least one is above zero.
    pub(super) fn new(items: impl IntoIterator<Item = (T, u32)>) -> Self {
        let (items, weights): (Vec<T>, Vec<u32>) = items.into_iter().unzip();
        let ends: Vec<u32> = weights
            .iter()
            .scan(0, |end, weight| {
                *end += weight;
                Some(*end)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        Self { items, ends, total }
    }

    /// Items in descending frequency, the k-th with weight 1/k (Zipf's law).
    pub(super) fn zipf(items: impl IntoIterator<Item = T>) -> Self {
        Self::new(items.into_iter().zip((1..).map(|rank| 1_000_000 / rank)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_same_alone_and_in_order() {
        let mut before = Draw::new(7, 1, 41);
        for _ in 0..64 {
            before.below(10);
        }
        // The words run on from row to row.
        assert_eq!(before.0.next_u32(), Draw::new(7, 1, 42).0.next_u32());
        assert_ne!(
            Draw::new(7, 1, 42).0.next_u32(),
            Draw::new(7, 2, 42).0.next_u32()
        );
        assert_ne!(
            Draw::new(7, 1, 42).0.next_u32(),
            Draw::new(8, 1, 42).0.next_u32()
        );
    }

    #[test]
    fn shares_follow_the_weights() {
        let items = Weighted::new([("a", 700), ("b", 0), ("c", 300)]);
        let mut draw = Draw::new(1, 0, 0);
        let a = (0..100_000).filter(|_| *draw.pick(&items) == "a").count();
        // Binomial with p = 0.7: the standard deviation is 145.
        assert!((69_100..70_900).contains(&a), "{a}");
        assert!((0..100_000).all(|_| *draw.pick(&items) != "b"));
    }

    #[test]
    fn zipf_halves_the_second() {
        let items = Weighted::zipf(["first", "second"]);
        let mut draw = Draw::new(1, 0, 0);
        let first = (0..90_000)
            .filter(|_| *draw.pick(&items) == "first")
            .count();
        assert!((59_300..60_700).contains(&first), "{first}");
    }
}
