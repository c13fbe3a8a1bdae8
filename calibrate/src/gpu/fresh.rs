//! What only a fresh process pays: the program runs itself again for each probe, so that
//! nothing is warm but what any earlier process leaves warm. A child that dies or hangs
//! becomes a flag with its last words, not the end of the run.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thawline::profile::schema::Stage;

use super::Kind;
use super::backend::{Backend, FirstUse, Part, Work};
use super::log::Log;
use super::progress::Progress;
use super::shape::Shape;
use crate::raw::{Launch, Record, StageSample, WarmUpSample};
use crate::{Result, fault};

/// Passes of a warm-up curve.
pub const WARM_UP_PASSES: usize = 30;
/// Lines of a dead child's stderr that are shown.
const LAST_WORDS: usize = 5;

/// What a child is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// Driver and context.
    Context,
    /// Kernels.
    Compile,
    /// The matrix library.
    Blas,
    /// The first passes over a model.
    WarmUp(Box<WarmUp>),
}

/// The passes of a warm-up curve. Either part may be 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmUp {
    /// The model.
    pub shape: Shape,
    /// Sequences that decode.
    pub batch: u32,
    /// KV tokens of each.
    pub context: u32,
    /// New tokens.
    pub prefill: u32,
}

impl WarmUp {
    fn work(&self) -> Work {
        Work::Forward { batch: self.batch, context: self.context, prefill: self.prefill, prefill_context: 0 }
    }

    /// `decode 1x512`.
    fn name(&self) -> String {
        if self.prefill > 0 {
            format!("prefill {}", self.prefill)
        } else {
            format!("decode {}x{}", self.batch, self.context)
        }
    }
}

impl Probe {
    /// `context`, as progress shows it.
    pub fn name(&self) -> String {
        match self {
            Self::Context => "context".to_owned(),
            Self::Compile => "kernels".to_owned(),
            Self::Blas => "matrix library".to_owned(),
            Self::WarmUp(curve) => format!("first passes, {}", curve.name()),
        }
    }
}

/// What a child answers: one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Labels and s.
    Parts(Vec<(String, f64)>),
    /// µs of pass 1, 2, ...
    Passes(Vec<f64>),
}

/// The child's side.
///
/// # Errors
/// Whatever the device reports.
pub fn answer(kind: Kind, device: u32, probe: &Probe) -> Result<Answer> {
    let parts = |probe| {
        let parts = kind.first_use(device, probe)?;
        Ok(Answer::Parts(parts.into_iter().map(|Part { label, seconds }| (label, seconds)).collect()))
    };
    match probe {
        Probe::Context => parts(FirstUse::Context),
        Probe::Compile => parts(FirstUse::Compile),
        Probe::Blas => parts(FirstUse::Blas),
        Probe::WarmUp(curve) => first_passes(kind.open(device)?.as_mut(), curve).map(Answer::Passes),
    }
}

/// The first pass seen from the host, as it loads and chooses kernels; the others as the device times them.
fn first_passes(backend: &mut dyn Backend, curve: &WarmUp) -> Result<Vec<f64>> {
    let work = curve.work();
    backend.load(&curve.shape, work.cache_tokens(super::backend::KV_BLOCK))?;
    let first = backend.prepare(&work, Launch::Eager)?.first_pass;
    let mut passes = vec![first.as_secs_f64() * 1e6];
    while passes.len() < WARM_UP_PASSES {
        passes.push(backend.time(1)?);
    }
    Ok(passes)
}

/// How to run the program again: the arguments before the probe.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Arguments; the probe as JSON follows.
    pub arguments: Vec<OsString>,
    /// Longest time of a child.
    pub limit: Duration,
}

/// Runs each probe once, and then, while less than `limit` has passed, again up to `runs` times,
/// as far as `log` does not hold it yet.
///
/// # Errors
/// The disk's.
pub fn run(
    launcher: &Launcher,
    probes: &[Probe],
    runs: u32,
    limit: Duration,
    log: &mut Log,
    progress: &dyn Progress,
) -> Result<()> {
    progress.phase("first use", probes.len() * runs as usize);
    let began = Instant::now();
    let mut open: Vec<&Probe> = probes.iter().collect();
    for run in 0..runs {
        let mut answered = Vec::new();
        for probe in open {
            if run > 0 && began.elapsed() > limit {
                continue;
            }
            if run >= done_runs(probe, log) {
                progress.point(&format!("{}, process {} of {runs}", probe.name(), run + 1));
                match ask(launcher, probe) {
                    Ok(answer) => record(probe, answer, run, log)?,
                    Err(why) => {
                        log.flag("firstUseFailed", format!("{}: {why}", probe.name()))?;
                        continue;
                    }
                }
            }
            answered.push(probe);
        }
        open = answered;
    }
    log.note_elapsed()
}

/// Runs of a probe in an unfinished file. The parts of one run are written together, the last
/// of them may be missing after a kill; then the run counts, and the part has one sample fewer.
fn done_runs(probe: &Probe, log: &Log) -> u32 {
    let source = format!("fresh process: {}", probe.name());
    let stages = log.records().iter().filter_map(|r| match r {
        Record::Stage(s) if s.source == source => Some(s.run + 1),
        _ => None,
    });
    let curves = log.records().iter().filter(|r| match (r, probe) {
        (Record::WarmUp(sample), Probe::WarmUp(curve)) => sample.pass == curve.name(),
        _ => false,
    });
    stages.max().unwrap_or(0).max(curves.count() as u32)
}

fn record(probe: &Probe, answer: Answer, run: u32, log: &mut Log) -> Result<()> {
    match answer {
        Answer::Parts(parts) => {
            for (label, seconds) in parts {
                log.push(Record::Stage(StageSample {
                    stage: Stage::RuntimeInit,
                    label: Some(label),
                    cache: None,
                    run,
                    seconds,
                    bytes: None,
                    source: format!("fresh process: {}", probe.name()),
                }))?;
            }
            Ok(())
        }
        Answer::Passes(samples_us) => match probe {
            Probe::WarmUp(curve) => log.push(Record::WarmUp(WarmUpSample { pass: curve.name(), samples_us })),
            _ => Ok(()),
        },
    }
}

/// Starts a child and reads its answer; the error says why there is none.
pub fn ask(launcher: &Launcher, probe: &Probe) -> Result<Answer, String> {
    let question = serde_json::to_string(probe).expect("a probe holds nothing that JSON cannot");
    let mut child = Command::new(&launcher.program)
        .args(&launcher.arguments)
        .arg(question)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start a process: {e}"))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let ended = wait(&mut child, launcher.limit);
    let (stdout, stderr) = (text(stdout), text(stderr));
    let words: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let last_words = words[words.len().saturating_sub(LAST_WORDS)..].join(" | ");
    match ended {
        None => Err(format!("no answer within {} s; {last_words}", launcher.limit.as_secs_f64())),
        Some(status) if !status.success() => Err(format!("the process ended with {status}; {last_words}")),
        Some(_) => {
            let line = stdout.lines().last().unwrap_or_default();
            serde_json::from_str(line)
                .map_err(|e| format!("an answer that cannot be read: {e}; {last_words}"))
        }
    }
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe never blocks the child.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn text(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}

/// Waits until the child ends, and kills it when its time is over.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if began.elapsed() > limit {
            // It may have ended this moment; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads a probe from the command line.
///
/// # Errors
/// E0709 if it is none: the subcommand is not for people.
pub fn parse(text: &str) -> Result<Probe> {
    serde_json::from_str(text).map_err(|e| fault("E0709", format!("not a probe: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shape::built_in;

    fn shell(script: &str, limit_ms: u64) -> Launcher {
        Launcher {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            limit: Duration::from_millis(limit_ms),
        }
    }

    #[test]
    fn a_child_answers_one_line_whatever_it_prints_before() {
        let answer = ask(
            &shell(r#"echo hello; echo '{"parts":[["context creation",0.25]]}'"#, 20_000),
            &Probe::Context,
        );
        assert_eq!(answer, Ok(Answer::Parts(vec![("context creation".to_owned(), 0.25)])));
    }

    #[test]
    fn a_child_that_dies_or_hangs_leaves_its_last_words() {
        let check = |script: &str, limit_ms, expected: &[&str]| {
            let why = ask(&shell(script, limit_ms), &Probe::Blas).unwrap_err();
            assert!(expected.iter().all(|text| why.contains(text)), "{script}: {why}");
        };
        check("echo 'no such symbol' >&2; exit 101", 20_000, &["exit status: 101", "no such symbol"]);
        check("echo working >&2; exec sleep 60", 300, &["no answer within 0.3 s", "working"]);
        check("kill -9 $$", 20_000, &["signal: 9"]);
        check("echo nonsense", 20_000, &["cannot be read"]);
        let mut missing = shell("", 1000);
        missing.program = "/no/such/program".into();
        assert!(ask(&missing, &Probe::Blas).unwrap_err().contains("cannot start"));
    }

    #[test]
    fn every_probe_runs_at_least_once_and_failures_are_flagged_once() {
        use crate::gpu::log::tests::log;
        use crate::gpu::progress::Silent;
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        let probes = [Probe::Context, Probe::Blas];
        let count = |log: &Log| log.records().iter().filter(|r| matches!(r, Record::Stage(_))).count();
        let launcher = shell(r#"echo '{"parts":[["a",0.25],["b",0.5]]}'"#, 20_000);
        run(&launcher, &probes, 3, Duration::ZERO, &mut log, &Silent).unwrap();
        assert_eq!(count(&log), 4);
        run(&launcher, &probes, 3, Duration::from_mins(1), &mut log, &Silent).unwrap();
        assert_eq!(count(&log), 12);
        run(&shell("exit 7", 20_000), &[Probe::Compile], 3, Duration::from_mins(1), &mut log, &Silent)
            .unwrap();
        let flags: Vec<_> = log.flags().map(|f| f.message.as_str()).collect();
        assert_eq!(flags.len(), 1, "{flags:?}");
        assert!(flags[0].starts_with("kernels: the process ended with exit status: 7"), "{flags:?}");
    }

    #[test]
    fn a_probe_survives_the_command_line() {
        let curve = WarmUp { shape: built_in("tiny").unwrap(), batch: 1, context: 64, prefill: 0 };
        for probe in [Probe::Context, Probe::WarmUp(Box::new(curve))] {
            let text = serde_json::to_string(&probe).unwrap();
            assert_eq!(parse(&text).unwrap(), probe);
        }
        assert!(parse("{}").unwrap_err()[0].message.contains("not a probe"));
    }

    #[test]
    fn a_warm_up_curve_begins_with_the_first_pass() {
        let mut backend = crate::gpu::fake::Fake { model: |_| 7.0, ..Default::default() };
        let curve = WarmUp { shape: built_in("tiny").unwrap(), batch: 0, context: 0, prefill: 64 };
        let passes = first_passes(&mut backend, &curve).unwrap();
        assert_eq!((passes.len(), passes[0], passes[1]), (WARM_UP_PASSES, 1000.0, 7.0));
        assert_eq!(curve.name(), "prefill 64");
    }
}
