//! Statistics: slices in, numbers out. No I/O, no clock; what is random takes a seed.
//!
//! Every value is one number of one run: requests inside a run are no replicates. Effects are
//! differences of `y = ln(metric)`, signed so that positive is worse; the caller takes the
//! logarithm and the sign. Levels (`alpha`) are one-sided throughout.
//!
//! Too few values to say anything is an answer, `None`, and never an error or a panic. Inputs are
//! finite numbers; a NaN gives NaN, or no answer.
//!
//! The main type is [`Estimate`]: an effect with its bounds, its p-values and its power. It comes
//! from [`paired`], [`stored`] or [`newcombe`]. All routines are held to vectors of independent
//! implementations in `tests/data/`, to 1e-9.
//!
//! [`change_points`](fn@change_points) stands apart: it looks for changes in a series and is no verdict.

mod estimate;
mod bisect;
mod student;
mod order;
mod paired;
mod signed_rank;
mod select;
mod sessions;
mod stored;
mod planned;
mod proportion;
mod multiple;
mod alternation;
mod change_points;

#[cfg(test)]
mod vectors;

pub use alternation::{First, alternation};
pub use change_points::{ChangePoint, Divisive, MAX_CHANGE_VALUES, change_points};
pub use estimate::{ALPHA, Estimate, LOOKS, POWER, pairs_needed};
pub use multiple::benjamini_hochberg;
pub use order::{mean, variance};
pub use paired::{PRIOR_DF, Prior, SIGNED_RANK_FROM, moderated_t, paired};
pub use planned::{ArmSize, planned_paired, planned_stored};
pub use proportion::{
    Trials, clopper_pearson_lower, clopper_pearson_upper, dispersion, newcombe,
    requests_to_rule_out, rule_of_three,
};
pub use sessions::{Between, SESSIONS_NEEDED, between_sessions, within_variance};
pub use signed_rank::hodges_lehmann;
pub use stored::stored;
pub use student::{t_cdf, t_quantile};
