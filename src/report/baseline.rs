//! A baseline: what a comparison needs of a past run, and nothing that only a reader of it wants.
//!
//! `simulate --write-baseline` writes it, small enough to keep in git. Its fields are those of `outcome.json` under the same names,
//! so that one reader takes both.

use std::fs;
use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Summary;
use super::document::{Figure, ReadError, SCHEMA_VERSION};
use crate::experiment::METRICS;

/// What a comparison needs of a run of the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Profile with its digest, as the header of the report names it.
    pub profile: String,
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
    /// The scenario as it was run, every default written out.
    pub resolved: serde_json::Value,
    /// The policies, in the order of the scenario.
    pub policies: Vec<BaselinePolicy>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaselinePolicy {
    /// Its name.
    pub name: String,
    /// Its replications.
    pub runs: Vec<BaselineRun>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaselineRun {
    /// Its number, from 0.
    pub replication: usize,
    /// SHA-256 over its facts.
    pub facts_digest: String,
    /// Each metric by its name.
    pub metrics: IndexMap<String, Figure>,
}

impl BaselineRun {
    /// A metric; `None` where there is no such figure.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).and_then(|figure| figure.0)
    }
}

impl From<&Summary> for Baseline {
    fn from(summary: &Summary) -> Self {
        let header = &summary.experiment.header;
        let policies = summary.policies.iter().zip(&summary.experiment.policies);
        let policy = policies.map(|(figures, policy)| BaselinePolicy {
            name: policy.name.clone(),
            runs: (policy.runs.iter().zip(&figures.of_runs).enumerate())
                .map(|(replication, (run, figures))| BaselineRun {
                    replication,
                    facts_digest: run.facts_digest.clone(),
                    metrics: METRICS
                        .iter()
                        .zip(figures)
                        .map(|(metric, figure)| (metric.name.to_owned(), Figure(*figure)))
                        .collect(),
                })
                .collect(),
        });
        Self {
            schema_version: SCHEMA_VERSION,
            scenario: header.scenario.clone(),
            profile: header.profile.clone(),
            workload: header.workload.clone(),
            seed: header.seed,
            replications: header.replications,
            span_ns: header.span.as_nanos(),
            requests: header.requests,
            resolved: summary.experiment.resolved.clone(),
            policies: policy.collect(),
        }
    }
}

impl Baseline {
    /// Reads a baseline or an `outcome.json`.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    /// Reads the text of either.
    pub fn parse(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Versioned {
            schema_version: u32,
        }
        // The version comes first: a file of another one is not to be blamed for its fields.
        let Versioned { schema_version } = serde_json::from_str(text)?;
        if schema_version != SCHEMA_VERSION {
            return Err(ReadError::Version { found: schema_version });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// The file: a line a figure, so that git shows which ones changed.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("its keys are texts") + "\n"
    }

    /// The policy of that name.
    pub fn policy(&self, name: &str) -> Option<&BaselinePolicy> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// The names of its policies.
    pub fn names(&self) -> Vec<&str> {
        self.policies.iter().map(|policy| policy.name.as_str()).collect()
    }

    /// Whether a run of that number shares its random numbers with the one of `other`: the same seed and the same traffic.
    pub fn shares_luck(&self, other: &Self) -> bool {
        let traffic = |of: &Self| (of.seed, of.workload.clone(), of.span_ns, of.requests);
        traffic(self) == traffic(other) && self.resolved.get("workload") == other.resolved.get("workload")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, fixture, json::Json};

    #[test]
    fn it_reads_itself_and_an_outcome_alike() {
        let summary = Summary::new(fixture::experiment());
        let baseline = Baseline::from(&summary);
        let text = baseline.to_text();
        assert!(text.contains("\"ttft.p999\": \"infinite\"") && !text.contains("NaN"), "{text}");
        let mut outcome = Vec::new();
        Json.write(&summary, &mut outcome).unwrap();
        for text in [text, String::from_utf8(outcome).unwrap()] {
            assert_eq!(Baseline::parse(&text).unwrap(), baseline);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = Baseline::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "not an outcome.json");
        check("{}", "schemaVersion");
        check(r#"{"schemaVersion": 1}"#, "schema version is 1");
        check(r#"{"schemaVersion": 2}"#, "missing field `scenario`");
    }

    #[test]
    fn luck_is_shared_by_the_same_traffic_of_the_same_seed() {
        let baseline = Baseline::from(&Summary::new(fixture::experiment()));
        assert!(baseline.shares_luck(&baseline));
        let other = |change: fn(&mut Baseline)| {
            let mut other = baseline.clone();
            change(&mut other);
            other.shares_luck(&baseline)
        };
        assert!(other(|other| other.profile.clear()));
        assert!(!other(|other| other.seed = 8));
        assert!(!other(|other| other.requests = 8));
        assert!(!other(|other| other.workload.clear()));
        assert!(!other(|other| other.resolved = serde_json::json!({ "workload": { "rateScale": 2 } })));
    }
}
