//! A checked scenario to a simulation: files are read, defaults become figures, and what
//! does not fit together is said, all at once.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::ScenarioSpec;
use super::check::check;
use super::fault::{file_diagnostic, workload_diagnostics};
use super::known::Known;
use super::load::Scenario;
use super::notes::{notes, warning};
use super::provenance::{figure, prices};
use super::resolve_engine::workers_engine;
use super::resolve_storage::stages;
use crate::experiment::{Coverage, Gate, Header, Warning};
use crate::kernel::{Price, Quantity, SimDuration, Streams};
use crate::outcome::Phase;
use crate::outcome::breach::Slo;
use crate::policy::api::PodResources;
use crate::policy::{PolicySpec, Setting};
use crate::profile::Profile;
use crate::sim::cluster;
use crate::sim::compile_cache::CachePlan;
use crate::sim::config::{ContinuousSpec, EngineSpec, ReadyAfter};
use crate::sim::storage::Plan;
use crate::sim::telemetry::CpuModel;
use crate::sim::{EngineParams, ReplicaParams, Simulation, capacity};
use crate::workload::{self, LengthSampler, LoadedWorkload, RequestCount};
use crate::yaml::{Diagnostic, Path, Severity};

/// Breach share that the capacity of a replica allows where no gate on `slo.breach` says so.
const BREACH_SHARE: f64 = 0.01;

/// A scenario that can be run.
pub struct Resolved {
    /// What each run needs.
    pub simulation: Simulation,
    /// The policies, in the order of the scenario.
    pub policies: IndexMap<String, PolicySpec>,
    /// The gates.
    pub gates: Vec<Gate>,
    /// What reports say about where the runs came from.
    pub header: Header,
    /// The scenario with every default filled in.
    pub spec: ScenarioSpec,
    /// What the reader should know of the scenario's texts, with its places; the header lists it, too.
    pub notes: Vec<Diagnostic>,
    /// The capacity was searched.
    is_searched: bool,
}

impl Resolved {
    /// Searches the capacity of a replica within the SLO, once; without an SLO there is none.
    ///
    /// # Errors
    /// If the workload can no longer be read.
    pub fn measure_capacity(&mut self) -> Result<(), String> {
        if self.simulation.slo.is_none() || self.is_searched {
            return Ok(());
        }
        self.is_searched = true;
        let share = self.breach_share();
        let streams = Streams::new(self.simulation.seed, 0);
        let Some(sampler) = LengthSampler::new(&*self.simulation.source, &streams) else { return Ok(()) };
        let found = capacity::search(&self.simulation, &Arc::from(sampler.pairs()), share)?;
        if found.is_none() {
            let message = format!(
                "not even a trickle of this workload keeps the SLO on one warm replica in {}% of its requests: \
                 a replica has no capacity, and the bill no steady/buffer split",
                (1.0 - share) * 100.0
            );
            let help = Some("loosen the SLO, or use a faster profile".to_owned());
            self.header.warnings.push(Warning { code: "W0110".to_owned(), message, place: None, help });
        }
        self.know_capacity(found.map(|f| f.per_s));
        Ok(())
    }

    fn know_capacity(&mut self, per_s: Option<f64>) {
        self.simulation.capacity_per_s = per_s;
        Arc::make_mut(&mut self.simulation.setting).replica.capacity_per_s = per_s;
        self.header.capacity = per_s;
    }

    /// The share of requests that may breach: the gate's on `slo.breach`, if there is one.
    pub fn breach_share(&self) -> f64 {
        let gate = self.gates.iter().find(|gate| gate.metric.name == "slo.breach").map(|gate| gate.limit);
        gate.filter(|limit| *limit > 0.0).unwrap_or(BREACH_SHARE)
    }

    /// The scenario with every default written out.
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::to_value(&self.spec).unwrap_or(Value::Null);
        without_nulls(&mut value);
        value
    }

    /// `resolved.yaml`: the scenario with every default written out and marked.
    pub fn to_yaml(&self, scenario: &Scenario) -> String {
        let value = self.to_value();
        let mut text =
            String::from("# The scenario as it was run; `# default` marks what the scenario left out.\n");
        if !scenario.manifests.is_empty() {
            let names: Vec<String> =
                scenario.manifests.iter().map(|name| name.escape_debug().to_string()).collect();
            text.push_str(&format!("# Written out from {}.\n", names.join(", ")));
        }
        text.push_str(&crate::yaml::write(&value, Some(&scenario.document)));
        text
    }
}

/// An absent setting is absent, not null.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Resolves a scenario. `exact_steps` takes every engine step one by one.
///
/// # Errors
/// Every fault of the profile, the workload, and of what does not fit together.
pub fn resolve(scenario: &Scenario, exact_steps: bool) -> Result<Resolved, Vec<Diagnostic>> {
    resolve_with(scenario, exact_steps, None)
}

/// The same beside another one, whose traffic is not read anew and whose capacity is not searched anew where they are the same.
pub(super) fn resolve_with(
    scenario: &Scenario,
    exact_steps: bool,
    known: Option<Known<'_>>,
) -> Result<Resolved, Vec<Diagnostic>> {
    let mut resolver =
        Resolver { scenario, faults: check(scenario), warnings: Vec::new(), doubts: Vec::new(), known };
    let profile = resolver.profile();
    let workload = resolver.workload();
    let setting = Arc::new(resolver.setting(profile.as_ref()));
    resolver.policies(&setting);
    let span = workload.as_ref().and_then(|workload| workload.span);
    resolver.idle_faults(&setting, span);
    resolver.outlasting(span);
    let parts = profile.as_ref().and_then(|profile| resolver.replica(profile, &setting, exact_steps));
    let (Some(profile), Some(workload), Some(parts)) = (profile, workload, parts) else {
        return Err(in_order(resolver.faults, scenario.document.name()));
    };
    if !resolver.faults.is_empty() {
        return Err(in_order(resolver.faults, scenario.document.name()));
    }
    let mut resolved = resolver.finish(&profile, &workload, setting, parts);
    match resolved.know_replica(&scenario.document) {
        faults if faults.is_empty() => Ok(resolved),
        faults => Err(in_order(faults, scenario.document.name())),
    }
}

/// The scenario's own faults first, in the order of its text; then those of its files, in theirs.
fn in_order(mut faults: Vec<Diagnostic>, scenario: &str) -> Vec<Diagnostic> {
    faults.sort_by_key(|fault| match &fault.place {
        Some(place) if place.file == scenario => (0, place.line, place.column),
        _ => (1, 0, 0),
    });
    // Two policies may share a manifest, and its faults.
    let mut seen: Vec<Diagnostic> = Vec::with_capacity(faults.len());
    for fault in faults {
        if !seen.contains(&fault) {
            seen.push(fault);
        }
    }
    seen
}

/// What the profile and the scenario say together about a replica.
struct Parts {
    engine: EngineParams,
    engine_spec: EngineSpec,
    replica: ReplicaParams,
    cluster: cluster::Plan,
    storage: Plan,
    compile_cache: Option<CachePlan>,
    policies: IndexMap<String, PolicySpec>,
}

/// A scenario on its way to a simulation, and what is wrong with it so far.
pub(super) struct Resolver<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) faults: Vec<Diagnostic>,
    warnings: Vec<Warning>,
    /// What its files tell of, with places in the scenario.
    doubts: Vec<Diagnostic>,
    known: Option<Known<'a>>,
}

impl Resolver<'_> {
    pub(super) fn spec(&self) -> &ScenarioSpec {
        &self.scenario.spec
    }

    pub(super) fn fault(
        &mut self,
        code: &'static str,
        keys: &[&str],
        message: impl Into<String>,
        help: &str,
    ) {
        let path = Path::keys(keys.iter().copied());
        let fault = self.scenario.document.fault(code, &path, message);
        self.faults.push(if help.is_empty() { fault } else { fault.helped(help) });
    }

    fn warn(&mut self, code: &str, message: impl Into<String>, help: Option<&str>) {
        let help = help.map(str::to_owned);
        self.warnings.push(Warning { code: code.to_owned(), message: message.into(), place: None, help });
    }

    fn profile(&mut self) -> Option<Profile> {
        match self.scenario.read_profile() {
            Ok((profile, warnings)) => {
                for warning in warnings {
                    self.warn("W0101", format!("profile {}: {}", profile.name, warning.message), None);
                }
                Some(profile)
            }
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    fn workload(&mut self) -> Option<LoadedWorkload> {
        if let Some(known) = self.known.filter(|known| known.is_same_traffic(self.spec())) {
            return Some(known.workload.clone());
        }
        let spec = &self.spec().workload;
        match workload::load(spec, &self.scenario.directory, self.spec().seed) {
            Ok(workload) => {
                for warning in &workload.warnings {
                    self.warn("W0108", warning.as_str(), None);
                }
                let section = Path::keys(["workload"]);
                for doubt in &workload.doubts {
                    let fault = file_diagnostic(Some(&self.scenario.document), &section, doubt);
                    let code = if doubt.kind == workload::FaultKind::Empty { "W0108" } else { "W0112" };
                    let doubt = Diagnostic { code, severity: Severity::Warning, ..fault };
                    self.doubts.push(doubt);
                }
                Some(workload)
            }
            Err(faults) => {
                self.faults.extend(workload_diagnostics(Some(&self.scenario.document), &faults));
                None
            }
        }
    }

    fn replica(&mut self, profile: &Profile, setting: &Setting, exact_steps: bool) -> Option<Parts> {
        let spec = self.spec().clone();
        let gpus = spec.replica.gpus.unwrap_or(profile.gpu.count);
        let cluster = self.cluster(profile, gpus);
        self.resource_metrics(profile);
        self.room_at_the_start(&cluster, gpus, setting);
        let storage = self.storage(profile);
        let penalties = self.penalties(profile);
        let (engine, engine_spec) = match spec.engine.clone() {
            Some(EngineSpec::Workers(workers)) => workers_engine(workers, &penalties),
            Some(EngineSpec::Continuous(continuous)) => {
                self.continuous_engine(profile, &continuous, &penalties, exact_steps)?
            }
            None => self.continuous_engine(profile, &ContinuousSpec::default(), &penalties, exact_steps)?,
        };
        let compile_cache = self.compile_cache(profile);
        let policies = self.sleeping_spares(profile);
        let replica = ReplicaParams {
            gpus,
            group_size: spec.replica.group_size.max(1),
            cooling: self.cooling(profile),
            keep_warm: self.keep_warm(&engine),
            requests: PodResources {
                cpu_milli: spec.replica.cpu_request.and_then(Quantity::milli),
                memory_bytes: spec.replica.memory_request.and_then(Quantity::units),
            },
            memory_usage: spec.replica.memory_usage.and_then(Quantity::units),
            cpu: profile.cpu.as_ref().map(|cpu| CpuModel {
                idle_cores: cpu.idle_cores.value.as_f64(),
                busy_cores: cpu.busy_cores.value.as_f64(),
            }),
            stages: stages(profile, &spec),
            readiness: spec.replica.readiness.clone(),
            startup_probe: spec.replica.startup_probe.clone(),
            liveness_probe: spec.replica.liveness_probe.clone(),
            termination_grace_period: spec.replica.termination_grace_period,
            endpoint_removal_delay: spec.replica.endpoint_removal_delay,
            pre_stop: spec.replica.pre_stop,
            per_request: profile.per_request(),
        };
        Some(Parts { engine, engine_spec, replica, cluster, storage, compile_cache, policies })
    }

    /// What the first requests of a replica that nothing warmed pay. A profile without such a curve
    /// pays its whole warm-up on the first.
    fn penalties(&mut self, profile: &Profile) -> Vec<SimDuration> {
        if self.spec().replica.readiness.after != ReadyAfter::Weights {
            return Vec::new();
        }
        let curve = profile.penalties();
        if !curve.is_empty() {
            return curve.to_vec();
        }
        let warm_up: SimDuration = profile
            .stages()
            .filter(|(phase, _)| *phase == Phase::WarmingUp)
            .map(|(_, time)| time.median())
            .sum();
        let message = format!(
            "readiness does not wait for the warm-up, and profile {} has no `firstRequests` curve: \
             the first request of each replica pays the whole warm-up, {warm_up}",
            profile.name
        );
        self.warn("W0109", message, Some("measure the curve, or set `replica.readiness.after: warmUp`"));
        vec![warm_up]
    }

    fn finish(
        mut self,
        profile: &Profile,
        workload: &LoadedWorkload,
        setting: Arc<Setting>,
        parts: Parts,
    ) -> Resolved {
        let mut spec = self.spec().clone();
        let gates = self.scenario.gates.clone();
        let slo: Option<Slo> = spec.slo.clone().map(Slo::from);
        let simulation = Simulation {
            seed: spec.seed,
            source: Arc::clone(&workload.source),
            engine: parts.engine,
            replica: parts.replica,
            gateway: spec.gateway.clone(),
            control_plane: spec.cluster.control_plane.clone(),
            cluster: parts.cluster,
            storage: parts.storage,
            compile_cache: parts.compile_cache,
            faults: spec.faults.clone(),
            rollouts: spec.rollouts.clone(),
            initial: spec.initial,
            telemetry: spec.telemetry.clone(),
            setting,
            slo,
            capacity_per_s: None,
            measure_from: 0,
        };
        let known = self.known;
        let mut notes = notes(self.scenario, &simulation);
        notes.append(&mut self.doubts);
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(notes.iter().map(|note| warning(note, &self.scenario.directory)));
        let (requests, span) = match known.filter(|known| known.is_same_traffic(&spec)) {
            Some(known) => (known.resolved.header.requests, known.resolved.header.span),
            None => self.extent(workload),
        };
        spec.engine = Some(parts.engine_spec);
        spec.policies = parts.policies;
        spec.replica.gpus = Some(simulation.replica.gpus);
        for (pool, plan) in spec.cluster.pools.values_mut().zip(&simulation.cluster.pools) {
            pool.price_per_gpu_hour = Some(Price { micro_usd: plan.price_micro_usd });
        }
        let trust = profile.trust();
        // The best it can claim; how much of it is assumed stands beside.
        let kind = match trust {
            t if t.measured > 0 => "measured",
            t if t.published > 0 => "published",
            t if t.derived > 0 => "derived",
            _ => "assumed",
        };
        let header = Header {
            scenario: spec.name.clone(),
            profile: format!(
                "{} ({kind}, {} of {} figures assumed)",
                profile.label(),
                trust.assumed,
                trust.total()
            ),
            model: format!("{} on {}×{}", profile.model, simulation.replica.gpus, profile.gpu.name),
            workload: workload.description.clone(),
            seed: spec.seed,
            replications: spec.replications,
            span,
            requests,
            coverage: if spec.replications == 1 {
                Coverage::None
            } else if workload.traffic_is_fixed {
                Coverage::InfrastructureOnly
            } else {
                Coverage::TrafficAndInfrastructure
            },
            capacity: simulation.capacity_per_s,
            slo: slo.unwrap_or_default(),
            warnings,
            profile_figures: profile.rows().iter().map(figure).collect(),
            prices: prices(profile, &simulation.cluster, self.spec()),
            command: String::new(),
        };
        let searched = known.filter(|known| known.resolved.is_searched && known.is_same_service(&spec));
        let mut resolved = Resolved {
            simulation,
            policies: spec.policies.clone(),
            gates,
            header,
            spec,
            notes,
            is_searched: searched.is_some(),
        };
        if let Some(known) = searched {
            resolved.know_capacity(known.resolved.simulation.capacity_per_s);
        }
        resolved
    }

    /// Requests and span of the trace, of its first replication where they differ.
    fn extent(&self, workload: &LoadedWorkload) -> (u64, SimDuration) {
        if let (RequestCount::Exact(requests), Some(span)) = (workload.requests, workload.span) {
            return (requests, span);
        }
        let (mut requests, mut last) = (0, crate::kernel::SimTime::ZERO);
        for request in workload.source.requests(&Streams::new(self.spec().seed, 0)) {
            requests += 1;
            last = request.arrival;
        }
        (requests, workload.span.unwrap_or(last.since(crate::kernel::SimTime::ZERO)))
    }
}
