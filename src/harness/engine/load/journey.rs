//! One user's way through a flow, again and again.
//!
//! A pause is not taken where it is met but before the next thing that takes time, or at the end of a
//! group: so the last pause of an iteration belongs to none, and the end of the load ends it. What an
//! iteration begins with is noted when it first waits for something, together with that.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rand::distr::Distribution as _;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::check::Complaint;
use super::clock::LoadClock;
use super::cookies::Jar;
use super::flow::Flow;
use super::program::{Op, Until};
use super::recorder::{Began, OpenGroup, Recorder};
use super::template::{Exhausted, Values};
use super::transport::{Connection, Stream};
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{CookieScope, TimesPlan};

/// A flow that users perform, and who takes note of it.
#[derive(Debug)]
pub(super) struct Journey {
    pub(super) flow: Flow,
    pub(super) recorder: Arc<Recorder>,
    pub(super) clock: LoadClock,
    /// When the load ends, in load time.
    pub(super) end_ns: u64,
    /// Becomes true when the load ends or is stopped.
    pub(super) stop: watch::Receiver<bool>,
    /// Becomes true when the load is stopped before its end: then an iteration ends at its next step
    /// or in its pause, where at the end of a load it comes to its own.
    pub(super) cut: watch::Receiver<bool>,
}

/// What a user has with it.
pub(super) struct User {
    pub(super) values: Values,
    pub(super) connection: Connection,
    pub(super) jar: Jar,
    /// The open stream, and the index of its name.
    pub(super) stream: Option<(Stream, usize)>,
    /// Passes that are left, by loop.
    counters: Vec<u32>,
    /// The groups that it is in, the innermost last.
    groups: Vec<OpenGroup>,
}

/// How an iteration begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// Its number in the load, from 0.
    pub(super) number: u64,
    /// The due time of an arrival; in a closed model an iteration is due when it begins.
    pub(super) due_ns: Option<u64>,
    /// When the user took it up.
    pub(super) taken_ns: u64,
}

/// How an iteration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every step was in order.
    Completed,
    /// So was every step, but there was nothing to wait for: no request, no pause.
    Idle,
    /// A step failed.
    Failed,
    /// The load was stopped before its last step.
    Cut,
}

/// One pass through the flow.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) began: Began,
    /// Whether the recorder knows of it.
    pub(super) is_noted: bool,
    /// When the first request of an arrival was meant to be sent, as long as none was.
    first_ns: Option<u64>,
    /// The end of the pauses that were met and not taken yet.
    pause_until_ns: Option<u64>,
    /// The last byte of the last step.
    pub(super) ended_ns: u64,
    /// Whether the recorder knows of its end.
    pub(super) is_over: bool,
    /// Whether there was nothing to wait for so far.
    is_idle: bool,
}

/// Why an iteration ends before its last step.
#[derive(Debug)]
pub(super) enum Broken {
    /// A step failed, and the recorder knows why.
    Failed { timed_out: bool },
    /// The load was stopped.
    Cut,
}

impl User {
    /// A user with its own connection, whose random values follow from `seed`.
    pub(super) fn new(flow: &Flow, connection: Connection, seed: u64) -> Self {
        Self {
            values: Values::new(seed),
            connection,
            jar: Jar::default(),
            stream: None,
            counters: vec![0; flow.counters],
            groups: Vec::new(),
        }
    }

    /// Closes the stream, where one is open.
    pub(super) async fn close_stream(&mut self) {
        if let Some((stream, _)) = self.stream.take() {
            stream.close().await;
        }
    }

    /// Leaves nothing of an iteration to the next but what belongs to the user.
    async fn leave(&mut self, cookies: CookieScope) {
        self.groups.clear();
        self.close_stream().await;
        if cookies == CookieScope::Iteration {
            self.jar.clear();
        }
        self.connection.end_iteration();
    }
}

impl Pass {
    fn new(start: &Start) -> Self {
        Self {
            began: Began {
                intended_ns: start.due_ns.unwrap_or(start.taken_ns),
                due_ns: start.due_ns,
                taken_ns: start.taken_ns,
            },
            is_noted: false,
            first_ns: start.due_ns,
            pause_until_ns: None,
            ended_ns: start.taken_ns,
            is_over: false,
            is_idle: true,
        }
    }

    /// When something was meant to begin to which the user comes at `now_ns`. What an arrival begins
    /// with was meant to when that was due, and after the pauses before it; anything else now.
    fn intended_ns(&self, now_ns: u64) -> u64 {
        self.first_ns.unwrap_or(now_ns)
    }

    /// Adds a pause.
    fn pause(&mut self, length_ns: u64, now_ns: u64) {
        let from_ns = self.pause_until_ns.or(self.first_ns).unwrap_or(now_ns);
        let until_ns = from_ns.saturating_add(length_ns);
        self.pause_until_ns = Some(until_ns);
        self.is_idle = false;
        if let Some(first_ns) = &mut self.first_ns {
            *first_ns = until_ns;
        }
    }
}

impl Journey {
    /// Performs one iteration, which ends with the first step that fails, and of a closed model the
    /// pause after it: a user who is there for arrivals is free for the next one.
    pub(super) async fn iterate(&self, user: &mut User, start: Start) -> End {
        let mut pass = Pass::new(&start);
        let walked = match self.draw(user, &start) {
            Ok(()) => self.walk(user, &mut pass).await,
            Err(exhausted) => Err(self.starved(&mut pass, &exhausted)),
        };
        let intended_ns = pass.began.intended_ns;
        self.note_began(&mut pass);
        let end = match walked {
            Err(Broken::Failed { timed_out }) => {
                self.recorder.failed(intended_ns, timed_out, &user.groups);
                End::Failed
            }
            Err(Broken::Cut) => {
                self.recorder.cut();
                End::Cut
            }
            Ok(()) => {
                if !pass.is_over {
                    self.recorder.completed(intended_ns, pass.ended_ns);
                }
                match pass.is_idle {
                    true => End::Idle,
                    false => End::Completed,
                }
            }
        };
        user.leave(self.flow.cookies).await;
        let is_paused = end == End::Completed && start.due_ns.is_none();
        if let Some(until_ns) = pass.pause_until_ns.filter(|_| is_paused) {
            // Nothing of the iteration is left, so the end of the load ends the pause.
            self.wait_until(until_ns.min(self.end_ns)).await;
        }
        end
    }

    /// Whether the load has ended or was stopped. (Nobody ever says that it goes on again, so that it
    /// is enough to see that something was said; that takes no lock.)
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.has_changed().unwrap_or(true)
    }

    /// Waits for a load time, or for a stop.
    pub(super) async fn wait_until(&self, at_ns: u64) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep_until(self.instant(at_ns)) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn draw(&self, user: &mut User, start: &Start) -> Result<(), Exhausted> {
        if !self.flow.has_values {
            return Ok(());
        }
        let extracted = self.flow.extracted.len();
        user.values.renew(start.number, &self.flow.feeds, extracted)
    }

    async fn walk(&self, user: &mut User, pass: &mut Pass) -> Result<(), Broken> {
        let mut at = 0;
        while let Some(op) = self.flow.ops.get(at) {
            at += 1;
            match op {
                Op::Request(step) => {
                    self.come_to(pass).await?;
                    self.request(step, user, pass).await?;
                }
                Op::Open(step) => {
                    self.come_to(pass).await?;
                    self.open(step, user, pass).await?;
                }
                Op::Send(step) => {
                    self.come_to(pass).await?;
                    self.send_message(step, user, pass).await?;
                }
                Op::Expect(step) => {
                    self.come_to(pass).await?;
                    self.expect(step, user, pass).await?;
                }
                Op::Close => {
                    self.come_to(pass).await?;
                    user.close_stream().await;
                }
                Op::Pause(think) => {
                    let length_ns = think.draw_ns(&mut user.values.random);
                    pass.pause(length_ns, self.clock.now_ns());
                }
                Op::GroupBegin(group) => {
                    self.come_to(pass).await?;
                    let open = OpenGroup {
                        group: *group,
                        began_ns: pass.intended_ns(self.clock.now_ns()),
                    };
                    self.recorder.group_began(open);
                    user.groups.push(open);
                }
                Op::GroupEnd => {
                    self.rest(pass).await?;
                    if let Some(open) = user.groups.pop() {
                        self.recorder.group_ended(open, self.clock.now_ns());
                    }
                }
                Op::RepeatBegin { counter, times } => {
                    user.counters[*counter] = passes(times, &mut user.values);
                }
                Op::RepeatEnd {
                    counter,
                    back,
                    until,
                } => {
                    // A loop that waits for nothing leaves the thread to other users all the same.
                    self.note_began(pass);
                    consume_budget().await;
                    self.go_on()?;
                    if self.goes_on(*counter, until.as_ref(), user, pass)? {
                        at = *back;
                    }
                }
                Op::JumpUnless { condition, to } => {
                    if !condition.holds(&mut user.values, &self.flow.feeds) {
                        at = *to;
                    }
                }
                Op::Jump(to) => at = *to,
                Op::Choose { weights, to } => at = to[weights.sample(&mut user.values.random)],
            }
        }
        Ok(())
    }

    /// Whether a loop has another pass; an error where it waited in vain.
    fn goes_on(
        &self,
        counter: usize,
        until: Option<&Until>,
        user: &mut User,
        pass: &mut Pass,
    ) -> Result<bool, Broken> {
        let left = user.counters[counter].saturating_sub(1);
        user.counters[counter] = left;
        let Some(until) = until else {
            return Ok(left > 0);
        };
        if until.condition.holds(&mut user.values, &self.flow.feeds) {
            return Ok(false);
        }
        if left == 0 {
            let message = "what the loop waited for never came".to_owned();
            return Err(self.fault(pass, until.blamed, (ErrorKind::Condition, message)));
        }
        Ok(true)
    }

    /// Takes the pauses before a step; an error where it is not to be begun any more.
    async fn come_to(&self, pass: &mut Pass) -> Result<(), Broken> {
        self.rest(pass).await?;
        self.go_on()
    }

    /// Takes the pauses that were met.
    async fn rest(&self, pass: &mut Pass) -> Result<(), Broken> {
        let Some(until_ns) = pass.pause_until_ns.take() else {
            return Ok(());
        };
        self.note_began(pass);
        self.pause_until(self.instant(until_ns)).await
    }

    /// Waits within an iteration; an error where the load is stopped meanwhile.
    pub(super) async fn pause_until(&self, at: Instant) -> Result<(), Broken> {
        let mut cut = self.cut.clone();
        tokio::select! {
            biased;
            Ok(_) = cut.wait_for(|cut| *cut) => Err(Broken::Cut),
            () = sleep_until(at) => Ok(()),
        }
    }

    /// An error where the load was stopped before its end. (As with `stop`, nobody says anything else.)
    fn go_on(&self) -> Result<(), Broken> {
        match self.cut.has_changed() {
            Ok(true) => Err(Broken::Cut),
            _ => Ok(()),
        }
    }

    /// Tells the recorder that the iteration began, where it doesn't know yet.
    fn note_began(&self, pass: &mut Pass) {
        if !pass.is_noted {
            self.recorder.began(&pass.began);
            pass.is_noted = true;
        }
    }

    /// Tells the recorder that a request is about to be sent. Returns when that was meant to be.
    pub(super) fn note_sending(&self, pass: &mut Pass, request: usize, sent_ns: u64) -> u64 {
        let intended_ns = pass.intended_ns(sent_ns);
        pass.first_ns = None;
        pass.is_idle = false;
        if pass.is_noted {
            self.recorder.sending(request, intended_ns);
        } else {
            let began = &pass.began;
            self.recorder.began_sending(began, request, intended_ns);
            pass.is_noted = true;
        }
        intended_ns
    }

    /// Notes a failure that is no request's.
    pub(super) fn fault(&self, pass: &mut Pass, request: usize, complaint: Complaint) -> Broken {
        self.note_began(pass);
        let intended_ns = pass.intended_ns(self.clock.now_ns());
        self.recorder.fault(request, intended_ns, &complaint);
        Broken::Failed { timed_out: false }
    }

    /// Notes that a feed has no row left. That is a fault of the flow's first request: what the
    /// iteration would have begun with.
    fn starved(&self, pass: &mut Pass, exhausted: &Exhausted) -> Broken {
        let feed = &self.flow.feeds[exhausted.feed];
        let message = format!(
            "the feed `{}` has no row left: it has {}, and each is drawn once in a run",
            feed.name,
            feed.len()
        );
        self.recorder
            .feed_exhausted(&feed.name, pass.began.intended_ns);
        self.fault(pass, 0, (ErrorKind::Template, message))
    }

    fn instant(&self, at_ns: u64) -> Instant {
        Instant::from_std(self.clock.instant(at_ns))
    }

    /// The end of a time that begins now.
    pub(super) fn deadline(length: Duration) -> Instant {
        Instant::now() + length
    }
}

/// How many passes a loop has this time.
fn passes(times: &TimesPlan, values: &mut Values) -> u32 {
    match times.min < times.max {
        true => values.random.random_range(times.min..=times.max),
        false => times.min.max(1),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture::{self, Site, Trip, answer, header};
    use super::super::recorder::Measured;
    use super::*;
    use crate::harness::model::{GroupSeries, LatencyHistogram, Outcome, RequestSeries};
    use crate::harness::scenario::{
        AuthPlan, BodyPlan, BranchPlan, ConditionPlan, ExpectPlan, ExtractSource, FeedFormat,
        FeedOrder, FeedPlan, OpenPlan, Part, RequestPlan, RetryPlan, StepPlan, StreamKind,
        Template, TestPlan, ThinkPlan,
    };

    const MS: u64 = 1_000_000;

    fn get(path: &str) -> RequestPlan {
        RequestPlan {
            timeout_ns: 2000 * MS,
            ..RequestPlan::get(path)
        }
    }

    fn step(path: &str) -> StepPlan {
        get(path).into()
    }

    fn extracting(path: &str, name: &str, from: ExtractSource) -> StepPlan {
        let mut plan = get(path);
        plan.extract.insert(name.into(), from.into());
        plan.into()
    }

    fn value(name: &str) -> Template {
        Template {
            parts: vec![Part::Extracted(name.into())],
        }
    }

    fn below(path: &str, name: &str) -> StepPlan {
        let mut plan = get(path);
        plan.name = format!("GET {path}");
        plan.address.path.parts.push(Part::Extracted(name.into()));
        plan.into()
    }

    fn pause(ms: u64) -> StepPlan {
        StepPlan::Think(ThinkPlan::Constant(ms * MS))
    }

    fn is(name: &str, text: &str) -> ConditionPlan {
        ConditionPlan::Value {
            value: value(name),
            test: TestPlan::Is(Template::literal(text)),
        }
    }

    fn json(path: &str) -> ExtractSource {
        ExtractSource::Json(path.into())
    }

    fn repeat(times: u32, until: Option<ConditionPlan>, steps: Vec<StepPlan>) -> StepPlan {
        let (min, max) = (times, times);
        StepPlan::Repeat {
            times: TimesPlan { min, max },
            until,
            steps,
        }
    }

    fn group(name: &str, steps: Vec<StepPlan>) -> StepPlan {
        let name = name.into();
        StepPlan::Group { name, steps }
    }

    fn ok_count(series: &RequestSeries) -> u64 {
        let of = |of: &BTreeMap<Outcome, LatencyHistogram>| {
            of.get(&Outcome::Ok).map_or(0, LatencyHistogram::count)
        };
        assert_eq!(of(&series.response), of(&series.service));
        of(&series.response)
    }

    fn errors(series: &RequestSeries) -> Vec<(ErrorKind, u64)> {
        let errors = series.errors.iter();
        errors.map(|(kind, tally)| (*kind, tally.count)).collect()
    }

    async fn always_ok() -> Site {
        Site::start(|_, _| answer(200, "", "ok")).await
    }

    #[tokio::test]
    async fn what_a_step_extracts_later_steps_send() {
        let site = Site::start(|request, _| match request.starts_with("POST /login ") {
            true => answer(200, "x-id: 7\r\n", r#"{"token": "a b"}"#),
            false => answer(200, "", "ok"),
        })
        .await;
        let mut login = get("/login");
        login.method = "POST".into();
        login.extract.insert("token".into(), json("$.token").into());
        let id = ExtractSource::Header("x-id".into());
        login.extract.insert("id".into(), id.into());
        let mut next = get("/of/");
        next.address.path.parts.push(Part::Extracted("id".into()));
        next.address.auth = Some(AuthPlan::Bearer(value("token")));
        let mut trip = Trip::of_steps(&site, vec![login.into(), next.into()]);
        assert_eq!(trip.iterate().await, End::Completed);
        assert_eq!(site.lines(), ["POST /login", "GET /of/7"]);
        let seen = site.seen();
        assert_eq!(header(&seen[1], "authorization"), Some("Bearer a b"));
        let measured = trip.finish();
        assert_eq!(measured.counts.completed, 1);
        assert_eq!(measured.iteration.count(), 1);
        assert!(measured.requests.iter().all(|series| ok_count(series) == 1));
    }

    #[tokio::test]
    async fn the_first_request_counts_from_when_the_arrival_was_due() {
        let site = always_ok().await;
        let mut trip = Trip::of_steps(&site, vec![step("/a"), step("/b")]);
        sleep_until(trip.journey.instant(60 * MS)).await;
        let taken_ns = trip.journey.clock.now_ns();
        trip.iterate_from(Some(10 * MS), taken_ns).await;
        let measured = trip.finish();
        let [first, second] = measured.requests.as_slice() else {
            panic!("{measured:?}");
        };
        let least = |histogram: &BTreeMap<_, LatencyHistogram>| {
            histogram[&Outcome::Ok].quantile_ns(0.0).unwrap()
        };
        assert!(least(&first.response) >= 50 * MS);
        assert!(least(&first.service) < least(&first.response) - 45 * MS);
        assert_eq!(least(&second.service), least(&second.response));
        assert!(measured.iteration.quantile_ns(0.0).unwrap() >= 50 * MS);
        assert_eq!(measured.lateness.count(), 1);
    }

    #[tokio::test]
    async fn pauses_before_the_first_request_of_an_arrival_belong_to_no_latency() {
        let site = always_ok().await;
        let mut trip = Trip::of_steps(&site, vec![pause(30), pause(40), step("/a")]);
        sleep_until(trip.journey.instant(20 * MS)).await;
        // It was due 20 ms ago: those are no part of the pauses, but made up for by them.
        let taken_ns = trip.journey.clock.now_ns();
        trip.iterate_from(Some(0), taken_ns).await;
        let ended_ns = trip.journey.clock.now_ns();
        let measured = trip.finish();
        let response = &measured.requests[0].response[&Outcome::Ok];
        assert!(ended_ns >= 70 * MS);
        assert!(response.max_ns().unwrap() <= ended_ns - 69 * MS);
        assert!(measured.iteration.max_ns().unwrap() >= 70 * MS);
    }

    #[tokio::test]
    async fn the_last_pause_belongs_to_no_iteration_and_those_between_do() {
        let site = always_ok().await;
        let mut think = get("/b");
        think.think = Some(ThinkPlan::Constant(30 * MS));
        let steps = vec![step("/a"), pause(30), think.into(), pause(30)];
        let mut trip = Trip::of_steps(&site, steps);
        let began_ns = trip.journey.clock.now_ns();
        assert_eq!(trip.iterate().await, End::Completed);
        let passed_ns = trip.journey.clock.now_ns() - began_ns;
        let took_ns = trip.finish().iteration.max_ns().unwrap();
        assert!(took_ns >= 30 * MS, "{took_ns}");
        assert!(passed_ns >= took_ns + 59 * MS, "{took_ns} of {passed_ns}");
        // The end of the load ends it, wherever it is met.
        let steps = vec![repeat(2, None, vec![step("/a"), pause(10)]), pause(60_000)];
        let mut trip = Trip::of_steps(&site, steps);
        trip.journey.end_ns = 20 * MS;
        assert_eq!(trip.iterate().await, End::Completed);
        assert!(trip.journey.clock.now_ns() < 10_000 * MS);
    }

    #[tokio::test]
    async fn whoever_is_there_for_arrivals_takes_no_last_pause() {
        let site = always_ok().await;
        let mut trip = Trip::of_steps(&site, vec![step("/a"), pause(60_000)]);
        let ended = trip.iterate_from(Some(0), 0).await;
        assert_eq!(ended, End::Completed);
        assert!(trip.journey.clock.now_ns() < 30_000 * MS);
    }

    /// Performs steps until the site has seen so many requests, stops the load, and gives what the
    /// site saw in all.
    async fn cut_after(requests: usize, steps: Vec<StepPlan>) -> (Vec<String>, Measured) {
        let site = always_ok().await;
        let mut trip = Trip::of_steps(&site, steps);
        let cut = trip.cut.clone();
        let cutting = async {
            while site.seen().len() < requests {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = cut.send(true);
        };
        let (end, ()) = tokio::join!(trip.iterate(), cutting);
        assert_eq!(end, End::Cut);
        assert!(trip.journey.clock.now_ns() < 30_000 * MS);
        // Nothing is begun any more.
        assert_eq!(trip.iterate().await, End::Cut);
        (site.lines(), trip.finish())
    }

    #[tokio::test]
    async fn a_load_that_is_stopped_cuts_iterations_off() {
        let inside = group("g", vec![step("/a"), pause(60_000), step("/b")]);
        let (lines, measured) = cut_after(1, vec![inside]).await;
        assert_eq!(lines, ["GET /a"]);
        assert_eq!(measured.counts.cancelled, 2);
        assert!(measured.counts.adds_up());
        let group = &measured.groups[0];
        assert_eq!((group.failed, group.cancelled), (0, 1));
        assert_eq!(ok_count(&measured.requests[0]), 1);
        assert!(errors(&measured.requests[0]).is_empty());

        let (_, measured) = cut_after(3, vec![repeat(10_000, None, vec![step("/a")])]).await;
        assert_eq!(measured.counts.cancelled, 2);
        let mut again = retried(9, 60_000);
        again.timeout_ns = 600_000 * MS;
        let down = Site::start(|_, _| answer(503, "", "")).await;
        let mut trip = Trip::of_steps(&down, vec![again.into()]);
        let _ = trip.cut.send(true);
        assert_eq!(trip.iterate().await, End::Cut);
        assert_eq!(down.lines(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_last_step_that_is_over_is_not_cut_off() {
        let site = always_ok().await;
        let mut trip = Trip::of_steps(&site, vec![group("g", vec![step("/a")]), pause(60_000)]);
        let cut = trip.cut.clone();
        let cutting = async {
            while site.seen().is_empty() {
                tokio::task::yield_now().await;
            }
            let _ = cut.send(true);
            let _ = trip.stop.send(true);
        };
        let start = Start {
            number: 0,
            due_ns: None,
            taken_ns: 0,
        };
        let iterated = trip.journey.iterate(&mut trip.user, start);
        let (end, ()) = tokio::join!(iterated, cutting);
        assert_eq!(end, End::Completed);
        assert_eq!(trip.finish().groups[0].duration.count(), 1);
    }

    fn open(path: &str) -> StepPlan {
        StepPlan::Open(Box::new(OpenPlan {
            name: format!("events {path}"),
            kind: StreamKind::Events,
            address: get(path).address,
            timeout_ns: 2000 * MS,
        }))
    }

    fn expect(timeout_ms: u64, contains: &str) -> StepPlan {
        StepPlan::Expect(Box::new(ExpectPlan {
            name: "expect 1".into(),
            event: None,
            contains: Some(contains.into()),
            matches: None,
            json: Vec::new(),
            count: 1,
            extract: [("n".to_owned(), ExtractSource::Regex(r"\d".into()).into())].into(),
            timeout_ns: timeout_ms * MS,
        }))
    }

    /// A stream of three events that ends, or doesn't.
    async fn events(ends: bool) -> Site {
        Site::start(move |request, _| match request.starts_with("GET /live ") {
            true => {
                let body = "data: a1\n\ndata: b2\n\ndata: b3\n\n";
                let length = body.len() + usize::from(!ends);
                let head = format!("content-type: text/event-stream\r\ncontent-length: {length}");
                format!("HTTP/1.1 200 X\r\n{head}\r\n\r\n{body}")
            }
            false => answer(200, "", "ok"),
        })
        .await
    }

    #[tokio::test]
    async fn messages_of_a_stream_are_waited_for_and_passed_over() {
        let site = events(false).await;
        let steps = vec![
            open("/live"),
            expect(2000, "b"),
            below("/of/", "n"),
            expect(2000, "b"),
            StepPlan::Close,
            below("/of/", "n"),
        ];
        let mut trip = Trip::of_steps(&site, steps);
        assert_eq!(trip.iterate().await, End::Completed);
        assert_eq!(site.lines(), ["GET /live", "GET /of/2", "GET /of/3"]);
        assert!(trip.user.stream.is_none());
        let measured = trip.finish();
        let counts: Vec<_> = measured.requests.iter().map(ok_count).collect();
        assert_eq!(counts, [1, 2, 2]);
        assert_eq!(measured.requests[1].bytes_received, 6);
    }

    #[tokio::test]
    async fn a_stream_that_says_nothing_or_ends_fails_the_step_that_waits() {
        for (ends, kind) in [(false, ErrorKind::Timeout), (true, ErrorKind::Closed)] {
            let site = events(ends).await;
            let mut trip = Trip::of_steps(&site, vec![open("/live"), expect(300, "c")]);
            assert_eq!(trip.iterate().await, End::Failed);
            // Nothing of it is left to the next iteration.
            assert!(trip.user.stream.is_none());
            let measured = trip.finish();
            assert_eq!(ok_count(&measured.requests[0]), 1);
            assert_eq!(errors(&measured.requests[1]), [(kind, 1)]);
            let tally = &measured.requests[1].errors[&kind];
            assert!(
                tally.example.contains("3 messages came, 0 of 1"),
                "{tally:?}"
            );
            assert_eq!(measured.counts.timed_out, u64::from(!ends));
        }
    }

    #[tokio::test]
    async fn a_stream_that_was_not_opened_can_t_be_used() {
        let site = events(false).await;
        let skipped = || StepPlan::If {
            condition: ConditionPlan::Chance(0.0),
            then: vec![open("/live")],
            otherwise: vec![step("/a")],
        };
        let send = || StepPlan::Send(Template::literal("x"));
        for (used, request) in [(expect(300, "a"), 2), (send(), 0)] {
            let mut trip = Trip::of_steps(&site, vec![skipped(), used]);
            assert_eq!(trip.iterate().await, End::Failed);
            let measured = trip.finish();
            let series = &measured.requests[request];
            assert_eq!(errors(series), [(ErrorKind::Template, 1)]);
            assert!(measured.counts.adds_up());
        }
        // Nothing is sent over a stream of events; to close what is not open is nothing.
        let mut trip = Trip::of_steps(&site, vec![open("/live"), send()]);
        assert_eq!(trip.iterate().await, End::Failed);
        let measured = trip.finish();
        assert_eq!(errors(&measured.requests[0]), [(ErrorKind::Protocol, 1)]);
        let mut trip = Trip::of_steps(&site, vec![skipped(), StepPlan::Close]);
        assert_eq!(trip.iterate().await, End::Completed);
    }

    #[tokio::test]
    async fn branches_are_taken_by_their_weights() {
        let site = always_ok().await;
        let branch = |weight, path: &str| BranchPlan {
            weight,
            steps: vec![step(path)],
        };
        let choice = vec![branch(3.0, "/a"), branch(1.0, "/b"), branch(0.0, "/c")];
        let steps = vec![StepPlan::Choose(choice)];
        let mut trip = Trip::of_steps(&site, steps);
        for _ in 0..400 {
            assert_eq!(trip.iterate().await, End::Completed);
        }
        let counts: Vec<_> = trip.finish().requests.iter().map(ok_count).collect();
        // 300 with a standard deviation of 8.7.
        assert!((260..340).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[0] + counts[1], 400);
        assert_eq!(counts[2], 0);
    }

    #[tokio::test]
    async fn what_is_drawn_follows_from_the_number_of_the_iteration() {
        let site = always_ok().await;
        let steps = || {
            vec![
                StepPlan::If {
                    condition: ConditionPlan::Chance(0.5),
                    then: vec![step("/a")],
                    otherwise: vec![step("/b")],
                },
                StepPlan::Repeat {
                    times: TimesPlan { min: 1, max: 4 },
                    until: None,
                    steps: vec![step("/c")],
                },
            ]
        };
        let mut trip = Trip::of_steps(&site, steps());
        for _ in 0..20 {
            trip.iterate().await;
        }
        let all = site.lines();
        // Another user performs half of them.
        let site = always_ok().await;
        let mut trip = Trip::of_steps(&site, steps());
        trip.number = 10;
        for _ in 0..10 {
            trip.iterate().await;
        }
        assert!(all.ends_with(&site.lines()));
        assert!(all.iter().any(|line| line == "GET /a") && all.iter().any(|line| line == "GET /b"));
    }

    #[tokio::test]
    async fn a_condition_decides_by_what_was_extracted() {
        let site = Site::start(|_, number| {
            let state = if number == 0 { "open" } else { "done" };
            answer(200, "", &format!(r#"{{"state": "{state}"}}"#))
        })
        .await;
        let steps = vec![
            extracting("/state", "state", json("$.state")),
            StepPlan::If {
                condition: is("state", "open"),
                then: vec![step("/then")],
                otherwise: vec![step("/else")],
            },
        ];
        let mut trip = Trip::of_steps(&site, steps);
        trip.iterate().await;
        trip.iterate().await;
        let expected = ["GET /state", "GET /then", "GET /state", "GET /else"];
        assert_eq!(site.lines(), expected);
    }

    #[tokio::test]
    async fn a_loop_ends_when_its_condition_holds_or_fails_when_it_never_does() {
        let site = Site::start(|_, number| {
            let state = if number == 2 { "done" } else { "open" };
            answer(200, "", &format!(r#"{{"state": "{state}"}}"#))
        })
        .await;
        let poll = vec![step("/a"), extracting("/state", "state", json("$.state"))];
        let steps = vec![repeat(4, Some(is("state", "done")), poll), step("/after")];
        let mut trip = Trip::of_steps(&site, steps);
        // Only `/a` is told that it is done, and nobody asks that.
        assert_eq!(trip.iterate().await, End::Failed);
        assert_eq!(site.lines().len(), 8);
        let measured = trip.finish();
        let state = &measured.requests[1];
        assert_eq!(errors(state), [(ErrorKind::Condition, 1)]);
        assert_eq!(ok_count(state), 4);
        assert_eq!(measured.requests[2].response.len(), 0);
        assert_eq!((measured.counts.failed, measured.counts.timed_out), (1, 0));

        let site = Site::start(|_, number| {
            let state = if number == 3 { "done" } else { "open" };
            answer(200, "", &format!(r#"{{"state": "{state}"}}"#))
        })
        .await;
        let poll = vec![step("/a"), extracting("/state", "state", json("$.state"))];
        let steps = vec![repeat(4, Some(is("state", "done")), poll), step("/after")];
        let mut trip = Trip::of_steps(&site, steps);
        assert_eq!(trip.iterate().await, End::Completed);
        let expected = ["GET /a", "GET /state", "GET /a", "GET /state", "GET /after"];
        assert_eq!(site.lines(), expected);
    }

    #[tokio::test]
    async fn loops_nest() {
        let site = always_ok().await;
        let inner = repeat(3, None, vec![step("/in")]);
        let steps = vec![repeat(2, None, vec![inner, step("/out")])];
        let mut trip = Trip::of_steps(&site, steps);
        trip.iterate().await;
        trip.iterate().await;
        let measured = trip.finish();
        assert_eq!(ok_count(&measured.requests[0]), 12);
        assert_eq!(ok_count(&measured.requests[1]), 4);
        assert_eq!(measured.counts.completed, 2);
    }

    #[tokio::test]
    async fn a_group_takes_as_long_as_what_is_in_it_and_fails_with_it() {
        let site = Site::start(|_, number| {
            let status = if number == 5 { 500 } else { 200 };
            answer(status, "", "ok")
        })
        .await;
        let inner = group("inner", vec![step("/in")]);
        let outer = group("outer", vec![step("/a"), pause(30), inner, pause(20)]);
        let mut trip = Trip::of_steps(&site, vec![pause(40), outer, step("/b")]);
        assert_eq!(trip.iterate().await, End::Completed);
        assert_eq!(trip.iterate().await, End::Failed);
        let measured = trip.finish();
        let [outer, inner] = measured.groups.as_slice() else {
            panic!("{:?}", measured.groups);
        };
        // Request 5 is the one after the groups, so both were in order twice.
        assert_eq!((outer.duration.count(), inner.duration.count()), (2, 2));
        assert_eq!((outer.failed, inner.failed), (0, 0));
        assert!(outer.duration.quantile_ns(0.0).unwrap() >= 50 * MS);
        let max = |series: &GroupSeries| series.duration.max_ns().unwrap();
        assert!(max(outer) >= max(inner) + 49 * MS);
        // The pause before them is in none.
        let least_ns = outer.duration.quantile_ns(0.0).unwrap();
        assert!(measured.iteration.max_ns().unwrap() >= least_ns + 39 * MS);

        let site = Site::start(|_, number| {
            let status = if number == 1 { 500 } else { 200 };
            answer(status, "", "ok")
        })
        .await;
        let inner = group("inner", vec![step("/in")]);
        let outer = group("outer", vec![step("/a"), inner]);
        let mut trip = Trip::of_steps(&site, vec![outer, group("after", vec![step("/b")])]);
        assert_eq!(trip.iterate().await, End::Failed);
        assert_eq!(trip.iterate().await, End::Completed);
        let measured = trip.finish();
        let found: Vec<_> = measured
            .groups
            .iter()
            .map(|series| (series.duration.count(), series.failed))
            .collect();
        assert_eq!(found, [(1, 1), (1, 1), (1, 0)]);
    }

    #[tokio::test]
    async fn cookies_live_as_long_as_the_flow_says() {
        let check = async |scope: CookieScope, expected: [Option<&str>; 4]| {
            let site = Site::start(|request, number| match request.starts_with("GET /set ") {
                true => answer(200, &format!("set-cookie: sid={number}; Path=/\r\n"), ""),
                false => answer(200, "", ""),
            })
            .await;
            let mut trip = Trip::new(&site, |job| {
                job.flow.cookies = scope;
                job.flow.steps = vec![step("/set"), step("/get")];
            });
            trip.iterate().await;
            trip.iterate().await;
            let seen = site.seen();
            let sent: Vec<_> = seen
                .iter()
                .map(|request| header(request, "cookie"))
                .collect();
            assert_eq!(sent, expected, "{scope:?}");
        };
        let (first, second) = (Some("sid=0"), Some("sid=2"));
        check(CookieScope::Iteration, [None, first, None, second]).await;
        check(CookieScope::User, [None, first, first, second]).await;
        check(CookieScope::None, [None, None, None, None]).await;
    }

    #[tokio::test]
    async fn redirects_are_followed_and_belong_to_the_request() {
        let site = Site::start(|request, _| {
            let to = |location: &str, cookie: &str| {
                answer(302, &format!("location: {location}\r\n{cookie}"), "moved")
            };
            match request.split(' ').nth(1) {
                Some("/a") => to("b?c", "set-cookie: sid=1\r\n"),
                Some("/b?c") => to("/d", ""),
                Some("/loop") => to("/loop", ""),
                _ => answer(200, "", "there"),
            }
        })
        .await;
        let mut form = get("/a");
        form.method = "POST".into();
        form.body = Some(BodyPlan::Text(Template::literal("x=1")));
        form.redirects = 2;
        form.check.body_contains = Some("there".into());
        let mut trip = Trip::of_steps(&site, vec![form.clone().into()]);
        assert_eq!(trip.iterate().await, End::Completed);
        assert_eq!(site.lines(), ["POST /a", "GET /b?c", "GET /d"]);
        let seen = site.seen();
        assert!(seen[0].ends_with("x=1") && seen[1].ends_with("\r\n\r\n"));
        assert_eq!(header(&seen[2], "cookie"), Some("sid=1"));
        let measured = trip.finish();
        let series = &measured.requests[0];
        assert_eq!(ok_count(series), 1);
        assert_eq!(
            (series.redirects, series.bytes_sent, series.bytes_received),
            (2, 3, 15)
        );
        assert_eq!(series.statuses, [(200, 1)].into());

        // Without a word of redirects, the answer is the answer.
        form.redirects = 0;
        form.check.body_contains = Some("moved".into());
        let mut trip = Trip::of_steps(&site, vec![form.into()]);
        assert_eq!(trip.iterate().await, End::Completed);

        let mut endless = get("/loop");
        endless.redirects = 3;
        let mut trip = Trip::of_steps(&site, vec![endless.into()]);
        assert_eq!(trip.iterate().await, End::Failed);
        let measured = trip.finish();
        assert_eq!(errors(&measured.requests[0]), [(ErrorKind::Check, 1)]);
        assert_eq!(measured.requests[0].redirects, 3);
    }

    #[tokio::test]
    async fn nothing_is_sent_where_a_redirect_leads_away() {
        let elsewhere = always_ok().await;
        let url = elsewhere.url.clone();
        let location = format!("location: {url}/steal\r\n");
        let site = Site::start(move |_, _| answer(307, &location, "")).await;
        let mut plan = get("/a");
        plan.redirects = 5;
        plan.address.auth = Some(AuthPlan::Bearer(Template::literal("secret")));
        let mut trip = Trip::of_steps(&site, vec![plan.into()]);
        assert_eq!(trip.iterate().await, End::Failed);
        let measured = trip.finish();
        let tally = &measured.requests[0].errors[&ErrorKind::Check];
        assert!(tally.example.contains("away from the target"), "{tally:?}");
        assert_eq!(elsewhere.seen(), Vec::<String>::new());
    }

    fn retried(times: u32, wait_ms: u64) -> RequestPlan {
        let mut plan = get("/a");
        plan.retry = Some(RetryPlan {
            times,
            status: vec![(502, 504)],
            on_connection_failure: true,
            wait_ns: wait_ms * MS,
        });
        plan
    }

    #[tokio::test]
    async fn attempts_are_one_request() {
        // No answer, then the wrong ones, then the right one.
        let site = Site::start(|_, number| match number {
            0 => String::new(),
            1 => answer(503, "", "down"),
            _ => answer(200, "", "up"),
        })
        .await;
        let mut plan = retried(3, 20);
        plan.address.path.parts = vec![Part::Text("/".into()), Part::Uuid];
        plan.name = "once".into();
        let mut trip = Trip::of_steps(&site, vec![plan.into()]);
        assert_eq!(trip.iterate().await, End::Completed);
        let lines = site.lines();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
        let measured = trip.finish();
        let series = &measured.requests[0];
        assert_eq!((ok_count(series), series.retries), (1, 2));
        assert_eq!(series.statuses, [(200, 1)].into());
        assert_eq!(series.bytes_received, 6);
        assert!(series.service[&Outcome::Ok].max_ns().unwrap() >= 40 * MS);
        assert_eq!(measured.counts.completed, 1);
    }

    #[tokio::test]
    async fn attempts_have_an_end() {
        let check = async |plan: RequestPlan, status: u16, attempts: usize, kind: ErrorKind| {
            let site = Site::start(move |_, _| answer(status, "", "")).await;
            let mut trip = Trip::of_steps(&site, vec![plan.into()]);
            assert_eq!(trip.iterate().await, End::Failed);
            assert_eq!(site.lines().len(), attempts);
            let measured = trip.finish();
            let series = &measured.requests[0];
            assert_eq!(errors(series), [(kind, 1)]);
            assert_eq!(series.retries, attempts as u64 - 1);
            assert_eq!(series.response[&Outcome::Failed].count(), 1);
        };
        check(retried(2, 0), 503, 3, ErrorKind::Status).await;
        // Not one of the statuses.
        check(retried(2, 0), 500, 1, ErrorKind::Status).await;
        // The next attempt would come after the timeout.
        let mut soon = retried(9, 900);
        soon.timeout_ns = 1500 * MS;
        check(soon, 503, 2, ErrorKind::Status).await;
    }

    #[tokio::test]
    async fn a_connection_is_tried_again_only_where_the_plan_says() {
        for (is_tried, attempts) in [(false, 1), (true, 3)] {
            let site = Site::start(|_, _| String::new()).await;
            let mut plan = retried(2, 0);
            if let Some(retry) = &mut plan.retry {
                retry.on_connection_failure = is_tried;
            }
            let mut trip = Trip::of_steps(&site, vec![plan.into()]);
            assert_eq!(trip.iterate().await, End::Failed);
            assert_eq!(site.lines().len(), attempts);
            let measured = trip.finish();
            assert_eq!(errors(&measured.requests[0]), [(ErrorKind::Closed, 1)]);
        }
    }

    #[tokio::test]
    async fn a_step_that_was_not_performed_gives_no_value() {
        let site = always_ok().await;
        let skipped = StepPlan::If {
            condition: ConditionPlan::Chance(0.0),
            then: vec![extracting("/s", "id", ExtractSource::Regex("ok".into()))],
            otherwise: vec![],
        };
        // In a condition it is the empty text, in a request there is nothing to send.
        let asked = StepPlan::If {
            condition: is("id", ""),
            then: vec![below("/of/", "id")],
            otherwise: vec![],
        };
        let mut trip = Trip::of_steps(&site, vec![skipped, asked]);
        assert_eq!(trip.iterate().await, End::Failed);
        assert_eq!(site.lines(), Vec::<String>::new());
        let measured = trip.finish();
        let tally = &measured.requests[1].errors[&ErrorKind::Template];
        assert!(tally.example.contains("`{id}` has no value"), "{tally:?}");
        assert!(measured.counts.adds_up());
    }

    #[tokio::test]
    async fn an_iteration_without_anything_to_wait_for_is_idle() {
        let site = always_ok().await;
        let steps = vec![StepPlan::If {
            condition: ConditionPlan::Chance(0.0),
            then: vec![step("/a")],
            otherwise: vec![],
        }];
        let mut trip = Trip::of_steps(&site, steps);
        assert_eq!(trip.iterate().await, End::Idle);
        assert_eq!(trip.finish().counts.completed, 1);
    }

    #[tokio::test]
    async fn a_feed_gives_out_and_says_so() {
        let site = always_ok().await;
        let folder = tempfile::tempdir().unwrap();
        let file = fixture::file(folder.path(), "c.csv", b"id\n1\n2\n3\n");
        let mut trip = Trip::new(&site, |job| {
            let plan = FeedPlan {
                file,
                format: FeedFormat::Csv,
                columns: vec!["id".into()],
                order: FeedOrder::Unique,
            };
            job.feeds.insert("clients".into(), plan);
            job.turns.insert("clients".into(), (1, 2));
            let mut plan = get("/");
            let (feed, column) = ("clients".into(), "id".into());
            plan.address.path.parts.push(Part::Feed { feed, column });
            job.flow.steps = vec![plan.into()];
        });
        assert_eq!(trip.iterate().await, End::Completed);
        assert_eq!(trip.iterate().await, End::Failed);
        assert_eq!(site.lines(), ["GET /2"]);
        let measured = trip.finish();
        assert_eq!(measured.exhausted_feeds, [("clients".to_owned(), 1)].into());
        let tally = &measured.requests[0].errors[&ErrorKind::Template];
        assert!(
            tally
                .example
                .contains("`clients` has no row left: it has 3"),
            "{tally:?}"
        );
        assert!(measured.counts.adds_up());
    }

    #[tokio::test]
    async fn the_time_of_a_check_is_the_service_time() {
        let site = always_ok().await;
        let mut plan = get("/a");
        plan.check.max_time_ns = Some(1);
        let mut trip = Trip::of_steps(&site, vec![plan.into()]);
        assert_eq!(trip.iterate().await, End::Failed);
        assert_eq!(errors(&trip.finish().requests[0]), [(ErrorKind::Check, 1)]);
    }
}
