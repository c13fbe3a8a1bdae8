//! Cost against the tail of the time to first token: down and to the left is better.

use super::NAME_MOST;
use super::axis::{Axis, label};
use super::canvas::{Anchor, Canvas, GRID, INK, LINES, QUIET, shortened};
use crate::experiment::metric::Unit;
use crate::report::document::{MeanDoc, PolicyDoc};
use crate::report::format;

const WIDTH: u32 = 560;
const HEIGHT: u32 = 340;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;

pub(super) fn draw(policies: &[&PolicyDoc]) -> Option<Canvas> {
    let figure = |policy: &PolicyDoc, name: &str| policy.summary.metrics.get(name).copied();
    let mean = |doc: &MeanDoc| doc.mean.0;
    let points: Vec<(usize, &PolicyDoc, MeanDoc, MeanDoc)> = policies
        .iter()
        .enumerate()
        .filter_map(|(i, p)| Some((i, *p, figure(p, "cost.total")?, figure(p, "ttft.p99")?)))
        .filter(|(.., cost, ttft)| mean(cost).is_some() && mean(ttft).is_some())
        .collect();
    if points.is_empty() {
        return None;
    }
    let costs = points.iter().filter_map(|(.., cost, _)| mean(cost));
    let finite: Vec<f64> =
        points.iter().filter_map(|(.., ttft)| mean(ttft)).filter(|t| t.is_finite()).collect();
    let slowest = finite.iter().copied().fold(0.001, f64::max);
    let fastest = finite.iter().copied().fold(slowest, f64::min).max(0.001);
    let (right, bottom) = (f64::from(WIDTH) - RIGHT, f64::from(HEIGHT) - BOTTOM);
    let x = Axis::linear((0.0, costs.fold(0.0, f64::max) * 1.08), (LEFT, right));
    // A first token that never came stands on the upper edge.
    let y = Axis::log((fastest / 1.6, slowest * 2.0), (bottom, TOP));
    let mut canvas =
        Canvas::new(WIDTH, HEIGHT, "Cost of the run against the 99th percentile of the time to first token");
    y.rungs(&mut canvas, (LEFT, right), 6, Unit::Seconds);
    for tick in x.ticks(6) {
        canvas.line(vec![(x.at(tick), TOP), (x.at(tick), bottom)], GRID, 1);
        canvas.text((x.at(tick), bottom + 12.0), label(Unit::Usd, tick), 10.0, QUIET, Anchor::Middle);
    }
    canvas.text((LEFT - 44.0, 10.0), "ttft p99", 11.0, QUIET, Anchor::Start);
    canvas.text((right, bottom + 30.0), "cost of the run", 11.0, QUIET, Anchor::End);
    for (index, policy, cost, ttft) in &points {
        let colour = LINES[index % LINES.len()];
        let at = (x.at(mean(cost).unwrap_or(0.0)), y.at(mean(ttft).unwrap_or(0.0)));
        if let Some((low, high)) = ttft.interval {
            canvas.line(vec![(at.0, y.at(low)), (at.0, y.at(high))], colour, 2);
        }
        if let Some((low, high)) = cost.interval {
            canvas.line(vec![(x.at(low), at.1), (x.at(high), at.1)], colour, 2);
        }
        canvas.dot(at, 5, colour);
        let name = shortened(&policy.name, NAME_MOST);
        canvas.text((at.0 + 10.0, at.1 - 7.0), name, 12.0, INK, Anchor::Start);
        let words =
            format!("{}, {}", format::maybe(Unit::Usd, mean(cost)), format::maybe(Unit::Seconds, mean(ttft)));
        canvas.text((at.0 + 10.0, at.1 + 7.0), words, 10.0, QUIET, Anchor::Start);
    }
    Some(canvas)
}
