//! The sentences of a verdict: what it says, why, and what to do next. Every output uses these, so
//! that the terminal and the page never tell different stories.

mod spoken;
mod headline;
mod reason;
mod alike;
mod change;
mod base;
mod warning;
mod metric;
mod plainly;
mod limit;
mod invalid;
mod run;
mod load;
mod condition;
mod capacity;
#[cfg(test)]
mod fixture;

pub(crate) use self::capacity::{capacity, rest_of_search, trial_outcome};
pub use self::condition::condition;
pub use self::headline::{Because, Weight, badge, headline, outcome, reasons, title};
pub use self::invalid::invalid;
pub use self::limit::{against_limit, demand, limit_outcome};
pub use self::load::{error_kind, phase};
pub use self::metric::{
    design, effect_of, interval_name, interval_of, is_of_the_base, is_worth_showing, margin_of,
    metric_outcome, reading_order, verdict_of, waiver,
};
pub use self::reason::reason;
pub use self::run::{cut_short, unfit};
pub use self::spoken::{Spoken, capitalised, remedy_once};
pub use self::warning::warning;
