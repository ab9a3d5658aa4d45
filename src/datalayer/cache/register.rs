//! Who uses a second tier that outlives its users.
//!
//! A process may end before it has told the tier what it changed: it is killed between the change
//! and the telling, or the tier is away all the while. Nobody knows then which values are stale. So
//! each process signs a register in the tier again and again, and strikes its name out when it ends
//! with everything told. A name that has not been signed for long is that of a process that ended
//! otherwise: whoever sees it clears the tier. A new process has no use of the tier until everyone
//! whom it found in the register has signed again or is known to be gone; where the last one took
//! leave, it finds the register empty and the tier as it was left.
//!
//! What this cannot know: a process that is cut off from the tier for longer than `l2_absent_ms` is
//! taken for gone once, and cleared after. Should it go on changing data, and end without having
//! reached the tier again, then what others have stored meanwhile may be stale until its lifetime
//! ends. The same holds of a tier that is set back to an older copy of its data.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::TierError;

/// The register of a tier. It is no value: what forgets all values leaves it.
#[async_trait]
pub trait Register: Send + Sync {
    /// Signs it, and reads the other names in it; the ones longest silent first, where there are
    /// too many to read.
    async fn sign(&self, name: &str) -> Result<Vec<Signature>, TierError>;

    /// Strikes names out.
    async fn strike(&self, names: &[String]) -> Result<(), TierError>;
}

/// Another name in a [`Register`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name, of one process in its lifetime.
    pub name: String,
    /// How long ago it was signed, by the clock of the tier.
    pub age: Duration,
}

/// What one process makes of a register.
#[derive(Debug)]
pub(super) struct Roll {
    /// A name not signed for so long is that of a process that has gone.
    absent: Duration,
    first_read_at: Option<Instant>,
    /// Found at the first reading and not heard of since.
    unheard: HashSet<String>,
}

impl Roll {
    pub(super) fn new(absent: Duration) -> Self {
        Self {
            absent,
            first_read_at: None,
            unheard: HashSet::new(),
        }
    }

    /// Takes in what was read between `asked_at` and `now`; gives the names of those that have gone.
    pub(super) fn read(
        &mut self,
        others: Vec<Signature>,
        asked_at: Instant,
        now: Instant,
    ) -> Vec<String> {
        match self.first_read_at {
            None => {
                self.first_read_at = Some(now);
                self.unheard = others.iter().map(|other| other.name.clone()).collect();
            }
            Some(first) => {
                let known_for = asked_at.saturating_duration_since(first);
                let silent = others.iter().filter(|other| other.age >= known_for);
                let silent: HashSet<_> = silent.map(|other| other.name.as_str()).collect();
                self.unheard.retain(|name| silent.contains(name.as_str()));
            }
        }
        let gone = others.into_iter().filter(|other| other.age >= self.absent);
        gone.map(|other| other.name).collect()
    }

    /// The tier was cleared of what these may have left.
    pub(super) fn cleared(&mut self, gone: &[String]) {
        for name in gone {
            self.unheard.remove(name);
        }
    }

    /// Whether nobody may have left anything unsaid before this process came.
    pub(super) fn is_settled(&self) -> bool {
        self.first_read_at.is_some() && self.unheard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Duration = Duration::from_secs(5);

    /// Seconds since the start; other names and their ages in milliseconds; who has gone; whether
    /// that settles it.
    type Reading<'a> = (u64, &'a [(&'a str, u64)], &'a [&'a str], bool);

    /// Reads the register at several times.
    fn check(readings: &[Reading<'_>]) {
        let mut roll = Roll::new(ABSENT);
        assert!(!roll.is_settled(), "before the first reading");
        let start = Instant::now();
        for (at_s, others, gone, settled) in readings {
            let at = start + Duration::from_secs(*at_s);
            let others = others.iter().map(|(name, age_ms)| Signature {
                name: (*name).to_owned(),
                age: Duration::from_millis(*age_ms),
            });
            let found = roll.read(others.collect(), at, at);
            assert_eq!(found, *gone, "after {at_s} s");
            roll.cleared(&found);
            assert_eq!(roll.is_settled(), *settled, "after {at_s} s");
        }
    }

    #[test]
    fn an_empty_register_settles_it() {
        check(&[(0, &[], &[], true), (1, &[("later", 10)], &[], true)]);
    }

    #[test]
    fn who_signs_again_is_there() {
        check(&[
            (0, &[("a", 10), ("b", 10)], &[], false),
            (1, &[("a", 1010), ("b", 900)], &[], false),
            (2, &[("a", 900), ("b", 1900)], &[], true),
        ]);
    }

    #[test]
    fn who_takes_leave_has_left_nothing_unsaid() {
        check(&[(0, &[("a", 10)], &[], false), (1, &[], &[], true)]);
    }

    #[test]
    fn who_is_silent_for_long_has_gone() {
        check(&[
            (0, &[("a", 4000), ("b", 9000)], &["b"], false),
            (1, &[("a", 5000)], &["a"], true),
            (9, &[("c", 5000)], &["c"], true),
        ]);
    }
}
