//! Thawline: will my autoscaler hold the SLO when GPU replicas take minutes to become
//! useful, and what will it cost?
//!
//! `ARCHITECTURE.md` draws the house. Floors only point down: `kernel` knows nothing,
//! `sim` knows no file, and only `cli` prints or exits.

#![forbid(unsafe_code)]

pub mod cli;
pub mod experiment;
pub mod forecast;
pub mod kernel;
pub mod outcome;
pub mod policy;
pub mod profile;
pub mod promql;
pub mod report;
pub mod scenario;
pub mod sim;
pub mod workload;
pub mod yaml;
