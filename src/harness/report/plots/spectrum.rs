//! The percentile spectrum: the whole distribution with its tail drawn out, by Gil Tene's
//! convention latency over 1/(1 − q) on a logarithmic axis.

use crate::harness::model::{LatencyHistogram, Unit};

use super::axis::{self, Axis, Scale};
use super::role::Role;
use super::scene::{Mark, Scene};

/// The usual size in pixels.
const SIZE_PX: (u32, u32) = (560, 230);
/// Points a decade of 1/(1 − q).
const POINTS_A_DECADE: u32 = 16;
/// Where it begins, as log10 of 1/(1 − q): the first quarter is of no interest, and the smallest
/// value would take most of the axis.
const BEGIN: f64 = 0.125;
/// The furthest decade: 99.9999 %.
const MAX_DECADES: u32 = 6;

/// One distribution of a spectrum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpectrumLine<'a> {
    /// The distribution.
    pub(crate) histogram: &'a LatencyHistogram,
    /// What it stands for.
    pub(crate) role: Role,
}

/// The spectrum of one or more distributions; `None` where all are empty.
pub(crate) fn spectrum(distributions: &[SpectrumLine<'_>]) -> Option<String> {
    let curves: Vec<(Role, Vec<(f64, f64)>)> = distributions
        .iter()
        .filter(|line| !line.histogram.is_empty())
        .map(|line| (line.role, curve(line.histogram)))
        .collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let low = all().map(|(_, ns)| *ns).reduce(f64::min)?;
    let high = all().map(|(_, ns)| *ns).reduce(f64::max)?;
    let furthest = all().map(|(x, _)| *x).reduce(f64::max)?;
    let marks = curves
        .into_iter()
        .flat_map(|(role, points)| {
            let points = points.into_iter().map(|(x, ns)| (x, ns.log10()));
            Mark::curve(points.collect(), role)
        })
        .collect();
    let scene = Scene {
        size_px: SIZE_PX,
        x: quantile_axis(furthest),
        y: axis::log(&Unit::Nanoseconds, low, high),
        marks,
    };
    Some(scene.svg())
}

/// (log10 of 1/(1 − q), latency in ns) up to the quantile beyond which one latency lies.
fn curve(histogram: &LatencyHistogram) -> Vec<(f64, f64)> {
    let decades = (histogram.count() as f64)
        .log10()
        .min(f64::from(MAX_DECADES));
    let steps = ((decades - BEGIN).max(0.0) * f64::from(POINTS_A_DECADE)).floor() as u32;
    let at = |step: u32| BEGIN + f64::from(step) / f64::from(POINTS_A_DECADE);
    let quantiles = (0..=steps).map(|step| 1.0 - 10_f64.powf(-at(step)));
    (0..)
        .map(at)
        .zip(histogram.quantiles_ns(quantiles))
        .map(|(x, ns)| (x, ns.max(1) as f64))
        .collect()
}

fn quantile_axis(furthest: f64) -> Axis {
    let to = furthest.max(1.0) + 0.05;
    let mut ticks = vec![(2_f64.log10(), "p50".to_owned())];
    for decade in 1..=MAX_DECADES {
        let label = match decade {
            1 => "p90".to_owned(),
            2 => "p99".to_owned(),
            n => format!("p99.{}", "9".repeat(n as usize - 2)),
        };
        if f64::from(decade) <= to {
            ticks.push((f64::from(decade), label));
        }
    }
    Axis {
        from: BEGIN,
        to,
        ticks,
        scale: Some(Scale::Quantile),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_goes_through_the_quantiles() {
        let mut histogram = LatencyHistogram::new();
        for ms in 1..=1000_u64 {
            histogram.record(ms * 1_000_000);
        }
        let points = curve(&histogram);
        let at = |x: f64| {
            points
                .iter()
                .find(|(at, _)| (at - x).abs() < 1e-9)
                .map(|(_, ns)| ns / 1e6)
        };
        assert!(
            (at(1.0).unwrap_or(0.0) - 900.0).abs() < 1.5,
            "{:?}",
            at(1.0)
        );
        assert!(
            (at(2.0).unwrap_or(0.0) - 990.0).abs() < 1.5,
            "{:?}",
            at(2.0)
        );
        assert_eq!(points.len(), 47);
    }

    #[test]
    fn nothing_gives_no_plot() {
        let empty = LatencyHistogram::new();
        assert!(
            spectrum(&[SpectrumLine {
                histogram: &empty,
                role: Role::Head
            }])
            .is_none()
        );
        assert!(spectrum(&[]).is_none());
        let mut one = LatencyHistogram::new();
        one.record(5_000_000);
        assert!(
            spectrum(&[SpectrumLine {
                histogram: &one,
                role: Role::Head
            }])
            .is_some()
        );
    }
}
