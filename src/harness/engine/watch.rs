//! What goes on beside the loads or the benches of a run: processes are sampled, probes looked at,
//! faults carried out, and a process that ends by itself ends it all.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use super::execute::Observe;
use super::flag::became_true;
use super::jobs::cores;
use super::load;
use super::nanoseconds::nanoseconds;
use super::probe::{Gathered, Look, Scraper};
use super::process::{self, Exit, Processes, Sampler};
use super::thinned::Thinned;
use super::{Executed, GeneratorTick, LoadTick, Progress, Tick};
use crate::harness::model::{
    InvalidReason, Measurement, Phase, PhaseSpan, ProbeSeries, ProcessSample, ProcessSeries,
    ProcessUsage, TimelineEvent,
};
use crate::harness::scenario::{FaultAction, FaultPlan, PhasePlan, Plan, ProbeSource, Selector};

/// A tick is told so long after its second, so that all workers have told theirs.
const TICK_DELAY: Duration = Duration::from_millis(150);
/// How long the news of a process that has ended may be on their way.
pub(super) const EXIT_NEWS: Duration = Duration::from_secs(1);

/// Watches the processes of a run. All times are kept as offsets from `zero`, the start of the load
/// or of the benches.
pub(super) struct Watcher<'run> {
    plan: &'run Plan,
    processes: &'run Processes,
    zero: Instant,
    /// What is to be measured, in ns.
    measure_ns: Range<u64>,
    observe: Observe<'run>,
    /// Becomes true when the load or the benches are to end, and when they have ended.
    over: watch::Sender<bool>,
    seen: Mutex<Seen>,
    scrapers: Vec<Scraping>,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    ticks: BTreeMap<String, LoadTick>,
    samples: BTreeMap<String, Sampled>,
    events: Vec<TimelineEvent>,
    exits: Vec<InvalidReason>,
}

/// What the looks at one process gave.
struct Sampled {
    curve: Thinned<ProcessSample>,
    /// Of those in the measure phase.
    usage: Option<ProcessUsage>,
}

/// What is read of the metrics of one process.
struct Scraping {
    process: String,
    scraper: Scraper,
    /// Whether it was said already that it did not answer.
    told: AtomicBool,
    /// The probes that need it.
    probes: Mutex<Vec<Probing>>,
}

/// One probe, and the places of its selectors among those of the scraper.
struct Probing {
    places: [Option<usize>; 2],
    gathered: Gathered,
}

impl<'run> Watcher<'run> {
    /// Of processes that are up. Their metrics are fetched with `client`.
    pub(super) fn new(
        plan: &'run Plan,
        processes: &'run Processes,
        client: &reqwest::Client,
        zero: Instant,
        measure_ns: Range<u64>,
        observe: Observe<'run>,
    ) -> Self {
        Self {
            plan,
            processes,
            zero,
            scrapers: scrapers(plan, processes, client, &measure_ns),
            measure_ns,
            observe,
            over: watch::channel(false).0,
            seen: Mutex::default(),
        }
    }

    /// Becomes true when what is watched is to end.
    pub(super) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Watches while `driving` goes on and gives what it gave; `also` goes on for as long. Where `stop`
    /// becomes true or a process ends by itself, [`Self::over`] asks `driving` for its end.
    pub(super) async fn during<T>(
        &self,
        driving: impl Future<Output = T>,
        also: impl Future<Output = Infallible>,
        exits: &mut mpsc::UnboundedReceiver<Exit>,
        stop: &mut watch::Receiver<bool>,
    ) -> T {
        let driving = async {
            let given = driving.await;
            self.over.send_replace(true);
            given
        };
        let boundaries = join_all(self.scrapers.iter().map(|one| self.scrape_boundaries(one)));
        let stopping = async {
            became_true(stop).await;
            self.over.send_replace(true);
        };
        let background = async {
            tokio::join!(
                self.sample(),
                join_all(self.scrapers.iter().map(|one| self.scrape_each_second(one))),
                self.take_exits(exits),
                stopping,
                also,
            )
        };
        let given = tokio::select! {
            (given, _) = async { tokio::join!(driving, boundaries) } => given,
            (.., never) = background => match never {},
        };
        // A process may have ended in the very last moment.
        while self.processes.has_unexpected_end() && self.seen().exits.is_empty() {
            match timeout(EXIT_NEWS, exits.recv()).await {
                Ok(Some(exit)) => self.keep_exit(exit),
                _ => break,
            }
        }
        given
    }

    /// What only a load has: ticks, phases and faults at their times.
    pub(super) async fn follow_load(&self) -> Infallible {
        tokio::join!(
            self.tell_ticks(),
            self.tell_phases(),
            self.carry_out_faults()
        );
        std::future::pending().await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset_ns(&self, at: Instant) -> i64 {
        offset_ns(at, self.zero)
    }

    /// The next whole second from the start of the load.
    fn next_second(&self) -> Duration {
        let passed = Instant::now().checked_duration_since(self.zero);
        passed.map_or(Duration::ZERO, |passed| {
            Duration::from_secs(passed.as_secs() + 1)
        })
    }

    async fn until(&self, offset: Duration) {
        sleep_until((self.zero + offset).into()).await;
    }

    /// Keeps the newest tick of a load.
    pub(super) fn keep_tick(&self, tick: LoadTick) {
        self.seen().ticks.insert(tick.load.clone(), tick);
    }

    fn keep_event(&self, at: Instant, what: String) {
        let at_ns = self.offset_ns(at);
        self.seen().events.push(TimelineEvent { at_ns, what });
    }

    /// A process that ended makes the run invalid and ends it.
    fn keep_exit(&self, exit: Exit) {
        let what = format!("{} ended with {}", exit.process, exit.ending);
        self.keep_event(exit.at, what);
        self.seen().exits.push(ended_by_itself(exit, self.zero));
        self.over.send_replace(true);
    }

    async fn take_exits(&self, exits: &mut mpsc::UnboundedReceiver<Exit>) {
        while let Some(exit) = exits.recv().await {
            self.keep_exit(exit);
        }
    }

    async fn sample(&self) {
        let mut sampler = Sampler::default();
        loop {
            let second = self.next_second();
            let roots = self.processes.roots();
            // Reading `/proc` takes milliseconds, in which nothing else could go on here.
            let looking = tokio::task::spawn_blocking(move || {
                let samples = sampler.look(&roots);
                (sampler, roots, samples)
            });
            let Ok((back, roots, samples)) = looking.await else {
                return;
            };
            sampler = back;
            for (root, (at, sample)) in roots.into_iter().zip(samples) {
                let at_ns = self.offset_ns(at);
                let sample = ProcessSample { at_ns, ..sample };
                let mut seen = self.seen();
                let sampled = seen.samples.entry(root.process);
                let sampled = sampled.or_insert_with(|| Sampled {
                    curve: Thinned::new(process::together),
                    usage: None,
                });
                sampled.curve.push(sample);
                if u64::try_from(at_ns).is_ok_and(|at_ns| self.measure_ns.contains(&at_ns)) {
                    sampled.usage = Some(ProcessUsage::and(sampled.usage, &sample));
                }
            }
            self.until(second).await;
        }
    }

    async fn tell_ticks(&self) {
        loop {
            let second = self.next_second().max(Duration::from_secs(1));
            self.until(second + TICK_DELAY).await;
            (self.observe)(Progress::Tick(self.tick(nanoseconds(second))));
        }
    }

    /// What is known of the second that ends at `at_ns`.
    fn tick(&self, at_ns: u64) -> Tick {
        let seen = self.seen();
        let loads = self.plan.loads.iter();
        let loads: Vec<LoadTick> = loads
            .filter_map(|load| seen.ticks.get(&load.name).cloned())
            .collect();
        let processes = self.plan.processes.iter();
        Tick {
            at_ns,
            of_ns: self.plan.phases.total_ns(),
            phase: load::phase_at(&self.plan.phases, at_ns.saturating_sub(1)),
            generator: GeneratorTick::of(&loads, &self.plan.generator, cores()),
            loads,
            processes: processes
                .filter_map(|process| {
                    let newest = seen.samples.get(&process.name)?.curve.newest()?;
                    Some((process.name.clone(), *newest))
                })
                .collect(),
        }
    }

    async fn tell_phases(&self) {
        for span in spans(&self.plan.phases, u64::MAX) {
            self.until(Duration::from_nanos(span.start_ns)).await;
            (self.observe)(Progress::Phase {
                phase: span.phase,
                length_ns: span.end_ns - span.start_ns,
            });
        }
    }

    /// Those of one process one after the other: a start waits until what was stopped is gone, and
    /// what comes after it is meant for what it starts.
    async fn carry_out_faults(&self) {
        let mut of_process: BTreeMap<&str, Vec<&FaultPlan>> = BTreeMap::new();
        for fault in &self.plan.faults {
            of_process.entry(&fault.process).or_default().push(fault);
        }
        let each = of_process.into_values().map(|faults| async move {
            for fault in faults {
                self.carry_out(fault).await;
            }
        });
        join_all(each).await;
    }

    async fn carry_out(&self, fault: &FaultPlan) {
        self.until(Duration::from_nanos(fault.at_ns)).await;
        let what = format!("{} {}", verb(fault.action), fault.process);
        (self.observe)(Progress::Fault { what: what.clone() });
        let carried_out = self.processes.carry_out(&fault.process, fault.action).await;
        let at = Instant::now();
        self.keep_event(at, what);
        if let Err(error) = carried_out {
            self.seen().exits.push(InvalidReason::NotRestarted {
                process: fault.process.clone(),
                at_ns: self.offset_ns(at),
                message: error.to_string(),
            });
            self.over.send_replace(true);
        }
    }

    /// Looks at the start and at the end of what is measured, or of what came to be of it.
    async fn scrape_boundaries(&self, scraping: &Scraping) {
        let mut over = self.over();
        for boundary_ns in self.boundaries_ns() {
            tokio::select! {
                () = self.until(Duration::from_nanos(boundary_ns)) => {}
                () = became_true(&mut over) => {}
            }
            self.look(scraping).await;
        }
    }

    async fn scrape_each_second(&self, scraping: &Scraping) {
        loop {
            let second = self.next_second();
            self.until(second).await;
            if !self.boundaries_ns().contains(&nanoseconds(second)) {
                self.look(scraping).await;
            }
        }
    }

    fn boundaries_ns(&self) -> [u64; 2] {
        [self.measure_ns.start, self.measure_ns.end]
    }

    /// Keeps what the process exposes now. Where it exposes nothing, the first time is told.
    async fn look(&self, scraping: &Scraping) {
        let generation = self.processes.generation(&scraping.process);
        let asked = Instant::now();
        let samples = match scraping.scraper.look().await {
            Ok(samples) => samples,
            Err(error) => {
                if !scraping.told.swap(true, Ordering::Relaxed) {
                    (self.observe)(Progress::Warning(format!(
                        "no metrics of `{}` at {}: {error}",
                        scraping.process,
                        scraping.scraper.url(),
                    )));
                }
                return;
            }
        };
        // Somewhere between the question and the answer.
        let at_ns = self.offset_ns(asked + asked.elapsed() / 2);
        let mut probes = scraping
            .probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for Probing { places, gathered } in probes.iter_mut() {
            gathered.add(Look {
                at_ns,
                generation,
                samples: places.map(|place| samples[place?]),
            });
        }
    }

    /// What was seen over the `phases` that there were. Where processes ended by themselves, that is
    /// why the run is invalid.
    pub(super) fn finish(self, phases: Vec<PhaseSpan>) -> Executed {
        let probes = probes(self.scrapers, &phases);
        let mut seen = self
            .seen
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        seen.events.sort_by_key(|event| event.at_ns);
        let series = |name: &String| {
            let sampled = seen.samples.remove(name);
            let usage = sampled.as_ref().and_then(|sampled| sampled.usage);
            ProcessSeries {
                name: name.clone(),
                samples: sampled.map_or_else(Vec::new, |sampled| sampled.curve.finish()),
                usage,
            }
        };
        let names = self.plan.processes.iter().map(|process| &process.name);
        Executed {
            measurement: Measurement {
                phases,
                processes: names.map(series).collect(),
                probes,
                events: seen.events,
                ..Measurement::default()
            },
            invalid: seen.exits,
            metrics: Vec::new(),
            partial: false,
            aborted: None,
            warnings: Vec::new(),
            duration_ns: 0,
        }
    }
}

/// What the probes gave, by name.
fn probes(scrapers: Vec<Scraping>, phases: &[PhaseSpan]) -> Vec<ProbeSeries> {
    let measured = phases.iter().find(|span| span.phase == Phase::Measure);
    let mut all = Vec::new();
    for scraping in scrapers {
        let probes = scraping.probes.into_inner();
        for probing in probes.unwrap_or_else(PoisonError::into_inner) {
            all.push(probing.gathered.finish(measured));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// One scraper for each process that a probe reads.
fn scrapers(
    plan: &Plan,
    processes: &Processes,
    client: &reqwest::Client,
    measure_ns: &Range<u64>,
) -> Vec<Scraping> {
    let (start_ns, end_ns) = (signed(measure_ns.start), signed(measure_ns.end));
    let mut scrapers = Vec::new();
    for process in &plan.processes {
        let (Some(path), Some(url)) = (&process.metrics, processes.url(&process.name)) else {
            continue;
        };
        let mut selectors: Vec<Selector> = Vec::new();
        let mut probes = Vec::new();
        for (name, probe) in plan
            .probes
            .iter()
            .filter(|(_, probe)| probe.process == process.name)
        {
            let (first, second) = match &probe.source {
                ProbeSource::Ratio(part, whole) => (part, Some(whole)),
                ProbeSource::Rate(only)
                | ProbeSource::Increase(only)
                | ProbeSource::Mean(only)
                | ProbeSource::Max(only) => (only, None),
            };
            let mut place = |selector: &Selector| {
                selectors.push(selector.clone());
                selectors.len() - 1
            };
            probes.push(Probing {
                places: [Some(place(first)), second.map(place)],
                gathered: Gathered::new(name, probe, start_ns, end_ns),
            });
        }
        if !probes.is_empty() {
            scrapers.push(Scraping {
                process: process.name.clone(),
                scraper: Scraper::new(client.clone(), format!("{url}{path}"), selectors),
                told: AtomicBool::new(false),
                probes: Mutex::new(probes),
            });
        }
    }
    scrapers
}

pub(super) fn ended_by_itself(exit: Exit, zero: Instant) -> InvalidReason {
    InvalidReason::ProcessExited {
        process: exit.process,
        status: exit.ending.to_string(),
        at_ns: offset_ns(exit.at, zero),
        output: exit.output,
    }
}

/// The phases of a load that ended at `ended_ns`; those that it did not reach are left out.
pub(super) fn spans(phases: &PhasePlan, ended_ns: u64) -> Vec<PhaseSpan> {
    let mut start_ns: u64 = 0;
    let lengths = [
        (Phase::Warmup, phases.warmup_ns),
        (Phase::Measure, phases.measure_ns),
        (Phase::Cooldown, phases.cooldown_ns),
    ];
    let spans = lengths.map(|(phase, length_ns)| {
        let end_ns = start_ns.saturating_add(length_ns);
        let span = PhaseSpan {
            phase,
            start_ns,
            end_ns: end_ns.min(ended_ns),
        };
        start_ns = end_ns;
        span
    });
    spans
        .into_iter()
        .filter(|span| span.start_ns < span.end_ns)
        .collect()
}

fn verb(action: FaultAction) -> &'static str {
    match action {
        FaultAction::Start => "start",
        FaultAction::Stop => "stop",
        FaultAction::Kill => "kill",
        FaultAction::Pause => "pause",
        FaultAction::Resume => "resume",
    }
}

fn offset_ns(at: Instant, zero: Instant) -> i64 {
    let after = at.checked_duration_since(zero).map(signed_nanoseconds);
    after.unwrap_or_else(|| -signed_nanoseconds(zero - at))
}

fn signed_nanoseconds(duration: Duration) -> i64 {
    signed(nanoseconds(duration))
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
