//! The schemas that the repository holds.

use std::fs;

/// Demands that `docs/schema/NAME.schema.json` is the text `now`, and gives it. With
/// `PLIMSOLL_WRITE_SCHEMAS` it is written first.
pub(crate) fn committed(name: &str, now: &str) -> String {
    let path = format!(
        "{}/docs/schema/{name}.schema.json",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("PLIMSOLL_WRITE_SCHEMAS").is_some() {
        fs::write(&path, now).expect("a writable docs/schema");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "{path} is out of date: run this test with PLIMSOLL_WRITE_SCHEMAS=1 and look at the difference"
    );
    committed
}
