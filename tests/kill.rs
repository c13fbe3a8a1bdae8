//! A run that is killed, at whatever moment, leaves the report that was there or its own, and never some of both.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use common::{expect, names, write_small};

/// How many runs are begun; most of them are killed.
const RUNS: u32 = 150;

/// How long all of it may take; a slow machine kills fewer runs.
const PATIENCE: Duration = Duration::from_secs(15);

/// The digests of all files in a directory, but for what a killed run left there.
fn digests(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let digest = |name: &String| Sha256::digest(fs::read(directory.join(name)).unwrap()).to_vec();
    let kept = names(directory).into_iter().filter(|name| !name.starts_with(LEFT));
    kept.map(|name| (name.clone(), digest(&name))).collect()
}

/// How the names of what a killed run leaves begin.
const LEFT: &str = ".thawline-";

/// A thawline whose run takes a few hundredths of a second: without an SLO it seeks no capacity.
fn begin(directory: &Path, seed: u32, out: &str) -> Child {
    let seed = seed.to_string();
    Command::new(env!("CARGO_BIN_EXE_thawline"))
        .current_dir(directory)
        .args(["simulate", "small.yaml", "--seed", &seed, "--out", out, "--jobs", "1"])
        .args(["--set", "slo=~", "--set", "replications=1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary is built with its tests")
}

/// Draws from a sequence that is the same every time (Knuth's MMIX).
struct Draws(u64);

impl Draws {
    /// The next, evenly in [0, 1).
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What has been seen.
#[derive(Debug, Default)]
struct Seen {
    killed: u32,
    ended: u32,
    /// Killed, and the new report stands: after the step.
    killed_after: u32,
    /// Killed, and something of the run was left.
    left: u32,
}

/// Begins runs of alternating seeds into one directory and kills them of which one report is to stand
/// whole, or, where somebody's file lies, each file.
fn check(root: &Path, out: &str, draws: &mut Draws, whole: bool) -> Seen {
    let good = [digests(&root.join("good-1")), digests(&root.join("good-2"))];
    let directory = root.join(out);
    let started = Instant::now();
    let mut took = Duration::ZERO;
    for seed in [1, 2, 1] {
        let begun = Instant::now();
        assert!(begin(root, seed, out).wait().unwrap().success());
        took = took.max(begun.elapsed());
    }
    let mut seen = Seen::default();
    let mut stands = 0;
    for run in 0..RUNS {
        if started.elapsed() > PATIENCE / 2 {
            break;
        }
        // Every other one within the last third, where it writes.
        let share = draws.next();
        let at = took.mul_f64(if run % 2 == 0 { 1.1 * share } else { 0.65 + 0.45 * share });
        let mut child = begin(root, 2 - run % 2, out);
        sleep(at);
        child.kill().unwrap();
        let killed = child.wait().unwrap().signal() == Some(9);
        let found = digests(&directory);
        let each = |known: &BTreeMap<String, Vec<u8>>| {
            known.iter().filter(|(name, digest)| found.get(*name) == Some(*digest)).count()
        };
        let same = good.each_ref().map(each);
        let left = |at: &Path| names(at).iter().any(|name| name.starts_with(LEFT));
        let now = usize::from(same[1] > same[0]);
        if whole {
            assert!(!left(&directory), "run {run}");
            assert_eq!(&found, &good[now], "run {run}, killed after {at:?} of {took:?}: {same:?}");
        } else {
            // Each file by itself is of the one or the other.
            let one = |(name, digest): (&String, &Vec<u8>)| good.iter().any(|g| g.get(name) == Some(digest));
            assert!(good[0].keys().all(|name| found.get(name).is_some_and(|digest| one((name, digest)))));
            assert!(found.contains_key("notes.txt"));
        }
        seen.killed += u32::from(killed);
        seen.ended += u32::from(!killed);
        seen.killed_after += u32::from(killed && now != stands);
        seen.left += u32::from(killed && (left(root) || left(&directory)));
        stands = now;
    }
    // The next run is as good as any, and clears all of it away.
    assert!(begin(root, 2, out).wait().unwrap().success());
    let mut found = digests(&directory);
    found.remove("notes.txt").map_or_else(|| assert!(whole), |_| assert!(!whole));
    assert_eq!(&found, &good[1]);
    assert!(names(root).iter().all(|name| !name.starts_with(LEFT)), "{:?}", names(root));
    seen
}

#[test]
fn a_kill_leaves_one_report_whole() {
    let root = tempfile::tempdir().unwrap();
    write_small(root.path(), "");
    for seed in [1, 2] {
        let out = format!("good-{seed}");
        assert!(begin(root.path(), seed, &out).wait().unwrap().success());
        assert!(names(&root.path().join(&out)).len() >= 9);
    }
    let [first, second] = ["good-1", "good-2"].map(|good| digests(&root.path().join(good)));
    assert!(first.keys().eq(second.keys()));
    let same: Vec<&String> = first.keys().filter(|name| first[*name] == second[*name]).collect();
    assert!(same.len() <= first.len() / 2, "two seeds differ in most files, not in {same:?}");
    let mut draws = Draws(7);
    let swapped = check(root.path(), "out", &mut draws, true);
    // Somebody's file: file by file.
    fs::create_dir(root.path().join("shared")).unwrap();
    fs::write(root.path().join("shared/notes.txt"), "mine").unwrap();
    let by_file = check(root.path(), "shared", &mut draws, false);
    println!("{swapped:?} {by_file:?}");
    for seen in [swapped, by_file] {
        assert!(seen.killed > 0 && seen.left > 0 && (seen.ended > 0 || seen.killed < 30), "{seen:?}");
    }
    // The program that is left alone still does what it did.
    expect(root.path(), &["simulate", "small.yaml", "--out", "out", "--exit-zero"], 0);
}
