//! What makes this machine noisy, and what to do about it.
//!
//! Looking ([`Facts::look`]) and judging ([`judge`]) are apart: a fact that can't be seen here is
//! `None` and nothing is said of it.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use sysinfo::System;

use super::fingerprint::{Traces, virtualisation};

/// How long the processors are watched.
const WATCH: Duration = Duration::from_secs(1);
/// Fewer processors than this are shared by the generator and what it measures.
const FEW_CPUS: usize = 4;
/// More of the processors busy before we begin is a neighbour.
const BUSY_SHARE: f64 = 0.10;
/// More of the time taken by the hypervisor is felt in every tail.
const STEAL_SHARE: f64 = 0.01;
/// A load has a connection a user, and its subject another.
const FEW_FILES: u64 = 4096;
/// Less would not hold a build and a history.
const LITTLE_DISK_BYTES: u64 = 2 << 30;
/// More swap in use means that memory was short, and may be again.
const MUCH_SWAP_BYTES: u64 = 64 << 20;

/// Something about this machine that a person should know before trusting a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was seen, as a sentence without its full stop.
    pub what: String,
    /// What to do about it, as a sentence without its full stop.
    pub remedy: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It widens the noise; a paired comparison copes with it.
    Note,
    /// It can make a measurement wrong or a run invalid.
    Warning,
}

/// Looks at this machine for a second and says what makes it noisy, the most important first. Empty
/// where nothing was found.
pub async fn doctor() -> Vec<Finding> {
    let before = CpuTimes::read();
    tokio::time::sleep(WATCH).await;
    let spent = match (before, CpuTimes::read()) {
        (Some(before), Some(after)) => Some(after.since(&before)),
        _ => None,
    };
    judge(&Facts::look(spent))
}

/// What can be seen of a machine.
#[derive(Debug, Clone, Default)]
struct Facts {
    debug_build: bool,
    cpus: usize,
    /// As in a fingerprint.
    virtualisation: String,
    spent: Option<CpuTimes>,
    load_average: Option<f64>,
    /// The governor of each processor that has one.
    governors: Vec<String>,
    turbo: Option<bool>,
    smt: Option<bool>,
    swap_used_bytes: u64,
    open_files: Option<u64>,
    on_battery: bool,
    disk_free_bytes: Option<u64>,
    clock_source: Option<String>,
}

/// Time that the processors of this machine spent, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CpuTimes {
    total: u64,
    idle: u64,
    steal: u64,
}

impl Facts {
    fn look(spent: Option<CpuTimes>) -> Self {
        let cpu = Path::new("/sys/devices/system/cpu");
        let cpuinfo = read(Path::new("/proc/cpuinfo")).unwrap_or_default();
        Self {
            debug_build: cfg!(debug_assertions),
            cpus: available_parallelism().map_or(1, usize::from),
            virtualisation: virtualisation(&Traces::look(&cpuinfo)),
            spent,
            load_average: System::load_average().ok().map(|load| load.one),
            governors: governors(cpu),
            turbo: turbo(cpu),
            smt: read(&cpu.join("smt/active")).map(|active| active == "1"),
            swap_used_bytes: swap_used_bytes(),
            open_files: read(Path::new("/proc/self/limits")).and_then(|text| open_files(&text)),
            on_battery: on_battery(Path::new("/sys/class/power_supply")),
            disk_free_bytes: statvfs(".").ok().map(|disk| {
                let blocks = u128::from(disk.blocks_available());
                let bytes = blocks * u128::from(disk.fragment_size());
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }),
            clock_source: read(Path::new(
                "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            )),
        }
    }
}

impl CpuTimes {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The line `cpu  user nice system idle iowait irq softirq steal …`. What guests spend is part of
    /// `user` already.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map_while(|word| word.parse().ok())
            .collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
        (ticks.len() >= 4).then(|| Self {
            total: ticks.iter().sum(),
            idle: at(3) + at(4),
            steal: at(7),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            total: self.total.saturating_sub(before.total),
            idle: self.idle.saturating_sub(before.idle),
            steal: self.steal.saturating_sub(before.steal),
        }
    }

    fn share(&self, ticks: u64) -> f64 {
        ticks as f64 / self.total.max(1) as f64
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |what: String, remedy: &str| {
        findings.push(Finding {
            severity: Severity::Warning,
            what,
            remedy: remedy.to_owned(),
        });
    };
    if facts.debug_build {
        warn(
            "this Plimsoll is a debug build, whose load generator is slow".into(),
            "install it with `cargo install`, or run it with `cargo run --release`",
        );
    }
    if let Some(spent) = facts.spent {
        let steal = spent.share(spent.steal);
        if steal > STEAL_SHARE {
            warn(
                format!(
                    "the hypervisor took {:.1} % of the processors' time",
                    steal * 100.0
                ),
                "use a machine with processors of its own, or more pairs",
            );
        }
        let busy = spent.share(spent.total - spent.idle.min(spent.total)) - steal;
        if busy > BUSY_SHARE {
            warn(
                format!(
                    "the processors are {:.0} % busy although nothing is being measured",
                    busy * 100.0
                ),
                "stop what else runs here; `top` shows it",
            );
        }
    }
    // The average over a minute tells of a neighbour that was quiet just now.
    if let Some(load) = facts
        .load_average
        .filter(|load| *load > facts.cpus as f64 / 2.0)
    {
        warn(
            format!(
                "the load average is {load:.1} on {} logical CPUs",
                facts.cpus
            ),
            "wait until it has fallen, or stop what else runs here",
        );
    }
    if facts.on_battery {
        warn(
            "this machine runs on its battery, so the processors are slowed down".into(),
            "plug it in",
        );
    }
    let slow: Vec<&String> = facts
        .governors
        .iter()
        .filter(|one| *one != "performance")
        .collect();
    if let Some(governor) = slow.first() {
        warn(
            format!(
                "the CPU frequency governor of {} CPUs is `{governor}`",
                slow.len()
            ),
            "`cpupower frequency-set --governor performance` (as root)",
        );
    }
    if let Some(files) = facts.open_files.filter(|files| *files < FEW_FILES) {
        warn(
            format!("a process may open only {files} files, and each connection is one"),
            "`ulimit -n 65536` before the run",
        );
    }
    if let Some(free) = facts
        .disk_free_bytes
        .filter(|free| *free < LITTLE_DISK_BYTES)
    {
        warn(
            format!(
                "only {} MiB are free on the disk of this folder",
                free >> 20
            ),
            "make room for builds and the history",
        );
    }
    if let Some(clock) = &facts.clock_source
        && ["hpet", "acpi_pm", "jiffies"].contains(&clock.as_str())
    {
        warn(
            format!("the clock source is `{clock}`, which costs a microsecond or more a look"),
            "boot with `tsc=reliable` or another clock source, where the hardware allows it",
        );
    }

    let mut note = |what: String, remedy: &str| {
        findings.push(Finding {
            severity: Severity::Note,
            what,
            remedy: remedy.to_owned(),
        });
    };
    if facts.cpus < FEW_CPUS {
        note(
            format!(
                "there are only {} logical CPUs for the generator, the subject and its servers",
                facts.cpus
            ),
            "keep the load low, or let the subject run on another machine",
        );
    }
    if facts.virtualisation != "none" && !facts.virtualisation.is_empty() {
        note(
            format!(
                "this machine is virtual (`{}`), with neighbours that can't be seen",
                facts.virtualisation
            ),
            "measure base and head in alternation (`plimsoll gate --against REV`) rather than compare with last week",
        );
    }
    if facts.turbo == Some(true) {
        note(
            "the CPUs change their frequency with load and temperature (turbo)".into(),
            "switch it off for microbenchmarks (`intel_pstate/no_turbo` or `cpufreq/boost`)",
        );
    }
    if facts.smt == Some(true) {
        note(
            "two logical CPUs share a core (SMT), so they are not two whole ones".into(),
            "`echo off > /sys/devices/system/cpu/smt/control` (as root) for microbenchmarks",
        );
    }
    if facts.swap_used_bytes > MUCH_SWAP_BYTES {
        note(
            format!("{} MiB of swap are in use", facts.swap_used_bytes >> 20),
            "free some memory, then `swapoff -a && swapon -a` (as root)",
        );
    }
    findings
}

fn governors(cpu: &Path) -> Vec<String> {
    let entries = fs::read_dir(cpu).into_iter().flatten().flatten();
    let mut governors: Vec<String> = entries
        .filter_map(|entry| read(&entry.path().join("cpufreq/scaling_governor")))
        .collect();
    governors.sort();
    governors
}

fn turbo(cpu: &Path) -> Option<bool> {
    let off = read(&cpu.join("intel_pstate/no_turbo")).map(|no_turbo| no_turbo == "0");
    off.or_else(|| read(&cpu.join("cpufreq/boost")).map(|boost| boost == "1"))
}

fn swap_used_bytes() -> u64 {
    System::new().map_or(0, |mut system| {
        system.refresh_memory();
        system.used_swap()
    })
}

/// The soft limit in `/proc/self/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether there is a battery that is being emptied.
fn on_battery(supplies: &Path) -> bool {
    let mut entries = fs::read_dir(supplies).into_iter().flatten().flatten();
    entries.any(|entry| {
        read(&entry.path().join("type")).is_some_and(|kind| kind == "Battery")
            && read(&entry.path().join("status")).is_some_and(|status| status == "Discharging")
    })
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn quiet() -> Facts {
        Facts {
            cpus: 16,
            virtualisation: "none".into(),
            spent: Some(CpuTimes {
                total: 1600,
                idle: 1590,
                steal: 0,
            }),
            load_average: Some(0.2),
            governors: vec!["performance".into(); 16],
            turbo: Some(false),
            smt: Some(false),
            open_files: Some(65_536),
            disk_free_bytes: Some(100 << 30),
            clock_source: Some("tsc".into()),
            ..Facts::default()
        }
    }

    /// Exactly one finding, of this severity, that says so.
    fn check(facts: Facts, severity: Severity, part: &str) {
        let findings = judge(&facts);
        assert_eq!(findings.len(), 1, "{part}: {findings:?}");
        assert_eq!(findings[0].severity, severity, "{findings:?}");
        assert!(findings[0].what.contains(part), "{part}: {findings:?}");
        assert!(!findings[0].remedy.is_empty());
    }

    #[test]
    fn a_quiet_machine_has_no_findings() {
        assert_eq!(judge(&quiet()), []);
        let unknown = Facts {
            cpus: 16,
            ..Facts::default()
        };
        assert_eq!(
            judge(&unknown),
            [],
            "what can't be seen is not held against it"
        );
    }

    #[test]
    fn each_source_of_noise_is_named() {
        use Severity::{Note, Warning};
        let spent = |idle, steal| {
            Some(CpuTimes {
                total: 1000,
                idle,
                steal,
            })
        };
        check(
            Facts {
                debug_build: true,
                ..quiet()
            },
            Warning,
            "debug build",
        );
        check(
            Facts {
                spent: spent(960, 30),
                ..quiet()
            },
            Warning,
            "took 3.0 %",
        );
        check(
            Facts {
                spent: spent(750, 0),
                ..quiet()
            },
            Warning,
            "25 % busy",
        );
        check(
            Facts {
                load_average: Some(9.0),
                ..quiet()
            },
            Warning,
            "load average is 9.0",
        );
        check(
            Facts {
                on_battery: true,
                ..quiet()
            },
            Warning,
            "battery",
        );
        check(
            Facts {
                governors: vec!["performance".into(), "powersave".into()],
                ..quiet()
            },
            Warning,
            "of 1 CPUs is `powersave`",
        );
        check(
            Facts {
                open_files: Some(1024),
                ..quiet()
            },
            Warning,
            "1024 files",
        );
        check(
            Facts {
                disk_free_bytes: Some(1 << 30),
                ..quiet()
            },
            Warning,
            "1024 MiB",
        );
        check(
            Facts {
                clock_source: Some("hpet".into()),
                ..quiet()
            },
            Warning,
            "hpet",
        );
        check(Facts { cpus: 2, ..quiet() }, Note, "only 2 logical");
        check(
            Facts {
                virtualisation: "kvm".into(),
                ..quiet()
            },
            Note,
            "kvm",
        );
        check(
            Facts {
                turbo: Some(true),
                ..quiet()
            },
            Note,
            "turbo",
        );
        check(
            Facts {
                smt: Some(true),
                ..quiet()
            },
            Note,
            "SMT",
        );
        check(
            Facts {
                swap_used_bytes: 1 << 30,
                ..quiet()
            },
            Note,
            "1024 MiB of swap",
        );
    }

    #[test]
    fn warnings_come_before_notes() {
        let findings = judge(&Facts {
            cpus: 2,
            on_battery: true,
            ..quiet()
        });
        let severities: Vec<Severity> = findings.iter().map(|one| one.severity).collect();
        assert_eq!(severities, [Severity::Warning, Severity::Note]);
    }

    #[test]
    fn processor_times_are_read() {
        let stat = "cpu  100 1 20 800 50 2 3 24 7 0\ncpu0 1 2 3 4\n";
        let times = CpuTimes::parse(stat).unwrap();
        assert_eq!(
            times,
            CpuTimes {
                total: 1000,
                idle: 850,
                steal: 24
            }
        );
        assert_eq!(times.share(times.steal), 0.024);
        assert_eq!(CpuTimes::parse("cpu  1 2"), None);
        assert_eq!(CpuTimes::parse(""), None);
        assert_eq!(CpuTimes::default().share(0), 0.0);
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   524288   files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(
            open_files("Max open files   unlimited   unlimited   files"),
            None
        );
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let facts = Facts::look(CpuTimes::read());
        assert!(facts.cpus >= 1, "{facts:?}");
        assert!(facts.disk_free_bytes.is_some(), "{facts:?}");
        let says_debug = judge(&facts)
            .iter()
            .any(|one| one.what.contains("debug build"));
        assert_eq!(says_debug, cfg!(debug_assertions));
    }
}
