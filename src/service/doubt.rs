//! Writes in doubt: the database was told, and its answer did not come. It may still do what it was told,
//! after the cache has forgotten what that changes and somebody has loaded it again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::app::App;
use crate::datalayer::cache::Scope;
use crate::datalayer::config::PoolSettings;

/// How often what may still change is forgotten again; no answer is older for longer.
const PAUSE: Duration = Duration::from_secs(1);

/// Of more than so many scopes everything is forgotten instead; of more news the next ones are told once only.
const MOST: usize = 1000;

/// What may still change.
pub(super) struct Doubts {
    /// How long the database may go on with what it was told.
    last: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Each until then.
    scopes: HashMap<Scope, Instant>,
    news: HashMap<News, Instant>,
}

/// What is told of a tenant in a room.
type News = (i64, &'static str, Value);

impl Doubts {
    pub(super) fn new(settings: &PoolSettings) -> Self {
        // PostgreSQL itself ends a statement one `peer_timeout_ms` after its caller does, and may begin it
        // late. Only a commit has no limit there.
        let last_ms = settings.statement_timeout_ms + 2 * settings.peer_timeout_ms;
        Self {
            last: Duration::from_millis(last_ms),
            held: Mutex::default(),
        }
    }

    /// Has what these are about forgotten again and again, for as long as it may change.
    pub(super) fn forget(&self, scopes: &[Scope]) {
        let over = Instant::now() + self.last;
        let mut held = self.held();
        held.scopes
            .extend(scopes.iter().map(|scope| (scope.clone(), over)));
        if held.scopes.len() > MOST {
            held.scopes = [(Scope::All, over)].into();
        }
    }

    /// Has a change told again once it has come, or can't come any more.
    pub(super) fn tell(&self, tenant: i64, room: &'static str, change: Value) {
        let over = Instant::now() + self.last;
        let mut held = self.held();
        if held.news.len() < MOST {
            held.news.insert((tenant, room, change), over);
        }
    }

    pub(super) fn is_any(&self) -> bool {
        !self.held().scopes.is_empty()
    }

    /// What is to be forgotten now, and then told.
    fn due(&self, now: Instant) -> (Vec<Scope>, Vec<News>) {
        let mut held = self.held();
        let scopes = held.scopes.keys().cloned().collect();
        held.scopes.retain(|_, over| *over > now);
        let news = held.news.extract_if(|_, over| *over <= now);
        (scopes, news.map(|(news, _)| news).collect())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets and tells what is due, for ever.
pub(super) async fn follow(app: &App) -> Infallible {
    loop {
        sleep(PAUSE).await;
        let (scopes, news) = app.doubts.due(Instant::now());
        if !scopes.is_empty() {
            app.cache.invalidate_scopes(&scopes).await;
        }
        for (tenant, room, change) in news {
            app.tell(tenant, room, &change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn doubts() -> Doubts {
        Doubts::new(&PoolSettings {
            statement_timeout_ms: 60_000,
            peer_timeout_ms: 5000,
            ..PoolSettings::default()
        })
    }

    #[test]
    fn what_may_change_is_due_until_it_can_not_and_is_told_then() {
        let doubts = doubts();
        let key = Scope::Key("a".to_owned());
        let begun = Instant::now();
        let due_at = |seconds| doubts.due(begun + Duration::from_secs(seconds));
        doubts.forget(std::slice::from_ref(&key));
        doubts.tell(1, "clients", json!(7));
        for seconds in [1, 65, 69] {
            assert_eq!(due_at(seconds), (vec![key.clone()], vec![]), "{seconds} s");
        }
        assert!(doubts.is_any());
        let last = (vec![key], vec![(1, "clients", json!(7))]);
        assert_eq!(due_at(71), last);
        assert!(!doubts.is_any());
        assert_eq!(due_at(72), (vec![], vec![]));
    }

    #[test]
    fn so_many_are_all_and_each_is_held_once() {
        let doubts = doubts();
        for _ in 0..3 {
            for number in 0..MOST {
                doubts.forget(&[Scope::Key(number.to_string())]);
                doubts.tell(1, "clients", number.into());
            }
        }
        let held = || {
            let held = doubts.held();
            (held.scopes.len(), held.news.len())
        };
        assert_eq!(held(), (MOST, MOST));
        doubts.forget(&[Scope::Key("more".to_owned())]);
        doubts.tell(1, "clients", "more".into());
        assert_eq!(doubts.due(Instant::now()).0, [Scope::All]);
        assert_eq!(held(), (1, MOST));
    }
}
