//! One time axis for everything: arrivals, and for each policy its replicas stacked by stage, its queue, the time to first token, the
//! time in breach by what was missing, and what it costs an hour.

use super::axis::{Axis, label, time_ticks};
use super::canvas::{Anchor, BAD, Canvas, Colour, GRID, INK, LINES, QUIET, shortened};
use super::palette::{of_cause, of_phase};
use super::thin::{Thinned, bands};
use crate::experiment::metric::Unit;
use crate::kernel::SimDuration;
use crate::report::Document;
use crate::report::document::{PolicyDoc, RunDoc};
use crate::report::format::NEVER as NEVER_WORDS;

const WIDTH: u32 = 960;
const LEFT: f64 = 70.0;
/// Room for half of the last time.
const RIGHT: f64 = 26.0;
const POINTS: usize = 420;
const LANE: f64 = 64.0;
const REPLICAS: f64 = 96.0;
const BAND: f64 = 16.0;
/// Between two lanes: room for the name of the lower one.
const GAP: f64 = 17.0;
const TITLE: f64 = 34.0;
/// Above the scale, for first tokens that never came.
const NEVER: f64 = 8.0;
/// Above the arrivals: their name.
const ARRIVALS: f64 = 16.0;
const POLICY: f64 = TITLE + REPLICAS + 3.0 * LANE + BAND + 5.0 * GAP;
const AXIS: f64 = 24.0;
const KEYS: f64 = 20.0;

/// The first replication of a policy, thinned.
struct Shown<'a> {
    policy: &'a PolicyDoc,
    run: &'a RunDoc,
    line: Thinned,
}

/// A lane between two heights.
struct Lane<'a> {
    canvas: &'a mut Canvas,
    time: Axis,
    top: f64,
    bottom: f64,
    /// The middle of its name.
    name_at: f64,
}

pub(super) fn draw(document: &Document, policies: &[&PolicyDoc]) -> Option<Canvas> {
    let show = |policy: &&'_ PolicyDoc| -> Option<(usize, Thinned)> {
        let index = policies.iter().position(|other| std::ptr::eq(*other, *policy))?;
        let run = policy.runs.first()?;
        Some((index, Thinned::of(run.timeline.as_ref()?, run.trace_end_ns, POINTS)))
    };
    let shown: Vec<Shown> = (policies.iter().filter_map(show))
        .map(|(index, line)| Shown { policy: policies[index], run: &policies[index].runs[0], line })
        .collect();
    let first = shown.first()?;
    let keys = keys(&shown);
    let rows = layout(&keys);
    let arrivals = ARRIVALS + LANE + GAP;
    let keys_height = KEYS * (rows.last().map_or(0, |(row, ..)| row + 1)) as f64;
    let height = arrivals + POLICY * shown.len() as f64 + AXIS + keys_height;
    let span_s = document.span_ns as f64 / 1e9;
    let names: Vec<String> = shown.iter().map(|shown| shortened(&shown.policy.name, 60)).collect();
    let label = format!(
        "Over time: arrivals; replicas by stage, queue, time to first token, time in breach and cost an hour of {}",
        names.join(", ")
    );
    let mut canvas = Canvas::new(WIDTH, height as u32, label);
    let time = Axis::linear((0.0, span_s), (LEFT, f64::from(WIDTH) - RIGHT));
    let bottom = height - AXIS - keys_height;
    for (at, words) in time_ticks(0.0, span_s, 8) {
        canvas.line(vec![(time.at(at), ARRIVALS), (time.at(at), bottom)], GRID, 1);
        canvas.text((time.at(at), bottom + 12.0), words, 10.0, QUIET, Anchor::Middle);
    }
    let lane = &mut Lane {
        canvas: &mut canvas,
        time,
        top: ARRIVALS,
        bottom: ARRIVALS + LANE,
        name_at: ARRIVALS - 7.0,
    };
    lane.line("arrivals/s", Unit::Count, &first.line.at, &some(&first.line.arrivals), None);
    let mut top = arrivals;
    let limit = document.slo.get("ttft").and_then(|limit| limit.parse::<SimDuration>().ok());
    for shown in &shown {
        policy(&mut canvas, time, shown, limit.map(SimDuration::as_secs_f64), top);
        top += POLICY;
    }
    for ((row, x, words), (_, colour)) in rows.iter().zip(&keys) {
        let y = height - keys_height + KEYS * (*row as f64 + 0.4);
        canvas.block((*x, y - 5.0), (x + 10.0, y + 5.0), *colour, 1.0);
        canvas.text((x + 15.0, y), *words, 11.0, QUIET, Anchor::Start);
    }
    Some(canvas)
}

/// Phases and causes that occur, with their colours.
fn keys(shown: &[Shown]) -> Vec<(String, Colour)> {
    let mut keys: Vec<(String, Colour)> = Vec::new();
    let mut add = |words: &str, colour| {
        if !keys.iter().any(|(known, _)| known == words) {
            keys.push((words.to_owned(), colour));
        }
    };
    for one in shown {
        one.line.replicas.iter().for_each(|(phase, _)| add(phase, of_phase(phase)));
    }
    for one in shown {
        let bands = one.run.breaches.iter().flat_map(|breaches| &breaches.bands);
        bands.for_each(|(.., cause)| add(cause, of_cause(cause)));
    }
    keys
}

/// Where each key stands: row and x.
fn layout(keys: &[(String, Colour)]) -> Vec<(usize, f64, &str)> {
    let (mut row, mut x) = (0, LEFT);
    let place = |(words, _): &'_ (String, Colour)| words.chars().count() as f64 * 6.6 + 32.0;
    let mut places = Vec::new();
    for key in keys {
        let width = place(key);
        if x + width > f64::from(WIDTH) && x > LEFT {
            (row, x) = (row + 1, LEFT);
        }
        places.push((row, x, key.0.as_str()));
        x += width;
    }
    places
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

fn policy(canvas: &mut Canvas, time: Axis, shown: &Shown, limit: Option<f64>, top: f64) {
    let line = &shown.line;
    let breach = shown.policy.summary.metrics.get("slo.breach").and_then(|breach| breach.mean.0);
    let words = breach.map_or_else(String::new, |share| {
        format!(", {} breach", crate::report::format::value(Unit::Share, share))
    });
    let title = format!("{}{words}", shortened(&shown.policy.name, 60));
    canvas.text((LEFT, top + 8.0), title, 13.0, INK, Anchor::Start);
    let mut lane =
        Lane { canvas, time, top: top + TITLE, bottom: top + TITLE + REPLICAS, name_at: top + TITLE - 7.0 };
    lane.stack(line);
    lane.next(LANE);
    lane.requests(line);
    lane.next(LANE);
    if line.never.contains(&true) {
        lane.never(line);
    }
    lane.line("ttft p99", Unit::Seconds, &line.at, &line.ttft_p99, limit);
    lane.next(BAND);
    let all = shown.run.breaches.as_ref().map_or(&[][..], |breaches| &breaches.bands);
    lane.canvas.text((LEFT - 6.0, f64::midpoint(lane.top, lane.bottom)), "breach", 10.0, QUIET, Anchor::End);
    lane.canvas.line(vec![(LEFT, lane.bottom), (lane.time.at(f64::MAX), lane.bottom)], GRID, 1);
    for (from, to, cause) in bands(all, shown.run.trace_end_ns, POINTS) {
        let (from, to) = (time.at(from), time.at(to));
        lane.canvas.block((from, lane.top), (to.max(from + 1.0), lane.bottom), of_cause(cause), 1.0);
    }
    lane.next(LANE);
    let most = line.rate.iter().copied().fold(0.0, f64::max);
    let axis = lane.frame("$/h", Unit::Usd, most * 1.05);
    let points = lane.steps(line, &line.rate, axis);
    lane.canvas.line(points, INK, 1);
}

impl Lane<'_> {
    /// Down to the next one, of that height.
    fn next(&mut self, height: f64) {
        self.top = self.bottom + GAP;
        self.bottom = self.top + height;
        self.name_at = self.top - 7.0;
    }

    fn frame(&mut self, name: &str, unit: Unit, most: f64) -> Axis {
        let axis = Axis::linear((0.0, most), (self.bottom, self.top));
        let right = self.time.at(f64::MAX);
        // One label alone says nothing of the scale.
        let ticks = (2..=4).map(|about| axis.ticks(about)).find(|ticks| ticks.len() > 1).unwrap_or_default();
        for tick in ticks {
            let y = axis.at(tick);
            self.canvas.line(vec![(LEFT, y), (right, y)], GRID, 1);
            self.canvas.text((LEFT - 6.0, y), label(unit, tick), 10.0, QUIET, Anchor::End);
        }
        self.canvas.text((LEFT, self.name_at), name, 10.0, QUIET, Anchor::Start);
        axis
    }

    /// A line; it breaks where there is no value.
    fn line(&mut self, name: &str, unit: Unit, at: &[f64], values: &[Option<f64>], limit: Option<f64>) {
        let most = values.iter().flatten().copied().chain(limit).fold(0.0, f64::max);
        let axis = self.frame(name, unit, most * 1.05);
        for piece in at.iter().zip(values).collect::<Vec<_>>().split(|(_, value)| value.is_none()) {
            let points =
                piece.iter().filter_map(|(at, value)| Some((self.time.at(**at), axis.at((**value)?))));
            let points: Vec<_> = self.since_start(at, points.collect());
            self.canvas.line(points, INK, 1);
        }
        if let Some(limit) = limit {
            let y = axis.at(limit);
            self.canvas.line(vec![(LEFT, y), (self.time.at(f64::MAX), y)], BAD, 1);
        }
    }

    /// The value of the first bucket holds from the start, and one alone is a line.
    fn since_start(&self, at: &[f64], mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
        if let (Some(first), Some(at)) = (points.first().copied(), at.first())
            && first.0 <= self.time.at(*at)
        {
            points.insert(0, (self.time.at(0.0), first.1));
        }
        points
    }

    /// Buckets in which a first token never came, hatched: no place of the scale is theirs, so they stand above it, and what follows
    /// has the rest of the lane.
    fn never(&mut self, line: &Thinned) {
        let (top, bottom) = (self.top, self.top + NEVER);
        self.canvas.text((LEFT - 6.0, f64::midpoint(top, bottom)), NEVER_WORDS, 10.0, QUIET, Anchor::End);
        let starts = std::iter::once(0.0).chain(line.at.iter().copied());
        let buckets: Vec<(f64, f64, bool)> =
            starts.zip(&line.at).zip(&line.never).map(|((from, to), never)| (from, *to, *never)).collect();
        for piece in buckets.chunk_by(|one, next| one.2 == next.2).filter(|piece| piece[0].2) {
            let from = self.time.at(piece[0].0);
            let to = self.time.at(piece[piece.len() - 1].1).max(from + 2.0);
            let outline = vec![(from, top), (to, top), (to, bottom), (from, bottom), (from, top)];
            self.canvas.line(outline, INK, 1);
            let mut x = from;
            while x + NEVER <= to {
                self.canvas.line(vec![(x, bottom), (x + NEVER, top)], INK, 1);
                x += 5.0;
            }
        }
        self.top = bottom + NEVER;
    }

    /// Requests in the replicas, and those that wait at the gateway.
    fn requests(&mut self, line: &Thinned) {
        let most = line.in_replicas.iter().chain(&line.held).copied().max().unwrap_or(0);
        let axis = self.frame("requests", Unit::Count, f64::from(most.max(1)) * 1.05);
        for (counts, colour) in [(&line.in_replicas, LINES[0]), (&line.held, INK)] {
            let points =
                line.at.iter().zip(counts).map(|(at, count)| (self.time.at(*at), axis.at(f64::from(*count))));
            let points = self.since_start(&line.at, points.collect());
            self.canvas.line(points, colour, 1);
        }
    }

    /// Replicas by phase, those that serve at the bottom, and what was ordered as a line.
    fn stack(&mut self, line: &Thinned) {
        let totals =
            (0..line.at.len()).map(|i| line.replicas.iter().map(|(_, counts)| counts[i]).sum::<u32>());
        let most = totals.chain(line.ordered.iter().copied()).max().unwrap_or(0);
        let axis = self.frame("replicas", Unit::Count, f64::from(most.max(1)) * 1.05);
        let mut below = vec![0.0; line.at.len()];
        let is_ready = |phase: &str| matches!(phase, "serving" | "held");
        let (ready, other): (Vec<_>, Vec<_>) = line.replicas.iter().partition(|(phase, _)| is_ready(phase));
        // Nearest to ready is nearest to what serves.
        for (phase, counts) in ready.into_iter().chain(other.into_iter().rev()) {
            let above: Vec<f64> =
                below.iter().zip(counts).map(|(low, count)| low + f64::from(*count)).collect();
            let points = self
                .steps(line, &above, axis)
                .into_iter()
                .chain(self.steps(line, &below, axis).into_iter().rev());
            if counts.iter().any(|count| *count > 0) {
                self.canvas.area(points.collect(), of_phase(phase), 1.0);
            }
            below = above;
        }
        let ordered: Vec<f64> = line.ordered.iter().map(|count| f64::from(*count)).collect();
        let points = self.steps(line, &ordered, axis);
        self.canvas.line(points, INK, 1);
    }

    /// A line of steps: a state holds for its bucket.
    fn steps(&self, line: &Thinned, values: &[f64], axis: Axis) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(2 * values.len());
        let mut from = self.time.at(0.0);
        for (at, value) in line.at.iter().zip(values) {
            let (x, y) = (self.time.at(*at), axis.at(*value));
            // A level that goes on is one line.
            match points.last_mut() {
                Some(last) if last.1.to_bits() == y.to_bits() => last.0 = x,
                _ => points.extend([(from, y), (x, y)]),
            }
            from = x;
        }
        points
    }
}
