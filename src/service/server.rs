//! A service from its options to its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::admin::AdminToken;
use super::app::App;
use super::doubt;
use super::jobs;
use super::live::Live;
use super::lock::FileLock;
use super::payments::ProviderSecret;
use super::router::router;
use super::settings::Settings;
use super::warming;
use super::webhook::{Webhook, WebhookError};
use crate::datalayer::cache::{MemoryTier, RedisTier, SecondTier, TierError, TieredCache};
use crate::datalayer::dataset::{DatasetError, DatasetId};
use crate::datalayer::live::{Hub, LiveError};
use crate::datalayer::lock::{LockError, Locks};
use crate::datalayer::pool::{Pool, PoolError, sqlite_file};

/// One part in so many of the drain time is kept for the pool.
const POOL_SHARE: u32 = 8;
/// How often a service that ends looks whether something still uses it.
const LEAVE_POLL: Duration = Duration::from_millis(5);

/// What a service is started with. Addresses may hold passwords, so this has no `Debug`.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `postgres://…` or `sqlite:FILE?mode=rwc`.
    pub database: String,
    /// `redis://…`; without it the second tier and live updates are in this process.
    pub redis: Option<String>,
    /// `redis://…`, one or several that know nothing of each other: where locks are kept. Without it in
    /// `redis`, and without that in this process.
    pub lock_redis: Vec<String>,
    /// The data to serve.
    pub dataset: DatasetId,
    /// All figures.
    pub settings: Settings,
    /// Added to every request under `/api`: how tests plant a regression.
    pub inject_delay: Duration,
    /// Who shows this token is held to no rate limit; without it, nobody is let by.
    pub admin_token: Option<AdminToken>,
    /// What the provider of payments signs its callbacks with; without it, none is taken.
    pub provider_secret: Option<ProviderSecret>,
    /// `http://…` or `https://…`, where notifications are posted; without it there are none.
    pub webhook: Option<String>,
}

/// A service that is connected and bound, but does not serve yet.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    /// Nothing to lock on PostgreSQL, which many services may share, and in memory.
    lock: Option<FileLock>,
}

/// Why a service did not start, or ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process serves the same SQLite file.
    #[error(
        "another service is using {}; stop it, or give this one a folder of its own",
        database.display()
    )]
    InUse {
        /// The file.
        database: PathBuf,
    },
    /// The lock that keeps others out could not be had.
    #[error("cannot lock {}; is its folder there, and may it be written to?", path.display())]
    Lock {
        /// The file of the lock.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database could not be opened.
    #[error("the database cannot be used")]
    Database(#[source] PoolError),
    /// The address of Redis is wrong. A Redis that is away is no error.
    #[error("Redis cannot be used")]
    Redis(#[source] TierError),
    /// The address of the webhook is wrong. One that is away is no error.
    #[error("the webhook cannot be used")]
    Webhook(#[source] WebhookError),
    /// An address of the Redis servers for locks is wrong. One that is away is no error.
    #[error("the lock servers cannot be used")]
    Locks(#[source] LockError),
    /// The address of Redis is wrong for live updates.
    #[error("live updates cannot be had")]
    Live(#[source] LiveError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}; is another service running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The data could not be made.
    #[error("the dataset cannot be made")]
    Dataset(#[source] DatasetError),
    /// Accepting connections failed.
    #[error("the service broke off")]
    Serve(#[source] io::Error),
}

impl Server {
    /// Connects and binds.
    ///
    /// # Errors
    /// [`ServerError::InUse`], [`ServerError::Lock`], [`ServerError::Database`],
    /// [`ServerError::Redis`], [`ServerError::Locks`], [`ServerError::Live`], [`ServerError::Webhook`],
    /// [`ServerError::Listen`].
    pub async fn bind(options: Options) -> Result<Self, ServerError> {
        let Options {
            listen,
            database,
            redis,
            lock_redis,
            dataset,
            settings,
            inject_delay,
            admin_token,
            provider_secret,
            webhook,
        } = options;
        let webhook = webhook.map(|url| Webhook::new(&url, &settings)).transpose();
        let webhook = webhook.map_err(ServerError::Webhook)?;
        let file = sqlite_file(&database);
        let lock = file.as_deref().map(FileLock::take).transpose()?;
        let pool = Pool::connect(&database, settings.pool.clone());
        let pool = pool.await.map_err(ServerError::Database)?;
        let second: Arc<dyn SecondTier> = match &redis {
            Some(url) => {
                Arc::new(RedisTier::connect(url, &settings.cache).map_err(ServerError::Redis)?)
            }
            None => Arc::new(MemoryTier::new(&settings.cache)),
        };
        let lock_servers = match &redis {
            Some(url) if lock_redis.is_empty() => std::slice::from_ref(url),
            _ => &lock_redis,
        };
        let locks = match lock_servers {
            [] => Locks::in_process(&settings.lock),
            urls => Locks::redis(urls, &settings.lock).map_err(ServerError::Locks)?,
        };
        let cache = TieredCache::new(&settings.cache, Some(second));
        let hub = match &redis {
            Some(url) => Hub::redis(url, &settings.live).map_err(ServerError::Live)?,
            None => Hub::in_process(&settings.live),
        };
        let live = Live::new(hub, &settings);
        let failed = |source| ServerError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut app = App::new(pool, cache, locks, live, settings, dataset, inject_delay);
        app.admin = admin_token;
        app.provider = provider_secret;
        app.webhook = webhook;
        Ok(Self {
            app: Arc::new(app),
            listener,
            address,
            lock,
        })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready, then lets what is under way end, for a limited time. The data
    /// are made meanwhile; until they are there, `/ready` and the API answer 503.
    ///
    /// # Errors
    /// [`ServerError::Dataset`], [`ServerError::Serve`].
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let Self {
            app,
            listener,
            // Until the pool is closed.
            lock: _lock,
            ..
        } = self;
        let stopping = Arc::new(Notify::new());
        let told = Arc::clone(&stopping);
        // Small answers must not wait for the acknowledgement of the ones before.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection stays without TCP_NODELAY");
            }
        });
        let service = router(Arc::clone(&app)).into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, service)
            .with_graceful_shutdown(async move { told.notified().await });
        let mut serving = tokio::spawn(serving.into_future());
        let workers = OnceLock::new();
        let prepared = async {
            match app.prepare().await {
                // Ready once and for all; only `stop` or a broken listener ends it.
                Ok(()) => {
                    workers.get_or_init(|| jobs::start(Arc::clone(&app)));
                    let (never, ()) = tokio::join!(jobs::schedule(&app), warming::at_start(&app));
                    match never {}
                }
                Err(error) => error,
            }
        };
        let outcome = tokio::select! {
            () = stop => Ok(()),
            error = prepared => Err(ServerError::Dataset(error)),
            never = app.limits.keep_tidy() => match never {},
            never = app.live.keep_tidy() => match never {},
            never = doubt::follow(&app) => match never {},
            served = &mut serving => return served.unwrap_or_else(|gone| Err(gone.into())).map_err(ServerError::Serve),
        };
        stopping.notify_one();
        app.live.hub.close();
        app.warmings.stop();
        let drain = app.settings.service.drain_timeout();
        let end = Instant::now() + drain;
        // The last part is for closing the pool, whose connections the requests and the jobs give back.
        let requests_end = end - drain / POOL_SHARE;
        let leave_jobs = async {
            if let Some(workers) = workers.into_inner() {
                workers.stop().await;
            }
        };
        let ending = async { tokio::join!(&mut serving, app.batches.stop()) };
        let (served, left) = tokio::join!(
            timeout_at(requests_end, ending),
            timeout_at(requests_end, leave_jobs),
        );
        if served.is_err() {
            tracing::warn!("requests were still under way at the end of the drain time");
            serving.abort();
        }
        // After the requests, whose writes are to be told of.
        if timeout_at(requests_end, app.live.hub.drained())
            .await
            .is_err()
        {
            tracing::warn!("live connections were still open at the end of the drain time");
        }
        if left.is_err() {
            tracing::warn!(
                "jobs were still under way at the end of the drain time; their leases run out"
            );
        }
        if timeout_at(end, app.pool.close()).await.is_err() {
            tracing::warn!("connections were still in use when the pool was closed");
        }
        if timeout_at(end, leave(app)).await.is_err() {
            tracing::warn!("something was still under way when the cache was to be closed");
        }
        outcome
    }
}

/// Leaves the second tier to the next process as it is, once nothing can change data any more: a
/// write goes on when its client has gone. While one is in doubt, no leave is taken, and the next process
/// clears the tier.
async fn leave(app: Arc<App>) {
    while Arc::strong_count(&app) > 1 {
        sleep(LEAVE_POLL).await;
    }
    if !app.doubts.is_any() {
        app.cache.close().await;
    }
}
