//! The chain of one request in words: when it came, what it waited for, what there was, and why
//! it breached. What `explain-request` prints.

use std::fmt::Write;

use super::document::Found;
use super::format;
use crate::experiment::metric::Unit;
use crate::kernel::{SimDuration, SimTime};
use crate::outcome::breach::RequestRecord;
use crate::outcome::{BreachOutcome, Cause, StartRecord, StartResult};

/// The chain of a request, with the run it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// The replication, from 0.
    pub replication: usize,
    /// The starts of the run: one of them may explain the wait.
    pub starts: &'a [StartRecord],
    /// What happened to the request.
    pub request: &'a RequestRecord,
}

impl<'a> From<Found<'a>> for Chain<'a> {
    fn from(found: Found<'a>) -> Self {
        Self {
            policy: &found.policy.name,
            replication: found.run.replication,
            starts: &found.run.starts,
            request: found.request,
        }
    }
}

/// Explains a chain; `slo` holds the limits in words, empty if there are none.
pub fn explain(chain: &Chain<'_>, slo: &str) -> String {
    let request = chain.request;
    let start = request.waited_for.and_then(|id| chain.starts.iter().find(|start| start.replica == id));
    let mut out = format!(
        "request {} · {} · replication {} · {} prompt + {} output tokens\n",
        request.id,
        chain.policy,
        chain.replication,
        format::whole(u64::from(request.prompt_tokens)),
        format::whole(u64::from(request.output_tokens)),
    );
    for (at, what) in timeline(request) {
        line(&mut out, request, at, &what);
    }
    let latencies = latencies(request);
    if !latencies.is_empty() {
        let shown: Vec<String> = latencies
            .iter()
            .map(|(name, secs)| format!("{name} {}", format::value(Unit::Seconds, *secs)))
            .collect();
        _ = writeln!(
            out,
            "latency   {}{}",
            shown.join(" · "),
            if slo.is_empty() { String::new() } else { format!("   (SLO {slo})") }
        );
    }
    _ = writeln!(out, "capacity  {}", capacity(request));
    if let Some(start) = start {
        _ = writeln!(out, "on its way  {}", on_its_way(request, start));
    }
    _ = writeln!(out, "verdict   {}", verdict(request));
    out
}

fn line(out: &mut String, request: &RequestRecord, at: SimTime, what: &str) {
    let since = format::value(Unit::Seconds, at.since(request.arrival).as_secs_f64());
    _ = writeln!(out, "  {:>12}  {:>9}  {what}", clock(at), format!("+{since}"));
}

/// Time since the start of the trace: `10:03.900`, `1:10:03.900`.
fn clock(at: SimTime) -> String {
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
            let held = format::value(Unit::Seconds, at.since(request.arrival).as_secs_f64());
            events.push((at, format!("routed to {replica}, after {held} held at the gateway")));
        }
        Some((replica, at)) => events.push((at, format!("routed to {replica} at once"))),
        None => {}
    }
    if let Some(at) = request.scheduled {
        let queued = request.routed.map_or(SimDuration::ZERO, |(_, routed)| at.since(routed));
        let queued = format::value(Unit::Seconds, queued.as_secs_f64());
        events.push((at, format!("first scheduled by the engine, after {queued} in its queue")));
    }
    if let Some(at) = request.first_token {
        events.push((at, "first token".to_owned()));
    }
    let end = match request.breach.map(|(outcome, _)| outcome) {
        None | Some(BreachOutcome::Late) => "last token",
        Some(BreachOutcome::Rejected) => "refused",
        Some(BreachOutcome::TimedOut) => "given up at the timeout",
        Some(BreachOutcome::Killed) => "cut by a drain",
    };
    let preempted = match request.preemptions {
        0 => String::new(),
        1 => ", preempted once on the way".to_owned(),
        n => format!(", preempted {n} times on the way"),
    };
    events.push((request.end, format!("{end}{preempted}")));
    events
}

/// Its latencies in s, as far as it got.
fn latencies(request: &RequestRecord) -> Vec<(&'static str, f64)> {
    let since = |at: SimTime, from: SimTime| at.since(from).as_secs_f64();
    let answered = matches!(request.breach, None | Some((BreachOutcome::Late, _)));
    let mut all = Vec::new();
    if let Some(at) = request.scheduled {
        all.push(("queue wait", since(at, request.arrival)));
    }
    if let Some(first) = request.first_token {
        all.push(("ttft", since(first, request.arrival)));
        if answered && request.output_tokens > 1 {
            all.push(("tpot", since(request.end, first) / f64::from(request.output_tokens - 1)));
        }
    }
    if answered {
        all.push(("e2e", since(request.end, request.arrival)));
    }
    all
}

fn capacity(request: &RequestRecord) -> String {
    let capacity = request.capacity;
    let most = capacity.maximum.map_or_else(|| "no maximum".to_owned(), |most| format!("at most {most}"));
    format!(
        "as it ended: {} serving, {} on their way, {} ordered, {most}",
        capacity.serving, capacity.starting, capacity.ordered
    )
}

/// The start that its wait is explained by, phase by phase, with the part it waited through.
fn on_its_way(request: &RequestRecord, start: &StartRecord) -> String {
    let until = request.first_token.unwrap_or(request.end);
    let phases: Vec<String> = start
        .phases
        .iter()
        .map(|span| {
            let length = format::value(Unit::Seconds, span.to.since(span.from).as_secs_f64());
            let waited = span.to.min(until).since(span.from.max(request.arrival));
            if waited.is_zero() {
                format!("{} {length}", span.phase.label())
            } else {
                let waited = format::value(Unit::Seconds, waited.as_secs_f64());
                format!("{} {length} (waited through {waited} of it)", span.phase.label())
            }
        })
        .collect();
    let end = match start.result {
        StartResult::Ready => "then ready",
        StartResult::Cancelled => "then cancelled",
        StartResult::Unfinished => "and not ready when the run ended",
    };
    format!("{}, created at {}: {}, {end}", start.replica, clock(start.ordered), phases.join(", "))
}

fn verdict(request: &RequestRecord) -> String {
    let Some((outcome, cause)) = request.breach else { return "it kept the SLO".to_owned() };
    let capacity = request.capacity;
    let why = match cause {
        Cause::Drain if outcome == BreachOutcome::Rejected => {
            "its replica was scaled down and told to stop while requests were still routed to it".to_owned()
        }
        Cause::Drain => "its replica was scaled down, and the grace period ended first".to_owned(),
        Cause::NotWarmed => format!(
            "nothing had warmed its replica: the first-requests penalty of {} alone made it miss",
            format::value(Unit::Seconds, request.penalty.as_secs_f64())
        ),
        Cause::StartUp(phase) => {
            let replica = request.waited_for.map_or_else(|| "a replica".to_owned(), |id| id.to_string());
            format!("it waited while {replica} was on its way, most of that time in: {}", phase.label())
        }
        Cause::NotOrdered => "no replica was on its way, and the policy could have ordered one: \
                              metrics lagged, its period had not come round, or it chose not to"
            .to_owned(),
        Cause::AtMaximum => match capacity.maximum {
            Some(most) if capacity.ordered >= most => {
                format!("the policy was at its maximum of {most} replicas")
            }
            _ => "no node was to be had".to_owned(),
        },
        Cause::Saturation => {
            "the replicas there were saturated: queue, batch, prefill interference or preemption".to_owned()
        }
    };
    format!("{}; cause: {} ({why})", outcome.label(), cause.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Phase;
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
            (Cause::Drain, "grace period"),
            (Cause::NotWarmed, "penalty of 1.50s"),
            (Cause::StartUp(Phase::WarmingUp), "replica-3 was on its way, most of that time in: warming up"),
            (Cause::NotOrdered, "could have ordered one"),
            (Cause::AtMaximum, "no node was to be had"),
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
