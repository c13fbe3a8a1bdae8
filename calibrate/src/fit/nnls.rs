//! Least squares with coefficients that cannot be negative, on relative errors.
//!
//! The active-set method of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter
//! 23). Only additions, products, divisions and square roots: the same bytes everywhere.

/// A column whose part outside the span of the others is smaller than this share of it adds
/// nothing that could be told from rounding.
const DEPENDENT: f64 = 1e-9;

/// Coefficients, all >= 0, that minimise the sum of `((row . x - t) / t)^2`.
///
/// Each row holds one value for each coefficient; every `t` is positive. Columns that depend on
/// others get 0. `None` without rows or columns, or with a number that is not finite.
pub fn relative(rows: &[Vec<f64>], times: &[f64]) -> Option<Vec<f64>> {
    let scaled: Vec<Vec<f64>> =
        rows.iter().zip(times).map(|(row, t)| row.iter().map(|v| v / t).collect()).collect();
    solve(&scaled, &vec![1.0; scaled.len()])
}

/// Coefficients, all >= 0, that minimise `|rows x - b|`.
///
/// `None` without rows or columns, or with a number that is not finite.
pub fn solve(rows: &[Vec<f64>], b: &[f64]) -> Option<Vec<f64>> {
    let width = rows.first()?.len();
    let finite = rows.iter().flatten().chain(b).all(|v| v.is_finite());
    if width == 0 || !finite || rows.iter().any(|row| row.len() != width) || rows.len() != b.len() {
        return None;
    }
    // Columns of norm 1, so that tolerances mean the same for ms and for billions of tokens.
    let norms: Vec<f64> = (0..width).map(|j| norm(rows.iter().map(|row| row[j]))).collect();
    let column = |j: usize| -> Vec<f64> {
        rows.iter().map(|row| if norms[j] > 0.0 { row[j] / norms[j] } else { 0.0 }).collect()
    };
    let columns: Vec<Vec<f64>> = (0..width).map(column).collect();
    let x = active_set(&columns, b);
    Some(x.iter().zip(&norms).map(|(x, n)| if *n > 0.0 { x / n } else { 0.0 }).collect())
}

fn active_set(columns: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let width = columns.len();
    let tolerance = 1e-12 * norm(b.iter().copied());
    let mut x = vec![0.0; width];
    let mut passive: Vec<usize> = Vec::new();
    // Columns that turned out to depend on the passive ones, until these change.
    let mut barred = vec![false; width];
    // The method ends; the bound is for rounding, which might make it go in circles.
    for _ in 0..3 * width + 10 {
        let residual = residual(columns, &x, b);
        let gradient = |j: usize| dot(&columns[j], &residual);
        let free = (0..width).filter(|j| !passive.contains(j) && !barred[*j]);
        let Some(best) = free.max_by(|i, j| gradient(*i).total_cmp(&gradient(*j)).then(j.cmp(i))) else {
            break;
        };
        if gradient(best) <= tolerance {
            break;
        }
        passive.push(best);
        let mut entering = true;
        while let Some(z) = least_squares(columns, &passive, b) {
            // A new column with a step that is not up is rounding, not descent.
            if entering && z[passive.len() - 1] <= 0.0 {
                break;
            }
            if z.iter().all(|v| *v > 0.0) {
                x.fill(0.0);
                for (j, value) in passive.iter().zip(&z) {
                    x[*j] = *value;
                }
                barred.fill(false);
                break;
            }
            // As far towards z as no coefficient falls below 0; the one that gets there leaves.
            let reach = |i: usize| {
                let (from, to) = (x[passive[i]], z[i]);
                if to <= 0.0 { from / (from - to).max(f64::MIN_POSITIVE) } else { f64::INFINITY }
            };
            let Some(first) = (0..z.len()).min_by(|i, j| reach(*i).total_cmp(&reach(*j))) else { break };
            let step = reach(first);
            for (j, z) in passive.iter().zip(&z) {
                x[*j] = (x[*j] + step * (z - x[*j])).max(0.0);
            }
            x[passive[first]] = 0.0;
            passive.remove(first);
            entering = false;
        }
        if passive.last() == Some(&best) && x[best] <= 0.0 {
            passive.pop();
            barred[best] = true;
        }
    }
    x
}

/// Unconstrained least squares over some columns, by modified Gram-Schmidt, twice for
/// orthogonality. `None` if one of them depends on those before it.
fn least_squares(columns: &[Vec<f64>], chosen: &[usize], b: &[f64]) -> Option<Vec<f64>> {
    let n = chosen.len();
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(n);
    let mut upper = vec![vec![0.0; n]; n];
    for (k, j) in chosen.iter().enumerate() {
        let mut v = columns[*j].clone();
        let whole = norm(v.iter().copied());
        for _ in 0..2 {
            for (i, q) in basis.iter().enumerate() {
                let share = dot(q, &v);
                upper[i][k] += share;
                for (v, q) in v.iter_mut().zip(q) {
                    *v -= share * q;
                }
            }
        }
        let left = norm(v.iter().copied());
        if left <= DEPENDENT * whole || left == 0.0 {
            return None;
        }
        upper[k][k] = left;
        basis.push(v.iter().map(|v| v / left).collect());
    }
    let mut rest = b.to_vec();
    let mut z = vec![0.0; n];
    for (value, q) in z.iter_mut().zip(&basis) {
        *value = dot(q, &rest);
        for (r, q) in rest.iter_mut().zip(q) {
            *r -= *value * q;
        }
    }
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|i| upper[k][i] * z[i]).sum();
        z[k] = (z[k] - known) / upper[k][k];
    }
    Some(z)
}

fn residual(columns: &[Vec<f64>], x: &[f64], b: &[f64]) -> Vec<f64> {
    let mut residual = b.to_vec();
    for (column, x) in columns.iter().zip(x) {
        for (r, c) in residual.iter_mut().zip(column) {
            *r -= x * c;
        }
    }
    residual
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rows: &[[f64; 2]], b: &[f64], expected: [f64; 2]) {
        let rows: Vec<Vec<f64>> = rows.iter().map(|r| r.to_vec()).collect();
        let x = solve(&rows, b).unwrap();
        for (x, e) in x.iter().zip(expected) {
            assert!((x - e).abs() < 1e-12, "{rows:?} {b:?}: {x} against {e}");
        }
    }

    #[test]
    fn hand_solved_cases() {
        // An exact solution inside.
        check(&[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], &[2.0, 3.0, 5.0], [2.0, 3.0]);
        // y = 3 - x wants a negative slope: the mean of 2, 1, 0 remains.
        check(&[[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]], &[2.0, 1.0, 0.0], [1.0, 0.0]);
        // y = x - 1 wants a negative base: sum(xy)/sum(xx) = (0 + 2 + 6)/14 through the origin.
        check(&[[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]], &[0.0, 1.0, 2.0], [0.0, 8.0 / 14.0]);
        // Everything negative: nothing.
        check(&[[1.0, 0.0], [0.0, 1.0]], &[-1.0, -2.0], [0.0, 0.0]);
        // Two columns that are one: the first takes all.
        check(&[[1.0, 2.0], [2.0, 4.0]], &[3.0, 6.0], [3.0, 0.0]);
        // Scales far apart.
        check(&[[1.0, 1e9], [1.0, 3e9], [1.0, 7e9]], &[3.0, 5.0, 9.0], [2.0, 1e-9]);
    }

    #[test]
    fn relative_errors_weigh_small_times_as_large_ones() {
        // One constant for 1 and 10: sum (x-1)^2 + (x/10-1)^2 is least at (1 + 0.1) / (1 + 0.01).
        let x = relative(&[vec![1.0], vec![1.0]], &[1.0, 10.0]).unwrap();
        assert!((x[0] - 1.1 / 1.01).abs() < 1e-12, "{x:?}");
    }

    #[test]
    fn what_cannot_be_solved_is_none() {
        assert_eq!(solve(&[], &[]), None);
        assert_eq!(solve(&[vec![]], &[1.0]), None);
        assert_eq!(solve(&[vec![1.0]], &[f64::NAN]), None);
        assert_eq!(solve(&[vec![1.0], vec![1.0, 2.0]], &[1.0, 1.0]), None);
        assert_eq!(solve(&[vec![0.0]], &[1.0]), Some(vec![0.0]));
    }

    proptest! {
        /// Karush, Kuhn and Tucker: no coefficient is negative, none at 0 would lower the error
        /// by growing, and none above 0 would by any move.
        #[test]
        fn the_solution_is_optimal(
            rows in proptest::collection::vec(proptest::collection::vec(-10.0..10.0_f64, 4), 5..12),
            b in proptest::collection::vec(-10.0..10.0_f64, 12),
        ) {
            let b = &b[..rows.len()];
            let x = solve(&rows, b).unwrap();
            for j in 0..4 {
                let gradient: f64 = rows.iter().zip(b).map(|(row, b)| row[j] * (b - dot(row, &x))).sum();
                prop_assert!(x[j] >= 0.0);
                prop_assert!(gradient <= 1e-7, "{} {}", j, gradient);
                prop_assert!(x[j] == 0.0 || gradient.abs() <= 1e-7, "{} {}", j, gradient);
            }
        }
    }
}
