//! The client with which the engine itself asks the subject: whether it is ready, what its metrics
//! are, whether it can be reached. Never the load.

use std::error::Error;

/// How Plimsoll introduces itself, to the load's requests too where a step has no other name for it.
pub(crate) const USER_AGENT: &str = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));

/// A client that goes straight to where the URL points: a proxy from the environment or a redirect
/// would answer in place of the subject.
///
/// # Errors
/// Where TLS can't be set up.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
        .build()
}

/// The innermost cause: `Connection refused` where the outermost only says that a request failed.
pub(crate) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
