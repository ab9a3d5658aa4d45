//! Why a run is no measurement.

use crate::harness::model::{InvalidReason, ShardFault, Unit};
use crate::harness::report::format;
use crate::harness::report::text::{self, MAX_SHOWN_CHARS};

use super::spoken::{Spoken, moment, name};

/// Why a run is no measurement.
pub fn invalid(reason: &InvalidReason) -> Spoken {
    match reason {
        InvalidReason::Dropped {
            load,
            dropped,
            offered,
            allowed,
        } => Spoken::new(
            format!(
                "load {} dropped {} of {} arrivals ({}; {} allowed)",
                name(load),
                format::count(*dropped),
                format::count(*offered),
                format::share(*dropped, *offered),
                format::value(&Unit::Ratio, *allowed),
            ),
            "Every user was still waiting for an answer. Lower the rate, raise `max_in_flight`, or find out why the target is slow",
        ),
        InvalidReason::GeneratorLate {
            load,
            lateness_ns_p99,
            tolerance_ns,
        } => Spoken::new(
            format!(
                "load {} started 1 % of its iterations more than {} late ({} tolerated)",
                name(load),
                format::duration_ns(*lateness_ns_p99),
                format::duration_ns(*tolerance_ns),
            ),
            "Something else uses this machine's processors: stop it (`plimsoll doctor` looks for it), or lower the rate",
        ),
        InvalidReason::GeneratorSaturated {
            load,
            cpu_cores,
            cores,
        } => Spoken::new(
            format!(
                "the generator of load {} kept {} of {} busy",
                name(load),
                format::value(&Unit::Count, (cpu_cores * 100.0).round() / 100.0),
                format::value(&Unit::Cores, *cores),
            ),
            "Give it more workers, a core each (`workers` in `[generator]`), or share the load among machines (docs/SHARDS.md); or lower the rate or the users",
        ),
        InvalidReason::GeneratorsCrowded { cpu_cores, cores } => Spoken::new(
            format!(
                "the generators of all loads together kept {} of {} of their machine busy",
                format::value(&Unit::Count, (cpu_cores * 100.0).round() / 100.0),
                format::value(&Unit::Cores, *cores),
            ),
            "Use a machine with more cores, or share the loads among machines (docs/SHARDS.md); or lower the rates or the users",
        ),
        InvalidReason::GeneratorExhausted {
            load,
            failures,
            message,
        } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                format!(
                    "the generator of load {} had no file or port left for {}",
                    name(load),
                    format::counted(*failures, "request"),
                ),
                "Raise the hard limit on open files (`ulimit -Hn` shows it), or let fewer users wait at once: lower `max_in_flight` or `users`. Ports run out where the target closes each connection: let it keep them open",
            )
        },
        InvalidReason::FeedExhausted {
            load,
            feed,
            iterations,
        } => Spoken::new(
            format!(
                "feed {} had no row left for {} of load {}",
                name(feed),
                format::counted(*iterations, "iteration"),
                name(load),
            ),
            "With `order = \"unique\"` each row is drawn once in a run, warm-up included: give the feed more rows, let the run be shorter, or take another order",
        ),
        InvalidReason::FailedUnmeasured {
            load,
            iterations,
            started,
        } => Spoken::new(
            format!(
                "{} of {} of load {} failed after the measure phase, where no request is measured",
                format::count(*iterations),
                format::counted(*started, "iteration"),
                name(load),
            ),
            "An iteration takes longer than all of `warmup` and `measure`: let the phases last several times as long as it does",
        ),
        InvalidReason::SetupFailed { step, message } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                match step.as_str() {
                    "" => "the setup failed".to_owned(),
                    step => format!("the setup failed at {}", name(step)),
                },
                "No load was driven. What happened is below: correct the setup of the scenario, or see why the target refuses it",
            )
        },
        InvalidReason::GeneratorFailed { load, message } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                format!("the generator of load {} ended before its time", name(load)),
                "What it said is below: correct that, or report it with the scenario where it is a bug",
            )
        },
        InvalidReason::BenchFailed { message } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                "a bench failed",
                "What it said is below; run it by itself with `cargo bench`, and correct it",
            )
        },
        InvalidReason::ProcessExited {
            process,
            status,
            at_ns,
            output,
        } => Spoken {
            detail: text::block(output),
            ..Spoken::new(
                format!(
                    "process {} ended by itself {} ({})",
                    name(process),
                    moment(*at_ns),
                    text::shown(status, 60),
                ),
                "Its last lines say why; no fault of the scenario stopped it",
            )
        },
        InvalidReason::NotRestarted {
            process,
            at_ns,
            message,
        } => Spoken {
            detail: text::block(message),
            ..Spoken::new(
                format!(
                    "a fault could not start process {} again {}",
                    name(process),
                    moment(*at_ns),
                ),
                "What kept it from starting is below; its first start in this run went well",
            )
        },
        InvalidReason::TargetUnreachable { url, cause } => Spoken::new(
            format!(
                "nothing answers at the target {} any more: {}",
                text::shown(url, MAX_SHOWN_CHARS),
                text::shown(cause, MAX_SHOWN_CHARS),
            ),
            "It was there for an earlier run of this session: its own log says why it ended. Start it, and run again",
        ),
        InvalidReason::NothingMeasured { load } => Spoken::new(
            format!(
                "load {} ended without one iteration in the measure phase",
                name(load)
            ),
            "Look at its errors, and check that the measure phase is longer than one iteration",
        ),
        InvalidReason::CapacityBeyondGenerator {
            load,
            holds,
            rate,
            cause,
        } => {
            let known = match holds {
                Some(holds) => format!("bears at least {}", format::rate(*holds)),
                None => "may bear any rate".to_owned(),
            };
            Spoken::new(
                format!(
                    "load {} could not be offered at {} ({}), so that all that is known of the target is that it {known}",
                    name(load),
                    format::rate(*rate),
                    text::shown(cause, MAX_SHOWN_CHARS),
                ),
                "Give the generator more: `workers` under `[generator]`, a larger `max_in_flight`, or another machine; or end the search at a lower rate with `to`",
            )
        }
        InvalidReason::Shard { index, of, fault } => shard(&format!("{index}/{of}"), fault),
    }
}

/// What is wrong with a shard, by its name.
fn shard(name: &str, fault: &ShardFault) -> Spoken {
    match fault {
        ShardFault::Missing => Spoken::new(
            format!("shard {name} is missing"),
            "Its machine may have been lost, or its file not been fetched; a part of a run is none, so run all shards again",
        ),
        ShardFault::Twice => Spoken::new(
            format!("shard {name} is there twice"),
            "Name one file of each shard: files of an earlier run may lie beside those of this one",
        ),
        ShardFault::Partial { ended_ns } => Spoken::new(
            format!(
                "shard {name} was stopped after {}",
                format::duration_ns(*ended_ns)
            ),
            "Run all shards again, and let each run to its end",
        ),
        ShardFault::Foreign { difference } => Spoken::new(
            format!(
                "shard {name} is of another run: {}",
                text::shown(difference, MAX_SHOWN_CHARS)
            ),
            "Start every shard from the same checkout with the same --shard i/N, --start-at and --target",
        ),
        ShardFault::Unsound { problem } => Spoken::new(
            format!(
                "shard {name} can't be right: {}",
                text::shown(problem, MAX_SHOWN_CHARS)
            ),
            "Fetch its file again from the machine that wrote it, or run all shards again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_bench_says_what_to_do_and_what_it_said() {
        let spoken = invalid(&InvalidReason::BenchFailed {
            message: "bench `cache` failed\n<b>panicked</b>".into(),
        });
        assert_eq!(spoken.what, "a bench failed");
        assert!(spoken.next.contains("`cargo bench`"), "{}", spoken.next);
        assert!(spoken.detail.contains("panicked"), "{}", spoken.detail);
    }

    #[test]
    fn a_shard_is_named_as_it_was_started() {
        let check = |fault: ShardFault, expected: &str| {
            let spoken = invalid(&InvalidReason::Shard {
                index: 1,
                of: 3,
                fault,
            });
            assert_eq!(spoken.what.replace('\u{202f}', " "), expected);
            assert!(!spoken.next.is_empty());
        };
        check(ShardFault::Missing, "shard 1/3 is missing");
        check(ShardFault::Twice, "shard 1/3 is there twice");
        let ended_ns = 1_500_000_000;
        check(
            ShardFault::Partial { ended_ns },
            "shard 1/3 was stopped after 1.50 s",
        );
        let hostile = "it began\u{1b}[2J later".to_owned();
        check(
            ShardFault::Foreign {
                difference: hostile,
            },
            "shard 1/3 is of another run: it began later",
        );
    }

    #[test]
    fn an_allowance_is_not_rounded_away() {
        let spoken = invalid(&InvalidReason::Dropped {
            load: "reads".into(),
            dropped: 15,
            offered: 18_000,
            allowed: 0.0004,
        });
        let what = spoken.what.replace('\u{202f}', " ");
        assert!(what.ends_with("(0.0833 %; 0.04 % allowed)"), "{what}");
    }
}
