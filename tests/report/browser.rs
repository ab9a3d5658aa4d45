//! The pages as a reader's browser shows them.

use plimsoll::harness::report::html;

use crate::fixture::{self, Example};
use crate::support::browser;
use crate::{hostile, invalid, nothing, only_benches, page_of_many_names, searched, waived};

#[test]
fn pages_are_in_order_in_a_browser() {
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
    browser::assert_in_order(pages.into_iter().chain([many]).map(|(name, page)| {
        let path = folder.path().join(format!("{name}.html"));
        std::fs::write(&path, page).unwrap();
        path
    }));
}
