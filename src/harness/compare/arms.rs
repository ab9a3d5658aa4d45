//! Which runs of two arms belong together, and whether they may be compared.

use std::collections::BTreeMap;

use crate::harness::model::{FingerprintDifference, Run};

/// Runs matched by pair, base first, in the order of the base. Pair numbers that come again in
/// another session are told apart by it; where they don't, the session is only a label and may
/// differ between the arms. A run without a partner is left out.
pub(super) fn pair_up<'a>(base: &'a [Run], head: &'a [Run]) -> Vec<(&'a Run, &'a Run)> {
    let numbers_suffice = [base, head].iter().all(|arm| {
        let mut seen = BTreeMap::new();
        arm.iter()
            .filter_map(|run| run.pair)
            .all(|pair| seen.insert(pair, ()).is_none())
    });
    let key = |run: &'a Run| {
        let session = if numbers_suffice {
            ""
        } else {
            run.session.as_str()
        };
        run.pair.map(|pair| (session, pair))
    };
    // Of runs with the same key the first is the partner; a doubled one can only be a repeated file.
    let mut partners = BTreeMap::new();
    for run in head {
        if let Some(key) = key(run) {
            partners.entry(key).or_insert(run);
        }
    }
    base.iter()
        .filter_map(|run| Some((run, partners.remove(&key(run)?)?)))
        .collect()
}

/// Every way in which any run differs from the first of the base, each once: arms that are mixed in
/// themselves are as little comparable as arms that differ.
pub(super) fn fingerprint_differences(base: &[Run], head: &[Run]) -> Vec<FingerprintDifference> {
    let mut found = Vec::new();
    if let Some(first) = base.first() {
        for run in base.iter().chain(head).skip(1) {
            for difference in first.fingerprint.differences(&run.fingerprint) {
                if !found.contains(&difference) {
                    found.push(difference);
                }
            }
        }
    }
    found
}
