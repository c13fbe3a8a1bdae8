//! The host side of Thawline: measures what a replica needs to become useful and what a
//! token costs, keeps the raw samples, and fits them into a profile.
//!
//! It shares nothing with the simulator but profiles (and the kernel and YAML below them).
//! `gpu`, `server`, `pull` and `import` write raw samples; `fit` alone draws conclusions.

pub mod cli;
pub mod disk;
pub mod fit;
pub mod gpu;
pub mod import;
pub mod logs;
pub mod page_cache;
pub mod plot;
pub mod profiles;
pub mod pull;
pub mod raw;
pub mod server;

/// What is wrong, in the words and codes of all of Thawline.
pub type Fault = thawline::yaml::Diagnostic;

/// Either what was asked for, or every fault that stood in its way.
pub type Result<T, E = Vec<Fault>> = std::result::Result<T, E>;

/// A single fault.
pub(crate) fn fault(code: &'static str, message: impl Into<String>) -> Vec<Fault> {
    vec![Fault::error(code, message)]
}
