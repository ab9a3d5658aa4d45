//! Pairs: one run of each arm, back to back, in an order that chance decides.

use tokio::sync::watch;

use crate::harness::engine::Engine;
use crate::harness::model::{Arm, InvalidReason, Run};
use crate::harness::report::format;
use crate::harness::scenario::Plan;
use crate::harness::stats::{First, alternation};

use super::failure::Failure;
use super::live::Live;
use super::session::{Labels, execute_once, is_hopeless};
use super::sources::Source;

/// How many pairs of one batch are measured again because the load generator was not fit.
const REPEATS: u32 = 2;

/// One side of the pairs, built.
pub(super) struct Side<E> {
    /// What executes it.
    pub(super) engine: E,
    /// What is executed.
    pub(super) plan: Plan,
    /// What every run says of itself.
    pub(super) labels: Labels,
}

/// The two sides.
pub(super) struct Sides<E> {
    /// What is compared against.
    pub(super) base: Side<E>,
    /// What is judged.
    pub(super) head: Side<E>,
}

/// What was measured so far.
#[derive(Debug)]
pub(super) struct Pairs {
    /// The runs of the base.
    pub(super) base: Source,
    /// The runs of the head.
    pub(super) head: Source,
    /// Pairs that were measured again, and are not among these.
    pub(super) repeated: u32,
    /// Whether going on is of no use: stopped, or a run that ended so that the next would as well.
    pub(super) is_over: bool,
}

/// A batch of pairs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// How many.
    pub(super) pairs: u32,
    /// What decides their orders.
    pub(super) seed: u64,
}

impl Pairs {
    /// No pairs yet, of two arms that are called so.
    pub(super) fn new(base: String, head: String) -> Self {
        let arm = |label| Source {
            label,
            runs: Vec::new(),
            baseline: None,
        };
        Self {
            base: arm(base),
            head: arm(head),
            repeated: 0,
            is_over: false,
        }
    }

    /// What the reader should know of how they came about.
    pub(super) fn note(&self) -> Option<String> {
        (self.repeated > 0).then(|| {
            format!(
                "{} measured again, because the load generator was late or out of cores; what was measured first is in \
                 the history and not judged",
                format::counted(self.repeated.into(), "pair")
            )
        })
    }

    fn len(&self) -> u32 {
        u32::try_from(self.head.runs.len()).unwrap_or(u32::MAX)
    }

    /// Measures a batch more. Each run is handed to `save` before the next begins.
    ///
    /// A pair in which the load generator was late or out of cores, and nothing else was wrong, is
    /// measured again, a few times in a batch: this says nothing of either arm. Its runs are saved.
    /// Where it goes on, its cause is not chance, and the pair stays, invalid as it is.
    pub(super) async fn measure<E: Engine>(
        &mut self,
        sides: &mut Sides<E>,
        batch: Batch,
        stop: &watch::Receiver<bool>,
        live: &Live,
        mut save: impl AsyncFnMut(&Run) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let id = sides.head.plan.id();
        let planned = self.len().saturating_add(batch.pairs);
        let mut repeats = 0;
        for order in alternation(batch.pairs, batch.seed) {
            loop {
                // A repeated pair has a number of its own: its runs are in the history as well.
                let number = self.len().saturating_add(self.repeated).saturating_add(1);
                let (mut base, mut head) = (None, None);
                let arms = match order {
                    First::Base => [Arm::Base, Arm::Head],
                    First::Head => [Arm::Head, Arm::Base],
                };
                for arm in arms {
                    if self.is_over || *stop.borrow() {
                        break;
                    }
                    live.begin(format!(
                        "{id} pair {}/{planned}, {}",
                        self.len() + 1,
                        arm.name()
                    ));
                    let (side, slot) = match arm {
                        Arm::Base => (&mut sides.base, &mut base),
                        Arm::Head => (&mut sides.head, &mut head),
                    };
                    let run = side.run(arm, number, stop, live).await?;
                    save(&run).await?;
                    self.is_over |= is_hopeless(&run);
                    *slot = Some(run);
                }
                self.is_over |= *stop.borrow();
                let unfit = base.iter().chain(&head).any(is_generators_fault);
                if unfit && !self.is_over && repeats < REPEATS {
                    repeats += 1;
                    self.repeated = self.repeated.saturating_add(1);
                    continue;
                }
                self.base.runs.extend(base);
                self.head.runs.extend(head);
                break;
            }
            if self.is_over {
                break;
            }
        }
        Ok(())
    }
}

impl<E: Engine> Side<E> {
    /// One run of this side. Where the base fails, there is nothing to compare with.
    async fn run(
        &mut self,
        arm: Arm,
        number: u32,
        stop: &watch::Receiver<bool>,
        live: &Live,
    ) -> Result<Run, Failure> {
        let Self {
            engine,
            plan,
            labels,
        } = self;
        let run = execute_once(engine, plan, labels, Some(number), stop, live).await;
        run.map_err(|failure| match arm {
            Arm::Base => failure.of_the_base(),
            Arm::Head => failure,
        })
    }
}

/// Spreads the invocations of an arm's benches over its runs of so many pairs, so that they alternate too.
pub(super) fn spread_invocations(plan: &mut Plan, pairs: u32) {
    for bench in &mut plan.benches {
        bench.invocations = bench.invocations.div_ceil(pairs);
    }
}

/// Pairs of a gate of this scenario where nobody asks for another number.
pub(super) fn usual_pairs(plan: &Plan) -> u32 {
    plan.runs.max(2)
}

/// Whether a run is invalid for reasons of the load generator alone.
fn is_generators_fault(run: &Run) -> bool {
    !run.invalid.is_empty()
        && run.invalid.iter().all(|reason| {
            matches!(
                reason,
                InvalidReason::GeneratorLate { .. } | InvalidReason::GeneratorSaturated { .. }
            )
        })
}
