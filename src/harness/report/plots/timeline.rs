//! Whatever goes on over the time of a run: phases shaded, happenings marked.

use crate::harness::model::{LoadMeasurement, LoadWindow, Phase, PhaseSpan, Run, Unit};
use crate::harness::report::text;

use super::axis::{self, Axis};
use super::role::Role;
use super::scene::{Mark, Scene, Side};
use super::series::{largest, lines, mean, stride, thinned};

/// The usual width of a timeline in pixels.
const WIDTH_PX: u32 = 560;
/// The usual height of a timeline in pixels.
pub(crate) const HEIGHT_PX: u32 = 230;
/// Happenings are named above the curves, on as many levels, so that a stop and the start after it
/// don't cover each other.
const LEVELS: usize = 2;
/// The height of a level in pixels.
const LEVEL_PX: f64 = 15.0;
/// Happenings with a label; more get a line only.
const MAX_LABELS: usize = 9;

/// The time axis of a run and what stands on it.
#[derive(Debug, Clone)]
pub(crate) struct Timeline<'a> {
    phases: &'a [PhaseSpan],
    /// When something happened, in seconds, and what.
    happenings: Vec<(f64, String)>,
    /// When a limit ended the run, in seconds.
    ended_s: Option<f64>,
    to_s: f64,
}

/// One line of a plot over time.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// (seconds from the start of the load, value).
    pub(crate) points: Vec<(f64, f64)>,
    /// What it stands for.
    pub(crate) role: Role,
    /// Whether a peak matters more than the mean, where points have to be put together.
    pub(crate) keep_peaks: bool,
}

impl<'a> Timeline<'a> {
    /// The time axis of a run.
    pub(crate) fn of(run: &'a Run) -> Self {
        let measurement = &run.measurement;
        let phases_end = measurement
            .phases
            .iter()
            .map(|span| span.end_ns)
            .max()
            .unwrap_or(0);
        let windows_end = measurement
            .loads
            .iter()
            .filter_map(|load| load.windows.last())
            .map(|window| window.start_ns.saturating_add(window.length_ns))
            .max()
            .unwrap_or(0);
        let samples_end = measurement
            .processes
            .iter()
            .filter_map(|process| process.samples.last())
            .map(|sample| sample.at_ns.max(0) as u64)
            .max()
            .unwrap_or(0);
        // Samples go on while processes are stopped; the load is what the reader looks at.
        let end = match phases_end.max(windows_end) {
            0 => samples_end,
            end => end,
        };
        let to_s = seconds(end as i64).max(1.0);
        let is_visible = |at_s: &f64| (0.0..=to_s).contains(at_s);
        let happenings = measurement.events.iter();
        let happenings = happenings
            .map(|event| (seconds(event.at_ns), text::shown(&event.what, 28)))
            .filter(|(at_s, _)| is_visible(at_s))
            .collect();
        let ended_s = run.aborted.as_ref();
        Self {
            phases: &measurement.phases,
            happenings,
            ended_s: ended_s
                .map(|aborted| seconds(aborted.at_ns as i64))
                .filter(is_visible),
            to_s,
        }
    }

    /// Until when something is due: the end of the last phase. A window after it has what ended late. `None`
    /// without phases.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.phases.iter().map(|span| span.end_ns).max()
    }

    pub(super) fn axis(&self) -> Axis {
        axis::time(0.0, self.to_s)
    }

    /// A scene on this axis: phases behind the marks, happenings before them.
    pub(super) fn scene(&self, height_px: u32, y: Axis, marks: Vec<Mark>) -> Scene {
        // The room for the names of happenings, in the units of the axis.
        let levels = (self.levels() + usize::from(self.ended_s.is_some())) as f64;
        let level = (y.to - y.from) * LEVEL_PX / f64::from(height_px);
        let y = Axis {
            to: y.to + levels * level,
            ..y
        };
        let mut all = self.shades(&y);
        all.extend(marks);
        all.extend(self.marked(&y, level));
        Scene {
            size_px: (WIDTH_PX, height_px),
            x: self.axis(),
            y,
            marks: all,
        }
    }

    /// Levels that happenings take; the end of the run has one of its own below them.
    fn levels(&self) -> usize {
        self.happenings.len().min(LEVELS)
    }

    fn shades(&self, y: &Axis) -> Vec<Mark> {
        self.phases
            .iter()
            .filter(|span| span.phase != Phase::Measure && span.end_ns > span.start_ns)
            .map(|span| Mark::Band {
                corners: [
                    (seconds(span.start_ns as i64), y.from),
                    (seconds(span.end_ns as i64), y.to),
                ],
                role: Role::Unmeasured,
            })
            .collect()
    }

    fn marked(&self, y: &Axis, level: f64) -> Vec<Mark> {
        let happenings = self.happenings.iter().enumerate();
        let happenings = happenings.map(|(i, (at, what))| (i % LEVELS, *at, what.as_str()));
        let end = self.ended_s.iter();
        let end = end.map(|at| (self.levels(), *at, "ended by a limit"));
        let lines = happenings.clone().chain(end.clone());
        let lines = lines.map(|(_, at, _)| Mark::Line {
            points: vec![(at, y.from), (at, y.to)],
            role: Role::Event,
        });
        let labels = happenings.take(MAX_LABELS).chain(end);
        let labels = labels.map(|(row, at, what)| {
            let side = if at > 0.7 * self.to_s {
                Side::Left
            } else {
                Side::Right
            };
            let nudge = 0.008 * self.to_s * if side == Side::Left { -1.0 } else { 1.0 };
            Mark::Text {
                at: (at + nudge, y.to - level * (row as f64 + 0.5)),
                text: what.to_owned(),
                role: Role::Event,
                side,
            }
        });
        // A name lies above the line of the next happening.
        lines.chain(labels).collect()
    }
}

/// Curves of one unit over time, from 0 or from below it.
pub(crate) fn curves(
    timeline: &Timeline<'_>,
    height_px: u32,
    unit: &Unit,
    curves: &[Curve],
) -> String {
    let thin: Vec<(Role, Vec<(f64, f64)>)> = curves
        .iter()
        .map(|curve| {
            let join = if curve.keep_peaks { largest } else { mean };
            (curve.role, thinned(&curve.points, join))
        })
        .collect();
    let values = || thin.iter().flat_map(|(_, points)| points).map(|(_, v)| *v);
    let (low, top) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    let marks = thin
        .into_iter()
        .flat_map(|(role, points)| {
            let gap = usual_step(&points) * 3.5;
            lines(&points, gap)
                .into_iter()
                .flat_map(move |points| Mark::curve(points, role))
        })
        .collect();
    let y = match low < 0.0 {
        true => axis::linear(unit, low * axis::HEAD_ROOM, top * axis::HEAD_ROOM),
        false => axis::from_zero(unit, top),
    };
    timeline.scene(height_px, y, marks).svg()
}

/// Iterations per second over time: asked for, achieved, failed, dropped.
pub(crate) fn rate_over_time(timeline: &Timeline<'_>, load: &LoadMeasurement) -> String {
    let mut target = Vec::new();
    let (mut done, mut failed, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    let due_ns = timeline.due_ns();
    let due = |window: &LoadWindow| due_ns.is_none_or(|due_ns| window.start_ns < due_ns);
    let windows = &load.windows[..load.windows.partition_point(due)];
    for windows in windows.chunks(stride(windows.len())) {
        let length_s: f64 = windows
            .iter()
            .map(|window| window.length_ns as f64 / 1e9)
            .sum();
        if length_s <= 0.0 {
            continue;
        }
        let start_s = seconds(windows[0].start_ns as i64);
        let at = start_s + length_s / 2.0;
        let rate = |count: fn(&crate::harness::model::Counts) -> u64| {
            (
                at,
                windows.iter().map(|w| count(&w.counts) as f64).sum::<f64>() / length_s,
            )
        };
        done.push(rate(|counts| counts.completed));
        failed.push(rate(|counts| counts.failed));
        dropped.push(rate(|counts| counts.dropped));
        let targets: Vec<f64> = windows
            .iter()
            .filter_map(|window| window.target_rate)
            .collect();
        if !targets.is_empty() {
            target.push((at, mean(&targets)));
        }
    }
    let any = |points: &[(f64, f64)]| points.iter().any(|(_, v)| *v > 0.0);
    let mut all = vec![
        Curve {
            points: target,
            role: Role::Target,
            keep_peaks: false,
        },
        Curve {
            points: done,
            role: Role::Head,
            keep_peaks: false,
        },
    ];
    for (points, role) in [(failed, Role::Failed), (dropped, Role::Dropped)] {
        if any(&points) {
            all.push(Curve {
                points,
                role,
                keep_peaks: false,
            });
        }
    }
    curves(timeline, HEIGHT_PX, &Unit::PerSecond, &all)
}

/// Nanoseconds as seconds.
pub(super) fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// The median distance of neighbours; a second where there are none.
pub(super) fn usual_step<T>(points: &[(f64, T)]) -> f64 {
    let mut steps: Vec<f64> = points
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(1.0).max(1e-3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::model::{Aborted, ArrivalModel, Counts, RunId};

    #[test]
    fn a_limit_that_ended_the_run_is_marked_where_it_did() {
        let mut run = Run::imported(RunId::now(), "s".into(), Vec::new());
        run.measurement.phases = vec![PhaseSpan {
            phase: Phase::Measure,
            start_ns: 0,
            end_ns: 20_000_000_000,
        }];
        run.aborted = Some(Aborted {
            metric: "load.a.error_rate".into(),
            unit: Unit::Ratio,
            value: 0.5,
            limit: 0.1,
            at_ns: 12_000_000_000,
        });
        let svg = curves(&Timeline::of(&run), 165, &Unit::Count, &[]);
        assert!(svg.contains("ended by a limit"), "{svg}");
        run.aborted = None;
        let svg = curves(&Timeline::of(&run), 165, &Unit::Count, &[]);
        assert!(!svg.contains("ended by a limit"), "{svg}");
    }

    /// Answers that come late have a window of their own, in which nothing was to arrive.
    #[test]
    fn the_rate_does_not_fall_when_the_load_is_over() {
        let phases = [PhaseSpan {
            phase: Phase::Measure,
            start_ns: 0,
            end_ns: 2_000_000_000,
        }];
        let timeline = Timeline {
            phases: &phases,
            happenings: Vec::new(),
            ended_s: None,
            to_s: 3.0,
        };
        let mut load = LoadMeasurement::new("a", "f", ArrivalModel::Open);
        load.windows = [100, 100, 0]
            .iter()
            .enumerate()
            .map(|(nth, completed)| LoadWindow {
                start_ns: nth as u64 * 1_000_000_000,
                length_ns: 1_000_000_000,
                phase: Phase::Measure,
                counts: Counts {
                    completed: *completed,
                    ..Counts::default()
                },
                in_flight: 0,
                target_rate: None,
            })
            .collect();
        let svg = rate_over_time(&timeline, &load);
        let line = svg.split("<polyline").find(|line| line.contains("s-head"));
        let points = line.and_then(|line| line.split("points=\"").nth(1)?.split('"').next());
        let count = points.map(|points| points.split_whitespace().count());
        assert_eq!(count, Some(2), "{svg}");
    }

    #[test]
    fn what_is_negative_is_no_zero() {
        let timeline = Timeline {
            phases: &[],
            happenings: Vec::new(),
            ended_s: None,
            to_s: 2.0,
        };
        let curve = Curve {
            points: vec![(0.0, -5.0), (1.0, -2.0), (2.0, -4.0)],
            role: Role::Head,
            keep_peaks: false,
        };
        let svg = curves(&timeline, 165, &Unit::Count, &[curve]);
        let line = svg.split("<polyline").find(|line| line.contains("s-head"));
        let points = line.and_then(|line| line.split("points=\"").nth(1)?.split('"').next());
        let heights: Vec<i32> = points
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|point| point.split_once(',')?.1.parse().ok())
            .collect();
        let [first, second, third] = heights[..] else {
            panic!("{svg}");
        };
        // Downwards is more in SVG.
        assert!(first > third && third > second, "{heights:?}");
    }
}
