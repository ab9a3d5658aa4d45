//! Who descends from whom, read from `/proc`.

use std::collections::HashMap;

use procfs::process::Stat;

/// All processes of the machine at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    by_parent: HashMap<i32, Vec<Stat>>,
}

impl Snapshot {
    /// Looks at every process. One that ends meanwhile, or that may not be read, is left out.
    pub(super) fn take() -> Self {
        let mut by_parent: HashMap<i32, Vec<Stat>> = HashMap::new();
        for stat in procfs::process::all_processes()
            .into_iter()
            .flatten()
            .filter_map(|process| process.ok()?.stat().ok())
        {
            by_parent.entry(stat.ppid).or_default().push(stat);
        }
        Self { by_parent }
    }

    /// The children of `root`, their children and so on; parents come before their children, and
    /// `root` itself is not among them.
    pub(super) fn descendants(&self, root: i32) -> Vec<&Stat> {
        let mut found: Vec<&Stat> = self.by_parent.get(&root).into_iter().flatten().collect();
        let mut next = 0;
        while let Some(stat) = found.get(next) {
            found.extend(self.by_parent.get(&stat.pid).into_iter().flatten());
            next += 1;
        }
        found
    }
}
