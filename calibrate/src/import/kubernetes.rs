//! Events and pods of `kubectl get events,pods -o json`: from a pod's creation to its
//! container's start, and how long the container then took to be ready.
//!
//! Stamps of Kubernetes have a resolution of 1 s; durations inside messages are exact.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;
use thawline::profile::schema::Stage;

use super::json::{count, text};
use crate::logs::go_duration_s;
use crate::raw::{Cache, Flag, Record, StageSample};

/// The label of a container's time to ready where no log splits it.
pub(super) const BOOT: &str = "container start to ready, not split";

/// Whether a document is of the cluster.
pub(super) fn detect(value: &Value) -> bool {
    !objects(value).is_empty()
}

/// The pods and events in a document: a list of either or both, or a single one.
pub(super) fn objects(value: &Value) -> Vec<&Value> {
    let is_list = text(value, "/kind").is_some_and(|kind| kind.ends_with("List"));
    let items: Vec<&Value> = match value["items"].as_array() {
        Some(items) if is_list => items.iter().collect(),
        _ => vec![value],
    };
    // Lists of one kind leave the kind of their items out.
    items.into_iter().filter(|item| is_pod(item) || is_event(item)).collect()
}

pub(super) fn is_pod(item: &Value) -> bool {
    text(item, "/kind").is_none_or(|kind| kind == "Pod") && item.pointer("/spec/containers").is_some()
}

pub(super) fn is_event(item: &Value) -> bool {
    let regards = item.get("involvedObject").or_else(|| item.get("regarding"));
    regards.is_some() && item.get("reason").is_some()
}

/// One start of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PodStart {
    /// Its stages; `run` is 0.
    pub(super) stages: Vec<StageSample>,
    /// What its reader should know.
    pub(super) flags: Vec<Flag>,
    /// GPUs that its container asks for.
    pub(super) gpus: Option<u64>,
}

impl PodStart {
    /// Its records as run `run`.
    pub(super) fn records(self, run: u32) -> impl Iterator<Item = Record> {
        let stages = self.stages.into_iter().map(move |s| Record::Stage(StageSample { run, ..s }));
        stages.chain(self.flags.into_iter().map(Record::Flag))
    }
}

/// An event of a pod.
struct Event<'v> {
    reason: &'v str,
    message: &'v str,
    container: Option<&'v str>,
    at: Option<Timestamp>,
    count: u64,
}

#[derive(Default)]
struct Pod<'v> {
    object: Option<&'v Value>,
    name: String,
    events: Vec<Event<'v>>,
}

/// The starts of all pods, oldest first. `container` names the one to look at; without it,
/// the one that asks for a GPU, or the first.
///
/// # Errors
/// No pod has such a container.
pub(super) fn starts(objects: &[&Value], container: Option<&str>) -> Result<Vec<PodStart>, String> {
    let mut pods: BTreeMap<String, Pod<'_>> = BTreeMap::new();
    for object in objects {
        let event = is_event(object);
        let about = object.get("involvedObject").or_else(|| object.get("regarding"));
        let about = if event { about } else { object.get("metadata") };
        let Some(about) = about else { continue };
        if event && text(about, "/kind").is_some_and(|kind| kind != "Pod") {
            continue;
        }
        let name = text(about, "/name").unwrap_or_default();
        let space = text(about, "/namespace").unwrap_or_default();
        let key = text(about, "/uid").map_or_else(|| format!("{space}/{name}"), str::to_owned);
        let pod = pods.entry(key).or_default();
        name.clone_into(&mut pod.name);
        if event { pod.events.push(read_event(object, about)) } else { pod.object = Some(object) }
    }
    let mut found = Vec::new();
    let mut has_container = container.is_none();
    for pod in pods.values_mut() {
        pod.events.sort_by_key(|e| e.at);
        let Some(main) = main_container(pod, container) else { continue };
        has_container = true;
        let created = pod.object.and_then(|o| time(o, "/metadata/creationTimestamp"));
        let begin = created.or_else(|| pod.events.iter().find_map(|e| e.at));
        found.push((begin, pod.name.clone(), start(pod, &main)));
    }
    if !has_container {
        return Err(format!("no pod has a container `{}`", container.unwrap_or_default()));
    }
    found.retain(|(_, _, start)| !start.stages.is_empty());
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(found.into_iter().map(|(_, _, start)| start).collect())
}

fn read_event<'v>(event: &'v Value, about: &'v Value) -> Event<'v> {
    // The first time: a later one is a restart's.
    let stamps = [
        "/eventTime",
        "/firstTimestamp",
        "/deprecatedFirstTimestamp",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
    ];
    let container = text(about, "/fieldPath").and_then(|path| path.strip_prefix("spec.containers{"));
    let counts = ["/series/count", "/count", "/deprecatedCount"];
    Event {
        reason: text(event, "/reason").unwrap_or_default(),
        message: text(event, "/message").or_else(|| text(event, "/note")).unwrap_or_default(),
        container: container.and_then(|c| c.strip_suffix('}')),
        at: stamps.iter().find_map(|path| time(event, path)),
        count: counts.iter().find_map(|path| count(event, path)).unwrap_or(1),
    }
}

fn time(value: &Value, path: &str) -> Option<Timestamp> {
    text(value, path)?.parse().ok()
}

/// The container that holds the engine.
fn main_container(pod: &Pod<'_>, wanted: Option<&str>) -> Option<String> {
    let specs = pod.object.and_then(|o| o.pointer("/spec/containers")).and_then(Value::as_array);
    let Some(specs) = specs else {
        // Events alone: the container of the last start is the engine's, sidecars come first.
        let named = |e: &&Event<'_>| e.container.is_some_and(|c| wanted.is_none_or(|w| w == c));
        let found = pod.events.iter().rfind(named)?;
        return found.container.map(str::to_owned);
    };
    let name = |spec: &Value| text(spec, "/name").map(str::to_owned);
    match wanted {
        Some(wanted) => specs.iter().filter_map(name).find(|n| n == wanted),
        None => specs.iter().find(|s| gpus(s).is_some()).or(specs.first()).and_then(name),
    }
}

/// GPUs a container asks for, whoever made them.
fn gpus(spec: &Value) -> Option<u64> {
    ["limits", "requests"].iter().find_map(|kind| {
        let list = spec.pointer(&format!("/resources/{kind}"))?.as_object()?;
        let is_gpu = |key: &str| key.contains("gpu") || key.contains("nvidia.com/mig");
        let (_, number) = list.iter().find(|(key, _)| is_gpu(key))?;
        number.as_u64().or_else(|| number.as_str()?.parse().ok())
    })
}

static PULLED: LazyLock<Regex> = LazyLock::new(|| {
    let form = r#"Successfully pulled image "[^"]*" in (?P<pull>[0-9hmsµμun.]+?)(?: \((?P<wait>[0-9hmsµμun.]+) including waiting\))?(?:\.? Image size: (?P<bytes>\d+) bytes)?\.?$"#;
    Regex::new(form).expect("a constant, covered by a test")
});

fn start(pod: &Pod<'_>, container: &str) -> PodStart {
    let mut found = PodStart::default();
    let mut push = |stage, label: Option<&str>, cache, seconds: Option<f64>, bytes, source: &str| {
        // Two stamps in the same second are less than 1 s apart, and how much nobody knows.
        if let Some(seconds) = seconds.filter(|s| *s > 0.0) {
            let (label, source) = (label.map(str::to_owned), format!("Kubernetes: {source}"));
            found.stages.push(StageSample { stage, label, cache, run: 0, seconds, bytes, source });
        }
    };
    let condition = |kind: &str| {
        let list = pod.object?.pointer("/status/conditions")?.as_array()?;
        let holds = |c: &&Value| text(c, "/type") == Some(kind) && text(c, "/status") == Some("True");
        time(list.iter().find(holds)?, "/lastTransitionTime")
    };
    let event = |reason: &str| {
        let own = |e: &&Event<'_>| e.reason == reason && e.container.is_none_or(|c| c == container);
        pod.events.iter().find(own)
    };
    let at = |reason: &str| event(reason).and_then(|e| e.at);
    let status = |field: &str| {
        let list = pod.object?.pointer("/status/containerStatuses")?.as_array()?;
        list.iter().find(|s| text(s, "/name") == Some(container))?.pointer(field)
    };
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| {
        from.zip(to).map(|(from, to)| to.duration_since(from).as_secs_f64())
    };

    let created = pod.object.and_then(|o| time(o, "/metadata/creationTimestamp"));
    let scheduled = condition("PodScheduled").or_else(|| at("Scheduled"));
    push(
        Stage::ContainerStart,
        Some("scheduling"),
        None,
        between(created, scheduled),
        None,
        "PodScheduled - creationTimestamp",
    );
    let sandbox = condition("PodReadyToStartContainers");
    let (ready_to_start, says) = match sandbox {
        Some(at) => (Some(at), "PodReadyToStartContainers - PodScheduled"),
        None => (at("Pulling").or_else(|| at("Pulled")), "event Pulling - PodScheduled"),
    };
    push(
        Stage::ContainerStart,
        Some("sandbox and network"),
        None,
        between(scheduled, ready_to_start),
        None,
        says,
    );
    let inits = pod.object.and_then(|o| o.pointer("/spec/initContainers")).and_then(Value::as_array);
    let initialized = condition("Initialized").filter(|_| inits.is_some_and(|list| !list.is_empty()));
    push(
        Stage::ContainerStart,
        Some("init containers"),
        None,
        between(sandbox, initialized),
        None,
        "Initialized - PodReadyToStartContainers",
    );

    let pulled = event("Pulled");
    if let Some(groups) = pulled.and_then(|e| PULLED.captures(e.message)) {
        let duration = |name: &str| groups.name(name).and_then(|m| go_duration_s(m.as_str()));
        let bytes = groups.name("bytes").and_then(|m| m.as_str().parse().ok());
        let pull = duration("pull");
        push(Stage::ImagePull, None, Some(Cache::Cold), pull, bytes, "event Pulled");
        let waiting = duration("wait").zip(pull).map(|(wait, pull)| wait - pull);
        push(Stage::ImagePull, Some("waiting for other pulls"), None, waiting, None, "event Pulled");
    }
    let started = status("/state/running/startedAt").and_then(Value::as_str).and_then(|s| s.parse().ok());
    let started: Option<Timestamp> = started.or_else(|| at("Started"));
    if let Some(pulled) = pulled {
        push(
            Stage::ContainerStart,
            Some("create and start"),
            None,
            between(pulled.at, started),
            None,
            "startedAt - event Pulled",
        );
    } else {
        let from = initialized.or(ready_to_start);
        push(
            Stage::ContainerStart,
            Some("pull and start, not split"),
            None,
            between(from, started),
            None,
            "startedAt - PodReadyToStartContainers",
        );
    }
    let ready = condition("Ready").or_else(|| condition("ContainersReady"));
    push(Stage::RuntimeInit, Some(BOOT), None, between(started, ready), None, "Ready - startedAt");

    found.gpus = pod.object.and_then(|o| {
        let specs = o.pointer("/spec/containers")?.as_array()?;
        gpus(specs.iter().find(|s| text(s, "/name") == Some(container))?)
    });
    found.flags = flags(pod, container, ready.is_some());
    let restarts = status("/restartCount").and_then(Value::as_u64).unwrap_or(0);
    if restarts > 0 {
        let what = format!(
            "a container was restarted {restarts} times; its time to ready is that of the last start"
        );
        found.flags.push(Flag { flag: "restarted".to_owned(), message: what });
    }
    found
}

fn flags(pod: &Pod<'_>, container: &str, ready: bool) -> Vec<Flag> {
    let count = |reason: &str, word: &str| -> u64 {
        let own = |e: &&Event<'_>| {
            e.reason == reason && e.message.contains(word) && e.container.is_none_or(|c| c == container)
        };
        pod.events.iter().filter(own).map(|e| e.count).sum()
    };
    let mut flags = Vec::new();
    let mut flag = |word: &str, message: String| flags.push(Flag { flag: word.to_owned(), message });
    let (failed, back_off) = (count("Failed", "pull image"), count("BackOff", "pulling image"));
    if failed + back_off > 0 {
        flag(
            "pullFailed",
            format!("a pull failed {failed} times and backed off {back_off} times before it succeeded"),
        );
    }
    let crashes = count("BackOff", "restarting failed");
    if crashes > 0 {
        flag("crashed", format!("a container backed off {crashes} times after it had failed"));
    }
    let unhealthy = count("Unhealthy", "Readiness probe") + count("Unhealthy", "Startup probe");
    if unhealthy > 0 {
        flag(
            "probed",
            format!(
                "{unhealthy} probes failed before a pod was ready: its time to ready is up to one probe period too long"
            ),
        );
    }
    if pod.object.is_some() && !ready {
        flag("notReady", "a pod is not ready: its time to ready is missing".to_owned());
    }
    let present = |e: &&Event<'_>| e.reason == "Pulled" && e.message.contains("already present");
    if pod.events.iter().any(|e| present(&e) && e.container.is_none_or(|c| c == container)) {
        flag("imagePresent", "the image of a pod was on its node already: it has no pull".to_owned());
    }
    flags
}
