//! Policies and what they read: the world their queries are asked in, and what does not fit it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{below, file_diagnostic};
use super::resolve::Resolver;
use crate::forecast::Series;
use crate::kernel::SimDuration;
use crate::policy::adapter::AdapterSpec;
use crate::policy::{
    self, HistorySpec, PolicySpec, PredictiveSpec, ReplicaModel, ResourceRead, Setting, SloPolicySpec,
};
use crate::profile::Profile;
use crate::promql::Release;
use crate::promql::catalogue::METRICS;
use crate::sim::config::{EngineExporter, PrometheusRelease};
use crate::workload::{Fault, FaultKind, SeriesFormat, read_series};
use crate::yaml::Path;

impl Resolver<'_> {
    /// The world that policies' queries are asked in.
    pub(super) fn setting(&mut self, profile: Option<&Profile>) -> Setting {
        let telemetry = self.spec().telemetry.clone();
        let of_profile = || profile.and_then(|profile| EngineExporter::of_engine(&profile.engine.name));
        let engine = telemetry.exporter.or_else(of_profile).map(EngineExporter::exporter);
        let exporters = match profile {
            Some(_) => Setting::exporters_of(engine),
            // Without a profile, which is a fault already, no query is to be blamed for the engine.
            None => METRICS.iter().map(|metric| metric.exporter).collect(),
        };
        let setting = Setting {
            start_ms: self.spec().start_time.map(|start| start.0.as_millisecond()),
            exporters,
            labels: telemetry.labels.clone(),
            lookback: telemetry.lookback,
            release: match telemetry.prometheus {
                PrometheusRelease::V2 => Release::V2,
                PrometheusRelease::V3 => Release::V3,
            },
            adapter: telemetry.adapter.clone(),
            engine: profile.and_then(|profile| self.engine_facts(profile)),
            // What is not known before the replica is resolved.
            replica: ReplicaModel::default(),
            histories: self.histories(),
        };
        let faults = setting.adapter.as_ref().map(AdapterSpec::check).unwrap_or_default();
        self.fault_below(&Path::keys(["telemetry", "adapter"]), faults);
        setting
    }

    pub(super) fn policies(&mut self, setting: &Setting) {
        let policies = self.spec().policies.clone();
        for (name, policy) in &policies {
            self.fault_below(&Path::keys(["policies"]).key(name), policy.check(setting));
        }
    }

    /// The loads from before the run that policies name.
    fn histories(&mut self) -> BTreeMap<String, Arc<Series>> {
        let policies = self.spec().policies.clone();
        let mut found: BTreeMap<String, Arc<Series>> = BTreeMap::new();
        let all = policies.iter().flat_map(|(name, policy)| forecasting(name, policy));
        for (at, history) in all.filter_map(|(at, spec)| Some((at.key("history"), spec.history()?))) {
            if found.contains_key(&history.file) {
                continue;
            }
            let path = self.scenario.resolve(&history.file);
            match read_series(&path, "file", SeriesFormat::default()) {
                Ok(own) => drop(found.insert(history.file.clone(), Arc::new(own.series))),
                Err(faults) => {
                    let document = &self.scenario.document;
                    let placed = |fault: &Fault| {
                        let own = file_diagnostic(Some(document), &at, fault);
                        let is_file = fault.kind == FaultKind::File;
                        if is_file { own.helped("paths are relative to the scenario") } else { own }
                    };
                    self.faults.extend(faults.iter().map(placed));
                }
            }
        }
        found
    }

    /// Seasons and leads that outlast the traffic, of which nothing would ever be seen.
    pub(super) fn outlasting(&mut self, span: Option<SimDuration>) {
        let Some(span) = span else { return };
        let policies = self.spec().policies.clone();
        for (at, spec) in policies.iter().flat_map(|(name, policy)| forecasting(name, policy)) {
            if let Some(lead) = spec.lead().filter(|lead| *lead >= span) {
                let message =
                    format!("a lead of {lead} is longer than the traffic, {span}: no order would be in time");
                let fault = self.scenario.document.fault("E0317", &at.key("lead"), message);
                self.faults.push(fault.helped("lengthen the workload, or shorten the lead"));
            }
            let learned = spec.seasons().into_iter().filter(|_| spec.history().is_none());
            for (path, season) in learned.filter(|(_, season)| *season >= span) {
                let message = format!(
                    "a season of {season} is no shorter than the traffic, {span}: it would never come back"
                );
                let fault = self.scenario.document.fault("E0317", &below(&at, &path), message);
                self.faults.push(fault.helped(spec.season_help()));
            }
        }
    }

    /// Faults of the floors that know no document, with their paths below one.
    fn fault_below(&mut self, path: &Path, faults: Vec<policy::Fault>) {
        for (field, message, help) in faults {
            let fault = self.scenario.document.fault("E0310", &below(path, &field), message);
            self.faults.push(if help.is_empty() { fault } else { fault.helped(help) });
        }
    }

    /// CPU metrics need a CPU model, memory metrics a usage, and a share of the request a request.
    pub(super) fn resource_metrics(&mut self, profile: &Profile) {
        let policies = self.spec().policies.clone();
        let replica = self.spec().replica.clone();
        for (name, policy) in &policies {
            let reads = policy.resources();
            let cpu = |read: &&ResourceRead| !read.is_memory;
            if reads.iter().any(|read| cpu(&read)) && profile.cpu.is_none() {
                let message =
                    format!("`{name}` scales on CPU, and profile `{}` has no CPU model", profile.name);
                let help = "measure `cpu: { idleCores, busyCores }` into the profile, or scale on vllm:num_requests_waiting";
                self.fault("E0313", &["policies", name], message, help);
            }
            if reads.iter().any(|read| cpu(&read) && read.of_request) && replica.cpu_request.is_none() {
                let message =
                    format!("`{name}` scales on CPU utilisation, a share of a CPU request there is not");
                self.fault("E0313", &["policies", name], message, "set `replica.cpuRequest`");
            }
            if reads.iter().any(|read| read.is_memory) && replica.memory_usage.is_none() {
                let message = format!("`{name}` scales on memory, and nothing says how much a replica uses");
                self.fault("E0313", &["policies", name], message, "set `replica.memoryUsage`");
            }
            if reads.iter().any(|read| read.is_memory && read.of_request) && replica.memory_request.is_none()
            {
                let message =
                    format!("`{name}` scales on memory utilisation, a share of a request there is not");
                self.fault("E0313", &["policies", name], message, "set `replica.memoryRequest`");
            }
        }
    }
}

/// A policy that orders for a forecast.
#[derive(Clone, Copy)]
pub(super) enum Forecasting<'a> {
    Predictive(&'a PredictiveSpec),
    Slo(&'a SloPolicySpec),
}

impl<'a> Forecasting<'a> {
    const fn of(policy: &'a PolicySpec) -> Option<Self> {
        match policy {
            PolicySpec::Predictive(spec) => Some(Self::Predictive(spec)),
            PolicySpec::Slo(spec) => Some(Self::Slo(spec)),
            _ => None,
        }
    }

    /// The lead that it is given.
    pub(super) const fn lead(self) -> Option<SimDuration> {
        match self {
            Self::Predictive(spec) => spec.lead,
            Self::Slo(spec) => spec.lead,
        }
    }

    /// The lead that holds in a setting.
    pub(super) fn lead_in(self, setting: &Setting) -> SimDuration {
        match self {
            Self::Predictive(spec) => spec.lead_in(setting),
            Self::Slo(spec) => spec.lead_in(setting),
        }
    }

    fn seasons(self) -> Vec<(String, SimDuration)> {
        match self {
            Self::Predictive(spec) => spec.seasons(),
            Self::Slo(spec) => spec.seasons(),
        }
    }

    fn history(self) -> Option<&'a HistorySpec> {
        match self {
            Self::Predictive(spec) => spec.history.as_ref(),
            Self::Slo(_) => None,
        }
    }

    const fn season_help(self) -> &'static str {
        match self {
            Self::Predictive(_) => "give it a `history`, lengthen the workload, or leave the season out",
            Self::Slo(_) => "lengthen the workload, or leave the season out",
        }
    }
}

/// The policies in a policy that order for a forecast, with their places.
pub(super) fn forecasting<'a>(name: &str, policy: &'a PolicySpec) -> Vec<(Path, Forecasting<'a>)> {
    fn within<'a>(at: &Path, policy: &'a PolicySpec, found: &mut Vec<(Path, Forecasting<'a>)>) {
        let at = at.key(policy.kind());
        found.extend(Forecasting::of(policy).map(|spec| (at.clone(), spec)));
        for (key, policy) in policy.below() {
            // Members have names of their own, which may hold dots.
            let below = match key.split_once('.') {
                Some((list, name)) => at.key(list).key(name),
                None => at.key(&key),
            };
            within(&below, policy, found);
        }
    }
    let mut found = Vec::new();
    within(&Path::keys(["policies"]).key(name), policy, &mut found);
    found
}
