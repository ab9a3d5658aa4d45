//! The gate proves itself: recorded nights keep their answers, planted slowdowns fail, identical
//! builds pass, and what is no measurement is never a verdict. Through the public API only.

mod runs;
mod nightly;
mod power;
mod arms;
mod gate;
mod waivers;
mod anchors;
mod renewal;
