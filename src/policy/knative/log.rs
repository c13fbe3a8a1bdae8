//! What the decision log says of a turn: the rule that settled it, and the figures that led there.

use super::SECOND;
use super::apply::{Applied, Settled};
use super::collector::Observed;
use super::decider::{Figures, ScaleResult};
use super::revision::Revision;
use super::target::ScalingMetric;
use crate::policy::Reason;
use crate::policy::api::Path;
use crate::policy::hpa::types::Nanos;

/// What a turn did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// What the reconcile came to, if there was one.
    pub applied: Option<Applied>,
    /// The scale is another one.
    pub scaled: bool,
    /// The path is another one.
    pub rerouted: bool,
    /// A request woke the revision.
    pub woken: bool,
}

/// What a turn found and did.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Whose.
    pub revision: &'a Revision,
    /// What the last tick read and computed; `None` before the first.
    pub seen: Option<&'a (Observed, Figures)>,
    /// Its result.
    pub result: ScaleResult,
    /// Ready pods.
    pub ready: u32,
    /// The path from now on.
    pub path: Path,
    /// What was done.
    pub done: Done,
}

/// Why.
pub fn reason(turn: &Turn<'_>) -> Reason {
    Reason::new(rule(turn), detail(turn))
}

fn rule(turn: &Turn<'_>) -> &'static str {
    let Done { applied, scaled, rerouted, woken } = turn.done;
    let (settled, want) = applied.map_or((Settled::Wish, 1), |applied| (applied.settled, applied.want));
    // On the way to zero the step says more than the path.
    if rerouted && !scaled && want > 0 {
        return if turn.path == Path::Proxied { "ProxyMode" } else { "ServeMode" };
    }
    match settled {
        Settled::Wish if woken && scaled => "Poke",
        Settled::Wish => turn.seen.map_or(settled.word(), |(_, figures)| figures.rule),
        _ => settled.word(),
    }
}

fn detail(turn: &Turn<'_>) -> String {
    let mut text = match turn.seen {
        None => "nothing scraped yet".to_owned(),
        Some((observed, figures)) => {
            let metric = match turn.revision.annotations.metric {
                ScalingMetric::Concurrency => "in flight",
                ScalingMetric::Rps => "requests/s",
            };
            let target = turn.revision.decider().target_value;
            format!(
                "{} {metric} over {}: {}, {} over {}: {}, at {} a pod{}",
                figure(observed.stable),
                seconds(turn.revision.stable_window()),
                pods(figures.stable_pods),
                figure(observed.panic),
                seconds(turn.revision.panic_window()),
                pods(figures.panic_pods),
                figure(target),
                if figures.panicking { ", in panic" } else { "" },
            )
        }
    };
    let by = if turn.path == Path::Proxied { "by the activator" } else { "straight to the pods" };
    let ready = turn.ready;
    text.push_str(&format!(
        "; {ready} ready; excess burst capacity {}, {by}",
        turn.result.excess_burst_capacity
    ));
    let again =
        turn.done.applied.filter(|applied| applied.want <= 0).and_then(|applied| applied.requeue_after);
    if let Some(time) = again {
        text.push_str(&format!("; again in {}", seconds(time)));
    }
    text
}

fn pods(count: f64) -> String {
    format!("{} {}", figure(count), if count > 0.0 && count < 2.0 { "pod" } else { "pods" })
}

/// A number with at most two decimals; what is left of sums of sums may be a negative nothing.
fn figure(value: f64) -> String {
    let text = format!("{:.2}", if value.abs() < 0.005 { 0.0 } else { value });
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn seconds(time: Nanos) -> String {
    format!("{} s", figure(time as f64 / SECOND as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, -0.0, -1e-9, 1.0, 12.345, 1_000.0].map(figure),
            ["0", "0", "0", "1", "12.35", "1000"]
        );
        assert_eq!([-0.0, 1.0, 2.0].map(pods), ["0 pods", "1 pod", "2 pods"]);
        assert_eq!(seconds(27_300_000_000), "27.3 s");
    }
}
