//! A benchmark: the distribution of its samples above, a point a process invocation below.

use crate::harness::model::{Unit, median};

use crate::harness::report::format;

use super::axis::{self, Axis};
use super::role::Role;
use super::scene::{Mark, Scene};

/// The usual size in pixels with one arm, and what a second one adds to the height.
const SIZE_PX: (u32, u32) = (560, 150);
const SECOND_ARM_PX: u32 = 30;
/// The radius of a point in pixels.
const POINT_PX: f64 = 4.0;
/// Bins of a distribution.
const BINS: usize = 48;
/// The distribution is cut here on both sides; a sample during a hiccup would flatten the rest.
const CUT: f64 = 0.01;

/// One arm of a benchmark, in ns an iteration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BenchArm {
    /// One per process invocation: what is compared.
    pub(crate) points_ns: Vec<f64>,
    /// Every sample of every invocation; empty where only the points were kept.
    pub(crate) samples_ns: Vec<f64>,
}

/// The plot; `None` where the head has no points. Each arm has a row of its own for its points, so
/// that the arms can be told apart without their colours.
pub(crate) fn bench(head: &BenchArm, base: Option<&BenchArm>) -> Option<String> {
    let mut arms = vec![("head", head, Role::Head, Role::HeadArea)];
    if let Some(base) = base.filter(|base| !base.points_ns.is_empty()) {
        arms.insert(0, ("base", base, Role::Base, Role::BaseArea));
    }
    let extent = || {
        arms.iter().flat_map(|(_, arm, ..)| {
            let mut sorted: Vec<f64> = arm
                .samples_ns
                .iter()
                .copied()
                .filter(|v| v.is_finite())
                .collect();
            sorted.sort_by(f64::total_cmp);
            let cut = (sorted.len() as f64 * CUT) as usize;
            let middle = sorted[cut..sorted.len() - cut].to_vec();
            middle.into_iter().chain(finite(&arm.points_ns))
        })
    };
    let (low, high) = (extent().reduce(f64::min)?, extent().reduce(f64::max)?);
    // Equal points still need an axis.
    let pad = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-6);
    let (low, high) = ((low - pad).max(0.0), high + pad);

    let row = 0.16;
    let floor = row * arms.len() as f64 + 0.06;
    let densities: Vec<Vec<f64>> = arms
        .iter()
        .map(|(_, arm, ..)| density(&arm.samples_ns, low, high))
        .collect();
    let top = densities.iter().flatten().copied().fold(0.0, f64::max);
    let mut marks = Vec::new();
    for ((_, _, line, area), density) in arms.iter().zip(&densities) {
        if top > 0.0 && density.iter().any(|d| *d > 0.0) {
            let step = (high - low) / BINS as f64;
            let curve: Vec<(f64, f64)> = density
                .iter()
                .enumerate()
                .map(|(i, d)| {
                    (
                        low + (i as f64 + 0.5) * step,
                        floor + (1.0 - floor) * d / top,
                    )
                })
                .collect();
            let mut outline = vec![(low, floor)];
            outline.extend(&curve);
            outline.push((high, floor));
            marks.push(Mark::Area {
                outline,
                role: *area,
            });
            marks.push(Mark::Line {
                points: curve,
                role: *line,
            });
        }
    }
    let mut ticks = Vec::new();
    for (i, (label, arm, role, _)) in arms.iter().enumerate() {
        let y = row * (arms.len() - i) as f64 - row / 2.0;
        ticks.push((y, (*label).to_owned()));
        let points: Vec<f64> = finite(&arm.points_ns).collect();
        marks.extend(points.iter().map(|x| Mark::Dot {
            at: (*x, y),
            radius: POINT_PX,
            role: *role,
        }));
        let reach = (high - low) * POINT_PX / f64::from(SIZE_PX.0);
        marks.extend(points.iter().enumerate().map(|(nth, x)| Mark::Note {
            corners: [(x - reach, y - row / 4.0), (x + reach, y + row / 4.0)],
            text: format!(
                "{label}, invocation {}: {}",
                nth + 1,
                format::value(&Unit::Nanoseconds, *x)
            ),
        }));
        if let Some(median) = median(&points) {
            marks.push(Mark::Line {
                points: vec![(median, y - row * 0.45), (median, y + row * 0.45)],
                role: Role::Zero,
            });
        }
    }
    let height = SIZE_PX.1 + SECOND_ARM_PX * (arms.len() as u32 - 1);
    let scene = Scene {
        size_px: (SIZE_PX.0, height),
        x: axis::linear(&Unit::Nanoseconds, low, high),
        y: Axis {
            from: 0.0,
            to: 1.02,
            ticks,
            scale: None,
        },
        marks,
    };
    Some(scene.svg())
}

/// A histogram of the samples between `low` and `high`, smoothed once over its neighbours, as a
/// share a bin.
fn density(samples: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut bins = vec![0.0; BINS];
    if samples.is_empty() {
        return bins;
    }
    for sample in samples.iter().filter(|v| (low..high).contains(*v)) {
        let at = ((sample - low) / (high - low) * BINS as f64) as usize;
        bins[at.min(BINS - 1)] += 1.0 / samples.len() as f64;
    }
    let at = |i: isize| {
        usize::try_from(i)
            .ok()
            .and_then(|i| bins.get(i))
            .copied()
            .unwrap_or(0.0)
    };
    (0..BINS as isize)
        .map(|i| (at(i - 1) + 2.0 * at(i) + at(i + 1)) / 4.0)
        .collect()
}

fn finite(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().copied().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_arms_have_a_row() {
        let head = BenchArm {
            points_ns: vec![10.0, 11.0],
            samples_ns: vec![10.0, 10.5, 11.0],
        };
        let base = BenchArm {
            points_ns: vec![9.0],
            samples_ns: vec![],
        };
        let svg = bench(&head, Some(&base)).unwrap_or_default();
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        let told = svg.replace('\u{202f}', " ");
        for title in [
            "base, invocation 1: 9.00 ns",
            "head, invocation 1: 10.0 ns",
            "head, invocation 2: 11.0 ns",
        ] {
            assert!(told.contains(&format!("<title>{title}</title>")), "{svg}");
        }
        assert!(
            svg.contains("f-head-area") && !svg.contains("f-base-area"),
            "{svg}"
        );
    }

    #[test]
    fn little_or_senseless_data_is_no_panic() {
        assert!(bench(&BenchArm::default(), None).is_none());
        let odd = BenchArm {
            points_ns: vec![f64::NAN, 0.0],
            samples_ns: vec![f64::INFINITY],
        };
        assert!(bench(&odd, Some(&odd)).is_some());
    }

    #[test]
    fn a_density_adds_up() {
        let total: f64 = density(&[5.0; 10], 0.0, 10.0).iter().sum();
        assert!((total - 1.0).abs() < 1e-9, "{total}");
    }
}
