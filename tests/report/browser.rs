//! The pages in a real Chromium, light and dark, wide and narrow: no error, no request, no serious violation that
//! axe-core knows, and a script that does what it promises (tests/browser/look.mjs).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll::harness::report::html;

use crate::fixture::{self, Example};
use crate::{hostile, invalid, nothing, only_benches, page_of_many_names, searched, waived};

/// Where a package of tests/browser/package.json that is there says that all of them are.
const INSTALLED: &str = "tests/browser/node_modules/puppeteer-core";

#[test]
fn pages_are_in_order_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        root.join(INSTALLED).is_dir(),
        "{INSTALLED} is missing: npm ci --prefix tests/browser --ignore-scripts"
    );
    let folder = tempfile::tempdir().unwrap();
    let pages: [(&str, Example); 8] = [
        ("regression", fixture::regression()),
        ("single", fixture::single()),
        ("searched", searched::searched()),
        ("waived", waived()),
        ("invalid", invalid()),
        ("nothing", nothing()),
        ("only-benches", only_benches()),
        ("hostile", hostile()),
    ];
    let pages = pages.map(|(name, example)| (name, html::render(&example.input())));
    let many = ("many-names", page_of_many_names().to_owned());
    let paths = pages.into_iter().chain([many]).map(|(name, page)| {
        let path = folder.path().join(format!("{name}.html"));
        std::fs::write(&path, page).unwrap();
        path
    });
    let looked = Command::new("node")
        .arg(root.join("tests/browser/look.mjs"))
        .arg(browser())
        .args(paths)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success(), "{said}");
    let findings: Vec<String> = serde_json::from_slice(&looked.stdout).unwrap();
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
