//! KEDA's ScaledObject and the HTTP add-on's HTTPScaledObject: their `spec`s are the policy's own.

use super::fields::OBJECT;
use super::files::Object;
use super::inlay::Inlay;
use super::walk::{Warn, texts, walk};
use super::{Found, note_at};
use crate::policy::keda::annotations::KEYS;
use crate::yaml::Path;

const PREFIX: &str = "autoscaling.keda.sh/";

/// What the note on credentials says.
const NO_CREDENTIALS: &str = "credentials are ignored: every trigger of a run is answered";

pub(super) fn fill(inlay: &mut Inlay<'_>) {
    walk(&inlay.object, &inlay.object.path, OBJECT, Warn::Yes, inlay.found);
    let spec = inlay.path("spec");
    if !inlay.has(&spec) {
        let root = inlay.object.path.clone();
        return inlay.require(&root, "spec");
    }
    let help = "KEDA has known v1alpha1 since its version 2";
    if !inlay.demand_version("v1alpha1", help) {
        return;
    }
    let (name, annotations) = (inlay.path("metadata.name"), inlay.path("metadata.annotations"));
    let at = inlay.at.clone();
    inlay.take(&name, &at.key("name"));
    inlay.take_annotations(&annotations, PREFIX, &KEYS);
    if inlay.object.kind == "HTTPScaledObject" {
        inlay.take(&spec, &at.key("httpScaledObject"));
        return;
    }
    let triggers = inlay.items(&spec.key("triggers"));
    for trigger in &triggers {
        texts(&inlay.object, &trigger.key("metadata"), inlay.found);
    }
    let with_credentials =
        triggers.iter().map(|trigger| trigger.key("authenticationRef")).find(|path| inlay.has(path));
    if let Some(path) = with_credentials {
        inlay.note("W0202", &path, NO_CREDENTIALS, "");
    }
    inlay.take(&spec, &at.key("scaledObject"));
}

/// Says that credentials in the file are not read.
pub(super) fn note_authentication(objects: &[Object<'_>], found: &mut Found) {
    for object in objects {
        let is_credentials =
            matches!(object.kind.as_str(), "TriggerAuthentication" | "ClusterTriggerAuthentication");
        if is_credentials && object.group() == "keda.sh" {
            let path: Path = object.path("kind");
            found.note(note_at("W0202", object, &path, format!("{}: {NO_CREDENTIALS}", object.label())));
        }
    }
}
