//! The time of an engine's step as a plane over what it does (`core/perf_model/base.py`, `core/perf_model/agg.py`).

use std::collections::VecDeque;

/// Solves a small system by elimination; `None` if it is singular.
pub(super) fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    let size = matrix.iter().flatten().fold(0.0_f64, |most, value| most.max(value.abs()));
    for column in 0..n {
        let pivot =
            (column..n).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        if matrix[pivot][column].abs() <= size * 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for below in column + 1..n {
            let factor = matrix[below][column] / matrix[column][column];
            let upper = matrix[column].clone();
            for (value, above) in matrix[below].iter_mut().zip(&upper).skip(column) {
                *value -= factor * above;
            }
            right[below] -= factor * right[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|at| matrix[row][at] * right[at]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

/// What a worker does in a step and has waiting, and how long its steps take (upstream's forward-pass metrics).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worker {
    /// Prompt tokens of a step.
    pub prefill_tokens: f64,
    /// KV tokens that a step's decoding sequences read.
    pub decode_kv: f64,
    /// Sequences that decode.
    pub decoding: f64,
    /// Prompt tokens that wait.
    pub queued_prefill: f64,
    /// KV tokens of sequences that wait to go on.
    pub queued_kv: f64,
    /// Mean prompt, tokens; 0 where it is not known.
    pub mean_prompt: f64,
    /// Time of a step, s; 0 while it is idle.
    pub step_s: f64,
}

/// A mean over the last so many values, which begins with the first that is not 0.
#[derive(Clone, Debug, PartialEq)]
struct MovingAverage {
    most: usize,
    values: VecDeque<f64>,
    sum: f64,
}

impl MovingAverage {
    fn add(&mut self, value: f64) {
        if value == 0.0 && self.values.is_empty() {
            return;
        }
        if self.values.len() == self.most {
            self.sum -= self.values.pop_front().unwrap_or(0.0);
        }
        self.values.push_back(value);
        self.sum += value;
    }

    fn value(&self) -> f64 {
        if self.values.is_empty() { 0.0 } else { self.sum / self.values.len() as f64 }
    }
}

/// One step that was seen: (prefill tokens, decode KV) and its time, s.
pub type Sample = ([f64; 2], f64);

/// The plane, and the samples it is fitted to.
#[derive(Clone, Debug)]
pub struct Regression {
    samples: VecDeque<Sample>,
    most: usize,
    least: usize,
    /// Buckets along each axis.
    buckets: usize,
    prompt: MovingAverage,
    context: MovingAverage,
    prefill: MovingAverage,
    /// (s, s per prefill token, s per KV token); `None` until it is fitted.
    plane: Option<[f64; 3]>,
}

impl Regression {
    /// With `max_num_fpm_samples`, `load_min_observations` and the root of `fpm_sample_bucket_size`.
    pub fn new(most: usize, least: usize, buckets: usize) -> Self {
        let average = || MovingAverage { most, values: VecDeque::new(), sum: 0.0 };
        Self {
            samples: VecDeque::with_capacity(most + 1),
            most,
            least,
            buckets: buckets.max(1),
            prompt: average(),
            context: average(),
            prefill: average(),
            plane: None,
        }
    }

    /// Takes in what workers do.
    pub fn observe(&mut self, workers: &[Worker]) {
        for worker in workers {
            self.observe_one(worker);
        }
        self.fit();
    }

    fn observe_one(&mut self, worker: &Worker) {
        if worker.prefill_tokens > 0.0 {
            self.prompt.add(worker.mean_prompt);
        }
        if worker.decoding > 0.0 {
            self.context.add(worker.decode_kv / worker.decoding);
        }
        self.prefill.add(worker.prefill_tokens);
        if worker.step_s > 0.0 {
            self.add(([worker.prefill_tokens, worker.decode_kv], worker.step_s));
        }
    }

    /// Takes in the steps of a profiling sweep.
    pub fn bootstrap(&mut self, sweep: impl IntoIterator<Item = Sample>) {
        sweep.into_iter().for_each(|sample| self.add(sample));
        self.fit();
    }

    /// Of too many samples, the oldest of the fullest bucket goes, so that they stay spread over what engines do.
    fn add(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        if self.samples.len() <= self.most {
            return;
        }
        let range = |axis: usize| {
            let values = self.samples.iter().map(|(x, _)| x[axis]);
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let ranges = [range(0), range(1)];
        let bucket = |(x, _): &Sample| {
            let along = |axis: usize| {
                let (low, high) = ranges[axis];
                if high <= low {
                    return 0;
                }
                (((x[axis] - low) / (high - low) * self.buckets as f64) as usize).min(self.buckets - 1)
            };
            along(0) * self.buckets + along(1)
        };
        let mut counts = vec![0_usize; self.buckets * self.buckets];
        let of: Vec<usize> = self.samples.iter().map(bucket).collect();
        for index in &of {
            counts[*index] += 1;
        }
        let fullest = counts.iter().copied().max().unwrap_or(0);
        if let Some(oldest) = of.iter().position(|index| counts[*index] == fullest) {
            self.samples.remove(oldest);
        }
    }

    /// Least squares. A plane that falls along an axis is no engine's, and is refused.
    fn fit(&mut self) {
        self.plane = None;
        if !self.has_sufficient_data() || self.samples.is_empty() {
            return;
        }
        let n = self.samples.len() as f64;
        let mean = |of: fn(&Sample) -> f64| self.samples.iter().map(of).sum::<f64>() / n;
        let (p, k, y) = (mean(|s| s.0[0]), mean(|s| s.0[1]), mean(|s| s.1));
        let mut sums = [0.0; 5];
        for (x, time) in &self.samples {
            let (a, b, c) = (x[0] - p, x[1] - k, time - y);
            for (sum, value) in sums.iter_mut().zip([a * a, a * b, b * b, a * c, b * c]) {
                *sum += value;
            }
        }
        let [aa, ab, bb, ac, bc] = sums;
        let (slope_p, slope_k) = match solve(vec![vec![aa, ab], vec![ab, bb]], vec![ac, bc]) {
            Some(found) if aa * bb - ab * ab > 1e-9 * aa * bb => (found[0], found[1]),
            // The samples lie on a line: of all planes through it, the least steep one.
            _ if aa + bb > 0.0 => {
                let along = if aa > 0.0 { (aa, ab) } else { (0.0, 1.0) };
                let norm = along.0 * along.0 + along.1 * along.1;
                let slope = (along.0 * ac + along.1 * bc) / (norm * (aa + bb));
                (along.0 * slope, along.1 * slope)
            }
            _ => (0.0, 0.0),
        };
        if slope_p >= 0.0 && slope_k >= 0.0 {
            self.plane = Some([y - slope_p * p - slope_k * k, slope_p, slope_k]);
        }
    }

    /// Whether there are as many samples as a fit needs.
    pub fn has_sufficient_data(&self) -> bool {
        self.samples.len() >= self.least
    }

    /// Mean prompt, tokens.
    pub fn mean_prompt(&self) -> f64 {
        self.prompt.value()
    }

    /// Time of a step, s, at least 1 us; `None` without a plane.
    pub fn step(&self, prefill_tokens: f64, decode_kv: f64) -> Option<f64> {
        self.plane.map(|[base, p, k]| (base + p * prefill_tokens + k * decode_kv).max(1e-6))
    }

    /// Time to the first token of the next request, s: the steps that prefill what waits and its own prompt.
    pub fn next_ttft(&self, queued_prefill: f64, max_num_batched_tokens: u32, decode_kv: f64) -> Option<f64> {
        let (total, most) = (queued_prefill + self.mean_prompt(), f64::from(max_num_batched_tokens));
        self.plane?;
        if total <= 0.0 {
            return Some(0.0);
        }
        let full = (total / most).ceil() - 1.0;
        Some(full * self.step(most, decode_kv)? + self.step(total - full * most, decode_kv)?)
    }

    /// Time of a step with one more sequence, s.
    pub fn next_itl(&self, decode_kv: f64) -> Option<f64> {
        self.step(self.prefill.value(), decode_kv + self.context.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("it is fitted");
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} and not {expected}");
    }

    /// 5 ms + 20 us a prompt token + 1 us a KV token.
    fn time(p: f64, k: f64) -> f64 {
        0.005 + 2e-5 * p + 1e-6 * k
    }

    fn grid() -> Vec<Sample> {
        let points = (0..4).flat_map(|i| (0..4).map(move |j| (f64::from(i) * 100.0, f64::from(j) * 1000.0)));
        points.map(|(p, k)| ([p, k], time(p, k))).collect()
    }

    #[test]
    fn a_plane_is_found_again() {
        let mut own = Regression::new(64, 5, 4);
        own.bootstrap(grid());
        near(own.step(150.0, 2500.0), time(150.0, 2500.0));
        near(own.step(0.0, 0.0), 0.005);
    }

    #[test]
    fn too_few_samples_and_falling_planes_give_none() {
        let mut own = Regression::new(64, 5, 4);
        own.bootstrap(grid().into_iter().take(4));
        assert_eq!((own.has_sufficient_data(), own.step(1.0, 1.0)), (false, None));
        own.bootstrap(grid().into_iter().map(|(x, time)| (x, 1.0 - time)));
        assert_eq!((own.has_sufficient_data(), own.step(1.0, 1.0)), (true, None));
    }

    #[test]
    fn samples_on_a_line_give_the_least_steep_plane() {
        let mut own = Regression::new(64, 3, 4);
        own.bootstrap((0..5).map(|i| ([0.0, f64::from(i) * 1000.0], time(0.0, f64::from(i) * 1000.0))));
        near(own.step(0.0, 2500.0), time(0.0, 2500.0));
        near(own.step(999.0, 2500.0), time(0.0, 2500.0));
        let mut own = Regression::new(64, 3, 4);
        own.bootstrap((0..5).map(|i| ([f64::from(i), f64::from(i)], 1.0 + f64::from(i))));
        near(own.step(2.0, 2.0), 3.0);
        near(own.step(2.0, 0.0), 2.0);
    }

    #[test]
    fn the_fullest_bucket_loses_its_oldest_sample() {
        let mut own = Regression::new(4, 3, 2);
        let at = |p: f64, k: f64| ([p, k], time(p, k));
        own.bootstrap([at(0.0, 0.0), at(100.0, 0.0), at(0.0, 1000.0), at(100.0, 1000.0), at(90.0, 900.0)]);
        assert_eq!(own.samples, [at(0.0, 0.0), at(100.0, 0.0), at(0.0, 1000.0), at(90.0, 900.0)]);
    }

    #[test]
    fn latencies_are_sums_of_steps() {
        let mut own = Regression::new(64, 5, 4);
        own.bootstrap(grid());
        let worker = Worker {
            prefill_tokens: 40.0,
            decode_kv: 3000.0,
            decoding: 3.0,
            mean_prompt: 400.0,
            step_s: time(40.0, 3000.0),
            ..Worker::default()
        };
        own.observe(&[worker]);
        // 600 waiting and 400 own: two chunks of 400 and one of 200.
        let expected = 2.0 * time(400.0, 2000.0) + time(200.0, 2000.0);
        near(own.next_ttft(600.0, 400, 2000.0), expected);
        near(own.next_itl(2000.0), time(40.0, 3000.0));
    }

    #[test]
    fn systems_are_solved() {
        assert_eq!(solve(vec![vec![0.0, 2.0], vec![4.0, 0.0]], vec![6.0, 4.0]), Some(vec![1.0, 3.0]));
        assert_eq!(solve(vec![vec![1.0, 2.0], vec![2.0, 4.0]], vec![1.0, 2.0]), None);
        assert_eq!(solve(Vec::new(), Vec::new()), Some(Vec::new()));
    }
}
