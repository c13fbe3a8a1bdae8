//! Cost against the tail of the time to first token: down and to the left is better.

use super::NAME_MOST;
use super::axis::{Axis, label};
use super::canvas::{Anchor, Canvas, GRID, INK, QUIET, shortened};
use super::labels;
use super::look::Look;
use crate::experiment::metric::Unit;
use crate::report::document::{MeanDoc, PolicyDoc};
use crate::report::format;

const WIDTH: u32 = 760;
const HEIGHT: u32 = 380;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;
/// Height above the axis for first tokens that never came, and where their rung stands in it.
const NEVER: f64 = 46.0;
const NEVER_RUNG: f64 = 16.0;
/// Size of names and of the figures below them, pixels.
const NAME: f64 = 12.0;
const FIGURES: f64 = 10.0;
/// Height of a line of a label.
const LINE: f64 = 14.0;
/// Width of a character of size 1, on average and rather too much.
const CHARACTER: f64 = 0.62;

/// A policy: its place in the order, its cost and its time to first token.
type Point<'a> = (usize, &'a PolicyDoc, MeanDoc, MeanDoc);

pub(super) fn draw(policies: &[&PolicyDoc]) -> Option<Canvas> {
    let figure = |policy: &PolicyDoc, name: &str| policy.summary.metrics.get(name).copied();
    let mean = |doc: &MeanDoc| doc.mean.0;
    let points: Vec<Point> = policies
        .iter()
        .enumerate()
        .filter_map(|(i, p)| Some((i, *p, figure(p, "cost.total")?, figure(p, "ttft.p99")?)))
        .filter(|(.., cost, ttft)| mean(cost).is_some() && mean(ttft).is_some())
        .collect();
    if points.is_empty() {
        return None;
    }
    // All that is drawn by the axis: means, and the ends of their intervals.
    let (finite, never): (Vec<f64>, Vec<f64>) = points
        .iter()
        .flat_map(|(.., ttft)| {
            ttft.interval.into_iter().flat_map(|(low, high)| [low, high]).chain(mean(ttft))
        })
        .filter(|time| !time.is_nan())
        .partition(|time| time.is_finite());
    let slowest = finite.iter().copied().fold(0.001, f64::max);
    let fastest = finite.iter().copied().fold(slowest, f64::min).max(0.001);
    let (right, bottom) = (f64::from(WIDTH) - RIGHT, f64::from(HEIGHT) - BOTTOM);
    let x = Axis::linear(range(&points), (LEFT, right));
    // First tokens that never came are at no place of the axis: they have a rung of their own above it.
    let top = if never.is_empty() { TOP } else { TOP + NEVER };
    let y = Axis::log((fastest / 1.6, slowest * if never.is_empty() { 2.0 } else { 1.3 }), (bottom, top));
    let height = |time: f64| if time == f64::INFINITY { TOP + NEVER_RUNG } else { y.at(time) };
    let mut canvas =
        Canvas::new(WIDTH, HEIGHT, "Cost of the run against the 99th percentile of the time to first token");
    if !finite.is_empty() {
        y.rungs(&mut canvas, (LEFT, right), 6, Unit::Seconds);
    }
    if !never.is_empty() {
        never_rung(&mut canvas, right);
    }
    for tick in x.ticks(6) {
        canvas.line(vec![(x.at(tick), TOP), (x.at(tick), bottom)], GRID, 1);
        canvas.text((x.at(tick), bottom + 12.0), label(Unit::Usd, tick), 10.0, QUIET, Anchor::Middle);
    }
    canvas.text((8.0, 10.0), "ttft p99", 11.0, QUIET, Anchor::Start);
    canvas.text((right, bottom + 30.0), "cost of the run", 11.0, QUIET, Anchor::End);
    let at =
        |cost: &MeanDoc, ttft: &MeanDoc| (x.at(mean(cost).unwrap_or(0.0)), height(mean(ttft).unwrap_or(0.0)));
    let words: Vec<[String; 2]> = points
        .iter()
        .map(|(_, policy, cost, ttft)| {
            let figures = [(Unit::Usd, cost), (Unit::Seconds, ttft)];
            [
                shortened(&policy.name, NAME_MOST),
                figures.map(|(unit, doc)| format::maybe(unit, mean(doc))).join(", "),
            ]
        })
        .collect();
    let sizes: Vec<(f64, f64)> = words
        .iter()
        .map(|[name, figures]| {
            let wide = |text: &str, size: f64| text.chars().count() as f64 * size * CHARACTER;
            (wide(name, NAME).max(wide(figures, FIGURES)), 2.0 * LINE)
        })
        .collect();
    let spots: Vec<(f64, f64)> = points.iter().map(|(.., cost, ttft)| at(cost, ttft)).collect();
    let mut lines = Vec::new();
    for ((index, _, cost, ttft), at) in points.iter().zip(&spots) {
        let level = cost.interval.map(|(low, high)| [(x.at(low), at.1), (x.at(high), at.1)]);
        let upright = ttft.interval.map(|(low, high)| [(at.0, height(low)), (at.0, height(high))]);
        for line in level.into_iter().chain(upright) {
            // Whole: the ends are what it says.
            canvas.line(line.to_vec(), Look::of(*index).colour, 2);
            lines.push(line);
        }
    }
    let labels = labels::place(&spots, &sizes, &lines, ((LEFT, TOP - LINE), (right, bottom)));
    // Points last: nothing covers them.
    for (((index, ..), &spot), ((words, size), &(left, middle))) in
        points.iter().zip(&spots).zip(words.into_iter().zip(&sizes).zip(&labels))
    {
        if (middle - spot.1).abs() > 2.2 * LINE {
            let end = (spot.0.clamp(left, left + size.0), middle + LINE.copysign(spot.1 - middle));
            canvas.line(vec![spot, end], QUIET, 1);
        }
        Look::of(*index).point(&mut canvas, spot);
        let [name, figures] = words;
        canvas.text((left, middle - LINE / 2.0), name, NAME, INK, Anchor::Start);
        canvas.text((left, middle + LINE / 2.0), figures, FIGURES, QUIET, Anchor::Start);
    }
    Some(canvas)
}

/// The rung of first tokens that never came, and the break between it and the axis.
fn never_rung(canvas: &mut Canvas, right: f64) {
    let (rung, end) = (TOP + NEVER_RUNG, TOP + NEVER);
    canvas.dashes(&[(LEFT, rung), (right, rung)], QUIET, 1, (6.0, 4.0));
    canvas.text((LEFT - 6.0, rung), format::NEVER, 10.0, QUIET, Anchor::End);
    canvas.line(vec![(LEFT, end), (right, end)], GRID, 1);
    let middle = f64::midpoint(rung, end);
    for y in [middle - 2.0, middle + 3.0] {
        canvas.line(vec![(LEFT - 6.0, y + 3.0), (LEFT + 6.0, y - 3.0)], QUIET, 2);
    }
}

/// The costs to show, with some room on both sides: of all points and their intervals.
fn range(points: &[Point]) -> (f64, f64) {
    let ends = points.iter().flat_map(|(.., cost, _)| {
        let (low, high) = cost.interval.unwrap_or((f64::NAN, f64::NAN));
        [cost.mean.0.unwrap_or(f64::NAN), low, high]
    });
    let (low, high) = ends.fold((f64::INFINITY, 0.0), |(low, high), end| (end.min(low), end.max(high)));
    // Policies of nearly the same cost stand side by side, and not at the two ends.
    let room = ((high - low) * 0.15).max(high * 0.03);
    ((low - room).max(0.0), high + room)
}
