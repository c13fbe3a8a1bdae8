//! What the Deployment controller makes of its ReplicaSets: their sizes, from what is ordered and what is available. A pure
//! function.
//!
//! As Kubernetes does it (`pkg/controller/deployment/rolling.go`, `sync.go` `scale`, `util/deployment_util.go`
//! `ResolveFenceposts`, `NewRSNewReplicas`, `GetProportion`; the rules are unchanged since 1.15).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of pods, or a share of them: `2`, `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many.
    Int(u32),
    /// So many percent.
    Percent(u32),
}

impl IntOrPercent {
    /// Of so many pods; a share is rounded up or down.
    fn of(self, pods: u32, up: bool) -> u32 {
        match self {
            Self::Int(count) => count,
            Self::Percent(percent) => {
                let hundredths = u64::from(percent) * u64::from(pods);
                let count = if up { hundredths.div_ceil(100) } else { hundredths / 100 };
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        }
    }

    /// Whether it is nothing of any number of pods.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Int(0) | Self::Percent(0))
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = IntOrPercent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of pods such as 1, or a share such as 25%")
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<IntOrPercent, E> {
                u32::try_from(count).map(IntOrPercent::Int).map_err(|_| E::custom("too many pods"))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<IntOrPercent, E> {
                let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with('+'));
                let read = match text.strip_suffix('%') {
                    Some(digits) => number(digits).map(IntOrPercent::Percent),
                    None => number(text).map(IntOrPercent::Int),
                };
                read.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of pods, or a share of them: `2`, `25%`.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "pattern": "^[0-9]+%$" }
            ]
        })
    }
}

/// How far a rolling update may go at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingUpdate {
    /// `maxSurge`.
    pub max_surge: IntOrPercent,
    /// `maxUnavailable`.
    pub max_unavailable: IntOrPercent,
}

impl RollingUpdate {
    /// Pods beyond `desired`, and pods that may be missing of it.
    pub fn fenceposts(self, desired: u32) -> (u32, u32) {
        let surge = self.max_surge.of(desired, true);
        let unavailable = self.max_unavailable.of(desired, false);
        // Both may be nothing once they are rounded: then nothing would ever move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        (surge, unavailable.min(desired))
    }
}

/// A ReplicaSet as its Deployment knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReplicaSet {
    /// `spec.replicas`.
    replicas: u32,
    /// The annotation `deployment.kubernetes.io/desired-replicas`.
    desired: u32,
    /// The annotation `deployment.kubernetes.io/max-replicas`.
    maximum: u32,
}

/// A Deployment and its ReplicaSets.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Oldest first: a set's index is the version of its pods.
    sets: Vec<ReplicaSet>,
    /// The one whose template is the Deployment's.
    new: usize,
    /// The one whose template was before.
    before: usize,
    strategy: RollingUpdate,
}

impl Deployment {
    /// One whose only ReplicaSet has so many replicas.
    pub fn new(replicas: u32) -> Self {
        let strategy = RollingUpdate {
            max_surge: IntOrPercent::Percent(25),
            max_unavailable: IntOrPercent::Percent(25),
        };
        let set = ReplicaSet { replicas, desired: replicas, maximum: replicas };
        Self { sets: vec![set], new: 0, before: 0, strategy }
    }

    /// Its template changes: a new ReplicaSet, empty so far.
    pub fn roll_out(&mut self, strategy: RollingUpdate) {
        self.before = self.new;
        self.new = self.sets.len();
        self.strategy = strategy;
        self.sets.push(ReplicaSet { replicas: 0, desired: 0, maximum: 0 });
    }

    /// Its template is the one before again, and so the ReplicaSet is (`kubectl rollout undo`).
    pub fn roll_back(&mut self) {
        std::mem::swap(&mut self.new, &mut self.before);
    }

    /// How many ReplicaSets there are, empty ones included.
    pub fn versions(&self) -> usize {
        self.sets.len()
    }

    /// `spec.replicas` of a ReplicaSet.
    pub fn replicas(&self, set: usize) -> u32 {
        self.sets[set].replicas
    }

    /// `spec.replicas` of all of them.
    pub fn total(&self) -> u32 {
        self.sets.iter().fold(0, |sum, set| sum.saturating_add(set.replicas))
    }

    /// Whether pods of an old template are left.
    pub fn is_rolling(&self) -> bool {
        self.olds().next().is_some()
    }

    /// Old ReplicaSets that are not empty, oldest first.
    fn olds(&self) -> impl Iterator<Item = usize> {
        (0..self.sets.len()).filter(|set| *set != self.new && self.sets[*set].replicas > 0)
    }

    /// What its controller does until there is nothing to do: `desired` is ordered, and of each ReplicaSet so many pods are
    /// available.
    pub fn sync(&mut self, desired: u32, available: &[u32]) {
        // Of those that a set has too many the unavailable ones go first.
        let available = |sets: &[ReplicaSet], set: usize| {
            available.get(set).copied().unwrap_or(0).min(sets[set].replicas)
        };
        if self.sets.iter().any(|set| set.replicas > 0 && set.desired != desired) {
            self.scale(desired, &available);
        }
        while self.scale_new(desired) || self.scale_old_down(desired, &available) {}
    }

    /// Writes the size of a ReplicaSet; `false` if it is its size already.
    fn write(&mut self, set: usize, replicas: u32, desired: u32) -> bool {
        let (surge, _) = self.strategy.fenceposts(desired);
        let written = ReplicaSet { replicas, desired, maximum: desired.saturating_add(surge) };
        std::mem::replace(&mut self.sets[set], written).replicas != replicas
    }

    /// `reconcileNewReplicaSet`.
    fn scale_new(&mut self, desired: u32) -> bool {
        let (surge, _) = self.strategy.fenceposts(desired);
        let new = self.sets[self.new].replicas;
        if new == desired {
            return false;
        }
        let room = desired.saturating_add(surge).saturating_sub(self.total());
        let replicas = if new > desired { desired } else { new + room.min(desired - new) };
        replicas != new && self.write(self.new, replicas, desired)
    }

    /// `reconcileOldReplicaSets`.
    fn scale_old_down(&mut self, desired: u32, available: &impl Fn(&[ReplicaSet], usize) -> u32) -> bool {
        let (_, unavailable) = self.strategy.fenceposts(desired);
        let least = desired - unavailable;
        let coming = self.sets[self.new].replicas - available(&self.sets, self.new);
        // What is missing of the new set must not let more of the old ones go.
        let most = self.total().saturating_sub(least).saturating_sub(coming);
        let mut is_changed = false;
        // Unhealthy ones first: they are missing already (`cleanupUnhealthyReplicas`).
        let mut left = most;
        for set in self.olds().collect::<Vec<_>>() {
            let replicas = self.sets[set].replicas;
            let down = left.min(replicas - available(&self.sets, set));
            left -= down;
            is_changed |= down > 0 && self.write(set, replicas - down, desired);
        }
        let all: u32 = (0..self.sets.len()).map(|set| available(&self.sets, set)).sum();
        let mut left = if most > 0 { all.saturating_sub(least) } else { 0 };
        for set in self.olds().collect::<Vec<_>>() {
            let replicas = self.sets[set].replicas;
            let down = left.min(replicas);
            left -= down;
            is_changed |= down > 0 && self.write(set, replicas - down, desired);
        }
        is_changed
    }

    /// `scale`: the order changed. In a rolling update every set gets its share of the change, so that the update goes neither
    /// faster nor slower.
    fn scale(&mut self, desired: u32, available: &impl Fn(&[ReplicaSet], usize) -> u32) {
        let mut active: Vec<usize> =
            (0..self.sets.len()).filter(|set| self.sets[*set].replicas > 0).collect();
        if let [only] = active[..] {
            self.write(only, desired, desired);
            return;
        }
        let new = self.sets[self.new];
        let is_saturated =
            (new.replicas, new.desired) == (desired, desired) && available(&self.sets, self.new) == desired;
        if is_saturated {
            for set in self.olds().collect::<Vec<_>>() {
                self.write(set, 0, desired);
            }
            return;
        }
        let (surge, _) = self.strategy.fenceposts(desired);
        let allowed = if desired > 0 { i64::from(desired) + i64::from(surge) } else { 0 };
        let change = allowed - active.iter().map(|set| i64::from(self.sets[*set].replicas)).sum::<i64>();
        // The largest first; of equals the newer when there is more to come, the older when there is less.
        active.sort_by_key(|set| {
            (Reverse(self.sets[*set].replicas), if change > 0 { self.sets.len() - set } else { *set })
        });
        let mut left = change;
        let mut sizes: Vec<i64> = Vec::with_capacity(active.len());
        for set in &active {
            let ReplicaSet { replicas, maximum, .. } = self.sets[*set];
            let replicas = i64::from(replicas);
            let share = if desired == 0 {
                -replicas
            } else {
                let most = i64::from(maximum).max(1);
                // Rounded to the nearest, as upstream rounds.
                (2 * replicas * allowed + most) / (2 * most) - replicas
            };
            let share = match left {
                0 => 0,
                left if change > 0 => share.min(left),
                left => share.max(left),
            };
            sizes.push(replicas + share);
            left -= share;
        }
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + left).max(0);
        }
        for (set, size) in active.into_iter().zip(sizes) {
            self.write(set, u32::try_from(size).unwrap_or(u32::MAX), desired);
        }
    }
}

#[cfg(test)]
#[path = "deployment_tests.rs"]
mod tests;
