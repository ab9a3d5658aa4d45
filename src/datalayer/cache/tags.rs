//! Which values of this process belong to a tag.
//!
//! A tag is a flag that all its values hold; to invalidate the tag is to set the flag and to forget
//! it, so that it costs the same for one value and for ten thousand, and reaches what is still being
//! loaded. Values that come later get another flag.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Flags are looked through for forgotten ones no sooner than when there are so many.
const SWEEP_MIN: usize = 64;

/// The flags of the tags in use.
#[derive(Debug, Default)]
pub(super) struct TagIndex(Mutex<Flags>);

#[derive(Debug, Default)]
struct Flags {
    of: HashMap<Arc<str>, Weak<AtomicBool>>,
    /// How many flags were set so far.
    voided: u64,
    /// The next size at which those are dropped that no value holds any more.
    sweep_at: usize,
}

/// The flags of one value; none for a value without tags, which costs nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks(Option<Arc<[Arc<AtomicBool>]>>);

/// A moment in the order of all changes of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl TagIndex {
    /// The flags of a value that is read from now on.
    pub(super) fn mark(&self, names: &[Arc<str>]) -> Marks {
        if names.is_empty() {
            return Marks::default();
        }
        self.lock().mark(names)
    }

    /// This moment, for [`TagIndex::mark_since`].
    pub(super) fn now(&self) -> Moment {
        Moment(self.lock().voided)
    }

    /// The flags of a value that has been read since `moment` and whose tags were not known then. If
    /// any tag at all was voided meanwhile, the value counts as voided.
    pub(super) fn mark_since(&self, moment: Moment, names: &[Arc<str>]) -> Marks {
        if names.is_empty() {
            return Marks::default();
        }
        let mut flags = self.lock();
        if flags.voided != moment.0 {
            return Marks(Some(Arc::new([Arc::new(AtomicBool::new(true))])));
        }
        flags.mark(names)
    }

    /// All values of a tag, and what is being read of it, are void.
    pub(super) fn void(&self, name: &str) {
        let mut flags = self.lock();
        flags.voided += 1;
        if let Some(flag) = flags.of.remove(name).and_then(|flag| flag.upgrade()) {
            flag.store(true, Ordering::Relaxed);
        }
    }

    // The lock also orders the flags: a value is marked before its tag is voided, and then its flag
    // is set, or after, and then what it reads is what the change has left.
    fn lock(&self) -> MutexGuard<'_, Flags> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flags {
    fn mark(&mut self, names: &[Arc<str>]) -> Marks {
        let marks = names.iter().map(|name| self.flag(name)).collect();
        if self.of.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.of.retain(|_, flag| flag.strong_count() > 0);
            self.sweep_at = 2 * self.of.len();
        }
        Marks(Some(marks))
    }

    fn flag(&mut self, name: &Arc<str>) -> Arc<AtomicBool> {
        if let Some(flag) = self.of.get(name).and_then(Weak::upgrade) {
            return flag;
        }
        let flag = Arc::default();
        self.of.insert(Arc::clone(name), Arc::downgrade(&flag));
        flag
    }
}

impl Marks {
    /// Whether any of the tags was voided since they were marked.
    pub(super) fn are_void(&self) -> bool {
        let Self(Some(flags)) = self else {
            return false;
        };
        flags.iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    /// These and those.
    pub(super) fn and(self, others: Self) -> Self {
        match (self.0, others.0) {
            (Some(these), Some(those)) => {
                Self(Some(these.iter().chain(&*those).cloned().collect()))
            }
            (these, those) => Self(these.or(those)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn what_was_marked_before_is_void_and_what_comes_after_is_not() {
        let tags = TagIndex::default();
        let (a, ab) = (tags.mark(&names(&["a"])), tags.mark(&names(&["a", "b"])));
        let untagged = tags.mark(&[]);
        tags.void("b");
        assert!(!a.are_void() && ab.are_void() && !untagged.are_void());
        let later = tags.mark(&names(&["b"]));
        assert!(!later.are_void());
        assert!(later.clone().and(ab).are_void());
        assert!(!later.and(a.clone()).and(untagged).are_void());
        tags.void("a");
        assert!(a.are_void());
    }

    #[test]
    fn tags_learned_late_are_void_when_any_was_voided_meanwhile() {
        let tags = TagIndex::default();
        let moment = tags.now();
        assert!(!tags.mark_since(moment, &names(&["a"])).are_void());
        tags.void("a");
        assert!(tags.mark_since(moment, &names(&["a"])).are_void());
        assert!(!tags.mark_since(moment, &[]).are_void(), "nothing to void");
        assert!(!tags.mark_since(tags.now(), &names(&["a"])).are_void());
    }

    #[test]
    fn tags_that_no_value_has_any_more_are_forgotten() {
        let tags = TagIndex::default();
        let kept = tags.mark(&names(&["kept"]));
        for number in 0..100 * SWEEP_MIN {
            tags.mark(&[number.to_string().into()]);
        }
        assert!(tags.lock().of.len() <= 2 * SWEEP_MIN);
        tags.void("kept");
        assert!(kept.are_void());
    }
}
