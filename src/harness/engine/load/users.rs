//! The virtual users. goose owns their life: it starts them and it stops them. What they do in
//! between is ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario, Transaction, TransactionFunction};
use goose::{GooseAttack, GooseError};

use super::dispatcher::Counter;
use super::job::Shard;
use super::journey::{End, Journey, Start, User};
use super::shape::Shape;
use super::transport::Transport;

/// All users of a worker, and what they share.
#[derive(Debug)]
pub(super) struct Crew {
    /// What each of them does. From when its `stop` is true nobody begins an iteration.
    pub(super) journey: Journey,
    pub(super) transport: Transport,
    pub(super) arrivals: Arrivals,
    pub(super) shard: Shard,
    pub(super) seed: u64,
    /// The number of the load's first iteration.
    pub(super) first: u64,
    /// How many iterations were begun.
    pub(super) begun: AtomicU64,
}

/// When users begin iterations.
#[derive(Debug)]
pub(super) enum Arrivals {
    /// When they are handed a ticket.
    Open(Arc<Counter>),
    /// When they have ended the one before, as long as the shape has room for them.
    Closed(Shape),
}

/// How long a user of a closed model rests after an iteration that failed, or that had nothing to wait
/// for. Without it, users whose target refuses them at once would take turns as fast as the processor
/// can: millions of failures that say no more than the first. No latency contains it.
const REST_NS: u64 = 10_000_000;
/// How long a user that has nothing more to do waits before it looks whether goose wants it to leave.
const LEAVING: Duration = Duration::from_millis(20);

/// Runs so many users until all have left. They do so when the crew's `stop` is true and [`end`] has
/// been called, each at the end of its iteration.
pub(super) async fn run(crew: Arc<Crew>, users: usize) -> Result<(), GooseError> {
    let mut configuration = GooseConfiguration::default();
    // goose insists on a host; it never sends anything to it, because our requests don't go
    // through goose.
    configuration.host = Some("http://127.0.0.1/".to_owned());
    configuration.users = Some(users);
    // The default is one user a second. All are to be there before the load starts; a ramp is a
    // matter of who works.
    configuration.increase_rate = Some("1000000".to_owned());
    configuration.no_telnet = true;
    configuration.no_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.quiet = 3;
    let life: TransactionFunction = Arc::new(move |user| {
        let crew = Arc::clone(&crew);
        let number = user.weighted_users_index as u64;
        // Our one transaction lasts as long as the load. goose calls it again and again until it is
        // told to stop, which it notices between two calls only.
        Box::pin(async move {
            crew.live(number).await;
            tokio::time::sleep(LEAVING).await;
            Ok(())
        })
    });
    GooseAttack::initialize_with_config(configuration)?
        // Otherwise goose builds a client of its own for each user, a millisecond and 100 KB each.
        .set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())?
        .register_scenario(Scenario::new("load").register_transaction(Transaction::new(life)))
        .execute()
        .await?;
    Ok(())
}

/// Tells goose that the load is over; it looks twice a second. goose's own run time would be another
/// clock beside ours: it counts whole seconds from when the last user was started.
pub(super) fn end() {
    goose::trigger_killswitch("the load is over");
}

/// Waits for Ctrl-C, which goose takes for itself: its kill switch is all that can be seen of it.
pub(super) async fn interrupted() {
    while !goose::is_killswitch_triggered() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Crew {
    /// The life of one user, by its number within the worker.
    async fn live(&self, number: u64) {
        let Journey { flow, clock, .. } = &self.journey;
        let mut user = User::new(flow, self.transport.connection(), self.seed);
        match &self.arrivals {
            Arrivals::Open(counter) => {
                let mut seat = counter.seat();
                while let Some(ticket) = seat.ticket().await {
                    let start = self.start(Some(ticket.due_ns), clock.now_ns());
                    self.journey.iterate(&mut user, start).await;
                }
            }
            Arrivals::Closed(users) => {
                let level = (self.shard.global(number) + 1) as f64;
                // All users are there before the start, when the load time is zero already.
                self.journey.wait_until(0).await;
                let mut now_ns = clock.now_ns();
                while let Some(from_ns) = users.reaches(level, now_ns) {
                    // Whenever the load has fewer users than this one's number.
                    if from_ns > now_ns {
                        self.journey.wait_until(from_ns).await;
                        now_ns = clock.now_ns();
                    }
                    if self.journey.is_stopped() {
                        return;
                    }
                    let start = self.start(None, now_ns);
                    if self.journey.iterate(&mut user, start).await != End::Completed {
                        let until_ns = clock.now_ns().saturating_add(REST_NS);
                        let until_ns = until_ns.min(self.journey.end_ns);
                        self.journey.wait_until(until_ns).await;
                    }
                    now_ns = clock.now_ns();
                }
            }
        }
    }

    /// The next iteration of this worker.
    fn start(&self, due_ns: Option<u64>, taken_ns: u64) -> Start {
        let nth = self.begun.fetch_add(1, Ordering::Relaxed);
        Start {
            number: self.first.saturating_add(self.shard.global(nth)),
            due_ns,
            taken_ns,
        }
    }
}
