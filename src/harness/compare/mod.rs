//! Runs against runs → comparison.
