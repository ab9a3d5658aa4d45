//! What a value belongs to, and what an invalidation is about.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pattern;

/// What a value belongs to, given when it is stored or loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag<'a> {
    /// A name of the caller's choice.
    Named(&'a str),
    /// The key of a value that this one was derived from. A grandchild names each of its ancestors:
    /// the value in between may not be cached, and so can't tell whose child it is.
    ChildOf(&'a str),
}

/// What an invalidation is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One key.
    Key(String),
    /// All keys that were stored under a tag of this name.
    Tag(String),
    /// One key, and all that were stored as its children.
    Family(String),
    /// All keys that a glob matches.
    Pattern(Pattern),
    /// Everything.
    All,
}

impl Tag<'_> {
    /// What the tiers know it by: a child's tag is never a name.
    fn name(self) -> Arc<str> {
        match self {
            Self::Named(name) => named(name),
            Self::ChildOf(key) => children_of(key),
        }
        .into()
    }

    /// The names of some tags, in order and each once.
    pub(super) fn names(tags: &[Self]) -> Vec<Arc<str>> {
        let mut names: Vec<_> = tags.iter().map(|tag| tag.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Scope {
    /// The one key that it names.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) | Self::Family(key) => Some(key),
            Self::Tag(_) | Self::Pattern(_) | Self::All => None,
        }
    }

    /// The tag that it voids, as the tiers know it.
    pub(super) fn tag(&self) -> Option<String> {
        match self {
            Self::Tag(name) => Some(named(name)),
            Self::Family(key) => Some(children_of(key)),
            Self::Key(_) | Self::Pattern(_) | Self::All => None,
        }
    }

    /// Whether a tier has to look at all its keys for it.
    pub(super) fn is_wide(&self) -> bool {
        matches!(self, Self::Pattern(_) | Self::All)
    }
}

fn named(name: &str) -> String {
    format!("name:{name}")
}

fn children_of(key: &str) -> String {
    format!("child-of:{key}")
}
