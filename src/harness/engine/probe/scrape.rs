//! Fetches the Prometheus text of a process.

use std::time::Duration;

use super::exposition::{self, Sample};
use crate::harness::engine::http;
use crate::harness::scenario::Selector;

/// A larger exposition is refused.
pub const MAX_SCRAPE_BYTES: usize = 8 << 20;
/// How long an exposition may take. An overloaded subject answers late, and a late answer is
/// still worth having.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No answer, or not a whole one.
    #[error("{0}")]
    Unanswered(String),
    /// Another status than 200.
    #[error("status {0}")]
    Status(reqwest::StatusCode),
    /// Larger than [`MAX_SCRAPE_BYTES`].
    #[error("the exposition is larger than {MAX_SCRAPE_BYTES} bytes")]
    TooLarge,
}

/// Looks for some samples in the exposition of one process.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: reqwest::Client,
    url: String,
    selectors: Vec<Selector>,
}

impl Scraper {
    /// A scraper of the exposition at `url`.
    pub fn new(client: reqwest::Client, url: String, selectors: Vec<Selector>) -> Self {
        Self {
            client,
            url,
            selectors,
        }
    }

    /// Where it looks.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the selectors find now, in their order; `None` for what is not exposed.
    ///
    /// # Errors
    /// Where there is no whole exposition within the limits of time and size.
    pub async fn look(&self) -> Result<Vec<Option<Sample>>, ScrapeError> {
        let unanswered = |error: reqwest::Error| ScrapeError::Unanswered(http::cause(&error));
        let mut answer = self
            .client
            .get(&self.url)
            .header(
                "accept",
                "text/plain;version=0.0.4, application/openmetrics-text;q=0.5",
            )
            .timeout(ANSWER_WITHIN)
            .send()
            .await
            .map_err(unanswered)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(ScrapeError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > MAX_SCRAPE_BYTES {
                return Err(ScrapeError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&body);
        Ok(exposition::select(&text, &self.selectors))
    }
}
