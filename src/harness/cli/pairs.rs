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
        let planned = self.len().saturating_add(batch.pairs);
        let mut repeats = 0;
        for order in alternation(batch.pairs, batch.seed) {
            loop {
                // A repeated pair has the number of the one it replaces, which is in the history as well:
                // the newest runs of a number count.
                let number = self.len().saturating_add(1);
                let (mut base, mut head) = (None, None);
                let arms = match order {
                    First::Base => [Arm::Base, Arm::Head],
                    First::Head => [Arm::Head, Arm::Base],
                };
                for arm in arms {
                    if self.is_over || *stop.borrow() {
                        break;
                    }
                    let part = format!("pair {number}/{planned}, {}", arm.name());
                    live.begin(&sides.head.plan, &part);
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
                    live.expect(&sides.head.plan, 2);
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
                InvalidReason::GeneratorLate { .. }
                    | InvalidReason::GeneratorSaturated { .. }
                    | InvalidReason::GeneratorsCrowded { .. }
                    | InvalidReason::CapacityBeyondGenerator { .. }
            )
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::harness::cli::scripted::{Scripted, died, executed, sides, unseen};

    fn late() -> Vec<InvalidReason> {
        vec![InvalidReason::GeneratorLate {
            load: "a".into(),
            lateness_ns_p99: 2,
            tolerance_ns: 1,
        }]
    }

    fn silent() -> Vec<InvalidReason> {
        vec![InvalidReason::NothingMeasured { load: "a".into() }]
    }

    /// Batches of so many pairs, played by a script: what they are in the end, and arm and pair of each
    /// run that was saved.
    async fn play(script: &[Vec<InvalidReason>], batches: &[Batch]) -> (Pairs, Vec<(Arm, u32)>) {
        // As valid as the script says, run by run, and valid after that.
        let mut script = Vec::from(script).into_iter();
        let engine =
            Scripted::new(move || Some(executed(Vec::new(), script.next().unwrap_or_default())));
        let mut sides = sides(&engine);
        let live = unseen();
        let (_sender, stop) = watch::channel(false);
        let mut pairs = Pairs::new("base".to_owned(), "head".to_owned());
        let mut saved = Vec::new();
        for batch in batches {
            let save = async |run: &Run| {
                saved.push((run.arm.unwrap(), run.pair.unwrap()));
                Ok(())
            };
            let measured = pairs.measure(&mut sides, *batch, &stop, &live, save).await;
            measured.unwrap();
        }
        (pairs, saved)
    }

    /// The arms of pairs in the order that chance gave them.
    fn arms(batch: Batch) -> Vec<[Arm; 2]> {
        let orders = alternation(batch.pairs, batch.seed).into_iter();
        orders
            .map(|order| match order {
                First::Base => [Arm::Base, Arm::Head],
                First::Head => [Arm::Head, Arm::Base],
            })
            .collect()
    }

    fn numbers(source: &Source) -> Vec<u32> {
        source.runs.iter().map(|run| run.pair.unwrap()).collect()
    }

    const BATCH: Batch = Batch { pairs: 4, seed: 7 };

    #[tokio::test]
    async fn pairs_alternate_as_planned_and_count_on() {
        let second = Batch { pairs: 3, seed: 8 };
        let (pairs, saved) = play(&[], &[BATCH, second]).await;
        let orders = [arms(BATCH), arms(second)].concat();
        let expected: Vec<(Arm, u32)> = (1..)
            .zip(orders)
            .flat_map(|(pair, arms)| arms.map(|arm| (arm, pair)))
            .collect();
        assert_eq!(saved, expected);
        assert_eq!(numbers(&pairs.base), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers(&pairs.head), numbers(&pairs.base));
        assert_eq!((pairs.is_over, pairs.note()), (false, None));
    }

    /// Its number and its order stay, so that the newest runs of a number are those that count.
    #[tokio::test]
    async fn a_pair_whose_generator_was_late_is_measured_again() {
        let ok = Vec::new;
        // The second pair's second run is late, then its first one.
        let script = [ok(), ok(), ok(), late(), late()];
        let (pairs, saved) = play(&script, &[BATCH]).await;
        let [first, second, third, fourth] = arms(BATCH)[..] else {
            unreachable!("four pairs were asked for")
        };
        let order = [
            (first, 1),
            (second, 2),
            (second, 2),
            (second, 2),
            (third, 3),
            (fourth, 4),
        ];
        let expected: Vec<_> = order
            .into_iter()
            .flat_map(|(arms, pair)| arms.map(|arm| (arm, pair)))
            .collect();
        assert_eq!(saved, expected);
        assert_eq!(numbers(&pairs.head), [1, 2, 3, 4]);
        assert!(
            pairs
                .base
                .runs
                .iter()
                .chain(&pairs.head.runs)
                .all(Run::is_valid)
        );
        let note = pairs.note().unwrap();
        assert!(note.starts_with("2 pairs measured again"), "{note}");
    }

    /// What goes on is no chance: it stays, and makes the verdict invalid.
    #[tokio::test]
    async fn two_pairs_a_batch_are_measured_again_and_no_more() {
        let script = vec![late(); 100];
        let (pairs, saved) = play(&script, &[BATCH]).await;
        assert_eq!(saved.len(), 2 * (4 + 2));
        assert_eq!(numbers(&pairs.head), [1, 2, 3, 4]);
        assert!(pairs.head.runs.iter().all(|run| !run.is_valid()));
        let (pairs, _) = play(&script, &[BATCH, BATCH]).await;
        assert_eq!(pairs.repeated, 4);
    }

    #[tokio::test]
    async fn what_an_arm_did_is_never_measured_again() {
        for reasons in [silent(), [late(), silent()].concat()] {
            let (pairs, saved) = play(&[reasons], &[BATCH]).await;
            assert_eq!((saved.len(), pairs.repeated), (8, 0));
        }
        let (pairs, saved) = play(&[late(), vec![died()]], &[BATCH]).await;
        assert_eq!((saved.len(), pairs.repeated, pairs.is_over), (2, 0, true));
    }
}
