//! The workflows of `.github/workflows` and the action in `.github/actions`, performed here step by step: a runner
//! reads their files and runs their commands, against an API that answers as GitHub's does.

mod api;
mod comments;
mod expressions;
mod gates;
mod origin;
mod rules;
mod runner;
mod schedules;
#[path = "../support/mod.rs"]
mod support;
