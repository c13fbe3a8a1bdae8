//! `server`: measures any OpenAI-compatible server from outside, as its users see it.
//!
//! Starts it (or finds it running), sends series of streaming requests, and writes every
//! request with the arrival of every token to a raw file. No figure is concluded here:
//! `fit` does that.

pub mod answer;
pub mod checks;
pub mod client;
pub mod identity;
mod job;
pub mod load;
pub mod past;
pub mod plan;
pub mod process;
pub mod prompt;
mod run;
pub mod sse;
pub mod stages;
pub mod start;
pub mod trace;

pub use client::{Access, Endpoint};
pub use identity::Limits;
pub use job::{Identity, Job, Summary, Watch};
pub use plan::{Lengths, Part, Plan};
pub use run::run;
pub use start::Launch;
