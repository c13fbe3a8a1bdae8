//! What a policy is built and checked with besides its own spec: the world its queries are asked in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adapter::AdapterSpec;
use super::engine_facts::EngineFacts;
use super::{Fault, closest};
use crate::forecast::Series;
use crate::kernel::{Quantiles, SimDuration};
use crate::promql::catalogue::{self, Exporter, METRICS, Metric};
use crate::promql::{Query, Release, Selector};

/// Labels whose values differ from series to series: a query may ask for any.
const VARYING: [&str; 7] = ["pod", "instance", "le", "gpu", "UUID", "finished_reason", "response_code"];

/// What holds for every policy of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Unix time at the start, ms; `None` where neither the trace nor the scenario says.
    pub start_ms: Option<i64>,
    /// Who publishes metrics.
    pub exporters: Vec<Exporter>,
    /// Labels of the workload's targets, beside `pod` and `instance`.
    pub labels: BTreeMap<String, String>,
    /// `--query.lookback-delta`.
    pub lookback: SimDuration,
    /// The Prometheus release.
    pub release: Release,
    /// prometheus-adapter's rules; `None` serves every series by its own name.
    pub adapter: Option<AdapterSpec>,
    /// What is known of the replicas' engine; `None` where it does not batch.
    pub engine: Option<EngineFacts>,
    /// What is known of a replica.
    pub replica: ReplicaModel,
    /// Loads from before the run, by the file that a policy names.
    pub histories: BTreeMap<String, Arc<Series>>,
}

/// What a policy may know of a replica before it runs: what its operator could have measured of the model and the cluster. It is
/// filled in only where a policy reads it ([`PolicySpec::reads_replica`](super::PolicySpec::reads_replica)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaModel {
    /// Requests/s of this workload's mix that one warm replica serves within the SLO (`sim/capacity.rs`); `None` where nobody
    /// searched it, or found any.
    pub capacity_per_s: Option<f64>,
    /// From the order of a replica until requests are routed to it, on a node that is there and with nothing beside it that
    /// starts: control plane, image, weights, stages, the next probe.
    pub start: Quantiles,
    /// The same with the order of its node before it, provisioning and set-up; as [`ReplicaModel::start`] where no node can be added.
    /// What a provisioner's own loops take is not in it.
    pub start_with_node: Quantiles,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            start_ms: None,
            exporters: Self::exporters_of(Some(Exporter::Vllm)),
            labels: BTreeMap::new(),
            lookback: SimDuration::from_secs(300),
            release: Release::V3,
            adapter: None,
            engine: None,
            replica: ReplicaModel::default(),
            histories: BTreeMap::new(),
        }
    }
}

impl Setting {
    /// Everything that is scraped where replicas run this engine; `None` is one whose metrics are not known.
    pub fn exporters_of(engine: Option<Exporter>) -> Vec<Exporter> {
        let router = (engine == Some(Exporter::Vllm)).then_some(Exporter::VllmRouter);
        let others = [Exporter::Dcgm, Exporter::QueueProxy, Exporter::Gateway, Exporter::Prometheus];
        engine.into_iter().chain(router).chain(others).collect()
    }

    /// Whether the simulation publishes a metric.
    pub fn publishes(&self, metric: &Metric) -> bool {
        metric.quantity.is_some() && self.exporters.contains(&metric.exporter)
    }

    /// The names of all series that are published.
    pub fn series(&self) -> Vec<String> {
        METRICS.iter().filter(|metric| self.publishes(metric)).flat_map(Metric::series).collect()
    }

    /// Compiles a query whose text stands at a path.
    ///
    /// # Errors
    /// What is wrong with its text, what of it is not simulated, and what it reads that nobody publishes.
    pub fn query(&self, text: &str, path: &str) -> Result<Query, Vec<Fault>> {
        let placed = |message: String, span: std::ops::Range<usize>, help: String| {
            let column = text[..span.start.min(text.len())].chars().count() + 1;
            (path.to_owned(), format!("column {column}: {message}"), help)
        };
        let query = Query::compile(text).map_err(|faults| {
            faults.into_iter().map(|f| placed(f.message, f.span, f.help)).collect::<Vec<_>>()
        })?;
        let mut faults = Vec::new();
        for read in query.reads() {
            if let Some((message, help)) = catalogue::check_read(read, |metric| self.publishes(metric)) {
                faults.push(placed(message, read.span.clone(), help));
                continue;
            }
            faults.extend(self.unselected(read).into_iter().map(|(m, h)| placed(m, read.span.clone(), h)));
        }
        if faults.is_empty() { Ok(query) } else { Err(faults) }
    }

    /// Conditions of a selector that no simulated series fulfils: (message, help).
    fn unselected(&self, read: &Selector) -> Vec<(String, String)> {
        let metric = read.name.as_deref().and_then(Metric::of_series);
        let own: &[&str] = metric.map_or(&[], |metric| metric.labels);
        let mut faults = Vec::new();
        for matcher in &read.matchers {
            let label = matcher.label.as_str();
            if label == "__name__" || VARYING.contains(&label) {
                continue;
            }
            match self.labels.get(label) {
                Some(value) if matcher.is_match(value) => {}
                Some(value) => faults.push((
                    format!("no simulated series has this `{label}`: all have `{value}`"),
                    format!("change the matcher, or `telemetry.labels.{label}`"),
                )),
                // An equality gives the series the label that it asks for; anything else needs to be told.
                None if matcher.is_equality() || matcher.is_match("") => {}
                None => {
                    let known = self.labels.keys().map(String::as_str).chain(own.iter().copied());
                    let near = closest(label, known)
                        .map(|near| format!("did you mean `{near}`? "))
                        .unwrap_or_default();
                    faults.push((
                        format!("the simulation does not know the workload's `{label}`"),
                        format!("{near}write it as `telemetry.labels.{label}`"),
                    ));
                }
            }
        }
        faults
    }

    /// The labels that queries ask for by equality and the scenario does not give: the simulated series
    /// are taken to be the ones that are meant.
    pub fn adopted<'a>(&self, reads: impl Iterator<Item = &'a Selector>) -> BTreeMap<String, String> {
        let mut adopted = BTreeMap::new();
        for matcher in reads.flat_map(|read| &read.matchers) {
            let label = matcher.label.as_str();
            let free = !VARYING.contains(&label) && label != "__name__" && !self.labels.contains_key(label);
            if free && matcher.is_equality() && !matcher.value.is_empty() {
                adopted.entry(label.to_owned()).or_insert_with(|| matcher.value.clone());
            }
        }
        adopted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_held_against_what_is_simulated() {
        let labels = BTreeMap::from([("namespace".to_owned(), "prod".to_owned())]);
        let setting = Setting { labels, ..Setting::default() };
        let check = |text: &str, expected: &[&str]| {
            let messages: Vec<String> =
                setting.query(text, "query").err().unwrap_or_default().into_iter().map(|f| f.1).collect();
            assert_eq!(messages, expected, "{text}");
        };
        check("sum(vllm:num_requests_waiting)", &[]);
        check(r#"sum(vllm:num_requests_waiting{namespace="prod",model_name="m",pod=~"x.*"})"#, &[]);
        check(
            r#"sum(vllm:num_requests_waiting{namespace="dev"})"#,
            &["column 5: no simulated series has this `namespace`: all have `prod`"],
        );
        check(
            r#"vllm:num_requests_waiting{team=~"a|b"}"#,
            &["column 1: the simulation does not know the workload's `team`"],
        );
        check(
            "sum(sglang:num_queue_reqs)",
            &["column 5: `sglang:num_queue_reqs` is a metric of SGLang, which this scenario does not run"],
        );
        check(
            "sum(deriv(vllm:num_requests_waiting[1m]) + year())",
            &["column 44: `year` is a function of Prometheus that is not simulated"],
        );
    }

    #[test]
    fn labels_asked_for_are_adopted() {
        let labels = BTreeMap::from([("namespace".to_owned(), "prod".to_owned())]);
        let setting = Setting { labels, ..Setting::default() };
        let text = r#"sum(vllm:num_requests_waiting{namespace="prod",model_name="m",pod="p",a!="b",c=""})"#;
        let query = setting.query(text, "query").expect("all of it is simulated");
        let adopted = setting.adopted(query.reads().iter());
        assert_eq!(adopted, BTreeMap::from([("model_name".to_owned(), "m".to_owned())]));
    }
}
