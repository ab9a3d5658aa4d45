//! What is done with the connections that are out: who took each, and whether it is used.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::datalayer::latency::Latencies;

/// What is being done, as a verb, and the table that it is done to: for errors and reports.
pub type Statement = (&'static str, &'static str);

/// A checkout that is out for longer than it should be. Durations are in ms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The line of the source that took it.
    pub place: String,
    /// Since it was taken.
    pub held_ms: u64,
    /// The statement that runs, or else the last one that did, such as `insert into clients`.
    pub statement: Option<String>,
    /// Since that statement began, where it runs.
    pub running_ms: Option<u64>,
    /// Since something was last done with it, where nothing runs: with or without a transaction that is open.
    pub rested_ms: Option<u64>,
}

/// The use of one connection while it is out.
#[derive(Debug)]
pub(crate) struct Activity {
    place: &'static Location<'static>,
    taken: Instant,
    state: Mutex<State>,
    /// Whether the connection may be in a transaction that nobody ends.
    spoilt: AtomicBool,
    /// Where its statements are counted.
    statements: Arc<Statements>,
}

/// All statements that ended, of all connections.
#[derive(Debug)]
pub(super) struct Statements {
    took: Latencies,
    /// What takes longer is slow.
    slow_after: Duration,
    slow: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// When something last began or ended.
    changed: Instant,
    statement: Option<Statement>,
    runs: bool,
    /// Whether the log has it already.
    is_told: bool,
}

/// A statement under way, also when its future is dropped there.
pub(crate) struct Running<'a> {
    activity: &'a Activity,
    began: Instant,
}

/// All connections that are out.
#[derive(Debug)]
pub(super) struct Activities {
    out: Mutex<HashMap<u64, Arc<Activity>>>,
    next: AtomicU64,
    statements: Arc<Statements>,
}

impl Activity {
    fn new(place: &'static Location<'static>, statements: Arc<Statements>) -> Self {
        let now = Instant::now();
        Self {
            place,
            taken: now,
            state: Mutex::new(State {
                changed: now,
                statement: None,
                runs: false,
                is_told: false,
            }),
            spoilt: AtomicBool::new(false),
            statements,
        }
    }

    /// A transaction of PostgreSQL begins. Until `begin` has given its answer, a connection that is
    /// dropped is closed: sqlx counts a transaction only from the answer on and would not end this one,
    /// and whatever the next user wrote would be part of it
    /// (<https://github.com/launchbadge/sqlx/issues/4385>).
    pub(crate) async fn begin<T>(
        &self,
        begin: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        self.spoilt.store(true, Ordering::Release);
        let begun = begin.await?;
        self.spoilt.store(false, Ordering::Release);
        Ok(begun)
    }

    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }

    /// A statement begins; it ends with the value.
    pub(crate) fn run(&self, statement: Statement) -> Running<'_> {
        let began = Instant::now();
        let mut state = self.lock();
        state.changed = began;
        state.statement = Some(statement);
        state.runs = true;
        state.is_told = false;
        Running {
            activity: self,
            began,
        }
    }

    /// Something is done that is no statement of ours.
    pub(super) fn touch(&self) {
        let mut state = self.lock();
        state.changed = Instant::now();
        state.is_told = false;
    }

    fn held(&self) -> Held {
        let state = self.lock();
        let since = u64::try_from(state.changed.elapsed().as_millis()).unwrap_or(u64::MAX);
        Held {
            place: self.place.to_string(),
            held_ms: u64::try_from(self.taken.elapsed().as_millis()).unwrap_or(u64::MAX),
            statement: state
                .statement
                .map(|(action, table)| format!("{action} {table}")),
            running_ms: state.runs.then_some(since),
            rested_ms: (!state.runs).then_some(since),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.activity.lock();
        state.changed = now;
        state.runs = false;
        state.is_told = false;
        drop(state);
        self.activity.statements.count(now - self.began);
    }
}

impl Statements {
    fn new(slow_after: Duration) -> Self {
        Self {
            took: Latencies::new(),
            slow_after,
            slow: AtomicU64::new(0),
        }
    }

    fn count(&self, took: Duration) {
        self.took.record(took);
        if took > self.slow_after {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long each took.
    pub(super) fn took(&self) -> &Latencies {
        &self.took
    }

    /// How many were slow.
    pub(super) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }
}

impl Activities {
    /// Statements that take longer than this are counted as slow.
    pub(super) fn new(slow_after: Duration) -> Self {
        Self {
            out: Mutex::default(),
            next: AtomicU64::new(0),
            statements: Arc::new(Statements::new(slow_after)),
        }
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.statements
    }

    /// A connection goes out; the number is for [`Activities::end`].
    pub(super) fn begin(&self, place: &'static Location<'static>) -> (u64, Arc<Activity>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let statements = Arc::clone(&self.statements);
        let activity = Arc::new(Activity::new(place, statements));
        self.lock().insert(number, Arc::clone(&activity));
        (number, activity)
    }

    pub(super) fn end(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Those that rest for at least `leak` or run a statement for at least `long`, longest first.
    pub(super) fn suspects(&self, leak: Duration, long: Duration) -> Vec<Held> {
        let mut held: Vec<Held> = self
            .all_suspects(leak, long)
            .map(|(_, held)| held)
            .collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.held_ms));
        held
    }

    /// The same, but each only once for each rest and each statement.
    pub(super) fn untold(&self, leak: Duration, long: Duration) -> Vec<Held> {
        self.all_suspects(leak, long)
            .filter(|(activity, _)| !std::mem::replace(&mut activity.lock().is_told, true))
            .map(|(_, held)| held)
            .collect()
    }

    fn all_suspects(
        &self,
        leak: Duration,
        long: Duration,
    ) -> impl Iterator<Item = (Arc<Activity>, Held)> {
        let out: Vec<Arc<Activity>> = self.lock().values().cloned().collect();
        out.into_iter().filter_map(move |activity| {
            let held = activity.held();
            held.is_suspect(leak, long).then_some((activity, held))
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_suspect(&self, leak: Duration, long: Duration) -> bool {
        let is_beyond = |ms: Option<u64>, limit: Duration| {
            ms.is_some_and(|ms| Duration::from_millis(ms) >= limit)
        };
        is_beyond(self.rested_ms, leak) || is_beyond(self.running_ms, long)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    /// Long enough for a busy machine to do two lines of this in it.
    const LIMIT: Duration = Duration::from_millis(300);
    const NEVER: Duration = Duration::from_secs(1000);

    #[test]
    fn each_rest_and_each_long_statement_is_suspect_and_told_once() {
        let activities = Activities::new(Duration::from_secs(1));
        let (number, activity) = activities.begin(Location::caller());
        let (_, other) = activities.begin(Location::caller());
        let running = other.run(("read", "clients"));
        let told = |leak, long| {
            let mut told: Vec<_> = activities
                .untold(leak, long)
                .into_iter()
                .map(|held| (held.statement, held.running_ms.is_some()))
                .collect();
            told.sort();
            told
        };
        let read = Some("read clients".to_owned());
        assert_eq!(activities.suspects(LIMIT, LIMIT), []);
        sleep(LIMIT);
        assert_eq!(told(LIMIT, NEVER), [(None, false)]);
        assert_eq!(told(LIMIT, LIMIT), [(read.clone(), true)]);
        assert_eq!(told(LIMIT, LIMIT), []);
        assert_eq!(activities.suspects(LIMIT, LIMIT).len(), 2);
        // It rests after its statement, and that is another thing to tell; so is another rest.
        drop(running);
        assert_eq!(activities.suspects(LIMIT, LIMIT).len(), 1);
        activity.touch();
        sleep(LIMIT);
        assert_eq!(told(LIMIT, LIMIT), [(None, false), (read, false)]);
        assert_eq!(told(LIMIT, LIMIT), []);
        // And so is the statement after a rest.
        let running = activity.run(("insert into", "records"));
        sleep(LIMIT);
        let insert = Some("insert into records".to_owned());
        assert_eq!(told(NEVER, LIMIT), [(insert, true)]);
        drop(running);
        activities.end(number);
        assert_eq!(activities.suspects(LIMIT, LIMIT).len(), 1);
    }

    #[test]
    fn statements_are_counted_when_they_end_and_the_slow_ones_apart() {
        let quick = Activities::new(NEVER);
        let (_, activity) = quick.begin(Location::caller());
        let running = activity.run(("read", "clients"));
        assert_eq!(quick.statements().took().summary().count, 0);
        drop(running);
        let slow = Activities::new(Duration::ZERO);
        for _ in 0..2 {
            let (number, activity) = slow.begin(Location::caller());
            let running = activity.run(("read", "clients"));
            sleep(LIMIT);
            drop(running);
            slow.end(number);
        }
        let counted = [&quick, &slow].map(|all| {
            let statements = all.statements();
            (statements.took().summary().count, statements.slow())
        });
        assert_eq!(counted, [(1, 0), (2, 2)]);
        let mean_ns = slow.statements().took().summary().mean_ns;
        assert!(mean_ns >= 0.99 * LIMIT.as_nanos() as f64, "{mean_ns}");
    }

    #[test]
    fn the_place_is_that_of_the_caller() {
        let activities = Activities::new(Duration::from_secs(1));
        activities.begin(Location::caller());
        let held = activities.suspects(Duration::ZERO, Duration::ZERO);
        let line = line!() - 2;
        assert_eq!(held[0].place, format!("{}:{line}:26", file!()));
    }
}
