//! The chain of one request in words: when it came, what it waited for, what there was, and why
//! it breached. What `explain-request` prints.

use std::fmt::Write;

use super::document::{DecisionDoc, Found};
use super::format;
use crate::experiment::metric::Unit;
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::breach::{Capacity, RequestRecord};
use crate::outcome::{BreachOutcome, Cause, Phase, PhaseSpan, StartRecord, StartResult};

/// The chain of a request, with the run it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// The replication, from 0.
    pub replication: usize,
    /// The starts of the run: one of them may explain the wait.
    pub starts: &'a [StartRecord],
    /// The decisions of the run: one of them may have ordered that replica.
    pub decisions: &'a [DecisionDoc],
    /// What happened to the request.
    pub request: &'a RequestRecord,
}

impl<'a> From<Found<'a>> for Chain<'a> {
    fn from(found: Found<'a>) -> Self {
        Self {
            policy: &found.policy.name,
            replication: found.run.replication,
            starts: &found.run.starts,
            decisions: &found.run.decisions,
            request: found.request,
        }
    }
}

/// Width of the words that lines begin with.
const LABEL: usize = 12;

/// Explains a chain; `slo` holds the limits in words, empty if there are none.
pub fn explain(chain: &Chain<'_>, slo: &str) -> String {
    let request = chain.request;
    let mut out = format!(
        "request {} · {} · replication {} · {} prompt + {} output tokens\n",
        request.id,
        chain.policy,
        chain.replication,
        format::whole(u64::from(request.prompt_tokens)),
        format::whole(u64::from(request.output_tokens)),
    );
    for (at, what) in timeline(request) {
        _ = writeln!(out, "  {:>12}  {:>9}  {what}", clock(at), since(request, at));
    }
    let latencies = latencies(request);
    if !latencies.is_empty() {
        let shown: Vec<String> =
            latencies.iter().map(|(name, time)| format!("{name} {}", seconds(*time))).collect();
        let slo = if slo.is_empty() { String::new() } else { format!("   (SLO {slo})") };
        line(&mut out, "latency", &format!("{}{slo}", shown.join(" · ")));
    }
    line(&mut out, "capacity", &format!("as it came: {}", capacity(request.on_arrival)));
    let coming = on_their_way(chain);
    if !coming.is_empty() {
        line(&mut out, "", &format!("on their way then: {}", coming.join(" · ")));
    }
    line(&mut out, "", &format!("as it ended: {}", capacity(request.capacity)));
    let start = request.waited_for.and_then(|id| {
        chain.starts.iter().rfind(|start| start.replica == id && start.ordered <= request.end)
    });
    let waited_for = start.map_or_else(Vec::new, |start| waited_for(request, start));
    lines(&mut out, "waited for", &waited_for);
    lines(&mut out, "ordered", &ordering(chain, start));
    line(&mut out, "verdict", &verdict(request));
    out
}

fn line(out: &mut String, label: &str, words: &str) {
    _ = writeln!(out, "{label:LABEL$}{words}");
}

/// Lines of which the first has a label.
fn lines(out: &mut String, label: &str, lines: &[String]) {
    for (index, words) in lines.iter().enumerate() {
        line(out, if index == 0 { label } else { "" }, words);
    }
}

fn seconds(time: SimDuration) -> String {
    format::value(Unit::Seconds, time.as_secs_f64())
}

/// Time from the request's arrival, which may lie behind: `+3.90s`, `-12.0s`.
fn since(request: &RequestRecord, at: SimTime) -> String {
    if at < request.arrival {
        format!("-{}", seconds(request.arrival.since(at)))
    } else {
        format!("+{}", seconds(at.since(request.arrival)))
    }
}

/// Time since the start of the trace: `10:03.900`, `1:10:03.900`.
pub(super) fn clock(at: SimTime) -> String {
    let millis = at.as_nanos() / 1_000_000;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (secs, rest) = (millis / 1000 % 60, millis % 1000);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{secs:02}.{rest:03}")
    } else {
        format!("{minutes}:{secs:02}.{rest:03}")
    }
}

/// What happened to it, in order.
fn timeline(request: &RequestRecord) -> Vec<(SimTime, String)> {
    let mut events = vec![(request.arrival, "arrived at the gateway".to_owned())];
    match request.routed {
        Some((replica, at)) if at > request.arrival => {
            let held = seconds(at.since(request.arrival));
            events.push((at, format!("routed to {replica}, after {held} held at the gateway")));
        }
        Some((replica, at)) => events.push((at, format!("routed to {replica} at once"))),
        None => {}
    }
    if let Some(at) = request.scheduled {
        let queued = seconds(request.routed.map_or(SimDuration::ZERO, |(_, routed)| at.since(routed)));
        events.push((at, format!("first scheduled by the engine, after {queued} in its queue")));
    }
    if let Some(at) = request.first_token {
        events.push((at, "first token".to_owned()));
    }
    let end = match request.breach.map(|(outcome, _)| outcome) {
        None | Some(BreachOutcome::Late) => "last token",
        Some(BreachOutcome::Rejected) => "refused",
        Some(BreachOutcome::TimedOut) => "given up at the timeout",
        Some(BreachOutcome::Killed) => "cut by a drain or a fault",
    };
    let preempted = match request.preemptions {
        0 => String::new(),
        1 => ", preempted once on the way".to_owned(),
        n => format!(", preempted {n} times on the way"),
    };
    events.push((request.end, format!("{end}{preempted}")));
    events
}

/// Its latencies, as far as it got.
fn latencies(request: &RequestRecord) -> Vec<(&'static str, SimDuration)> {
    let since = |at: SimTime, from: SimTime| at.since(from);
    let answered = matches!(request.breach, None | Some((BreachOutcome::Late, _)));
    let mut all = Vec::new();
    if let Some(at) = request.scheduled {
        all.push(("queue wait", since(at, request.arrival)));
    }
    if let Some(first) = request.first_token {
        all.push(("ttft", since(first, request.arrival)));
        if answered && request.output_tokens > 1 {
            all.push(("tpot", since(request.end, first) / u64::from(request.output_tokens - 1)));
        }
    }
    if answered {
        all.push(("e2e", since(request.end, request.arrival)));
    }
    all
}

fn capacity(capacity: Capacity) -> String {
    let most = capacity.maximum.map_or_else(|| "no maximum".to_owned(), |most| format!("at most {most}"));
    let held = if capacity.held > 0 { format!(", {} held in reserve", capacity.held) } else { String::new() };
    format!(
        "{} serving{held}, {} on their way, {} ordered, {most}",
        capacity.serving, capacity.starting, capacity.ordered
    )
}

/// The stage a start was in at an instant.
fn stage_at(start: &StartRecord, at: SimTime) -> Option<&PhaseSpan> {
    start.phases.iter().find(|span| span.from <= at && at < span.to)
}

/// The stages of the starts that were under way when the request came, with how many were in each and since when.
fn on_their_way(chain: &Chain<'_>) -> Vec<String> {
    let request = chain.request;
    let there: Vec<&PhaseSpan> =
        chain.starts.iter().filter_map(|start| stage_at(start, request.arrival)).collect();
    let in_phase = |phase: Phase| {
        let since_when: Vec<SimTime> =
            there.iter().filter(|span| span.phase == phase).map(|span| span.from).collect();
        let first = since_when.iter().min()?;
        let count = since_when.len();
        let words = if count == 1 { "since" } else { "the first since" };
        Some(format!("{count} {} ({words} {})", phase.label(), since(request, *first)))
    };
    Phase::ALL.into_iter().filter_map(in_phase).collect()
}

/// The start that its wait is explained by, a line a stage, with the part it waited through.
fn waited_for(request: &RequestRecord, start: &StartRecord) -> Vec<String> {
    let until = request.first_token.unwrap_or(request.end);
    let ended = start.phases.last().map_or(start.ordered, |span| span.to);
    let end = match start.result {
        StartResult::Ready => "ready at",
        StartResult::Cancelled => "cancelled at",
        StartResult::NodeLost => "lost with its machine at",
        StartResult::Recreated => "given up with its group at",
        StartResult::Unfinished => "not ready when the run ended, at",
    };
    let (created, ended) = (since(request, start.ordered), since(request, ended));
    let mut lines = vec![format!("{}, created at {created}, {end} {ended}", start.replica)];
    for stage in start.phases.chunk_by(|one, next| one.phase == next.phase) {
        let (label, from) = (stage[0].phase.label(), since(request, stage[0].from));
        let took = seconds(stage.iter().map(PhaseSpan::length).sum());
        let overlap = |span: &PhaseSpan| span.to.min(until).since(span.from.max(request.arrival));
        let waited: SimDuration = stage.iter().map(overlap).sum();
        let waited =
            if waited.is_zero() { String::new() } else { format!(", waited through {}", seconds(waited)) };
        lines.push(format!("  {label:17} {took:>7} from {from}{waited}"));
    }
    lines
}

/// When and by which decision the replica it waited for was ordered, and what the loop said until then; without such a
/// replica, what was said last before the request ended and when more was ordered.
fn ordering(chain: &Chain<'_>, start: Option<&StartRecord>) -> Vec<String> {
    let request = chain.request;
    let at = |decision: &DecisionDoc| SimTime::from_nanos(decision.at);
    let in_words = |decision: &DecisionDoc| {
        let (from, to, of) = (decision.from, decision.to, &decision.of);
        format!("at {} by {of} ({from} -> {to}): {}", since(request, at(decision)), said(decision))
    };
    let raises = |decision: &DecisionDoc| decision.to > decision.from;
    let Some(start) = start else {
        if request.breach.is_none_or(|(_, cause)| !is_lack(cause)) {
            return Vec::new();
        }
        let next = chain.decisions.partition_point(|decision| at(decision) <= request.end);
        let mut lines = match chain.decisions[..next].last() {
            Some(last) => {
                vec![format!("nothing that came in time; the last word before it ended, {}", in_words(last))]
            }
            None => vec!["nothing: no decision before it ended".to_owned()],
        };
        lines.extend(
            chain.decisions[next..]
                .iter()
                .find(|d| raises(d))
                .map(|d| format!("more was ordered {}", in_words(d))),
        );
        return lines;
    };
    let Some(decided) = start.decided else {
        let why = match start.ordered {
            SimTime::ZERO => "by no decision: it was there from the start of the run",
            _ => "by no decision: it stands in for a pod that went",
        };
        return vec![why.to_owned()];
    };
    let Some(index) = chain.decisions.iter().rposition(|decision| at(decision) == decided) else {
        return vec![format!("at {}", since(request, decided))];
    };
    let decision = &chain.decisions[index];
    let when = if decided > request.arrival {
        format!("{} after the request came", seconds(decided.since(request.arrival)))
    } else {
        format!("{} before the request came", seconds(request.arrival.since(decided)))
    };
    let created = match start.ordered.since(decided) {
        SimDuration::ZERO => "at once".to_owned(),
        delay => format!("{} later", seconds(delay)),
    };
    let before = chain.decisions[..index].iter().rfind(|before| before.of == decision.of);
    let until_then = match before {
        Some(before) => {
            let from = since(request, at(before));
            format!("until then, from {from} on, it said {}", said(before))
        }
        None => format!("it was the first turn of {}", decision.of),
    };
    vec![in_words(decision), format!("{when}; the pod was there {created}"), until_then]
}

/// The rule of a decision and its figures.
fn said(decision: &DecisionDoc) -> String {
    if decision.detail.is_empty() {
        decision.rule.clone()
    } else {
        format!("{}, {}", decision.rule, decision.detail)
    }
}

/// Whether more replicas were missing that were not on their way.
fn is_lack(cause: Cause) -> bool {
    matches!(cause, Cause::NoNode | Cause::AtMaximum | Cause::NotOrdered)
}

fn verdict(request: &RequestRecord) -> String {
    let Some((outcome, cause)) = request.breach else { return "it kept the SLO".to_owned() };
    let why = match cause {
        Cause::TooLong => {
            "its prompt and output exceed the context or the KV cache: no replica takes it".to_owned()
        }
        Cause::Drain if outcome == BreachOutcome::Rejected => {
            "its replica was scaled down and told to stop while requests were still routed to it".to_owned()
        }
        Cause::Drain => "its replica was scaled down, and the grace period ended first".to_owned(),
        Cause::NotWarmed => format!(
            "nothing had warmed its replica: the first-requests penalty of {} alone made it miss",
            seconds(request.penalty)
        ),
        Cause::StartUp(phase) => {
            let replica = request.waited_for.map_or_else(|| "a replica".to_owned(), |id| id.to_string());
            format!("it waited while {replica} was on its way, most of that time in: {}", phase.label())
        }
        Cause::NotOrdered => "no replica was on its way, and the policy could have ordered one: \
                              metrics lagged, its period had not come round, or it chose not to"
            .to_owned(),
        Cause::NoNode => match request.waited_for {
            Some(replica) => format!(
                "{replica} was pending most of that time: no node had room for it, and none was to be had"
            ),
            None => "pods were pending: no node had room for them, and none was to be had".to_owned(),
        },
        Cause::AtMaximum => {
            let most =
                request.capacity.maximum.map_or_else(String::new, |most| format!(" of {most} replicas"));
            format!("the policy was at its maximum{most}")
        }
        Cause::Saturation => {
            "the replicas there were saturated: queue, batch, prefill interference or preemption".to_owned()
        }
    };
    format!("{}; cause: {} ({why})", outcome.label(), cause.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Document, Summary, fixture};

    #[test]
    fn chains_in_words() {
        let document = Document::from(&Summary::new(fixture::experiment()));
        let mut text = String::new();
        for id in [417, 523] {
            let found = document.requests(id).next().unwrap();
            text.push_str(&explain(&found.into(), "ttft 2s, tpot 60ms"));
            text.push('\n');
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn every_cause_has_its_words() {
        for (cause, words) in [
            (Cause::TooLong, "no replica takes it"),
            (Cause::Drain, "grace period"),
            (Cause::NotWarmed, "penalty of 1.50s"),
            (Cause::StartUp(Phase::WarmingUp), "replica-3 was on its way, most of that time in: warming up"),
            (Cause::NotOrdered, "could have ordered one"),
            (Cause::NoNode, "none was to be had"),
            (Cause::AtMaximum, "at its maximum of 8 replicas"),
            (Cause::Saturation, "saturated"),
        ] {
            let mut request = fixture::late_request();
            request.breach = Some((BreachOutcome::Late, cause));
            request.penalty = SimDuration::from_millis(1500);
            let said = verdict(&request);
            assert!(said.starts_with("late; cause: ") && said.contains(words), "{said}");
        }
        let mut request = fixture::late_request();
        request.breach = Some((BreachOutcome::Rejected, Cause::Drain));
        assert!(verdict(&request).contains("still routed to it"), "{}", verdict(&request));
        request.breach = None;
        assert_eq!(verdict(&request), "it kept the SLO");
    }

    #[test]
    fn clocks() {
        assert_eq!(clock(SimTime::from_nanos(603_900_000_000)), "10:03.900");
        assert_eq!(clock(SimTime::from_secs(3661)), "1:01:01.000");
    }
}
