//! How many replicas APA and KPA recommend for one metric (`algorithm/apa.go`, `algorithm/kpa.go`).

/// The limits that both strategies share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// `max-scale-up-rate`: times what is there, at most.
    pub max_up: f64,
    /// `max-scale-down-rate`: what is there divided by it, at least.
    pub max_down: f64,
    /// `scale-up-tolerance`, a fraction of the target.
    pub up_tolerance: f64,
    /// `scale-down-tolerance`, a fraction of the target.
    pub down_tolerance: f64,
}

/// Whether a ratio of value to target lies within the tolerances.
fn is_tolerated(ratio: f64, limits: &Limits) -> bool {
    !(ratio > 1.0 + limits.up_tolerance || ratio < 1.0 - limits.down_tolerance)
}

/// APA: the ratio of use to target, times what is there. A target of 0 or less says nothing, and nothing changes.
pub fn apa(current: u32, use_per_pod: f64, target: f64, limits: &Limits) -> u32 {
    let ratio = use_per_pod / target;
    if target <= 0.0 || is_tolerated(ratio, limits) {
        return current;
    }
    let n = f64::from(current);
    let expected = (n * ratio).ceil();
    let bound = if ratio > 1.0 {
        expected.min((limits.max_up * n).ceil())
    } else {
        expected.max((n / limits.max_down).floor())
    };
    bound.max(0.0) as u32
}

/// What KPA goes by beside the limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KpaInputs {
    /// Replicas there are.
    pub current: u32,
    /// Mean over the stable window, of a pod.
    pub stable: f64,
    /// Mean over the panic window, of a pod.
    pub panic: f64,
    /// Target, of a pod.
    pub target: f64,
    /// The fewest replicas once there are any; 0 and 1 change nothing.
    pub activation_scale: u32,
    /// Whether it panics.
    pub in_panic: bool,
    /// The most replicas it panicked for. Upstream's context forgets it between two loops, so there it is 0.
    pub max_panic_pods: u32,
}

/// KPA as it is coded: the mean *of a pod* divided by the target, which is a number of pods only for a metric that does not
/// fall as pods come.
pub fn kpa(inputs: &KpaInputs, limits: &Limits) -> u32 {
    let n = f64::from(inputs.current);
    let (most, least) = ((limits.max_up * n).ceil().max(1.0), (n / limits.max_down).floor());
    let desired = |value: f64| {
        let ratio = value / inputs.target;
        if is_tolerated(ratio, limits) { n } else { ratio.ceil().max(least).min(most) }
    };
    let activated = |pods: f64| {
        let scale = f64::from(inputs.activation_scale);
        if scale > 1.0 && pods > 0.0 { pods.max(scale) } else { pods }
    };
    let (stable, panic) = (activated(desired(inputs.stable)), activated(desired(inputs.panic)));
    let pods = if inputs.in_panic { stable.max(panic).max(f64::from(inputs.max_panic_pods)) } else { stable };
    pods.max(0.0) as u32
}

/// Whether KPA panics: the panic window's mean is this many times the stable one's, or that is nothing.
pub fn panics(stable: f64, panic: f64, threshold: f64) -> bool {
    stable <= 0.0 || panic / stable > threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_up: 2.0, max_down: 2.0, up_tolerance: 0.1, down_tolerance: 0.1 };

    #[test]
    fn apa_multiplies_what_is_there() {
        let check = |current, used, expected| {
            assert_eq!(apa(current, used, 10.0, &LIMITS), expected, "{current} {used}");
        };
        check(4, 11.0, 4);
        check(4, 11.1, 5);
        check(4, 100.0, 8);
        check(4, 9.0, 4);
        check(4, 7.4, 3);
        check(5, 0.0, 2);
        assert_eq!(apa(4, 5.0, 0.0, &LIMITS), 4);
    }

    #[test]
    fn kpa_does_not_multiply_by_the_pods() {
        let at = |current, stable, panic, in_panic| KpaInputs {
            current,
            stable,
            panic,
            target: 10.0,
            activation_scale: 1,
            in_panic,
            max_panic_pods: 0,
        };
        // Six pods at half of their target: three by a total, but the half of a pod by a mean.
        assert_eq!(kpa(&at(6, 5.0, 5.0, false), &LIMITS), 3);
        assert_eq!(kpa(&at(2, 5.0, 5.0, false), &LIMITS), 1);
        assert_eq!(kpa(&at(6, 40.0, 40.0, false), &LIMITS), 4);
        assert_eq!(kpa(&at(2, 11.0, 90.0, true), &LIMITS), 4);
    }

    #[test]
    fn panic_is_a_ratio_of_two_windows() {
        assert_eq!([(0.0, 0.0), (1.0, 2.0), (1.0, 2.1)].map(|(s, p)| panics(s, p, 2.0)), [true, false, true]);
    }
}
