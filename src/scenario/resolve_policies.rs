//! Policies and what they read: the world their queries are asked in, and what does not fit it.

use super::fault::below;
use super::resolve::Resolver;
use crate::policy::adapter::AdapterSpec;
use crate::policy::{self, ResourceRead, Setting};
use crate::profile::Profile;
use crate::promql::Release;
use crate::promql::catalogue::METRICS;
use crate::sim::config::{EngineExporter, PrometheusRelease};
use crate::yaml::Path;

impl Resolver<'_> {
    /// The world that policies' queries are asked in.
    pub(super) fn setting(&mut self, profile: Option<&Profile>) -> Setting {
        let telemetry = &self.spec().telemetry;
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
