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
    /// The smallest effect that the pairs so far would find, beside the margin.
    found_and_asked: Option<(String, String)>,
    /// Whether that is more than the margin.
    is_blunt: bool,
    /// The pairs that the margin would need.
    needed: Option<u32>,
}

impl Open {
    /// That of a metric.
    pub(in crate::harness::cli) fn of(metric: &MetricVerdict) -> Self {
        let found_and_asked = metric.mde.zip(metric.margin);
        let told = |fraction| words::margin_of(metric, fraction);
        Self {
            metric: text::shown(&metric.name, NAME_CHARS),
            is_blunt: found_and_asked.is_some_and(|(mde, margin)| mde > margin),
            found_and_asked: found_and_asked.map(|(mde, margin)| (told(mde), told(margin))),
            needed: metric.pairs_needed,
        }
    }

    /// For a line that stays: `load.a.p95 (MDE 7.1 %, margin 5 %, about 12 pairs)`.
    fn in_full(&self) -> String {
        let found = self.found_and_asked.as_ref();
        let parts = [
            found.map(|(mde, margin)| format!("MDE {mde}, margin {margin}")),
            self.needed
                .map(|needed| format!("about {}", format::counted(needed.into(), "pair"))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => self.metric.clone(),
            false => format!("{} ({})", self.metric, parts.join(", ")),
        }
    }

    /// For a line that changes: `load.a.p95 (MDE 7.1 % > 5 %)`.
    fn in_short(&self) -> String {
        match &self.found_and_asked {
            Some((mde, margin)) if self.is_blunt => {
                format!("{} (MDE {mde} > {margin})", self.metric)
            }
            Some((mde, margin)) => format!("{} (MDE {mde} of {margin})", self.metric),
            None => self.metric.clone(),
        }
    }
}

/// Open metrics for a line that stays, those beyond a few counted.
pub(in crate::harness::cli) fn in_full(open: &[Open]) -> String {
    let named = open.iter().take(MAX_NAMED).map(Open::in_full);
    let rest = open.len().saturating_sub(MAX_NAMED);
    let rest = (rest > 0).then(|| format!("and {rest} more"));
    named.chain(rest).collect::<Vec<_>>().join(", ")
}

impl Standing {
    /// For the view; `None` where there is nothing to say.
    pub(super) fn line(&self, now: Instant) -> Option<Line> {
        let mut line = Line::new("  ");
        if !self.open.is_empty() {
            line = line.toned(0, Tone::Caution, "open");
        }
        for (rank, open) in (1..).zip(self.open.iter().take(MAX_NAMED)) {
            // The first is cut before it goes.
            line = match rank {
                1 => line.name(1, open.in_short(), 30),
                _ => line.text(2 + rank, open.in_short()),
            };
        }
        let rest = self.open.len().saturating_sub(MAX_NAMED);
        if rest > 0 {
            line = line.text(3, format!("and {rest} more"));
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

    /// One whose margin is 5 %.
    pub(in crate::harness::cli) fn open(metric: &str, mde: f64, needed: Option<u32>) -> Open {
        Open {
            metric: metric.to_owned(),
            found_and_asked: Some((format::margin(mde), format::margin(0.05))),
            is_blunt: mde > 0.05,
            needed,
        }
    }

    fn plain(text: &str) -> String {
        text.replace('\u{202f}', " ")
    }

    #[test]
    fn a_few_are_named_and_the_rest_counted() {
        let mut all = vec![
            open("load.a.p95", 0.071, Some(12)),
            open("bench.b", 0.03, None),
        ];
        let two =
            "load.a.p95 (MDE 7.1 %, margin 5 %, about 12 pairs), bench.b (MDE 3 %, margin 5 %)";
        assert_eq!(plain(&in_full(&all)), two);
        all.extend([
            open("c", 0.1, Some(1)),
            open("d", 0.1, None),
            open("e", 0.1, None),
        ]);
        let rest = ", c (MDE 10 %, margin 5 %, about 1 pair), and 2 more";
        assert_eq!(plain(&in_full(&all)), format!("{two}{rest}"));
    }

    #[test]
    fn a_narrow_line_keeps_what_is_open_first() {
        let now = Instant::now();
        let standing = Standing {
            open: vec![
                open("load.a.p95", 0.071, Some(12)),
                open("bench.b", 0.03, None),
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
        let first = "  open  load.a.p95 (MDE 7.1 % > 5 %)";
        check(
            100,
            &format!("{first}  bench.b (MDE 3 % of 5 %)  budget 9 min 10 s left"),
        );
        check(80, &format!("{first}  budget 9 min 10 s left"));
        check(40, first);
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
