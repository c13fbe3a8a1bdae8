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
    Reason { rule: rule(turn), detail: detail(turn) }
}

fn rule(turn: &Turn<'_>) -> &'static str {
    let Done { applied, scaled, rerouted, woken } = turn.done;
    match applied.map_or(Settled::Wish, |applied| applied.settled) {
        Settled::Wish if woken && scaled => "Poke",
        Settled::Wish if rerouted && !scaled && turn.path == Path::Proxied => "ProxyMode",
        Settled::Wish if rerouted && !scaled => "ServeMode",
        Settled::Wish => turn.seen.map_or(Settled::Wish.word(), |(_, figures)| figures.rule),
        settled => settled.word(),
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
                "{} {metric} over {}: {} pods, {} over {}: {} pods, at {} a pod{}",
                figure(observed.stable),
                seconds(turn.revision.stable_window()),
                figures.stable_pods,
                figure(observed.panic),
                seconds(turn.revision.panic_window()),
                figures.panic_pods,
                figure(target),
                if figures.panicking { ", in panic" } else { "" },
            )
        }
    };
    let by = if turn.path == Path::Proxied { "by the activator" } else { "straight to the pods" };
    let ready = turn.ready;
    text.push_str(&format!("; {ready} ready; burst capacity {}, {by}", turn.result.excess_burst_capacity));
    let again =
        turn.done.applied.filter(|applied| applied.want <= 0).and_then(|applied| applied.requeue_after);
    if let Some(time) = again {
        text.push_str(&format!("; again in {}", seconds(time)));
    }
    text
}

/// A number with at most two decimals.
fn figure(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn seconds(time: Nanos) -> String {
    format!("{} s", figure(time as f64 / SECOND as f64))
}
