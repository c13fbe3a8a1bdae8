//! Where labels of points go, so that they cover neither each other nor the points.

/// Half the side of the square that a point takes.
const POINT: f64 = 7.0;
/// From a point to the label beside it.
const GAP: f64 = 10.0;
/// Labels are moved up and down by this much of their height.
const STEP: f64 = 0.5;
/// How often, to either side.
const STEPS: i32 = 24;

/// A box, with its corners.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn lies_in(&self, other: &Self) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}

/// The middle of the left edge of each label, given each point, the width and height of each label, and the corners of what
/// there is room for, all in pixels; `lines`, level or upright, are not covered either. The nearest free place, first on the
/// right; beside its point where there is none.
pub(super) fn place(
    points: &[(f64, f64)],
    sizes: &[(f64, f64)],
    lines: &[[(f64, f64); 2]],
    (from, to): ((f64, f64), (f64, f64)),
) -> Vec<(f64, f64)> {
    let room = Area { left: from.0, top: from.1, right: to.0, bottom: to.1 };
    let around = |[(x, y), (to_x, to_y)]: [(f64, f64); 2], margin: f64| Area {
        left: x.min(to_x) - margin,
        top: y.min(to_y) - margin,
        right: x.max(to_x) + margin,
        bottom: y.max(to_y) + margin,
    };
    let dots = points.iter().map(|point| around([*point; 2], POINT));
    let mut taken: Vec<Area> = dots.chain(lines.iter().map(|line| around(*line, 1.0))).collect();
    let mut placed = Vec::with_capacity(points.len());
    for (&(x, y), &(width, height)) in points.iter().zip(sizes) {
        let at = |left: f64, step: i32| {
            let middle = y + f64::from(step) * STEP * height;
            Area { left, top: middle - height / 2.0, right: left + width, bottom: middle + height / 2.0 }
        };
        let mut candidates = (0..=STEPS).flat_map(|step| [-step, step]).flat_map(|step| {
            // Above and below a point a label may stand over it.
            [x + GAP, x - GAP - width, x - width / 2.0].map(|left| at(left, step))
        });
        let is_free = |area: &Area| area.lies_in(&room) && !taken.iter().any(|other| area.overlaps(other));
        let own = candidates.find(is_free).unwrap_or_else(|| at(x + GAP, 0));
        placed.push((own.left, f64::midpoint(own.top, own.bottom)));
        taken.push(own);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: ((f64, f64), (f64, f64)) = ((0.0, 0.0), (400.0, 300.0));
    const SIZE: (f64, f64) = (100.0, 28.0);

    fn boxes(points: &[(f64, f64)]) -> Vec<Area> {
        let placed = place(points, &vec![SIZE; points.len()], &[], ROOM);
        let area = |(x, y): (f64, f64)| Area {
            left: x,
            top: y - SIZE.1 / 2.0,
            right: x + SIZE.0,
            bottom: y + SIZE.1 / 2.0,
        };
        placed.into_iter().map(area).collect()
    }

    #[test]
    fn alone_on_the_right_and_at_the_edge_on_the_left() {
        assert_eq!(place(&[(50.0, 100.0)], &[SIZE], &[], ROOM), [(60.0, 100.0)]);
        assert_eq!(place(&[(380.0, 100.0)], &[SIZE], &[], ROOM), [(270.0, 100.0)]);
    }

    #[test]
    fn eight_at_one_spot_do_not_cover_each_other_or_it() {
        let points: Vec<(f64, f64)> = (0..8).map(|i| (200.0 + f64::from(i), 150.0)).collect();
        let labels = boxes(&points);
        for (index, one) in labels.iter().enumerate() {
            assert!(labels[..index].iter().all(|other| !one.overlaps(other)), "{index}: {one:?}");
            let (x, y) = points[index];
            let spot = Area { left: x, top: y, right: x + 1e-9, bottom: y + 1e-9 };
            assert!(!labels.iter().any(|label| label.overlaps(&spot)), "{index} is covered");
        }
    }

    #[test]
    fn above_a_line_that_goes_through_its_point() {
        let line = [(20.0, 100.0), (200.0, 100.0)];
        assert_eq!(place(&[(50.0, 100.0)], &[SIZE], &[line], ROOM), [(60.0, 72.0)]);
    }

    #[test]
    fn without_room_beside_its_point() {
        assert_eq!(place(&[(50.0, 100.0)], &[(500.0, 28.0)], &[], ROOM), [(60.0, 100.0)]);
    }
}
