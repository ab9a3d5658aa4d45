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
/// What effects are, and so how far apart they are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForestScale {
    /// Relative changes: by log ratios, so that twice as slow and twice as fast are equally far from the middle.
    Ratio,
    /// Differences in percentage points.
    Points,
}

impl ForestScale {
    /// Where an effect is drawn.
    fn at(self, effect: f64) -> f64 {
        match self {
            Self::Ratio => effect.ln_1p(),
            Self::Points => effect,
        }
    }

    /// The axis shows at least the first of these effects to either side, as a fraction, and at most the second:
    /// beyond it an interval is cut off.
    fn reach(self) -> (f64, f64) {
        match self {
            Self::Ratio => (0.06, 9.0),
            Self::Points => (0.001, 1.0),
        }
    }

    fn told(self, effect: f64) -> String {
        match self {
            Self::Ratio => format::effect(effect),
            Self::Points => format::points(effect),
        }
    }

    /// Effects at which the axis may have a label, to the right and to the left, from the middle.
    fn round(self) -> [Vec<f64>; 2] {
        match self {
            Self::Ratio => [
                vec![
                    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0,
                    14.0,
                ],
                [
                    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
                ]
                .map(|effect: f64| -effect)
                .to_vec(),
            ],
            Self::Points => {
                let decades = [0.0001, 0.001, 0.01, 0.1].into_iter();
                let right: Vec<f64> = decades.flat_map(|d| [d, 2.0 * d, 5.0 * d]).collect();
                let left = right.iter().map(|effect| -effect).collect();
                [right, left]
            }
        }
    }
}

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
    /// All of it in a sentence, for who points at it.
    pub(crate) told: String,
}

/// The plot of the rows, from the top; `None` without rows.
pub(crate) fn forest(rows: &[ForestRow], scale: ForestScale) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let (least, most) = scale.reach();
    let reach = rows
        .iter()
        .flat_map(|row| {
            [
                scale.at(row.lower).abs(),
                scale.at(row.upper).abs(),
                scale.at(row.margin.unwrap_or(0.0)),
            ]
        })
        .filter(|x| x.is_finite())
        .fold(scale.at(least), f64::max)
        .min(scale.at(most))
        * 1.12;
    let count = rows.len() as f64;
    let mut marks = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        marks.extend(row_marks(row, count - i as f64, reach, scale));
    }
    marks.push(Mark::Line {
        points: vec![(0.0, 0.0), (0.0, count)],
        role: Role::Zero,
    });
    let scene = Scene {
        size_px: (WIDTH_PX, AXIS_PX + ROW_PX * rows.len() as u32),
        x: effect_axis(reach, scale),
        y: Axis {
            from: 0.0,
            to: count,
            ticks: Vec::new(),
            scale: None,
        },
        marks,
    };
    Some(scene.svg())
}

/// The marks of the row whose upper edge is at `top`; a row is 1 high.
fn row_marks(row: &ForestRow, top: f64, reach: f64, scale: ForestScale) -> Vec<Mark> {
    let (words, line) = (top - 0.28, top - 0.70);
    let mut marks = Vec::new();
    if let Some(margin) = row.margin {
        let delta = scale.at(margin);
        marks.push(Mark::Band {
            corners: [(-delta, top - 0.48), (delta, top - 0.92)],
            role: Role::Margin,
        });
    }
    let (lower, upper) = (scale.at(row.lower), scale.at(row.upper));
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
        at: (scale.at(row.effect), line),
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
        text: scale.told(row.effect),
        role: Role::Caption,
        side: Side::Left,
    });
    marks.push(Mark::Note {
        corners: [(-reach, top), (reach, top - 1.0)],
        text: row.told.clone(),
    });
    marks
}

/// Labels at round effects, as many as have room: each step is at least a quarter of a side.
fn effect_axis(reach: f64, scale: ForestScale) -> Axis {
    let mut ticks = vec![(0.0, scale.told(0.0))];
    for side in scale.round() {
        let mut last: f64 = 0.0;
        for effect in side {
            let at = scale.at(effect);
            if (at - last).abs() >= reach / 4.2 && at.abs() < reach * 0.97 {
                ticks.push((at, scale.told(effect).replace(".0", "")));
                last = at;
            }
        }
    }
    Axis {
        from: -reach,
        to: reach,
        ticks,
        scale: None,
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
            told: "<b> 12 & more".into(),
        };
        for scale in [ForestScale::Ratio, ForestScale::Points] {
            let svg = forest(std::slice::from_ref(&row), scale).unwrap_or_default();
            assert!(svg.contains("f-margin") && svg.contains("s-worse"), "{svg}");
            assert!(svg.contains("&lt;b&gt;load.reads.p95"), "{svg}");
            let note = "<title>&lt;b&gt; 12 &amp; more</title>";
            assert!(svg.contains(note), "{svg}");
            assert!(forest(&[], scale).is_none());
        }
    }

    #[test]
    fn labels_do_not_crowd() {
        let check = |reach: f64, scale| {
            let axis = effect_axis(reach, scale);
            assert!((3..=11).contains(&axis.ticks.len()), "{axis:?}");
        };
        for reach in [0.06, 0.2, 1.0, 2.3] {
            check(reach, ForestScale::Ratio);
        }
        for reach in [0.001, 0.012, 0.3, 1.0] {
            check(reach, ForestScale::Points);
        }
    }
}
