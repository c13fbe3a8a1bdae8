//! Where the figures come from that results rest on, as reports list them.

use super::ScenarioSpec;
use crate::experiment::Figure;
use crate::kernel::Price;
use crate::profile::Profile;
use crate::sim::cluster;

/// A figure of the profile, for reports.
pub(super) fn figure(row: &crate::profile::show::Row<'_>) -> Figure {
    let origin = row.origin;
    Figure {
        name: row.field.clone(),
        value: row.value.clone(),
        provenance: origin.map_or_else(String::new, |origin| origin.provenance.label().to_owned()),
        date: origin.and_then(|origin| origin.date).map_or_else(String::new, |date| date.to_string()),
        source: origin.and_then(|origin| origin.source).unwrap_or_default().to_owned(),
    }
}

/// What a GPU-hour of each pool costs, and who says so: the scenario, or the profile.
pub(super) fn prices(profile: &Profile, plan: &cluster::Plan, spec: &ScenarioSpec) -> Vec<Figure> {
    let price = |pool: &cluster::PoolPlan| {
        let value = Price { micro_usd: pool.price_micro_usd }.to_string();
        let given = spec.cluster.pools.get(&pool.name).is_some_and(|pool| pool.price_per_gpu_hour.is_some());
        let published = profile.price_per_gpu_hour.as_ref().filter(|_| !given).map(|price| price.origin());
        Figure {
            name: pool.name.clone(),
            value,
            provenance: published.map_or("given", |origin| origin.provenance.label()).to_owned(),
            date: published.and_then(|o| o.date).map_or_else(String::new, |date| date.to_string()),
            source: published.map_or("the scenario", |o| o.source.unwrap_or("the profile")).to_owned(),
        }
    };
    plan.pools.iter().map(price).collect()
}
