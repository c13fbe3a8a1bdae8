//! Scraping a revision: which pods are asked, and what their answers say of the rest.
//!
//! After knative/serving `pkg/autoscaler/metrics/{sample_size,stats_scraper}.go` and
//! `pkg/resources/pods.go` (98e5ef90).

use super::collector::Stat;
use crate::kernel::{ReplicaId, SimDuration, SimTime};
use crate::policy::api::PodView;
use crate::policy::meter::Meter;

/// Pods to be asked without limit: for 95 % confidence, a margin of 5 and a variance of 100.
const UNBOUNDED: f64 = 1.96 * 1.96 * 100.0 / (5.0 * 5.0);

/// How many of so many pods are scraped.
pub fn sample_size(population: i64) -> i64 {
    let population = population as f64;
    if population <= 3.0 {
        return population.max(0.0) as i64;
    }
    (population * UNBOUNDED / (population + UNBOUNDED - 1.0)).ceil() as i64
}

/// The statistics of the pods that were asked, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    sum: Stat,
    asked: u32,
}

impl Sample {
    /// Takes in a pod's.
    pub fn add(&mut self, stat: &Stat) {
        self.sum.average_concurrency += stat.average_concurrency;
        self.sum.average_proxied_concurrency += stat.average_proxied_concurrency;
        self.sum.request_count += stat.request_count;
        self.sum.proxied_request_count += stat.proxied_request_count;
        self.asked += 1;
    }

    /// The whole revision's statistic; `None` if nobody was asked.
    pub fn extrapolate(&self, population: u32) -> Option<Stat> {
        let (asked, all) = (f64::from(self.asked), f64::from(population));
        (self.asked > 0).then(|| Stat {
            average_concurrency: self.sum.average_concurrency / asked * all,
            average_proxied_concurrency: self.sum.average_proxied_concurrency / asked * all,
            request_count: self.sum.request_count / asked * all,
            proxied_request_count: self.sum.proxied_request_count / asked * all,
        })
    }
}

/// Draws a subset of a known size one by one, each subset as likely as any other.
struct Draw {
    /// Still to be drawn.
    wanted: u32,
    /// Still to be looked at.
    left: u32,
}

impl Draw {
    fn takes(&mut self, random: u64) -> bool {
        let below = (u128::from(random) * u128::from(self.left)) >> 64;
        self.left -= 1;
        let takes = below < u128::from(self.wanted);
        self.wanted -= u32::from(takes);
        takes
    }
}

/// Scrapes the queue-proxies of a revision.
///
/// A queue-proxy reports its last full second; scraped every second, that is taken to be the second that ends
/// with the scrape. A policy has no random numbers: which pods are asked follows from the instant of the scrape and
/// the pod's number, so that it differs from scrape to scrape, and with the seeded phase from run to run.
#[derive(Clone, Debug, Default)]
pub struct Scraper {
    /// Readings of the last scrape, by pod in order of creation.
    last: Vec<(ReplicaId, Meter)>,
    /// Room for the next ones.
    next: Vec<(ReplicaId, Meter)>,
    at: SimTime,
}

impl Scraper {
    /// One scrape. Pods that have not run for the stable window yet are asked only if there are too few others.
    pub fn scrape(&mut self, now: SimTime, pods: &[PodView], stable_window: SimDuration) -> Option<Stat> {
        let answers = |pod: &&PodView| pod.ready && pod.running && !pod.deleting;
        let is_old = |pod: &PodView| pod.started.is_some_and(|started| now.since(started) > stable_window);
        let all = pods.iter().filter(answers).count() as u32;
        let old = pods.iter().filter(answers).filter(|pod| is_old(pod)).count() as u32;
        let size = sample_size(i64::from(all)) as u32;
        let mut of_old = Draw { wanted: size.min(old), left: old };
        let mut of_young = Draw { wanted: size - of_old.wanted, left: all - old };
        let mut sample = Sample::default();
        let time = now.since(self.at);
        let mut before = self.last.iter().peekable();
        self.next.clear();
        for pod in pods.iter().filter(answers) {
            let draw = if is_old(pod) { &mut of_old } else { &mut of_young };
            while before.next_if(|(id, _)| *id < pod.id).is_some() {}
            if draw.takes(mix(now.as_nanos() ^ u64::from(pod.id.0).rotate_left(40))) {
                let last = before.peek().filter(|(id, _)| *id == pod.id).map(|(_, meter)| *meter);
                sample.add(&Stat::between(&last.unwrap_or_default(), &pod.meter, time));
            }
            self.next.push((pod.id, pod.meter));
        }
        std::mem::swap(&mut self.last, &mut self.next);
        self.at = now;
        sample.extrapolate(all)
    }
}

/// A number that looks random (the finaliser of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture;

    const WINDOW: SimDuration = SimDuration::from_secs(60);

    /// Pods with so many requests in flight each, since the start.
    fn pods(loads: &[u32]) -> Vec<PodView> {
        let pod = |(id, load): (usize, &u32)| {
            let mut pod = fixture::pod(id as u32);
            (0..*load).for_each(|_| pod.meter.enter(SimTime::ZERO, false));
            pod
        };
        loads.iter().enumerate().map(pod).collect()
    }

    fn at(pods: &[PodView], now: SimTime) -> Vec<PodView> {
        pods.iter().map(|pod| PodView { meter: pod.meter.at(now), ..pod.clone() }).collect()
    }

    #[test]
    fn a_sample_stands_for_all() {
        let mut sample = Sample::default();
        assert_eq!(sample.extrapolate(6), None);
        for concurrency in [1.0, 4.0] {
            sample.add(&Stat { average_concurrency: concurrency, request_count: 2.0, ..Stat::default() });
        }
        let all = sample.extrapolate(6).expect("two answered");
        assert_eq!((all.average_concurrency, all.request_count), (15.0, 12.0));
        assert_eq!(sample_size(-1), 0);
    }

    #[test]
    fn few_pods_are_all_asked() {
        let (pods, mut scraper) = (pods(&[1, 2, 4]), Scraper::default());
        let mut scrape = |second: u64, pods: &[PodView]| {
            let now = SimTime::from_secs(second);
            scraper
                .scrape(now, &at(pods, now), WINDOW)
                .map(|stat| (stat.average_concurrency, stat.request_count))
        };
        assert_eq!(scrape(1, &pods), Some((7.0, 7.0)));
        assert_eq!(scrape(2, &pods), Some((7.0, 0.0)), "they came in the second before");
        let mut fewer = pods.clone();
        fewer[1].ready = false;
        fewer[2].deleting = true;
        assert_eq!(scrape(3, &fewer), Some((1.0, 0.0)));
        fewer[0].running = false;
        assert_eq!(scrape(4, &fewer), None);
    }

    #[test]
    fn of_many_pods_a_changing_part_is_asked() {
        // 64 pods: ceil(64 x 15.3664 / 78.3664) = 13 are asked, and 63 of them have nothing to do.
        let mut loads = [0; 64];
        loads[40] = 1;
        let (pods, mut scraper) = (pods(&loads), Scraper::default());
        let mut found = 0;
        for second in 100..1_100 {
            let now = SimTime::from_secs(second);
            let stat = scraper.scrape(now, &at(&pods, now), WINDOW).expect("13 answer");
            let expected = 64.0 / 13.0;
            // The first reading is of the time since the start.
            if stat.average_concurrency > 0.0 {
                assert!((stat.average_concurrency - expected).abs() < 1e-9, "{stat:?}");
                found += 1;
            }
        }
        // 203 times of 1,000 in the mean, with a deviation of 13.
        assert!((160..246).contains(&found), "{found}");
    }

    #[test]
    fn young_pods_are_asked_if_there_are_too_few_old_ones() {
        // 8 pods, 6 of which are asked. The young ones have work, so that it shows who was.
        let stat = |old: u32| {
            let now = SimTime::from_secs(100);
            let mut pods = pods(&[0; 8]);
            for pod in pods.iter_mut().skip(old as usize) {
                pod.started = Some(SimTime::from_secs(40));
                pod.meter.enter(SimTime::ZERO, false);
            }
            let stat = Scraper::default().scrape(now, &at(&pods, now), WINDOW).expect("they answer");
            (stat.average_concurrency / 8.0 * 6.0).round() as u32
        };
        assert_eq!(sample_size(8), 6);
        assert_eq!([6, 7, 4, 0].map(stat), [0, 0, 2, 6]);
    }

    #[test]
    fn every_pod_is_as_likely_to_be_asked() {
        let mut counts = [0_u32; 16];
        let size = sample_size(16) as u32;
        for second in 0..4_000_u64 {
            let mut draw = Draw { wanted: size, left: 16 };
            let mut drawn = 0;
            for (pod, count) in counts.iter_mut().enumerate() {
                let takes = draw.takes(mix((second * 1_000_000_000) ^ (pod as u64).rotate_left(40)));
                *count += u32::from(takes);
                drawn += u32::from(takes);
            }
            assert_eq!(drawn, size);
        }
        let mean = 4_000 * size / 16;
        assert!(counts.iter().all(|count| count.abs_diff(mean) < 150), "{counts:?} around {mean}");
    }
}
