//! A Deployment, or another object that makes pods: what a replica holds, when it is ready, how it ends.

use super::arguments;
use super::container::{self, Containers};
use super::fields::{MODELS, table_of};
use super::inlay::Inlay;
use super::walk::{Warn, walk};
use crate::yaml::{Diagnostic, Path};

pub(super) fn fill(inlay: &mut Inlay<'_>) {
    let kind = inlay.object.kind.clone();
    walk(&inlay.object, &inlay.object.path, table_of(&kind), Warn::Yes, inlay.found);
    let version = if kind == "InferenceService" { "v1beta1" } else { "v1" };
    if !inlay.demand_version(version, &format!("write it as version {version}")) {
        return;
    }
    let pod = match kind.as_str() {
        "Pod" | "Revision" => "spec",
        "InferenceService" => "spec.predictor",
        "LeaderWorkerSet" if inlay.has(&inlay.path("spec.leaderWorkerTemplate.leaderTemplate")) => LEADER,
        "LeaderWorkerSet" => WORKER,
        _ => "spec.template.spec",
    };
    if !inlay.has(&inlay.path(pod)) {
        // The innermost one that is there lacks what comes next.
        let steps: Vec<&str> = pod.split('.').collect();
        let there = (0..steps.len()).take_while(|depth| inlay.has(&inlay.path(&steps[..=*depth].join("."))));
        let depth = there.count();
        let parent =
            if depth == 0 { inlay.object.path.clone() } else { inlay.path(&steps[..depth].join(".")) };
        return inlay.require(&parent, steps[depth]);
    }
    let pod = inlay.path(pod);
    let replicas = inlay.path("spec.replicas");
    inlay.take(&replicas, &Path::keys(["initial", "replicas"]));
    of_kind(inlay, &kind, &pod);
    let Some(containers) = containers(inlay, &kind, &pod) else { return };
    let pods = group(inlay, &kind, &containers);
    let gpus = container::gpus(inlay, &containers, pods);
    container::requests(inlay, &containers, &pod);
    container::probes(inlay, &containers);
    container::pre_stop(inlay, &containers.serving);
    arguments::fill(inlay, &containers.serving, gpus);
}

const LEADER: &str = "spec.leaderWorkerTemplate.leaderTemplate.spec";
const WORKER: &str = "spec.leaderWorkerTemplate.workerTemplate.spec";

/// Pods of a replica; more than one where a LeaderWorkerSet makes them.
fn group(inlay: &mut Inlay<'_>, kind: &str, leader: &Containers) -> u32 {
    if kind != "LeaderWorkerSet" {
        return 1;
    }
    let size = inlay.path("spec.leaderWorkerTemplate.size");
    let at = inlay.at.key("groupSize");
    inlay.take(&size, &at);
    let policy = inlay.path("spec.leaderWorkerTemplate.restartPolicy");
    if inlay.text(&policy).is_some_and(|policy| policy != "RecreateGroupOnPodRestart") {
        let why = "where a container of a group exits the whole group is made anew";
        inlay.unmodelled(&policy, "this `restartPolicy`", why);
    }
    let startup = inlay.path("spec.startupPolicy");
    if inlay.text(&startup) == Some("LeaderReady") {
        inlay.unmodelled(&startup, "`LeaderReady`", "all pods of a group are made at once");
    }
    let workers = inlay.items(&inlay.path(WORKER).key("containers"));
    if leader.running.iter().chain(&workers).any(|path| !inlay.has(path)) || workers.is_empty() {
        let parent = inlay.path("spec.leaderWorkerTemplate");
        inlay.require(&parent, "workerTemplate");
    } else if container::count(inlay, &workers) != container::count(inlay, &leader.running) {
        let template = inlay.path("spec.leaderWorkerTemplate.workerTemplate");
        inlay.unmodelled(
            &template,
            "a worker with other GPUs than the leader",
            "all pods of a group are taken to be like its leader",
        );
    }
    let asked = inlay.scenario.text_at(&at).or(inlay.text(&size));
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What the kind of object makes of its pods.
fn of_kind(inlay: &mut Inlay<'_>, kind: &str, pod: &Path) {
    let scheduler = pod.key("schedulerName");
    if inlay.text(&scheduler).is_some_and(|name| name != "default-scheduler") {
        let why = "pods are bound as Kubernetes' own scheduler binds them";
        inlay.unmodelled(&scheduler, "`schedulerName`", why);
    }
    let management = inlay.path("spec.podManagementPolicy");
    if kind == "StatefulSet" && inlay.text(&management) != Some("Parallel") {
        let path = if inlay.has(&management) { management } else { inlay.path("kind") };
        let why = "a run starts and removes several at once";
        inlay.unmodelled(&path, "that a StatefulSet starts and removes its pods one after another", why);
    }
    // Knative gives a pod the time that a request may take, `pkg/reconciler/revision/resources/deploy.go`.
    let is_of_knative = inlay.object.group() == "serving.knative.dev";
    let grace = pod.key(if is_of_knative { "timeoutSeconds" } else { "terminationGracePeriodSeconds" });
    if let Some(seconds) = seconds(inlay, &grace) {
        let at = inlay.at.key("terminationGracePeriod");
        inlay.make(&grace, &at, &format!("{seconds}s"));
    }
}

/// Whole seconds, as Kubernetes' fields that end in `Seconds` have them; a fault if they are not.
pub(super) fn seconds(inlay: &mut Inlay<'_>, path: &Path) -> Option<u32> {
    if !inlay.has(path) {
        return None;
    }
    let seconds = inlay.text(path).and_then(|text| text.parse::<u32>().ok());
    if seconds.is_none() {
        inlay.fault("E0204", path, "expected a whole number of seconds", "write e.g. 30");
    }
    seconds
}

/// The containers that run, and which of them serves the model.
fn containers(inlay: &mut Inlay<'_>, kind: &str, pod: &Path) -> Option<Containers> {
    let mut running = inlay.items(&pod.key("containers"));
    if kind == "InferenceService" {
        running.extend(MODELS.iter().map(|model| pod.key(*model)).filter(|model| inlay.has(model)));
    }
    if running.is_empty() {
        inlay.require(pod, "containers");
        return None;
    }
    let asked = inlay.at.key("container");
    let name = inlay.scenario.text_at(&asked).map(str::to_owned);
    let place = inlay.scenario.place(inlay.scenario.span_of(&asked));
    inlay.scenario.remove(&asked);
    let names: Vec<&str> =
        running.iter().map(|path| inlay.text(&path.key("name")).unwrap_or_default()).collect();
    let with_gpus: Vec<&Path> = running.iter().filter(|path| container::has_gpus(inlay, path)).collect();
    let serving = match (&name, with_gpus.as_slice(), running.as_slice()) {
        (Some(name), ..) => {
            let Some(index) = names.iter().position(|known| known == name) else {
                let message = format!("{} has no container `{name}`", inlay.object.label());
                let fault =
                    Diagnostic::error("E0407", message).placed(place).suggesting(name, names.iter().copied());
                inlay.found.fault(fault.helped(format!("one of {}", names.join(", "))));
                return None;
            };
            running[index].clone()
        }
        (None, [only], _) => (*only).clone(),
        (None, _, [only]) => only.clone(),
        (None, ..) => {
            let message = "which of these containers serves the model?";
            let help = format!("add `container: NAME` beside `manifest`: one of {}", names.join(", "));
            inlay.fault_at_key("E0407", &pod.key("containers"), message, &help);
            return None;
        }
    };
    // A container that starts first and stays holds what it asks for like any other.
    let stays = |path: &Path| inlay.text(&path.key("restartPolicy")) == Some("Always");
    let sidecars: Vec<Path> =
        inlay.items(&pod.key("initContainers")).into_iter().filter(|path| stays(path)).collect();
    running.extend(sidecars);
    let is_probed = !matches!(inlay.object.group(), "serving.knative.dev" | "serving.kserve.io");
    Some(Containers { running, serving, is_probed })
}
