//! What a scenario must be beyond its form. Every check runs; each fault points at its value.

use super::load::Scenario;
use crate::experiment::Gate;
use crate::kernel::SimDuration;
use crate::sim::cluster::config::ProvisionerSpec;
use crate::sim::config::{EngineSpec, ProbeSpec};
use crate::yaml::{Diagnostic, Path};

/// Each tick of a period is an event: shorter ones would fill hours and memory to no purpose.
const SHORTEST_PERIOD: SimDuration = SimDuration::from_millis(1);

/// Every run is kept until the last is over.
const MOST_REPLICATIONS: u32 = 10_000;

/// All that makes no sense.
pub(super) fn check(scenario: &Scenario) -> Vec<Diagnostic> {
    let mut checker = Checker { scenario, faults: Vec::new() };
    checker.name();
    checker.cluster();
    checker.groups();
    checker.periods();
    checker.thresholds();
    checker.faults();
    checker.warmth();
    checker.rollouts();
    checker.termination();
    checker.engine();
    checker.slo();
    checker.runs();
    checker.gates();
    checker.foresight();
    checker.faults
}

/// A scenario, and what is wrong with it so far.
pub(super) struct Checker<'a> {
    pub(super) scenario: &'a Scenario,
    faults: Vec<Diagnostic>,
}

impl Checker<'_> {
    pub(super) fn fault(&mut self, code: &'static str, path: &Path, message: impl Into<String>, help: &str) {
        let fault = self.scenario.document.fault(code, path, message);
        self.faults.push(if help.is_empty() { fault } else { fault.helped(help) });
    }

    pub(super) fn add(&mut self, fault: Diagnostic) {
        self.faults.push(fault);
    }

    fn name(&mut self) {
        let name = &self.scenario.spec.name;
        let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !letters || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || name.len() > 64 {
            let message = format!("the name `{}` cannot be a directory", name.escape_debug());
            let help = "use 1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first";
            self.fault("E0307", &Path::keys(["name"]), message, help);
        }
    }

    pub(super) fn zero(&mut self, path: &Path, name: &str) {
        self.fault("E0306", path, format!("`{name}` must not be zero"), "");
    }

    fn periods(&mut self) {
        let spec = &self.scenario.spec;
        let mut periods: Vec<(&[&str], SimDuration)> = vec![
            (&["replica", "readiness", "period"], spec.replica.readiness.period),
            (&["telemetry", "scrapeInterval"], spec.telemetry.scrape_interval),
            (&["telemetry", "timelineStep"], spec.telemetry.timeline_step),
            (&["telemetry", "metricsServerResolution"], spec.telemetry.metrics_server_resolution),
        ];
        let probe = |probe: &Option<ProbeSpec>| probe.as_ref().map(|probe| probe.period);
        let keep_warm = spec.replica.keep_warm.as_ref().map(|keep_warm| keep_warm.period);
        let probes: [(&[&str], _); 3] = [
            (&["replica", "keepWarm", "period"], keep_warm),
            (&["replica", "startupProbe", "period"], probe(&spec.replica.startup_probe)),
            (&["replica", "livenessProbe", "period"], probe(&spec.replica.liveness_probe)),
        ];
        periods.extend(probes.into_iter().filter_map(|(keys, period)| Some((keys, period?))));
        if let ProvisionerSpec::ClusterAutoscaler(flags) = &spec.cluster.provisioner {
            periods.push((
                &["cluster", "provisioner", "clusterAutoscaler", "scanInterval"],
                flags.scan_interval,
            ));
        }
        for (keys, value) in periods {
            let path = Path::keys(keys.iter().copied());
            if value.is_zero() {
                self.zero(&path, keys[keys.len() - 1]);
            } else if value < SHORTEST_PERIOD {
                let message = format!("a period of {value} is below the shortest, {SHORTEST_PERIOD}");
                self.fault("E0315", &path, message, "nothing that scrapes or probes is that quick");
            }
        }
    }

    /// Cooling and what keeps from it.
    fn warmth(&mut self) {
        let replica = &self.scenario.spec.replica;
        let cooling = replica.cooling.as_ref();
        let keep_warm = replica.keep_warm.as_ref();
        let zeros = [
            ("cooling", "after", cooling.is_some_and(|cooling| cooling.after.is_zero())),
            ("cooling", "penalty", cooling.is_some_and(|cooling| cooling.penalty == Some(SimDuration::ZERO))),
            ("keepWarm", "promptTokens", keep_warm.is_some_and(|keep_warm| keep_warm.prompt_tokens == 0)),
            ("keepWarm", "outputTokens", keep_warm.is_some_and(|keep_warm| keep_warm.output_tokens == 0)),
            ("keepWarm", "service", keep_warm.is_some_and(|keep| keep.service == Some(SimDuration::ZERO))),
        ];
        for (section, field, _) in zeros.into_iter().filter(|(.., zero)| *zero) {
            self.zero(&Path::keys(["replica", section, field]), field);
        }
    }

    /// Kubernetes refuses thresholds of zero.
    fn thresholds(&mut self) {
        let replica = &self.scenario.spec.replica;
        let failures = |probe: &Option<ProbeSpec>| probe.as_ref().map(|probe| probe.failure_threshold);
        let thresholds = [
            ("readiness", "successThreshold", Some(replica.readiness.success_threshold)),
            ("startupProbe", "failureThreshold", failures(&replica.startup_probe)),
            ("livenessProbe", "failureThreshold", failures(&replica.liveness_probe)),
        ];
        for (probe, field, _) in thresholds.into_iter().filter(|(.., threshold)| *threshold == Some(0)) {
            self.zero(&Path::keys(["replica", probe, field]), field);
        }
    }

    /// Kubernetes refuses a sleep that outlasts the grace period it is part of.
    fn termination(&mut self) {
        let replica = &self.scenario.spec.replica;
        let (sleep, grace) = (replica.pre_stop, replica.termination_grace_period);
        if sleep > grace {
            let message =
                format!("a preStop of {sleep} is longer than the terminationGracePeriod of {grace}");
            let help =
                "the sleep is part of the grace period, which must leave time for the answers after it";
            self.fault("E0305", &Path::keys(["replica", "preStop"]), message, help);
        }
    }

    fn engine(&mut self) {
        let at = |kind: &'static str, field: &'static str| Path::keys(["engine", kind, field]);
        match &self.scenario.spec.engine {
            Some(EngineSpec::Workers(spec)) if spec.workers == 0 => {
                self.zero(&at("workers", "workers"), "workers");
            }
            Some(EngineSpec::Continuous(spec)) => {
                if spec.max_model_len == Some(0) {
                    self.zero(&at("continuous", "maxModelLen"), "maxModelLen");
                }
            }
            Some(EngineSpec::Workers(_)) | None => {}
        }
    }

    fn slo(&mut self) {
        let Some(slo) = &self.scenario.spec.slo else { return };
        let at = Path::keys(["slo"]);
        if slo.limits().iter().all(|(_, limit)| limit.is_none()) {
            let help = "set one of ttft, tpot, itl, e2e, queueWait, or remove `slo`";
            self.fault("E0309", &at, "the SLO has no limit", help);
        }
        for (name, _) in slo.limits().iter().filter(|(_, limit)| *limit == Some(SimDuration::ZERO)) {
            self.zero(&at.key(*name), name);
        }
    }

    fn runs(&mut self) {
        let spec = &self.scenario.spec;
        if spec.policies.is_empty() {
            self.fault("E0308", &Path::keys(["policies"]), "there is no policy to run", "");
        }
        if spec.replications == 0 {
            self.zero(&Path::keys(["replications"]), "replications");
        } else if spec.replications > MOST_REPLICATIONS {
            let message = format!("{} replications are more than {MOST_REPLICATIONS}", spec.replications);
            let help = "intervals hardly narrow beyond a few dozen";
            self.fault("E0315", &Path::keys(["replications"]), message, help);
        }
        for name in spec.policies.keys() {
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                let path = Path::keys(["policies"]).key(name);
                let fault = self.scenario.document.fault_at_key("E0307", &path, "a policy needs a name");
                self.faults.push(fault);
            }
        }
    }

    fn foresight(&mut self) {
        let Some(foresight) = self.scenario.spec.foresight else { return };
        if foresight.plans == 0 {
            self.zero(&Path::keys(["foresight", "plans"]), "plans");
        } else if foresight.plans > MOST_REPLICATIONS {
            let message = format!("{} plans are more than {MOST_REPLICATIONS}", foresight.plans);
            self.fault(
                "E0315",
                &Path::keys(["foresight", "plans"]),
                message,
                "a few hundred find most of it",
            );
        }
        if self.scenario.spec.slo.is_none() {
            let message = "`foresight` counts only with an `slo`: nothing need be served without one";
            self.fault("E0317", &Path::keys(["foresight"]), message, "write an `slo`");
        }
    }

    fn gates(&mut self) {
        let spec = &self.scenario.spec;
        let document = &self.scenario.document;
        for (index, gate) in spec.gates.iter().enumerate() {
            let at = Path::keys(["gates"]).index(index);
            let text = if document.contains(&at.key("gate")) { at.key("gate") } else { at.clone() };
            if let Err(error) = Gate::parse(&gate.gate) {
                let fault = document.fault_within("E0301", &text, error.at, error.message);
                self.faults.push(Diagnostic { help: error.help.into_iter().collect(), ..fault });
            }
            let bound = at.key("for");
            // As it is written: what runs a policy alone binds its gates to it, whatever they name.
            let is_empty = document.contains(&bound) && !document.contains(&bound.index(0));
            if gate.policies.is_empty() && is_empty {
                let message = "`for` names no policy: nothing would be held to this gate";
                let help = format!("name some of {}, or write the gate alone: it then binds all", {
                    let names: Vec<&str> = spec.policies.keys().map(String::as_str).collect();
                    names.join(", ")
                });
                self.faults.push(document.fault("E0302", &bound, message).helped(help));
            }
            for (position, name) in gate.policies.iter().enumerate() {
                if !spec.policies.contains_key(name) {
                    let names: Vec<&str> = spec.policies.keys().map(String::as_str).collect();
                    let path = at.key("for").index(position);
                    let fault = document
                        .fault("E0302", &path, format!("the scenario has no policy `{name}`"))
                        .suggesting(name, names.iter().copied())
                        .helped(format!("one of {}", names.join(", ")));
                    self.faults.push(fault);
                }
            }
        }
    }
}
