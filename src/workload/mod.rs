//! Floor 2: requests, and where they come from.

pub mod request;

pub use request::{Request, Source};
