//! `thawline plan`: sizes a fleet by arithmetic, and tries the plan by simulation.

use std::path::Path;

use super::args::{PlanArgs, SimulateFormat};
use super::simulate::{simulate, warnings, workload_failed};
use super::{Answer, Exit, console};
use crate::experiment::sizing::{self, Load, Replica};
use crate::experiment::{PolicyOutcome, foresight};
use crate::kernel::{Quantiles, SimDuration, Streams};
use crate::policy::{FixedSpec, PolicySpec};
use crate::report::plan::{Figures, NAMES, Plan, Tried};
use crate::scenario::{self, Resolved, Scenario};
use crate::sim::config::InitialState;
use crate::workload;
use crate::yaml::{self, Diagnostic};

/// The quantile of the cold start that spares are counted for.
const CAUTIOUS: f64 = 0.9;

pub(super) fn run(args: &PlanArgs) -> Answer {
    let scenario = scenario::load(&args.scenario, &args.sets)?;
    let mut resolved = scenario::resolve(&scenario, false)?;
    let breach_share = resolved.breach_share();
    let (start, start_with_node) = resolved.starts();
    let both = |own: &Quantiles| (in_seconds(own.at(0.5)), in_seconds(own.at(CAUTIOUS)));
    let (start, start_with_node) = (both(&start), both(&start_with_node));
    let load = load(&args.scenario, &resolved, start_with_node.1);
    // A replica has no capacity for a load that is none.
    let is_searched = load.is_ok() || resolved.simulation.slo.is_none();
    let capacity =
        if is_searched { capacity(&args.scenario, &scenario, &mut resolved) } else { Ok(f64::NAN) };
    let (load, capacity_per_s) = match (load, capacity) {
        (Ok(load), Ok(capacity_per_s)) => (load, capacity_per_s),
        (load, capacity) => {
            return Err([load.err(), capacity.err()].into_iter().flatten().flatten().collect());
        }
    };
    let (pool, price) = priced(&resolved);
    let gpus = resolved.simulation.replica.gpus;
    let slo = resolved.header.slo;
    let replica = Replica {
        capacity_per_s,
        usd_per_hour: f64::from(gpus) * price,
        patience: [slo.ttft, slo.queue_wait, slo.e2e].into_iter().flatten().min().unwrap_or_default(),
    };
    let steady = sizing::steady(&load, &replica);
    let halved = in_seconds(SimDuration::from_nanos(start_with_node.1.as_nanos() / 2));
    let starts = [start_with_node.1, start_with_node.0, halved]
        .map(|start| sizing::for_start(&load, &replica, &steady, start));
    let figures = Figures::new(&steady, &replica, &starts[0]);
    room(&scenario, &resolved, &figures)?;

    let mut trial = trial(args, &figures, scenario.spec.telemetry.adapter.is_some())?;
    trial.simulation.capacity_per_s = Some(capacity_per_s);
    console::report(&trial.notes);
    let outcomes = simulate(&trial, args.jobs.unwrap_or(0) as usize)
        .map_err(|failure| workload_failed(&args.scenario, &failure))?;
    let fewest = fewest(&mut trial, &outcomes, figures.max_replicas, breach_share, args.jobs)
        .map_err(|failure| workload_failed(&args.scenario, &failure))?;
    // Those of a place were just shown with it.
    let mut known = trial.header.warnings.clone();
    known.retain(|warning| warning.place.is_none());
    known.extend(warnings(&outcomes));
    let spare = f64::from(figures.spare);
    let found = &starts[0];
    let computed = [
        (f64::from(figures.max_replicas), sizing::behind(&load, &replica, figures.max_replicas)),
        (found.ordered + spare, found.with_spares),
        (found.ordered, found.without),
    ];
    let tried = NAMES.into_iter().zip(computed).filter_map(|(name, (replicas, pile))| {
        let outcome = outcomes.iter().find(|outcome| outcome.name == name)?;
        let tried = Tried {
            name,
            replicas,
            expected_usd: replica.monthly_usd(replicas),
            expected_late: pile.map_or(0.0, |pile| pile.late as f64 / load.requests() as f64),
            expected_late_for: pile.map_or(SimDuration::ZERO, |pile| pile.late_for),
            breach: None,
            breach_secs: None,
            monthly_usd: None,
            causes: Vec::new(),
        };
        Some(tried.simulated(outcome))
    });
    let plan = Plan {
        header: &resolved.header,
        load: &load,
        replica,
        gpus: (gpus, &pool, price),
        breach_share,
        start,
        start_with_node,
        steady: &steady,
        starts,
        figures,
        tried: tried.collect(),
        fewest,
        warnings: known,
    };
    console::print(&match args.format {
        SimulateFormat::Text => plan.text(),
        SimulateFormat::Json => serde_json::to_string_pretty(&plan.json()).expect("its keys are text") + "\n",
    });
    Ok(if plan.holds() { Exit::Success } else { Exit::Failed })
}

/// Whole seconds, rounded up.
fn in_seconds(time: SimDuration) -> SimDuration {
    SimDuration::from_secs(time.as_nanos().div_ceil(1_000_000_000))
}

/// What a replica serves within the SLO, requests/s.
fn capacity(file: &Path, scenario: &Scenario, resolved: &mut Resolved) -> Result<f64, Vec<Diagnostic>> {
    if resolved.simulation.slo.is_none() {
        let message = "what a replica can serve is searched within the SLO, and there is none";
        let fault = Diagnostic::in_file("E0316", &file.display().to_string(), message);
        return Err(vec![fault.helped("write an `slo`, or `--set 'slo={ ttft: 2s }'`, for one")]);
    }
    resolved.measure_capacity().map_err(|failure| workload_failed(file, &failure))?;
    resolved.simulation.capacity_per_s.filter(|capacity| *capacity > 0.0).ok_or_else(|| {
        let message = "not even a trickle of this workload keeps the SLO on one warm replica: it has no capacity, and no \
                       number of replicas is enough";
        let fault = scenario.document.fault("E0316", &yaml::Path::keys(["slo"]), message);
        vec![fault.helped("loosen the SLO, or use a faster profile")]
    })
}

/// The traffic, of the first replication where they differ.
fn load(file: &Path, resolved: &Resolved, start: SimDuration) -> Result<Load, Vec<Diagnostic>> {
    let fault = |message: String, help: &str| {
        vec![Diagnostic::in_file("E0608", &file.display().to_string(), message).helped(help)]
    };
    let simulation = &resolved.simulation;
    let rates = workload::rates(simulation.source.as_ref(), &Streams::new(simulation.seed, 0), sizing::STEP);
    if let Some(failure) = simulation.source.failure() {
        return Err(workload_failed(file, &failure));
    }
    let Some(rates) = rates else {
        let message = format!("the workload has more than ten million steps of {}", sizing::STEP);
        return Err(fault(message, "plan for a part of it: `workload.window`"));
    };
    let per_step = sizing::STEP.as_secs_f64();
    let counts = rates.requests.values.iter().map(|rate| (rate.unwrap_or(0.0) * per_step).round() as u64);
    let counts: Vec<u64> = counts.collect();
    let span = sizing::STEP * counts.len() as u64;
    if span < start {
        let message = format!(
            "the traffic lasts {span}, and a cold start {start} (90th percentile, with its node): no rise within one is to be seen"
        );
        return Err(fault(message, "give it a longer trace, or a profile that starts faster"));
    }
    let requests: u64 = counts.iter().sum();
    match Load::new(counts) {
        Some(load) if requests > 0 => Ok(load),
        Some(_) => Err(fault(format!("no request comes before {span}"), "give it a trace with requests")),
        None => Err(fault(
            format!("the traffic lasts {span}, and rates are taken over a minute"),
            "give it a longer trace",
        )),
    }
}

/// The pool that a replica's start was taken from: the first that takes it, with its price of a GPU-hour, US dollars.
fn priced(resolved: &Resolved) -> (String, f64) {
    let pools = &resolved.simulation.cluster.pools;
    let pool = pools.iter().find(|pool| !pool.takes.is_empty()).or(pools.first());
    pool.map_or((String::new(), 0.0), |pool| (pool.name.clone(), pool.price_micro_usd as f64 / 1e6))
}

/// Whether the nodes hold the plan, and the fleet that it is compared with.
fn room(scenario: &Scenario, resolved: &Resolved, figures: &Figures) -> Result<(), Vec<Diagnostic>> {
    let simulation = &resolved.simulation;
    let group = simulation.replica.group_size.max(1);
    let room = simulation.cluster.room(simulation.replica.gpus_per_pod()) / group;
    let most = figures.max_replicas.saturating_add(figures.spare);
    if most <= room {
        return Ok(());
    }
    let message = format!(
        "the plan has {} replicas at its peak and {} spares, {most} together, and the pools hold {room}",
        figures.max_replicas, figures.spare
    );
    let fault = scenario.document.fault("E0608", &yaml::Path::keys(["cluster", "pools"]), message);
    let pools = &simulation.cluster.pools;
    let gpus = simulation.replica.gpus_per_pod();
    let help =
        pools.iter().find(|pool| pool.per_node(gpus) > 0).map_or("raise maxNodes".to_owned(), |pool| {
            let nodes = (most - room).saturating_mul(group).div_ceil(pool.per_node(gpus));
            let nodes = pool.spec.max_nodes.saturating_add(nodes);
            format!("raise maxNodes: `--set cluster.pools.{}.maxNodes={nodes}`, for one", pool.name)
        });
    Err(vec![fault.helped(help)])
}

/// The scenario with the plan's policies in the place of its own, which start with what they are to have.
fn trial(args: &PlanArgs, figures: &Figures, adapter: bool) -> Result<Resolved, Vec<Diagnostic>> {
    let mut sets = args.sets.clone();
    sets.push(format!("policies=\n{}", figures.policies()));
    sets.push("gates=[]".to_owned());
    // The rules of the scenario's adapter serve its own policies; those of the plan are judged without.
    if adapter {
        sets.push("telemetry.adapter=null".to_owned());
    }
    let scenario = scenario::load(&args.scenario, &sets)?;
    let mut resolved = scenario::resolve(&scenario, false)?;
    resolved.simulation.initial.replicas = None;
    resolved.simulation.initial.state = InitialState::Warm;
    Ok(resolved)
}

/// The fewest replicas that hold all the time, with the share that breaches, by bisection; `None` where not even the most do.
fn fewest(
    trial: &mut Resolved,
    outcomes: &[PolicyOutcome],
    most: u32,
    breach_share: f64,
    jobs: Option<u32>,
) -> Result<Option<(u32, f64)>, String> {
    let share = |outcome: &PolicyOutcome| {
        let shares = outcome.runs.iter().map(foresight::share);
        shares.sum::<f64>() / outcome.runs.len().max(1) as f64
    };
    let Some(breach) = outcomes.first().map(share).filter(|share| *share <= breach_share) else {
        return Ok(None);
    };
    let (mut too_few, mut found) = (0, (most, breach));
    while found.0 - too_few > 1 {
        let replicas = u32::midpoint(too_few, found.0);
        trial.policies =
            [(NAMES[0].to_owned(), PolicySpec::Fixed(FixedSpec { replicas }))].into_iter().collect();
        match simulate(trial, jobs.unwrap_or(0) as usize)?.first().map(share) {
            Some(breach) if breach <= breach_share => found = (replicas, breach),
            _ => too_few = replicas,
        }
    }
    Ok(Some(found))
}
