//! The forest plot: a row a metric with its effect, its interval and its margin.

use crate::harness::report::format;
use crate::harness::report::text;

use super::axis::Axis;
use super::role::Role;
use super::scene::{Mark, Scene, Side};

/// The usual width in pixels.
const WIDTH_PX: u32 = 760;
/// The height of a row in pixels: a line of text above, the interval below.
const ROW_PX: u32 = 40;
/// Room for the axis in pixels.
const AXIS_PX: u32 = 34;
/// The axis shows at least this effect to either side, as a fraction.
const MIN_REACH: f64 = 0.06;
/// And at most this one: beyond it an interval is cut off.
const MAX_REACH: f64 = 9.0;

/// One metric. Effects are fractions, positive where worse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForestRow {
    /// The metric's path; hostile.
    pub(crate) name: String,
    /// The estimate.
    pub(crate) effect: f64,
    /// The lower bound.
    pub(crate) lower: f64,
    /// The upper bound.
    pub(crate) upper: f64,
    /// The margin, where there is one.
    pub(crate) margin: Option<f64>,
    /// What it means: worse, better, same or unsure.
    pub(crate) role: Role,
}

/// The plot of the rows, from the top; `None` without rows. Distances are those of log ratios, so
/// that twice as slow and twice as fast are equally far from the middle.
pub(crate) fn forest(rows: &[ForestRow]) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let reach = rows
        .iter()
        .flat_map(|row| {
            [
                row.lower.ln_1p().abs(),
                row.upper.ln_1p().abs(),
                row.margin.unwrap_or(0.0).ln_1p(),
            ]
        })
        .filter(|x| x.is_finite())
        .fold(MIN_REACH.ln_1p(), f64::max)
        .min(MAX_REACH.ln_1p())
        * 1.12;
    let count = rows.len() as f64;
    let mut marks = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        marks.extend(row_marks(row, count - i as f64, reach));
    }
    marks.push(Mark::Line {
        points: vec![(0.0, 0.0), (0.0, count)],
        role: Role::Zero,
    });
    let scene = Scene {
        size_px: (WIDTH_PX, AXIS_PX + ROW_PX * rows.len() as u32),
        x: effect_axis(reach),
        y: Axis {
            from: 0.0,
            to: count,
            ticks: Vec::new(),
        },
        marks,
    };
    Some(scene.svg())
}

/// The marks of the row whose upper edge is at `top`; a row is 1 high.
fn row_marks(row: &ForestRow, top: f64, reach: f64) -> Vec<Mark> {
    let (words, line) = (top - 0.28, top - 0.70);
    let mut marks = Vec::new();
    if let Some(margin) = row.margin {
        let delta = margin.ln_1p();
        marks.push(Mark::Band {
            corners: [(-delta, top - 0.48), (delta, top - 0.92)],
            role: Role::Margin,
        });
    }
    let (lower, upper) = (row.lower.ln_1p(), row.upper.ln_1p());
    marks.push(Mark::Line {
        points: vec![(lower, line), (upper, line)],
        role: row.role,
    });
    for end in [lower, upper] {
        if end.abs() < reach {
            marks.push(Mark::Line {
                points: vec![(end, line - 0.1), (end, line + 0.1)],
                role: row.role,
            });
        }
    }
    marks.push(Mark::Dot {
        at: (row.effect.ln_1p(), line),
        radius: 4.5,
        role: row.role,
    });
    marks.push(Mark::Text {
        at: (-reach, words),
        text: text::shown(&row.name, 44),
        role: Role::Caption,
        side: Side::Right,
    });
    marks.push(Mark::Text {
        at: (reach, words),
        text: format::effect(row.effect),
        role: Role::Caption,
        side: Side::Left,
    });
    marks
}

/// Labels at round effects, as many as have room: each step is at least an eighth of the axis.
fn effect_axis(reach: f64) -> Axis {
    const ROUND: [f64; 16] = [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0,
    ];
    let mut ticks = vec![(0.0, format::effect(0.0))];
    let mut last = 0.0;
    for effect in ROUND {
        let at = effect.ln_1p();
        if at - last >= reach / 4.2 && at < reach * 0.97 {
            ticks.push((at, format::effect(effect)));
            last = at;
        }
    }
    let mut last = 0.0;
    for effect in [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    ] {
        let at = f64::ln_1p(-effect);
        if last - at >= reach / 4.2 && at > -reach * 0.97 {
            ticks.push((at, format::effect(-effect)));
            last = at;
        }
    }
    for (_, label) in &mut ticks {
        *label = label.replace(".0", "");
    }
    Axis {
        from: -reach,
        to: reach,
        ticks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_its_interval_and_its_margin() {
        let row = ForestRow {
            name: "<b>load.reads.p95</b>".into(),
            effect: 0.12,
            lower: 0.08,
            upper: f64::INFINITY,
            margin: Some(0.05),
            role: Role::Worse,
        };
        let svg = forest(std::slice::from_ref(&row)).unwrap_or_default();
        assert!(svg.contains("f-margin") && svg.contains("s-worse"), "{svg}");
        assert!(svg.contains("&lt;b&gt;load.reads.p95"), "{svg}");
        assert!(forest(&[]).is_none());
    }

    #[test]
    fn labels_do_not_crowd() {
        for reach in [0.06_f64, 0.2, 1.0, 2.3] {
            let axis = effect_axis(reach);
            assert!((3..=11).contains(&axis.ticks.len()), "{axis:?}");
        }
    }
}
