//! Probes: numbers that the subject tells of itself, from the Prometheus text of its processes.

mod exposition;
mod scrape;
mod series;

pub use self::scrape::{MAX_SCRAPE_BYTES, ScrapeError, Scraper};
pub use self::series::{Gathered, Look};
