//! What a person sees while it works: a live view on a terminal, a line now and then elsewhere.
//!
//! [`Live`] is one for a whole call. It is told what the call is going to do, from which it says how much
//! time is left of all of it.

mod agenda;
mod standing;
mod words;
mod screen;
mod view;

#[cfg(test)]
pub(super) use self::standing::tests::open;
pub(super) use self::standing::{Open, Standing, in_full};
pub(super) use self::view::Live;
pub(super) use self::words::whole;
