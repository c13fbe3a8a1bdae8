//! Floor 2: requests, and where they come from.

mod azure;
mod clock;
mod csv;
mod fault;
mod input;
mod jsonl;
mod mooncake;
pub mod request;
mod rows;

pub use fault::{Excerpt, Fault, FaultKind};
pub use request::{Packed, Request, Source};
