//! The percentage-based analyzer (`internal/saturation/analyzer.go`): spare KV cache and spare queue of the replicas that
//! are not saturated, and a step of one.

/// When a replica is saturated, and how much must be spare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// `kvCacheThreshold`, a share of the KV cache.
    pub kv_cache: f64,
    /// `queueLengthThreshold`, requests.
    pub queue_length: f64,
    /// `kvSpareTrigger`, a share of the KV cache.
    pub kv_spare: f64,
    /// `queueSpareTrigger`, requests.
    pub queue_spare: f64,
}

/// What a replica reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replica {
    /// Share of its KV cache in use.
    pub kv: f64,
    /// Requests that wait in it.
    pub queue: f64,
}

/// What the replicas of a model say together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Analysis {
    /// Replicas that are not saturated.
    pub non_saturated: u32,
    /// Their mean spare KV cache, a share.
    pub spare_kv: f64,
    /// Their mean spare queue, requests.
    pub spare_queue: f64,
    /// Too little is spare.
    pub scale_up: bool,
    /// With one replica fewer enough would still be spare.
    pub scale_down_safe: bool,
}

/// Analyzes the replicas of a model, those of all its variants.
pub fn analyze(replicas: &[Replica], thresholds: &Thresholds) -> Analysis {
    if replicas.is_empty() {
        return Analysis::default();
    }
    let Thresholds { kv_cache, queue_length, kv_spare, queue_spare } = *thresholds;
    let (mut n, mut kv, mut queue) = (0_u32, 0.0, 0.0);
    for replica in replicas.iter().filter(|own| !(own.kv >= kv_cache || own.queue >= queue_length)) {
        n += 1;
        kv += kv_cache - replica.kv;
        queue += queue_length - replica.queue;
    }
    let count = f64::from(n);
    let mean = |sum: f64| if n == 0 { 0.0 } else { sum / count };
    let (spare_kv, spare_queue) = (mean(kv), mean(queue));
    // The same load on one replica fewer.
    let left = |all: f64, spare: f64| all - (all - spare) * count / (count - 1.0);
    let scale_down_safe =
        n >= 2 && left(kv_cache, spare_kv) >= kv_spare && left(queue_length, spare_queue) >= queue_spare;
    Analysis {
        non_saturated: n,
        spare_kv,
        spare_queue,
        scale_up: spare_kv < kv_spare || spare_queue < queue_spare,
        scale_down_safe,
    }
}

/// A variant of a model: one Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Cost of a replica.
    pub cost: f64,
    /// Replicas there are.
    pub current: u32,
    /// Replicas that were asked for last; 0 if none were.
    pub desired: u32,
    /// Replicas whose metrics there are.
    pub reporting: u32,
    /// Replicas that are not ready.
    pub pending: u32,
}

impl Variant {
    /// Whether it has not got yet what was asked for, or does not say how all of it fares.
    pub fn is_in_transition(&self) -> bool {
        (self.desired != 0 && self.desired != self.current) || self.reporting != self.current
    }
}

/// The replicas to ask for, variant by variant. While any variant is in transition, all keep what was asked for.
pub fn targets(scale_up: bool, scale_down_safe: bool, variants: &[Variant]) -> Vec<u32> {
    if variants.iter().any(Variant::is_in_transition) {
        let held = |own: &Variant| if own.desired == 0 { own.current } else { own.desired };
        return variants.iter().map(held).collect();
    }
    let mut targets: Vec<u32> = variants.iter().map(|own| own.current).collect();
    let order = |a: &usize, b: &usize| {
        let (a, b) = (&variants[*a], &variants[*b]);
        a.cost.total_cmp(&b.cost).then_with(|| a.name.cmp(&b.name))
    };
    if scale_up {
        let cheapest = (0..variants.len()).filter(|index| variants[*index].pending == 0).min_by(order);
        if let Some(index) = cheapest {
            targets[index] += 1;
        }
    } else if scale_down_safe {
        let dearest = (0..variants.len()).filter(|index| variants[*index].current > 1).max_by(order);
        if let Some(index) = dearest {
            targets[index] -= 1;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Thresholds =
        Thresholds { kv_cache: 0.8, queue_length: 5.0, kv_spare: 0.1, queue_spare: 3.0 };

    #[test]
    fn an_average_spare_of_the_trigger_itself_is_none() {
        let thresholds = Thresholds { kv_cache: 0.75, kv_spare: 0.125, ..DEFAULT };
        let at = |kv| analyze(&[Replica { kv, queue: 0.0 }], &thresholds).scale_up;
        assert_eq!((at(0.625), at(0.626)), (false, true));
    }

    #[test]
    fn while_a_variant_is_in_transition_nothing_moves() {
        let variant = |desired, reporting| Variant {
            name: "a".to_owned(),
            cost: 10.0,
            current: 2,
            desired,
            reporting,
            pending: 0,
        };
        let check = |own: Variant, expected| assert_eq!(targets(true, false, &[own]), [expected]);
        check(variant(0, 2), 3);
        check(variant(2, 2), 3);
        check(variant(3, 2), 3);
        check(variant(2, 1), 2);
        check(variant(0, 3), 2);
    }
}
