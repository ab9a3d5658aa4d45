//! What an answer or a message holds, read as whatever is asked for, and only once.

use std::borrow::Cow;
use std::cell::OnceCell;

use scraper::Html;
use serde_json::Value;

use super::html::document;

/// The body of an answer, or the text of a message.
pub(super) struct Content<'a> {
    bytes: &'a [u8],
    text: OnceCell<Cow<'a, str>>,
    json: OnceCell<Result<Value, String>>,
    html: OnceCell<Result<Html, String>>,
}

impl<'a> Content<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: OnceCell::new(),
            json: OnceCell::new(),
            html: OnceCell::new(),
        }
    }

    /// The text, with what is no UTF-8 replaced.
    pub(super) fn text(&self) -> &str {
        self.text
            .get_or_init(|| String::from_utf8_lossy(self.bytes))
    }

    /// The JSON value, or why it is none.
    pub(super) fn json(&self) -> Result<&Value, &str> {
        let json = self.json.get_or_init(|| {
            serde_json::from_slice(self.bytes)
                .map_err(|error| format!("the body is not JSON: {error}"))
        });
        json.as_ref().map_err(String::as_str)
    }

    /// The HTML document, or why it is too large for one.
    pub(super) fn html(&self) -> Result<&Html, &str> {
        let html = self.html.get_or_init(|| document(self.text()));
        html.as_ref().map_err(String::as_str)
    }
}
