//! Verdict → terminal, JSON and HTML.
