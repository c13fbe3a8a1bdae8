//! Charts of an outcome: drawn once from an `outcome.json`, shown in the report, and written on their own as SVG or PNG.
//!
//! One new chart is one file here and one variant of [`Chart`].

mod axis;
pub mod canvas;
mod cold_starts;
mod frontier;
mod gates;
mod labels;
mod latency;
mod look;
mod money;
mod palette;
mod thin;
mod timeline;

pub use axis::time_ticks;
pub use canvas::Canvas;
pub use palette::{cause_colour, hex, phase_colour};
pub use thin::{Thinned, bands};

use super::Document;
use super::document::PolicyDoc;

/// Why a chart cannot be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw it: {0}")]
pub struct ChartError(pub String);

/// A chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// Each gate under each policy: value, interval, limit.
    Gates,
    /// Cost against the tail of the time to first token.
    Frontier,
    /// Arrivals, replicas by stage, queue, time to first token, breaches by cause and money on one time axis.
    Timeline,
    /// Where the time of the median and of the slowest start went.
    ColdStarts,
    /// Distributions of latency with the limits of the SLO.
    Latency,
    /// The bill by account.
    Money,
}

impl Chart {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Gates, Self::Frontier, Self::Timeline, Self::ColdStarts, Self::Latency, Self::Money];

    /// Its name, which is that of its file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gates => "gates",
            Self::Frontier => "frontier",
            Self::Timeline => "timeline",
            Self::ColdStarts => "cold-starts",
            Self::Latency => "latency",
            Self::Money => "money",
        }
    }

    /// The chart of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chart| chart.name() == name)
    }

    /// Draws it for these policies of the outcome. `None` where it has nothing to show: no gates, no start that became ready.
    pub fn draw(self, document: &Document, policies: &[&PolicyDoc]) -> Option<Canvas> {
        match self {
            Self::Gates => gates::draw(document, policies),
            Self::Frontier => frontier::draw(policies),
            Self::Timeline => timeline::draw(document, policies),
            Self::ColdStarts => cold_starts::draw(policies),
            Self::Latency => latency::draw(document, policies),
            Self::Money => money::draw(policies),
        }
    }
}

/// Characters of a policy's name that charts have room for.
const NAME_MOST: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Summary, fixture};

    fn drawn(chart: Chart, document: &Document) -> String {
        let policies: Vec<&PolicyDoc> = document.policies.iter().collect();
        chart.draw(document, &policies).unwrap_or_else(|| panic!("{}", chart.name())).svg(true).unwrap()
    }

    #[test]
    fn each_shows_its_figures() {
        let document = Document::from(&Summary::new(fixture::experiment()));
        let check = |chart: Chart, words: &[&str]| {
            let svg = drawn(chart, &document);
            for word in words {
                assert!(svg.contains(word), "{}: {word} in {svg}", chart.name());
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", chart.name());
            assert_eq!(Chart::find(chart.name()), Some(chart));
            assert_eq!(svg, drawn(chart, &document), "the same bytes again");
        };
        check(Chart::Gates, &["ttft.p99 &lt; 2s", "hpa", "warm-pool", "4.91s"]);
        check(Chart::Frontier, &["hpa", "warm-pool", "$14.4"]);
        check(Chart::Timeline, &["hpa", "replicas", "ttft p99", "weights loading", "arrivals/s", "$/h"]);
        check(Chart::ColdStarts, &["weights loading", "slowest"]);
        check(Chart::Latency, &["ttft", "2.00s", "hpa"]);
        check(Chart::Money, &["serving, busy", "$14.40"]);
    }

    #[test]
    fn first_tokens_that_never_came_are_marked() {
        let mut document = Document::from(&Summary::new(fixture::experiment()));
        for chart in [Chart::Frontier, Chart::Timeline] {
            assert!(!drawn(chart, &document).contains("timeout"), "{}", chart.name());
        }
        let policy = &mut document.policies[0];
        let tail = policy.summary.metrics.get_mut("ttft.p99").unwrap();
        (tail.mean.0, tail.interval) = (Some(f64::INFINITY), None);
        policy.runs[0].timeline.as_mut().unwrap().ttft_p99_ns.fill(Some(u64::MAX));
        for chart in [Chart::Frontier, Chart::Timeline] {
            assert!(drawn(chart, &document).contains("&gt;timeout"), "{}", chart.name());
        }
    }

    #[test]
    fn charts_without_anything_to_show_are_none() {
        let mut experiment = fixture::experiment();
        experiment.gates.clear();
        experiment.policies.remove(0);
        let document = Document::from(&Summary::new(experiment));
        let policies: Vec<&PolicyDoc> = document.policies.iter().collect();
        for chart in [Chart::Gates, Chart::ColdStarts] {
            assert_eq!(chart.draw(&document, &policies), None, "{}", chart.name());
        }
        for chart in Chart::ALL {
            assert_eq!(chart.draw(&document, &[]), None, "{}", chart.name());
        }
    }

    #[test]
    fn hostile_names_stay_names() {
        let mut experiment = fixture::experiment();
        experiment.policies[0].name = "\"><script>alert(1)</script>\u{202e}".to_owned();
        experiment.policies[1].name = "x".repeat(10_000);
        let document = Document::from(&Summary::new(experiment));
        for chart in Chart::ALL {
            let svg = drawn(chart, &document);
            assert!(!svg.contains("<script") && !svg.contains(&"x".repeat(200)), "{}", chart.name());
        }
    }
}
