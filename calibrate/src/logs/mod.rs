//! Start-up logs of engines: from lines to stages, memory and settings.
//!
//! What the lines look like is data (`patterns.toml`); here they are matched, put on one
//! clock, and turned into stages that count no second twice. A line nobody knows is nothing;
//! a stage no line tells of is absent.

mod patterns;
mod reader;
mod stages;
mod stamp;
mod units;

pub use patterns::{LogFormat, formats};
pub use reader::{Found, Reader, Start};
pub use stages::NO_PROCESS_START;
pub use units::go_duration_s;
