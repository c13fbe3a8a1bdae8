//! A minimum by compass search: no derivatives, no random numbers, a bounded number of evaluations.

/// Steps shrink to this share of a parameter's range.
const FINEST: f64 = 0.02;
/// Rounds through the parameters at one step size.
const ROUNDS_MAX: usize = 2;

/// Moves `at` to a point with a small `cost` within its bounds, each parameter alone, by a quarter of its range and then half
/// the step again and again (compass search: Kolda, Lewis and Torczon 2003, section 3).
pub(super) fn minimise<const N: usize>(
    at: &mut [f64; N],
    bounds: &[(f64, f64); N],
    mut cost: impl FnMut(&[f64; N]) -> f64,
) {
    let mut best = cost(at);
    let mut share = 0.25;
    while share >= FINEST {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for index in 0..at.len() {
                let (low, high) = bounds[index];
                let before = at[index];
                for direction in [1.0, -1.0] {
                    let candidate = (before + direction * share * (high - low)).clamp(low, high);
                    at[index] = candidate;
                    let found = cost(at);
                    if found < best {
                        (best, moved) = (found, true);
                        break;
                    }
                    at[index] = before;
                }
            }
            if !moved {
                break;
            }
        }
        share /= 2.0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn it_finds_the_bottom_of_a_bowl_and_stays_within_bounds() {
        let check = |bottom: [f64; 3], expected: [f64; 3]| {
            let mut at = [0.5; 3];
            let mut evaluations = 0;
            minimise(&mut at, &[(0.0, 1.0); 3], |x| {
                evaluations += 1;
                x.iter().zip(&bottom).map(|(x, b)| (x - b) * (x - b)).sum()
            });
            for (found, expected) in at.iter().zip(&expected) {
                assert!((found - expected).abs() <= 0.03, "{at:?}");
            }
            assert!(evaluations <= 1 + 4 * ROUNDS_MAX * 6, "{evaluations}");
        };
        check([0.25, 0.8, 0.37], [0.25, 0.8, 0.37]);
        check([-3.0, 0.5, 7.0], [0.0, 0.5, 1.0]);
    }

    #[test]
    fn a_cost_that_is_no_number_moves_nothing() {
        let mut at = [0.3, 0.6];
        minimise(&mut at, &[(0.0, 1.0); 2], |_| f64::NAN);
        assert_eq!(at, [0.3, 0.6]);
    }
}
