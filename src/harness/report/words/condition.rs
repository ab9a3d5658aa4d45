//! The conditions of a measurement, as a person calls them.

use crate::harness::model::FingerprintDifference;
use crate::harness::report::text;

use super::spoken::name;

/// Values of conditions are cut to this.
const VALUE_CHARS: usize = 40;

/// Digits of a hash that tell it apart from all others that somebody has.
const HASH_DIGITS: usize = 12;

/// What a field of a fingerprint is called, and its value with its unit.
pub fn condition(field: &str, value: &str) -> (String, String) {
    match field {
        // The only one whose name ends with a unit.
        "memory_class_gib" => ("memory".to_owned(), format!("{value}\u{202f}GiB")),
        // As long as those of revisions; the JSON report has all of it.
        "scenario_hash" => (
            "scenario hash".to_owned(),
            value.chars().take(HASH_DIGITS).collect(),
        ),
        _ => (text::one_line(&field.replace('_', " ")), value.to_owned()),
    }
}

/// In what two fingerprints differ: `kernel (6.1 → 6.2)`.
pub(super) fn difference(difference: &FingerprintDifference) -> String {
    let (called, base) = condition(&difference.field, &difference.base);
    let (_, head) = condition(&difference.field, &difference.head);
    format!(
        "{} ({} → {})",
        name(&called),
        text::shown(&base, VALUE_CHARS),
        text::shown(&head, VALUE_CHARS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_a_name_and_a_unit() {
        let check = |field: &str, expected: &str| {
            let given = FingerprintDifference {
                field: field.to_owned(),
                base: "24".to_owned(),
                head: "32".to_owned(),
            };
            let said = difference(&given).replace('\u{202f}', " ");
            assert_eq!(said, expected);
        };
        check("memory_class_gib", "memory (24 GiB → 32 GiB)");
        check("logical_cpus", "logical cpus (24 → 32)");
        let given = FingerprintDifference {
            field: "scenario_hash".to_owned(),
            base: "0123456789abcdef".repeat(4),
            head: "f".repeat(64),
        };
        let said = difference(&given);
        assert_eq!(said, "scenario hash (0123456789ab → ffffffffffff)");
        check("kernel", "kernel (24 → 32)");
        // What a file of anyone's says.
        check("a\u{1b}[31m_b", "a b (24 → 32)");
    }
}
