//! What a calibration found, `plimsoll.calibration/1`: the noise of the metrics that gate, what a gate can
//! find in it, and how often it cries wolf.

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use crate::harness::compare::{ArmSize, Calibrated};
use crate::harness::gate::FalseAlarms;
use crate::harness::model::{Unit, same_state};

use super::format;

/// The format of a serialised calibration.
pub const CALIBRATION_FORMAT: &str = "plimsoll.calibration/1";
/// The numbers of pairs at which margins are stated.
pub const STATED_PAIRS: [usize; 3] = [5, 10, 20];
/// Sessions of one sitting after another know nothing of what differs between days.
const A_DAY_APART: SignedDuration = SignedDuration::from_hours(12);
/// So many gates without a red one show that at most 5 % are red.
const BLOCKS_FOR_FIVE_PERCENT: usize = 59;

/// The noise of a scenario on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationReport {
    /// [`CALIBRATION_FORMAT`].
    pub schema: String,
    /// The scenario's id: `name` or `name@variant`.
    pub scenario: String,
    /// The machine part of the fingerprint, which is also the folder of its baselines.
    pub machine: String,
    /// The fingerprint's id: the noise counts only under it.
    pub fingerprint: String,
    /// The baseline file in which it is stored.
    pub file: String,
    /// All sessions that it rests on, oldest first.
    pub sessions: Vec<CalibratedSession>,
    /// Pairs of this call that were dropped because one of their runs is invalid.
    pub dropped_pairs: u32,
    /// What the gates of this scenario look like.
    pub gate: GateSize,
    /// Every metric with a margin, sorted by name.
    pub metrics: Vec<CalibratedMetric>,
    /// How many metrics without a margin are stored as well.
    pub other_metrics: u64,
    /// The whole gate on these runs.
    pub false_alarms: Alarms,
    /// What the reader should know besides, as sentences without their full stops.
    pub notes: Vec<String>,
}

/// A sitting of A/A runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalibratedSession {
    /// The sitting.
    pub session: String,
    /// What was measured.
    pub revision: Option<String>,
    /// When its first run started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// Its valid pairs.
    pub pairs: u32,
    /// Whether this call measured it.
    pub is_new: bool,
}

impl CalibratedSession {
    fn state(&self) -> (&str, Option<&str>) {
        (&self.session, self.revision.as_deref())
    }
}

/// The size of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateSize {
    /// Pairs of `gate --against` where none are asked for.
    pub pairs: usize,
    /// Runs of the baseline that `gate` compares with.
    pub base_runs: usize,
    /// Sessions of that baseline.
    pub base_sessions: usize,
    /// Runs of a `gate` against it.
    pub head_runs: usize,
}

/// The noise of one metric. Effects and margins are fractions: .05 is 5 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibratedMetric {
    /// The path.
    pub name: String,
    /// The unit of its values.
    pub unit: Unit,
    /// The median of all its values in this call, where there are some.
    pub median: Option<f64>,
    /// The margin that the scenario gives it.
    pub margin: f64,
    /// s₀, the standard deviation of a paired difference of logarithms.
    pub s0: Option<f64>,
    /// The differences behind it: pairs of sessions that have five, for a bench invocations.
    pub pairs: usize,
    /// τ, the standard deviation between sessions, of logarithms.
    pub tau: Option<f64>,
    /// The sessions behind it.
    pub tau_sessions: usize,
    /// The minimal detectable effect of a gate against a revision.
    pub mde_paired: Option<f64>,
    /// The minimal detectable effect of a gate against the baseline.
    pub mde_stored: Option<f64>,
    /// The fewest pairs that hold the margin; `null` where no reasonable number does, or `s0` is not known.
    pub pairs_needed: Option<usize>,
    /// The smallest margins that this machine holds.
    pub holds: Vec<HeldMargin>,
    /// What to do where the margin can't be held, or why nothing is known.
    pub advice: Option<String>,
}

/// How many values of one metric gates compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricSize {
    /// Of the baseline.
    pub base: ArmSize,
    /// Of a gate against it.
    pub head: ArmSize,
    /// For a bench the invocations of an arm, which are spread over the pairs; else 1.
    pub invocations: usize,
}

/// The smallest margin that some pairs hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldMargin {
    /// So many.
    pub pairs: usize,
    /// As a fraction.
    pub margin: f64,
}

/// What the gate said of runs of one build, where every red is a false alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alarms {
    /// Pairs of one gate.
    pub pairs: usize,
    /// Gates: blocks of so many pairs that share no run.
    pub blocks: usize,
    /// Those that found a regression.
    pub red: usize,
    /// Those that were inconclusive.
    pub inconclusive: usize,
    /// Those that failed for another reason, such as a limit that is broken.
    pub limits_broken: usize,
    /// The one-sided 95 % bound of Clopper and Pearson on the rate of red gates.
    pub upper_bound: f64,
    /// Gates over the same pairs with labels that chance gave.
    pub relabelled: usize,
    /// Those of them that found a regression. They share their runs, so that no bound follows.
    pub relabelled_red: usize,
    /// Whether these are all relabelings, rather than a sample.
    pub relabelled_is_exact: bool,
}

impl MetricSize {
    /// The differences that so many pairs give: one each, for a bench as many as keep its invocations.
    fn differences(self, pairs: usize) -> usize {
        pairs * self.invocations.div_ceil(pairs)
    }
}

impl CalibratedMetric {
    /// What follows from the noise of a metric with this margin for gates of so many pairs.
    pub fn new(
        name: String,
        (unit, median): (Unit, Option<f64>),
        margin: f64,
        found: Option<&Calibrated>,
        (pairs, size): (usize, MetricSize),
    ) -> Self {
        let nothing = Calibrated::default();
        let known = found.unwrap_or(&nothing);
        let differences = |pairs| size.differences(pairs);
        let held = |pairs| known.margin_held(differences(pairs));
        let mut metric = Self {
            name,
            unit,
            median,
            margin,
            s0: known.s0,
            pairs: known.pairs,
            tau: known.between.map(|between| between.tau),
            tau_sessions: known.between.map_or(0, |between| between.sessions),
            mde_paired: known.mde_paired(differences(pairs)),
            mde_stored: known.mde_stored(size.base, size.head),
            pairs_needed: known.pairs_needed(margin, differences),
            holds: STATED_PAIRS
                .into_iter()
                .filter_map(|pairs| {
                    let margin = held(pairs)?;
                    Some(HeldMargin { pairs, margin })
                })
                .collect(),
            advice: None,
        };
        metric.advice = metric.advise(found.is_some(), pairs, held(pairs));
        metric
    }

    fn advise(&self, has_ratio: bool, pairs: usize, held: Option<f64>) -> Option<String> {
        let margin = format::margin(self.margin);
        if !has_ratio {
            return Some(
                "it has no s₀: it is no ratio, or was not measurable in any valid pair; the bounds of an error rate follow from \
                 how many requests were counted"
                    .to_owned(),
            );
        }
        let (Some(mde), Some(held)) = (self.mde_paired, held) else {
            return Some(match self.pairs {
                0 => "too few for s₀: five valid pairs in a session are needed".to_owned(),
                _ => "no two pairs differ, so there is no noise to speak of".to_owned(),
            });
        };
        if mde <= self.margin {
            return None;
        }
        let widened = format::margin(held);
        let more = match self.pairs_needed {
            Some(needed) => format!("gate with --pairs {needed}, measure for longer"),
            None => "measure for longer".to_owned(),
        };
        Some(format!(
            "{} can't hold {margin}: they find a change of {}, four times out of five; {more}, or widen the margin to \
             {widened}",
            format::counted(pairs as u64, "pair"),
            format::margin(mde)
        ))
    }
}

impl CalibrationReport {
    /// What it rests on, in a sentence without its full stop.
    pub fn headline(&self) -> String {
        let sum = |of: fn(&CalibratedSession) -> bool| {
            let sessions = || self.sessions.iter().filter(|session| of(session));
            let pairs = sessions().map(|session| u64::from(session.pairs)).sum();
            format!(
                "{} in {}",
                format::counted(pairs, "pair"),
                format::counted(sessions().count() as u64, "session")
            )
        };
        let mut text = format!("{} of one build", sum(|session| session.is_new));
        if self.dropped_pairs > 0 {
            text.push_str(&format!(
                ", {} dropped as invalid",
                format::counted(self.dropped_pairs.into(), "pair")
            ));
        }
        if self.sessions.iter().any(|session| !session.is_new) {
            text.push_str(&format!("; {} with those before", sum(|_| true)));
        }
        text
    }
}

impl From<FalseAlarms> for Alarms {
    fn from(found: FalseAlarms) -> Self {
        Self {
            pairs: found.pairs,
            blocks: found.blocks,
            red: found.red,
            inconclusive: found.inconclusive,
            limits_broken: found.limits_broken,
            upper_bound: found.upper,
            relabelled: found.relabelled.judged,
            relabelled_red: found.relabelled.red,
            relabelled_is_exact: found.relabelled.is_exact,
        }
    }
}

impl Alarms {
    /// The rate in a sentence without its full stop, and what it leaves open, if so.
    pub fn spoken(&self) -> (String, Option<String>) {
        let pairs = format::counted(self.pairs as u64, "pair");
        if self.blocks == 0 {
            let text = format!(
                "Too few to say: a gate takes {pairs}, and no session has as many that are valid"
            );
            return (text, None);
        }
        let blocks = format::counted(self.blocks as u64, "gate");
        let text = format!(
            "{} of {blocks} of {pairs} red: a rate of at most {} (one-sided 95 % bound of Clopper and Pearson)",
            self.red,
            format::margin(self.upper_bound)
        );
        let missing = BLOCKS_FOR_FIVE_PERCENT.saturating_sub(self.blocks);
        let open = (self.red == 0 && missing > 0).then(|| {
            format!(
                "{BLOCKS_FOR_FIVE_PERCENT} gates without a red one would show at most 5 %: {} more",
                format::counted((missing * self.pairs) as u64, "pair")
            )
        });
        (text, open)
    }

    /// What relabelings say, in a sentence without its full stop; nothing where there are none.
    pub fn relabelled_spoken(&self) -> Option<String> {
        (self.relabelled > 0).then(|| {
            format!(
                "The same pairs with base and head exchanged at will: {} of {} red, {}. These share their runs, so no bound \
                 follows from them",
                format::count(self.relabelled_red as u64),
                match self.relabelled_is_exact {
                    true => format!("all {} relabelings", format::count(self.relabelled as u64)),
                    false => format!("{} sampled relabelings", format::count(self.relabelled as u64)),
                },
                format::share(self.relabelled_red as u64, self.relabelled as u64)
            )
        })
    }
}

/// What is to be known of the sessions behind τ, which are those of the newest revision.
pub fn sessions_note(sessions: &[CalibratedSession]) -> Option<String> {
    let newest = sessions.last()?.state();
    let behind: Vec<&CalibratedSession> = sessions
        .iter()
        .filter(|session| same_state(session.state(), newest))
        .collect();
    let missing = 3usize.saturating_sub(behind.len());
    if missing > 0 {
        return Some(format!(
            "the spread between sessions, τ, needs three sessions of one revision: {} more, best on other days; calibrating \
             again adds to these",
            missing
        ));
    }
    let starts = || behind.iter().map(|session| session.started_at);
    let apart = starts().max()?.duration_since(starts().min()?);
    (apart < A_DAY_APART).then(|| {
        "the sessions behind τ were made one after the other, so that what differs between days is not in it; calibrating \
         again on another day adds to these"
            .to_owned()
    })
}

/// The JSON Schema of a [`CalibrationReport`], as committed in `docs/schema/calibration.schema.json`.
pub fn calibration_schema() -> Schema {
    schema_for!(CalibrationReport)
}
