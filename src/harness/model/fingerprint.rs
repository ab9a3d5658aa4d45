//! What must be equal before two runs may be compared.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hexadecimal;

/// The machine, the toolchain and the measured part of the scenario. A stored baseline means
/// something only under the same fingerprint: half of all steps between consecutive runs on one
/// CI runner label exceed 10 %.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// The processor's model name.
    pub cpu_model: String,
    /// Logical CPUs that this process may use.
    pub logical_cpus: u32,
    /// Memory in GiB, rounded to the next power of two or half of one, so that a few reserved
    /// megabytes do not make another machine.
    pub memory_class_gib: u32,
    /// The hypervisor or container, or `none`.
    pub virtualisation: String,
    /// Operating system and architecture, such as `linux x86_64`.
    pub os: String,
    /// The kernel release.
    pub kernel: String,
    /// What built the subject, such as `rustc 1.95.0`; `external` where Plimsoll didn't build it.
    pub toolchain: String,
    /// The build profile, such as `release`; `external` where Plimsoll didn't build it.
    pub profile: String,
    /// Plimsoll's [`MEASUREMENT_VERSION`](super::MEASUREMENT_VERSION).
    pub measurement_version: u32,
    /// SHA-256 of the measured part of the scenario, as hexadecimal text.
    pub scenario_hash: String,
}

/// A field in which two fingerprints differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FingerprintDifference {
    /// The field's name.
    pub field: String,
    /// Its value in the base.
    pub base: String,
    /// Its value in the head.
    pub head: String,
}

/// What stands in a text field where nothing is known.
const UNKNOWN: &str = "unknown";

impl Fingerprint {
    /// The conditions under which another tool measured: nothing is known of them, so they differ
    /// from every condition that is known and can't be told from each other.
    pub fn unknown() -> Self {
        Self {
            cpu_model: UNKNOWN.to_owned(),
            logical_cpus: 0,
            memory_class_gib: 0,
            virtualisation: UNKNOWN.to_owned(),
            os: UNKNOWN.to_owned(),
            kernel: UNKNOWN.to_owned(),
            toolchain: UNKNOWN.to_owned(),
            profile: UNKNOWN.to_owned(),
            measurement_version: 0,
            scenario_hash: UNKNOWN.to_owned(),
        }
    }

    /// The conditions of a run that several machines made together: texts that differ stand side by
    /// side, those of the processor with the number of machines that have it, and the machines' processors and
    /// memory add up, so that such a run is never taken for one of a single machine. That of one is its
    /// own; `None` for none.
    pub fn together<'a>(machines: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let machines: Vec<&Self> = machines.into_iter().collect();
        let first = machines.first()?;
        if machines.len() == 1 {
            return Some((*first).clone());
        }
        let mut models: BTreeMap<&str, u32> = BTreeMap::new();
        for machine in &machines {
            *models.entry(&machine.cpu_model).or_default() += 1;
        }
        let models = models.into_iter();
        let models: Vec<String> = models
            .map(|(model, of)| format!("{of} × {model}"))
            .collect();
        let texts = |of: fn(&Self) -> &String| {
            let different: BTreeSet<&str> = machines.iter().map(|it| of(it).as_str()).collect();
            Vec::from_iter(different).join(" + ")
        };
        let sum = |of: fn(&Self) -> u32| {
            machines
                .iter()
                .map(|it| of(it))
                .fold(0, u32::saturating_add)
        };
        Some(Self {
            cpu_model: models.join(" + "),
            logical_cpus: sum(|it| it.logical_cpus),
            memory_class_gib: sum(|it| it.memory_class_gib),
            virtualisation: texts(|it| &it.virtualisation),
            os: texts(|it| &it.os),
            kernel: texts(|it| &it.kernel),
            toolchain: texts(|it| &it.toolchain),
            profile: texts(|it| &it.profile),
            measurement_version: first.measurement_version,
            scenario_hash: first.scenario_hash.clone(),
        })
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::unknown()
    }

    /// Sixteen hexadecimal digits for the machine part (all but the scenario), used as the folder
    /// of a baseline: a machine's baselines then lie side by side, whatever the scenario.
    pub fn machine_id(&self) -> String {
        self.digest(false)
    }

    /// Sixteen hexadecimal digits for all of it: equal exactly where two runs are comparable.
    pub fn id(&self) -> String {
        self.digest(true)
    }

    /// The fields in which `self` (the base) and `head` differ; empty where they are comparable.
    pub fn differences(&self, head: &Self) -> Vec<FingerprintDifference> {
        self.fields()
            .into_iter()
            .zip(head.fields())
            .filter(|((_, base), (_, head))| base != head)
            .map(|((field, base), (_, head))| FingerprintDifference {
                field: field.to_owned(),
                base,
                head,
            })
            .collect()
    }

    /// Every field by its name, in the order of declaration, the scenario last.
    pub fn fields(&self) -> [(&'static str, String); 10] {
        [
            ("cpu_model", self.cpu_model.clone()),
            ("logical_cpus", self.logical_cpus.to_string()),
            ("memory_class_gib", self.memory_class_gib.to_string()),
            ("virtualisation", self.virtualisation.clone()),
            ("os", self.os.clone()),
            ("kernel", self.kernel.clone()),
            ("toolchain", self.toolchain.clone()),
            ("profile", self.profile.clone()),
            ("measurement_version", self.measurement_version.to_string()),
            ("scenario_hash", self.scenario_hash.clone()),
        ]
    }

    fn digest(&self, with_scenario: bool) -> String {
        let mut hasher = Sha256::new();
        for (name, value) in self.fields() {
            if with_scenario || name != "scenario_hash" {
                // A length before each value: `ab` + `c` must not hash as `a` + `bc`.
                hasher.update((value.len() as u64).to_le_bytes());
                hasher.update(value.as_bytes());
            }
        }
        hexadecimal(&hasher.finalize()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> Fingerprint {
        Fingerprint {
            cpu_model: "cpu".into(),
            logical_cpus: 2,
            memory_class_gib: 24,
            virtualisation: "kvm".into(),
            os: "linux x86_64".into(),
            kernel: "6.1".into(),
            toolchain: "rustc 1.95.0".into(),
            profile: "release".into(),
            measurement_version: 1,
            scenario_hash: "aa".into(),
        }
    }

    #[test]
    fn another_scenario_is_the_same_machine() {
        let base = fingerprint();
        let head = Fingerprint {
            scenario_hash: "bb".into(),
            ..base.clone()
        };
        assert_eq!(base.machine_id(), head.machine_id());
        assert_ne!(base.id(), head.id());
        assert_eq!(base.differences(&head).len(), 1);
    }

    #[test]
    fn every_field_counts() {
        let base = fingerprint();
        let moved = Fingerprint {
            cpu_model: "cp".into(),
            kernel: "u6.1".into(),
            ..base.clone()
        };
        assert_ne!(base.id(), moved.id());
        assert_eq!(base.differences(&base.clone()), []);
    }

    #[test]
    fn several_machines_are_none_of_them() {
        let one = fingerprint();
        let other = Fingerprint {
            cpu_model: "another".into(),
            ..fingerprint()
        };
        assert_eq!(Fingerprint::together([]), None);
        assert_eq!(Fingerprint::together([&one]).as_ref(), Some(&one));
        let of = |machines: [&Fingerprint; 2]| Fingerprint::together(machines).map(|it| it.id());
        assert_ne!(of([&one, &one]), Some(one.id()));
        assert_eq!(of([&one, &other]), of([&other, &one]));
        let both = Fingerprint::together([&one, &other]);
        let both = both.map(|it| (it.cpu_model, it.logical_cpus, it.memory_class_gib));
        assert_eq!(both, Some(("1 × another + 1 × cpu".into(), 4, 48)));
        // Two small machines are no large one, nor are a large one and a small one three small ones.
        let large = |times: u32| Fingerprint {
            logical_cpus: 2 * times,
            memory_class_gib: 24 * times,
            ..fingerprint()
        };
        assert_ne!(of([&one, &one]), Some(large(2).id()));
        let three = Fingerprint::together([&one, &one, &one]).map(|it| it.id());
        assert_ne!(of([&large(2), &one]), three);
    }

    #[test]
    fn nothing_known_is_no_condition_that_is_known() {
        let unknown = Fingerprint::unknown();
        assert!(unknown.is_unknown() && !fingerprint().is_unknown());
        assert_eq!(unknown.differences(&Fingerprint::unknown()), []);
        assert_eq!(unknown.differences(&fingerprint()).len(), 10);
    }
}
