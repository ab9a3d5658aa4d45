//! `plimsoll report --site`: a folder of static pages over the history. What is on a page is for
//! [`report::site`](crate::harness::report::site); here is what is asked of the history, what is new, and
//! what is written in which order.

mod places;
mod folder;
mod sittings;
mod judge;
mod lineages;
mod lists;
mod pages;
mod command;

pub(super) use self::command::run;
