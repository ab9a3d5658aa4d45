//! TOML text → validated plan, or every problem with its span.
//!
//! [`check`] and [`load`] are the way in. A file is looked at twice: first for its form, against the
//! one description of all keys from which the JSON Schema is written too; then for its meaning:
//! what names refer to, whether templates can be filled, whether a gate's metric can be produced. Both
//! looks go on after a mistake, so that a person sees all of them at once. What leaves as a
//! [`Plan`] needs no further checks.

mod plan;
mod file;
mod problem;
pub mod catalogue;
mod keys;
mod raw;
mod quantity;
mod address;
mod template;
mod trace;
mod rows;
mod durations;
mod label;
mod structure;
mod validate;
mod hash;
mod nearest;
mod measurable;
mod limits;
mod shares;
mod overrides;
mod schema;
pub mod waivers;

pub(crate) use self::address::UNWRITTEN;
pub use self::durations::NoDurations;
pub(crate) use self::durations::each_duration;
pub use self::file::{
    Rejection, Scenario, check, gate_lines, load, looks_like_one, parse, root_of,
};
pub(crate) use self::label::quoted;
pub(crate) use self::limits::ABORTS_AFTER_NS;
pub use self::limits::{
    IMPLIED_ACHIEVED_MIN, IMPLIED_ERROR_RATE_MAX, abort_limits, implied_limits,
    is_limit_of_a_search, limits_beside_a_search, search_limits, states,
};
pub use self::measurable::{not_measurable, out_of_reach};
pub(crate) use self::nearest::nearest;
pub use self::overrides::{OverrideError, Overrides, Wanted};
pub use self::plan::*;
pub use self::problem::{Code, Problem};
pub(crate) use self::quantity::written_duration;
pub use self::quantity::{duration_ns, parse_percent, rate_per_s};
pub(crate) use self::rows::each_row;
pub use self::schema::{schema, waivers_schema};
pub use self::trace::NoTrace;
pub(crate) use self::trace::each_time;
pub use self::waivers::Waiver;
