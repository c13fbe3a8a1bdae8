//! A series with what was forecast of it, as a picture (SVG).

use std::fmt::Write as _;

use crate::forecast::Fan;
use crate::kernel::SimDuration;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 32.0;

const PAPER: &str = "#11151c";
const INK: &str = "#d7dce4";
const QUIET: &str = "#7f8a99";
const FORECAST: &str = "#79c0ff";

/// Most points of a line: several values become their mean.
const POINTS_MAX: usize = 900;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct FanChart<'a> {
    /// Above it.
    pub title: &'a str,
    /// What the series is of.
    pub unit: &'a str,
    /// The series.
    pub values: &'a [Option<f64>],
    /// From one value to the next.
    pub step: SimDuration,
    /// Forecasts of its values.
    pub fan: &'a Fan,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Means of neighbours, so many of each, of those that are known: (index of the first, mean).
fn thinned(values: impl Iterator<Item = (usize, Option<f64>)>, width: usize) -> Vec<(f64, f64)> {
    let mut found: Vec<(f64, f64)> = Vec::new();
    let mut bucket: Option<(usize, f64, u32)> = None;
    let close = |bucket: (usize, f64, u32)| {
        let (number, sum, count) = bucket;
        ((number as f64 + 0.5) * width as f64, sum / f64::from(count))
    };
    for (index, value) in values {
        let Some(value) = value else { continue };
        bucket = match bucket {
            Some((number, sum, count)) if number == index / width => Some((number, sum + value, count + 1)),
            other => {
                found.extend(other.map(close));
                Some((index / width, value, 1))
            }
        };
    }
    found.extend(bucket.map(close));
    found
}

impl FanChart<'_> {
    /// The picture.
    pub fn svg(&self) -> String {
        let width = self.values.len().div_ceil(POINTS_MAX).max(1);
        let series = thinned(self.values.iter().copied().enumerate(), width);
        let of_fan = |pick: fn(&(usize, f64, f64, f64)) -> f64| {
            thinned(self.fan.iter().map(|own| (own.0, Some(pick(own)))), width)
        };
        let (middle, low, high) = (of_fan(|own| own.1), of_fan(|own| own.2), of_fan(|own| own.3));
        let shown = || series.iter().chain(&low).chain(&high).map(|(_, value)| *value);
        let top = shown().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let least = shown().fold(0.0, f64::min);
        let x = |index: f64| LEFT + (WIDTH - LEFT - RIGHT) * index / self.values.len().max(1) as f64;
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - least) / (top - least);
        let points = |line: &[(f64, f64)]| -> String {
            line.iter().map(|(index, value)| format!("{:.1},{:.1} ", x(*index), y(*value))).collect()
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" width=\"{WIDTH:.0}\" \
             font-family=\"ui-sans-serif, system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\" role=\"img\">\n\
             <title>{0}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" fill=\"{INK}\" font-size=\"14\">{0}</text>\n",
            escaped(self.title)
        );
        let mut label = |at_x: f64, at_y: f64, anchor: &str, text: &str| {
            _ = writeln!(
                out,
                "<text x=\"{at_x:.1}\" y=\"{at_y:.1}\" text-anchor=\"{anchor}\" fill=\"{QUIET}\">{}</text>",
                escaped(text)
            );
        };
        for value in [least, f64::midpoint(least, top), top] {
            label(LEFT - 6.0, y(value) + 4.0, "end", &format!("{value:.3}"));
        }
        label(LEFT, HEIGHT - 10.0, "start", "0s");
        let span = SimDuration::from_nanos(self.step.as_nanos().saturating_mul(self.values.len() as u64));
        label(WIDTH - RIGHT, HEIGHT - 10.0, "end", &span.to_string());
        label(WIDTH / 2.0, HEIGHT - 10.0, "middle", self.unit);
        if !low.is_empty() {
            let back: Vec<(f64, f64)> = low.iter().rev().copied().collect();
            let outline = points(&high) + &points(&back);
            _ = writeln!(
                out,
                "<polygon points=\"{}\" fill=\"{FORECAST}\" fill-opacity=\"0.25\"/>",
                outline.trim()
            );
        }
        for (line, colour) in [(&series, INK), (&middle, FORECAST)] {
            _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1\"/>",
                points(line).trim()
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_series_the_forecast_and_its_interval() {
        let values = [Some(0.0), Some(10.0), None, Some(5.0)];
        let fan = vec![(2, 6.0, 4.0, 8.0), (3, 6.0, 4.0, 8.0)];
        let chart = FanChart {
            title: "a < b",
            unit: "requests/s",
            values: &values,
            step: SimDuration::from_secs(60),
            fan: &fan,
        };
        let svg = chart.svg();
        assert!(
            svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains("a &lt; b"),
            "{svg}"
        );
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<polygon").count()), (2, 1));
        // The gap is left out; 10 is at the top, 0 at the bottom.
        let series = svg.split("<polyline points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(series, "174.0,288.0 394.0,40.0 834.0,164.0");
    }

    #[test]
    fn long_series_are_thinned_to_means() {
        let long: Vec<Option<f64>> = (0..10).map(|n| (n != 3).then_some(f64::from(n))).collect();
        let found = thinned(long.into_iter().enumerate(), 4);
        assert_eq!(found, [(2.0, 1.0), (6.0, 5.5), (10.0, 8.5)]);
    }
}
