//! Where pairs under a budget stand: what the last look left open, and how much time is left for more.

use std::time::Instant;

use crate::harness::gate::MetricVerdict;
use crate::harness::report::terminal::{Line, Tone};
use crate::harness::report::{format, text, words};

use super::words::whole;

/// More open metrics than this are counted.
const MAX_NAMED: usize = 3;
/// Names of metrics are cut to this.
const NAME_CHARS: usize = 60;
/// The fewest columns of the first.
const LEAST_NAME: usize = 12;

/// What is known between two looks.
#[derive(Debug, Clone, Default)]
pub(in crate::harness::cli) struct Standing {
    /// What the last look left open; nothing before the first.
    pub(in crate::harness::cli) open: Vec<Open>,
    /// When the budget is spent.
    pub(in crate::harness::cli) until: Option<Instant>,
}

/// A gating metric of which neither worse nor unchanged can be said yet.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::harness::cli) struct Open {
    /// Its path.
    metric: String,
    /// Its effect so far, with the interval that is still too wide.
    so_far: Option<(String, String)>,
    margin: Option<String>,
    /// The pairs that the margin would need.
    needed: Option<u32>,
}

impl Open {
    /// That of a metric.
    pub(in crate::harness::cli) fn of(metric: &MetricVerdict) -> Self {
        let effect = metric.effect.map(|effect| words::effect_of(metric, effect));
        Self {
            metric: text::shown(&metric.name, NAME_CHARS),
            so_far: effect.map(|effect| (effect, words::interval_of(metric))),
            margin: metric.margin.map(|margin| words::margin_of(metric, margin)),
            needed: metric.pairs_needed,
        }
    }

    /// For a line that stays: `load.a.p95 +3.1 % (−1.2 … +7.4 %, margin 5 %, which needs about 12 pairs)`.
    fn in_full(&self) -> String {
        let needed = self.needed.map(|needed| {
            let pairs = format::counted(needed.into(), "pair");
            format!("which needs about {pairs}")
        });
        self.with(needed)
    }

    fn with(&self, needed: Option<String>) -> String {
        let parts = [
            Some(self.metric.clone()),
            self.effect(),
            self.bounds(needed),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    fn effect(&self) -> Option<String> {
        self.so_far.as_ref().map(|(effect, _)| effect.clone())
    }

    /// `(−1.2 … +7.4 %, margin 5 %)`.
    fn bounds(&self, needed: Option<String>) -> Option<String> {
        let interval = self.so_far.as_ref().map(|(_, interval)| interval.clone());
        let margin = self.margin.as_ref();
        let margin = margin.map(|margin| format!("margin {margin}"));
        let parts: Vec<String> = [interval, margin, needed].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
    }
}

/// Open metrics for lines that stay, those beyond a few counted.
pub(in crate::harness::cli) fn in_full(open: &[Open]) -> Vec<String> {
    let named = open.iter().take(MAX_NAMED).map(Open::in_full);
    let rest = open.len().saturating_sub(MAX_NAMED);
    let rest = (rest > 0).then(|| format!("and {rest} more"));
    named.chain(rest).collect()
}

impl Standing {
    /// For the view; `None` where there is nothing to say.
    pub(super) fn line(&self, now: Instant) -> Option<Line> {
        let mut line = Line::new("  ");
        if !self.open.is_empty() {
            line = line.toned(0, Tone::Caution, "open");
        }
        let (first, others) = self.open.split_at(self.open.len().min(1));
        for open in first {
            line = line.name(1, &open.metric, LEAST_NAME);
            for (rank, part) in [(1, open.effect()), (3, open.bounds(None))] {
                line = match part {
                    Some(part) => line.text(rank, part),
                    None => line,
                };
            }
        }
        for open in others.iter().take(MAX_NAMED - 1) {
            line = line.text(4, open.with(None));
        }
        let rest = self.open.len().saturating_sub(MAX_NAMED);
        if rest > 0 {
            line = line.text(2, format!("and {rest} more"));
        }
        if let Some(budget) = self.budget(now) {
            line = line.toned(2, Tone::Dim, budget);
        }
        (!self.open.is_empty() || self.until.is_some()).then_some(line)
    }

    /// For a line elsewhere.
    pub(super) fn short(&self, now: Instant) -> Option<String> {
        let open = match self.open.len() {
            0 => None,
            open => Some(format!("{open} open")),
        };
        let parts: Vec<String> = [open, self.budget(now)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn budget(&self, now: Instant) -> Option<String> {
        let left = self.until?.saturating_duration_since(now);
        Some(match left.is_zero() {
            true => "budget spent".to_owned(),
            false => format!("budget {} left", whole(left)),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
pub(in crate::harness::cli) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::report::terminal::TerminalStyle;

    /// One whose margin is 5 %, and whose interval is that much to both sides.
    pub(in crate::harness::cli) fn open(metric: &str, effect: f64, needed: Option<u32>) -> Open {
        let interval = format::interval(effect - 0.05, effect + 0.05);
        Open {
            metric: metric.to_owned(),
            so_far: Some((format::effect(effect), interval)),
            margin: Some(format::margin(0.05)),
            needed,
        }
    }

    fn plain(text: &str) -> String {
        text.replace('\u{202f}', " ").replace('\u{2212}', "-")
    }

    #[test]
    fn a_few_are_named_and_the_rest_counted() {
        let mut all = vec![
            open("load.a.p95", 0.031, Some(12)),
            open("bench.b", -0.02, None),
        ];
        let told = |open: &[Open]| -> Vec<String> {
            let lines = in_full(open).into_iter();
            lines.map(|line| plain(&line)).collect()
        };
        let two = [
            "load.a.p95 +3.1 % (-1.9 … +8.1 %, margin 5 %, which needs about 12 pairs)",
            "bench.b -2.0 % (-7.0 … +3.0 %, margin 5 %)",
        ];
        assert_eq!(told(&all), two);
        all.extend([
            Open {
                so_far: None,
                ..open("c", 0.1, Some(1))
            },
            open("d", 0.1, None),
            open("e", 0.1, None),
        ]);
        let rest = ["c (margin 5 %, which needs about 1 pair)", "and 2 more"];
        assert_eq!(told(&all), [two, rest].concat());
    }

    #[test]
    fn a_narrow_line_keeps_what_is_open_first() {
        let now = Instant::now();
        let standing = Standing {
            open: vec![
                open("load.a.p95", 0.031, Some(12)),
                open("bench.b", -0.02, None),
            ],
            until: Some(now + Duration::from_millis(549_200)),
        };
        let check = |width: usize, expected: &str| {
            let style = TerminalStyle {
                colour: false,
                width,
                ascii: false,
            };
            assert_eq!(plain(&standing.line(now).unwrap().render(style)), expected);
        };
        let first = "  open  load.a.p95  +3.1 %";
        let bounds = "(-1.9 … +8.1 %, margin 5 %)";
        let second = "bench.b -2.0 % (-7.0 … +3.0 %, margin 5 %)";
        let budget = "budget 9 min 10 s left";
        check(130, &format!("{first}  {bounds}  {second}  {budget}"));
        check(80, &format!("{first}  {bounds}  {budget}"));
        check(60, &format!("{first}  {budget}"));
        check(40, first);
        check(22, "  open  load.a.p95");
        assert_eq!(
            plain(&standing.short(now).unwrap()),
            "2 open, budget 9 min 10 s left"
        );
        let spent = standing.short(now + Duration::from_secs(600));
        assert_eq!(spent.as_deref(), Some("2 open, budget spent"));
        assert!(Standing::default().line(now).is_none());
        assert_eq!(Standing::default().short(now), None);
    }
}
