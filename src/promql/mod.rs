//! Floor 2: PromQL over simulated series, as triggers and adapter rules use it.
//!
//! A [`Store`] holds what the exporters published at each scrape; a [`Query`] is compiled once, which refuses
//! everything that is not simulated and says what the query reads, and then evaluated at instants. Parsing is
//! `promql-parser`'s. What a value is, when it counts and how it is computed follows Prometheus 3
//! (`promql/{engine,functions,quantile}.go`), number types and order of operations included; where
//! Prometheus 2 differs, [`Release`] chooses.
//!
//! Not simulated, and refused by name and place: subqueries, `@`, native histograms, trigonometry, and the
//! functions listed in `function.rs`.

mod aggregate;
pub mod answer;
mod binary;
pub mod catalogue;
mod compile;
mod evaluate;
#[cfg(test)]
mod fixture;
mod float;
mod function;
mod histogram;
mod plan;
pub mod query;
mod range;
mod rows;
mod scan;
mod shape;
pub mod store;
pub mod symbol;

use std::ops::Range;

pub use answer::{Answer, Sample};
pub use plan::{Matcher, Selector};
pub use query::{Query, QueryError};
pub use shape::Shape;
pub use store::{Point, Release, SeriesId, Settings, Store, TargetId};

/// Something wrong with a query's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes of the text; all of it where no narrower place is known.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// How to mend it.
    pub help: String,
}
