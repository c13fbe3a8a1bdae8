//! The digest of a run's facts, by which two runs are the same or not.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::run::Run;

impl Run<'_> {
    /// SHA-256 over the running digest, the distributions, the ledger and the counts.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.recorder.digest.bytes());
        let latency = &self.recorder.latency;
        for l in [&latency.ttft, &latency.tpot, &latency.itl, &latency.e2e, &latency.queue_wait] {
            for (to, count) in l.buckets() {
                hash.update(to.to_le_bytes());
                hash.update(count.to_le_bytes());
            }
            hash.update(l.infinite().to_le_bytes());
        }
        for gpu_ns in self.ledger.gpu_ns {
            hash.update(gpu_ns.to_le_bytes());
        }
        hash.update(self.recorder.steps.total.to_le_bytes());
        hash.update(self.recorder.steps.extrapolated.to_le_bytes());
        hash.update(self.recorder.counts.preemptions.to_le_bytes());
        for cause in self.recorder.breaches.by_cause {
            hash.update(cause.to_le_bytes());
        }
        for time in self.recorder.breaches.time_by_cause {
            hash.update(time.as_nanos().to_le_bytes());
        }
        hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}
