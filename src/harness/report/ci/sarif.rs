//! SARIF 2.1.0: what is wrong as results at the scenario file, what could not be measured as notifications.
//!
//! The format is OASIS' (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>); which part of it GitHub reads is in its "SARIF support for
//! code scanning".

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::finding::{Finding, Gravity, findings, is_void, kind, metric, sentences, warnings};
use super::told::{Answer, Place, Told, worst_first};
use crate::harness::gate::{Reason, Verdict};
use crate::harness::model::hexadecimal;
use crate::harness::report::{json, text};

/// GitHub shows no more results of a file.
const MAX_RESULTS: usize = 5000;
/// Where the schema is that a reader may hold the document against.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What a path keeps of itself in a URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// A rule, by the kind of its reason: what is wrong where it has a result, and how bad that is.
const RULES: [(&str, &str, &str); 9] = [
    (
        "regressed",
        "A metric got worse by its margin or more, and not by chance",
        ERROR,
    ),
    ("limit_broken", "A limit is broken", ERROR),
    (
        "aborted",
        "A limit ended the run as soon as it was broken",
        ERROR,
    ),
    (
        "nothing_in_order",
        "No request behind a metric was in order",
        ERROR,
    ),
    (
        "no_rate_held",
        "Not even the lowest rate kept the limits",
        ERROR,
    ),
    (
        "inconclusive",
        "Whether a metric got worse can't be told",
        NOTE,
    ),
    ("not_measurable", "A metric could not be measured", NOTE),
    ("one_arm_only", "Only one arm has a metric", NOTE),
    ("waived", "A metric got worse, which a waiver allows", NOTE),
];
const ERROR: &str = "error";
const NOTE: &str = "note";

/// The document, one run for all scenarios, which ends with a line break.
pub fn sarif(told: &[Told], version: &str) -> String {
    let (mut results, mut notifications) = (Vec::new(), Vec::new());
    for one in worst_first(told) {
        match &one.answer {
            Answer::Failed(_) => {
                let message = format!("{}: {}.", one.title(), one.headline());
                notifications.push(notification("failed", ERROR, &message, one.place.as_ref()));
            }
            Answer::Verdict(verdict) => {
                for finding in findings(verdict) {
                    results.extend(result(&finding, verdict, one));
                    notifications.extend(void(&finding, one));
                }
                notifications.extend(warned(verdict, one));
            }
        }
    }
    // Stable: of results that are alike, those of the worst scenario come first.
    results.sort_by_key(|result| result["level"] != ERROR);
    let left_out = results.len().saturating_sub(MAX_RESULTS);
    results.truncate(MAX_RESULTS);
    if left_out > 0 {
        let message = format!("{left_out} more results, no worse than these, are left out.");
        notifications.push(notification("left_out", "warning", &message, None));
    }
    let is_void = notifications.iter().any(|it| it["level"] == ERROR);
    let rules = RULES.map(|(id, what, level)| {
        json!({
            "id": id,
            "name": id,
            "shortDescription": { "text": what },
            "fullDescription": { "text": format!("{what}.") },
            "defaultConfiguration": { "level": level },
            "help": { "text": "The message says what to do; the report of the call shows the runs behind it." },
        })
    });
    json::render(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "plimsoll",
                "version": version,
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": !is_void,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    }))
}

/// What is a result: what is wrong, undecided, or excused.
fn result(finding: &Finding<'_>, verdict: &Verdict, told: &Told) -> Option<Value> {
    let rule = kind(finding.reason);
    let index = RULES.iter().position(|(id, ..)| *id == rule)?;
    let (.., usual) = RULES[index];
    let metric = metric(finding.reason)?;
    // What can't fail the call is no error of it.
    let level = match usual == ERROR && finding.gravity == Gravity::Error {
        true => ERROR,
        false => NOTE,
    };
    let fingerprint = fingerprint(&[&verdict.scenario, metric, rule]);
    let mut result = json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": { "text": message(&format!("{}: {}", told.title(), sentences(&finding.said))) },
        "locations": locations(told.place.as_ref(), Some(metric)),
        "partialFingerprints": {
            // The only one that GitHub looks at. It would make one of the line, which several metrics share.
            "primaryLocationLineHash": format!("{fingerprint}:1"),
            "plimsollMetric/v1": fingerprint,
        },
    });
    if let Reason::Waived { metric } = finding.reason {
        let mut metrics = verdict.metrics.iter();
        let waiver = metrics
            .find(|judged| judged.name == *metric)
            .and_then(|judged| judged.waiver.as_ref());
        let justification =
            waiver.map_or_else(String::new, |waiver| text::one_line(&waiver.reason));
        result["suppressions"] = json!([{
            "kind": "external",
            "status": "accepted",
            "justification": justification,
        }]);
    }
    Some(result)
}

/// What there is no measurement for is no result.
fn void(finding: &Finding<'_>, told: &Told) -> Option<Value> {
    let is_told = is_void(finding.reason) || matches!(finding.reason, Reason::NoBaseline);
    let message = format!("{}: {}", told.title(), sentences(&finding.said));
    is_told.then(|| {
        let (rule, level) = (kind(finding.reason), level(finding.gravity));
        notification(rule, level, &message, told.place.as_ref())
    })
}

fn warned<'t>(verdict: &'t Verdict, told: &'t Told) -> impl Iterator<Item = Value> + 't {
    warnings(verdict).map(|(gravity, said)| {
        let message = format!("{}: {}", told.title(), sentences(&said));
        notification("warning", level(gravity), &message, told.place.as_ref())
    })
}

fn level(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::Error => ERROR,
        Gravity::Warning => "warning",
        Gravity::Notice => NOTE,
    }
}

fn notification(id: &str, level: &str, text: &str, place: Option<&Place>) -> Value {
    json!({
        "descriptor": { "id": id },
        "level": level,
        "message": { "text": message(text) },
        "locations": locations(place, None),
    })
}

fn locations(place: Option<&Place>, metric: Option<&str>) -> Value {
    let mut location = json!({});
    if let Some(place) = place {
        let uri = utf8_percent_encode(&place.file, PATH).to_string();
        // What lies outside of the repository is not below its root (§3.4.4).
        let artifact = match place.file.starts_with('/') {
            true => json!({ "uri": format!("file://{uri}") }),
            false => json!({ "uri": uri, "uriBaseId": "%SRCROOT%" }),
        };
        location["physicalLocation"] = json!({ "artifactLocation": artifact });
        if let Some(line) = metric.and_then(|metric| place.line_of(metric)) {
            location["physicalLocation"]["region"] = json!({ "startLine": line });
        }
    }
    if let Some(metric) = metric {
        location["logicalLocations"] =
            json!([{ "fullyQualifiedName": text::one_line(metric), "kind": "metric" }]);
    }
    match location.as_object().is_some_and(|it| it.is_empty()) {
        true => json!([]),
        false => json!([location]),
    }
}

/// A text in which nothing is a placeholder (§3.11.5) or a link (§3.11.6).
fn message(text: &str) -> String {
    let mut message = String::with_capacity(text.len());
    for c in text::one_line(text).chars() {
        match c {
            '{' | '}' => message.extend([c, c]),
            '[' | ']' | '\\' => message.extend(['\\', c]),
            c => message.push(c),
        }
    }
    message
}

/// Sixteen hexadecimal digits that are the same as long as these are.
fn fingerprint(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        // A length before each: `ab` + `c` must not hash as `a` + `bc`.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hexadecimal(&hasher.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_is_a_link_or_a_placeholder() {
        assert_eq!(
            message("GET /{id} [x](javascript:y) \\\n{0}"),
            "GET /{{id}} \\[x\\](javascript:y) \\\\ {{0}}"
        );
    }

    #[test]
    fn fingerprints_tell_apart_what_differs() {
        let all = [["ab", "c"], ["a", "bc"], ["abc", ""]].map(|parts| fingerprint(&parts));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        assert_eq!(all[0], fingerprint(&["ab", "c"]));
    }
}
