//! Policies of a scenario as the Kubernetes objects that make them real, and what of them no object holds.
//!
//! What is written here reads back through `scenario::manifest` as the same policy: what the scenario says is written, what
//! it leaves out is left out, and what stands in no object (flags of controllers, the simulation's own) is listed
//! in the head of the file, with what to write beside `manifest` to have it again.

mod adapter;
mod beside;
mod crossing;
mod head;
mod hpa;
mod keda;
mod knative;
mod layered;
mod names;
mod placeholder;
mod schedule;

use std::fmt;

use serde_json::{Map, Value};

use super::{Resolved, Scenario};
use crate::policy::PolicySpec;
use crate::promql::catalogue::{Exporter, METRICS, Metric};
use crate::yaml::{Diagnostic, Path};
use layered::Layered;
pub use names::Names;

/// What of a policy's name, place and target is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The policy, by its name in the scenario; may be left out where there is but one.
    pub policy: Option<&'a str>,
    /// The kind of objects; by default the policy's own.
    pub kind: Option<Kind>,
    /// `metadata.name`.
    pub name: Option<&'a str>,
    /// `metadata.namespace`.
    pub namespace: Option<&'a str>,
    /// What is scaled: `NAME` of a Deployment, or `KIND/NAME`.
    pub target: Option<&'a str>,
    /// Where Prometheus is, for triggers that the scenario does not write itself.
    pub prometheus: &'a str,
}

/// The kinds of autoscalers that there are objects for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A HorizontalPodAutoscaler.
    Hpa,
    /// A ScaledObject or an HTTPScaledObject.
    Keda,
    /// A Knative Service.
    Knative,
}

impl Kind {
    /// As scenarios and `--as` have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hpa => "hpa",
            Self::Keda => "keda",
            Self::Knative => "knative",
        }
    }

    /// The kind of a policy that is one of them.
    const fn of(policy: &PolicySpec) -> Option<Self> {
        match policy {
            PolicySpec::Hpa(_) => Some(Self::Hpa),
            PolicySpec::Keda(_) => Some(Self::Keda),
            PolicySpec::Knative(_) => Some(Self::Knative),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The objects of a policy, and what is to be known of them.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// The scenario's name and the policy's.
    pub of: (String, String),
    /// The objects, in the order in which they are applied.
    pub objects: Vec<Value>,
    /// The policy as a scenario reads it back, with `FILE` where the file of these objects is named.
    pub read_back: Value,
    /// What the scenario does not say and the objects must.
    pub added: Vec<String>,
    /// What no object holds.
    pub left_out: Vec<LeftOut>,
    /// What must be there for the objects to do what they say.
    pub needs: Vec<String>,
    /// In what the objects differ from the policy, though they want the same replicas.
    pub differs: Vec<String>,
}

/// Something that no object holds.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// Its place below the policy's kind: `controller.phase`.
    pub path: String,
    /// What it says.
    pub value: Value,
    /// Why it is left out, or where else it is set.
    pub why: String,
}

/// Why a policy cannot be made real: the path below its kind, what, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    path: String,
    why: String,
    help: String,
}

impl Refusal {
    fn new(path: impl Into<String>, why: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into(), help: help.into() }
    }

    /// The same of a policy that lies below a key of another one.
    fn below(mut self, key: &str) -> Self {
        self.path = if self.path.is_empty() { key.to_owned() } else { format!("{key}.{}", self.path) };
        self
    }
}

/// The objects of a policy.
///
/// # Errors
/// A policy there is not, one that no objects of the kind make, and names that Kubernetes refuses.
pub fn export(
    scenario: &Scenario,
    resolved: &Resolved,
    wanted: &Wanted<'_>,
) -> Result<Exported, Vec<Diagnostic>> {
    let (name, policy) = named(scenario, resolved, wanted.policy)?;
    let at = Path::keys(["policies"]).key(name);
    let refused = |refusal: Refusal| {
        let below = format!("{}.{}", policy.kind(), refusal.path);
        let below = Path::parse(below.trim_end_matches('.')).unwrap_or_else(|_| Path::keys([policy.kind()]));
        let fault = scenario.document.fault_at_key("E0801", &at.join(&below), refusal.why);
        vec![fault.helped(refusal.help)]
    };
    let Layered { policy: inner, around } = layered::peel(policy, resolved).map_err(refused)?;
    let setting = &resolved.simulation.setting;
    let real = crossing::cross(&inner, wanted, setting).map_err(|own| {
        // Layers are refused before what is below them.
        refused(around.path.iter().rev().fold(own, |refusal, key| refusal.below(key)))
    })?;
    let names = Names::find(scenario, resolved, &real, wanted)?;
    let mut exported = Exported { of: (scenario.spec.name.clone(), name.to_owned()), ..Exported::default() };
    exported.differs = around.differs.iter().cloned().chain(real.differs).collect();
    let beside = match &real.policy {
        PolicySpec::Hpa(spec) => hpa::export(spec, &names, setting, &mut exported),
        PolicySpec::Keda(spec) => keda::export(spec, &names, &mut exported),
        PolicySpec::Knative(spec) => knative::export(spec, &names, &mut exported),
        other => unreachable!("{} is none of the three", other.kind()),
    };
    let kind = real.policy.kind();
    let mut settings = Map::from_iter([("manifest".to_owned(), Value::from("FILE"))]);
    settings.extend(beside);
    exported.read_back =
        around.read_back(Value::Object(Map::from_iter([(kind.to_owned(), settings.into())])));
    if let Some(spare) = around.spare_nodes {
        exported.objects.extend(placeholder::objects(spare, resolved, &names));
        exported.needs.push(placeholder::NEEDS.to_owned());
    }
    exported.needs.extend(of_the_gateway(&exported.objects));
    exported.left_out.extend(around.left_out);
    exported.added.extend(names.added);
    Ok(exported)
}

/// The policy of that name, or the only one.
fn named<'a>(
    scenario: &Scenario,
    resolved: &'a Resolved,
    name: Option<&str>,
) -> Result<(&'a str, &'a PolicySpec), Vec<Diagnostic>> {
    let all = || resolved.policies.keys().map(String::as_str);
    let of_file =
        |message: String| scenario.document.fault_at_key("E0803", &Path::keys(["policies"]), message);
    let help = || format!("`--policy NAME`, one of {}", all().collect::<Vec<_>>().join(", "));
    let found = match name {
        Some(name) => resolved
            .policies
            .get_key_value(name)
            .ok_or_else(|| of_file(format!("the scenario has no policy `{name}`")).suggesting(name, all())),
        None if resolved.policies.len() == 1 => Ok(resolved.policies.first().expect("there is one")),
        None => Err(of_file(format!("which of the {} policies?", resolved.policies.len()))),
    };
    found.map(|(name, policy)| (name.as_str(), policy)).map_err(|fault| vec![fault.helped(help())])
}

/// The series of the simulated gateway that the objects name: a cluster has them only if somebody publishes them.
fn of_the_gateway(objects: &[Value]) -> Option<String> {
    let text: String = objects.iter().map(Value::to_string).collect();
    let named = |metric: &&Metric| metric.exporter == Exporter::Gateway && text.contains(metric.name);
    let names: Vec<String> =
        METRICS.iter().filter(named).map(|metric| format!("`{}`", metric.name)).collect();
    (!names.is_empty()).then(|| {
        let (these, are) = if names.len() == 1 { ("a series", "is") } else { ("series", "are") };
        format!(
            "{}, which {are} {these} of the simulated gateway: let yours publish it, or write what yours publishes",
            names.join(", ")
        )
    })
}

/// Removes what says nothing to Kubernetes: `null`, and lists of nothing. An empty mapping may: `behavior: {}`.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|_, value| !(value.is_null() || value.as_array().is_some_and(Vec::is_empty)));
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

/// A spec as its manifest has it.
fn spec_value(spec: &impl serde::Serialize) -> Map<String, Value> {
    let mut value = serde_json::to_value(spec).expect("a spec was read, and its keys are text");
    prune(&mut value);
    match value {
        Value::Object(map) => map,
        other => unreachable!("a spec is a mapping and no {other}"),
    }
}

/// An object of Kubernetes.
fn object(api: &str, kind: &str, metadata: Map<String, Value>, body: (&str, Value)) -> Value {
    let fields = [
        ("apiVersion", Value::from(api)),
        ("kind", Value::from(kind)),
        ("metadata", Value::Object(metadata)),
        body,
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
}
