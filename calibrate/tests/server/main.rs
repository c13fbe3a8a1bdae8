//! `thawline-calibrate server` and `trace` from outside, against a mock server on loopback.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod launch;
#[path = "../mock/mod.rs"]
mod mock;
mod requests;
mod transcripts;
