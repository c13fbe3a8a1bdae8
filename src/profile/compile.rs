//! From a profile's step times to the integer tables that both engines read.
//!
//! Fitted coefficients become femtoseconds once. A grid becomes one linear piece for each
//! of its KV columns and each batch size, exact at the knots; between them the rounded
//! slope is off by at most half a femtosecond a token. Beyond the measured range the last
//! slope goes on, never a flat end, and the cell says that it is extrapolated.

use super::check;
use super::schema::{DecodeFit, DecodeGrid, LinearCurve, MeasuredRange, PrefillFit, PrefillTimes, Profile};
use super::step_time::{Cell, LinearLayers, Plane, PrefillCost, PrefillGrid, StepCost};

const FS_PER_MS: f64 = 1e12;
const FS_PER_US: f64 = 1e9;
const FS_PER_NS: f64 = 1e6;

/// How the time of a step with decode and prefill in it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixedRule {
    /// `G(B+P) + attention(decode) + attention(prefill)`: the linear-layer curve G is known.
    Sum,
    /// `decode(B,K) + max(0, prefill(P,A) - prefill(->0))`: no G is known.
    Difference,
}

impl MixedRule {
    /// The words reports use.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sum => "mixed steps by the sum rule over the measured linear layers",
            Self::Difference => "mixed steps by the difference rule (no linear-layer curve)",
        }
    }
}

/// Why a profile gives no step cost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no `stepTime` section.
    #[error("profile `{name}` has no `stepTime` section, which the `continuous` engine needs")]
    NoStepTime {
        /// The profile.
        name: String,
    },
    /// The profile's own check would have refused it.
    #[error("profile `{name}`, {path}: {message}")]
    Invalid {
        /// The profile.
        name: String,
        /// Where.
        path: String,
        /// What is wrong.
        message: String,
    },
}

impl Profile {
    /// The compiled step cost for batches of up to `max_num_seqs` sequences.
    ///
    /// # Errors
    /// Without step times, and where [`Profile::check`] finds them wrong.
    pub fn step_cost(&self, max_num_seqs: u32) -> Result<StepCost, CompileError> {
        let Some(spec) = &self.step_time else {
            return Err(CompileError::NoStepTime { name: self.name.clone() });
        };
        let invalid =
            |path: String, message: String| CompileError::Invalid { name: self.name.clone(), path, message };
        if let Some(fault) = check::first_step_time_error(spec) {
            return Err(invalid(fault.path, fault.message));
        }
        let batches = 1..=max_num_seqs.max(1);
        let rows = match (&spec.decode.grid, &spec.decode.fit) {
            (Some(grid), _) => batches.map(|b| grid_row(&grid.value, b)).collect(),
            (None, Some(fit)) => batches.map(|b| fit_row(&fit.value, spec.measured.as_ref(), b)).collect(),
            (None, None) => {
                return Err(invalid("stepTime.decode".into(), "it has neither a grid nor a fit".into()));
            }
        };
        let prefill = match (&spec.prefill.grid, &spec.prefill.max_planes) {
            (Some(grid), _) => PrefillCost::Grid(prefill_grid(&grid.value)),
            (None, Some(fit)) => max_planes(&fit.value, spec.measured.as_ref()),
            (None, None) => {
                return Err(invalid("stepTime.prefill".into(), "it has neither a grid nor planes".into()));
            }
        };
        let linear = spec.linear_layers.as_ref().map(|curve| linear_layers(&curve.value));
        let per_step_fs = self.per_step().as_nanos().saturating_mul(FS_PER_NS as u64);
        Ok(StepCost::new(rows, prefill, linear, per_step_fs))
    }

    /// Which rule its mixed steps follow; `None` without step times.
    pub fn mixed_rule(&self) -> Option<MixedRule> {
        let spec = self.step_time.as_ref()?;
        Some(if spec.linear_layers.is_some() { MixedRule::Sum } else { MixedRule::Difference })
    }
}

impl DecodeFit {
    /// Decode time without its KV term, µs: `base + perSequence * B`, with the hinges.
    pub fn at_batch_us(&self, batch: u32) -> f64 {
        let mut time = self.base_ms * 1e3;
        let (mut from, mut slope) = (0, self.per_sequence_us);
        for hinge in self.hinges.iter().take_while(|h| h.above_batch < batch) {
            time += slope * f64::from(hinge.above_batch - from);
            (from, slope) = (hinge.above_batch, hinge.per_sequence_us);
        }
        time + slope * f64::from(batch - from)
    }
}

impl DecodeGrid {
    /// Time at `batch` in column `column`, µs; along the nearest two rows where it lies outside them.
    ///
    /// # Panics
    /// With fewer than two rows, which [`Profile::check`] refuses.
    pub fn at_batch_us(&self, batch: u32, column: usize) -> f64 {
        let upper = self.batches.partition_point(|b| *b < batch).clamp(1, self.batches.len() - 1);
        let (b0, b1) = (f64::from(self.batches[upper - 1]), f64::from(self.batches[upper]));
        let (t0, t1) = (self.times_us[upper - 1][column], self.times_us[upper][column]);
        // Exact at both ends.
        let share = (f64::from(batch) - b0) / (b1 - b0);
        t0 * (1.0 - share) + t1 * share
    }
}

/// Nearest whole number of femtoseconds.
fn fs(value: f64, scale: f64) -> i64 {
    (value * scale).round() as i64
}

fn fit_row(fit: &DecodeFit, measured: Option<&MeasuredRange>, batch: u32) -> Vec<Cell> {
    let at_from_fs = fs(fit.at_batch_us(batch), FS_PER_US);
    let slope_fs = fs(fit.per_kv_token_ns, FS_PER_NS);
    let cell = |kv_from: u64, kv_to: u64, extrapolated: bool| Cell {
        kv_from,
        kv_to,
        at_from_fs: at_from_fs + slope_fs * kv_from as i64,
        slope_fs,
        extrapolated,
    };
    match measured {
        Some(range) if batch <= range.batch => {
            let end = range.kv_tokens + 1;
            vec![cell(0, end, false), cell(end, u64::MAX, true)]
        }
        Some(_) => vec![cell(0, u64::MAX, true)],
        None => vec![cell(0, u64::MAX, false)],
    }
}

fn grid_row(grid: &DecodeGrid, batch: u32) -> Vec<Cell> {
    let kv = &grid.kv_tokens;
    let outside =
        grid.batches.first().is_some_and(|b| batch < *b) || grid.batches.last().is_some_and(|b| batch > *b);
    let at: Vec<i64> = (0..kv.len()).map(|column| fs(grid.at_batch_us(batch, column), FS_PER_US)).collect();
    let slope = |i: usize| ((at[i + 1] - at[i]) as f64 / (kv[i + 1] - kv[i]) as f64).round() as i64;
    let mut cells = Vec::with_capacity(kv.len() + 1);
    if kv[0] > 0 {
        let slope_fs = slope(0);
        let at_from_fs = at[0] - slope_fs * kv[0] as i64;
        cells.push(Cell { kv_from: 0, kv_to: kv[0], at_from_fs, slope_fs, extrapolated: true });
    }
    for i in 0..kv.len() - 1 {
        let (kv_from, kv_to) = (kv[i], kv[i + 1]);
        cells.push(Cell { kv_from, kv_to, at_from_fs: at[i], slope_fs: slope(i), extrapolated: outside });
    }
    let last = kv.len() - 1;
    cells.push(Cell {
        kv_from: kv[last],
        kv_to: u64::MAX,
        at_from_fs: at[last],
        slope_fs: slope(last - 1),
        extrapolated: true,
    });
    cells
}

fn max_planes(fit: &PrefillFit, measured: Option<&MeasuredRange>) -> PrefillCost {
    let plane = |p: &super::schema::PlaneSpec| Plane {
        base_fs: fs(p.base_ms, FS_PER_MS),
        per_token_fs: fs(p.per_token_us, FS_PER_US),
        per_work_fs: fs(p.per_work_ns, FS_PER_NS),
    };
    PrefillCost::MaxPlanes {
        planes: fit.planes.iter().map(plane).collect(),
        measured_tokens: measured.map_or(u64::MAX, |m| m.prefill_tokens),
    }
}

fn prefill_grid(grid: &PrefillTimes) -> PrefillGrid {
    PrefillGrid {
        tokens: grid.tokens.clone(),
        contexts: grid.contexts.clone(),
        times_fs: grid.times_us.iter().flatten().map(|t| fs(*t, FS_PER_US) as u64).collect(),
    }
}

fn linear_layers(curve: &LinearCurve) -> LinearLayers {
    let point = |(tokens, time): (&u64, &f64)| (*tokens, fs(*time, FS_PER_US) as u64);
    LinearLayers {
        points: curve.tokens.iter().zip(&curve.times_us).map(point).collect(),
        attention_per_work_fs: fs(curve.attention_per_work_ns, FS_PER_NS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::schema::Hinge;

    fn assert_close(actual_fs: u64, expected_us: f64, what: &str) {
        let actual = actual_fs as f64 / FS_PER_US;
        assert!((actual / expected_us - 1.0).abs() < 1e-9, "{what}: {actual} against {expected_us}");
    }

    #[test]
    fn a_fit_compiles_to_its_formula() {
        let mut profile = fixture::profile();
        let fit = &mut profile.step_time.as_mut().unwrap().decode.fit.as_mut().unwrap().value;
        fit.hinges = vec![
            Hinge { above_batch: 4, per_sequence_us: 10.0 },
            Hinge { above_batch: 6, per_sequence_us: 90.5 },
        ];
        let cost = profile.step_cost(8).unwrap();
        assert_eq!(cost.max_batch(), 8);
        // 10 ms + 50 us each up to 4, 10 us up to 6, 90.5 us beyond; 30 ns a KV token; 25 us host.
        let formula = |b: u32, k: u64| {
            let b = f64::from(b);
            let seqs = 50.0 * b.min(4.0) + 10.0 * (b - 4.0).clamp(0.0, 2.0) + 90.5 * (b - 6.0).max(0.0);
            10_000.0 + seqs + 0.03 * k as f64 + 25.0
        };
        for b in 1..=8 {
            for k in [0, 1, 999, 100_000, 100_001, 5_000_000] {
                let cell = cost.decode_cell(b, k);
                assert_close(cell.time_fs(k), formula(b, k), &format!("B={b} K={k}"));
                // The fixture was measured to batch 6 and 100,000 KV tokens.
                assert_eq!(cell.extrapolated, b > 6 || k > 100_000, "B={b} K={k}");
            }
        }
    }

    #[test]
    fn a_grid_is_exact_at_its_knots_and_bilinear_between() {
        let (batches, kv) = ([1_u32, 4, 8], [1_000_u64, 5_000, 17_000]);
        let times =
            [[10_001.3, 10_120.0, 10_500.7], [10_200.0, 10_400.25, 10_900.0], [10_300.0, 10_700.0, 11_800.9]];
        let profile = fixture::with_grid(&batches, &kv, &times.map(|row| row.to_vec()));
        let cost = profile.step_cost(12).unwrap();
        let reference = |b: u32, k: u64| {
            let bilinear = |x: f64, knots: [f64; 3], values: [f64; 3]| {
                let i = usize::from(x >= knots[1]);
                values[i] + (values[i + 1] - values[i]) * (x - knots[i]) / (knots[i + 1] - knots[i])
            };
            let column = |c: usize| {
                bilinear(f64::from(b), batches.map(f64::from), [0, 1, 2].map(|r: usize| times[r][c]))
            };
            bilinear(k as f64, kv.map(|k| k as f64), [0, 1, 2].map(column)) + 25.0
        };
        for b in 1..=12 {
            for k in [0, 999, 1_000, 3_333, 4_999, 5_000, 11_111, 17_000, 20_000] {
                let cell = cost.decode_cell(b, k);
                assert_close(cell.time_fs(k), reference(b, k), &format!("B={b} K={k}"));
                assert_eq!(cell.extrapolated, b > 8 || !(1_000..17_000).contains(&k), "B={b} K={k}");
            }
        }
        // At the knots not even a rounded slope comes between.
        assert_eq!(cost.decode_cell(4, 5_000).time_fs(5_000), 10_425_250_000_000);
    }

    #[test]
    fn prefill_takes_the_largest_plane_and_the_rule_is_labelled() {
        let profile = fixture::profile();
        let cost = profile.step_cost(4).unwrap();
        // Planes 10 ms + 1 us P and 8 ms + 40 us P + 2 ns A; host 25 us.
        assert_close(cost.mixed_fs(0, 0, 10, 100).0, 10_010.0 + 25.0, "short");
        assert_close(cost.mixed_fs(0, 0, 1_000, 1_000_000).0, 8_000.0 + 40_000.0 + 1_000.0 + 25.0, "long");
        assert_eq!(profile.mixed_rule(), Some(MixedRule::Difference));
        let mut without = profile;
        without.step_time = None;
        assert!(matches!(without.step_cost(4), Err(CompileError::NoStepTime { .. })));
        assert_eq!(without.mixed_rule(), None);
    }

    #[test]
    fn what_the_check_refuses_is_not_compiled() {
        let mut profile = fixture::profile();
        profile.step_time.as_mut().unwrap().decode.fit.as_mut().unwrap().value.per_kv_token_ns = -1.0;
        let error = profile.step_cost(4).unwrap_err().to_string();
        assert!(error.contains("stepTime.decode.fit.value.perKvTokenNs"), "{error}");
    }
}
