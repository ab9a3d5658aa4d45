//! Small values that the tests of this module start from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::job::{Secrets, Shard, WorkerJob};
use crate::harness::model::{ArrivalModel, LoadMeasurement, RequestSeries};
use crate::harness::scenario::{
    Arrivals, FlowPlan, HttpPlan, LoadPlan, PhasePlan, RequestPlan, Stage,
};

/// One user that asks for `/` again and again, for a second.
pub(super) fn job(target: &str) -> WorkerJob {
    WorkerJob {
        load: LoadPlan {
            name: "reads".into(),
            flow: "read".into(),
            arrivals: Arrivals::Closed {
                stages: vec![Stage::constant(1_000_000_000, 1.0)],
            },
            seed: 1,
            allowed_dropped: 0.001,
        },
        flow: FlowPlan::new(vec![request().into()]),
        feeds: BTreeMap::new(),
        target: target.into(),
        http: HttpPlan::default(),
        setup: BTreeMap::new(),
        turns: BTreeMap::new(),
        aborts: vec![],
        phases: PhasePlan {
            warmup_ns: 0,
            measure_ns: 1_000_000_000,
            cooldown_ns: 0,
            drain_ns: 1_000_000_000,
        },
        secrets: Secrets::default(),
        start_at_ns: 0,
        late_ns: 1_000_000,
        shard: Shard::WHOLE,
        result: PathBuf::from("load.json"),
    }
}

/// What the job above asks for.
pub(super) fn request() -> RequestPlan {
    RequestPlan {
        timeout_ns: 1_000_000_000,
        ..RequestPlan::get("/")
    }
}

/// A measurement of the job above in which nothing has happened yet.
pub(super) fn measurement() -> LoadMeasurement {
    LoadMeasurement {
        requests: vec![RequestSeries::new("GET /")],
        ..LoadMeasurement::new("reads", "read", ArrivalModel::Closed)
    }
}
