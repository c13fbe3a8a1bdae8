//! A plan as text: what goes in, what the load needs, what its worst rise needs, the sums, and what was tried.

use std::fmt::Write as _;

use super::{Plan, Tried};
use crate::experiment::metric::{HOURS_PER_MONTH, Unit};
use crate::experiment::sizing::{ForStart, Need, Pile, Rise, STEP};
use crate::experiment::{Coverage, slo_limits};
use crate::outcome::Cause;
use crate::profile::page::table;
use crate::report::format;

/// Width of the labels.
const WIDTH: usize = 17;
/// What each of [`Plan::starts`] is.
const STARTS: [&str; 3] = ["90th percentile", "median", "half of the first"];

/// A number of things.
pub(super) fn counted(count: u32, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {one}s", format::whole(u64::from(count))) }
}

/// A share near a limit, which two digits may not tell apart.
pub(super) fn exact(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// An amount of US dollars.
pub(super) fn usd(amount: f64) -> String {
    format::month((amount * 100.0).round().max(0.0) as u64)
}

/// A share, in two or three digits.
pub(super) fn share(share: f64) -> String {
    format::value(Unit::Share, share)
}

impl Plan<'_> {
    pub(super) fn inputs(&self) -> String {
        let header = self.header;
        let limits = slo_limits(&header.slo);
        let limits: Vec<String> = limits.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
        let (gpus, pool, price) = self.gpus;
        let is_redrawn = header.coverage == Coverage::TrafficAndInfrastructure;
        let of_first = if is_redrawn { " · computed for the first replication's" } else { "" };
        let lines = [
            ("plan", format!("{} · {}{of_first}", header.scenario, header.workload)),
            ("model", header.model.clone()),
            (
                "SLO",
                format!(
                    "{}, kept by {} of the requests at least",
                    limits.join(", "),
                    share(1.0 - self.breach_share)
                ),
            ),
            (
                "a replica, c",
                format!(
                    "{:.3} requests/s within the SLO, searched by simulation",
                    self.replica.capacity_per_s
                ),
            ),
            (
                "its price",
                format!(
                    "{gpus} × ${price} a GPU-hour in pool `{pool}` × {HOURS_PER_MONTH} h = {} a month",
                    usd(self.replica.monthly_usd(1.0))
                ),
            ),
            ("its start, L", self.cold_start()),
        ];
        lines.iter().fold(String::new(), |all, (label, text)| format!("{all}{label:<WIDTH$}{text}\n"))
    }

    fn cold_start(&self) -> String {
        let (median, p90) = self.start_with_node;
        if self.start == self.start_with_node {
            return format!(
                "{median} in the median, {p90} at the 90th percentile; no node has to be ordered"
            );
        }
        format!(
            "{median} in the median, {p90} at the 90th percentile with its node; {} and {} on one that is there",
            self.start.0, self.start.1
        )
    }

    pub(super) fn loads(&self) -> String {
        let steady = self.steady;
        let row = |label: String, need: &Need| {
            vec![
                label,
                format!("{:.3}", need.per_s),
                format!("{:.3}", need.quotient),
                need.replicas.to_string(),
                usd(self.replica.monthly_usd(f64::from(need.replicas))),
            ]
        };
        let mut rows = vec![row("mean".to_owned(), &steady.mean)];
        let quantiles = steady.quantiles.iter();
        rows.extend(quantiles.map(|(part, need)| row(format!("{} of all minutes", share(*part)), need)));
        rows.push(row(format!("busiest minute, until {}", steady.peak_at), &steady.peak));
        let shown = table(&["LOAD", "requests/s", "÷ c", "replicas", "a month"], rows, &[1, 2, 3, 4]);
        format!("{shown}Minutes begin every 10 s; of so many minutes, none has more.\n")
    }

    fn rise(label: &str, rise: Option<&Rise>) -> String {
        rise.map_or_else(
            || format!("{label:<WIDTH$}none\n"),
            |rise| {
                format!(
                    "{label:<WIDTH$}{:.3} requests/s at {} to {:.3} at {}: {:.3}\n",
                    rise.from_per_s,
                    rise.from,
                    rise.to_per_s,
                    rise.to,
                    rise.per_s()
                )
            },
        )
    }

    fn piled(&self, label: &str, pile: Option<&Pile>) -> String {
        let Some(pile) = pile else { return format!("{label:<WIDTH$}no request waits\n") };
        format!(
            "{label:<WIDTH$}{} requests come from {} to {}, {} are served meanwhile, {} wait behind {};\n\
             {:<WIDTH$}the longest wait of the trace is {}, and {} of all requests wait longer than {}\n",
            format::whole(pile.come),
            pile.from,
            pile.to,
            format::whole((pile.come as f64 - pile.waiting).round().max(0.0) as u64),
            format::whole(pile.waiting.round() as u64),
            counted(pile.replicas, "replica"),
            "",
            format::value(Unit::Seconds, pile.longest_wait.as_secs_f64()),
            share(pile.late as f64 / self.load.requests() as f64),
            // Counts know of no shorter wait than their step.
            format::value(Unit::Seconds, self.replica.patience.max(STEP).as_secs_f64()),
        )
    }

    pub(super) fn rises(&self) -> String {
        let found = &self.starts[0];
        let mut text = format!("WORST RISE within one cold start of {}\n", found.start);
        text += &Self::rise("of the load", found.rise.as_ref());
        text += &Self::rise("to be carried", found.above.as_ref());
        let least = self.steady.mean.replicas;
        let _ = writeln!(
            text,
            "{:<WIDTH$}what minReplicas, {}, serve is no rise: {:.3} requests/s",
            "",
            least,
            f64::from(least) * self.replica.capacity_per_s
        );
        text += &self.piled("without spares", found.without.as_ref());
        if found.spare > 0 {
            text += &self.piled("with them", found.with_spares.as_ref());
        }
        let row = |(label, found): (&str, &ForStart)| {
            let rise =
                |rise: Option<&Rise>| rise.map_or("0".to_owned(), |rise| format!("{:.3}", rise.per_s()));
            let pile = found.without.as_ref();
            vec![
                format!("{label}, {}", found.start),
                rise(found.rise.as_ref()),
                rise(found.above.as_ref()),
                format!("{:.3}", found.quotient),
                found.spare.to_string(),
                format!("{:.2}", found.ordered),
                usd(found.monthly_usd),
                pile.map_or("0".to_owned(), |pile| format::whole(pile.waiting.round() as u64)),
                pile.map_or("0s".to_owned(), |pile| {
                    format::value(Unit::Seconds, pile.longest_wait.as_secs_f64())
                }),
            ]
        };
        let header =
            ["L", "rise", "carried", "÷ c", "spares", "ordered", "a month", "else queue", "and wait"];
        text.push('\n');
        text + &table(&header, STARTS.into_iter().zip(&self.starts).map(row), &[1, 2, 3, 4, 5, 6, 7, 8])
    }

    pub(super) fn sums(&self) -> String {
        let (figures, steady, found) = (&self.figures, self.steady, &self.starts[0]);
        let mut text = format!(
            "minReplicas = {}   the mean, {:.3}, rounded up\nspare = {}         the rise to be carried, {:.3}, rounded up\n\
             maxReplicas = {}   the busiest minute, {:.3}, rounded up\n",
            figures.min_replicas,
            steady.mean.quotient,
            figures.spare,
            found.quotient,
            figures.max_replicas,
            steady.peak.quotient
        );
        let _ = writeln!(
            text,
            "({:.2} replicas ordered on average, each held for {}, + {}) × {} = {} a month",
            found.ordered,
            found.hold,
            counted(found.spare, "spare"),
            usd(self.replica.monthly_usd(1.0)),
            usd(found.monthly_usd)
        );
        let always = self.replica.monthly_usd(f64::from(figures.max_replicas));
        if figures.min_replicas == figures.max_replicas {
            text += "The busiest minute needs no more replicas than the mean: there is nothing to scale.\n";
        } else if found.monthly_usd >= always {
            let _ = writeln!(
                text,
                "That is no less than {} all the time, {}: with such a start a fleet that never scales is cheaper.",
                counted(figures.max_replicas, "replica"),
                usd(always)
            );
        }
        let halved = &self.starts[2];
        let _ = writeln!(
            text,
            "A start of {} would need {} and cost {}: {} a month {}.",
            halved.start,
            counted(halved.spare, "spare"),
            usd(halved.monthly_usd),
            usd((found.monthly_usd - halved.monthly_usd).abs()),
            if halved.monthly_usd > found.monthly_usd { "more" } else { "less" }
        );
        text
    }

    pub(super) fn trials(&self) -> String {
        let row = |tried: &Tried| {
            let late = share(tried.expected_late);
            let time = tried.expected_late_for;
            vec![
                tried.name.to_owned(),
                if time.is_zero() { late } else { format!("{late} in {time}") },
                tried.breach.map_or(format::NONE.to_owned(), |breach| share(breach.mean)),
                format::maybe(Unit::Seconds, tried.breach_secs.map(|time| time.mean)),
                usd(tried.expected_usd),
                tried.monthly_usd.map_or(format::NONE.to_owned(), |bill| usd(bill.mean)),
            ]
        };
        let replications = self.header.replications;
        let header =
            ["SIMULATED", "late, computed", "breach", "time in breach", "a month, computed", "billed"];
        let mut text = table(&header, self.tried.iter().map(row), &[1, 2, 3, 4, 5]);
        for tried in self.tried.iter().filter(|tried| !tried.causes.is_empty()) {
            let all: u64 = tried.causes.iter().map(|(_, count)| count).sum();
            let part = |(cause, count): &(Cause, u64)| {
                format!("{} {}", cause.label(), share(*count as f64 / all as f64))
            };
            let parts: Vec<String> = tried.causes.iter().map(part).collect();
            let _ = writeln!(text, "breaches of {}: {}", tried.name, parts.join(" · "));
        }
        if let Some((replicas, breach)) = self.fewest {
            let peak = self.steady.peak.per_s / f64::from(replicas);
            let _ = writeln!(
                text,
                "Fewest that hold all the time, simulated: {}, {} breach, {} a month; {peak:.3} requests/s each in the busiest minute.",
                counted(replicas, "replica"),
                exact(breach),
                usd(self.replica.monthly_usd(f64::from(replicas)))
            );
            if peak > self.replica.capacity_per_s {
                let _ = writeln!(
                    text,
                    "That is {:.1} times c, what a replica serves alone and all the time: a fleet shares its bursts, and its busiest minutes are few.\n\
                     The computed fleet is larger than this traffic needs.",
                    peak / self.replica.capacity_per_s
                );
            }
        }
        let runs = if replications == 1 { "once".to_owned() } else { format!("{replications} times") };
        for warning in &self.warnings {
            let _ = writeln!(text, "warning[{}]: {}", warning.code, warning.message);
        }
        let _ = writeln!(
            text,
            "Each ran {runs}, from its own first replicas and spares on: what the traffic did before is not known. The arithmetic lets a\n\
             replica serve c and no more, whatever others do, and bills the GPUs of replicas; the simulation bills nodes."
        );
        text
    }
}
