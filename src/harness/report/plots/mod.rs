//! Plots: values in, SVG text out, drawn by plotters.
//!
//! A plot is a [`Scene`](scene::Scene): axes and marks as plain values, each mark with a
//! [`Role`](role::Role) instead of a colour. The page's style sheet gives roles their colours, so
//! that the same plot is right in the light, in the dark and on paper.

mod role;
mod axis;
mod scene;
mod series;
mod timeline;
mod latency;
mod spectrum;
mod load_line;
mod capacity;
mod forest;
mod bench;
mod trend;

pub(crate) use self::bench::{BenchArm, bench};
pub(crate) use self::capacity::{
    MAX_TRIALS, base_quantile, drawn_quantiles, latency_by_rate, quantile_of,
};
pub(crate) use self::forest::{ForestRow, ForestScale, forest};
pub(crate) use self::latency::{LatencyWindows, latency_density, latency_over_time};
pub(crate) use self::role::Role;
pub(crate) use self::spectrum::{SpectrumLine, spectrum};
pub(crate) use self::timeline::{Curve, HEIGHT_PX, Timeline, curves, rate_over_time};
pub(crate) use self::trend::{Level, Line, Trend, TrendPoint, trend};
