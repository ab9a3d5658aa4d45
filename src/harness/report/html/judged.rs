//! What was judged: effects against margins, values against limits.

use serde::Serialize;

use crate::harness::compare::{Comparison, Estimate};
use crate::harness::gate::{AnchorVerdict, LimitVerdict, MetricOutcome, MetricVerdict, Verdict};
use crate::harness::report::format::{self, value};
use crate::harness::report::input::ReportInput;
use crate::harness::report::plots::{ForestRow, Role, forest};
use crate::harness::report::text;
use crate::harness::report::words;

use super::table::{Cell, Figure, Table, judged, key, name, num, prose};

/// Rows of the forest plot; the table has the rest.
const MAX_FOREST_ROWS: usize = 24;
/// Metrics in the open table; the rest is folded away.
const MAX_OPEN_ROWS: usize = 24;

/// The sections on changes and limits.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    /// How the comparison was made, in sentences.
    design: String,
    forest: Option<Figure>,
    /// Metrics that the scenario names, and what moved.
    margins: Option<Table>,
    /// The others.
    others: Option<Table>,
    /// Metrics that only one arm has, in sentences.
    one_arm_only: Vec<String>,
    /// The head against each anchor.
    anchors: Vec<Table>,
    limits: Option<Table>,
}

impl Judged {
    pub(super) fn new(input: &ReportInput<'_>) -> Self {
        let verdict = input.verdict;
        let (first, rest) = split(&verdict.metrics);
        Self {
            design: design(input),
            forest: forest_figure(verdict),
            margins: (!first.is_empty()).then(|| {
                margins(
                    "Metrics with a margin, and what else moved",
                    &first,
                    verdict,
                    words::verdict_of,
                )
            }),
            others: (!rest.is_empty()).then(|| {
                let caption = format!(
                    "{} without a margin",
                    format::counted(rest.len() as u64, "other metric")
                );
                margins(&caption, &rest, verdict, words::verdict_of)
            }),
            one_arm_only: verdict
                .comparison
                .as_ref()
                .map(one_arm_only)
                .unwrap_or_default(),
            anchors: anchors(verdict),
            limits: (!verdict.limits.is_empty()).then(|| limits(&verdict.limits)),
        }
    }

    pub(super) fn has_comparison(&self) -> bool {
        self.margins.is_some() || self.others.is_some()
    }

    pub(super) fn has_anchors(&self) -> bool {
        !self.anchors.is_empty()
    }

    pub(super) fn has_limits(&self) -> bool {
        self.limits.is_some()
    }
}

/// What deserves to be seen at once, and the rest.
fn split(metrics: &[MetricVerdict]) -> (Vec<&MetricVerdict>, Vec<&MetricVerdict>) {
    let (mut first, mut rest): (Vec<&MetricVerdict>, Vec<&MetricVerdict>) = metrics
        .iter()
        .partition(|metric| words::is_worth_showing(metric));
    if first.is_empty() && rest.len() <= MAX_OPEN_ROWS {
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

fn forest_figure(verdict: &Verdict) -> Option<Figure> {
    let mut rows: Vec<(&MetricVerdict, ForestRow)> = verdict
        .metrics
        .iter()
        .filter(|metric| words::is_worth_showing(metric) && !metric.is_difference)
        .filter_map(|metric| {
            let row = ForestRow {
                name: metric.name.clone(),
                effect: metric.effect?,
                lower: metric.lower?,
                upper: metric.upper?,
                margin: metric.margin,
                role: role(metric.verdict),
            };
            Some((metric, row))
        })
        .collect();
    // What is judged first, the worst first.
    rows.sort_by(|(a, x), (b, y)| b.gating.cmp(&a.gating).then(y.effect.total_cmp(&x.effect)));
    let left_out = rows.len().saturating_sub(MAX_FOREST_ROWS);
    rows.truncate(MAX_FOREST_ROWS);
    let alt = rows
        .iter()
        .map(|(metric, row)| {
            format!(
                "{}: {}, {}, {}",
                text::shown(&row.name, 80),
                words::effect_of(metric, row.effect),
                words::interval_of(metric),
                words::metric_outcome(metric.verdict),
            )
        })
        .collect::<Vec<_>>()
        .join("; ");
    let plot: Vec<ForestRow> = rows.into_iter().map(|(_, row)| row).collect();
    Some(Figure {
        title: "How much, and how sure".to_owned(),
        note: match left_out {
            0 => "Left of the middle is better, right is worse. The shaded band is the margin."
                .to_owned(),
            n => format!(
                "Left of the middle is better, right is worse. The shaded band is the margin. {} more in the table.",
                n
            ),
        },
        alt,
        svg: forest(&plot)?,
        keys: vec![
            key(Role::Worse, "regressed"),
            key(Role::Better, "improved"),
            key(Role::Same, "unchanged"),
            key(Role::Unsure, "not decided"),
        ],
    })
}

fn margins(
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
    table.rows = metrics
        .iter()
        .map(|metric| margin_row(metric, verdict.comparison.as_ref(), word(metric)))
        .collect();
    table.note = "MDE: the smallest true change that this comparison would notice four times out of five. Base and head are medians of the values: one a run, of a bench one an invocation. In brackets: what can’t fail the gate.".to_owned();
    table
}

fn margin_row(metric: &MetricVerdict, comparison: Option<&Comparison>, word: String) -> Vec<Cell> {
    let shown = |v: Option<f64>| num(format::or_dash(v, |v| value(&metric.unit, v)));
    let share = |v: Option<f64>| num(format::or_dash(v, |v| words::margin_of(metric, v)));
    let mut last = judged(word, outcome_class(metric));
    let waiver = metric
        .waiver
        .as_ref()
        .map(|waiver| words::waiver(metric, waiver));
    let how = waiver
        .or_else(|| metric.note.clone())
        .or_else(|| how(&metric.name, comparison))
        .unwrap_or_default();
    last.title = text::shown(&how, 300);
    vec![
        name(&metric.name),
        shown(metric.base),
        shown(metric.head),
        num(format::or_dash(metric.effect, |effect| {
            words::effect_of(metric, effect)
        })),
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
            &format!("Against anchor {}", text::shown(&anchor.name, 40)),
            &metrics,
            verdict,
            |metric| words::metric_outcome(metric.verdict).to_owned(),
        );
        table.heads[1] = "Anchor".to_owned();
        table.note = String::new();
        table
    };
    verdict.anchors.iter().map(of_anchor).collect()
}

/// How the estimate was reached, or why there is none.
fn how(metric: &str, comparison: Option<&Comparison>) -> Option<String> {
    let compared = comparison?
        .metrics
        .iter()
        .find(|compared| compared.name == metric)?;
    Some(match &compared.estimate {
        Estimate::Known(effect) => effect.method.clone(),
        Estimate::Unknown { reason, remedy } => format!("{reason}; {remedy}"),
    })
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

fn limits(all: &[LimitVerdict]) -> Table {
    let mut table = Table::new(
        "Absolute limits, held against the median of the values, or the share of all requests that failed",
        &[
            "Metric", "Measured", "Must be", "Spread", "Values", "Verdict",
        ],
    );
    table.rows = all
        .iter()
        .map(|limit| {
            let class = match limit.holds {
                Some(true) => "good",
                Some(false) => "bad",
                None => "unsure",
            };
            let ends = limit.low.zip(limit.high).filter(|_| limit.n > 1);
            let spread = format::or_dash(ends, |(low, high)| format::range(&limit.unit, low, high));
            vec![
                name(&limit.metric),
                num(words::against_limit(limit)),
                prose(&words::demand(limit)),
                num(spread),
                num(limit.n.to_string()),
                judged(words::limit_outcome(limit), class),
            ]
        })
        .collect();
    table
}

fn role(outcome: MetricOutcome) -> Role {
    match outcome {
        MetricOutcome::Regressed | MetricOutcome::Waived => Role::Worse,
        MetricOutcome::Improved => Role::Better,
        MetricOutcome::Unchanged => Role::Same,
        MetricOutcome::Inconclusive | MetricOutcome::NotMeasurable => Role::Unsure,
    }
}

fn outcome_class(metric: &MetricVerdict) -> &'static str {
    match metric.verdict {
        MetricOutcome::Regressed if metric.gating => "bad",
        MetricOutcome::Improved => "good",
        MetricOutcome::Unchanged if metric.gating => "good",
        MetricOutcome::Regressed | MetricOutcome::Waived | MetricOutcome::Inconclusive => "unsure",
        MetricOutcome::Unchanged | MetricOutcome::NotMeasurable => "plain",
    }
}
