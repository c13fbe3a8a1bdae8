//! Our own policy: as few replicas as keep the SLO over the time that a new one takes to come.
//!
//! It knows what a replica can serve and how long it takes to start, forecasts the load over that time, plays forward the queue with the
//! replicas that are there and on their way, and orders what is missing. What a replica really serves corrects what it is said to.

mod autoscaler;
mod spec;

pub use autoscaler::SloPolicy;
pub use spec::SloPolicySpec;
