//! `/api/v1/jobs` and `/api/v1/exports`: work that outlasts a request (JO1, BA8).
//!
//! What was asked for is checked when it comes, kept by [`crate::datalayer::jobs`], and done by a
//! [`handler::JobHandler`]. Files lie in a folder that the settings name, and are found through their job.
//! A job is shown to whoever asked for it and to the admin; to everybody else it is not there.

mod input;
mod view;
mod routes;
mod files;
mod handler;
mod export;
mod upkeep;

pub(super) use handler::start;
pub(super) use routes::{cancel, create, create_export, detail, file, list, statistics};
pub(super) use upkeep::schedule;
