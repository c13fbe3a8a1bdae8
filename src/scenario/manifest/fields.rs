//! The fields that objects have, and what becomes of each.
//!
//! After Kubernetes' API types of 1.37 (`core/v1`, `apps/v1`, `meta/v1`, `autoscaling/v1`), Knative Serving's (98e5ef90),
//! KServe's (aaac4e29), KEDA's (8b4f083c) and the HTTP add-on's (59b2f6a1). The `spec`s of HorizontalPodAutoscalers,
//! ScaledObjects and HTTPScaledObjects are not here: they are the policies' own.

use super::walk::Field::{Each, In, NoEffect, Texts, Unmodelled, Used};
use super::walk::Table;

const POOL: &str = "every replica runs in the scenario's node pool";
const OTHERS: &str = "no pods of others compete for the nodes, and none makes room";

const META: Table = &[&[
    (&["name"], Used),
    (&["labels", "annotations"], Texts),
    (
        &[
            "namespace",
            "generateName",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "ownerReferences",
            "finalizers",
            "managedFields",
        ],
        NoEffect,
    ),
]];

/// An object whose `spec` the policies read.
pub(super) const OBJECT: Table =
    &[&[(&["apiVersion", "kind", "spec"], Used), (&["metadata"], In(META)), (&["status"], NoEffect)]];

/// `autoscaling/v1`.
pub(super) const HPA_V1: Table =
    &[&[(&["scaleTargetRef", "minReplicas", "maxReplicas", "targetCPUUtilizationPercentage"], Used)]];

const PROBE: Table = &[&[
    (&["initialDelaySeconds", "periodSeconds", "successThreshold", "failureThreshold"], Used),
    (&["httpGet", "tcpSocket", "exec", "grpc", "timeoutSeconds", "terminationGracePeriodSeconds"], NoEffect),
]];

const HOOK: Table = &[&[
    (&["sleep", "exec"], Used),
    (&["httpGet", "tcpSocket"], Unmodelled("how long the request takes is not known")),
]];

const LIFECYCLE: Table = &[&[
    (&["preStop"], In(HOOK)),
    (&["postStart"], Unmodelled("the container counts as started only once the hook has ended")),
    (&["stopSignal"], NoEffect),
]];

const RESOURCES: Table = &[&[
    (&["limits", "requests"], Used),
    (&["claims"], Unmodelled("devices that are claimed are not counted; set `replica.gpus`")),
]];

const CONTAINER_FIELDS: &[(&[&str], super::walk::Field)] = &[
    (&["name", "image", "command", "args", "env", "restartPolicy"], Used),
    (&["resources"], In(RESOURCES)),
    (&["livenessProbe", "readinessProbe", "startupProbe"], In(PROBE)),
    (&["lifecycle"], In(LIFECYCLE)),
    (
        &[
            "envFrom",
            "ports",
            "workingDir",
            "volumeMounts",
            "volumeDevices",
            "imagePullPolicy",
            "securityContext",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "stdin",
            "stdinOnce",
            "tty",
            "resizePolicy",
            "restartPolicyRules",
        ],
        NoEffect,
    ),
];

const CONTAINER: Table = &[CONTAINER_FIELDS];

const POD_FIELDS: &[(&[&str], super::walk::Field)] = &[
    (&["containers"], Each(CONTAINER)),
    (&["initContainers"], Each(CONTAINER)),
    (&["terminationGracePeriodSeconds", "schedulerName"], Used),
    (&["resources"], In(RESOURCES)),
    (&["nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "nodeName"], Unmodelled(POOL)),
    (&["priorityClassName", "priority"], Unmodelled(OTHERS)),
    (&["readinessGates"], Unmodelled("Kubernetes also waits for these conditions before a pod is ready")),
    (&["schedulingGates"], Unmodelled("Kubernetes holds the pod back until they are lifted")),
    (&["activeDeadlineSeconds"], Unmodelled("no pod ends because of its age")),
    (&["resourceClaims"], Unmodelled("devices that are claimed are not counted; set `replica.gpus`")),
    (
        &[
            "volumes",
            "serviceAccountName",
            "serviceAccount",
            "automountServiceAccountToken",
            "imagePullSecrets",
            "securityContext",
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "hostUsers",
            "hostname",
            "hostnameOverride",
            "subdomain",
            "hostAliases",
            "dnsPolicy",
            "dnsConfig",
            "enableServiceLinks",
            "shareProcessNamespace",
            "setHostnameAsFQDN",
            "restartPolicy",
            "runtimeClassName",
            "os",
            "overhead",
            "preemptionPolicy",
            "ephemeralContainers",
            "workloadRef",
        ],
        NoEffect,
    ),
];

const POD_SPEC: Table = &[POD_FIELDS];

const POD_TEMPLATE: Table = &[&[(&["metadata"], In(META)), (&["spec"], In(POD_SPEC))]];

const DEPLOYMENT_SPEC: Table = &[&[
    (&["replicas"], Used),
    (&["template"], In(POD_TEMPLATE)),
    (
        &[
            "selector",
            "strategy",
            "minReadySeconds",
            "revisionHistoryLimit",
            "paused",
            "progressDeadlineSeconds",
        ],
        NoEffect,
    ),
]];

const STATEFUL_SET_SPEC: Table = &[&[
    (&["replicas", "podManagementPolicy"], Used),
    (&["template"], In(POD_TEMPLATE)),
    (
        &[
            "selector",
            "serviceName",
            "updateStrategy",
            "revisionHistoryLimit",
            "minReadySeconds",
            "volumeClaimTemplates",
            "persistentVolumeClaimRetentionPolicy",
            "ordinals",
        ],
        NoEffect,
    ),
]];

const LEADER_WORKER_TEMPLATE: Table = &[&[
    (&["size", "restartPolicy"], Used),
    (&["leaderTemplate", "workerTemplate"], In(POD_TEMPLATE)),
    (&["subGroupPolicy"], Unmodelled("the pods of a group are bound wherever there is room")),
    (&["volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy", "resizePolicy"], NoEffect),
]];

const LEADER_WORKER_SET_SPEC: Table = &[&[
    (&["replicas", "startupPolicy"], Used),
    (&["leaderWorkerTemplate"], In(LEADER_WORKER_TEMPLATE)),
    (&["rolloutStrategy", "networkConfig"], NoEffect),
]];

/// What of a pod's life Knative adds to it.
const REVISION_FIELDS: &[(&[&str], super::walk::Field)] = &[
    (&["containerConcurrency", "timeoutSeconds"], Used),
    (
        &["responseStartTimeoutSeconds", "idleTimeoutSeconds"],
        Unmodelled("a request is given up after `timeoutSeconds` only"),
    ),
];

const REVISION_SPEC: Table = &[POD_FIELDS, REVISION_FIELDS];

const REVISION_TEMPLATE: Table = &[&[(&["metadata"], In(META)), (&["spec"], In(REVISION_SPEC))]];

const TRAFFIC: Table = &[&[
    (&["percent", "revisionName"], Used),
    (&["latestRevision", "tag", "url", "configurationName"], NoEffect),
]];

const KNATIVE_SERVICE_SPEC: Table =
    &[&[(&["template"], In(REVISION_TEMPLATE)), (&["traffic"], Each(TRAFFIC))]];

const POD_AUTOSCALER_SPEC: Table =
    &[&[(&["containerConcurrency"], Used), (&["scaleTargetRef", "reachability", "protocolType"], NoEffect)]];

/// A predictor's model: a container, and what it serves.
const MODEL: Table = &[
    CONTAINER_FIELDS,
    &[(&["modelFormat", "runtime", "runtimeVersion", "protocolVersion", "storageUri", "storage"], NoEffect)],
];

/// Fields of a predictor that hold its model.
pub(super) const MODELS: [&str; 11] = [
    "model",
    "huggingface",
    "triton",
    "pytorch",
    "tensorflow",
    "onnx",
    "sklearn",
    "xgboost",
    "lightgbm",
    "paddle",
    "pmml",
];

const PREDICTOR: Table = &[
    POD_FIELDS,
    &[
        (&MODELS, In(MODEL)),
        (
            &[
                "minReplicas",
                "maxReplicas",
                "scaleTarget",
                "scaleMetric",
                "scaleMetricType",
                "autoScaling",
                "containerConcurrency",
                "timeout",
            ],
            Used,
        ),
        (&["labels", "annotations"], Texts),
        (&["canaryTrafficPercent"], Unmodelled("all requests go to one revision")),
        (&["batcher"], Unmodelled("requests reach the engine one by one")),
        (&["workerSpec"], Unmodelled("a replica is one pod; set `replica.gpus` to the GPUs of all of them")),
        (&["logger", "deploymentStrategy", "storageUris"], NoEffect),
    ],
];

const INFERENCE_SERVICE_SPEC: Table = &[&[
    (&["predictor"], In(PREDICTOR)),
    (&["transformer", "explainer"], Unmodelled("requests go to the predictor at once")),
]];

/// Of each kind of object that is held against these tables, its own.
pub(super) fn table_of(kind: &str) -> Table {
    macro_rules! object {
        ($spec:expr) => {
            &[&[
                (&["apiVersion", "kind"], Used),
                (&["metadata"], In(META)),
                (&["spec"], In($spec)),
                (&["status"], NoEffect),
            ]]
        };
    }
    match kind {
        "Deployment" | "ReplicaSet" => object!(DEPLOYMENT_SPEC),
        "StatefulSet" => object!(STATEFUL_SET_SPEC),
        "LeaderWorkerSet" => object!(LEADER_WORKER_SET_SPEC),
        "Pod" => object!(POD_SPEC),
        "Service" | "Configuration" => object!(KNATIVE_SERVICE_SPEC),
        "Revision" => object!(REVISION_SPEC),
        "PodAutoscaler" => object!(POD_AUTOSCALER_SPEC),
        "InferenceService" => object!(INFERENCE_SERVICE_SPEC),
        "ConfigMap" => &[&[
            (&["apiVersion", "kind"], Used),
            (&["metadata"], In(META)),
            (&["data"], Texts),
            (&["binaryData", "immutable"], NoEffect),
        ]],
        _ => OBJECT,
    }
}

/// What `docs/manifests.md` lists: every field that is warned about, with why.
#[cfg(test)]
pub(super) fn unmodelled() -> Vec<(&'static str, &'static str)> {
    fn collect(table: Table, found: &mut Vec<(&'static str, &'static str)>) {
        for (names, field) in table.iter().copied().flatten() {
            match field {
                Unmodelled(why) => found.extend(names.iter().map(|name| (*name, *why))),
                In(table) | Each(table) => collect(table, found),
                Used | NoEffect | Texts => {}
            }
        }
    }
    let mut found = Vec::new();
    for kind in
        ["Deployment", "StatefulSet", "LeaderWorkerSet", "Pod", "Service", "Revision", "InferenceService"]
    {
        collect(table_of(kind), &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}
