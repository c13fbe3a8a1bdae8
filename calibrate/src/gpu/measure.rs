//! Runs the phases of a plan on a device, and flags what looks wrong. Nothing is left out
//! silently: a point that fails, scatters or lies where no kernel can be is kept and named.

use std::time::Instant;

use super::backend::{Backend, Prepared, Work};
use super::doubts::doubts;
use super::log::Log;
use super::points::{Phase, Point, Purpose};
use super::progress::Progress;
use super::roofline::Roofline;
use super::sample::{self, Effort};
use super::shape::Shape;
use crate::Result;
use crate::raw::{
    DecodeSample, GraphCaptureSample, Launch, LinearSample, MixedSample, PrefillSample, Record, Timing,
};

/// Failures in a row after which the device is taken for broken.
const FAILURES_MAX: usize = 3;

/// A device with a model on it.
pub struct Bench<'a> {
    /// The device.
    pub backend: &'a mut dyn Backend,
    /// What is loaded.
    pub shape: &'a Shape,
    /// Samples of a point.
    pub effort: Effort,
}

impl Bench<'_> {
    /// Measures one phase, as far as `log` does not hold it yet.
    ///
    /// # Errors
    /// The disk's; or the device's, if several points in a row fail.
    pub fn run(&mut self, phase: &Phase, log: &mut Log, progress: &dyn Progress) -> Result<()> {
        let open: Vec<Point> =
            phase.points.iter().copied().filter(|point| !log.has(|r| point_of(r) == Some(*point))).collect();
        progress.phase(phase.name, open.len());
        if open.is_empty() {
            return Ok(());
        }
        self.read(&format!("before {}", phase.name), log)?;
        let (began, mut failures) = (Instant::now(), 0);
        for (i, point) in open.iter().enumerate() {
            if began.elapsed() > phase.limit {
                let (left, limit) = (open.len() - i, phase.limit.as_secs_f64());
                let first = describe(&point.work);
                let text =
                    format!("{}: {left} points left out after {limit:.0} s, from {first} on", phase.name);
                log.flag("timeLimit", text)?;
                break;
            }
            progress.point(&describe(&point.work));
            match self.measure(point) {
                Ok(record) => {
                    failures = 0;
                    log.push(record)?;
                }
                Err(faults) => {
                    failures += 1;
                    let why: Vec<_> = faults.iter().map(|f| f.message.as_str()).collect();
                    let text =
                        format!("{}: {} failed: {}", phase.name, describe(&point.work), why.join("; "));
                    log.flag("pointFailed", text)?;
                    if failures == FAILURES_MAX {
                        return Err(faults);
                    }
                }
            }
        }
        self.read(&format!("after {}", phase.name), log)?;
        log.note_elapsed()?;
        for (flag, message) in doubts(phase, log.records()) {
            log.flag(flag, message)?;
        }
        Ok(())
    }

    /// Device state; throttling is flagged.
    fn read(&mut self, when: &str, log: &mut Log) -> Result<()> {
        let reading = self.backend.reading(when);
        if !reading.throttle.is_empty() {
            log.flag(
                "throttled",
                format!("{when}: clocks were held down by {}", reading.throttle.join(", ")),
            )?;
        }
        log.push(Record::Device(reading))
    }

    fn measure(&mut self, point: &Point) -> Result<Record> {
        let prepared = self.backend.prepare(&point.work, point.launch)?;
        if point.purpose == Purpose::Capture {
            return Ok(captured(&point.work, prepared));
        }
        let samples = sample::take(self.backend, &self.effort)?;
        let floor = Roofline::of(self.backend.device()).floor_us(self.shape, &point.work);
        let timing = Timing {
            samples_us: samples.us,
            roofline_us: Some(floor),
            launch: Some(point.launch),
            repeat: point.purpose == Purpose::Repeat,
        };
        Ok(timed(&point.work, timing))
    }
}

fn captured(work: &Work, prepared: Prepared) -> Record {
    let us = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    Record::GraphCapture(GraphCaptureSample {
        batch: work.rows(),
        capture_us: prepared.capture.map_or(0.0, us),
        first_launch_us: us(prepared.first_pass),
    })
}

fn timed(work: &Work, timing: Timing) -> Record {
    let kv = |batch: u32, context: u32| u64::from(batch) * u64::from(context);
    match *work {
        Work::Linear { tokens } => Record::Linear(LinearSample { tokens: tokens.into(), timing }),
        Work::DecodeAttention { batch, context } => {
            Record::DecodeAttention(DecodeSample { batch, kv_tokens: kv(batch, context), timing })
        }
        Work::PrefillAttention { tokens, context } => {
            Record::PrefillAttention(PrefillSample { tokens: tokens.into(), context: context.into(), timing })
        }
        Work::Forward { batch, context, prefill: 0, .. } => {
            Record::Decode(DecodeSample { batch, kv_tokens: kv(batch, context), timing })
        }
        Work::Forward { batch: 0, prefill, prefill_context, .. } => {
            Record::Prefill(PrefillSample { tokens: prefill.into(), context: prefill_context.into(), timing })
        }
        Work::Forward { batch, context, prefill, prefill_context } => Record::Mixed(MixedSample {
            batch,
            kv_tokens: kv(batch, context),
            tokens: prefill.into(),
            context: prefill_context.into(),
            timing,
        }),
    }
}

/// The point a record is the answer to.
pub fn point_of(record: &Record) -> Option<Point> {
    let each = |kv_tokens: u64, batch: u32| (kv_tokens / u64::from(batch.max(1))) as u32;
    let (work, timing) = match record {
        Record::GraphCapture(sample) => {
            let context = super::backend::KV_BLOCK as u32;
            let work = Work::Forward { batch: sample.batch, context, prefill: 0, prefill_context: 0 };
            return Some(Point { work, launch: Launch::Graph, purpose: Purpose::Capture });
        }
        Record::Linear(s) => (Work::Linear { tokens: s.tokens as u32 }, &s.timing),
        Record::DecodeAttention(s) => {
            (Work::DecodeAttention { batch: s.batch, context: each(s.kv_tokens, s.batch) }, &s.timing)
        }
        Record::PrefillAttention(s) => {
            (Work::PrefillAttention { tokens: s.tokens as u32, context: s.context as u32 }, &s.timing)
        }
        Record::Decode(s) => {
            let context = each(s.kv_tokens, s.batch);
            (Work::Forward { batch: s.batch, context, prefill: 0, prefill_context: 0 }, &s.timing)
        }
        Record::Prefill(s) => {
            let (prefill, prefill_context) = (s.tokens as u32, s.context as u32);
            (Work::Forward { batch: 0, context: 0, prefill, prefill_context }, &s.timing)
        }
        Record::Mixed(s) => {
            let (prefill, prefill_context) = (s.tokens as u32, s.context as u32);
            let context = each(s.kv_tokens, s.batch);
            (Work::Forward { batch: s.batch, context, prefill, prefill_context }, &s.timing)
        }
        _ => return None,
    };
    let purpose = if timing.repeat { Purpose::Repeat } else { Purpose::Time };
    Some(Point { work, launch: timing.launch?, purpose })
}

/// `decode 8 x 512`: what a point is, in words.
pub fn describe(work: &Work) -> String {
    match *work {
        Work::Linear { tokens } => format!("linear layers, {tokens} tokens"),
        Work::DecodeAttention { batch, context } => format!("decode attention {batch} x {context}"),
        Work::PrefillAttention { tokens, context } => format!("prefill attention {tokens} after {context}"),
        Work::Forward { batch, context, prefill: 0, .. } => format!("decode {batch} x {context}"),
        Work::Forward { batch: 0, prefill, prefill_context, .. } => {
            format!("prefill {prefill} after {prefill_context}")
        }
        Work::Forward { batch, context, prefill, .. } => {
            format!("decode {batch} x {context} with prefill {prefill}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::doubts::attended;
    use crate::gpu::fake::Fake;
    use crate::gpu::log::tests::log;
    use crate::gpu::points::Extent;
    use crate::gpu::progress::Silent;
    use crate::gpu::sample::median;
    use crate::gpu::shape::built_in;

    const CACHE: u64 = 4096;

    fn phase(name: &str) -> Phase {
        Extent::cpu(true).phases(CACHE).into_iter().find(|p| p.name == name).unwrap()
    }

    /// Runs a phase on a device and returns its records and flags.
    fn run(backend: &mut Fake, phase: &Phase, log: &mut Log) -> Result<Vec<String>> {
        let shape = built_in("tiny").unwrap();
        let effort = Effort { sample_least: std::time::Duration::ZERO, ..Effort::QUICK };
        Bench { backend, shape: &shape, effort }.run(phase, log, &Silent)?;
        Ok(log.flags().map(|f| f.flag.clone()).collect())
    }

    fn floor_us(work: &Work) -> f64 {
        Roofline::of(&Fake::default().device).floor_us(&built_in("tiny").unwrap(), work)
    }

    #[test]
    fn every_point_of_every_phase_finds_its_record_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        let mut backend = Fake { model: |work| 1.5 * floor_us(work), ..Fake::default() };
        for phase in Extent::cpu(true).phases(CACHE) {
            let flags = run(&mut backend, &phase, &mut log).unwrap();
            assert_eq!(flags, [""; 0], "{}: {:?}", phase.name, log.flags().collect::<Vec<_>>());
            for point in &phase.points {
                assert!(log.has(|r| point_of(r) == Some(*point)), "{point:?}");
            }
            // A second run has nothing left to do.
            let before = log.records().len();
            run(&mut backend, &phase, &mut log).unwrap();
            assert_eq!(log.records().len(), before);
        }
        let decode =
            log.records().iter().find_map(|r| if let Record::Decode(d) = r { Some(d) } else { None });
        let ratio = median(&decode.unwrap().timing.samples_us) / decode.unwrap().timing.roofline_us.unwrap();
        assert!((ratio - 1.5).abs() < 1e-9);
    }

    #[test]
    fn what_looks_wrong_is_flagged_and_kept() {
        let check = |model: fn(&Work) -> f64, name: &str, expected: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let mut log = log(folder.path());
            let phase = phase(name);
            let flags = run(&mut Fake { model, ..Fake::default() }, &phase, &mut log).unwrap();
            assert_eq!(flags, expected, "{name}: {:?}", log.flags().collect::<Vec<_>>());
            assert!(phase.points.iter().all(|p| log.has(|r| point_of(r) == Some(*p))));
        };
        check(|work| 0.9 * floor_us(work), "decode", &["belowRoofline"]);
        check(|work| 2.6 * floor_us(work), "prefill", &["farFromRoofline"]);
        check(|work| 2.4 * floor_us(work), "linear layers", &[]);
        check(|work| 1.6 * floor_us(work), "decode attention", &[]);
        check(|work| 1.7 * floor_us(work), "decode attention", &["attentionKernelSlow"]);
        // Attention over few tokens may take its time: it is launch overhead.
        check(
            |work| 1.2 * floor_us(work) + if attended(work) < Some(2048) { 9.0 } else { 0.0 },
            "decode attention",
            &[],
        );
    }

    #[test]
    fn scatter_throttling_and_drift_are_flagged() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        let phases = Extent::cpu(true).phases(CACHE);
        let mut backend = Fake { model: |work| 1.5 * floor_us(work), ..Fake::default() };
        for phase in &phases[..3] {
            run(&mut backend, phase, &mut log).unwrap();
        }
        backend.model = |work| 1.6 * floor_us(work);
        backend.throttle = vec!["power cap".to_owned()];
        run(&mut backend, phases.last().unwrap(), &mut log).unwrap();
        let flags: Vec<_> = log.flags().map(|f| (f.flag.as_str(), f.message.as_str())).collect();
        assert_eq!(flags.len(), 3, "{flags:?}");
        assert_eq!(flags[0], ("throttled", "before repeats: clocks were held down by power cap"));
        assert!(flags[2].0 == "drift" && flags[2].1.contains("takes +6.7 % at the end"), "{flags:?}");

        let folder = tempfile::tempdir().unwrap();
        let mut log = crate::gpu::log::tests::log(folder.path());
        let mut backend = Fake::default();
        backend.times.extend((0..500).map(|i| if i % 2 == 0 { 1.0 } else { 1.2 }));
        let mut phase = phase("linear layers");
        phase.points.truncate(1);
        let flags = run(&mut backend, &phase, &mut log).unwrap();
        assert!(flags.contains(&"scatter".to_owned()), "{flags:?}");
    }

    #[test]
    fn a_failing_point_is_flagged_and_a_broken_device_ends_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        let model = |work: &Work| 1.5 * floor_us(work);
        let broken = |work: &Work| matches!(work, Work::Linear { tokens: 4 });
        let mut backend = Fake { model, broken, ..Fake::default() };
        assert_eq!(run(&mut backend, &phase("linear layers"), &mut log).unwrap(), ["pointFailed"]);
        assert!(
            log.flags().next().unwrap().message.contains("linear layers, 4 tokens failed: the kernel failed")
        );
        backend.broken = |_| true;
        let faults = run(&mut backend, &phase("decode"), &mut log).unwrap_err();
        assert_eq!(faults[0].message, "the kernel failed");
    }

    #[test]
    fn points_beyond_the_time_limit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        let mut phase = phase("prefill");
        phase.limit = std::time::Duration::ZERO;
        let flags = run(&mut Fake::default(), &phase, &mut log).unwrap();
        assert_eq!(flags, ["timeLimit"]);
        let message = &log.flags().next().unwrap().message;
        assert!(message.contains("left out after 0 s, from prefill 8 after 0 on"), "{message}");
    }
}
