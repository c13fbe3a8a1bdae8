//! `fit`: from raw samples to coefficients, and nothing else draws conclusions.

mod nnls;
pub mod pull;
