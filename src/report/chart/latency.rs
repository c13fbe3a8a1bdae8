//! Distributions of latency: how many requests had to wait at most so long, with the limits of the SLO.

use super::NAME_MOST;
use super::axis::{Axis, label};
use super::canvas::{Anchor, BAD, Canvas, GRID, INK, QUIET, shortened};
use super::look::Look;
use crate::experiment::metric::Unit;
use crate::kernel::SimDuration;
use crate::report::Document;
use crate::report::document::{LatencyDoc, PolicyDoc};
use crate::report::format;

const WIDTH: u32 = 760;
const PANEL: f64 = 250.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
/// The share of requests that reach beyond the axis: 1 in 10,000.
const TAIL: f64 = 1e-4;

/// The latencies that are drawn: time to first token and time per token, and others that the SLO limits.
fn shown(document: &Document) -> Vec<&'static str> {
    ["ttft", "tpot", "itl", "e2e", "queueWait"]
        .into_iter()
        .filter(|name| matches!(*name, "ttft" | "tpot") || document.slo.contains_key(*name))
        .collect()
}

fn has_length(latency: &LatencyDoc) -> bool {
    latency.buckets.iter().any(|(ns, count)| *ns > 0 && *count > 0)
}

pub(super) fn draw(document: &Document, policies: &[&PolicyDoc]) -> Option<Canvas> {
    let of = |name: &'static str| -> Vec<(usize, &LatencyDoc)> {
        fn latency<'a>(
            (index, policy): (usize, &&'a PolicyDoc),
            name: &str,
        ) -> Option<(usize, &'a LatencyDoc)> {
            Some((index, policy.runs.first()?.latency.get(name)?))
        }
        let curves = policies
            .iter()
            .enumerate()
            .filter_map(|one| latency(one, name))
            .filter(|(_, latency)| latency.count > 0);
        curves.collect()
    };
    let panels: Vec<(&str, Vec<(usize, &LatencyDoc)>)> = shown(document)
        .into_iter()
        .map(|name| (name, of(name)))
        // Where nothing took any time, as time per token where every answer is one token, there is nothing to tell apart.
        .filter(|(_, curves)| curves.iter().any(|(_, latency)| has_length(latency)))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let keys = 14.0 + 16.0 * policies.len().div_ceil(3) as f64;
    let mut canvas = Canvas::new(
        WIDTH,
        (PANEL * panels.len() as f64 + keys) as u32,
        "Share of requests within each latency, for each policy, with the limits of the SLO; first replication",
    );
    for (index, policy) in policies.iter().enumerate() {
        let (x, y) = (LEFT + (index % 3) as f64 * 230.0, 10.0 + (index / 3) as f64 * 16.0);
        Look::of(index).line(&mut canvas, vec![(x - 2.0, y), (x + 19.0, y)], 3);
        canvas.text((x + 24.0, y), shortened(&policy.name, NAME_MOST), 11.0, INK, Anchor::Start);
    }
    for (index, (name, curves)) in panels.iter().enumerate() {
        let limit = document.slo.get(*name).and_then(|limit| limit.parse::<SimDuration>().ok());
        panel(&mut canvas, name, curves, limit, keys + index as f64 * PANEL);
    }
    Some(canvas)
}

fn panel(
    canvas: &mut Canvas,
    name: &str,
    curves: &[(usize, &LatencyDoc)],
    limit: Option<SimDuration>,
    top: f64,
) {
    let right = f64::from(WIDTH) - RIGHT;
    let (high, low) = (top + 22.0, top + PANEL - 34.0);
    let limit_s = limit.map(SimDuration::as_secs_f64);
    let ends = curves.iter().flat_map(|(_, latency)| {
        [latency.buckets.first(), latency.buckets.last()]
            .into_iter()
            .flatten()
            .map(|(ns, _)| *ns as f64 / 1e9)
    });
    let (least, most) = ends.chain(limit_s).fold((f64::MAX, 1e-3), |(a, b), v| (a.min(v), f64::max(b, v)));
    let x = Axis::log((least.clamp(1e-4, most / 10.0), most * 1.2), (LEFT, right));
    // Nines, so that the tail has room: 0, 90 %, 99 %, 99.9 %.
    let y = Axis::log((TAIL, 1.0), (high, low));
    for (share, words) in
        [(1.0, "0%"), (0.5, "50%"), (0.1, "90%"), (0.01, "99%"), (0.001, "99.9%"), (TAIL, "99.99%")]
    {
        canvas.line(vec![(LEFT, y.at(share)), (right, y.at(share))], GRID, 1);
        canvas.text((LEFT - 6.0, y.at(share)), words, 10.0, QUIET, Anchor::End);
    }
    for tick in x.ticks(8) {
        canvas.line(vec![(x.at(tick), high), (x.at(tick), low)], GRID, 1);
        canvas.text((x.at(tick), low + 11.0), label(Unit::Seconds, tick), 10.0, QUIET, Anchor::Middle);
    }
    canvas.text((LEFT, top + 10.0), format!("{name}: share of requests within it"), 12.0, INK, Anchor::Start);
    for (index, latency) in curves {
        let mut seen = 0;
        let mut points = Vec::with_capacity(2 * latency.buckets.len());
        for (ns, count) in &latency.buckets {
            let at = x.at(*ns as f64 / 1e9);
            points.push((at, y.at(1.0 - seen as f64 / latency.count as f64)));
            seen += count;
            points.push((at, y.at(1.0 - seen as f64 / latency.count as f64)));
        }
        Look::of(*index).line(canvas, points, 2);
    }
    if let Some(limit) = limit_s {
        canvas.line(vec![(x.at(limit), high - 6.0), (x.at(limit), low)], BAD, 2);
        let words = format!("SLO {}", format::value(Unit::Seconds, limit));
        canvas.text((x.at(limit), top + 10.0), words, 11.0, BAD, Anchor::Middle);
    }
}
