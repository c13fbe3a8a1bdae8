//! Policies within policies: how they are reached, and what does not go together.

use super::api::{Autoscaler, DataPath};
use super::{Fault, PolicySpec, Setting, WarmPoolSpec};

impl PolicySpec {
    /// The policies right below this one, each with its path relative to this one's spec.
    pub fn below(&self) -> Vec<(String, &Self)> {
        let own = |key: &str, policy| (key.to_owned(), policy);
        match self {
            Self::Fixed(_)
            | Self::Hpa(_)
            | Self::Keda(_)
            | Self::Knative(_)
            | Self::Ray(_)
            | Self::Aibrix(_)
            | Self::Wva(_)
            | Self::Dynamo(_)
            | Self::Slo(_) => Vec::new(),
            Self::WarmPool(spec) => vec![own("over", &spec.over)],
            Self::Predictive(spec) => spec.over.iter().map(|policy| own("over", policy)).collect(),
            Self::Schedule(spec) => spec.over.iter().map(|policy| own("over", policy)).collect(),
            Self::Max(spec) | Self::Min(spec) => {
                spec.of.iter().map(|(name, policy)| (format!("of.{name}"), policy)).collect()
            }
            Self::Guard(spec) => vec![own("over", &spec.over)],
            Self::Shadow(spec) => vec![own("run", &spec.run), own("candidate", &spec.candidate)],
        }
    }

    /// The same, to be filled in.
    pub fn below_mut(&mut self) -> Vec<(Vec<String>, &mut Self)> {
        let own = |key: &str, policy| (vec![key.to_owned()], policy);
        match self {
            Self::Fixed(_)
            | Self::Hpa(_)
            | Self::Keda(_)
            | Self::Knative(_)
            | Self::Ray(_)
            | Self::Aibrix(_)
            | Self::Wva(_)
            | Self::Dynamo(_)
            | Self::Slo(_) => Vec::new(),
            Self::WarmPool(spec) => vec![own("over", &mut spec.over)],
            Self::Predictive(spec) => spec.over.iter_mut().map(|policy| own("over", policy)).collect(),
            Self::Schedule(spec) => spec.over.iter_mut().map(|policy| own("over", policy)).collect(),
            Self::Max(spec) | Self::Min(spec) => {
                let member = |(name, policy): (&String, _)| (vec!["of".to_owned(), name.clone()], policy);
                spec.of.iter_mut().map(member).collect()
            }
            Self::Guard(spec) => vec![own("over", &mut spec.over)],
            Self::Shadow(spec) => vec![own("run", &mut spec.run), own("candidate", &mut spec.candidate)],
        }
    }

    /// Whether this policy or one within it is such a one.
    pub fn any(&self, is_such: &dyn Fn(&Self) -> bool) -> bool {
        is_such(self) || self.below().into_iter().any(|(_, policy)| policy.any(is_such))
    }

    /// The warm pools whose spares there are: of a shadow, those of the policy that runs.
    pub(super) fn warm_pools(&self) -> Vec<&WarmPoolSpec> {
        let own = if let Self::WarmPool(spec) = self { Some(&**spec) } else { None };
        let is_run = |path: &String| !matches!(self, Self::Shadow(_)) || path == "run";
        let below = self.below().into_iter().filter(|(path, _)| is_run(path));
        own.into_iter().chain(below.flat_map(|(_, policy)| policy.warm_pools())).collect()
    }

    /// What of the policies right below does not go together; paths are relative to this one's spec. Each by itself is sound.
    pub(super) fn check_together(&self, setting: &Setting) -> Vec<Fault> {
        let below = self.below();
        if below.len() < 2 {
            return Vec::new();
        }
        let mut faults: Vec<Fault> = Vec::new();
        let built: Vec<_> = below.iter().map(|(path, policy)| (path, policy.build(setting))).collect();
        // Of a shadow, it is the policy that runs whose way requests go.
        let routes =
            |(path, policy): &&(&String, Box<dyn Autoscaler>)| has_proxy(&**policy) || *path == "run";
        let mut routed = built.iter().filter(routes);
        let first = routed.next().map(|(path, _)| *path);
        for (path, _) in routed.filter(|(_, policy)| has_proxy(&**policy)) {
            let message = match first {
                Some(first) if *path != "candidate" => {
                    format!("`{first}` puts a proxy before the pods already, and requests go by one")
                }
                _ => "a policy that puts a proxy before the pods cannot be watched: no request goes by it"
                    .to_owned(),
            };
            faults.push(((*path).clone(), message, "run it as a policy of its own".to_owned()));
        }
        let mut named = built.iter().filter_map(|(path, policy)| Some((path, policy.workload()?)));
        if let Some((first, name)) = named.next() {
            for (other, second) in named.filter(|(_, second)| *second != name) {
                let message = format!("`{other}` scales `{second}`, and `{first}` scales `{name}`");
                faults.push(((*other).clone(), message, "name the same workload in both".to_owned()));
            }
        }
        let pools = self.warm_pools();
        if !matches!(self, Self::Shadow(_))
            && pools.len() > 1
            && pools.iter().any(|pool| pool.sleep.is_some())
        {
            let message = "warm pools side by side, some of whose spares sleep, are not modelled";
            let help = "write one warm pool over all of it";
            faults.push(("of".to_owned(), message.to_owned(), help.to_owned()));
        }
        faults
    }
}

fn has_proxy(policy: &dyn Autoscaler) -> bool {
    policy.data_path() != DataPath::default()
}
