//! How the objects are called, where they belong, and what they scale; names as Kubernetes takes them.

use serde_json::{Map, Value};

use super::crossing::Real;
use super::{Kind, Wanted};
use crate::policy::PolicySpec;
use crate::scenario::{Resolved, Scenario, manifest};
use crate::yaml::{Diagnostic, suggest};

/// Longest label of a domain, and longest value of a label (RFC 1123; `apimachinery/pkg/util/validation`).
const LABEL_MAX: usize = 63;
/// Longest subdomain.
const SUBDOMAIN_MAX: usize = 253;

/// What is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    api: Option<String>,
    kind: Option<String>,
    name: String,
}

impl Target {
    /// The fields that there are, in Kubernetes' order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("apiVersion", self.api.as_deref()),
            ("kind", self.kind.as_deref()),
            ("name", Some(self.name.as_str())),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }

    pub(super) fn value(&self) -> Value {
        self.fields().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
    }
}

/// How the objects are called, where they belong, and what they scale.
#[derive(Clone, Debug)]
pub struct Names {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, if it is said.
    pub namespace: Option<String>,
    /// What is scaled.
    pub target: Target,
    /// What of it the scenario does not say.
    pub(super) added: Vec<String>,
}

/// The API of a workload that can be scaled.
const WORKLOADS: [(&str, &str); 4] = [
    ("Deployment", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("LeaderWorkerSet", "leaderworkerset.x-k8s.io/v1"),
];

impl Names {
    /// Finds them.
    ///
    /// # Errors
    /// Every name that Kubernetes refuses.
    pub(super) fn find(
        scenario: &Scenario,
        resolved: &Resolved,
        real: &Real,
        wanted: &Wanted<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut added = Vec::new();
        let is_knative = matches!(real.policy, PolicySpec::Knative(_));
        let (target, said) = target(scenario, resolved, real, wanted, &mut faults);
        if let Some(said) = said.filter(|_| !is_knative) {
            let kind = target.kind.as_deref().unwrap_or("Deployment");
            added
                .push(format!("scaleTargetRef: {kind} `{}`, {said}; `--target` says otherwise", target.name));
        }
        let own = match &real.policy {
            PolicySpec::Keda(spec) => spec.name.clone(),
            PolicySpec::Knative(spec) => spec.name.clone(),
            _ => None,
        };
        let name = match (wanted.name, own) {
            (Some(name), _) => name.to_owned(),
            (None, Some(name)) => name,
            (None, None) => {
                added.push(format!(
                    "metadata.name: {}, as what is scaled; `--name` says otherwise",
                    target.name
                ));
                target.name.clone()
            }
        };
        // A ScaledObject's name is the value of a label, a Knative Service's a part of a host's name.
        let most = if matches!(real.policy, PolicySpec::Hpa(_)) { SUBDOMAIN_MAX } else { LABEL_MAX };
        let mut check = |what: &str, name: &str, option: &str, most: usize| {
            if let Some(why) = refused(name, most) {
                let fault = Diagnostic::error("E0802", format!("Kubernetes refuses {what} `{name}`: {why}"));
                faults.push(fault.helped(format!("write `{option} {}`", mended(name, most))));
            }
        };
        if !is_knative {
            check("the target's name", &target.name, "--target", SUBDOMAIN_MAX);
        }
        // A fault of the target's name is not said again of the name that is taken from it.
        if is_knative || name != target.name || refused(&target.name, SUBDOMAIN_MAX).is_none() {
            check("the name", &name, "--name", most);
        }
        if let Some(namespace) = wanted.namespace {
            check("the namespace", namespace, "--namespace", LABEL_MAX);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { name, namespace: wanted.namespace.map(str::to_owned), target, added })
    }

    /// `metadata` of the object.
    pub(super) fn metadata(&self) -> Map<String, Value> {
        let namespace =
            self.namespace.as_ref().map(|own| ("namespace".to_owned(), Value::from(own.as_str())));
        [("name".to_owned(), Value::from(self.name.as_str()))].into_iter().chain(namespace).collect()
    }
}

/// What is scaled: as the command line has it, the policy, the scenario's manifests, or else the scenario's own name.
/// With it, where it is from, unless the policy says it all.
fn target(
    scenario: &Scenario,
    resolved: &Resolved,
    real: &Real,
    wanted: &Wanted<'_>,
    faults: &mut Vec<Diagnostic>,
) -> (Target, Option<String>) {
    let own = own_target(&real.policy);
    if let Some(given) = wanted.target {
        return (given_target(given, own, faults), None);
    }
    if let Some(own) = own {
        // Only KEDA takes a Deployment for granted.
        if own.api.is_none() && matches!(real.policy, PolicySpec::Hpa(_)) {
            let api = WORKLOADS.iter().find(|(kind, _)| own.kind.as_deref() == Some(kind));
            if let Some((kind, api)) = api {
                let said = format!("with the `apiVersion: {api}` that a {kind} needs there");
                return (Target { api: Some((*api).to_owned()), ..own }, Some(said));
            }
        }
        return (own, None);
    }
    let found = manifest::workloads(&scenario.directory, &scenario.manifests);
    if let [(kind, api, name)] = found.as_slice() {
        let target = Target { api: Some(api.clone()), kind: Some(kind.clone()), name: name.clone() };
        return (target, Some("which is in the scenario's manifests".to_owned()));
    }
    let kind = if resolved.spec.replica.group_size > 1 { "LeaderWorkerSet" } else { "Deployment" };
    let api = WORKLOADS.iter().find(|(known, _)| *known == kind).map(|(_, api)| (*api).to_owned());
    let target = Target { api, kind: Some(kind.to_owned()), name: scenario.spec.name.clone() };
    (target, Some("by the scenario's name".to_owned()))
}

/// What the policy's own object scales.
fn own_target(policy: &PolicySpec) -> Option<Target> {
    match policy {
        PolicySpec::Hpa(spec) => spec.scale_target_ref.as_ref().map(|own| Target {
            api: own.api_version.clone(),
            kind: Some(own.kind.clone()),
            name: own.name.clone(),
        }),
        PolicySpec::Keda(spec) => {
            let scaled = spec.scaled_object.as_ref().map(|own| &own.scale_target_ref);
            let scaled = scaled.map(|own| (&own.api_version, &own.kind, &own.name));
            let http = spec.http_scaled_object.as_ref().map(|own| &own.scale_target_ref);
            let http = http.map(|own| (&own.api_version, &own.kind, &own.name));
            let (api, kind, name) = scaled.or(http)?;
            (!name.is_empty()).then(|| Target { api: api.clone(), kind: kind.clone(), name: name.clone() })
        }
        _ => None,
    }
}

/// `NAME` or `KIND/NAME`; the kind of the policy's own target stays, if none is given.
fn given_target(given: &str, own: Option<Target>, faults: &mut Vec<Diagnostic>) -> Target {
    let Some((kind, name)) = given.split_once('/') else {
        let (kind, api) = WORKLOADS[0];
        let deployment =
            || Target { api: Some(api.to_owned()), kind: Some(kind.to_owned()), name: String::new() };
        return Target { name: given.to_owned(), ..own.unwrap_or_else(deployment) };
    };
    let known = WORKLOADS.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind));
    let Some((kind, api)) = known else {
        let message = format!("`--target {given}`: no workload of the kind `{kind}` is known");
        let kinds = WORKLOADS.map(|(kind, _)| kind);
        let near = suggest(kind, kinds).unwrap_or(kinds[0]).to_lowercase();
        let help = format!("one of {}: did you mean `--target {near}/{name}`?", kinds.join(", "));
        faults.push(Diagnostic::error("E0802", message).helped(help));
        return Target { api: None, kind: None, name: name.to_owned() };
    };
    Target { api: Some((*api).to_owned()), kind: Some((*kind).to_owned()), name: name.to_owned() }
}

/// Why Kubernetes refuses a name of at most so many bytes: a label of a domain (RFC 1123), or several parted by dots where it may be
/// longer than one.
fn refused(name: &str, most: usize) -> Option<String> {
    let dots = most > LABEL_MAX;
    if name.is_empty() {
        return Some("it is empty".to_owned());
    }
    if name.len() > most {
        return Some(format!("it has {} bytes, and {most} are allowed", name.len()));
    }
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.iter().all(|b| is_inner(*b)) && is_end(bytes.first()) && is_end(bytes.last())
    };
    let sound = if dots { name.split('.').all(is_label) } else { is_label(name) };
    let dot = if dots { "`-` and `.`" } else { "and `-`" };
    (!sound).then(|| format!("it may hold a-z, 0-9, {dot}, and begins and ends with a letter or a digit"))
}

/// The nearest name that Kubernetes takes.
fn mended(name: &str, most: usize) -> String {
    let dots = most > LABEL_MAX;
    let change = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || (dots && c == '.') => c,
        _ => '-',
    };
    let changed: String = name.chars().map(change).take(most).collect();
    let labels: Vec<&str> =
        changed.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty()).collect();
    if labels.is_empty() { "NAME".to_owned() } else { labels.join(".") }
}

/// The kind a policy is exported as where nobody says.
pub(super) const fn own_kind(policy: &PolicySpec) -> Option<Kind> {
    Kind::of(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_rfc_1123_and_mended() {
        for (name, most, mend) in [
            ("vllm", LABEL_MAX, None),
            ("vllm.v2", SUBDOMAIN_MAX, None),
            ("vllm.v2", LABEL_MAX, Some("vllm-v2")),
            ("Evening_Spike", LABEL_MAX, Some("evening-spike")),
            ("-a-", SUBDOMAIN_MAX, Some("a")),
            ("a..b", SUBDOMAIN_MAX, Some("a.b")),
            ("", LABEL_MAX, Some("NAME")),
            ("_", SUBDOMAIN_MAX, Some("NAME")),
            (&"x".repeat(64), LABEL_MAX, Some(&"x".repeat(63))),
            (&"x".repeat(64), SUBDOMAIN_MAX, None),
            ("ü8", LABEL_MAX, Some("8")),
        ] {
            assert_eq!(refused(name, most).is_some(), mend.is_some(), "{name}: {:?}", refused(name, most));
            if let Some(mend) = mend {
                assert_eq!(mended(name, most), mend);
                assert!(mend == "NAME" || refused(mend, most).is_none(), "{mend}");
            }
        }
    }
}
