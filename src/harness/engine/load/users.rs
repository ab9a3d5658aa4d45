//! The virtual users. goose owns their life: it starts them and it stops them. What they do in
//! between is ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario, Transaction, TransactionFunction};
use goose::{GooseAttack, GooseError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::clock::LoadClock;
use super::dispatcher::Counter;
use super::flow::Flow;
use super::job::Shard;
use super::recorder::{Ended, Recorder};
use super::shape::Shape;
use super::template::Values;
use super::transport::{Answer, Connection, Transport};
use crate::harness::model::ErrorKind;
use crate::harness::scenario::ThinkPlan;

/// All users of a worker, and what they share.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) flow: Flow,
    pub(super) transport: Transport,
    pub(super) recorder: Arc<Recorder>,
    pub(super) clock: LoadClock,
    pub(super) arrivals: Arrivals,
    pub(super) shard: Shard,
    pub(super) seed: u64,
    /// When the load ends, in load time.
    pub(super) end_ns: u64,
    /// Becomes true when the load ends or is stopped: from then on nobody begins an iteration.
    pub(super) stop: watch::Receiver<bool>,
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

/// How long a user of a closed model rests after an iteration that failed. Without it, users whose
/// target refuses them at once would take turns as fast as the processor can: millions of failures
/// that say no more than the first. No latency contains it.
const REST_AFTER_FAILURE_NS: u64 = 10_000_000;
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
        let mut values = Values::new(self.seed);
        let mut connection = self.transport.connection();
        match &self.arrivals {
            Arrivals::Open(counter) => {
                let mut seat = counter.seat();
                while let Some(ticket) = seat.ticket().await {
                    self.iterate(&mut values, &mut connection, Some(ticket.due_ns))
                        .await;
                }
            }
            Arrivals::Closed(users) => {
                let level = (self.shard.global(number) + 1) as f64;
                while let Some(from_ns) = users.reaches(level, self.clock.now_ns()) {
                    // Before the start, and whenever the load has fewer users than this one's number.
                    if self.clock.until(from_ns) > Duration::ZERO {
                        self.wait_until(from_ns).await;
                    }
                    if *self.stop.borrow() {
                        return;
                    }
                    if !self.iterate(&mut values, &mut connection, None).await {
                        let until_ns = self.clock.now_ns().saturating_add(REST_AFTER_FAILURE_NS);
                        self.wait_until(until_ns.min(self.end_ns)).await;
                    }
                }
            }
        }
    }

    /// One pass through the flow, which ends with the first step that fails. `due_ns` is the due
    /// time of an arrival; in a closed model an iteration is due when it begins. Returns whether all
    /// steps were in order.
    async fn iterate(
        &self,
        values: &mut Values,
        connection: &mut Connection,
        due_ns: Option<u64>,
    ) -> bool {
        let is_in_order = self.perform(values, connection, due_ns).await;
        connection.end_iteration();
        is_in_order
    }

    async fn perform(
        &self,
        values: &mut Values,
        connection: &mut Connection,
        due_ns: Option<u64>,
    ) -> bool {
        let taken_ns = self.clock.now_ns();
        let intended_ns = due_ns.unwrap_or(taken_ns);
        self.recorder.began(intended_ns, due_ns, taken_ns);
        let number = self
            .shard
            .global(self.begun.fetch_add(1, Ordering::Relaxed));
        if self.flow.has_values() {
            values.renew(number, &self.flow.feeds, self.flow.extracted);
        }
        let last = self.flow.steps.len() - 1;
        for (index, step) in self.flow.steps.iter().enumerate() {
            // The first request of an arrival was to be sent when that was due. Any other is due when
            // the user comes to it, so that its response time is its service time.
            let due_or = |now_ns| due_ns.filter(|_| index == 0).unwrap_or(now_ns);
            let request = match step.request(values, &self.flow.feeds) {
                Ok(request) => request,
                Err(message) => {
                    let due_ns = due_or(self.clock.now_ns());
                    self.recorder.unsendable(step.request, due_ns, &message);
                    self.recorder.failed(intended_ns, false);
                    return false;
                }
            };
            let body_bytes = request.body.as_ref().map_or(0, |body| body.len() as u64);
            let sent_ns = self.clock.now_ns();
            self.recorder.sending(step.request, due_or(sent_ns));
            let mut answer = Answer::default();
            let exchanged = connection.exchange(request, &mut answer).await;
            let ended_ns = self.clock.now_ns();
            let checked = match exchanged {
                Ok(()) => answer.body(),
                Err(failure) => Err(failure),
            };
            let checked = match checked {
                Ok(body) => step.checks.apply(
                    answer.status.unwrap_or_default(),
                    &answer.headers,
                    &body,
                    &mut values.extracted,
                ),
                Err(failure) => Err((failure.kind, failure.message)),
            };
            let failed_with = checked.as_ref().err().map(|(kind, _)| *kind);
            self.recorder.ended(&Ended {
                request: step.request,
                intended_ns: due_or(sent_ns),
                sent_ns,
                ended_ns,
                status: answer.status,
                // Of a request without an answer nobody knows how much was sent, if anything.
                bytes_sent: answer.status.map_or(0, |_| body_bytes),
                bytes_received: answer.body_bytes,
                failure: checked.err(),
            });
            if let Some(kind) = failed_with {
                let timed_out = kind == ErrorKind::Timeout;
                self.recorder.failed(intended_ns, timed_out);
                return false;
            }
            if index == last {
                self.recorder.completed(intended_ns, ended_ns);
            }
            if let Some(think) = &step.think {
                let pause_ns = match *think {
                    ThinkPlan::Constant(ns) => ns,
                    ThinkPlan::Uniform { min_ns, max_ns } => values.between(min_ns, max_ns),
                    _ => unimplemented!("no scenario can say this yet"),
                };
                let until_ns = self.clock.now_ns().saturating_add(pause_ns);
                if index == last {
                    // Nothing of the iteration is left, so the end of the load ends the pause.
                    self.wait_until(until_ns.min(self.end_ns)).await;
                } else {
                    sleep_until(self.instant(until_ns)).await;
                }
            }
        }
        true
    }

    /// Waits for a load time, or for a stop.
    async fn wait_until(&self, at_ns: u64) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep_until(self.instant(at_ns)) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn instant(&self, at_ns: u64) -> Instant {
        Instant::from_std(self.clock.instant(at_ns))
    }
}
