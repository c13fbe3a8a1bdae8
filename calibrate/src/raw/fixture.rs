//! A header for tests.

use super::{Header, Kind, RAW_VERSION};

/// A header that says no more than it must.
pub(crate) fn header(kind: Kind) -> Header {
    Header {
        raw_version: RAW_VERSION,
        tool_version: "0.1.0".to_owned(),
        kind,
        created: "2026-11-22T10:00:00Z".parse().unwrap(),
        name: "test".to_owned(),
        source: "a test".to_owned(),
        model: None,
        engine: None,
        host: None,
        gpu: None,
        driver: None,
        settings: serde_json::Map::new(),
    }
}
