//! Several profiles beside each other: what differs, and one made of the best of each.

pub mod diff;
pub mod merge;
