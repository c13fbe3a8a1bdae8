//! Drift: any difference at all between runs that should be the same to the bit.

use serde::Serialize;

use super::baseline::{Baseline, BaselineRun};
use super::document::Figure;

/// One thing that is not the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Where: `hpa/0`, the policy and the replication, or what of the file.
    pub of: String,
    /// What: a metric, `facts`, or `runs`.
    pub what: String,
    /// In the base.
    pub base: String,
    /// In the new side.
    pub new: String,
}

impl Drift {
    /// One line.
    pub fn text(&self) -> String {
        format!("{} {}  {} -> {}", super::difference::plain(&self.of), self.what, self.base, self.new)
    }
}

/// Everything that is not the same. A metric that the base does not know yet is none.
pub fn drifts(base: &Baseline, new: &Baseline) -> Vec<Drift> {
    let mut found = Vec::new();
    let mut add = |of: &str, what: &str, base: String, new: String| {
        if base != new {
            found.push(Drift { of: of.to_owned(), what: what.to_owned(), base, new });
        }
    };
    add("scenario", "seed", base.seed.to_string(), new.seed.to_string());
    add(
        "scenario",
        "policies",
        super::difference::plain(&base.names().join(", ")),
        super::difference::plain(&new.names().join(", ")),
    );
    for policy in &base.policies {
        let Some(other) = new.policy(&policy.name) else { continue };
        add(&policy.name, "runs", policy.runs.len().to_string(), other.runs.len().to_string());
        for (one, two) in policy.runs.iter().zip(&other.runs) {
            let of = format!("{}/{}", policy.name, one.replication);
            // It tells whether they are the same run at all.
            add(&of, "facts", short(&one.facts_digest), short(&two.facts_digest));
            for (name, base, new) in metrics(one, two) {
                add(&of, name, base, new);
            }
        }
    }
    found
}

/// The metrics of two runs that are not equal to the bit.
fn metrics<'a>(
    base: &'a BaselineRun,
    new: &'a BaselineRun,
) -> impl Iterator<Item = (&'a str, String, String)> {
    let bits = |figure: &Figure| figure.0.map(f64::to_bits);
    base.metrics.iter().filter_map(move |(name, figure)| match new.metrics.get(name) {
        Some(other) if bits(figure) == bits(other) => None,
        other => Some((name.as_str(), shown(Some(figure)), shown(other))),
    })
}

/// Every digit: two figures that differ must not read alike.
fn shown(figure: Option<&Figure>) -> String {
    match figure {
        None => "gone".to_owned(),
        Some(Figure(None)) => "none".to_owned(),
        Some(Figure(Some(number))) if number.is_finite() => number.to_string(),
        Some(_) => "infinite".to_owned(),
    }
}

fn short(digest: &str) -> String {
    super::difference::plain(&digest.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Summary, fixture};

    #[test]
    fn each_drift_is_named() {
        let base = Baseline::from(&Summary::new(fixture::experiment()));
        assert!(drifts(&base, &base).is_empty());
        let of = |name: &str| base.policies[1].runs[2].metrics[name].0.unwrap();
        let check = |change: fn(&mut Baseline), expected: &[&str]| {
            let mut new = base.clone();
            change(&mut new);
            let found: Vec<String> = drifts(&base, &new).iter().map(Drift::text).collect();
            assert_eq!(found, expected);
        };
        check(|new| new.seed = 8, &["scenario seed  7 -> 8"]);
        check(|new| new.policies.truncate(1), &["scenario policies  hpa, warm-pool -> hpa"]);
        check(|new| new.policies[0].runs.truncate(2), &["hpa runs  3 -> 2"]);
        check(
            |new| new.policies[0].runs[0].facts_digest = "ff".repeat(32),
            &["hpa/0 facts  000000000000 -> ffffffffffff"],
        );
        check(
            |new| {
                let metrics = &mut new.policies[1].runs[2].metrics;
                metrics["gpuHours"] = Figure(metrics["gpuHours"].0.map(f64::next_up));
                metrics["ttft.p50"] = Figure(None);
                metrics.shift_remove("ttft.p90");
            },
            &[
                &format!("warm-pool/2 ttft.p50  {} -> none", of("ttft.p50")),
                &format!("warm-pool/2 ttft.p90  {} -> gone", of("ttft.p90")),
                &format!("warm-pool/2 gpuHours  {} -> {}", of("gpuHours"), of("gpuHours").next_up()),
            ],
        );
        check(|new| _ = new.policies[0].runs[0].metrics.insert("new".to_owned(), Figure(Some(1.0))), &[]);
    }
}
