//! Detecting what must be equal before two runs may be compared.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use sysinfo::System;

use crate::harness::engine::secrets::STORE_VARIABLE;
use crate::harness::model::{Fingerprint, MEASUREMENT_VERSION};
use crate::harness::scenario::{CommandPlan, Plan};

/// What Plimsoll did not build.
const EXTERNAL: &str = "external";
const UNKNOWN: &str = "unknown";

/// The fingerprint of runs of `plan` made here and now. Starts `rustc -V` where the plan builds
/// with cargo.
pub fn of_plan(plan: &Plan) -> Fingerprint {
    fingerprint(&plan.hash, toolchain(plan), profile(plan))
}

/// The fingerprint of this machine with what is known of the scenario and its build.
fn fingerprint(scenario_hash: &str, toolchain: String, profile: String) -> Fingerprint {
    let logical_cpus = available_parallelism().map_or(1, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Fingerprint {
        cpu_model: cpu_model(&cpuinfo).unwrap_or_else(|| UNKNOWN.to_owned()),
        logical_cpus: u32::try_from(logical_cpus).unwrap_or(u32::MAX),
        memory_class_gib: memory_class_gib(memory_bytes()),
        virtualisation: virtualisation(&Traces::look(&cpuinfo)),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        kernel: System::kernel_version().unwrap_or_else(|_| UNKNOWN.to_owned()),
        toolchain,
        profile,
        measurement_version: MEASUREMENT_VERSION,
        scenario_hash: scenario_hash.to_owned(),
    }
}

/// What builds the subject: the version of the rustc that the plan's folder uses where one of its
/// builds is cargo's or it has benches, else `external`.
fn toolchain(plan: &Plan) -> String {
    if plan.benches.is_empty() && cargo_builds(plan).next().is_none() {
        return EXTERNAL.to_owned();
    }
    // In the plan's folder, because a `rust-toolchain.toml` there decides.
    let rustc = Command::new("rustc")
        .arg("-V")
        .current_dir(&plan.root)
        .env_remove(STORE_VARIABLE)
        .stdin(Stdio::null())
        .output();
    match rustc {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim().chars().take(200).collect()
        }
        _ => UNKNOWN.to_owned(),
    }
}

/// The profiles with which cargo builds the plan's processes and benches, such as `release`, or
/// `external` where it builds none.
fn profile(plan: &Plan) -> String {
    let mut profiles: Vec<String> = cargo_builds(plan)
        .map(|words| build_profile(&words))
        .collect();
    if !plan.benches.is_empty() {
        profiles.push("bench".to_owned());
    }
    profiles.sort();
    profiles.dedup();
    if profiles.is_empty() {
        EXTERNAL.to_owned()
    } else {
        profiles.join("+")
    }
}

/// The words of each build command that is cargo's.
fn cargo_builds(plan: &Plan) -> impl Iterator<Item = Vec<String>> {
    let commands = plan.processes.iter().filter_map(|one| one.build.as_ref());
    commands.map(literal_words).filter(|words| {
        let program = words.first().map(Path::new);
        program
            .and_then(Path::file_name)
            .is_some_and(|name| name == "cargo")
    })
}

fn literal_words(command: &CommandPlan) -> Vec<String> {
    let words = command.words.iter();
    words
        .map(|word| word.as_literal().unwrap_or_default().to_owned())
        .collect()
}

fn build_profile(words: &[String]) -> String {
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--release" | "-r" => return "release".to_owned(),
            "--profile" => return words.next().unwrap_or_default().to_owned(),
            "--" => break,
            _ => {
                if let Some(profile) = word.strip_prefix("--profile=") {
                    return profile.to_owned();
                }
            }
        }
    }
    "dev".to_owned()
}

/// The first processor's model: `model name` on x86, `Processor`, `cpu model` or the implementer
/// and part numbers elsewhere.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    };
    field("model name")
        .or_else(|| field("cpu model"))
        .or_else(|| field("Processor"))
        .or_else(|| {
            let (implementer, part) = (field("CPU implementer")?, field("CPU part")?);
            Some(format!("{implementer} {part}"))
        })
}

/// The memory that this process may use: the machine's, or less where its control group says so; 0
/// where it can't be seen.
fn memory_bytes() -> u64 {
    let Ok(mut system) = System::new() else {
        return 0;
    };
    system.refresh_memory();
    let machine = system.total_memory();
    let group = system.cgroup_limits().map(|limits| limits.total_memory);
    group
        .filter(|limit| *limit > 0)
        .map_or(machine, |limit| machine.min(limit))
}

/// The smallest power of two, or one and a half of one, that holds `bytes`, in GiB.
fn memory_class_gib(bytes: u64) -> u32 {
    let gib = bytes as f64 / f64::from(1 << 30);
    let mut class = 1_u32;
    loop {
        if gib <= f64::from(class) {
            return class;
        }
        if gib <= f64::from(class) * 1.5 && class > 1 {
            return class / 2 * 3;
        }
        match class.checked_mul(2) {
            Some(next) => class = next,
            None => return class,
        }
    }
}

/// What a hypervisor or a container leaves to be seen. Only files are looked at: a tool such as
/// systemd-detect-virt, installed on one of two equal machines, would tell them apart.
#[derive(Debug, Default)]
pub(super) struct Traces {
    hypervisor_flag: bool,
    hypervisor_type: String,
    vendor: String,
    product: String,
    docker: bool,
    podman: bool,
    groups: String,
}

impl Traces {
    pub(super) fn look(cpuinfo: &str) -> Self {
        let read = |path: &str| {
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            hypervisor_flag: cpuinfo
                .lines()
                .find(|line| line.starts_with("flags"))
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            hypervisor_type: read("/sys/hypervisor/type"),
            vendor: read("/sys/class/dmi/id/sys_vendor"),
            product: read("/sys/class/dmi/id/product_name"),
            docker: Path::new("/.dockerenv").exists(),
            podman: Path::new("/run/.containerenv").exists(),
            groups: read("/proc/self/cgroup"),
        }
    }
}

/// `none`, a hypervisor, a container, or both: `kvm+docker`.
pub(super) fn virtualisation(traces: &Traces) -> String {
    /// Texts in the DMI vendor or product, and what they stand for.
    const MACHINES: [(&str, &str); 9] = [
        ("KVM", "kvm"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VirtualBox", "virtualbox"),
        ("Xen", "xen"),
        ("Virtual Machine", "hyper-v"),
        ("Amazon EC2", "amazon"),
        ("Google", "google"),
        ("Parallels", "parallels"),
    ];
    let dmi = format!("{} {}", traces.vendor, traces.product);
    let known = MACHINES.iter().find(|(text, _)| dmi.contains(text));
    let machine = match known {
        // A metal instance of a cloud has its vendor and no hypervisor.
        Some((_, "amazon" | "google")) if !traces.hypervisor_flag => None,
        Some((_, name)) => Some((*name).to_owned()),
        None if !traces.hypervisor_type.is_empty() => Some(traces.hypervisor_type.clone()),
        None if traces.hypervisor_flag => Some("vm".to_owned()),
        None => None,
    };
    let container = if traces.groups.contains("kubepods") {
        Some("kubernetes")
    } else if traces.podman {
        Some("podman")
    } else if traces.docker || traces.groups.contains("/docker") {
        Some("docker")
    } else if traces.groups.contains("/lxc") {
        Some("lxc")
    } else {
        None
    };
    match (machine, container) {
        (None, None) => "none".to_owned(),
        (Some(machine), None) => machine,
        (None, Some(container)) => container.to_owned(),
        (Some(machine), Some(container)) => format!("{machine}+{container}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_in_classes() {
        let check = |gib: f64, class: u32| {
            assert_eq!(
                memory_class_gib((gib * f64::from(1 << 30)) as u64),
                class,
                "{gib}"
            );
        };
        check(0.0, 1);
        check(0.9, 1);
        check(1.4, 2);
        check(1.9, 2);
        check(2.5, 3);
        check(3.8, 4);
        check(5.0, 6);
        check(7.7, 8);
        check(15.6, 16);
        check(16.0, 16);
        check(16.1, 24);
        check(23.4, 24);
        check(31.3, 32);
        check(47.0, 48);
        check(1.0e12, 1 << 31);
    }

    #[test]
    fn the_model_is_found_on_several_architectures() {
        let check = |text: &str, model: Option<&str>| {
            assert_eq!(cpu_model(text).as_deref(), model, "{text}");
        };
        check(
            "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n",
            Some("AMD EPYC"),
        );
        check(
            "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0c\n",
            Some("0x41 0xd0c"),
        );
        check("cpu model : MIPS 24Kc", Some("MIPS 24Kc"));
        check("model name :\n", None);
        check("", None);
    }

    #[test]
    fn virtualisation_is_named_by_what_it_leaves() {
        let check = |traces: Traces, name: &str| assert_eq!(virtualisation(&traces), name);
        let vm = || Traces {
            hypervisor_flag: true,
            ..Traces::default()
        };
        check(Traces::default(), "none");
        check(vm(), "vm");
        check(
            Traces {
                vendor: "QEMU".into(),
                ..vm()
            },
            "qemu",
        );
        check(
            Traces {
                product: "KVM Virtual Machine".into(),
                ..vm()
            },
            "kvm",
        );
        check(
            Traces {
                vendor: "Microsoft Corporation".into(),
                product: "Virtual Machine".into(),
                ..vm()
            },
            "hyper-v",
        );
        check(
            Traces {
                vendor: "Amazon EC2".into(),
                product: "m5.large".into(),
                ..vm()
            },
            "amazon",
        );
        check(
            Traces {
                vendor: "Amazon EC2".into(),
                ..Traces::default()
            },
            "none",
        );
        check(
            Traces {
                hypervisor_type: "xen".into(),
                ..Traces::default()
            },
            "xen",
        );
        check(
            Traces {
                docker: true,
                ..vm()
            },
            "vm+docker",
        );
        check(
            Traces {
                docker: true,
                groups: "0::/kubepods/pod1".into(),
                ..Traces::default()
            },
            "kubernetes",
        );
        check(
            Traces {
                groups: "9:name=systemd:/docker/0a".into(),
                ..Traces::default()
            },
            "docker",
        );
        check(
            Traces {
                podman: true,
                ..Traces::default()
            },
            "podman",
        );
    }

    #[test]
    fn a_profile_is_read_from_the_command() {
        let check = |command: &str, profile: &str| {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            assert_eq!(build_profile(&words), profile, "{command}");
        };
        check("cargo build --release --bin refservice", "release");
        check("cargo build -r", "release");
        check("cargo build --profile bench", "bench");
        check("cargo build --profile=lto", "lto");
        check("cargo build", "dev");
        check("cargo run -- --release", "dev");
    }

    #[test]
    fn this_machine_has_a_fingerprint_that_stays() {
        let look = || fingerprint("aa", "rustc".into(), "release".into());
        let first = look();
        assert!(
            first.logical_cpus >= 1 && first.memory_class_gib >= 1,
            "{first:?}"
        );
        assert!(
            !first.kernel.is_empty() && !first.cpu_model.is_empty(),
            "{first:?}"
        );
        assert_eq!(first, look());
    }
}
