//! Decode and prefill times as curves: a grid through its points, a fit over its range, raw
//! samples as crosses.

use plotters::prelude::*;
use thawline::profile::schema::{PrefillFit, StepTimeSpec};

use super::axis::{Axis, short};
use super::{Area, COLOURS, Drawn, FAINT, FONT, GRID, INK};
use crate::raw::{Record, Timing};

/// Curves a panel shows at most; more cannot be told apart.
const CURVES: usize = COLOURS.len();

/// One curve: its name and its points; the points are marked where they were measured.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    marked: bool,
}

/// One panel: curves over an axis, and loose points.
struct Panel {
    heading: String,
    x: &'static str,
    y: &'static str,
    curves: Vec<Curve>,
    loose: Vec<(f64, f64)>,
}

/// Decode: a step's time over the KV tokens it reads, a curve for each batch size.
pub(super) fn draw_decode<B: DrawingBackend>(
    area: &Area<'_, B>,
    spec: &StepTimeSpec,
    samples: &[Record],
) -> Drawn<B> {
    let (curves, how) = decode_curves(spec);
    let loose = samples.iter().filter_map(|record| match record {
        Record::Decode(sample) => Some((sample.kv_tokens as f64, median_ms(&sample.timing)?)),
        _ => None,
    });
    let panel = Panel {
        heading: format!("decode, {how}; a curve for each number of sequences"),
        x: "KV tokens read by the step",
        y: "step, ms",
        curves,
        loose: loose.filter(|(x, _)| *x > 0.0).collect(),
    };
    panel.draw(area)
}

/// Prefill: a chunk's time over its new tokens, a curve for each context.
pub(super) fn draw_prefill<B: DrawingBackend>(
    area: &Area<'_, B>,
    spec: &StepTimeSpec,
    samples: &[Record],
) -> Drawn<B> {
    let (curves, how) = prefill_curves(spec);
    let loose = samples.iter().filter_map(|record| match record {
        Record::Prefill(sample) => Some((sample.tokens as f64, median_ms(&sample.timing)?)),
        _ => None,
    });
    let panel = Panel {
        heading: format!("prefill, {how}; a curve for each context in the cache"),
        x: "new tokens",
        y: "prefill, ms",
        curves,
        loose: loose.filter(|(x, _)| *x > 0.0).collect(),
    };
    panel.draw(area)
}

/// At most [`CURVES`] of so many, the first and the last among them.
fn chosen(len: usize) -> Vec<usize> {
    if len <= CURVES {
        return (0..len).collect();
    }
    let mut indices: Vec<usize> = (0..CURVES).map(|i| i * (len - 1) / (CURVES - 1)).collect();
    indices.dedup();
    indices
}

fn decode_curves(spec: &StepTimeSpec) -> (Vec<Curve>, &'static str) {
    let decode = &spec.decode;
    if let Some(grid) = decode.grid.as_ref().map(|grid| &grid.value) {
        let curve = |row: usize| {
            let points = grid.kv_tokens.iter().zip(&grid.times_us[row]);
            Curve {
                name: grid.batches[row].to_string(),
                points: points.filter(|(k, _)| **k > 0).map(|(k, us)| (*k as f64, us / 1e3)).collect(),
                marked: true,
            }
        };
        return (chosen(grid.batches.len()).into_iter().map(curve).collect(), "measured grid");
    }
    let Some(fit) = decode.fit.as_ref().map(|fit| &fit.value) else { return (Vec::new(), "unknown") };
    let (batches, tokens) = spec.measured.map_or((256, 500_000), |range| (range.batch, range.kv_tokens));
    let sizes: Vec<u32> = [1, 4, 16, 64, 256].into_iter().filter(|b| *b < batches).chain([batches]).collect();
    let axis = Axis::over([1_000.0_f64.min(tokens as f64 / 20.0), tokens as f64].into_iter());
    let curve = |batch: &u32| {
        // A sequence has at least a token in the cache.
        let low = 1_000.0_f64.min(tokens as f64 / 20.0).max(f64::from(*batch));
        let at = |k: f64| (k, (fit.at_batch_us(*batch) + fit.per_kv_token_ns * k / 1e3) / 1e3);
        let points = axis.samples(low, tokens as f64, 60).into_iter().map(at).collect();
        Curve { name: batch.to_string(), points, marked: false }
    };
    (sizes.iter().map(curve).collect(), "fitted")
}

fn prefill_curves(spec: &StepTimeSpec) -> (Vec<Curve>, &'static str) {
    let prefill = &spec.prefill;
    if let Some(grid) = prefill.grid.as_ref().map(|grid| &grid.value) {
        let curve = |column: usize| {
            let points = grid.tokens.iter().zip(&grid.times_us);
            Curve {
                name: short(grid.contexts[column] as f64),
                points: points
                    .filter(|(n, _)| **n > 0)
                    .map(|(n, row)| (*n as f64, row[column] / 1e3))
                    .collect(),
                marked: true,
            }
        };
        return (chosen(grid.contexts.len()).into_iter().map(curve).collect(), "measured grid");
    }
    let Some(fit) = prefill.max_planes.as_ref().map(|fit| &fit.value) else {
        return (Vec::new(), "unknown");
    };
    let most = spec.measured.map_or(8_192, |range| range.prefill_tokens).max(2) as f64;
    let axis = Axis::over([1.0, most].into_iter());
    let grows = fit.planes.iter().any(|plane| plane.per_work_ns > 0.0);
    let contexts: &[f64] = if grows { &[0.0, 4_000.0, 16_000.0] } else { &[0.0] };
    let curve = |context: &f64| {
        let points = axis.samples(1.0, most, 80).into_iter().map(|n| (n, prefill_ms(fit, n, *context)));
        Curve { name: short(*context), points: points.collect(), marked: false }
    };
    (contexts.iter().map(curve).collect(), "fitted")
}

/// Time of one chunk of `n` tokens after `context`, ms.
fn prefill_ms(fit: &PrefillFit, n: f64, context: f64) -> f64 {
    let work = n * (context + n / 2.0);
    let time = |p: &thawline::profile::schema::PlaneSpec| {
        p.base_ms + p.per_token_us * n / 1e3 + p.per_work_ns * work / 1e6
    };
    fit.planes.iter().map(time).fold(0.0, f64::max)
}

fn median_ms(timing: &Timing) -> Option<f64> {
    let mut samples = timing.samples_us.clone();
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).map(|us| us / 1e3)
}

impl Panel {
    fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawn<B> {
        let all = || self.curves.iter().flat_map(|curve| &curve.points).chain(&self.loose);
        let (x, y) = (Axis::over(all().map(|p| p.0)), Axis::over(all().map(|p| p.1)));
        area.draw(&Text::new(self.heading.clone(), (24, 12), (FONT, 16).into_font().color(&INK)))?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(40)
            .margin_left(14)
            .margin_right(24)
            .margin_bottom(10)
            .x_label_area_size(48)
            .y_label_area_size(62)
            .build_cartesian_2d(x, y)?;
        let small = || TextStyle::from((FONT, 14).into_font());
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(9)
            .y_labels(8)
            .axis_desc_style(small().color(&INK))
            .label_style(small().color(&FAINT))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(FAINT)
            .draw()?;
        for (curve, colour) in self.curves.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
            if curve.marked {
                let mark = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
                chart.draw_series(curve.points.iter().map(mark))?;
            }
        }
        chart.draw_series(self.loose.iter().map(|point| Cross::new(*point, 3, INK.stroke_width(1))))?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(small().color(&INK))
            .margin(8)
            .draw()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_few_and_keep_both_ends() {
        assert_eq!(chosen(3), [0, 1, 2]);
        let many = chosen(23);
        assert!(many.len() == CURVES && many[0] == 0 && *many.last().unwrap() == 22, "{many:?}");
    }

    #[test]
    fn curves_follow_the_profile() {
        let profile = thawline::profile::shipped::find("a10g-llama3-8b-vllm").unwrap().profile();
        let spec = profile.step_time.as_ref().unwrap();
        let fit = &spec.decode.fit.as_ref().unwrap().value;
        let (curves, how) = decode_curves(spec);
        assert_eq!(how, "fitted");
        let (k, ms) = curves[0].points[30];
        let expected = fit.base_ms + fit.per_sequence_us / 1e3 + fit.per_kv_token_ns * k / 1e6;
        assert!((ms - expected).abs() < 1e-9, "{ms}, not {expected}");
        let cost = profile.step_cost(1).unwrap();
        let (n, ms) = prefill_curves(spec).0[0].points[80];
        let host_ms = profile.per_step().as_millis_f64();
        let (fs, _) = cost.mixed_fs(0, 0, n as u64, (n * n) as u64);
        assert!((ms + host_ms - fs as f64 / 1e12).abs() < 0.01 * ms, "{ms} and {host_ms}, not {fs} fs");
    }
}
