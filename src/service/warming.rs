//! `/api/v1/admin/cache/warm`: the cache filled ahead of its use, at the start or when the admin asks.
//!
//! What a strategy brings: `critical_only` the dashboard of all tenants together and the tenants;
//! `high_frequency` the hottest keys of this process and the first page of each tenant's clients;
//! `recent_data` the clients that were changed, or had an appointment, in the last days; `comprehensive`
//! all of these, the dashboard of each tenant and the details of the newest clients, as many as the first
//! tier has entries: more would push out what came first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use jiff::{ToSpan as _, Zoned};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::admin::Admin;
use super::app::App;
use super::body::read_body;
use super::error::{ApiError, LoadError};
use super::settings::Settings;
use super::{analytics, clients, tenants};
use crate::datalayer::batch::{BatchError, Column, Value, fetch_rows};
use crate::datalayer::cache::warming::{
    Item, Plan, Priority, Progress, State as WarmState, Strategy, WarmUp,
};
use crate::datalayer::cache::{Kind, Owner};
use crate::datalayer::config::WarmingSettings;

/// How often a service that starts looks whether its second tier is used.
const TIER_POLL: Duration = Duration::from_millis(20);

/// The warm-ups of this process.
#[derive(Default)]
pub(super) struct Warmings {
    listed: Mutex<Listed>,
    /// Whether the one at the start has ended, or was waited for as long as it may.
    settled: AtomicBool,
}

#[derive(Default)]
struct Listed {
    /// The last ones, the newest last.
    known: VecDeque<Known>,
    /// Whether the service stops, so that no other may begin.
    closed: bool,
}

struct Known {
    id: Uuid,
    strategy: Strategy,
    warm_up: WarmUp,
}

/// What the admin asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    strategy: Strategy,
}

/// `POST /admin/cache/warm`: starts a warm-up and says where to ask for it.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    _: Admin,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = read_body(&app, body)?;
    let Order { strategy } = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid_body(format!("not a warm-up: {error}")))?;
    let (id, progress) = begin(&app, strategy)?;
    let location = [(LOCATION, format!("/api/v1/admin/cache/warm/{id}"))];
    let answer = shown(id, strategy, &progress.borrow());
    Ok((StatusCode::ACCEPTED, location, answer).into_response())
}

/// `GET /admin/cache/warm/{id}`: how far a warm-up is.
pub(super) async fn progress(
    State(app): State<Arc<App>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let listed = app.warmings.lock();
    let known = listed.find(&id)?;
    Ok(known.shown())
}

/// `DELETE /admin/cache/warm/{id}`: ends a warm-up that is under way. What is being loaded is loaded.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let listed = app.warmings.lock();
    let known = listed.find(&id)?;
    if !known.warm_up.progress().state.is_under_way() {
        let message = "the warm-up is not under way any more";
        let status = StatusCode::CONFLICT;
        return Err(ApiError::client(status, "not_under_way", message));
    }
    known.warm_up.cancel();
    Ok(known.shown())
}

/// Fills the cache as the settings say, and has the service wait with its readiness, for so long at
/// most. To be called once the data are there.
pub(super) async fn at_start(app: &Arc<App>) {
    let settings = &app.settings.cache.warming;
    if let Some(strategy) = settings.at_start {
        let wait = Duration::from_millis(settings.start_wait_ms);
        let warmed = async {
            // What is loaded before it is used would not come there.
            let used = async {
                while !app.cache.uses_second_tier() {
                    sleep(TIER_POLL).await;
                }
            };
            if timeout(wait, used).await.is_err() {
                tracing::warn!("the cache is filled without its second tier");
            }
            let progress = match begin(app, strategy) {
                Ok((_, progress)) => WarmUp::ended(progress).await,
                Err(error) => {
                    // What it says is for a client; the log has the rest.
                    let _ = error.into_response();
                    tracing::warn!(?strategy, "the cache is not filled ahead of its use");
                    return;
                }
            };
            let Progress {
                state,
                done,
                failed,
                total,
                ..
            } = progress;
            if state == WarmState::Ended {
                tracing::info!(
                    ?strategy,
                    done,
                    failed,
                    "the cache was filled ahead of its use"
                );
            } else {
                tracing::warn!(
                    ?strategy,
                    ?state,
                    done,
                    failed,
                    total,
                    "the cache was not filled to the end"
                );
            }
        };
        let mut warmed = std::pin::pin!(warmed);
        if timeout(wait, &mut warmed).await.is_err() {
            app.warmings.settled.store(true, Ordering::Release);
            warmed.await;
        }
    }
    app.warmings.settled.store(true, Ordering::Release);
}

impl Warmings {
    /// Whether the service need not wait for its cache any more.
    pub(super) fn are_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Ends all that are under way, and lets no other begin.
    pub(super) fn stop(&self) {
        let mut listed = self.lock();
        listed.closed = true;
        listed.known.iter().for_each(|known| known.warm_up.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists one more, if it may begin: each holds connections of the pool, so that there is one at a time.
    fn begin(
        &self,
        strategy: Strategy,
        kept_max: usize,
        start: impl FnOnce() -> WarmUp,
    ) -> Result<(Uuid, watch::Receiver<Progress>), ApiError> {
        let mut listed = self.lock();
        if listed.closed {
            let message = "the service is about to stop: nothing is brought ahead of its use";
            return Err(ApiError::unavailable("stopping", message));
        }
        let mut known = listed.known.iter();
        let running = known.find(|known| known.warm_up.progress().state.is_under_way());
        if let Some(running) = running {
            let message = format!("the warm-up {} is under way", running.id);
            return Err(ApiError::client(StatusCode::CONFLICT, "under_way", message));
        }
        let warm_up = start();
        let (id, progress) = (Uuid::new_v4(), warm_up.watch());
        listed.known.push_back(Known {
            id,
            strategy,
            warm_up,
        });
        while listed.known.len() > kept_max {
            listed.known.pop_front();
        }
        Ok((id, progress))
    }
}

impl Listed {
    fn find(&self, id: &str) -> Result<&Known, ApiError> {
        let id: Uuid = id.parse().map_err(|_| {
            let message = "the id of a warm-up is a UUID";
            ApiError::client(StatusCode::BAD_REQUEST, "invalid_id", message)
        })?;
        let known = self.known.iter().find(|known| known.id == id);
        known.ok_or_else(|| ApiError::not_found("warm-up"))
    }
}

impl Known {
    fn shown(&self) -> Json<serde_json::Value> {
        shown(self.id, self.strategy, &self.warm_up.progress())
    }
}

/// Starts a warm-up, if none is under way. Its plan may need long queries, so it is made in its task.
fn begin(
    app: &Arc<App>,
    strategy: Strategy,
) -> Result<(Uuid, watch::Receiver<Progress>), ApiError> {
    let kept_max = app.settings.cache.warming.kept_max;
    app.warmings.begin(strategy, kept_max, || {
        let planning = Arc::clone(app);
        let plan = async move {
            let plan = plan(&planning, strategy).await?;
            Ok::<_, BatchError>(plan.ordered(planning.settings.cache.l1_entries))
        };
        WarmUp::planned(&app.cache, plan, &settings(&app.settings))
    })
}

/// The settings of every warm-up, which leaves requests a connection where there are several.
fn settings(settings: &Settings) -> WarmingSettings {
    let most = settings.pool.max_connections.saturating_sub(1).max(1);
    let warming = &settings.cache.warming;
    WarmingSettings {
        concurrency: warming.concurrency.min(most as usize),
        ..warming.clone()
    }
}

fn shown(id: Uuid, strategy: Strategy, progress: &Progress) -> Json<serde_json::Value> {
    Json(json!({ "id": id, "strategy": strategy, "progress": progress }))
}

/// What a strategy brings, not ordered yet.
async fn plan(app: &Arc<App>, strategy: Strategy) -> Result<Plan, BatchError> {
    let settings = &app.settings.cache.warming;
    let mut plan = Plan::default();
    match strategy {
        Strategy::CriticalOnly => plan.extend(critical(app)),
        Strategy::HighFrequency => {
            let ttl = Duration::from_secs(settings.high_frequency_ttl_s);
            plan.extend(frequent(app).await.into_iter().map(|item| item.living(ttl)));
        }
        Strategy::RecentData => {
            let ttl = Duration::from_secs(settings.recent_ttl_s);
            plan.extend(recent(app).await?.into_iter().map(|item| item.living(ttl)));
        }
        // Each as long as its kind lives: this is no guess at what will be asked for.
        Strategy::Comprehensive => {
            plan.extend(critical(app));
            plan.extend(frequent(app).await);
            plan.extend(recent(app).await?);
            let owners = (1..=app.tenants()).map(Owner::Tenant);
            plan.extend(owners.map(|owner| dashboard(app, owner, Priority::Medium)));
            plan.extend(newest(app).await?);
        }
    }
    Ok(plan)
}

fn critical(app: &Arc<App>) -> [Item; 2] {
    let priority = Priority::Critical;
    [
        dashboard(app, Owner::All, priority),
        all_tenants(app, priority),
    ]
}

async fn frequent(app: &Arc<App>) -> Vec<Item> {
    let prefix = app.cache_key("");
    let hottest = app.cache.stats().await.hottest;
    let hottest = hottest
        .iter()
        .filter_map(|hot| hot.key.strip_prefix(&prefix))
        .filter_map(|key| of_key(app, key, Priority::High));
    let pages = (1..=app.tenants()).filter_map(|tenant| {
        let params = vec![("tenant_id".to_owned(), tenant.to_string())];
        list(app, params, Priority::Medium)
    });
    hottest.chain(pages).collect()
}

async fn recent(app: &Arc<App>) -> Result<Vec<Item>, BatchError> {
    let Some(latest) = latest_day(app).await? else {
        return Ok(Vec::new());
    };
    let days = i64::from(app.settings.cache.warming.recent_days);
    let first = latest.saturating_sub((days - 1).days());
    let after = latest.saturating_add(1.day());
    let sql = "SELECT id FROM (\
               SELECT id, updated_at AS moment FROM clients WHERE updated_at >= $1 UNION ALL \
               SELECT client_id, starts_at FROM appointments WHERE starts_at >= $1 AND starts_at < $2\
               ) AS recent GROUP BY id ORDER BY max(moment) DESC, id LIMIT $3";
    let values = [
        first.to_string().into(),
        after.to_string().into(),
        most(app),
    ];
    details(app, sql, &values, Priority::Medium).await
}

async fn newest(app: &Arc<App>) -> Result<Vec<Item>, BatchError> {
    let sql = "SELECT id FROM clients ORDER BY id DESC LIMIT $1";
    details(app, sql, &[most(app)], Priority::Low).await
}

/// The day up to which data are recent: that of the latest change to a client, or today where that lies
/// ahead. A dataset of the past so has a recent part, too; appointments lie ahead in it and do not count.
async fn latest_day(app: &App) -> Result<Option<Date>, BatchError> {
    let sql = "SELECT coalesce(max(updated_at), '') FROM clients";
    let columns = [Column::text("updated_at")];
    let rows = fetch_rows(&app.pool, ("read", "clients"), sql, &[], &columns).await?;
    let latest = match rows.first().and_then(|row| row.first()) {
        Some(Value::Text(text)) => text.get(..10).and_then(|day| day.parse::<Date>().ok()),
        _ => None,
    };
    let today = Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    Ok(latest.map(|day| day.min(today)))
}

/// As many rows as the first tier has entries.
fn most(app: &App) -> Value {
    i64::try_from(app.settings.cache.l1_entries)
        .unwrap_or(i64::MAX)
        .into()
}

/// The details of the clients that a query names.
async fn details(
    app: &Arc<App>,
    sql: &'static str,
    values: &[Value],
    priority: Priority,
) -> Result<Vec<Item>, BatchError> {
    let columns = [Column::integer("id")];
    let rows = fetch_rows(&app.pool, ("read", "clients"), sql, values, &columns).await?;
    let ids = rows.iter().filter_map(|row| match row.first() {
        Some(Value::Integer(id)) => Some(*id),
        _ => None,
    });
    Ok(ids.map(|id| detail(app, id, priority)).collect())
}

/// The item of a key that was stored before. None for one that does not say what it is of, such as the
/// hash of a long query.
fn of_key(app: &Arc<App>, key: &str, priority: Priority) -> Option<Item> {
    if key == tenants::KEY {
        return Some(all_tenants(app, priority));
    }
    if let Some(id) = clients::id_of_key(key) {
        return Some(detail(app, id, priority));
    }
    if let Some(owner) = analytics::owner_of_key(key) {
        return Some(dashboard(app, owner, priority));
    }
    list(app, clients::params_of_key(key)?, priority)
}

fn all_tenants(app: &Arc<App>, priority: Priority) -> Item {
    let load = |app: Arc<App>| async move { tenants::load(&app).await };
    item(app, Kind::Reference, tenants::KEY, priority, load)
}

fn dashboard(app: &Arc<App>, owner: Owner, priority: Priority) -> Item {
    let load = move |app: Arc<App>| async move { analytics::load(&app, owner).await };
    item(app, Kind::Dashboard, &analytics::key(owner), priority, load)
}

fn detail(app: &Arc<App>, id: i64, priority: Priority) -> Item {
    let load = move |app: Arc<App>| async move { clients::load_detail(&app, id).await };
    item(app, Kind::Detail, &clients::detail_key(id), priority, load)
}

fn list(app: &Arc<App>, params: Vec<(String, String)>, priority: Priority) -> Option<Item> {
    let query = clients::query(app, &params).ok()?;
    let (owner, key) = clients::list_key(app, params);
    let load = move |app: Arc<App>| {
        let query = query.clone();
        async move { clients::load_list(&app, &query).await }
    };
    let tag = app.cache_key(&clients::lists_tag(owner));
    Some(item(app, Kind::List, &key, priority, load).tagged(tag))
}

fn item<L>(
    app: &Arc<App>,
    kind: Kind,
    key: &str,
    priority: Priority,
    load: impl Fn(Arc<App>) -> L + Send + Sync + 'static,
) -> Item
where
    L: Future<Output = Result<Bytes, LoadError>> + Send + 'static,
{
    let key = app.cache_key(key);
    let app = Arc::clone(app);
    let load = move || {
        let load = load(Arc::clone(&app));
        async move { Ok(load.await?) }
    };
    // A reader who waits for this load, or began it, knows the same error.
    Item::new(key, kind, priority, load).gone_if(|error| {
        let error = error.downcast_ref::<LoadError>();
        matches!(error, Some(LoadError::NotFound))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;
    use crate::datalayer::cache::TieredCache;

    /// A warm-up that never comes beyond its plan.
    fn endless() -> WarmUp {
        let settings = Settings::default();
        let cache = TieredCache::new(&settings.cache, None);
        let plan = std::future::pending::<Result<Plan, BatchError>>();
        WarmUp::planned(&cache, plan, &settings.cache.warming)
    }

    #[tokio::test]
    async fn one_is_under_way_at_a_time_and_none_once_the_service_stops() {
        let warmings = Warmings::default();
        let begin = || warmings.begin(Strategy::RecentData, 2, endless);
        let (id, progress) = begin().unwrap();
        assert_eq!(progress.borrow().state, WarmState::Planning);
        assert!(begin().is_err());
        warmings
            .lock()
            .find(&id.to_string())
            .unwrap()
            .warm_up
            .cancel();
        assert_eq!(progress.borrow().state, WarmState::Cancelled);
        let (_, progress) = begin().unwrap();
        warmings.stop();
        assert_eq!(WarmUp::ended(progress).await.state, WarmState::Cancelled);
        assert!(begin().is_err());
        assert_eq!(warmings.lock().known.len(), 2);
    }

    #[test]
    fn a_warm_up_leaves_requests_a_connection() {
        let check = |connections, concurrency, expected| {
            let mut given = Settings::default();
            given.pool.max_connections = connections;
            given.cache.warming.concurrency = concurrency;
            assert_eq!(settings(&given).concurrency, expected);
        };
        check(20, 4, 4);
        check(4, 4, 3);
        check(2, 4, 1);
        check(1, 4, 1);
    }
}
