//! A metric over the runs of a lineage: a point a run, the level between two changes, the changes
//! themselves and what else happened, marked.
//!
//! Runs stand side by side in their order, whatever time lies between them: a sitting of ten runs and a
//! quiet month would otherwise hide each other.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use crate::harness::model::Unit;

use super::axis::{self, Axis};
use super::role::Role;
use super::scene::{Mark, Scene, Side};

/// The usual size in pixels.
const SIZE_PX: (u32, u32) = (560, 210);
/// The radius of a point in pixels.
const POINT_PX: f64 = 3.0;
/// Where along the axis days are written, as shares of it: the last has room before the end.
const DAYS_AT: [f64; 5] = [0.0, 0.22, 0.44, 0.66, 0.88];
/// Lines that are named, the newest; more get a line only.
const MAX_NAMES: usize = 8;
/// Names stand on so many levels in turn, so that neighbours don't cover each other.
const LEVELS: usize = 2;
/// The height of such a level in pixels.
const LEVEL_PX: f64 = 15.0;
/// Values that all are in so small a part of their size get an axis that is wider.
const NARROWEST: f64 = 0.04;

/// What is drawn of a metric.
#[derive(Debug, Clone)]
pub(crate) struct Trend<'a> {
    /// The unit of the values.
    pub(crate) unit: &'a Unit,
    /// Oldest first.
    pub(crate) points: Vec<TrendPoint>,
    /// Between the changes.
    pub(crate) levels: Vec<Level>,
    /// Changes and whatever else is marked.
    pub(crate) lines: Vec<Line>,
}

/// What one run says.
#[derive(Debug, Clone)]
pub(crate) struct TrendPoint {
    /// When the run started.
    pub(crate) at: Timestamp,
    /// The value; finite.
    pub(crate) value: f64,
    /// What a pointer is told that rests on the run.
    pub(crate) title: String,
}

/// The middle of the runs between two changes.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    /// Indexes of the runs.
    pub(crate) runs: Range<usize>,
    /// Their median.
    pub(crate) value: f64,
}

/// A line across the plot, before a run.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The index of the first run after it.
    pub(crate) before: usize,
    /// What stands beside it.
    pub(crate) name: String,
    /// What it stands for.
    pub(crate) role: Role,
}

/// The plot as SVG; `None` for no points.
pub(crate) fn trend(trend: &Trend<'_>) -> Option<String> {
    let values = || trend.points.iter().map(|point| point.value);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let x = x_axis(&trend.points);
    let mut y = y_axis(trend.unit, low, high);
    let named = trend.lines.len().saturating_sub(MAX_NAMES);
    let levels = trend.lines.len().min(LEVELS) as f64;
    let level = (y.to - y.from) * LEVEL_PX / f64::from(SIZE_PX.1);
    y.to += levels * level;

    let mut marks = Vec::new();
    for line in &trend.lines {
        let at = line.before as f64 - 0.5;
        marks.push(Mark::Line {
            points: vec![(at, y.from), (at, y.to)],
            role: line.role,
        });
    }
    for level in &trend.levels {
        marks.push(Mark::Line {
            points: vec![
                (level.runs.start as f64 - 0.5, level.value),
                (level.runs.end as f64 - 0.5, level.value),
            ],
            role: Role::Zero,
        });
    }
    for (nth, point) in trend.points.iter().enumerate() {
        marks.push(Mark::Dot {
            at: (nth as f64, point.value),
            radius: POINT_PX,
            role: Role::Head,
        });
    }
    for (nth, line) in trend.lines.iter().skip(named).enumerate() {
        let at = line.before as f64 - 0.5;
        let share = (at - x.from) / (x.to - x.from);
        let side = match share > 0.6 {
            true => Side::Left,
            false => Side::Right,
        };
        let nudge = 0.008 * (x.to - x.from) * if side == Side::Left { -1.0 } else { 1.0 };
        marks.push(Mark::Text {
            at: (at + nudge, y.to - level * ((nth % LEVELS) as f64 + 0.5)),
            text: line.name.clone(),
            role: line.role,
            side,
        });
    }
    // All of a run's height tells of it: a point is too small to be found with a finger. Above everything else.
    for (nth, point) in trend.points.iter().enumerate() {
        let at = nth as f64;
        marks.push(Mark::Note {
            corners: [(at - 0.5, y.from), (at + 0.5, y.to)],
            text: point.title.clone(),
        });
    }
    let scene = Scene {
        size_px: SIZE_PX,
        x,
        y,
        marks,
    };
    Some(scene.svg())
}

/// Half a run of room on both sides; days, or hours where there are few of them.
fn x_axis(points: &[TrendPoint]) -> Axis {
    let span = match (points.first(), points.last()) {
        (Some(first), Some(last)) => last.at.duration_since(first.at),
        _ => SignedDuration::ZERO,
    };
    let how = match span.as_hours() {
        0..36 => "%H:%M",
        36..9600 => "%m-%d",
        _ => "%Y-%m",
    };
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for share in DAYS_AT {
        let nth = (share * points.len() as f64) as usize;
        let Some(point) = points.get(nth) else {
            continue;
        };
        let day = point.at.strftime(how).to_string();
        if ticks.last().is_none_or(|(_, last)| *last != day) {
            ticks.push((nth as f64, day));
        }
    }
    Axis {
        from: -0.5,
        to: points.len() as f64 - 0.5,
        ticks,
        scale: None,
    }
}

/// From zero where the values are not far from it: a change of five percent must be seen, and one that
/// is none must not look like one.
fn y_axis(unit: &Unit, low: f64, high: f64) -> Axis {
    let spread = high - low;
    if low >= 0.0 && (spread > low || high == 0.0) {
        return axis::from_zero(unit, high);
    }
    let room = spread.max(NARROWEST * low.abs().max(high.abs())) * 0.15;
    let missing = (NARROWEST * low.abs().max(high.abs()) - spread).max(0.0) / 2.0;
    axis::linear(unit, low - room - missing, high + room + missing)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn points(values: &[f64], hours: i64) -> Vec<TrendPoint> {
        let point = |(nth, value): (usize, &f64)| TrendPoint {
            at: Timestamp::from_second(1_790_000_000 + nth as i64 * hours * 3600).unwrap(),
            value: *value,
            title: format!("run {nth} <b>&"),
        };
        values.iter().enumerate().map(point).collect()
    }

    fn plot(values: &[f64], lines: Vec<Line>) -> String {
        let drawn = trend(&Trend {
            unit: &Unit::Nanoseconds,
            points: points(values, 24),
            levels: vec![Level {
                runs: 0..values.len(),
                value: values[0],
            }],
            lines,
        });
        drawn.unwrap()
    }

    #[test]
    fn each_run_has_its_point_with_its_own_words() {
        let svg = plot(&[5e6, 7e6, 6e6], Vec::new());
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert_eq!(svg.matches("</title></rect>").count(), 3, "{svg}");
        let at = |text: &str| svg.find(text).unwrap();
        assert!(at("run 0 &lt;b&gt;&amp;") < at("run 1 ") && at("run 1 ") < at("run 2 "));
        assert!(!svg.contains("<b>"), "{svg}");
        assert!(
            trend(&Trend {
                unit: &Unit::Count,
                points: Vec::new(),
                levels: Vec::new(),
                lines: Vec::new(),
            })
            .is_none()
        );
    }

    #[test]
    fn the_newest_lines_are_named() {
        let lines = (1..20).map(|nth| Line {
            before: nth,
            name: format!("change-{nth}<"),
            role: Role::Worse,
        });
        let svg = plot(&[5e6; 20], lines.collect());
        assert!(!svg.contains("change-11&lt;"), "{svg}");
        assert!(
            svg.contains("change-12&lt;") && svg.contains("change-19&lt;"),
            "{svg}"
        );
        let drawn = svg.split('<').filter(|tag| tag.contains("s-worse"));
        assert_eq!(drawn.count(), 19, "{svg}");
    }

    #[test]
    fn a_change_that_is_none_does_not_look_like_one() {
        let check = |values: &[f64], from_zero: bool| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let axis = y_axis(&Unit::Nanoseconds, low, high);
            assert_eq!(axis.from == 0.0, from_zero, "{values:?}: {axis:?}");
            assert!(
                axis.from < axis.to && axis.from <= low && axis.to >= high,
                "{axis:?}"
            );
            let span = axis.to - axis.from;
            assert!(span >= NARROWEST * high.abs(), "{values:?}: {axis:?}");
            assert!(axis.ticks.len() < 20, "{axis:?}");
        };
        check(&[50e6, 50.001e6], false);
        check(&[50e6, 60e6], false);
        check(&[1e6, 60e6], true);
        check(&[0.0], true);
        check(&[7.0], false);
        check(&[-3.0, 4.0], false);
    }

    #[test]
    fn days_are_told_apart() {
        let check = |runs: usize, hours, expected: &[&str]| {
            let axis = x_axis(&points(&vec![1.0; runs], hours));
            let labels: Vec<&str> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
            assert_eq!(labels, expected);
        };
        // 1 790 000 000 is 2026-09-21 14:13:20 UTC.
        check(1, 1, &["14:13"]);
        check(10, 1, &["14:13", "16:13", "18:13", "20:13", "22:13"]);
        check(10, 24, &["09-21", "09-23", "09-25", "09-27", "09-29"]);
        check(4, 360 * 24, &["2026-09", "2027-09", "2028-09", "2029-09"]);
    }
}
