//! An order of rows that is drawn anew whenever all had their turn, without a list of it.
//!
//! Users, workers and shards have to agree on the order without telling each other, and a list for
//! each pass would be as long as the feed. So the order is computed: a permutation of the numbers
//! below a power of four, which is a Feistel network keyed by the seed and the pass (Luby and
//! Rackoff 1988), walked until it falls on a row (Black and Rogaway 2002, "Ciphers with Arbitrary
//! Finite Domains"). It takes fewer than four steps on average.

use sha2::{Digest as _, Sha256};

/// Enough that also a few rows come in every order.
const ROUNDS: u64 = 8;

/// The orders of one feed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shuffle {
    key: u64,
    rows: u64,
    /// Numbers have twice as many bits; at least one.
    half_bits: u32,
}

impl Shuffle {
    /// The orders of so many rows. Two feeds of one load have orders of their own, hence the name.
    pub(super) fn new(seed: u64, name: &str, rows: u64) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let of_name = digest
            .iter()
            .take(8)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let bits = u64::BITS - rows.saturating_sub(1).leading_zeros();
        Self {
            key: mixed(seed ^ of_name),
            rows,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// The row that has the `nth` turn in a pass, both from 0; `nth` is below the number of rows.
    pub(super) fn row(&self, pass: u64, nth: u64) -> u64 {
        let key = mixed(self.key.wrapping_add(mixed(pass)));
        let mut number = nth;
        loop {
            number = self.permuted(key, number);
            // A permutation comes back to where it began, so at the latest `nth` itself is a row.
            if number < self.rows {
                return number;
            }
        }
    }

    fn permuted(&self, key: u64, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..ROUNDS {
            let of_round = mixed(key ^ (round << 32 | right)) & mask;
            (left, right) = (right, left ^ of_round);
        }
        left << self.half_bits | right
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on
/// every bit of the number.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn order(shuffle: &Shuffle, pass: u64) -> Vec<u64> {
        (0..shuffle.rows)
            .map(|nth| shuffle.row(pass, nth))
            .collect()
    }

    proptest! {
        #[test]
        fn each_row_has_its_turn_in_each_pass(seed: u64, rows in 1..700_u64, pass: u64) {
            let mut order = order(&Shuffle::new(seed, "clients", rows), pass);
            order.sort_unstable();
            prop_assert_eq!(order, (0..rows).collect::<Vec<_>>());
        }

        #[test]
        fn the_order_follows_from_seed_name_and_pass(seed: u64, pass in 0..1_000_000_u64) {
            let shuffle = Shuffle::new(seed, "clients", 100);
            let found = order(&shuffle, pass);
            prop_assert_eq!(&found, &order(&Shuffle::new(seed, "clients", 100), pass));
            prop_assert_ne!(&found, &order(&shuffle, pass + 1));
            prop_assert_ne!(&found, &order(&Shuffle::new(seed ^ 1, "clients", 100), pass));
            prop_assert_ne!(&found, &order(&Shuffle::new(seed, "goods", 100), pass));
        }
    }

    #[test]
    fn every_order_of_a_few_rows_comes_as_often() {
        let shuffle = Shuffle::new(7, "clients", 4);
        let mut seen: BTreeMap<Vec<u64>, u32> = BTreeMap::new();
        for pass in 0..24_000 {
            *seen.entry(order(&shuffle, pass)).or_default() += 1;
        }
        // Of 24 orders a thousand times each, with a standard deviation of 31.
        assert_eq!(seen.len(), 24, "{seen:?}");
        assert!(
            seen.values().all(|count| (845..1155).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn a_large_feed_is_walked_quickly() {
        // Just above a power of four three of four numbers are no row: the worst case.
        let shuffle = Shuffle::new(1, "clients", (1 << 20) + 1);
        let mut steps = 0;
        for nth in 0..10_000 {
            let mut number = nth;
            loop {
                number = shuffle.permuted(5, number);
                steps += 1;
                if number < shuffle.rows {
                    break;
                }
            }
        }
        assert!(steps < 44_000, "{steps}");
    }
}
