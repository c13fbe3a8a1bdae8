//! Cross-validation: how far a fit misses points it has not seen.

use thawline::kernel::dist::uniform;
use thawline::kernel::rng::{Purpose, Streams};
use thawline::profile::schema::FitErrors;

use super::points::quantile;

/// Parts that the points are split into.
pub const FOLDS: usize = 5;
/// With fewer points, each is held out by itself.
const LEAVE_ONE_OUT_BELOW: usize = 20;

/// The signed relative error of each point, predicted by a fit to the other folds.
///
/// `None` where a fit to the others does not exist. The split is the same on every run.
pub fn held_out<P, M>(
    points: &[P],
    fit: impl Fn(&[&P]) -> Option<M>,
    error: impl Fn(&M, &P) -> f64,
) -> Option<Vec<f64>> {
    let fold_of = folds(points.len());
    let mut errors = vec![0.0; points.len()];
    for fold in 0..=*fold_of.iter().max()? {
        let others: Vec<&P> =
            points.iter().zip(&fold_of).filter(|(_, f)| **f != fold).map(|(p, _)| p).collect();
        let model = fit(&others)?;
        for i in (0..points.len()).filter(|i| fold_of[*i] == fold) {
            errors[i] = error(&model, &points[i]);
        }
    }
    Some(errors)
}

/// The fold of each point.
fn folds(points: usize) -> Vec<usize> {
    if points < LEAVE_ONE_OUT_BELOW {
        return (0..points).collect();
    }
    let mut order: Vec<usize> = (0..points).collect();
    let mut rng = Streams::new(0, 0).stream(Purpose::Resample, 0);
    for last in (1..points).rev() {
        let chosen = (uniform(&mut rng) * (last + 1) as f64) as usize;
        order.swap(last, chosen.min(last));
    }
    let mut folds = vec![0; points];
    for (place, point) in order.into_iter().enumerate() {
        folds[point] = place % FOLDS;
    }
    folds
}

/// Mean absolute relative error.
pub fn mape(errors: &[f64]) -> f64 {
    errors.iter().map(|e| e.abs()).sum::<f64>() / errors.len().max(1) as f64
}

/// Whether a form with more coefficients is worth them: it must lower the mean held-out error by a
/// twentieth, and by 0.01 percentage points, below which it is rounding.
pub fn pays(simpler: &[f64], richer: &[f64]) -> bool {
    let (simpler, richer) = (mape(simpler), mape(richer));
    richer < 0.95 * simpler && richer < simpler - 1e-4
}

/// The summary of signed relative errors that a profile keeps; none of no errors.
pub fn summary(errors: &[f64]) -> Option<FitErrors> {
    let absolute: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    // To 0.0001 %.
    let rounded = |error: f64| (error * 1e6).round() / 1e6;
    let max = rounded(absolute.iter().copied().fold(0.0, f64::max));
    Some(FitErrors {
        mape: rounded(mape(errors)).min(max),
        p95: rounded(quantile(&absolute, 0.95)?).min(max),
        max,
        points: errors.len() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_even_and_few_points_are_held_out_one_by_one() {
        assert_eq!(folds(4), [0, 1, 2, 3]);
        let many = folds(23);
        for fold in 0..FOLDS {
            assert_eq!(many.iter().filter(|f| **f == fold).count(), if fold < 3 { 5 } else { 4 });
        }
        assert_ne!(many[..5], [0, 1, 2, 3, 4]);
        assert_eq!(many, folds(23));
    }

    #[test]
    fn the_point_held_out_is_not_seen() {
        // The model is the mean of the others; 1, 2, 6 are predicted as 4, 3.5, 1.5.
        let mean = |points: &[&f64]| Some(points.iter().copied().sum::<f64>() / points.len() as f64);
        let errors = held_out(&[1.0, 2.0, 6.0], mean, |m, p| m / p - 1.0).unwrap();
        assert_eq!(errors, [3.0, 0.75, -0.75]);
        let errors = summary(&errors).unwrap();
        assert_eq!((errors.mape, errors.max, errors.points), (1.5, 3.0, 3));
        assert!(held_out(&[1.0], |_: &[&f64]| None::<f64>, |_, _| 0.0).is_none());
    }
}
