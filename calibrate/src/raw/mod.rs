//! Raw samples: what a measurement saw, before anything is concluded from it.
//!
//! Every way to calibrate (`gpu`, `server`, `pull`, `import`) appends [`Record`]s to a
//! `*.raw.jsonl` file, one JSON object a line, and `fit` alone turns them into a profile.
//! So a profile can be fitted again, years later, from the file that lies beside it.

mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod record;

pub use file::{RawFile, RawWriter, read};
pub use record::*;
