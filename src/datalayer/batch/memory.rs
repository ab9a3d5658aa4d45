//! Where the adaptive size learns what the process uses.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Says how much memory the process uses. A trait, so that a test can say so itself.
pub trait MemorySource: Send + Sync {
    /// Resident memory of the process, in bytes.
    fn resident_bytes(&self) -> u64;
}

/// The resident set of this process, asked from the operating system each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessMemory;

impl MemorySource for ProcessMemory {
    /// Zero where the system does not tell: then batches grow and nothing pauses.
    fn resident_bytes(&self) -> u64 {
        let pid = Pid::from_u32(std::process::id());
        let Ok(mut system) = System::new() else {
            return 0;
        };
        system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            false,
            ProcessRefreshKind::nothing().with_memory().without_tasks(),
        );
        system.process(pid).map_or(0, sysinfo::Process::memory)
    }
}

impl<F: Fn() -> u64 + Send + Sync> MemorySource for F {
    fn resident_bytes(&self) -> u64 {
        self()
    }
}
