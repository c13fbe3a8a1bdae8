//! The JSON Schema that editors use is the one the program prints.

use std::path::Path;

use assert_cmd::Command;

#[test]
fn the_schema_in_docs_is_current() {
    let output = Command::new(env!("CARGO_BIN_EXE_thawline")).arg("schema").output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scenario.schema.json");
    if std::env::var_os("THAWLINE_BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(printed == kept, "run the tests with THAWLINE_BLESS=1 to write docs/scenario.schema.json");
}
