//! Runs against runs → comparison: per metric an effect with its bounds, or why there is none.
//!
//! Nothing here knows what is allowed: margins, limits and what gates are the gate's. The main type
//! is [`Comparison`], the main function [`compare`]. [`trend`](fn@trend) holds runs against those before them,
//! [`calibrate`] finds the noise in runs of one build.

mod comparison;
mod settings;
mod arms;
mod metric;
mod run;
mod many;
mod calibration;
mod trend;

pub use self::calibration::{AaSession, ArmSize, Calibrated, aa_values, calibrate};
pub use self::comparison::*;
pub use self::many::{Adjusted, adjust};
pub use self::run::compare;
pub use self::settings::{Noise, Settings};
pub use self::trend::{Change, ChangeSearch, LOOK_BACK, RUNS_FOR_CHANGES, Trend, trend};
pub use crate::harness::stats::{
    ALPHA, Between, PRIOR_DF, Prior, requests_to_rule_out, rule_of_three,
};
