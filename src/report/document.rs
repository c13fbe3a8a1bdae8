//! `outcome.json` as types: what `json` writes, and what `explain-request` and `compare` read.
//!
//! Figures are numbers, `null` (the run has no such figure) or `"infinite"` (a latency that was
//! never reached): JSON has no infinity, and a missing value must not be mistaken for one.
//! Instants are ns since the start of the trace. GPU-nanoseconds are decimal strings, because they
//! outgrow the 53 bits that many readers keep of a number.

use std::io::{self, Read};

use indexmap::IndexMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::document_ledger::{LedgerDoc, PoolDoc};
use super::document_timeline::TimelineDoc;
use super::foresight::ForesightDoc;
use crate::experiment::{self, Estimate, GateStatus, Warning};
use crate::outcome::breach::RequestRecord;
use crate::outcome::{Counts, DecisionRecord, StartRecord, Steps};

/// The version that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 2;

/// Why a file is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not the JSON that `simulate` writes.
    #[error("it is not an outcome.json: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of a version that this program does not know.
    #[error("its schema version is {found}; this program reads version {SCHEMA_VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
}

/// A number, infinite or absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure(pub Option<f64>);

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) if number.is_finite() => serializer.serialize_f64(number),
            Some(number) if number > 0.0 => serializer.serialize_str("infinite"),
            _ => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Null => Ok(Self(None)),
            serde_json::Value::Number(n) => Ok(Self(n.as_f64())),
            serde_json::Value::String(s) if s == "infinite" => Ok(Self(Some(f64::INFINITY))),
            other => Err(D::Error::custom(format!("{other} is no figure: a number, null or \"infinite\""))),
        }
    }
}

/// A mean over replications.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanDoc {
    /// The mean.
    pub mean: Figure,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// How many replications have the figure.
    pub runs: usize,
}

impl From<Option<Estimate>> for MeanDoc {
    fn from(estimate: Option<Estimate>) -> Self {
        Self {
            mean: Figure(estimate.map(|e| e.mean)),
            interval: estimate.and_then(|e| e.interval),
            runs: estimate.map_or(0, |e| e.count),
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Profile, as the header of the report names it.
    pub profile: String,
    /// Model and what it runs on.
    pub model: String,
    /// The workload in words.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// Replications of each policy.
    pub replications: u32,
    /// Span of the trace, ns.
    pub span_ns: u64,
    /// Requests of the trace.
    pub requests: u64,
    /// What intervals cover.
    pub intervals_cover: String,
    /// Capacity of a replica within the SLO, requests/s.
    pub capacity_requests_per_second: Option<f64>,
    /// The limits of a request, as durations.
    pub slo: IndexMap<String, String>,
    /// What the reader must know.
    pub warnings: Vec<Warning>,
    /// The figures of the profile, with where each comes from.
    pub profile_figures: Vec<experiment::Figure>,
    /// The price of each pool's GPUs, with where it comes from.
    pub prices: Vec<experiment::Figure>,
    /// The command that runs it again.
    pub command: String,
    /// Whether an unsettled gate counted as held.
    pub lenient: bool,
    /// Each gate under each policy.
    pub gates: Vec<GateDoc>,
    /// How many gates failed, counted by policy.
    pub gates_failed: usize,
    /// The verdict.
    pub verdict: VerdictDoc,
    /// Perfect foresight, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foresight: Option<ForesightDoc>,
    /// The scenario as it was run, every default written out.
    pub resolved: serde_json::Value,
    /// The policies, in the order of the scenario.
    pub policies: Vec<PolicyDoc>,
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateDoc {
    /// As it was written.
    pub gate: String,
    /// Name of its metric.
    pub metric: String,
    /// Unit of the limit.
    pub unit: String,
    /// The sign.
    pub comparison: String,
    /// The limit.
    pub limit: f64,
    /// By name of the policy.
    pub policies: IndexMap<String, CellDoc>,
}

/// One gate under one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CellDoc {
    /// What became of it.
    pub status: GateStatus,
    /// Whether it binds the policy.
    pub binds: bool,
    /// The value it was judged on.
    pub value: MeanDoc,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictDoc {
    /// The chosen policy, if one holds its gates.
    pub policy: Option<String>,
    /// The sentence.
    pub text: String,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDoc {
    /// Its name.
    pub name: String,
    /// Over its replications.
    pub summary: PolicySummaryDoc,
    /// Its replications.
    pub runs: Vec<RunDoc>,
}

/// One policy over its replications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySummaryDoc {
    /// Each metric by its name.
    pub metrics: IndexMap<String, MeanDoc>,
    /// Where the time of a cold start goes: median seconds by phase, and of the whole as `total`.
    pub cold_start_seconds: Option<IndexMap<String, f64>>,
    /// Breaching requests by cause, over all replications.
    pub breaches_by_cause: Option<IndexMap<String, ShareDoc>>,
    /// The time in breach by what was missing at each instant of it, over all replications.
    pub breach_time_by_cause: Option<IndexMap<String, TimeShareDoc>>,
    /// Breaching requests by outcome, over all replications.
    pub breaches_by_outcome: Option<IndexMap<String, ShareDoc>>,
    /// The bill, summed over the replications, GPU-nanoseconds.
    pub billed_gpu_ns: String,
    /// The bill by account, over the replications.
    pub ledger: IndexMap<String, AccountDoc>,
    /// The bill of a run by term of the cost equation.
    pub cost_terms: IndexMap<String, TermDoc>,
    /// The cost equation as people write it: an approximation.
    pub equation: Option<EquationDoc>,
}

/// A share of breaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareDoc {
    /// How many.
    pub count: u64,
    /// Percent, to a tenth; all sum to 100.
    pub percent: f64,
}

/// A share of the time in breach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeShareDoc {
    /// How long, summed over the replications, ns.
    pub ns: u64,
    /// Percent, to a tenth; all sum to 100.
    pub percent: f64,
}

/// A share of the bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountDoc {
    /// GPU-nanoseconds, summed over the replications.
    pub gpu_ns: String,
    /// US dollars of a run.
    pub usd: f64,
    /// Percent of the bill, to a tenth; all sum to 100.
    pub percent: f64,
}

/// A term of the cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TermDoc {
    /// US dollars of a run.
    pub usd: f64,
    /// Percent of the bill, to a tenth; all sum to 100.
    pub percent: f64,
    /// US dollars of 730 hours if this period repeated, rounded as shown; all sum to the monthly bill.
    pub monthly_usd: f64,
}

/// The cost equation as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EquationDoc {
    /// Average concurrent replicas.
    pub replicas: f64,
    /// Price of a GPU-hour.
    pub price_usd_per_hour: f64,
    /// Scale-up events in 730 hours.
    pub starts_per_month: f64,
    /// Mean load time, s.
    pub load_seconds: f64,
    /// Over-provisioning buffer, replicas.
    pub buffer_replicas: Option<f64>,
    /// The sum, US dollars a month.
    pub monthly_usd: f64,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDoc {
    /// Its number, from 0.
    pub replication: usize,
    /// SHA-256 over its facts.
    pub facts_digest: String,
    /// End of the trace, ns.
    pub trace_end_ns: u64,
    /// End of the last request, ns.
    pub run_end_ns: u64,
    /// Each metric by its name.
    pub metrics: IndexMap<String, Figure>,
    /// How requests ended.
    pub counts: Counts,
    /// Engine steps.
    pub steps: Steps,
    /// Latency distributions by name.
    pub latency: IndexMap<String, LatencyDoc>,
    /// Breaches; absent without an SLO.
    pub breaches: Option<BreachesDoc>,
    /// The ledger.
    pub ledger: LedgerDoc,
    /// Replicas, queue and traffic over time, for the first replication only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<TimelineDoc>,
    /// Each cold start.
    pub starts: Vec<StartRecord>,
    /// Each decision.
    pub decisions: Vec<DecisionDoc>,
    /// Each decision of a policy that is only watched: `from` is what was ordered, `to` what it would have ordered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_be: Vec<DecisionDoc>,
}

/// One latency distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyDoc {
    /// How many values.
    pub count: u64,
    /// How many of them are infinite.
    pub infinite: u64,
    /// The finite ones, to draw: (upper end in ns, count), merged to 1 % of their value.
    /// Percentiles are among the run's metrics, at full resolution.
    pub buckets: Vec<(u64, u64)>,
}

/// The breaches of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreachesDoc {
    /// Breaching requests.
    pub total: u64,
    /// By outcome.
    pub by_outcome: IndexMap<String, u64>,
    /// By cause.
    pub by_cause: IndexMap<String, u64>,
    /// The time in breach by what was missing at each instant of it, ns; the sum of the intervals' lengths.
    pub time_by_cause: IndexMap<String, u64>,
    /// When some request was in breach: (from, to) in ns.
    pub intervals: Vec<(u64, u64)>,
    /// That time as stretches in which one thing was missing: (from in ns, to in ns, what).
    pub bands: Vec<(u64, u64, String)>,
    /// The chains that were kept.
    pub first: Vec<RequestRecord>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDoc {
    /// When, ns.
    pub at: u64,
    /// Name of the loop.
    pub of: String,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// Spares after.
    pub spare: u32,
    /// The rule that settled it.
    pub rule: String,
    /// The figures that led there.
    pub detail: String,
    /// Conditions and events of the autoscaler's object, if it has any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub conditions: String,
}

impl From<&DecisionRecord> for DecisionDoc {
    fn from(decision: &DecisionRecord) -> Self {
        Self {
            at: decision.at.as_nanos(),
            of: decision.of.to_owned(),
            from: decision.from,
            to: decision.to,
            spare: decision.spare,
            rule: decision.why.rule.to_owned(),
            detail: decision.why.detail.clone(),
            conditions: decision.why.conditions.clone(),
        }
    }
}

/// A kept chain, with the run it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The policy.
    pub policy: &'a PolicyDoc,
    /// The run.
    pub run: &'a RunDoc,
    /// The chain.
    pub request: &'a RequestRecord,
}

impl Document {
    /// Reads a file that `simulate` wrote.
    pub fn read(mut from: impl Read) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Versioned {
            schema_version: u32,
        }
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        // The version comes first: a file of another one is not to be blamed for its fields.
        let Versioned { schema_version } = serde_json::from_str(&text)?;
        if schema_version != SCHEMA_VERSION {
            return Err(ReadError::Version { found: schema_version });
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// The policy of that name.
    pub fn policy(&self, name: &str) -> Option<&PolicyDoc> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// Every kept chain of the request with that number, in the order of policies and replications.
    pub fn requests(&self, id: u64) -> impl Iterator<Item = Found<'_>> {
        self.policies.iter().flat_map(move |policy| {
            policy.runs.iter().flat_map(move |run| {
                let kept = run.breaches.iter().flat_map(|breaches| &breaches.first);
                kept.filter(move |request| request.id == id).map(move |request| Found {
                    policy,
                    run,
                    request,
                })
            })
        })
    }

    /// The lines of `facts.digest`.
    pub fn digest(&self) -> String {
        let line = |policy: &PolicyDoc, run: &RunDoc| {
            format!("{}  {}/{}\n", run.facts_digest, policy.name, run.replication)
        };
        self.policies.iter().flat_map(|p| p.runs.iter().map(move |run| line(p, run))).collect()
    }
}
