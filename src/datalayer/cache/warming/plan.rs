//! What is to be brought, in which order.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::datalayer::cache::Kind;

/// What a loader gives.
pub type Loaded = Result<Bytes, Box<dyn Error + Send + Sync>>;

/// Whether an error of a load says that there is nothing to be loaded.
type IsGone = fn(&(dyn Error + Send + Sync + 'static)) -> bool;

/// How urgent an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What there is room for.
    Low,
    /// What may be asked for.
    Medium,
    /// What will be asked for.
    High,
    /// What everybody asks for.
    Critical,
}

/// One key to be brought.
#[derive(Clone)]
pub struct Item {
    pub(super) key: String,
    pub(super) kind: Kind,
    pub(super) ttl: Option<Duration>,
    pub(super) priority: Priority,
    pub(super) tags: Vec<String>,
    pub(super) loader: Arc<dyn Fn() -> BoxFuture<'static, Loaded> + Send + Sync>,
    pub(super) is_gone: IsGone,
}

/// What is to be brought.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    items: Vec<Item>,
}

impl Item {
    /// A key that `loader` loads. It lives as long as its kind does.
    pub fn new<L>(
        key: impl Into<String>,
        kind: Kind,
        priority: Priority,
        loader: impl Fn() -> L + Send + Sync + 'static,
    ) -> Self
    where
        L: Future<Output = Loaded> + Send + 'static,
    {
        Self {
            key: key.into(),
            kind,
            ttl: None,
            priority,
            tags: Vec::new(),
            loader: Arc::new(move || Box::pin(loader())),
            is_gone: |_| false,
        }
    }

    /// A lifetime of its own, unless its kind lives shorter: how stale a value may be, its kind says.
    pub fn living(self, ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..self
        }
    }

    /// Under a tag of this name.
    pub fn tagged(mut self, name: impl Into<String>) -> Self {
        self.tags.push(name.into());
        self
    }

    /// With errors that say that the key has no value any more: it is not tried again then, and no failure.
    /// The error is that of the load, which may be a reader's that was under way.
    pub fn gone_if(self, is_gone: IsGone) -> Self {
        Self { is_gone, ..self }
    }
}

impl Plan {
    /// The items in the order in which they are brought: the most urgent first, those that are as
    /// urgent as they were added, each key once, and no more than `most`.
    pub fn ordered(self, most: u64) -> Self {
        let mut items = self.items;
        items.sort_by_key(|item| Reverse(item.priority));
        let mut seen = HashSet::new();
        items.retain(|item| seen.insert(item.key.clone()));
        items.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Self { items }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn into_items(self) -> Vec<Item> {
        self.items
    }
}

impl Extend<Item> for Plan {
    fn extend<T: IntoIterator<Item = Item>>(&mut self, items: T) {
        self.items.extend(items);
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Item")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("ttl", &self.ttl)
            .field("priority", &self.priority)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(items: &[(&str, Priority)]) -> Plan {
        let items = items.iter().map(|(key, priority)| {
            Item::new(*key, Kind::Other, *priority, || async { Ok(Bytes::new()) })
        });
        let mut plan = Plan::default();
        plan.extend(items);
        plan
    }

    fn keys(plan: &Plan) -> Vec<&str> {
        plan.items.iter().map(|item| item.key.as_str()).collect()
    }

    #[test]
    fn the_most_urgent_come_first_and_each_once() {
        use Priority::{Critical, High, Low, Medium};
        let mixed = plan(&[
            ("a", Low),
            ("b", High),
            ("c", Medium),
            ("d", Critical),
            ("e", High),
            ("a", Medium),
        ]);
        assert_eq!(
            keys(&mixed.clone().ordered(100)),
            ["d", "b", "e", "c", "a"],
            "`a` came in as medium, after `c`"
        );
        assert_eq!(keys(&mixed.clone().ordered(3)), ["d", "b", "e"]);
        assert!(keys(&mixed.ordered(0)).is_empty());
    }
}
