//! What was judged: the effects as a picture, the gates, and what else was compared.

use serde::Serialize;

use crate::harness::compare::Comparison;
use crate::harness::gate::{AnchorVerdict, MetricOutcome, MetricVerdict, Verdict};
use crate::harness::report::format::{self, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::plots::{ForestRow, ForestScale, Role, forest};
use crate::harness::report::text;
use crate::harness::report::words;

use super::gates::{effect, gates, outcome_class, why};
use super::table::{Cell, Figure, RowIds, Table, judged, key, name, num, num_of};

/// Rows of the forest plot; the table has the rest.
const MAX_FOREST_ROWS: usize = 24;
/// Metrics in the open table; the rest is folded away.
const MAX_OPEN_ROWS: usize = 24;
/// Metrics in the folded one, what needs a look first.
const MAX_FOLDED_ROWS: usize = 500;

/// The sections on changes and gates.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    /// How the comparison was made, in sentences.
    design: String,
    forests: Vec<Figure>,
    /// What moved without being named by the scenario.
    moved: Option<Table>,
    /// The others that no gate names.
    others: Option<Table>,
    /// Metrics that only one arm has, in sentences.
    one_arm_only: Vec<String>,
    /// The head against each anchor.
    anchors: Vec<Table>,
    gates: Option<Table>,
}

impl Judged {
    pub(super) fn new(input: &ReportInput<'_>) -> Self {
        let verdict = input.verdict;
        let (moved, rest) = split(&verdict.metrics);
        Self {
            design: design(input),
            forests: forests(verdict),
            moved: (!moved.is_empty()).then(|| {
                let is_moved = moved.iter().any(|metric| words::is_worth_showing(metric));
                let caption = match is_moved {
                    true => "What else moved, although no gate names it",
                    false => "Metrics that no gate names",
                };
                margins(Some("change"), caption, &moved, verdict, words::verdict_of)
            }),
            others: (!rest.is_empty()).then(|| {
                let caption = format!(
                    "{} that no gate names",
                    format::counted(rest.len() as u64, "other metric")
                );
                margins(Some("other"), &caption, &rest, verdict, words::verdict_of)
            }),
            one_arm_only: verdict
                .comparison
                .as_ref()
                .map(one_arm_only)
                .unwrap_or_default(),
            anchors: anchors(verdict),
            gates: gates(verdict),
        }
    }

    pub(super) fn has_comparison(&self) -> bool {
        !self.design.is_empty()
    }

    pub(super) fn has_anchors(&self) -> bool {
        !self.anchors.is_empty()
    }

    pub(super) fn has_gates(&self) -> bool {
        self.gates.is_some()
    }
}

/// Of what no gate names, what deserves to be seen at once, and the rest.
fn split(metrics: &[MetricVerdict]) -> (Vec<&MetricVerdict>, Vec<&MetricVerdict>) {
    let (mut first, mut rest): (Vec<&MetricVerdict>, Vec<&MetricVerdict>) = metrics
        .iter()
        .filter(|metric| !metric.gating && !metric.advisory)
        .partition(|metric| words::is_worth_showing(metric));
    let is_all = rest.len() == metrics.len();
    if is_all && rest.len() <= MAX_OPEN_ROWS {
        std::mem::swap(&mut first, &mut rest);
    }
    first.sort_by_key(|metric| words::reading_order(metric));
    rest.sort_by_key(|metric| words::reading_order(metric));
    (first, rest)
}

fn design(input: &ReportInput<'_>) -> String {
    let verdict = input.verdict;
    let Some(comparison) = &verdict.comparison else {
        return String::new();
    };
    let head = input.head.first();
    let is_known = head.is_some_and(|run| !run.fingerprint.is_unknown());
    let mut metrics = verdict.metrics.iter();
    let of_the_base = match metrics.any(words::is_of_the_base) {
        true => {
            " Where higher is better, they say how much more the base has: half the rate is +100\u{202f}%."
        }
        false => "",
    };
    format!(
        "{} Effects are signed so that + is worse, whatever the metric.{of_the_base} Each end of an interval is a one-sided {} bound; together they are the {}.",
        words::design(comparison, is_known),
        format::margin(1.0 - comparison.alpha),
        words::interval_name(verdict),
    )
}

/// The effects as pictures: ratios, and differences of error rates, which have no ratio to zero.
fn forests(verdict: &Verdict) -> Vec<Figure> {
    let ratios = "How much, and how sure";
    let points = "How much more often requests fail, and how sure";
    [
        forest_figure(verdict, ForestScale::Ratio, ratios),
        forest_figure(verdict, ForestScale::Points, points),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn forest_figure(verdict: &Verdict, scale: ForestScale, title: &str) -> Option<Figure> {
    let mut rows: Vec<(&MetricVerdict, ForestRow)> = verdict
        .metrics
        .iter()
        .filter(|metric| words::is_worth_showing(metric))
        .filter(|metric| metric.is_difference == (scale == ForestScale::Points))
        .filter_map(|metric| {
            let row = ForestRow {
                name: metric.name.clone(),
                effect: metric.effect?,
                lower: metric.lower?,
                upper: metric.upper?,
                margin: metric.margin,
                role: role(metric.verdict),
                told: String::new(),
            };
            let told = format!(
                "{}: {}, {}, {}",
                text::shown(&row.name, 80),
                words::effect_of(metric, row.effect),
                words::interval_of(metric),
                words::metric_outcome(metric.verdict),
            );
            Some((metric, ForestRow { told, ..row }))
        })
        .collect();
    // What is judged first, the worst first.
    rows.sort_by(|(a, x), (b, y)| b.gating.cmp(&a.gating).then(y.effect.total_cmp(&x.effect)));
    let left_out = rows.len().saturating_sub(MAX_FOREST_ROWS);
    rows.truncate(MAX_FOREST_ROWS);
    let plot: Vec<ForestRow> = rows.into_iter().map(|(_, row)| row).collect();
    let told: Vec<&str> = plot.iter().map(|row| row.told.as_str()).collect();
    let alt = told.join("; ");
    let roles = [
        (Role::Worse, "regressed"),
        (Role::Better, "improved"),
        (Role::Same, "unchanged"),
        (Role::Unsure, "not decided"),
    ];
    let is_there = |role: Role| plot.iter().any(|row| row.role == role);
    Some(Figure {
        title: title.to_owned(),
        note: match left_out {
            0 => "Left of the middle is better, right is worse. The shaded band is the margin."
                .to_owned(),
            n => format!(
                "Left of the middle is better, right is worse. The shaded band is the margin. {n} more in the tables.",
            ),
        },
        alt,
        svg: forest(&plot, scale)?,
        keys: roles
            .into_iter()
            .filter(|(role, _)| is_there(*role))
            .map(|(role, label)| key(role, label))
            .collect(),
    })
}

fn margins(
    links: Option<&'static str>,
    caption: &str,
    metrics: &[&MetricVerdict],
    verdict: &Verdict,
    word: fn(&MetricVerdict) -> String,
) -> Table {
    let interval = words::interval_name(verdict);
    let mut table = Table::new(
        caption,
        &[
            "Metric", "Base", "Head", "Effect", &interval, "Margin", "MDE", "Values", "Verdict",
        ],
    );
    let mut links = links.map(RowIds::new);
    table.rows = metrics
        .iter()
        .take(MAX_FOLDED_ROWS)
        .map(|metric| {
            let mut row = margin_row(metric, verdict.comparison.as_ref(), word(metric));
            if let Some(links) = &mut links {
                row[0].id = links.of(&metric.name);
            }
            row
        })
        .collect();
    table.without_empty_columns();
    let left_out = metrics.len().saturating_sub(MAX_FOLDED_ROWS);
    if left_out > 0 {
        let left_out = format::count(left_out as u64);
        table.note = format!("{left_out} more are in the JSON report.");
    }
    table
}

fn margin_row(metric: &MetricVerdict, comparison: Option<&Comparison>, word: String) -> Vec<Cell> {
    let shown = |v: Option<f64>| match v {
        Some(v) => num_of(v, value(&metric.unit, v)),
        None => num("–"),
    };
    let share = |v: Option<f64>| num(format::or_dash(v, |v| words::margin_of(metric, v)));
    let mut last = judged(word, outcome_class(metric));
    let waiver = metric
        .waiver
        .as_ref()
        .map(|waiver| words::waiver(metric, waiver));
    let how = waiver.or_else(|| why(metric, comparison));
    last.title = text::shown(&how.unwrap_or_default(), 300);
    vec![
        name(&metric.name),
        shown(metric.base),
        shown(metric.head),
        effect(Some(metric)),
        num(words::interval_of(metric)),
        share(metric.margin),
        share(metric.mde),
        num(format!("{} / {}", metric.n_base, metric.n_head)),
        last,
    ]
}

/// One table an anchor. The columns are those of the comparison with the base.
fn anchors(verdict: &Verdict) -> Vec<Table> {
    let of_anchor = |anchor: &AnchorVerdict| {
        let mut metrics: Vec<&MetricVerdict> = anchor.metrics.iter().collect();
        metrics.sort_by_key(|metric| words::reading_order(metric));
        let mut table = margins(
            None,
            &format!("Against anchor {}", text::shown(&anchor.name, 40)),
            &metrics,
            verdict,
            |metric| words::metric_outcome(metric.verdict).to_owned(),
        );
        for head in table.heads.iter_mut().filter(|head| *head == "Base") {
            *head = "Anchor".to_owned();
        }
        table
    };
    verdict.anchors.iter().map(of_anchor).collect()
}

fn one_arm_only(comparison: &Comparison) -> Vec<String> {
    [
        ("base", &comparison.only_in_base),
        ("head", &comparison.only_in_head),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(arm, names)| {
        let shown: Vec<String> = names.iter().take(20).map(|n| name(n).text).collect();
        let more = names.len() - shown.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("Only the {arm} has: {}{more}.", shown.join(", "))
    })
    .collect()
}

fn role(outcome: MetricOutcome) -> Role {
    match outcome {
        MetricOutcome::Regressed | MetricOutcome::Waived => Role::Worse,
        MetricOutcome::Improved => Role::Better,
        MetricOutcome::Unchanged => Role::Same,
        MetricOutcome::Inconclusive | MetricOutcome::NotMeasurable => Role::Unsure,
    }
}
