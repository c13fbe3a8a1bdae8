//! Policies times replications, run in parallel.
//!
//! One run is one thread; parallelism is only across runs. Results are ordered by index,
//! never by finish, so that nothing that follows can depend on the number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// How many policies.
    pub policies: usize,
    /// How many replications of each.
    pub replications: u32,
    /// Threads; 0 takes one for each processor.
    pub jobs: usize,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError<E: std::fmt::Debug + std::fmt::Display> {
    /// The operating system gave no threads.
    #[error("cannot start {jobs} threads: {why}")]
    Threads {
        /// How many were asked for.
        jobs: usize,
        /// Why not.
        why: String,
    },
    /// A run failed; of several, the one with the lowest index, whichever failed first.
    #[error("{error}")]
    Run {
        /// Index of its policy.
        policy: usize,
        /// Its replication.
        replication: u32,
        /// Why.
        error: E,
    },
}

impl Matrix {
    /// How many runs it has.
    pub fn runs(&self) -> usize {
        self.policies * self.replications as usize
    }

    /// Threads to start, never more than there are runs: those above would have nothing to do, and a slip
    /// such as `--jobs 100000` would cost the machine all its processes. 0 leaves the number to the processors.
    fn threads(&self) -> usize {
        self.jobs.min(self.runs().max(1))
    }

    /// Runs all of it: what is kept of each run, by policy, each in the order of its replications.
    ///
    /// `progress` is told how many runs are done after each, from whichever thread did it.
    pub fn run<T, E, F, P>(&self, run: F, progress: P) -> Result<Vec<Vec<T>>, MatrixError<E>>
    where
        T: Send,
        E: std::fmt::Debug + std::fmt::Display + Send,
        F: Fn(usize, u32) -> Result<T, E> + Sync,
        P: Fn(usize) + Sync,
    {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads())
            .build()
            .map_err(|e| MatrixError::Threads { jobs: self.threads(), why: e.to_string() })?;
        let replications = self.replications as usize;
        let done = AtomicUsize::new(0);
        let lowest_failure = AtomicUsize::new(usize::MAX);
        let one = |index: usize| {
            // A run above a failure cannot change the answer any more; one below it can.
            if index > lowest_failure.load(Ordering::Relaxed) {
                return None;
            }
            let outcome = run(index / replications, (index % replications) as u32);
            if outcome.is_err() {
                lowest_failure.fetch_min(index, Ordering::Relaxed);
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Some(outcome)
        };
        let outcomes: Vec<Option<Result<T, E>>> =
            pool.install(|| (0..self.runs()).into_par_iter().map(one).collect());
        let mut policies: Vec<Vec<T>> =
            (0..self.policies).map(|_| Vec::with_capacity(replications)).collect();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let (policy, replication) = (index / replications, (index % replications) as u32);
            match outcome.expect("only runs above the first failure are left out") {
                Ok(outcome) => policies[policy].push(outcome),
                Err(error) => return Err(MatrixError::Run { policy, replication, error }),
            }
        }
        Ok(policies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::RunOutcome;
    use crate::report::fixture;
    use std::time::Duration;

    fn labelled(policy: usize, replication: u32) -> RunOutcome {
        RunOutcome { facts_digest: format!("{policy}/{replication}"), ..fixture::run(1) }
    }

    #[test]
    fn results_are_ordered_by_index_whatever_finishes_first() {
        let digests = |jobs: usize, slow_first: bool| {
            let run = |policy: usize, replication: u32| {
                let index = policy as u64 * 4 + u64::from(replication);
                let millis = if slow_first { 12 - index } else { index };
                std::thread::sleep(Duration::from_millis(millis * 2));
                Ok::<_, String>(labelled(policy, replication))
            };
            let matrix = Matrix { policies: 3, replications: 4, jobs };
            let done = AtomicUsize::new(0);
            let outcomes = matrix.run(run, |_| _ = done.fetch_add(1, Ordering::Relaxed)).unwrap();
            assert_eq!(done.into_inner(), 12);
            outcomes
                .iter()
                .map(|p| p.iter().map(|r| r.facts_digest.clone()).collect())
                .collect::<Vec<Vec<_>>>()
        };
        let expected: Vec<Vec<String>> =
            (0..3).map(|p| (0..4).map(|r| format!("{p}/{r}")).collect()).collect();
        for (jobs, slow_first) in [(1, true), (8, true), (8, false), (0, true)] {
            assert_eq!(digests(jobs, slow_first), expected, "{jobs} {slow_first}");
        }
    }

    #[test]
    fn the_lowest_failure_is_the_one_reported() {
        let run = |policy: usize, replication: u32| {
            if policy == 0 && replication == 0 {
                return Ok(labelled(policy, replication));
            }
            // The lowest failure is the slowest to show.
            let lowest = policy == 0 && replication == 1;
            std::thread::sleep(Duration::from_millis(if lowest { 40 } else { 1 }));
            Err(format!("{policy}/{replication}"))
        };
        for jobs in [1, 8] {
            let error = Matrix { policies: 2, replications: 3, jobs }.run(run, |_| ()).unwrap_err();
            assert_eq!(error, MatrixError::Run { policy: 0, replication: 1, error: "0/1".to_owned() });
        }
    }

    #[test]
    fn there_are_never_more_threads_than_runs() {
        let threads = |jobs: usize| {
            let run = |_, _| Ok::<_, String>(rayon::current_num_threads());
            Matrix { policies: 1, replications: 3, jobs }.run(run, |_| ()).unwrap()
        };
        assert_eq!(threads(100_000), [[3, 3, 3]]);
        assert_eq!(threads(2), [[2, 2, 2]]);
    }

    #[test]
    fn nothing_to_run_is_no_error() {
        let outcomes = Matrix { policies: 0, replications: 0, jobs: 2 }
            .run(|p, r| Ok::<_, String>(labelled(p, r)), |_| ())
            .unwrap();
        assert!(outcomes.is_empty());
        let run = |p, r| Ok::<_, String>(labelled(p, r));
        let outcomes = Matrix { policies: 2, replications: 0, jobs: 2 }.run(run, |_| ()).unwrap();
        assert!(outcomes.len() == 2 && outcomes.iter().all(Vec::is_empty));
    }
}
