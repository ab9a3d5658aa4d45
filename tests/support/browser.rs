//! Pages in a real Chromium, light and dark, wide and narrow (tests/browser/look.mjs).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a package of tests/browser/package.json that is there says that all of them are.
const INSTALLED: &str = "tests/browser/node_modules/puppeteer-core";

/// That these pages are in order: no error, no request, no serious violation that axe-core knows, nothing wider than
/// the window, and a script that does what it promises.
pub(crate) fn assert_in_order(pages: impl IntoIterator<Item = PathBuf>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        root.join(INSTALLED).is_dir(),
        "{INSTALLED} is missing: npm ci --prefix tests/browser --ignore-scripts"
    );
    let looked = Command::new("node")
        .arg(root.join("tests/browser/look.mjs"))
        .arg(browser())
        .args(pages)
        .output()
        .expect("node can be started");
    let said = String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success(), "{said}");
    let findings: Vec<String> =
        serde_json::from_slice(&looked.stdout).expect("findings are a list");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A Chromium by one of its names.
fn browser() -> PathBuf {
    let names = ["chromium", "google-chrome"];
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file());
    found.expect("no Chromium here: apt-get install chromium")
}
