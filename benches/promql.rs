//! What scrapes and queries cost at 64 replicas: `cargo bench --bench promql`.

use divan::Bencher;
use divan::counter::ItemsCount;
use thawline::kernel::{SimDuration, SimTime};
use thawline::promql::{Query, Settings, Store, TargetId};

const REPLICAS: usize = 64;
/// Of a replica.
const SERIES: usize = 24;
/// Seconds between scrapes.
const INTERVAL: u64 = 15;
/// Scrapes that a store remembers: those of 11 minutes.
const SCRAPES: u64 = 45;

fn main() {
    divan::main();
}

/// Two gauges, two counters and a histogram of 20 buckets a replica.
fn store() -> (Store, Vec<TargetId>) {
    let mut store = Store::new(Settings::default(), SimDuration::from_secs(661));
    let mut targets = Vec::new();
    for replica in 0..REPLICAS {
        let pod = format!("vllm-{replica}");
        let target = store.add_target(&[("job", "vllm"), ("namespace", "prod"), ("pod", &pod)]);
        let names = [
            "num_requests_running",
            "num_requests_waiting",
            "prompt_tokens_total",
            "generation_tokens_total",
        ];
        for name in names {
            store.add_series(target, &format!("vllm:{name}"), &[("model_name", "m")]);
        }
        for bucket in 0..20 {
            let bound = if bucket == 19 { "+Inf".to_owned() } else { format!("{}", 1 << bucket) };
            let labels = [("model_name", "m"), ("le", bound.as_str())];
            store.add_series(target, "vllm:time_to_first_token_seconds_bucket", &labels);
        }
        targets.push(target);
    }
    (1..=SCRAPES).for_each(|scrape| append(&mut store, &targets, scrape));
    (store, targets)
}

fn append(store: &mut Store, targets: &[TargetId], scrape: u64) {
    for target in targets {
        store.scrape(*target, SimTime::from_secs(scrape * INTERVAL), [scrape as f64; SERIES]);
    }
}

/// A scrape of every replica, in samples.
#[divan::bench]
fn scrape(bencher: Bencher) {
    let (mut store, targets) = store();
    let mut at = SCRAPES;
    bencher.counter(ItemsCount::new(targets.len() * SERIES)).bench_local(|| {
        at += 1;
        append(&mut store, &targets, at);
    });
}

#[divan::bench(args = [
    "sum(vllm:num_requests_waiting)",
    "sum(rate(vllm:generation_tokens_total[5m]))",
    "histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[1m])))",
])]
fn query(bencher: Bencher, text: &str) {
    let (store, _) = store();
    let query = Query::compile(text).expect("the queries above are simulated");
    bencher.bench(|| query.evaluate(&store, SimTime::from_secs(SCRAPES * INTERVAL)));
}
