//! What a cache is filled with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a cache is filled with; whoever knows the data says which keys that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Without which nothing goes well: what everybody asks for.
    #[serde(alias = "CRITICAL_ONLY")]
    CriticalOnly,
    /// What is asked for most.
    #[serde(alias = "HIGH_FREQUENCY")]
    HighFrequency,
    /// What has changed of late.
    #[serde(alias = "RECENT_DATA")]
    RecentData,
    /// All of these, and everything else that there is room for.
    #[serde(alias = "COMPREHENSIVE")]
    Comprehensive,
}
