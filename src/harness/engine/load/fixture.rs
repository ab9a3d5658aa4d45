//! Small values that the tests of this module start from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::job::{Secrets, Shard, WorkerJob};
use crate::harness::model::{
    ArrivalModel, Counts, GeneratorHealth, LatencyHistogram, LoadMeasurement, RequestSeries,
};
use crate::harness::scenario::{
    Arrivals, CheckPlan, FlowPlan, LoadPlan, PhasePlan, Stage, StepPlan, Template,
};

/// One user that asks for `/` again and again, for a second.
pub(super) fn job(target: &str) -> WorkerJob {
    WorkerJob {
        load: LoadPlan {
            name: "reads".into(),
            flow: "read".into(),
            arrivals: Arrivals::Closed {
                stages: vec![Stage {
                    duration_ns: 1_000_000_000,
                    from: 1.0,
                    to: 1.0,
                }],
            },
            seed: 1,
            allowed_dropped: 0.001,
        },
        flow: FlowPlan {
            steps: vec![StepPlan {
                name: "GET /".into(),
                method: "GET".into(),
                path: Template::literal("/"),
                headers: vec![],
                body: None,
                timeout_ns: 1_000_000_000,
                check: CheckPlan {
                    status: vec![(200, 399)],
                    body_contains: None,
                    json: vec![],
                    headers: vec![],
                },
                extract: BTreeMap::new(),
                think: None,
            }],
        },
        feeds: BTreeMap::new(),
        target: target.into(),
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

/// A measurement of the job above in which nothing has happened yet.
pub(super) fn measurement() -> LoadMeasurement {
    LoadMeasurement {
        name: "reads".into(),
        flow: "read".into(),
        model: ArrivalModel::Closed,
        counts: Counts::default(),
        windows: vec![],
        iteration: LatencyHistogram::new(),
        requests: vec![RequestSeries {
            name: "GET /".into(),
            response: BTreeMap::new(),
            service: BTreeMap::new(),
            errors: BTreeMap::new(),
            statuses: BTreeMap::new(),
            bytes_sent: 0,
            bytes_received: 0,
            windows: vec![],
        }],
        generator: GeneratorHealth::default(),
    }
}
