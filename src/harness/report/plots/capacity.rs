//! Latency against the offered rate: what a search for a capacity tried, and the load line.

use crate::harness::model::{CapacitySearch, CapacityTrial, TrialOutcome, Unit};

use super::axis::{self, Axis};
use super::latency::QUANTILES;
use super::load_line::{label, load_line};
use super::role::Role;
use super::scene::{Mark, Scene};

/// The usual size in pixels.
const SIZE_PX: (u32, u32) = (760, 330);
/// The height of the label of the load line in pixels.
const LABEL_PX: f64 = 24.0;
/// Trials that are shown at most, the lowest rates first; a search tries some tens.
pub(crate) const MAX_TRIALS: usize = 200;

/// The latency of a trial at a quantile, in ns; `None` where it had too few requests for it.
pub(crate) fn quantile_of(trial: &CapacityTrial, quantile: f64) -> Option<u64> {
    let mut all = trial.quantiles.iter();
    let found = all.find(|(known, _)| (known - quantile).abs() < 1e-9);
    found.map(|(_, ns)| *ns)
}

/// The quantiles of a search that are drawn: those of the three that any of its trials has.
pub(crate) fn drawn_quantiles(search: &CapacitySearch) -> Vec<(f64, Role)> {
    let has = |quantile| {
        let mut trials = search.trials.iter();
        trials.any(|trial| quantile_of(trial, quantile).is_some())
    };
    QUANTILES
        .into_iter()
        .filter(|(quantile, _)| has(*quantile))
        .collect()
}

/// The quantile that stands for a base beside a head: the 95th percentile, or the one next to it.
pub(crate) fn base_quantile(base: &CapacitySearch) -> Option<(f64, Role)> {
    let drawn = drawn_quantiles(base).into_iter();
    drawn.min_by(|(a, _), (b, _)| (a - 0.95).abs().total_cmp(&(b - 0.95).abs()))
}

/// The response times of requests in order by the offered rate, both on logarithmic axes; `None` where
/// none is known. A curve goes through the median of the trials of a rate; every trial is a point of a
/// shape that says what became of it.
pub(crate) fn latency_by_rate(
    search: &CapacitySearch,
    base: Option<&CapacitySearch>,
) -> Option<String> {
    let head = Drawn::of(search, &drawn_quantiles(search));
    let base = base.and_then(|base| {
        let (quantile, _) = base_quantile(base)?;
        Some((base, Drawn::of(base, &[(quantile, Role::Base)])))
    });
    let all = || std::iter::once(&head).chain(base.iter().map(|(_, drawn)| drawn));
    let extent = |values: Vec<f64>| {
        let values = values.into_iter();
        Some((values.clone().reduce(f64::min)?, values.reduce(f64::max)?))
    };
    let (low, high) = extent(all().flat_map(Drawn::latencies).collect())?;
    let (low, high) = apart(low, high);
    let y = with_room(axis::log(&Unit::Nanoseconds, low, high));
    let (low, high) = extent(all().flat_map(Drawn::rates).collect())?;
    let (low, high) = apart(low, high);
    let x = axis::log_rate(low, high);
    let mut marks = Vec::new();
    if let Some((search, drawn)) = &base {
        marks.extend(load_line(search, &y, Role::BaseLoadLine));
        marks.extend(drawn.curves());
    }
    marks.extend(load_line(search, &y, Role::LoadLine));
    marks.extend(head.curves());
    marks.extend(head.points(y.from));
    let middle = y.to - room(&y) / 2.0;
    marks.extend(label(search, &x, middle));
    let scene = Scene {
        size_px: SIZE_PX,
        x,
        y,
        marks,
    };
    Some(scene.svg())
}

/// What is drawn of a search.
struct Drawn<'a> {
    /// By rate.
    trials: Vec<&'a CapacityTrial>,
    quantiles: Vec<(f64, Role)>,
}

impl<'a> Drawn<'a> {
    fn of(search: &'a CapacitySearch, quantiles: &[(f64, Role)]) -> Self {
        let trials = search.trials.iter();
        let mut trials: Vec<&CapacityTrial> = trials
            .filter(|trial| axis::RATES.contains(&trial.rate))
            .collect();
        trials.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        trials.truncate(MAX_TRIALS);
        Self {
            trials,
            quantiles: quantiles.to_vec(),
        }
    }

    fn rates(&self) -> Vec<f64> {
        self.trials.iter().map(|trial| trial.rate).collect()
    }

    fn latencies(&self) -> Vec<f64> {
        let of_trial = |trial: &&CapacityTrial| {
            let known = self.quantiles.iter();
            let known = known.filter_map(|(quantile, _)| quantile_of(trial, *quantile));
            known.map(|ns| ns.max(1) as f64).collect::<Vec<f64>>()
        };
        self.trials.iter().flat_map(of_trial).collect()
    }

    fn curves(&self) -> Vec<Mark> {
        let quantiles = self.quantiles.iter();
        quantiles
            .map(|(quantile, role)| Mark::Line {
                points: self.curve(*quantile),
                role: *role,
            })
            .collect()
    }

    /// What could not be offered says nothing of the target, so that no curve goes through it.
    fn curve(&self, quantile: f64) -> Vec<(f64, f64)> {
        let offered: Vec<(f64, u64)> = self
            .trials
            .iter()
            .filter(|trial| trial.outcome != TrialOutcome::NotOffered)
            .filter_map(|trial| Some((trial.rate, quantile_of(trial, quantile)?)))
            .collect();
        offered
            .chunk_by(|a, b| a.0 == b.0)
            .map(|of_rate| {
                let mut latencies: Vec<u64> = of_rate.iter().map(|(_, ns)| *ns).collect();
                latencies.sort_unstable();
                // Of an even number the lower one: each point is one that was measured.
                place(of_rate[0].0, latencies[(latencies.len() - 1) / 2])
            })
            .collect()
    }

    /// Every trial as a point a quantile, or as one at the bottom where it has none.
    fn points(&self, bottom: f64) -> Vec<Mark> {
        let mut points = Vec::new();
        for trial in &self.trials {
            let before = points.len();
            points.extend(self.quantiles.iter().filter_map(|(quantile, role)| {
                let ns = quantile_of(trial, *quantile)?;
                Some(shaped(trial.outcome, place(trial.rate, ns), *role))
            }));
            if points.len() == before {
                let at = (trial.rate.log10(), bottom);
                points.push(shaped(trial.outcome, at, Role::Label));
            }
        }
        points
    }
}

/// A point of the shape that says what became of a trial.
fn shaped(outcome: TrialOutcome, at: (f64, f64), role: Role) -> Mark {
    match outcome {
        TrialOutcome::Held => Mark::Dot {
            at,
            radius: 3.0,
            role,
        },
        TrialOutcome::Broke => Mark::Cross {
            at,
            radius: 3.5,
            role,
        },
        TrialOutcome::NotOffered => Mark::Ring {
            at,
            radius: 3.5,
            role,
        },
    }
}

/// Where a latency at a rate is drawn.
fn place(rate: f64, ns: u64) -> (f64, f64) {
    (rate.log10(), (ns.max(1) as f64).log10())
}

/// The ends of an axis: a single value is in its middle.
fn apart(low: f64, high: f64) -> (f64, f64) {
    match low < high {
        true => (low, high),
        false => (low / 2.0, high * 2.0),
    }
}

/// Room for the label above the curves, and half as much below them.
fn with_room(y: Axis) -> Axis {
    let room = room(&y);
    Axis {
        from: y.from - room / 2.0,
        to: y.to + room,
        ..y
    }
}

/// [`LABEL_PX`] on the axis.
fn room(y: &Axis) -> f64 {
    (y.to - y.from) * LABEL_PX / f64::from(SIZE_PX.1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::TrialOutcome::{Broke, Held, NotOffered};
    use super::*;

    const MS: u64 = 1_000_000;

    fn trial(rate: f64, outcome: TrialOutcome, quantiles: &[(f64, u64)]) -> CapacityTrial {
        CapacityTrial {
            rate,
            achieved: 1.0,
            error_rate: 0.0,
            quantiles: quantiles.to_vec(),
            outcome,
            reason: String::new(),
        }
    }

    fn search(
        holds: Option<f64>,
        breaks: Option<f64>,
        trials: Vec<CapacityTrial>,
    ) -> CapacitySearch {
        CapacitySearch {
            holds,
            breaks,
            trials,
        }
    }

    /// The points of the one curve of that class, in units of the drawing.
    fn curve(svg: &str, class: &str) -> Vec<(i32, i32)> {
        let class = format!("class=\"s-{class}\"");
        let mut lines = svg
            .split("<polyline")
            .skip(1)
            .filter(|line| line.split("/>").next().unwrap_or_default().contains(&class));
        let points = lines.next().and_then(|line| line.split("points=\"").nth(1));
        points
            .and_then(|points| points.split('"').next())
            .unwrap_or_default()
            .split_whitespace()
            .map(|point| {
                let (x, y) = point.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect()
    }

    /// Elements with that class: `f-p50`.
    fn count(svg: &str, element: &str, class: &str) -> usize {
        let class = format!("class=\"{class}\"");
        svg.split('<')
            .filter(|tag| tag.starts_with(element) && tag.contains(&class))
            .count()
    }

    #[test]
    fn a_curve_goes_up_with_the_rate_whatever_the_order_of_the_trials() {
        let svg = latency_by_rate(
            &search(
                Some(200.0),
                Some(250.0),
                vec![
                    trial(400.0, Broke, &[(0.5, 90 * MS), (0.95, 400 * MS)]),
                    trial(100.0, Held, &[(0.5, 5 * MS)]),
                    trial(200.0, Held, &[(0.5, 8 * MS), (0.95, 20 * MS)]),
                    trial(250.0, Broke, &[(0.5, 30 * MS), (0.95, 90 * MS)]),
                ],
            ),
            None,
        )
        .unwrap();
        let p50 = curve(&svg, "p50");
        assert_eq!(p50.len(), 4);
        // Downwards is more in SVG.
        assert!(p50.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1), "{p50:?}");
        let p95 = curve(&svg, "p95");
        assert_eq!(p95.len(), 3);
        assert_eq!(p95[0].0, p50[1].0, "the lowest rate has no p95");
        assert!(curve(&svg, "p99").is_empty());
        assert_eq!(count(&svg, "circle", "f-p50"), 2);
        assert_eq!(count(&svg, "line", "s-p50"), 2 * 2);
        assert_eq!(count(&svg, "rect", "f-load-line"), 1);
        assert_eq!(count(&svg, "polyline", "s-load-line"), 2);
        assert!(svg.contains("load line: 200/s to 250/s"), "{svg}");
    }

    #[test]
    fn trials_of_one_rate_are_one_point_of_the_curve() {
        let at_200 = |ms: u64, outcome| trial(200.0, outcome, &[(0.5, ms * MS)]);
        let alone = search(
            Some(100.0),
            None,
            vec![trial(100.0, Held, &[(0.5, MS)]), at_200(8, Held)],
        );
        let mut thrice = alone.clone();
        // What could not be offered is seen, and moves nothing.
        thrice
            .trials
            .extend([at_200(1, Broke), at_200(64, Broke), at_200(2, NotOffered)]);
        let mut alone_wide = alone;
        alone_wide
            .trials
            .push(trial(200.0, NotOffered, &[(0.5, 64 * MS)]));
        let svg = latency_by_rate(&thrice, None).unwrap();
        let expected = latency_by_rate(&alone_wide, None).unwrap();
        assert_eq!(curve(&svg, "p50"), curve(&expected, "p50"));
        assert_eq!(curve(&svg, "p50").len(), 2);
        assert_eq!(count(&svg, "circle", "s-p50"), 1);
    }

    #[test]
    fn a_trial_without_a_latency_is_seen() {
        let svg = latency_by_rate(
            &search(
                Some(100.0),
                Some(200.0),
                vec![trial(100.0, Held, &[(0.5, MS)]), trial(200.0, Broke, &[])],
            ),
            None,
        )
        .unwrap();
        assert_eq!(count(&svg, "line", "s-label"), 2);
        assert_eq!(count(&svg, "circle", "f-p50"), 1);
    }

    #[test]
    fn the_base_is_one_curve_and_its_load_line() {
        let base = search(
            Some(100.0),
            Some(110.0),
            vec![
                trial(100.0, Held, &[(0.5, MS), (0.99, 3 * MS)]),
                trial(110.0, Broke, &[(0.5, MS), (0.99, 9 * MS)]),
            ],
        );
        assert_eq!(base_quantile(&base), Some((0.99, Role::P99)));
        let head = search(None, None, vec![trial(50.0, Held, &[(0.5, MS)])]);
        let svg = latency_by_rate(&head, Some(&base)).unwrap();
        assert_eq!(curve(&svg, "base").len(), 2);
        assert_eq!(count(&svg, "rect", "f-base-load-line"), 1);
        assert_eq!(count(&svg, "rect", "f-load-line"), 0);
        assert!(curve(&latency_by_rate(&head, None).unwrap(), "base").is_empty());
    }

    #[test]
    fn one_trial_is_in_the_middle_and_none_is_no_plot() {
        let one = search(Some(100.0), None, vec![trial(100.0, Held, &[(0.5, MS)])]);
        let svg = latency_by_rate(&one, None).unwrap();
        let (x, _) = curve(&svg, "p50")[0];
        let (width, labels) = (760 * 2, (66 + 12) * 2);
        let middle = 66 * 2 + (width - labels) / 2;
        assert!((x - middle).abs() <= 4, "{x}");
        assert_eq!(latency_by_rate(&search(None, None, vec![]), None), None);
        let silent = vec![trial(100.0, Broke, &[])];
        assert_eq!(
            latency_by_rate(&search(None, Some(100.0), silent), None),
            None
        );
    }

    #[test]
    fn what_a_file_says_may_be_anything() {
        let rates = [
            f64::NAN,
            f64::INFINITY,
            f64::MAX,
            -1.0,
            0.0,
            f64::MIN_POSITIVE,
        ];
        let mut trials: Vec<CapacityTrial> = rates
            .iter()
            .map(|rate| trial(*rate, Held, &[(0.5, u64::MAX), (f64::NAN, 0)]))
            .collect();
        let bad = search(Some(f64::NAN), Some(f64::MAX), trials.clone());
        assert_eq!(latency_by_rate(&bad, None), None);
        trials.extend((1..5000).map(|rate| trial(f64::from(rate), Broke, &[(0.5, 0)])));
        let svg = latency_by_rate(&search(Some(-1.0), Some(f64::NAN), trials), None).unwrap();
        assert!(!svg.contains("NaN") && svg.len() < 100_000, "{}", svg.len());
        assert_eq!(count(&svg, "rect", "f-load-line"), 0);
    }
}
