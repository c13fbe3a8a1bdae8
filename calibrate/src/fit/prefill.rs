//! Prefill: the largest of one or two planes over new tokens and attention work. A short prompt
//! waits for the weights, a long one for the arithmetic; one plane cannot follow both.

use thawline::profile::schema::{FitErrors, PlaneSpec, PrefillFit};

use super::cross;
use super::nnls;
use super::points::{PrefillPoint, rounded};

/// Rounds of assigning points to planes and fitting these again.
const ROUNDS: usize = 50;

/// `base + perToken * P + perWork * A`, µs.
type Plane = [f64; 3];

/// A fit and what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefill {
    planes: Vec<Plane>,
    /// Signed relative error of each point when it was held out; empty where that was not possible.
    pub held_out: Vec<f64>,
}

/// Fits points. `None` with fewer than three different sizes.
pub fn fit(points: &[PrefillPoint]) -> Option<Prefill> {
    if distinct_tokens(points.iter()).len() < 3 {
        return None;
    }
    let all: Vec<&PrefillPoint> = points.iter().collect();
    let attempt = |solve: fn(&[&PrefillPoint]) -> Option<Prefill>| {
        let mut prefill = solve(&all)?;
        prefill.held_out = cross::held_out(points, solve, Prefill::error).unwrap_or_default();
        Some(prefill)
    };
    let one = attempt(one_plane)?;
    let two = attempt(two_planes).filter(|two| {
        two.planes.len() == 2 && !two.held_out.is_empty() && cross::pays(&one.held_out, &two.held_out)
    });
    Some(two.unwrap_or(one))
}

fn distinct_tokens<'a>(points: impl Iterator<Item = &'a PrefillPoint>) -> Vec<f64> {
    let mut tokens: Vec<f64> = points.map(|p| p.tokens).collect();
    tokens.sort_by(f64::total_cmp);
    tokens.dedup();
    tokens
}

fn plane(points: &[&PrefillPoint], with_work: bool) -> Option<Plane> {
    let rows: Vec<Vec<f64>> =
        points.iter().map(|p| vec![1.0, p.tokens, if with_work { p.work() } else { 0.0 }]).collect();
    let times: Vec<f64> = points.iter().map(|p| p.us).collect();
    let x = nnls::relative(&rows, &times)?;
    Some([x[0], x[1], x[2]])
}

fn one_plane(points: &[&PrefillPoint]) -> Option<Prefill> {
    let plane = plane(points, true)?;
    // Prefill that costs nothing a token is no prefill.
    (plane[1] > 0.0).then_some(Prefill { planes: vec![plane], held_out: Vec::new() })
}

/// `max(f0 + f1*P, p0 + p1*P + p2*A)`: from each way to split the sizes in two, points are assigned to
/// the plane that is larger there and the planes fitted again, until nothing moves.
fn two_planes(points: &[&PrefillPoint]) -> Option<Prefill> {
    let sizes = distinct_tokens(points.iter().copied());
    let mut best: Option<(f64, Prefill)> = None;
    for split in &sizes[1..] {
        let mut low: Vec<bool> = points.iter().map(|p| p.tokens < *split).collect();
        for _ in 0..ROUNDS {
            let side = |wanted: bool| -> Vec<&PrefillPoint> {
                points.iter().zip(&low).filter(|(_, is)| **is == wanted).map(|(p, _)| *p).collect()
            };
            // A line needs two points, and a plane three.
            let (short, long) = (side(true), side(false));
            if short.len() < 2 || long.len() < 3 {
                break;
            }
            let (Some(f), Some(p)) = (plane(&short, false), plane(&long, true)) else { break };
            let prefill = Prefill { planes: vec![f, p], held_out: Vec::new() };
            let cost: f64 = points.iter().map(|p| prefill.error(p) * prefill.error(p)).sum();
            let next: Vec<bool> = points.iter().map(|at| value(&f, at) >= value(&p, at)).collect();
            let grows = f[1] > 0.0 || p[1] > 0.0;
            if grows && best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, prefill));
            }
            if next == low {
                break;
            }
            low = next;
        }
    }
    best.map(|(_, prefill)| prefill).or_else(|| one_plane(points))
}

fn value(plane: &Plane, point: &PrefillPoint) -> f64 {
    plane[0] + plane[1] * point.tokens + plane[2] * point.work()
}

impl Prefill {
    /// Predicted time, µs.
    pub fn at(&self, point: &PrefillPoint) -> f64 {
        self.planes.iter().map(|p| value(p, point)).fold(0.0, f64::max)
    }

    /// Signed relative error of the prediction at a point.
    pub fn error(&self, point: &PrefillPoint) -> f64 {
        self.at(point) / point.us - 1.0
    }

    /// Time of a step with no token in it, µs.
    pub fn intercept_us(&self) -> f64 {
        self.planes.iter().map(|p| p[0]).fold(0.0, f64::max)
    }

    /// Time of a unit of attention work, µs.
    pub fn per_work_us(&self) -> f64 {
        self.planes.iter().map(|p| p[2]).fold(0.0, f64::max)
    }

    /// Cross-validated errors, where points were enough.
    pub fn errors(&self) -> Option<FitErrors> {
        cross::summary(&self.held_out)
    }

    /// As a profile keeps it.
    pub fn spec(&self) -> PrefillFit {
        let plane = |p: &Plane| PlaneSpec {
            base_ms: rounded(p[0] / 1e3),
            per_token_us: rounded(p[1]),
            per_work_ns: rounded(p[2] * 1e3),
        };
        PrefillFit { planes: self.planes.iter().map(plane).collect(), errors: self.errors() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(time: impl Fn(&PrefillPoint) -> f64) -> Vec<PrefillPoint> {
        let sizes = [16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];
        let at = |tokens: f64, context: f64| {
            let point = PrefillPoint { tokens, context, us: 0.0 };
            PrefillPoint { us: time(&point), ..point }
        };
        sizes.iter().flat_map(|n| [at(*n, 0.0), at(*n, 4096.0)]).collect()
    }

    #[test]
    fn one_plane_suffices_where_one_made_the_times() {
        let fitted = fit(&points(|p| 2_000.0 + 20.0 * p.tokens + 0.001 * p.work())).unwrap();
        let spec = fitted.spec();
        assert_eq!(spec.planes.len(), 1);
        let plane = spec.planes[0];
        for (value, expected) in [(plane.base_ms, 2.0), (plane.per_token_us, 20.0), (plane.per_work_ns, 1.0)]
        {
            assert!((value / expected - 1.0).abs() < 1e-4, "{plane:?}");
        }
        assert!(spec.errors.unwrap().max < 1e-4);
    }

    #[test]
    fn a_floor_and_a_plane_are_both_found() {
        let time = |p: &PrefillPoint| {
            f64::max(9_000.0 + 2.0 * p.tokens, 1_000.0 + 40.0 * p.tokens + 0.002 * p.work())
        };
        let all = points(time);
        let fitted = fit(&all).unwrap();
        assert_eq!(fitted.spec().planes.len(), 2);
        assert!(all.iter().all(|p| fitted.error(p).abs() < 0.01), "{fitted:?}");
        assert!((fitted.intercept_us() / 9_000.0 - 1.0).abs() < 0.01);
    }

    #[test]
    fn too_little_is_none() {
        let at = |tokens| PrefillPoint { tokens, context: 0.0, us: 1_000.0 + tokens };
        assert!(fit(&[at(10.0), at(20.0), at(20.0)]).is_none());
        // Times that do not grow.
        assert!(
            fit(&[10.0, 20.0, 30.0].map(|tokens| PrefillPoint { tokens, context: 0.0, us: 1_000.0 }))
                .is_none()
        );
    }
}
