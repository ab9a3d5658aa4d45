//! Small values that the tests of this module start from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::job::{Secrets, Shard, WorkerJob};
use crate::harness::model::{ArrivalModel, LoadMeasurement, RequestSeries, hexadecimal};
use crate::harness::scenario::{
    Arrivals, FilePlan, FlowPlan, HttpPlan, LoadPlan, PhasePlan, RequestPlan, Stage,
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

/// A file of a scenario that was checked just now.
pub(super) fn file(folder: &Path, name: &str, contents: &[u8]) -> FilePlan {
    let path = folder.join(name);
    std::fs::write(&path, contents).expect("the folder can be written to");
    FilePlan {
        path,
        sha256: hexadecimal(&Sha256::digest(contents)),
    }
}
