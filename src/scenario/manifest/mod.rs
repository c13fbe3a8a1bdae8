//! Kubernetes manifests as they run in production, in the place of what a scenario would write itself.
//!
//! `manifest: FILE` stands where a scenario has a policy's settings, a replica's or the adapter's rules. Before anything is
//! read, what the objects of the file say is written into the scenario's own tree, each value with the place it has in the
//! manifest: whatever is wrong with it is then reported there, by the same checks. What the scenario writes beside
//! `manifest` stays.

mod adapter;
mod arguments;
mod container;
mod fields;
mod files;
mod hpa;
mod inlay;
mod keda;
mod knative;
mod kserve;
mod targets;
#[cfg(test)]
mod tests;
mod walk;
mod workload;

use std::path::Path as FilePath;

use crate::yaml::{Diagnostic, Document, Path, Place, Shape};
use files::{Files, Object, Wanted};
use inlay::Inlay;
pub(super) use targets::workloads;

/// What was wrong with manifests, and what is worth knowing about them.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Nothing runs.
    pub faults: Vec<Diagnostic>,
    /// Warnings.
    pub notes: Vec<Diagnostic>,
    /// The files that were read, as the scenario names them.
    pub files: Vec<String>,
    /// Something was wrong since this was last set to false; what was said before is not said again.
    struck: bool,
}

impl Found {
    fn note(&mut self, note: Diagnostic) {
        // Two policies may share a manifest.
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn file(&mut self, name: &str) {
        if !self.files.iter().any(|known| known == name) {
            self.files.push(name.to_owned());
        }
    }

    fn fault(&mut self, fault: Diagnostic) {
        self.struck = true;
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}

/// What a manifest is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Hpa,
    Keda,
    Knative,
    Replica,
    Adapter,
}

impl Slot {
    /// The objects that serve.
    const fn wanted(self) -> &'static [Wanted] {
        match self {
            Self::Hpa => &[Wanted { kind: "HorizontalPodAutoscaler", group: "autoscaling" }],
            Self::Keda => &[
                Wanted { kind: "ScaledObject", group: "keda.sh" },
                Wanted { kind: "HTTPScaledObject", group: "http.keda.sh" },
            ],
            Self::Knative => &[
                Wanted { kind: "Service", group: "serving.knative.dev" },
                Wanted { kind: "Configuration", group: "serving.knative.dev" },
                Wanted { kind: "Revision", group: "serving.knative.dev" },
                Wanted { kind: "PodAutoscaler", group: "autoscaling.internal.knative.dev" },
                Wanted { kind: "InferenceService", group: "serving.kserve.io" },
            ],
            Self::Replica => &[
                Wanted { kind: "Deployment", group: "apps" },
                Wanted { kind: "StatefulSet", group: "apps" },
                Wanted { kind: "ReplicaSet", group: "apps" },
                Wanted { kind: "LeaderWorkerSet", group: "leaderworkerset.x-k8s.io" },
                Wanted { kind: "Pod", group: "" },
                Wanted { kind: "Service", group: "serving.knative.dev" },
                Wanted { kind: "Configuration", group: "serving.knative.dev" },
                Wanted { kind: "Revision", group: "serving.knative.dev" },
                Wanted { kind: "InferenceService", group: "serving.kserve.io" },
            ],
            Self::Adapter => &[Wanted { kind: "ConfigMap", group: "" }],
        }
    }

    /// What a reader who brought the wrong file might have meant: the slot for a kind.
    fn of_kind(kind: &str) -> Option<&'static str> {
        Some(match kind {
            "HorizontalPodAutoscaler" => "hpa",
            "ScaledObject" | "HTTPScaledObject" => "keda",
            "PodAutoscaler" | "Configuration" | "Revision" | "InferenceService" => "knative",
            "Deployment" | "StatefulSet" | "ReplicaSet" | "LeaderWorkerSet" => "replica",
            _ => return None,
        })
    }
}

/// A file that the scenario names.
pub(super) struct Request {
    slot: Slot,
    /// The mapping that names it.
    at: Path,
    /// The file, as the scenario names it.
    file: String,
    file_place: Place,
    /// The object that is wanted, where the file holds several.
    object: Option<(String, Place)>,
}

/// Writes what the scenario's manifests say into its tree. `directory` is the scenario's.
pub(super) fn inline(scenario: &mut Document, directory: &FilePath) -> Found {
    let mut found = Found::default();
    let mut files = Files::new(directory);
    for (slot, at) in slots(scenario) {
        let request = request(scenario, slot, &at, "manifest", &mut found);
        let config = match slot {
            Slot::Knative => self::request(scenario, slot, &at, "configManifest", &mut found),
            _ => None,
        };
        if let Some(request) = request {
            found.struck = false;
            fill(scenario, &request, &mut files, &mut found);
            // A policy without its manifest lacks what must be there; that is no second fault.
            if found.struck && slot == Slot::Hpa && !scenario.contains(&at.key("maxReplicas")) {
                scenario.spoil(&at);
            }
        }
        if let Some(config) = config {
            knative::config_manifest(scenario, &config, &mut files, &mut found);
        }
    }
    found
}

/// Every mapping of the scenario in which `manifest` may stand.
fn slots(scenario: &Document) -> Vec<(Slot, Path)> {
    let policies = Path::keys(["policies"]);
    let mut slots = Vec::new();
    for name in scenario.keys_at(&policies) {
        policy_slots(scenario, &policies.key(name), &mut slots);
    }
    slots.push((Slot::Replica, Path::keys(["replica"])));
    slots.push((Slot::Adapter, Path::keys(["telemetry", "adapter"])));
    slots
}

/// Those of a policy and of the policies within it.
fn policy_slots(scenario: &Document, at: &Path, slots: &mut Vec<(Slot, Path)>) {
    for (kind, slot) in [("hpa", Slot::Hpa), ("keda", Slot::Keda), ("knative", Slot::Knative)] {
        if scenario.contains(&at.key(kind)) {
            slots.push((slot, at.key(kind)));
        }
    }
    let nests = [
        ("warmPool", "over"),
        ("predictive", "over"),
        ("schedule", "over"),
        ("guard", "over"),
        ("shadow", "run"),
        ("shadow", "candidate"),
    ];
    for (kind, key) in nests {
        let below = at.key(kind).key(key);
        if scenario.contains(&below) {
            policy_slots(scenario, &below, slots);
        }
    }
    for kind in ["max", "min"] {
        let members = at.key(kind).key("of");
        for name in scenario.keys_at(&members) {
            policy_slots(scenario, &members.key(name), slots);
        }
    }
}

/// Takes the request for a file out of a mapping.
fn request(
    scenario: &mut Document,
    slot: Slot,
    at: &Path,
    field: &str,
    found: &mut Found,
) -> Option<Request> {
    let place = |scenario: &Document, path: &Path| scenario.place(scenario.span_of(path));
    let (file_at, object_at) = (at.key(field), at.key("object"));
    let file = scenario.text_at(&file_at).map(str::to_owned);
    let object = scenario.text_at(&object_at).map(str::to_owned);
    if matches!(scenario.shape(&file_at), Some(Shape::List(_) | Shape::Mapping)) {
        found.fault(scenario.fault("E0204", &file_at, "expected the name of a file"));
        if slot == Slot::Hpa {
            scenario.spoil(at);
        }
        return None;
    }
    let Some(file) = file else {
        for name in ["object", "container"] {
            let without = at.key(name);
            if field == "manifest" && scenario.contains(&without) && !scenario.contains(&file_at) {
                let fault = scenario.fault_at_key("E0202", &without, format!("`{name}` without `manifest`"));
                found.fault(fault.helped("name the file: `manifest: FILE`"));
            }
        }
        return None;
    };
    let request = Request {
        slot,
        at: at.clone(),
        file,
        file_place: place(scenario, &file_at),
        object: object.filter(|_| field == "manifest").map(|object| (object, place(scenario, &object_at))),
    };
    scenario.remove(&file_at);
    if field == "manifest" {
        scenario.remove(&object_at);
    }
    Some(request)
}

fn fill(scenario: &mut Document, request: &Request, files: &mut Files, found: &mut Found) {
    let Some(documents) = files.read(request, found) else { return };
    if request.slot == Slot::Adapter {
        adapter::fill(scenario, request, documents, found);
        return;
    }
    let Some(objects) = files::objects(documents, found) else { return };
    let object = match files::choose(&objects, request.slot.wanted(), request) {
        Ok(object) => object.clone(),
        Err(fault) => return found.fault(*fault),
    };
    if request.slot == Slot::Keda {
        keda::note_authentication(&objects, found);
    }
    let config = objects.iter().find(|object| knative::is_config(object)).cloned();
    let mut inlay = Inlay { scenario, found, object, at: request.at.clone() };
    match (request.slot, inlay.object.kind.as_str()) {
        (Slot::Hpa, _) => hpa::fill(&mut inlay),
        (Slot::Keda, _) => keda::fill(&mut inlay),
        (Slot::Knative, "InferenceService") => kserve::fill(&mut inlay),
        (Slot::Knative, _) => knative::fill(&mut inlay),
        (Slot::Replica | Slot::Adapter, _) => workload::fill(&mut inlay),
    }
    if request.slot == Slot::Knative
        && let Some(config) = config
    {
        knative::fill_config(&mut Inlay { object: config, ..inlay });
    }
}

/// A warning about what stands at a key of an object.
fn note_at(code: &'static str, object: &Object<'_>, path: &Path, message: impl Into<String>) -> Diagnostic {
    let document = object.document;
    Diagnostic::warning(code, message).placed(document.place(document.key_span_of(path)))
}
