//! What step times may get wrong: grids out of shape or order, and times that could reach zero.

use super::{Fault, Faults, Severity, US_MAX};
use crate::profile::schema::{DecodeFit, DecodeGrid, LinearCurve, PrefillFit, PrefillTimes, StepTimeSpec};

pub(super) fn check(spec: &StepTimeSpec, faults: &mut Faults) {
    let decode = &spec.decode;
    faults.require(
        decode.fit.is_some() || decode.grid.is_some(),
        "stepTime.decode",
        "it has neither a grid nor a fit",
        "add `fit:` or `grid:`",
    );
    if let Some(fit) = &decode.fit {
        faults.sourced("stepTime.decode.fit", fit);
        check_decode_fit(&fit.value, faults);
    }
    if let Some(grid) = &decode.grid {
        faults.sourced("stepTime.decode.grid", grid);
        check_decode_grid(&grid.value, faults);
    }
    let prefill = &spec.prefill;
    faults.require(
        prefill.max_planes.is_some() || prefill.grid.is_some(),
        "stepTime.prefill",
        "it has neither a grid nor planes",
        "add `maxPlanes:` or `grid:`",
    );
    if let Some(fit) = &prefill.max_planes {
        faults.sourced("stepTime.prefill.maxPlanes", fit);
        check_planes(&fit.value, faults);
    }
    if let Some(grid) = &prefill.grid {
        faults.sourced("stepTime.prefill.grid", grid);
        check_prefill_grid(&grid.value, faults);
    }
    if let Some(curve) = &spec.linear_layers {
        faults.sourced("stepTime.linearLayers", curve);
        check_linear(&curve.value, faults);
    }
    if let Some(range) = &spec.measured {
        let sound = range.batch > 0 && range.kv_tokens > 0 && range.prefill_tokens > 0;
        // One more than the last KV token measured must exist, and be far from the end of u64.
        let sound = sound && range.kv_tokens <= 1 << 40;
        faults.require(
            sound,
            "stepTime.measured",
            "a range is 0 or out of bounds",
            "write the largest values measured",
        );
    }
}

fn check_decode_fit(fit: &DecodeFit, faults: &mut Faults) {
    let path = "stepTime.decode.fit.value";
    faults.coefficient(&format!("{path}.baseMs"), fit.base_ms, US_MAX / 1e3);
    faults.coefficient(&format!("{path}.perSequenceUs"), fit.per_sequence_us, 1e6);
    faults.coefficient(&format!("{path}.perKvTokenNs"), fit.per_kv_token_ns, 1e5);
    for (i, hinge) in fit.hinges.iter().enumerate() {
        faults.coefficient(&format!("{path}.hinges[{i}].perSequenceUs"), hinge.per_sequence_us, 1e6);
    }
    let knots: Vec<u32> = fit.hinges.iter().map(|h| h.above_batch).collect();
    faults.increasing(&format!("{path}.hinges"), &knots, 0);
    // What is no number, or negative, was refused above.
    let positive = fit.base_ms + fit.per_sequence_us != 0.0;
    faults.require(positive, path, "a step with one sequence takes no time", "write the base of a step");
    if let Some(errors) = &fit.errors {
        faults.fit_errors(&format!("{path}.errors"), errors);
    }
}

fn check_decode_grid(grid: &DecodeGrid, faults: &mut Faults) {
    let path = "stepTime.decode.grid.value";
    let rows = faults.increasing(&format!("{path}.batches"), &grid.batches, 2);
    let columns = faults.increasing(&format!("{path}.kvTokens"), &grid.kv_tokens, 2);
    let times = format!("{path}.timesUs");
    let table = faults.table(&times, &grid.times_us, grid.batches.len(), grid.kv_tokens.len());
    if !(rows && columns && table) {
        return;
    }
    faults.require(grid.batches[0] > 0, &format!("{path}.batches"), "it holds a batch of 0", "begin at 1");
    let last = *grid.kv_tokens.last().unwrap_or(&0);
    faults.require(
        last <= 1 << 40,
        &format!("{path}.kvTokens"),
        "it is out of bounds",
        "write KV tokens of a batch",
    );
    // The grid is continued at its first and last slopes, which must not lead to 0 or below.
    let (kv, n) = (&grid.kv_tokens, grid.kv_tokens.len());
    for (i, row) in grid.times_us.iter().enumerate() {
        let slope = (row[1] - row[0]) / (kv[1] - kv[0]) as f64;
        let batch = grid.batches[i];
        faults.require(
            row[0] - slope * kv[0] as f64 > 0.0,
            &times,
            format!("row {i} (batch {batch}), continued down to no KV token, falls to 0"),
            "measure a column with fewer KV tokens",
        );
        faults.require(
            row[n - 1] >= row[n - 2],
            &times,
            format!("row {i} (batch {batch}) falls at its end, along which it is continued"),
            "measure its last two columns again",
        );
        if row.windows(2).any(|w| w[1] < 0.97 * w[0]) {
            faults.warn(
                &times,
                format!("row {i} (batch {batch}) falls by more than 3 % over KV tokens"),
                "a change of kernel, or a bad point",
            );
        }
    }
    let b = grid.batches.len();
    for (column, kv) in kv.iter().enumerate() {
        let rises = grid.times_us[b - 1][column] >= grid.times_us[b - 2][column];
        let sound = faults.require(
            rises && grid.at_batch_us(1, column) > 0.0,
            &times,
            format!(
                "column {column} ({kv} KV tokens), continued to batch 1 or past its last row, falls to 0"
            ),
            "measure batch 1, and the last two rows again",
        );
        // The other columns are mostly at fault alike.
        if !sound {
            break;
        }
    }
}

fn check_planes(fit: &PrefillFit, faults: &mut Faults) {
    let path = "stepTime.prefill.maxPlanes.value";
    faults.require(
        !fit.planes.is_empty(),
        &format!("{path}.planes"),
        "it has no planes",
        "write at least one",
    );
    for (i, plane) in fit.planes.iter().enumerate() {
        faults.coefficient(&format!("{path}.planes[{i}].baseMs"), plane.base_ms, US_MAX / 1e3);
        faults.coefficient(&format!("{path}.planes[{i}].perTokenUs"), plane.per_token_us, 1e5);
        faults.coefficient(&format!("{path}.planes[{i}].perWorkNs"), plane.per_work_ns, 1e3);
    }
    let grows = fit.planes.iter().any(|p| p.per_token_us > 0.0);
    faults.require(
        grows || fit.planes.is_empty(),
        &format!("{path}.planes"),
        "prefill takes no time for a token",
        "write the µs of a new token",
    );
    if let Some(errors) = &fit.errors {
        faults.fit_errors(&format!("{path}.errors"), errors);
    }
}

fn check_prefill_grid(grid: &PrefillTimes, faults: &mut Faults) {
    let path = "stepTime.prefill.grid.value";
    let rows = faults.increasing(&format!("{path}.tokens"), &grid.tokens, 2);
    let columns = faults.increasing(&format!("{path}.contexts"), &grid.contexts, 1);
    let times = format!("{path}.timesUs");
    let table = faults.table(&times, &grid.times_us, grid.tokens.len(), grid.contexts.len());
    if !(rows && columns && table) {
        return;
    }
    let n = grid.times_us.len();
    let rises = grid.times_us[n - 2].iter().zip(&grid.times_us[n - 1]).all(|(a, b)| a <= b);
    faults.require(
        rises,
        &times,
        "its last row is below the one before it, along which it is continued",
        "measure the last two rows again",
    );
}

fn check_linear(curve: &LinearCurve, faults: &mut Faults) {
    let path = "stepTime.linearLayers.value";
    faults.increasing(&format!("{path}.tokens"), &curve.tokens, 2);
    let rows: Vec<Vec<f64>> = curve.times_us.iter().map(|t| vec![*t]).collect();
    let good = faults.table(&format!("{path}.timesUs"), &rows, curve.tokens.len(), 1);
    let falls = curve.times_us.windows(2).any(|w| w[1] < 0.97 * w[0]);
    if good && falls {
        faults.warn(
            &format!("{path}.timesUs"),
            "it falls by more than 3 %",
            "a change of kernel, or a bad point",
        );
    }
    faults.coefficient(&format!("{path}.attentionPerWorkNs"), curve.attention_per_work_ns, 1e3);
}

/// The first error in the step times, if any.
pub(in crate::profile) fn first_step_time_error(spec: &StepTimeSpec) -> Option<Fault> {
    let mut faults = Faults::default();
    check(spec, &mut faults);
    faults.0.into_iter().find(|f| f.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::schema::{Hinge, Profile};

    fn errors(profile: &Profile) -> Vec<String> {
        let of = profile.check().into_iter().filter(|f| f.severity == Severity::Error);
        of.map(|f| format!("{}: {}", f.path, f.message)).collect()
    }

    fn grid(spec: &mut StepTimeSpec) -> &mut DecodeGrid {
        &mut spec.decode.grid.as_mut().unwrap().value
    }

    fn fit(spec: &mut StepTimeSpec) -> &mut DecodeFit {
        &mut spec.decode.fit.as_mut().unwrap().value
    }

    #[test]
    fn step_times_that_could_reach_zero_are_refused() {
        let check = |change: &dyn Fn(&mut StepTimeSpec), expected: &str| {
            let mut profile = fixture::with_grid(&[1, 8], &[100, 200], &[vec![10.0, 11.0], vec![20.0, 22.0]]);
            let spec = profile.step_time.as_mut().unwrap();
            change(spec);
            let found = errors(&profile);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        };
        check(&|s| grid(s).kv_tokens.swap(0, 1), "grid.value.kvTokens: its values do not increase");
        check(&|s| grid(s).times_us[1].push(1.0), "grid.value.timesUs: it is not 2 rows of 2 values");
        check(&|s| grid(s).times_us[1][0] = 0.0, "a time that is not positive");
        check(
            &|s| grid(s).times_us[0][1] = 22.0,
            "row 0 (batch 1), continued down to no KV token, falls to 0",
        );
        check(&|s| grid(s).times_us[1][1] = 19.0, "row 1 (batch 8) falls at its end");
        check(&|s| grid(s).batches = vec![4, 5], "column 0 (100 KV tokens), continued to batch 1");
        check(&|s| fit(s).base_ms = f64::NAN, "fit.value.baseMs: it is NaN");
        check(
            &|s| fit(s).hinges = vec![Hinge { above_batch: 4, per_sequence_us: -1.0 }],
            "fit.value.hinges[0].perSequenceUs: it is -1",
        );
        check(&|s| (s.decode.fit, s.decode.grid) = (None, None), "neither a grid nor a fit");
        check(&|s| s.prefill.max_planes.as_mut().unwrap().value.planes.clear(), "it has no planes");
    }
}
