//! What can go wrong with a cached read: only the loader.

use std::error::Error;
use std::sync::Arc;

/// Why a read gave no value. A second tier that fails is never the reason.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CacheError {
    /// The loader failed. Everybody who waited for the same load gets the same error.
    #[error("loading {key:?} failed: {source}")]
    Load {
        /// The key that was to be loaded.
        key: Arc<str>,
        /// What the loader said; `downcast_ref` gives the loader's own type.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The loader panicked, or its runtime was shut down.
    #[error("the load of {key:?} broke off before its end: the log of the panic says why")]
    BrokenOff {
        /// The key that was to be loaded.
        key: Arc<str>,
    },
}
