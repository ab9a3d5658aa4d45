//! The search for a capacity: the highest rate at which a scenario's limits hold.
//!
//! Each rate that is tried is a load of its own, on the same processes: the other loads of the plan go on
//! beside it, the warm-up precedes it, and it is measured for as long as the search says.
//! [`search`] decides which rate comes next, [`trial`] what became of one, and [`Capacity`] makes the
//! plan of each trial and the run of all of them.

mod search;
mod trial;
mod run;

pub(super) use self::run::Capacity;
