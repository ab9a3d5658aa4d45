//! The verdicts of a call as Markdown: the comment of a pull request, and the summary of a job.
//!
//! Everything that is shown may come from the artifact of a stranger: each text goes through
//! [`markdown`]. What doesn't fit is left out in whole lines and rows, the least worrying first, and a line says how
//! many were. Words are made of no more than is shown, so that a verdict of thousands of reasons costs no time.

use super::finding::last_lines;
use super::room::{Measure, Room};
use super::told::{Told, worst_first};
use crate::harness::gate::{LimitVerdict, MetricOutcome, MetricVerdict, Verdict};
use crate::harness::report::markdown::{code, plain, row, table};
use crate::harness::report::words::{self, Spoken};
use crate::harness::report::{format, text};

/// What GitHub takes as a comment: 65,536 characters. They are counted as UTF-16 units here, of which there are
/// never fewer, and which never take more than the 262,144 bytes that it takes as well.
pub const COMMENT_CHARS: usize = 65_536;
/// GitHub takes a file of 1 MiB as the summary of a step and drops a larger one as a whole; it was seen to do so
/// somewhat earlier (actions/runner, issue 4337).
pub const SUMMARY_BYTES: usize = 1_000_000;
/// More reasons of a scenario than this are counted; its table has their metrics.
const MAX_REASONS: usize = 20;
/// More warnings of a scenario than this are counted.
const MAX_WARNINGS: usize = 10;
/// The longest name of a comment.
const MAX_NAME_CHARS: usize = 64;
/// What is kept free for the line that says what was left out of a scenario.
const RESERVE: usize = 120;
/// A cell without anything to say.
const NOTHING: &str = "–";

/// The first line of a comment, by which it is found again to be updated.
pub fn marker(name: &str) -> String {
    format!("<!-- plimsoll:{name} -->")
}

/// Whether a comment may have this name: nothing in it can end the line that it stands in.
pub fn is_comment_name(name: &str) -> bool {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // Two hyphens have a meaning in HTML.
    (1..=MAX_NAME_CHARS).contains(&name.len())
        && name.chars().all(is_harmless)
        && !name.contains("--")
}

/// The comment of a pull request, with the marker of that name in its first line; at most
/// [`COMMENT_CHARS`]. It ends with a link to the report, where that can be read at a URL of http or https.
pub fn comment(told: &[Told], name: &str, report_url: Option<&str>) -> String {
    let mut room = Room::new(Measure::Utf16, COMMENT_CHARS);
    let first = marker(name) + "\n";
    room.take(&first);
    first + &document(told, report_url, room)
}

/// The summary of a job: the same without a marker, of at most so many bytes; empty where not even the
/// verdicts would fit.
pub fn summary(told: &[Told], report_url: Option<&str>, max_bytes: usize) -> String {
    document(told, report_url, Room::new(Measure::Bytes, max_bytes))
}

fn document(told: &[Told], report_url: Option<&str>, mut room: Room) -> String {
    let told = worst_first(told);
    let first = overview(&told);
    // A URL that was parsed holds no space, no quote and no bracket of these.
    let link = report_url.map_or_else(String::new, |url| format!("\n[The report](<{url}>)\n"));
    if !room.take(&first) || !room.take(&link) || !room.take(&more_scenarios(told.len())) {
        return String::new();
    }
    let mut heads = Vec::new();
    for one in &told {
        let head = head(one);
        if !room.take_with(&head, RESERVE) {
            break;
        }
        heads.push(head);
    }
    let mut text = first;
    for (at, (head, one)) in heads.iter().zip(&told).enumerate() {
        let mut share = room.share(heads.len() - at);
        text.push_str(head);
        text.push_str(&body(one, &mut share));
        room.reclaim(share);
    }
    let left_out = told.len() - heads.len();
    if left_out > 0 {
        text.push_str(&more_scenarios(left_out));
    }
    text + &link
}

/// What there is to say of all scenarios together.
fn overview(told: &[&Told]) -> String {
    match told {
        [] => "Plimsoll judged nothing.\n".to_owned(),
        [_] => String::new(),
        [worst, ..] => {
            let mut counts: Vec<(&str, usize)> = Vec::new();
            for one in told {
                match counts.iter_mut().find(|(badge, _)| *badge == one.badge()) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((one.badge(), 1)),
                }
            }
            let counts: Vec<String> = counts
                .into_iter()
                .map(|(badge, count)| format!("{count} {badge}"))
                .collect();
            format!(
                "## {}\n\nOf {} scenarios: {}.\n",
                worst.badge(),
                told.len(),
                counts.join(", ")
            )
        }
    }
}

fn more_scenarios(count: usize) -> String {
    let more = format::counted(count as u64, "more scenario");
    format!("\n{more}, no worse than these, left out for want of room.\n")
}

fn head(told: &Told) -> String {
    let title = code(&told.title());
    let sentence = plain(&told.headline());
    let mut head = format!("\n### {}: {title}\n\n**{sentence}.**\n", told.badge());
    if let Some(verdict) = told.verdict() {
        let facts = facts(verdict);
        if !facts.is_empty() {
            head.push_str(&format!("\n{facts}\n"));
        }
    }
    head
}

/// What was measured, and how.
fn facts(verdict: &Verdict) -> String {
    let revision = |which: &str, revision: &Option<String>| {
        revision
            .as_ref()
            .map(|revision| format!("{which} {}", code(&text::shown(revision, 60))))
    };
    let revisions = [
        revision("Head", &verdict.head_revision),
        revision("base", &verdict.base_revision),
    ];
    let revisions = revisions.into_iter().flatten().collect::<Vec<_>>();
    let mut facts = Vec::new();
    if !revisions.is_empty() {
        facts.push(format!("{}.", words::capitalised(&revisions.join(", "))));
    }
    if let Some(comparison) = &verdict.comparison {
        // What no scenario of ours measured was measured nobody knows where.
        let is_known = !verdict.scenario.is_empty();
        facts.push(plain(&format!(
            "Compared with {}. {}",
            text::shown(&comparison.base_label, 80),
            words::design(comparison, is_known)
        )));
    }
    facts.join(" ")
}

/// What stands behind the sentence of one scenario, as far as there is room, and how much of it is left out.
fn body(told: &Told, room: &mut Room) -> String {
    let Some(verdict) = told.verdict() else {
        let lines = told.failure().map(|said| output(&said));
        let lines = format!("\n{}", lines.unwrap_or_default());
        return match room.take(&lines) {
            true => lines,
            false => String::new(),
        };
    };
    let reasons = words::reasons(verdict).map(|because| because.said);
    let of_reasons = reasons.len();
    let (mut text, said) = listing("Why, and what to do", reasons.take(MAX_REASONS), room);
    let (table, rows, of_rows) = gates(verdict, room);
    text.push_str(&table);
    let warnings = verdict.warnings.iter().take(MAX_WARNINGS);
    let warnings = warnings.map(|warning| words::warning(warning, verdict));
    let (warnings, warned) = listing("Warnings", warnings, room);
    text.push_str(&warnings);
    let of = |left_out: usize, noun: &str| {
        (left_out > 0).then(|| format::counted(left_out as u64, noun))
    };
    let rows = (of_rows > rows).then(|| {
        let count = |count: usize| format::count(count as u64);
        format!("{} of {} rows", count(of_rows - rows), count(of_rows))
    });
    let left_out = [
        of(of_reasons - said, "more reason"),
        rows,
        of(verdict.warnings.len() - warned, "more warning"),
    ];
    let left_out = Vec::from_iter(left_out.into_iter().flatten());
    if !left_out.is_empty() {
        text.push_str(&format!("\nLeft out: {}.\n", left_out.join(", ")));
    }
    text
}

/// Some sentences, each with what is to be done, as far as there is room, and how many those are.
fn listing(title: &str, all: impl Iterator<Item = Spoken>, room: &mut Room) -> (String, usize) {
    let heading = format!("\n**{title}**\n\n");
    let mut all = Vec::from_iter(all);
    words::remedy_once(&mut all);
    let (mut text, mut shown) = (String::new(), 0);
    for said in &all {
        let item = item(said);
        let item = if shown == 0 {
            heading.clone() + &item
        } else {
            item
        };
        if !room.take(&item) {
            break;
        }
        text.push_str(&item);
        shown += 1;
    }
    (text, shown)
}

fn item(said: &Spoken) -> String {
    let mut item = format!("- {}.", plain(&said.sentence()));
    if !said.next.is_empty() {
        item.push_str(&format!(" → {}.", plain(&said.next)));
    }
    item.push('\n');
    item + &output(said)
}

/// The last lines of a process, as a list in a list.
fn output(said: &Spoken) -> String {
    let lines = last_lines(said).into_iter();
    lines.map(|line| format!("  - {}\n", code(line))).collect()
}

/// One judged thing.
enum Gate<'v> {
    Limit(&'v LimitVerdict),
    Metric(&'v MetricVerdict),
}

impl Gate<'_> {
    /// The order in which they are read: what needs a look before what doesn't, what can decide before what
    /// can't.
    fn concern(&self) -> (u8, bool) {
        match self {
            Self::Limit(limit) => match limit.holds {
                Some(false) => (0, false),
                None => (2, false),
                Some(true) => (6, false),
            },
            Self::Metric(metric) => {
                let concern = match metric.verdict {
                    MetricOutcome::Regressed => 1,
                    MetricOutcome::Inconclusive => 3,
                    MetricOutcome::NotMeasurable => 4,
                    MetricOutcome::Waived => 5,
                    MetricOutcome::Improved => 7,
                    MetricOutcome::Unchanged => 8,
                };
                match metric.gating {
                    true => (concern, false),
                    false => (10 + concern, !metric.advisory),
                }
            }
        }
    }

    fn cells(&self, with_waivers: bool) -> Vec<String> {
        let mut cells = match self {
            Self::Limit(limit) => limit_cells(limit),
            Self::Metric(metric) => metric_cells(metric),
        };
        if with_waivers {
            cells.push(match self {
                Self::Metric(metric) => metric.waiver.as_ref().map_or_else(
                    || NOTHING.to_owned(),
                    |waiver| plain(&words::waiver(metric, waiver)),
                ),
                Self::Limit(_) => NOTHING.to_owned(),
            });
        }
        cells
    }
}

/// The table of what was judged, and of what moved although nothing was asked of it, the worst first, as far as
/// there is room; how many rows those are, and of how many.
fn gates(verdict: &Verdict, room: &mut Room) -> (String, usize, usize) {
    let metrics = verdict.metrics.iter();
    let metrics: Vec<_> = metrics
        .filter(|metric| words::is_worth_showing(metric))
        .collect();
    let with_waivers = metrics.iter().any(|metric| metric.waiver.is_some());
    let others = verdict.metrics.len() - metrics.len();
    let mut gates: Vec<Gate<'_>> = verdict.limits.iter().map(Gate::Limit).collect();
    gates.extend(metrics.into_iter().map(Gate::Metric));
    gates.sort_by_key(Gate::concern);
    let interval = words::interval_name(verdict);
    let mut heads = vec![
        "metric",
        "base",
        "head",
        "effect (+ is worse)",
        &interval,
        "must be",
        "MDE",
        "verdict",
    ];
    if with_waivers {
        heads.push("waiver");
    }
    let head = format!("\n{}", table(&heads, &[]));
    let (mut text, mut shown) = (String::new(), 0);
    for gate in &gates {
        let row = row(&gate.cells(with_waivers));
        let row = if shown == 0 { head.clone() + &row } else { row };
        if !room.take(&row) {
            break;
        }
        text.push_str(&row);
        shown += 1;
    }
    if shown > 0 && others > 0 {
        let others = format::counted(others as u64, "other metric");
        let others = format!("\n{others} without a margin.\n");
        if room.take(&others) {
            text.push_str(&others);
        }
    }
    (text, shown, gates.len())
}

fn limit_cells(limit: &LimitVerdict) -> Vec<String> {
    let outcome = words::limit_outcome(limit);
    vec![
        code(&limit.metric),
        NOTHING.to_owned(),
        plain(&words::against_limit(limit)),
        NOTHING.to_owned(),
        NOTHING.to_owned(),
        plain(&words::demand(limit)),
        NOTHING.to_owned(),
        emphasised(outcome, limit.holds == Some(false)),
    ]
}

fn metric_cells(metric: &MetricVerdict) -> Vec<String> {
    let value = |v| plain(&format::or_dash(v, |v| format::value(&metric.unit, v)));
    let share = |v| plain(&format::or_dash(v, |v| words::margin_of(metric, v)));
    let margin = metric.margin.map_or_else(
        || NOTHING.to_owned(),
        |margin| plain(&format!("margin {}", words::margin_of(metric, margin))),
    );
    let is_bad = metric.gating && metric.verdict == MetricOutcome::Regressed;
    let effect = format::or_dash(metric.effect, |effect| words::effect_of(metric, effect));
    vec![
        code(&metric.name),
        value(metric.base),
        value(metric.head),
        plain(&effect),
        plain(&words::interval_of(metric)),
        margin,
        share(metric.mde),
        emphasised(&words::verdict_of(metric), is_bad),
    ]
}

fn emphasised(word: &str, is_bad: bool) -> String {
    match is_bad {
        true => format!("**{}**", plain(word)),
        false => plain(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_no_comment() {
        let check =
            |name: &str, expected: bool| assert_eq!(is_comment_name(name), expected, "{name}");
        check("gate", true);
        check("nightly_2.x-1", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        for name in ["", "a b", "a-->", "--", "a--b", "é", "a\n", "a>"] {
            check(name, false);
        }
    }
}
