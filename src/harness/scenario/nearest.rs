//! "Did you mean …?": the known name nearest to one that isn't known.

use strsim::{jaro_winkler, normalized_damerau_levenshtein};

/// A longer text is no misspelt name, and the edit distance of two long ones takes too long.
const MAX_LENGTH: usize = 200;
/// Below this likeness a suggestion would only confuse.
const LIKE_ENOUGH: f64 = 0.6;

/// The candidate that is most like `name`, if any is like it at all; of equals, the first.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > MAX_LENGTH {
        return None;
    }
    let name = name.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        if candidate.len() > MAX_LENGTH {
            continue;
        }
        let lower = candidate.to_lowercase();
        // The edit distance finds swapped and doubled letters, the common beginning finds
        // abbreviations: `dur` for `duration`.
        let likeness =
            normalized_damerau_levenshtein(&name, &lower).max(0.75 * jaro_winkler(&name, &lower));
        if likeness >= LIKE_ENOUGH && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_noise_finds_none() {
        let known = ["warmup", "measure", "cooldown", "drain"];
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(nearest(name, known), expected, "{name}");
        };
        check("warmpu", Some("warmup"));
        check("Measure", Some("measure"));
        check("cool_down", Some("cooldown"));
        check("warm", Some("warmup"));
        check("zebra", None);
        check("", None);
    }
}
