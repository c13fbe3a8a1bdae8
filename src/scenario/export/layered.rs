//! Policies over policies: which of them objects make real, and why others are none.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{LeftOut, Refusal, schedule};
use crate::policy::warm_pool::SpareLevel;
use crate::policy::{PolicySpec, ScheduleSpec, WarmPoolSpec};
use crate::scenario::Resolved;

/// A policy that is one object, and what was around it.
#[derive(Debug)]
pub(super) struct Layered<'a> {
    pub policy: Cow<'a, PolicySpec>,
    pub around: Around,
}

/// What was around a policy.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The keys from the outermost kind to the policy's own.
    pub path: Vec<String>,
    /// Nodes that placeholders hold.
    pub spare_nodes: Option<u32>,
    /// What of it no object holds.
    pub left_out: Vec<LeftOut>,
    /// In what it differs from what is exported.
    pub differs: Vec<String>,
    /// The layers that a scenario reads back around the policy: kind and settings, outermost first.
    layers: Vec<(&'static str, Map<String, Value>)>,
}

impl Around {
    /// The policy with its layers, as a scenario has it.
    pub fn read_back(&self, policy: Value) -> Value {
        self.layers.iter().rev().fold(policy, |policy, (kind, settings)| {
            let mut settings = settings.clone();
            settings.insert("over".to_owned(), policy);
            json!({ *kind: settings })
        })
    }

    fn enter(&mut self, key: &str, below: &PolicySpec) {
        self.path.extend([key.to_owned(), below.kind().to_owned()]);
    }
}

/// Takes layers off until a policy is reached that is an object.
pub(super) fn peel<'a>(policy: &'a PolicySpec, resolved: &Resolved) -> Result<Layered<'a>, Refusal> {
    let mut around = Around::default();
    let mut policy = Cow::Borrowed(policy);
    loop {
        let below = |refusal: Refusal| around.path.iter().rev().fold(refusal, |own, key| own.below(key));
        let borrowed = match policy {
            Cow::Borrowed(policy) => policy,
            Cow::Owned(_) => return Ok(Layered { policy, around }),
        };
        match borrowed {
            PolicySpec::Hpa(_) | PolicySpec::Keda(_) | PolicySpec::Knative(_) => {
                return Ok(Layered { policy, around });
            }
            PolicySpec::Shadow(spec) => {
                around.left_out.push(LeftOut {
                    path: "shadow.candidate".to_owned(),
                    value: Value::from(spec.candidate.kind()),
                    why: "a policy that is only watched orders nothing".to_owned(),
                });
                around.enter("run", &spec.run);
                policy = Cow::Borrowed(&spec.run);
            }
            PolicySpec::WarmPool(spec) => {
                let spare = placeholders(spec, resolved).map_err(below)?;
                if around.spare_nodes.is_some() {
                    return Err(below(Refusal::new("", "a warm pool in a warm pool", "write one warm pool")));
                }
                around.spare_nodes = Some(spare);
                let settings = json!({ "spare": spare, "level": "node" });
                around.layers.push(("warmPool", settings.as_object().cloned().unwrap_or_default()));
                around.enter("over", &spec.over);
                policy = Cow::Borrowed(&spec.over);
            }
            PolicySpec::Schedule(spec) => {
                policy = Cow::Owned(
                    scheduled(spec, &mut around)
                        .map_err(|own| around.path.iter().rev().fold(own, |own, key| own.below(key)))?,
                );
            }
            other => return Err(below(none_is(other))),
        }
    }
}

/// A schedule by itself, as KEDA's cron triggers.
fn scheduled(spec: &ScheduleSpec, around: &mut Around) -> Result<PolicySpec, Refusal> {
    let object = schedule::scaled_object(spec)?;
    around.differs.push(schedule::DIFFERS.to_owned());
    Ok(PolicySpec::Keda(Box::new(object)))
}

/// How many nodes a warm pool's placeholders hold, if that is all it does.
fn placeholders(spec: &WarmPoolSpec, resolved: &Resolved) -> Result<u32, Refusal> {
    const INSTEAD: &str = "raise the policy's own minimum by the spares and simulate that, or keep nodes alone: \
                           `warmPool: { spare: N, level: node, .. }` becomes placeholder pods";
    let refuse = |path: &str, why: &str| Err(Refusal::new(path, why, INSTEAD));
    if spec.level != SpareLevel::Node {
        return match (spec.level, spec.in_rotation) {
            (SpareLevel::Image, _) => refuse(
                "level",
                "spares whose image lies on a node need something that pulls it there, which no object of Kubernetes' own does",
            ),
            (_, true) => refuse(
                "inRotation",
                "spares in rotation that the policy below does not count: an autoscaler of Kubernetes counts every pod of its target",
            ),
            _ => refuse(
                "",
                "loaded spares out of rotation: an autoscaler of Kubernetes counts every pod of its target, and each one that is ready serves",
            ),
        };
    }
    if spec.fraction.is_some() || spec.worst_rise.is_some() {
        let path = if spec.fraction.is_some() { "fraction" } else { "worstRise" };
        return refuse(
            path,
            "spares whose number changes with the load: a Deployment of placeholders has a fixed one",
        );
    }
    if spec.while_active {
        return refuse(
            "whileActive",
            "spares that come and go with requests: placeholders stay day and night",
        );
    }
    if resolved.spec.replica.group_size > 1 {
        return refuse("", "room for a group of pods: a placeholder is one pod and holds one node");
    }
    spec.spare.ok_or_else(|| Refusal::new("spare", "a warm pool without a number of spares", INSTEAD))
}

/// Why there is no object for a policy, and what there is.
fn none_is(policy: &PolicySpec) -> Refusal {
    let (why, help) = match policy {
        PolicySpec::Fixed(spec) => (
            "a fixed number of replicas needs no autoscaler".to_owned(),
            format!("`kubectl scale deployment NAME --replicas={}`", spec.replicas),
        ),
        PolicySpec::Ray(_) => (
            "Ray Serve scales within a Ray cluster, by no object of Kubernetes".to_owned(),
            "its `autoscaling_config` is Ray's own: write it in the Serve configuration".to_owned(),
        ),
        PolicySpec::Aibrix(_) => (
            "AIBrix's PodAutoscaler is none of hpa, keda and knative".to_owned(),
            "its settings are the `spec` of that object: write them there".to_owned(),
        ),
        PolicySpec::Wva(_) | PolicySpec::Dynamo(_) => (
            format!("`{}` is a controller with settings of its own, none of hpa, keda and knative", policy.kind()),
            "write its settings where that controller reads them".to_owned(),
        ),
        PolicySpec::Predictive(_) | PolicySpec::Slo(_) => (
            format!("`{}` is the simulation's own: no controller of Kubernetes decides like it", policy.kind()),
            "see with it what could be gained, and export the hpa or keda policy that comes closest".to_owned(),
        ),
        PolicySpec::Max(_) | PolicySpec::Min(_) => (
            "several autoscalers of one workload overrule each other in a cluster".to_owned(),
            "write the metrics into one hpa or keda policy, which takes the highest proposal of them, and simulate that"
                .to_owned(),
        ),
        _ => (
            "no object of Kubernetes bounds what another autoscaler orders".to_owned(),
            "write the bounds into the policy itself (`minReplicas`, `maxReplicas`, `behavior`), and simulate that"
                .to_owned(),
        ),
    };
    Refusal::new("", why, help)
}
