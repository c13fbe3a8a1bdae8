//! Faults of `thawline export`, E08xx.

use super::{Code, code};

/// All of them, in order.
pub(super) const FAULTS: &[Code] = &[
    code(
        "E0801",
        "a policy that no object makes real",
        "An exported policy must decide in a cluster as it did in the run, so what comes only close is refused. `hpa`, `keda` and \
         `knative` policies become objects of their own kind; some hpa and keda policies each other's; a `schedule` of floors \
         KEDA's cron triggers; a `warmPool` with `level: node` placeholder pods. The message says what stands in the way, and the \
         help what to simulate and export in its place.",
    ),
    code(
        "E0802",
        "a name that Kubernetes refuses",
        "Names of objects hold lower-case letters, digits, `-` and, where they may be long, `.` (RFC 1123). A name of at most 63 \
         characters without dots fits everywhere. Where nobody says one, the name of what is scaled is taken, and that is the \
         scenario's own name where neither the policy nor a manifest says it.",
    ),
    code("E0803", "which policy?", "The scenario has no policy of that name, or several and none was named."),
];
