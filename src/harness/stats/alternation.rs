//! In which order the two runs of each pair are made.

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Which arm of a pair is run first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Base, then head: AB.
    Base,
    /// Head, then base: BA.
    Head,
}

/// The orders of `pairs` pairs: random, and balanced over the whole, so that what drifts with time
/// or clings to the second run (a warm disk cache, a hot processor) meets both arms alike. Of an odd
/// number one order comes once more, and chance says which. The same seed gives the same orders.
pub fn alternation(pairs: u32, seed: u64) -> Vec<First> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let extra = if random.random() {
        First::Base
    } else {
        First::Head
    };
    let mut orders: Vec<First> = [First::Base, First::Head]
        .into_iter()
        .cycle()
        .take(pairs as usize & !1)
        .chain((pairs % 2 == 1).then_some(extra))
        .collect();
    orders.shuffle(&mut random);
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_first(orders: &[First]) -> usize {
        orders.iter().filter(|order| **order == First::Base).count()
    }

    #[test]
    fn every_number_of_pairs_is_balanced() {
        for pairs in 0..30 {
            for seed in 0..20 {
                let orders = alternation(pairs, seed);
                assert_eq!(orders.len(), pairs as usize);
                let base = base_first(&orders);
                assert!(base.abs_diff(orders.len() - base) <= 1, "{orders:?}");
                assert_eq!(orders, alternation(pairs, seed));
            }
        }
    }

    #[test]
    fn every_place_is_random() {
        // Each place is AB in about half of the seeds: 1000 ± 5 standard deviations of 22.4.
        for pairs in [4, 5] {
            for place in 0..pairs {
                let hits = (0..2000)
                    .filter(|seed| alternation(pairs, *seed)[place as usize] == First::Base)
                    .count();
                assert!(
                    hits.abs_diff(1000) < 112,
                    "place {place} of {pairs}: {hits}"
                );
            }
        }
    }
}
