//! Notes on manifests, W02xx: what a run makes of them that is not plain to see. Nobody need change a manifest for it.

use super::{Code, code};

/// All of them, in order.
pub(super) const NOTES: &[Code] = &[
    code(
        "W0201",
        "part of a manifest that is not modelled",
        "The field changes what a cluster does, and a run does without it; the message says why that matters. Fields \
         that change nothing are read in silence, and unknown ones are errors. `docs/manifests.md` lists them.",
    ),
    code(
        "W0202",
        "credentials are ignored",
        "A TriggerAuthentication, or a reference to one: in a run, every trigger is answered without.",
    ),
    code(
        "W0203",
        "taken from an engine's arguments",
        "vLLM's arguments in a container's command set the engine of the run, as they set it in the cluster. What the \
         scenario's own `engine` says goes before them.",
    ),
];
