//! What the unit tests of this room measure with: an engine that plays a script.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::harness::engine::{Engine, Executed, Progress};
use crate::harness::model::{Arm, Fingerprint, InvalidReason, Measurement, Metric};
use crate::harness::scenario::{self, Plan};

use super::live::Live;
use super::output::Output;
use super::pairs::{Side, Sides};
use super::session::Labels;

/// An engine that does what its script says, and logs what it was told to do. Clones play one script.
#[derive(Clone)]
pub(super) struct Scripted {
    next: Arc<Mutex<dyn FnMut() -> Option<Executed> + Send>>,
    pub(super) log: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the script is over")]
pub(super) struct Over;

impl Scripted {
    /// Each run is what `next` gives; after `None` comes an error.
    pub(super) fn new(next: impl FnMut() -> Option<Executed> + Send + 'static) -> Self {
        Self {
            next: Arc::new(Mutex::new(next)),
            log: Arc::default(),
        }
    }
}

#[expect(
    clippy::unwrap_used,
    reason = "a poisoned lock is that of a failed test"
)]
impl Engine for Scripted {
    type Error = Over;

    async fn build(&mut self, _: &Plan, _: &(dyn Fn(Progress) + Send + Sync)) -> Result<(), Over> {
        self.log.lock().unwrap().push("build".into());
        Ok(())
    }

    async fn run(
        &mut self,
        _: &Plan,
        _: watch::Receiver<bool>,
        _: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Executed, Over> {
        self.log.lock().unwrap().push("run".into());
        (self.next.lock().unwrap())().ok_or(Over)
    }
}

/// What one run gave.
pub(super) fn executed(metrics: Vec<Metric>, invalid: Vec<InvalidReason>) -> Executed {
    Executed {
        measurement: Measurement::default(),
        metrics,
        invalid,
        partial: false,
        aborted: None,
        warnings: Vec::new(),
        duration_ns: 1,
    }
}

/// That the target died.
pub(super) fn died() -> InvalidReason {
    InvalidReason::ProcessExited {
        process: "web".into(),
        status: "signal 9".into(),
        at_ns: 5,
        output: String::new(),
    }
}

/// A plan of one load whose p95 has a margin.
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
pub(super) fn plan() -> Plan {
    let text = "schema = 1\nname = \"s\"\nurl = \"http://127.0.0.1:1\"\n\
                [[flow.f.step]]\nget = \"/\"\n[load.a]\nclosed = { users = 1 }\n\
                [[gate]]\nmetric = \"load.a.p95\"\nregress = \"5%\"\n";
    let scenario = scenario::parse(text, Path::new("s.toml")).unwrap();
    scenario.plans[0].clone()
}

/// What runs of an arm of the scenario say of themselves.
pub(super) fn labels(arm: Arm, scenario_hash: &str) -> Labels {
    Labels {
        session: "today".into(),
        arm: Some(arm),
        pair: None,
        revision: Some("1a2b3c4".into()),
        fingerprint: fingerprint(scenario_hash),
    }
}

/// Both arms of the plan, played by one engine.
pub(super) fn sides(engine: &Scripted) -> Sides<Scripted> {
    let plan = plan();
    let side = |arm| Side {
        engine: engine.clone(),
        plan: plan.clone(),
        labels: labels(arm, &plan.hash),
    };
    Sides {
        base: side(Arm::Base),
        head: side(Arm::Head),
    }
}

/// A machine that is known.
pub(super) fn fingerprint(scenario_hash: &str) -> Fingerprint {
    Fingerprint {
        cpu_model: "any".into(),
        scenario_hash: scenario_hash.into(),
        ..Fingerprint::unknown()
    }
}

/// Progress that nobody sees.
pub(super) fn unseen() -> Live {
    Live::new(Output::SILENT)
}
