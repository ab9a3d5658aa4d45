//! Runs made by hand.

use jiff::{SignedDuration, Timestamp};
use plimsoll::harness::model::*;

/// A run with little in it; the higher its number, the later it started.
pub(crate) fn light_run(number: u64) -> Run {
    Run {
        schema: RUN_FORMAT.into(),
        id: numbered_id(number),
        scenario: "mixed".into(),
        session: "sitting".into(),
        arm: Some(Arm::Head),
        pair: None,
        started_at: Timestamp::UNIX_EPOCH
            + SignedDuration::new(
                1_790_000_000 + i64::try_from(number).unwrap_or_default() * 60,
                123_456_789,
            ),
        duration_ns: 35_000_000_001,
        revision: Some("1a2b3c4".into()),
        scenario_file: None,
        plimsoll_version: "0.1.0".into(),
        fingerprint: Fingerprint {
            cpu_model: "AMD EPYC".into(),
            logical_cpus: 2,
            memory_class_gib: 24,
            virtualisation: "kvm".into(),
            os: "linux x86_64".into(),
            kernel: "6.1".into(),
            toolchain: "rustc 1.95.0".into(),
            profile: "release".into(),
            measurement_version: MEASUREMENT_VERSION,
            scenario_hash: "5f2c".into(),
        },
        invalid: Vec::new(),
        partial: false,
        aborted: None,
        warnings: Vec::new(),
        metrics: vec![Metric::single(
            "load.reads.rate",
            Unit::PerSecond,
            Direction::Higher,
            (500.0 + number as f64) / 3.0,
            1000,
        )],
        measurement: Measurement::default(),
    }
}

fn numbered_id(number: u64) -> RunId {
    let mut bytes = [0_u8; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    RunId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
