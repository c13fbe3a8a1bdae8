//! Knative Serving: what a Service, Configuration, Revision or PodAutoscaler says about its scaling, and the cluster's
//! `config-autoscaler`.

use super::fields::table_of;
use super::files::{self, Files, Object, Wanted};
use super::inlay::Inlay;
use super::walk::{Warn, unknown, walk};
use super::{Found, Request};
use crate::policy::knative::annotations::KEYS;
use crate::policy::knative::config;
use crate::yaml::{Document, Path, Shape};

/// What scales a revision, by its annotations.
pub(super) const SCALING: &str = "autoscaling.knative.dev/";
/// The class of a revision's autoscaler.
const CLASS: &str = "autoscaling.knative.dev/class";
/// The class that is an HPA.
const HPA_CLASS: &str = "hpa.autoscaling.knative.dev";
const PROGRESS: &str = "serving.knative.dev/progress-deadline";
const CONFIG: &str = "config-autoscaler";

pub(super) fn fill(inlay: &mut Inlay<'_>) {
    let kind = inlay.object.kind.clone();
    walk(&inlay.object, &inlay.object.path, table_of(&kind), Warn::No, inlay.found);
    let version = if kind == "PodAutoscaler" { "v1alpha1" } else { "v1" };
    if !inlay.demand_version(version, &format!("write it as version {version}")) {
        return;
    }
    let (annotations, revision) = match kind.as_str() {
        "Service" | "Configuration" => {
            misplaced(inlay);
            traffic(inlay);
            let root = inlay.path("spec");
            inlay.require(&root, "template");
            (inlay.path("spec.template.metadata.annotations"), inlay.path("spec.template.spec"))
        }
        _ => (inlay.path("metadata.annotations"), inlay.path("spec")),
    };
    let at = inlay.at.clone();
    let name = inlay.path("metadata.name");
    inlay.take(&name, &at.key("name"));
    take_scaling(inlay, &annotations);
    inlay.take(&revision.key("containerConcurrency"), &at.key("containerConcurrency"));
    if kind != "PodAutoscaler" {
        inlay.take(&revision.key("timeoutSeconds"), &at.key("timeoutSeconds"));
        for field in ["responseStartTimeoutSeconds", "idleTimeoutSeconds"] {
            if inlay.has(&revision.key(field)) {
                let why = "a request is given up after `timeoutSeconds` only";
                inlay.unmodelled(&revision.key(field), &format!("`{field}`"), why);
            }
        }
    }
}

/// Takes the annotations of a revision over, unless they ask for another autoscaler.
pub(super) fn take_scaling(inlay: &mut Inlay<'_>, annotations: &Path) {
    if inlay.text(&annotations.key(CLASS)) == Some(HPA_CLASS) {
        let message = "Knative leaves this revision to an HPA";
        let help = "write `hpa: { manifest: .. }` with the HPA that Knative makes of it: `kubectl get hpa.v2.autoscaling -o yaml`";
        return inlay.fault("E0408", &annotations.key(CLASS), message, help);
    }
    let known: Vec<&str> = KEYS.iter().copied().flatten().copied().collect();
    inlay.take_annotations(annotations, SCALING, &known);
    let at = inlay.at.key("annotations").key(PROGRESS);
    inlay.take(&annotations.key(PROGRESS), &at);
}

/// Upstream's webhook refuses what would have no effect, `pkg/apis/serving/metadata_validation.go`.
fn misplaced(inlay: &mut Inlay<'_>) {
    let annotations = inlay.path("metadata.annotations");
    for key in inlay.keys(&annotations) {
        if key.starts_with(SCALING) {
            let message = format!("`{key}` has no effect here, and Knative refuses it");
            let help = "write it under `spec.template.metadata.annotations`";
            inlay.fault_at_key("E0409", &annotations.key(key), message, help);
        }
    }
}

/// More than one revision would share the requests.
fn traffic(inlay: &mut Inlay<'_>) {
    let targets = inlay.items(&inlay.path("spec.traffic"));
    let shares = targets.iter().filter(|target| {
        let percent = inlay.text(&target.key("percent"));
        percent.is_some_and(|percent| percent != "0")
    });
    if shares.count() > 1 {
        let path = inlay.path("spec.traffic");
        inlay.unmodelled(&path, "a split of traffic", "all requests go to one revision");
    }
}

/// Whether an object is the cluster's configuration of the autoscaler.
pub(super) fn is_config(object: &Object<'_>) -> bool {
    object.kind == "ConfigMap" && object.group().is_empty() && object.name == CONFIG
}

/// The configuration of a file of its own.
pub(super) fn config_manifest(
    scenario: &mut Document,
    request: &Request,
    files: &mut Files,
    found: &mut Found,
) {
    let Some(documents) = files.read(request, found) else { return };
    let Some(objects) = files::objects(documents, found) else { return };
    let named = objects.iter().find(|object| is_config(object));
    let only = || files::choose(&objects, &[Wanted { kind: "ConfigMap", group: "" }], request);
    match named.map_or_else(only, Ok) {
        Ok(object) => {
            let object = object.clone();
            fill_config(&mut Inlay { scenario, found, object, at: request.at.clone() });
        }
        Err(fault) => found.fault(*fault),
    }
}

/// `data` of the ConfigMap `config-autoscaler`.
pub(super) fn fill_config(inlay: &mut Inlay<'_>) {
    walk(&inlay.object, &inlay.object.path, table_of("ConfigMap"), Warn::Yes, inlay.found);
    let data = inlay.path("data");
    if inlay.shape(&data) != Some(Shape::Mapping) {
        return;
    }
    let at = inlay.at.key("config");
    for key in inlay.keys(&data) {
        let path = data.key(key);
        if config::KEYS.contains(&key) {
            inlay.take(&path, &at.key(key));
        } else if key != "_example" {
            let document = inlay.object.document;
            let fault = document.fault_at_key("E0201", &path, format!("unknown key `{key}` of `{CONFIG}`"));
            inlay.found.fault(unknown(fault, key, &config::KEYS));
        }
    }
}
