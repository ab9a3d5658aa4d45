//! The arithmetic of probes: from looks at counters and gauges to one number for the measure phase.

use super::exposition::Sample;
use crate::harness::engine::thinned::{Thinned, mean};
use crate::harness::model::{PhaseSpan, ProbePoint, ProbeSeries};
use crate::harness::scenario::{ProbePlan, ProbeSource};

/// A look this near to an end of the measure phase, in ns, stands for it: looks are taken once a
/// second and at both ends, and an answer may take five seconds, of which the middle counts.
const NEAR_NS: u64 = 3_000_000_000;

/// One successful look at what a probe needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When, in ns from the start of the load.
    pub at_ns: i64,
    /// How often the process had been started by then.
    pub generation: u32,
    /// What the probe's selectors found, in the order of [`ProbeSource`]; the second is `None` where it
    /// has only one.
    pub samples: [Option<Sample>; 2],
}

/// What the looks have given so far: the curve of a probe and its value over the measure phase. The
/// curve becomes coarser with time and the value is that of every look, in bounded memory.
#[derive(Debug)]
pub struct Gathered {
    name: String,
    source: ProbeSource,
    scale: f64,
    start_ns: i64,
    end_ns: i64,
    newest: Option<Look>,
    curve: Thinned<ProbePoint>,
    measured: Option<Stretch>,
}

/// From the look nearest to the start of the measure phase to the one nearest to its end, as far as
/// they are known.
#[derive(Debug)]
struct Stretch {
    from_ns: i64,
    to_ns: i64,
    step: Option<Step>,
    level: Option<Level>,
}

/// The values at several looks.
#[derive(Debug, Clone, Copy)]
struct Level {
    sum: f64,
    count: u32,
    max: f64,
}

impl Look {
    fn value(&self) -> Option<f64> {
        self.samples[0].map(|sample| sample.value)
    }
}

impl Gathered {
    /// Of the probe `name`, before the first look. The measure phase is `[start_ns, end_ns]`, both in
    /// ns from the start of the load; where the looks end before it does, it ends with them.
    pub fn new(name: &str, plan: &ProbePlan, start_ns: i64, end_ns: i64) -> Self {
        Self {
            name: name.to_owned(),
            source: plan.source.clone(),
            scale: plan.scale,
            start_ns,
            end_ns,
            newest: None,
            curve: Thinned::new(match plan.source {
                ProbeSource::Increase(_) => |some| together(some, |values| values.iter().sum()),
                ProbeSource::Max(_) => |some| {
                    together(some, |values| {
                        values.iter().copied().fold(f64::MIN, f64::max)
                    })
                },
                _ => |some: &[ProbePoint]| together(some, |values| mean(values.iter().copied())),
            }),
            measured: None,
        }
    }

    /// Adds the newest look. One that was answered so late that a later one came before it is left
    /// out: the counters have counted on, and nothing is lost.
    pub fn add(&mut self, look: Look) {
        if self.newest.is_some_and(|newest| look.at_ns <= newest.at_ns) {
            return;
        }
        let step = self.newest.map(|newest| Step::between(newest, look));
        self.newest = Some(look);
        let drawn = match self.source {
            ProbeSource::Mean(_) | ProbeSource::Max(_) => look.value(),
            _ => step.and_then(|step| step.value(&self.source)),
        };
        if let Some(value) = drawn {
            let at_ns = look.at_ns;
            let value = value * self.scale;
            self.curve.push(ProbePoint { at_ns, value });
        }
        let nearer =
            |to_ns: i64, than_ns: i64| look.at_ns.abs_diff(to_ns) < than_ns.abs_diff(to_ns);
        match &mut self.measured {
            Some(measured) if !nearer(self.start_ns, measured.from_ns) => {
                if nearer(self.end_ns, measured.to_ns) {
                    measured.reach(look, step);
                }
            }
            measured => *measured = Some(Stretch::from(look)),
        }
    }

    /// The curve and the value over the measure phase as it was, which may have ended before its
    /// time; `None` where there was none.
    pub fn finish(self, phase: Option<&PhaseSpan>) -> ProbeSeries {
        let measured = self
            .measured
            .filter(|measured| phase.is_some_and(|phase| measured.covers(phase)));
        let value = measured.and_then(|measured| match self.source {
            ProbeSource::Mean(_) => measured
                .level
                .map(|level| level.sum / f64::from(level.count)),
            ProbeSource::Max(_) => measured.level.map(|level| level.max),
            _ => measured.step.and_then(|step| step.value(&self.source)),
        });
        ProbeSeries {
            name: self.name,
            points: self.curve.finish(),
            value: value
                .map(|value| value * self.scale)
                .filter(|value| value.is_finite()),
        }
    }
}

impl Stretch {
    fn from(look: Look) -> Self {
        Self {
            from_ns: look.at_ns,
            to_ns: look.at_ns,
            step: None,
            level: look.value().map(Level::of),
        }
    }

    /// Whether it stands for the whole phase. A subject that stops answering under load must not be
    /// judged by the seconds before that.
    fn covers(&self, phase: &PhaseSpan) -> bool {
        let [start_ns, end_ns] =
            [phase.start_ns, phase.end_ns].map(|ns| i64::try_from(ns).unwrap_or(i64::MAX));
        self.from_ns.abs_diff(start_ns) <= NEAR_NS
            && self.to_ns.abs_diff(end_ns) <= NEAR_NS
            && self.to_ns >= start_ns
    }

    fn reach(&mut self, look: Look, step: Option<Step>) {
        self.to_ns = look.at_ns;
        self.step = match (self.step, step) {
            (Some(before), Some(step)) => Some(before.then(step)),
            (before, step) => before.or(step),
        };
        self.level = match (self.level, look.value().map(Level::of)) {
            (Some(before), Some(level)) => Some(before.and(level)),
            (before, level) => before.or(level),
        };
    }
}

impl Level {
    fn of(value: f64) -> Self {
        Self {
            sum: value,
            count: 1,
            max: value,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            count: self.count.saturating_add(other.count),
            max: self.max.max(other.max),
        }
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

/// How much the metrics grew from one look to another.
#[derive(Debug, Clone, Copy)]
struct Step {
    length_ns: i64,
    /// `None` where the counter was not exposed by the end, or a gauge at one of both.
    increase: [Option<f64>; 2],
}

impl Step {
    fn between(before: Look, after: Look) -> Self {
        let increase = |index: usize| {
            let sample = after.samples[index]?;
            let earlier = before.samples[index].map(|sample| sample.value);
            if sample.is_gauge {
                return Some(sample.value - earlier?);
            }
            // A counter that was not exposed had not counted yet. One that is smaller than it was,
            // or that belongs to a process started anew, has counted from 0.
            let from = earlier
                .filter(|value| *value <= sample.value && before.generation == after.generation);
            Some(sample.value - from.unwrap_or(0.0))
        };
        Self {
            length_ns: after.at_ns - before.at_ns,
            increase: [increase(0), increase(1)],
        }
    }

    /// Both steps, one after the other.
    fn then(self, next: Self) -> Self {
        let sum = |index: usize| match (self.increase[index], next.increase[index]) {
            (Some(before), Some(after)) => Some(before + after),
            (before, after) => before.or(after),
        };
        Self {
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
    use crate::harness::model::{Direction, Phase, Unit};
    use crate::harness::scenario::Selector;

    fn selector() -> Selector {
        Selector {
            metric: "m".into(),
            labels: BTreeMap::new(),
        }
    }

    fn sample(value: f64) -> Sample {
        let is_gauge = false;
        Sample { value, is_gauge }
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
                samples: values.map(|value| value.map(sample)),
            })
            .collect();
        check_looks(source, &looks, expected, expected_points);
    }

    fn check_looks(source: ProbeSource, looks: &[Look], expected: Option<f64>, points: &[f64]) {
        let plan = ProbePlan {
            process: "service".into(),
            source,
            unit: Unit::Ratio,
            scale: 1.0,
            better: Direction::Higher,
        };
        let series = finished(gathered(&plan, looks, 1_000_000_000, 3_000_000_000));
        assert_eq!(series.value, expected);
        let drawn: Vec<f64> = series.points.iter().map(|point| point.value).collect();
        assert_eq!(drawn, points);
    }

    fn gathered(plan: &ProbePlan, looks: &[Look], start_ns: i64, end_ns: i64) -> Gathered {
        let mut gathered = Gathered::new("p", plan, start_ns, end_ns);
        looks.iter().for_each(|look| gathered.add(*look));
        gathered
    }

    /// Of a measure phase that was as long as planned.
    fn finished(gathered: Gathered) -> ProbeSeries {
        let [start_ns, end_ns] = [gathered.start_ns, gathered.end_ns].map(i64::unsigned_abs);
        let phase = Phase::Measure;
        gathered.finish(Some(&PhaseSpan {
            phase,
            start_ns,
            end_ns,
        }))
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
                samples: [
                    Some(sample(if second == 7_777 {
                        1e6
                    } else {
                        second as f64 * 10.0
                    })),
                    None,
                ],
            })
            .collect();
        let of = |source, looks: &[Look], end_ns| {
            let plan = ProbePlan {
                process: "service".into(),
                source,
                unit: Unit::Count,
                scale: 1.0,
                better: Direction::Higher,
            };
            let gathered = gathered(&plan, looks, 0, end_ns);
            // Ten hours of looks would be megabytes.
            let held_bytes = format!("{gathered:?}").len();
            assert!(held_bytes < 100_000, "{held_bytes}");
            let found = finished(gathered);
            assert!(found.points.len() <= MAX_SAMPLES, "{}", found.points.len());
            (found.value, found.points)
        };
        let until_the_jump = &looks[..=7_000];
        let (value, points) = of(
            ProbeSource::Increase(selector()),
            until_the_jump,
            7_000_000_000_000,
        );
        assert_eq!(value, Some(70_000.0));
        assert_eq!(
            points.iter().map(|point| point.value).sum::<f64>(),
            70_000.0
        );
        let (value, points) = of(
            ProbeSource::Rate(selector()),
            until_the_jump,
            7_000_000_000_000,
        );
        assert_eq!(value, Some(10.0));
        assert!(points.iter().all(|point| point.value == 10.0));
        let (value, points) = of(ProbeSource::Max(selector()), &looks, 36_000_000_000_000);
        assert_eq!(value, Some(1e6));
        assert!(points.iter().any(|point| point.value == 1e6));
    }

    #[test]
    fn seconds_become_nanoseconds_in_the_value_and_the_curve() {
        let plan = ProbePlan {
            process: "service".into(),
            source: ProbeSource::Ratio(selector(), selector()),
            unit: Unit::Nanoseconds,
            scale: 1e9,
            better: Direction::Lower,
        };
        // Two statements that take 15 ms together, and three of 10 ms together.
        let looks = [(0, 1.0, 100.0), (1, 1.015, 102.0), (2, 1.025, 105.0)];
        let looks = looks.map(|(second, sum_s, count)| Look {
            at_ns: second * 1_000_000_000,
            generation: 1,
            samples: [Some(sample(sum_s)), Some(sample(count))],
        });
        let series = finished(gathered(&plan, &looks, 0, 2_000_000_000));
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-6 * expected;
        assert!(
            series.value.is_some_and(|mean| near(mean, 5e6)),
            "{series:?}"
        );
        let [first, second] = series.points.as_slice() else {
            panic!("{series:?}");
        };
        assert!(
            near(first.value, 7.5e6) && near(second.value, 1e7 / 3.0),
            "{series:?}"
        );
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
            samples: [Some(sample(value)), None],
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
    fn a_gauge_that_falls_has_fallen() {
        let look = |second: i64, generation, value: Option<f64>| Look {
            at_ns: second * 1_000_000_000,
            generation,
            samples: [
                value.map(|value| Sample {
                    value,
                    is_gauge: true,
                }),
                None,
            ],
        };
        let check = |values: [Option<f64>; 4], expected, points: &[f64]| {
            let looks = (0..).zip(values);
            let looks: Vec<Look> = looks
                .map(|(second, value)| look(second, 1, value))
                .collect();
            check_looks(ProbeSource::Increase(selector()), &looks, expected, points);
        };
        // Memory at its mark, some pages below it, and above it again: 10 from second 1 to second 3.
        let values = [400.0, 34_344.0, 34_204.0, 34_354.0].map(Some);
        check(values, Some(10.0), &[33_944.0, -140.0, 150.0]);
        let values = [400.0, 34_344.0, 34_204.0, 34_000.0].map(Some);
        check(values, Some(-344.0), &[33_944.0, -140.0, -204.0]);
        // What it was before it was exposed is not known.
        check([None, None, Some(7.0), Some(9.0)], Some(2.0), &[2.0]);
        // Nor is it 0 where the process is a new one.
        let looks = [
            look(1, 1, Some(100.0)),
            look(2, 2, Some(150.0)),
            look(3, 2, Some(160.0)),
        ];
        let source = ProbeSource::Rate(selector());
        check_looks(source, &looks, Some(30.0), &[50.0, 10.0]);
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
    fn where_the_looks_end_early_the_value_ends_with_them() {
        let counter = one(&[0.0, 100.0, 110.0]);
        check(
            ProbeSource::Increase(selector()),
            &counter,
            Some(10.0),
            &[100.0, 10.0],
        );
        // All before the measure phase.
        let gauge = one(&[5.0]);
        check(ProbeSource::Max(selector()), &gauge, None, &[5.0]);
        check(ProbeSource::Increase(selector()), &gauge, None, &[]);
    }

    #[test]
    fn a_value_takes_looks_at_both_ends_of_the_measure_phase() {
        let plan = |source| ProbePlan {
            process: "service".into(),
            source,
            unit: Unit::Count,
            scale: 1.0,
            better: Direction::Higher,
        };
        // Looks at these seconds, at what grows by one a second; measured from 10 s to 40 s.
        let check = |seconds: &[i64], increase: Option<f64>, most: Option<f64>| {
            let looks: Vec<Look> = seconds
                .iter()
                .map(|second| Look {
                    at_ns: second * 1_000_000_000,
                    generation: 1,
                    samples: [Some(sample(*second as f64)), None],
                })
                .collect();
            let value = |source| {
                let plan = plan(source);
                finished(gathered(&plan, &looks, 10_000_000_000, 40_000_000_000)).value
            };
            let found = (
                value(ProbeSource::Increase(selector())),
                value(ProbeSource::Max(selector())),
            );
            assert_eq!(found, (increase, most), "{seconds:?}");
        };
        check(&Vec::from_iter(0..=50), Some(30.0), Some(40.0));
        // It stopped answering soon after the load began to hurt, or began to answer late.
        check(&Vec::from_iter(0..=13), None, None);
        check(&Vec::from_iter(20..=50), None, None);
        check(&Vec::from_iter(0..=9), None, None);
        check(&[9], None, None);
        check(&[41], None, None);
        // What it counted in between is not lost.
        check(&[8, 12, 39, 43], Some(31.0), Some(39.0));
        check(&[8, 42], Some(34.0), Some(42.0));
        let gathered = gathered(&plan(ProbeSource::Max(selector())), &[], 0, 1);
        assert_eq!(gathered.finish(None).value, None);
    }

    #[test]
    fn a_look_that_was_overtaken_is_left_out() {
        let look = |at_ms: i64, value| Look {
            at_ns: at_ms * 1_000_000,
            generation: 1,
            samples: [Some(sample(value)), None],
        };
        let looks = [
            look(1000, 10.0),
            look(2900, 30.0),
            look(2500, 25.0),
            look(3000, 31.0),
        ];
        // Taken as the newest, the third would be a counter that was reset.
        check_looks(
            ProbeSource::Increase(selector()),
            &looks,
            Some(21.0),
            &[20.0, 1.0],
        );
    }

    #[test]
    fn the_nearest_looks_bound_the_measure_phase() {
        let look = |at_ms: i64, value| Look {
            at_ns: at_ms * 1_000_000,
            generation: 1,
            samples: [Some(sample(value)), None],
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
