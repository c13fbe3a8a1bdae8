//! Scraping a revision: how many pods are asked, and what their answers say of the rest.
//!
//! After knative/serving `pkg/autoscaler/metrics/{sample_size,stats_scraper}.go` (98e5ef90).

use super::collector::Stat;

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

/// The whole revision's statistic from those of the pods that were asked; `None` without any.
pub fn extrapolate(sample: &[Stat], population: i64) -> Option<Stat> {
    let mut sum = Stat::default();
    for stat in sample {
        sum.average_concurrency += stat.average_concurrency;
        sum.average_proxied_concurrency += stat.average_proxied_concurrency;
        sum.request_count += stat.request_count;
        sum.proxied_request_count += stat.proxied_request_count;
    }
    let (asked, all) = (sample.len() as f64, population as f64);
    (!sample.is_empty()).then(|| Stat {
        average_concurrency: sum.average_concurrency / asked * all,
        average_proxied_concurrency: sum.average_proxied_concurrency / asked * all,
        request_count: sum.request_count / asked * all,
        proxied_request_count: sum.proxied_request_count / asked * all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_for_all() {
        let pod =
            |concurrency| Stat { average_concurrency: concurrency, request_count: 2.0, ..Stat::default() };
        let all = extrapolate(&[pod(1.0), pod(4.0)], 6).expect("two answered");
        assert_eq!((all.average_concurrency, all.request_count), (15.0, 12.0));
        assert_eq!(extrapolate(&[], 6), None);
        assert_eq!(sample_size(-1), 0);
    }
}
