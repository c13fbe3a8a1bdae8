//! Floor 1: time, ids, random streams, quantities, and the event queue.
//!
//! Everything above stands on these; they know nothing of replicas, requests or
//! files.

pub mod dist;
pub mod id;
pub mod quantiles;
pub mod queue;
pub mod rng;
pub mod time;
pub mod units;

pub use dist::Distribution;
pub use id::{NodeId, ReplicaId};
pub use quantiles::Quantiles;
pub use queue::EventQueue;
pub use rng::Streams;
pub use time::{SimDuration, SimTime};
pub use units::{Bytes, Price, Quantity};
