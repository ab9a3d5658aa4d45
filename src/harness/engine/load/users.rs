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
    /// When they have ended the one before, as long as there is room for them.
    Closed(Room),
}

/// How many users are at work, in a closed model.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Their number over time; of all loads together that share them.
    pub(super) course: Shape,
    /// The users of this load among them, by their numbers from 1, ascending; `None`: all.
    pub(super) own: Option<Vec<u64>>,
}

impl Room {
    /// The number of users from which on the load's `nth` user, from 0, is one of them; `None` where the
    /// load has not so many.
    fn level(&self, nth: u64) -> Option<f64> {
        let user = match &self.own {
            None => nth + 1,
            Some(own) => *own.get(usize::try_from(nth).ok()?)?,
        };
        Some(user as f64)
    }

    /// The part, from 0 to 1, that a shard has of the load's users at work between two instants in ns: of two
    /// users, one of three shards has none. Where nobody works at all, it is as large as that of any other.
    pub(super) fn part(&self, shard: Shard, start_ns: u64, end_ns: u64) -> f64 {
        let length_ns = end_ns.saturating_sub(start_ns);
        let (mut its, mut all) = (0, 0);
        for look in 0..LOOKS {
            // In the middle of each of so many equal stretches.
            let after = u128::from(length_ns) * u128::from(2 * look + 1) / u128::from(2 * LOOKS);
            let room_for = self.course.users_at(start_ns + after as u64);
            let at_work = match &self.own {
                None => room_for,
                Some(own) => own.partition_point(|user| *user <= room_for) as u64,
            };
            its += shard.share(at_work);
            all += at_work;
        }
        match all {
            0 => 1.0 / f64::from(shard.of),
            all => its as f64 / all as f64,
        }
    }
}

/// What part of the users at work a shard has is looked at so many times.
const LOOKS: u64 = 256;
/// How long a user of a closed model rests after an iteration that failed, or that had nothing to wait
/// for. Without it, users whose target refuses them at once would take turns as fast as the processor
/// can: millions of failures that say no more than the first. No latency contains it.
const REST_NS: u64 = 10_000_000;
/// How long a user waits after the end of the load before it looks whether goose wants it to leave.
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
    /// The life of one user, by its number within the worker, until the end of the load.
    async fn live(&self, number: u64) {
        self.work(number).await;
        // The load may go on without this user for long: it has fewer by then, or no more arrivals.
        self.journey.wait_until(self.journey.end_ns).await;
    }

    async fn work(&self, number: u64) {
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
            Arrivals::Closed(room) => {
                let Some(level) = room.level(self.shard.global(number)) else {
                    return;
                };
                // All users are there before the start, when the load time is zero already.
                self.journey.wait_until(0).await;
                let mut now_ns = clock.now_ns();
                while let Some(from_ns) = room.course.reaches(level, now_ns) {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt as _;
    use tokio::sync::watch;

    use super::super::alarm::Alarm;
    use super::super::dispatcher::dispatch;
    use super::super::fixture::{Site, Trip, answer};
    use super::super::recorder::Recorder;
    use super::*;
    use crate::harness::engine::Redactor;
    use crate::harness::scenario::{HttpPlan, Stage, UserShare};

    const MS: u64 = 1_000_000;

    /// How long the life of a user lasts whose load ends after so long and is stopped after so long.
    async fn lived(arrivals: Arrivals, end_ms: u64, stop_ms: u64) -> Duration {
        let site = Site::start(|_, _| answer(200, "", "ok")).await;
        // Before the trip, which has the clock that says when the end is.
        let began = Instant::now();
        let Trip {
            mut journey, stop, ..
        } = Trip::new(&site, |_| ());
        journey.end_ns = end_ms * MS;
        let transport = Transport::new(&journey.flow.origin, &HttpPlan::default(), None);
        let crew = Crew {
            transport: transport.expect("a plain server"),
            journey,
            arrivals,
            shard: Shard::WHOLE,
            seed: 1,
            first: 0,
            begun: AtomicU64::new(0),
        };
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(stop_ms)).await;
            let _ = stop.send(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = crew.live(0) => {}
            () = stopping => {}
        }
        began.elapsed()
    }

    #[test]
    fn shards_have_their_own_part_of_the_users() {
        let check = |room: &Room, until_s: u64, expected: &[f64]| {
            let of = expected.len() as u32;
            for (index, expected) in (0..of).zip(expected) {
                let part = room.part(Shard { index, of }, 0, until_s * 1000 * MS);
                assert!((part - expected).abs() < 0.01, "{index}/{of}: {part}");
            }
        };
        let room = |stages: &[(u64, f64, f64)], own: Option<Vec<u64>>| {
            let stages = stages.iter();
            let stages = stages.map(|(s, from, to)| Stage::line(s * 1000 * MS, *from, *to));
            Room {
                course: Shape::new(&stages.collect::<Vec<_>>(), 10_000 * MS),
                own,
            }
        };
        let constant = |users: f64| room(&[(10, users, users)], None);
        check(&constant(6.0), 10, &[1.0]);
        check(&constant(6.0), 10, &[1.0 / 3.0; 3]);
        check(&constant(3.0), 10, &[2.0 / 3.0, 1.0 / 3.0]);
        check(&constant(1.0), 10, &[1.0, 0.0]);
        // Until the second one comes, the first is alone: 1 of 1 for a second, then 1 of 2.
        let ramp = room(&[(1, 1.0, 2.0), (9, 2.0, 2.0)], None);
        check(&ramp, 1, &[1.0, 0.0]);
        check(&ramp, 9, &[9.0 / 17.0, 8.0 / 17.0]);
        // Of a mix, only its own count: the second of five, and from then on the fifth.
        let mix = room(&[(5, 4.0, 4.0), (5, 5.0, 5.0)], Some(vec![2, 5]));
        check(&mix, 5, &[1.0, 0.0]);
        check(&mix, 10, &[2.0 / 3.0, 1.0 / 3.0]);
        // Before anybody works, nobody has more of it than the others.
        check(&room(&[(10, 0.0, 0.5)], None), 10, &[0.5, 0.5]);
        let two = Shard { index: 0, of: 2 };
        assert_eq!(constant(3.0).part(two, 7, 7), 2.0 / 3.0);
    }

    #[tokio::test]
    async fn a_user_with_nothing_more_to_do_waits_for_the_end() {
        let no_more_users = || {
            let stages = [Stage::constant(50 * MS, 1.0), Stage::constant(MS, 0.0)];
            Arrivals::Closed(Room {
                course: Shape::new(&stages, 60_000 * MS),
                own: None,
            })
        };
        let no_more_arrivals = || {
            let counter = Arc::new(Counter::default());
            let recorder = Recorder::new(&[], &[], 0..MS, 0, Redactor::default());
            let (_never, stop) = watch::channel(false);
            let clock = super::super::clock::LoadClock::starting(Instant::now());
            let alarm = Alarm::new().expect("a file is left");
            let none = dispatch(std::iter::empty(), alarm, clock, &counter, &recorder, stop);
            assert!(matches!(none.now_or_never(), Some(Ok(()))));
            Arrivals::Open(counter)
        };
        let least = Duration::from_millis(400);
        for arrivals in [no_more_users(), no_more_arrivals()] {
            assert!(lived(arrivals, 400, 60_000).await >= least);
        }
        // A stop ends it sooner.
        for arrivals in [no_more_users(), no_more_arrivals()] {
            let lived = lived(arrivals, 60_000, 400).await;
            assert!(
                (least..Duration::from_secs(30)).contains(&lived),
                "{lived:?}"
            );
        }
    }

    #[test]
    fn loads_that_share_a_ramp_are_together_what_it_is() {
        let room = |nth| {
            let weights = vec![1; 10];
            Room {
                course: Shape::new(&[Stage::line(20_000 * MS, 0.0, 10.0)], 30_000 * MS),
                own: Some(UserShare { weights, nth }.own(10)),
            }
        };
        let mut begins: Vec<u64> = (0..10)
            .map(|nth| {
                let room = room(nth);
                assert_eq!(room.level(1), None, "one user each");
                room.course
                    .reaches(room.level(0).expect("one of ten"), 0)
                    .expect("one of ten")
            })
            .collect();
        begins.sort_unstable();
        for (begins_ns, expected_s) in begins.into_iter().zip((2..=20).step_by(2)) {
            assert!(
                begins_ns.abs_diff(expected_s * 1000 * MS) <= 10,
                "{begins_ns}"
            );
        }
    }
}
