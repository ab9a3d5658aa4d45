//! Keeping apart what cargo builds of two checkouts of one project.

use std::collections::BTreeMap;
use std::path::Path;

/// Where cargo puts what it makes, for every project alike: with one of them set, both checkouts
/// would overwrite each other's programs, and one of them would be measured twice.
const SHARED: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
/// Where cargo keeps what is only a step on the way.
const BUILD_DIR: &str = "CARGO_BUILD_BUILD_DIR";

/// The variables to set and those not to inherit for a build in the checkout whose target directory
/// is `target_dir`.
pub(super) fn variables(target_dir: &Path) -> (BTreeMap<String, String>, Vec<String>) {
    let set = BTreeMap::from([(BUILD_DIR.to_owned(), target_dir.display().to_string())]);
    (set, SHARED.map(str::to_owned).to_vec())
}
