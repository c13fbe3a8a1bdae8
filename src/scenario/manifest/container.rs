//! The containers of a pod: GPUs, requests, probes, the hook before the end.

use super::arguments::words;
use super::inlay::Inlay;
use super::workload::seconds;
use crate::kernel::Quantity;
use crate::yaml::Path;

/// The containers that run in a pod.
pub(super) struct Containers {
    /// All of them, sidecars included.
    pub running: Vec<Path>,
    /// The one that serves the model.
    pub serving: Path,
    /// Whether Kubernetes' own probes decide when the pod is ready, and no proxy beside it.
    pub is_probed: bool,
}

/// Kubernetes' default of `Probe.periodSeconds`.
const PERIOD_S: u32 = 10;
/// Kubernetes' default of `Probe.failureThreshold`.
const FAILURE_THRESHOLD: u32 = 3;

/// GPUs as device plugins name them: `nvidia.com/gpu`, `amd.com/gpu`.
fn is_gpu(resource: &str) -> bool {
    resource.ends_with(".com/gpu")
}

/// Whether a container asks for GPUs.
pub(super) fn has_gpus(inlay: &Inlay<'_>, container: &Path) -> bool {
    let asked = ["limits", "requests"].map(|field| container.key("resources").key(field));
    asked.iter().flat_map(|path| inlay.keys(path)).any(is_gpu)
}

/// A quantity of a container; a fault if it is none.
fn quantity(inlay: &mut Inlay<'_>, path: &Path) -> Option<Quantity> {
    match inlay.text(path)?.parse::<Quantity>() {
        Ok(quantity) if quantity >= Quantity::default() => Some(quantity),
        Ok(_) => {
            inlay.fault("E0205", path, "a negative quantity", "write 0 or more");
            None
        }
        Err(error) => {
            let text = error.to_string();
            let (message, help) = text.split_once("; ").unwrap_or((&text, ""));
            inlay.fault("E0205", path, message, help);
            None
        }
    }
}

/// Takes the GPUs of all containers over, of so many pods; whether there are any. Reports resources that are not modelled.
pub(super) fn gpus(inlay: &mut Inlay<'_>, containers: &Containers, pods: u32) -> bool {
    let mut origin = None;
    let mut sum: i64 = 0;
    for container in &containers.running {
        let resources = container.key("resources");
        for resource in resource_names(inlay, &resources) {
            let path = asked(inlay, &resources, resource);
            if !is_gpu(resource) {
                other_resource(inlay, &path, resource);
                continue;
            }
            let Some(quantity) = quantity(inlay, &path) else { continue };
            let whole = quantity.units().filter(|units| Quantity::from_units(*units) == quantity);
            let Some(units) = whole else {
                inlay.fault("E0205", &path, "a part of a GPU", "write a whole number");
                continue;
            };
            sum = sum.saturating_add(units);
            origin.get_or_insert(path);
        }
    }
    let Some(origin) = origin.filter(|_| sum > 0) else { return false };
    let at = inlay.at.key("gpus");
    inlay.make(&origin, &at, &sum.saturating_mul(i64::from(pods)).to_string());
    true
}

/// GPUs that containers ask for; what is no number counts for nothing.
pub(super) fn count(inlay: &Inlay<'_>, containers: &[Path]) -> i64 {
    let of = |container: &Path| -> i64 {
        let resources = container.key("resources");
        let names = resource_names(inlay, &resources).into_iter().filter(|name| is_gpu(name));
        let asked = names.filter_map(|name| inlay.text(&asked(inlay, &resources, name))?.parse::<i64>().ok());
        asked.sum()
    };
    containers.iter().map(of).sum()
}

/// The resources that a container names, each once.
fn resource_names<'a>(inlay: &Inlay<'a>, resources: &Path) -> Vec<&'a str> {
    let mut names = inlay.keys(&resources.key("limits"));
    for name in inlay.keys(&resources.key("requests")) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Where a resource is asked for: as a request, or as the limit that the request defaults to.
fn asked(inlay: &Inlay<'_>, resources: &Path, resource: &str) -> Path {
    let request = resources.key("requests").key(resource);
    if inlay.has(&request) { request } else { resources.key("limits").key(resource) }
}

fn other_resource(inlay: &mut Inlay<'_>, path: &Path, resource: &str) {
    let is_known =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    if is_known {
        return;
    }
    if resource.contains('/') {
        let why = "nodes are counted by whole GPUs; set `replica.gpus`";
        return inlay.unmodelled(path, &format!("`{resource}`"), why);
    }
    let names =
        "one of cpu, memory, ephemeral-storage, hugepages-.., or an extended resource such as nvidia.com/gpu";
    inlay.fault_at_key("E0201", path, format!("unknown resource `{resource}`"), names);
}

/// What a pod asks of CPU and memory: what utilisation is a percentage of.
pub(super) fn requests(inlay: &mut Inlay<'_>, containers: &Containers, pod: &Path) {
    for (resource, field) in [("cpu", "cpuRequest"), ("memory", "memoryRequest")] {
        let at = inlay.at.key(field);
        let of_pod = asked(inlay, &pod.key("resources"), resource);
        if inlay.has(&of_pod) {
            quantity(inlay, &of_pod);
            inlay.take(&of_pod, &at);
            continue;
        }
        let each: Vec<Path> = containers
            .running
            .iter()
            .map(|container| asked(inlay, &container.key("resources"), resource))
            .collect();
        let without = each.iter().position(|path| !inlay.has(path));
        if let Some(index) = without {
            if each.iter().any(|path| inlay.has(path)) {
                let container = &containers.running[index];
                let what = format!("a sum of {resource} requests");
                let why = "this container has none, and an HPA on its utilisation fails in a cluster, too";
                inlay.unmodelled(&container.key("name"), &what, why);
            }
            continue;
        }
        sum(inlay, &each, resource, &at);
    }
}

fn sum(inlay: &mut Inlay<'_>, each: &[Path], resource: &str, at: &Path) {
    let quantities: Vec<Option<Quantity>> = each.iter().map(|path| quantity(inlay, path)).collect();
    if let ([only], [Some(_)]) = (each, quantities.as_slice()) {
        return inlay.take(only, at);
    }
    // The finest that Kubernetes counts of each.
    let (parts, unit) = match resource {
        "cpu" => {
            (quantities.iter().map(|one| one.and_then(Quantity::milli)).collect::<Option<Vec<_>>>(), "m")
        }
        _ => (quantities.iter().map(|one| one.and_then(Quantity::units)).collect(), ""),
    };
    let total = parts.and_then(|parts| parts.into_iter().try_fold(0i64, i64::checked_add));
    if let Some(total) = total {
        inlay.make(&each[0], at, &format!("{total}{unit}"));
    }
}

/// When the container counts as ready, and what Kubernetes does to one that is not for too long.
pub(super) fn probes(inlay: &mut Inlay<'_>, containers: &Containers) {
    let serving = &containers.serving;
    let [ready, startup, live] =
        ["readinessProbe", "startupProbe", "livenessProbe"].map(|probe| serving.key(probe));
    // A container without a readiness probe is ready once its startup probe has passed.
    let deciding = [&ready, &startup].into_iter().find(|probe| inlay.has(probe)).cloned();
    if let Some(probe) = &deciding {
        let at = inlay.at.key("readiness");
        for (field, own) in [("initialDelaySeconds", "initialDelay"), ("periodSeconds", "period")] {
            // Kubernetes reads a 0 as the default.
            if let Some(value) = seconds(inlay, &probe.key(field)).filter(|value| *value > 0) {
                inlay.make(&probe.key(field), &at.key(own), &format!("{value}s"));
            }
        }
        let successes = probe.key("successThreshold");
        if let Some(value) = seconds(inlay, &successes).filter(|value| *value > 0) {
            inlay.make(&successes, &at.key("successThreshold"), &value.to_string());
        }
    } else if containers.is_probed {
        let at = inlay.at.key("readiness").key("after");
        inlay.make(&serving.key("name"), &at, "process");
    }
    for (probe, own) in [(&startup, "startupProbe"), (&live, "livenessProbe")] {
        if inlay.has(probe) {
            killing_probe(inlay, probe, own);
        }
    }
}

/// A probe that has a container killed which fails it for too long.
fn killing_probe(inlay: &mut Inlay<'_>, probe: &Path, own: &'static str) {
    let at = inlay.at.key(own);
    // Written even where it is the default, so that the probe is there at all.
    let fields = [
        ("periodSeconds", "period", PERIOD_S, "s"),
        ("failureThreshold", "failureThreshold", FAILURE_THRESHOLD, ""),
        ("initialDelaySeconds", "initialDelay", 0, "s"),
    ];
    for (field, own, default, unit) in fields {
        let given = seconds(inlay, &probe.key(field)).filter(|value| *value > 0);
        let from = if given.is_some() { probe.key(field) } else { probe.clone() };
        inlay.make(&from, &at.key(own), &format!("{}{unit}", given.unwrap_or(default)));
    }
}

/// The hook that lets a pod go on serving while the news of its end travels.
pub(super) fn pre_stop(inlay: &mut Inlay<'_>, serving: &Path) {
    let hook = serving.key("lifecycle").key("preStop");
    let sleep = hook.key("sleep").key("seconds");
    let at = inlay.at.key("preStop");
    if let Some(value) = seconds(inlay, &sleep) {
        return inlay.make(&sleep, &at, &format!("{value}s"));
    }
    let command = hook.key("exec").key("command");
    if !inlay.has(&command) {
        return;
    }
    let words = words(inlay, std::slice::from_ref(&command));
    let mut texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    if let [shell, "-c" | "-lc" | "-ec", ..] = texts.as_slice()
        && shell.ends_with("sh")
    {
        texts.drain(..2);
    }
    let slept = match texts.as_slice() {
        [program, time] if *program == "sleep" || program.ends_with("/sleep") => {
            time.strip_suffix('s').unwrap_or(time).parse::<u32>().ok()
        }
        _ => None,
    };
    match slept {
        Some(value) => inlay.make(&command, &at, &format!("{value}s")),
        None => inlay.unmodelled(&hook, "this `preStop`", "how long the command takes is not known"),
    }
}
