//! JUnit XML: a suite a scenario, a case a judged limit or margin.
//!
//! There is no standard; this is what the schemas of Jenkins (`junit-10.xsd` of its xUnit plugin) and of Ant both allow,
//! which GitLab and the usual readers take as well. The names of cases stay from run to run, or a reader
//! could not tell what failed before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::finding::{Finding, findings, is_void, kind, metric, sentences, warnings};
use super::told::{Answer, Told};
use crate::harness::gate::{self, MetricOutcome, MetricVerdict, Reason, Verdict};
use crate::harness::report::text;
use crate::harness::report::words::{self, Spoken};

/// Writing into memory, which can't fail.
type Writing = Result<(), std::io::Error>;

/// Longer names are cut in the middle.
const MAX_NAME_CHARS: usize = 300;
/// What stands for a character that XML 1.0 can't hold, not even escaped.
const REPLACEMENT: char = '\u{fffd}';
/// The case of the measurement as a whole.
const MEASUREMENT: &str = "measurement";

/// The document, which ends with a line break.
pub fn junit(told: &[Told]) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    written(&mut writer, told).expect("BUG: writing into memory can't fail");
    let mut text = String::from_utf8(writer.into_inner()).expect("BUG: text was written");
    text.push('\n');
    text
}

/// One case.
struct Case {
    name: String,
    outcome: Outcome,
}

enum Outcome {
    Pass,
    /// A regression, or a broken limit.
    Failure(Said),
    /// Nothing could be judged.
    Error(Said),
    /// Inconclusive, not measured, waived, or unable to fail.
    Skipped(Said),
}

struct Said {
    kind: &'static str,
    /// In a line.
    message: String,
    /// The last lines of a process, where there are some.
    detail: String,
}

impl Said {
    fn of(finding: &Finding<'_>) -> Self {
        Self::spoken(kind(finding.reason), finding.said.clone())
    }

    fn spoken(kind: &'static str, said: Spoken) -> Self {
        Self {
            kind,
            message: sentences(&said),
            detail: said.detail,
        }
    }

    fn plain(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: String::new(),
        }
    }
}

fn written(writer: &mut Writer<Vec<u8>>, told: &[Told]) -> Writing {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuites")
        .write_inner_content(|writer| {
            for (id, one) in told.iter().enumerate() {
                suite(writer, id, one)?;
            }
            Ok(())
        })?;
    Ok(())
}

fn suite(writer: &mut Writer<Vec<u8>>, id: usize, told: &Told) -> Writing {
    let cases = distinct(cases(told));
    let count = |is: fn(&Outcome) -> bool| {
        let cases = cases.iter().filter(|case| is(&case.outcome));
        cases.count().to_string()
    };
    let title = match xml_line(&told.title()) {
        title if title.trim().is_empty() => "plimsoll".to_owned(),
        title => title,
    };
    let at = told.at.to_zoned(TimeZone::UTC);
    let attributes = [
        ("name", title.clone()),
        ("package", "plimsoll".to_owned()),
        ("id", id.to_string()),
        ("timestamp", at.strftime("%Y-%m-%dT%H:%M:%S").to_string()),
        ("hostname", "localhost".to_owned()),
        ("tests", cases.len().to_string()),
        ("failures", count(|it| matches!(it, Outcome::Failure(_)))),
        ("errors", count(|it| matches!(it, Outcome::Error(_)))),
        ("skipped", count(|it| matches!(it, Outcome::Skipped(_)))),
        ("time", format!("{:.3}", told.measured_ns as f64 / 1e9)),
    ];
    writer
        .create_element("testsuite")
        .with_attributes(attributes.iter().map(|(name, value)| (*name, &**value)))
        .write_inner_content(|writer| {
            properties(writer, told)?;
            for case in &cases {
                write_case(writer, &title, case)?;
            }
            text_element(writer, "system-out", &format!("{}.", told.headline()))?;
            let warnings = told.verdict().into_iter().flat_map(warnings);
            let warnings: Vec<String> = warnings.map(|(_, said)| sentences(&said)).collect();
            text_element(writer, "system-err", &warnings.join("\n"))
        })?;
    Ok(())
}

fn properties(writer: &mut Writer<Vec<u8>>, told: &Told) -> Writing {
    let mut properties = vec![("verdict", told.badge().to_lowercase())];
    if let Some(verdict) = told.verdict() {
        let revisions = [
            ("head_revision", &verdict.head_revision),
            ("base_revision", &verdict.base_revision),
        ];
        for (name, revision) in revisions {
            properties.extend(revision.as_ref().map(|it| (name, xml_line(it))));
        }
        properties.push(("exit_code", verdict.exit_code.to_string()));
    }
    if let Some(page) = &told.page {
        properties.push(("report", xml_line(page)));
    }
    writer
        .create_element("properties")
        .write_inner_content(|writer| {
            for (name, value) in &properties {
                writer
                    .create_element("property")
                    .with_attributes([("name", *name), ("value", value.as_str())])
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn write_case(writer: &mut Writer<Vec<u8>>, of: &str, case: &Case) -> Writing {
    let attributes = [("name", &*case.name), ("classname", of), ("time", "0")];
    let element = writer
        .create_element("testcase")
        .with_attributes(attributes);
    let (name, said) = match &case.outcome {
        Outcome::Pass => {
            element.write_empty()?;
            return Ok(());
        }
        Outcome::Failure(said) => ("failure", said),
        Outcome::Error(said) => ("error", said),
        Outcome::Skipped(said) => ("skipped", said),
    };
    element.write_inner_content(|writer| {
        let message = xml_line(&said.message);
        let mut element = writer.create_element(name);
        element = element.with_attribute(("message", &*message));
        // What is skipped has no type.
        if name != "skipped" {
            element = element.with_attribute(("type", said.kind));
        }
        match said.detail.is_empty() {
            true => element.write_empty()?,
            false => element.write_text_content(BytesText::new(&xml_block(&said.detail)))?,
        };
        Ok(())
    })?;
    Ok(())
}

fn text_element(writer: &mut Writer<Vec<u8>>, name: &str, content: &str) -> Writing {
    let element = writer.create_element(name);
    element.write_text_content(BytesText::new(&xml_block(content)))?;
    Ok(())
}

/// What was judged of a scenario, the measurement as a whole first.
fn cases(told: &Told) -> Vec<Case> {
    let verdict = match &told.answer {
        Answer::Verdict(verdict) => verdict,
        Answer::Failed(_) => {
            let said = told.failure().into_iter();
            return said
                .map(|said| Case {
                    name: MEASUREMENT.to_owned(),
                    outcome: Outcome::Error(Said::spoken("failed", said)),
                })
                .collect();
        }
    };
    let findings: Vec<Finding<'_>> = findings(verdict).collect();
    let mut by_metric: BTreeMap<&str, Vec<&Finding<'_>>> = BTreeMap::new();
    for finding in &findings {
        if let Some(metric) = metric(finding.reason) {
            by_metric.entry(metric).or_default().push(finding);
        }
    }
    let said_of = |metric: &str, is: fn(&Reason) -> bool| {
        let said = by_metric.get(metric).into_iter().flatten();
        said.copied().find(|finding| is(finding.reason))
    };
    let mut cases = vec![measurement(&findings)];
    for limit in &verdict.limits {
        let said = said_of(&limit.metric, is_of_a_limit);
        cases.push(Case {
            name: format!("{} limit", name(&limit.metric)),
            outcome: match (limit.holds, said) {
                (Some(true), _) => Outcome::Pass,
                (Some(false), Some(said)) => Outcome::Failure(Said::of(said)),
                (Some(false), None) => Outcome::Failure(Said::plain(
                    "limit_broken",
                    format!(
                        "{} must be {}.",
                        words::against_limit(limit),
                        words::demand(limit)
                    ),
                )),
                (None, Some(said)) => Outcome::Skipped(Said::of(said)),
                (None, None) => Outcome::Skipped(Said::plain("not_judged", "Not judged.")),
            },
        });
    }
    for metric in &verdict.metrics {
        if metric.gating || metric.advisory {
            cases.push(Case {
                name: format!("{} margin", name(&metric.name)),
                outcome: margin(metric, said_of(&metric.name, is_of_a_margin)),
            });
        }
    }
    cases.extend(elsewhere(verdict, &findings));
    if verdict.advisory {
        cases.iter_mut().for_each(disarm);
    }
    cases
}

/// Whether there is a measurement.
fn measurement(findings: &[Finding<'_>]) -> Case {
    let mut void = findings.iter().filter(|it| is_void(it.reason)).peekable();
    let outcome = match void.peek() {
        None => Outcome::Pass,
        Some(first) => {
            let kind = kind(first.reason);
            let (messages, details): (Vec<String>, Vec<&str>) = void
                .map(|finding| (sentences(&finding.said), &*finding.said.detail))
                .unzip();
            Outcome::Error(Said {
                kind,
                message: messages.join(" "),
                detail: details.join("\n").trim().to_owned(),
            })
        }
    };
    Case {
        name: MEASUREMENT.to_owned(),
        outcome,
    }
}

fn is_of_a_limit(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::LimitBroken { .. }
            | Reason::NothingInOrder { .. }
            | Reason::NoRateHeld { .. }
            | Reason::NotMeasurable { .. }
            | Reason::Aborted { .. }
    )
}

fn is_of_a_margin(reason: &Reason) -> bool {
    !matches!(
        reason,
        Reason::LimitBroken { .. } | Reason::Aborted { .. } | Reason::Improved { .. }
    )
}

fn margin(metric: &MetricVerdict, said: Option<&Finding<'_>>) -> Outcome {
    if !metric.gating && metric.verdict != MetricOutcome::NotMeasurable {
        let shown = words::verdict_of(metric);
        return Outcome::Skipped(Said::plain("advisory", format!("Shown only: {shown}.")));
    }
    let unsaid = |kind| {
        let note = metric.note.as_deref().map(words::capitalised);
        Said::plain(
            kind,
            note.map_or_else(|| "Not judged.".to_owned(), |note| format!("{note}.")),
        )
    };
    let of = |kind| said.map_or_else(|| unsaid(kind), Said::of);
    match metric.verdict {
        MetricOutcome::Unchanged | MetricOutcome::Improved => Outcome::Pass,
        MetricOutcome::Regressed => Outcome::Failure(of("regressed")),
        MetricOutcome::Waived => Outcome::Skipped(of("waived")),
        MetricOutcome::Inconclusive => Outcome::Skipped(of("inconclusive")),
        MetricOutcome::NotMeasurable => match said.map(|it| it.reason) {
            Some(Reason::NothingInOrder { .. } | Reason::NoRateHeld { .. }) => {
                Outcome::Failure(of("not_measurable"))
            }
            _ => Outcome::Skipped(of("not_measurable")),
        },
    }
}

/// What is said of metrics that no row of the verdict has, and of the base as a whole.
fn elsewhere(verdict: &Verdict, findings: &[Finding<'_>]) -> Vec<Case> {
    let rows = verdict.metrics.iter().map(|metric| metric.name.as_str());
    let rows: BTreeSet<&str> = rows.collect();
    let limits = verdict.limits.iter().map(|limit| limit.metric.as_str());
    let limits: BTreeSet<&str> = limits.collect();
    let case = |finding: &Finding<'_>| {
        let reason = finding.reason;
        let name = match metric(reason) {
            _ if is_void(reason) => return None,
            Some(metric) if rows.contains(metric) => return None,
            Some(metric) if is_of_a_limit(reason) && limits.contains(metric) => return None,
            Some(metric)
                if matches!(reason, Reason::LimitBroken { .. } | Reason::Aborted { .. }) =>
            {
                format!("{} limit", name(metric))
            }
            Some(metric) => format!("{} margin", name(metric)),
            None => "baseline".to_owned(),
        };
        let said = Said::of(finding);
        let outcome = match reason {
            // Asked for with `--require-baseline`.
            Reason::NoBaseline if verdict.verdict == gate::Outcome::NoBaseline => {
                Outcome::Failure(said)
            }
            Reason::NothingInOrder { .. }
            | Reason::NoRateHeld { .. }
            | Reason::LimitBroken { .. }
            | Reason::Aborted { .. }
            | Reason::Regressed { .. } => Outcome::Failure(said),
            _ => Outcome::Skipped(said),
        };
        Some(Case { name, outcome })
    };
    findings.iter().filter_map(case).collect()
}

/// A verdict that is for information only fails nothing.
fn disarm(case: &mut Case) {
    let outcome = std::mem::replace(&mut case.outcome, Outcome::Pass);
    case.outcome = match outcome {
        Outcome::Failure(said) | Outcome::Error(said) => Outcome::Skipped(Said {
            message: format!("For information only: {}", said.message),
            ..said
        }),
        other => other,
    };
}

/// The cases with names that are all different, as readers demand.
fn distinct(mut cases: Vec<Case>) -> Vec<Case> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for case in &mut cases {
        let times = seen.entry(case.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            case.name = format!("{} #{times}", case.name);
        }
    }
    cases
}

fn name(metric: &str) -> String {
    text::shown(&legal(metric), MAX_NAME_CHARS)
}

/// A text in one line that XML can hold.
fn xml_line(text: &str) -> String {
    text::one_line(&legal(text))
}

/// Lines that XML can hold.
fn xml_block(text: &str) -> String {
    text::block(&legal(text))
}

/// The text without the characters that XML 1.0 forbids (its production 2, `Char`).
fn legal(text: &str) -> String {
    let is_legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let legal = text
        .chars()
        .map(|c| if is_legal(c) { c } else { REPLACEMENT });
    legal.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_can_not_hold_is_replaced() {
        let check = |hostile: &str, expected: &str| assert_eq!(legal(hostile), expected);
        check("plain 🚀\t\n", "plain 🚀\t\n");
        check("\0a\u{1b}[0m\u{8}", "\u{fffd}a\u{fffd}[0m\u{fffd}");
        check("\u{fffe}\u{ffff}\u{fffd}", "\u{fffd}\u{fffd}\u{fffd}");
        check("]]>&<", "]]>&<");
    }

    #[test]
    fn no_two_cases_have_one_name() {
        let case = |name: &str| Case {
            name: name.to_owned(),
            outcome: Outcome::Pass,
        };
        let cases = distinct(vec![case("a"), case("b"), case("a"), case("a")]);
        let names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
        assert_eq!(names, ["a", "b", "a #2", "a #3"]);
    }
}
