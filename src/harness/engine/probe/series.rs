//! The arithmetic of probes: from looks at counters and gauges to one number for the measure phase.

use crate::harness::engine::thinned::{Thinned, mean};
use crate::harness::model::{ProbePoint, ProbeSeries};
use crate::harness::scenario::{ProbePlan, ProbeSource};

/// One successful look at what a probe needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When, in ns from the start of the load.
    pub at_ns: i64,
    /// How often the process had been started by then.
    pub generation: u32,
    /// The values of the probe's selectors, in the order of [`ProbeSource`]; the second is `None`
    /// where it has only one.
    pub values: [Option<f64>; 2],
}

/// The curve of a probe and its value over the measure phase `[start_ns, end_ns]`, both in ns from
/// the start of the load. `looks` are ordered by time. The value reaches from the look nearest to
/// the start to the one nearest to the end.
pub fn series(
    name: &str,
    plan: &ProbePlan,
    looks: &[Look],
    start_ns: i64,
    end_ns: i64,
) -> ProbeSeries {
    let nearest = |at_ns: i64| {
        let nearest = looks
            .iter()
            .enumerate()
            .min_by_key(|(_, look)| look.at_ns.abs_diff(at_ns));
        nearest.map_or(0, |(index, _)| index)
    };
    let measured = looks
        .get(nearest(start_ns)..=nearest(end_ns))
        .unwrap_or_default();
    let steps =
        |looks: &[Look]| -> Vec<Step> { looks.windows(2).filter_map(Step::between).collect() };
    let gauge =
        |looks: &[Look]| -> Vec<f64> { looks.iter().filter_map(|look| look.values[0]).collect() };

    let points = match plan.source {
        ProbeSource::Mean(_) | ProbeSource::Max(_) => looks
            .iter()
            .filter_map(|look| Some((look.at_ns, look.values[0]?)))
            .collect(),
        _ => steps(looks)
            .into_iter()
            .filter_map(|step| Some((step.at_ns, step.value(&plan.source)?)))
            .collect::<Vec<_>>(),
    };
    let value = match plan.source {
        ProbeSource::Mean(_) => {
            let values = gauge(measured);
            Some(values.iter().sum::<f64>() / values.len() as f64)
        }
        ProbeSource::Max(_) => gauge(measured).into_iter().reduce(f64::max),
        _ => steps(measured)
            .into_iter()
            .reduce(Step::then)
            .and_then(|step| step.value(&plan.source)),
    };
    let mut curve = Thinned::new(match plan.source {
        ProbeSource::Increase(_) => |some| together(some, |values| values.iter().sum()),
        ProbeSource::Max(_) => |some| {
            together(some, |values| {
                values.iter().copied().fold(f64::MIN, f64::max)
            })
        },
        _ => |some: &[ProbePoint]| together(some, |values| mean(values.iter().copied())),
    });
    for (at_ns, value) in points {
        curve.push(ProbePoint { at_ns, value });
    }
    ProbeSeries {
        name: name.to_owned(),
        points: curve.finish(),
        value: value.filter(|value| value.is_finite()),
    }
}

/// One point for several, at the time of the last one.
fn together(points: &[ProbePoint], value: fn(&[f64]) -> f64) -> Option<ProbePoint> {
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    Some(ProbePoint {
        at_ns: points.last()?.at_ns,
        value: value(&values),
    })
}

/// How much the counters grew from one look to another.
#[derive(Debug, Clone, Copy)]
struct Step {
    at_ns: i64,
    length_ns: i64,
    /// `None` where the counter was not exposed by the end.
    increase: [Option<f64>; 2],
}

impl Step {
    fn between(looks: &[Look]) -> Option<Self> {
        let [before, after] = looks else {
            return None;
        };
        let increase = |index: usize| {
            let after_value = after.values[index]?;
            // A counter that was not exposed had not counted yet. One that is smaller than it was,
            // or that belongs to a process started anew, has counted from 0.
            let from = match before.values[index] {
                Some(value) if value <= after_value && before.generation == after.generation => {
                    value
                }
                _ => 0.0,
            };
            Some(after_value - from)
        };
        Some(Self {
            at_ns: after.at_ns,
            length_ns: after.at_ns - before.at_ns,
            increase: [increase(0), increase(1)],
        })
    }

    /// Both steps, one after the other.
    fn then(self, next: Self) -> Self {
        let sum = |index: usize| match (self.increase[index], next.increase[index]) {
            (Some(before), Some(after)) => Some(before + after),
            (before, after) => before.or(after),
        };
        Self {
            at_ns: next.at_ns,
            length_ns: self.length_ns + next.length_ns,
            increase: [sum(0), sum(1)],
        }
    }

    /// What the probe makes of it; `None` for a ratio to nothing.
    fn value(&self, source: &ProbeSource) -> Option<f64> {
        let [first, second] = self.increase;
        match source {
            ProbeSource::Ratio(..) => second
                .filter(|whole| *whole > 0.0)
                .and_then(|whole| Some(first? / whole)),
            ProbeSource::Rate(_) => {
                let seconds = self.length_ns as f64 / 1e9;
                first
                    .filter(|_| seconds > 0.0)
                    .map(|increase| increase / seconds)
            }
            ProbeSource::Increase(_) | ProbeSource::Mean(_) | ProbeSource::Max(_) => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::harness::engine::thinned::MAX_SAMPLES;
    use crate::harness::model::{Direction, Unit};
    use crate::harness::scenario::Selector;

    fn selector() -> Selector {
        Selector {
            metric: "m".into(),
            labels: BTreeMap::new(),
        }
    }

    /// Looks at seconds 0, 1, 2, …; the measure phase lies from second 1 to second 3.
    fn check(
        source: ProbeSource,
        values: &[[Option<f64>; 2]],
        expected: Option<f64>,
        expected_points: &[f64],
    ) {
        let looks: Vec<Look> = (0..)
            .zip(values)
            .map(|(second, values)| Look {
                at_ns: second * 1_000_000_000,
                generation: 1,
                values: *values,
            })
            .collect();
        check_looks(source, &looks, expected, expected_points);
    }

    fn check_looks(source: ProbeSource, looks: &[Look], expected: Option<f64>, points: &[f64]) {
        let plan = ProbePlan {
            process: "service".into(),
            source,
            unit: Unit::Ratio,
            better: Direction::Higher,
        };
        let series = series("p", &plan, looks, 1_000_000_000, 3_000_000_000);
        assert_eq!(series.value, expected);
        let drawn: Vec<f64> = series.points.iter().map(|point| point.value).collect();
        assert_eq!(drawn, points);
    }

    fn one(values: &[f64]) -> Vec<[Option<f64>; 2]> {
        values.iter().map(|value| [Some(*value), None]).collect()
    }

    fn two(values: &[(f64, f64)]) -> Vec<[Option<f64>; 2]> {
        values.iter().map(|(a, b)| [Some(*a), Some(*b)]).collect()
    }

    #[test]
    fn counters_count_in_the_measure_phase_only() {
        let counter = one(&[0.0, 100.0, 110.0, 130.0, 999.0]);
        check(
            ProbeSource::Increase(selector()),
            &counter,
            Some(30.0),
            &[100.0, 10.0, 20.0, 869.0],
        );
        check(
            ProbeSource::Rate(selector()),
            &counter,
            Some(15.0),
            &[100.0, 10.0, 20.0, 869.0],
        );
        // Warm-up misses (0 of 100) do not spoil the ratio: 9 + 18 of 10 + 20.
        let counters = two(&[
            (0.0, 0.0),
            (0.0, 100.0),
            (9.0, 110.0),
            (27.0, 130.0),
            (27.0, 130.0),
        ]);
        check(
            ProbeSource::Ratio(selector(), selector()),
            &counters,
            Some(0.9),
            &[0.0, 0.9, 0.9],
        );
    }

    #[test]
    fn the_curve_of_ten_hours_has_few_points_and_the_value_is_that_of_every_look() {
        // Ten more each second, and a gauge that jumps once.
        let looks: Vec<Look> = (0..=36_000)
            .map(|second| Look {
                at_ns: second * 1_000_000_000,
                generation: 1,
                values: [
                    Some(if second == 7_777 {
                        1e6
                    } else {
                        second as f64 * 10.0
                    }),
                    None,
                ],
            })
            .collect();
        let of = |source| {
            let plan = ProbePlan {
                process: "service".into(),
                source,
                unit: Unit::Count,
                better: Direction::Higher,
            };
            let found = series("p", &plan, &looks[..=7_000], 0, 7_000_000_000_000);
            assert!(found.points.len() <= MAX_SAMPLES, "{}", found.points.len());
            (found.value, found.points)
        };
        let (value, points) = of(ProbeSource::Increase(selector()));
        assert_eq!(value, Some(70_000.0));
        assert_eq!(
            points.iter().map(|point| point.value).sum::<f64>(),
            70_000.0
        );
        let (value, points) = of(ProbeSource::Rate(selector()));
        assert_eq!(value, Some(10.0));
        assert!(points.iter().all(|point| point.value == 10.0));
        let plan = ProbePlan {
            process: "service".into(),
            source: ProbeSource::Max(selector()),
            unit: Unit::Count,
            better: Direction::Lower,
        };
        let found = series("p", &plan, &looks, 0, 36_000_000_000_000);
        assert_eq!(found.value, Some(1e6));
        assert!(found.points.len() <= MAX_SAMPLES);
        assert!(found.points.iter().any(|point| point.value == 1e6));
    }

    #[test]
    fn a_counter_that_was_reset_counts_from_zero() {
        let counter = one(&[0.0, 100.0, 7.0, 10.0]);
        check(
            ProbeSource::Increase(selector()),
            &counter,
            Some(10.0),
            &[100.0, 7.0, 3.0],
        );
        // Started anew, it may have passed its old value by the next look.
        let look = |second: i64, generation, value| Look {
            at_ns: second * 1_000_000_000,
            generation,
            values: [Some(value), None],
        };
        let looks = [look(1, 1, 100.0), look(2, 2, 150.0), look(3, 2, 160.0)];
        check_looks(
            ProbeSource::Increase(selector()),
            &looks,
            Some(160.0),
            &[150.0, 10.0],
        );
    }

    #[test]
    fn a_counter_that_appears_has_counted_from_zero() {
        let counter = [
            [None, None],
            [None, None],
            [Some(4.0), None],
            [Some(6.0), None],
        ];
        check(
            ProbeSource::Increase(selector()),
            &counter,
            Some(6.0),
            &[4.0, 2.0],
        );
        let no_hit = [
            [None, Some(0.0)],
            [None, Some(10.0)],
            [None, Some(20.0)],
            [None, Some(30.0)],
        ];
        // Never exposed may as well be misspelt: no hits is not what it shows.
        check(
            ProbeSource::Ratio(selector(), selector()),
            &no_hit,
            None,
            &[],
        );
    }

    #[test]
    fn what_was_never_exposed_has_no_value() {
        let nothing = [[None, None]; 4];
        for source in [
            ProbeSource::Increase(selector()),
            ProbeSource::Rate(selector()),
            ProbeSource::Ratio(selector(), selector()),
            ProbeSource::Mean(selector()),
            ProbeSource::Max(selector()),
        ] {
            check(source.clone(), &nothing, None, &[]);
            check(source, &[], None, &[]);
        }
        let nothing_asked = two(&[(1.0, 5.0), (1.0, 5.0), (1.0, 5.0), (1.0, 5.0)]);
        check(
            ProbeSource::Ratio(selector(), selector()),
            &nothing_asked,
            None,
            &[],
        );
    }

    #[test]
    fn gauges_are_looked_at_in_the_measure_phase_only() {
        let gauge = one(&[90.0, 1.0, 2.0, 6.0, 90.0]);
        check(
            ProbeSource::Mean(selector()),
            &gauge,
            Some(3.0),
            &[90.0, 1.0, 2.0, 6.0, 90.0],
        );
        check(
            ProbeSource::Max(selector()),
            &gauge,
            Some(6.0),
            &[90.0, 1.0, 2.0, 6.0, 90.0],
        );
    }

    #[test]
    fn the_nearest_looks_bound_the_measure_phase() {
        let look = |at_ms: i64, value| Look {
            at_ns: at_ms * 1_000_000,
            generation: 1,
            values: [Some(value), None],
        };
        let looks = [
            look(0, 0.0),
            look(1002, 10.0),
            look(2000, 20.0),
            look(3004, 30.0),
            look(4000, 40.0),
        ];
        check_looks(
            ProbeSource::Increase(selector()),
            &looks,
            Some(20.0),
            &[10.0; 4],
        );
    }
}
