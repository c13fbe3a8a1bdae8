//! How lines and points of policies are told apart: by colour, and where the colours are used up also by dashes and by the shape of
//! the points.

use super::canvas::{Canvas, Colour, LINES};

/// The dashes of one round of colours: pixels drawn, pixels left out; none for a whole line.
const DASHES: [Option<(f64, f64)>; 3] = [None, Some((9.0, 4.0)), Some((2.5, 3.0))];
/// Half the width of a point, pixels.
const POINT: f64 = 5.0;

/// The look of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) colour: Colour,
    round: usize,
}

impl Look {
    /// That of the policy with this place in the order.
    pub(super) const fn of(index: usize) -> Self {
        Self { colour: LINES[index % LINES.len()], round: index / LINES.len() % DASHES.len() }
    }

    /// A line of the policy.
    pub(super) fn line(self, canvas: &mut Canvas, points: Vec<(f64, f64)>, width: u32) {
        match DASHES[self.round] {
            None => canvas.line(points, self.colour, width),
            Some(dashes) => canvas.dashes(&points, self.colour, width, dashes),
        }
    }

    /// A point of the policy: a dot, a square or a diamond.
    pub(super) fn point(self, canvas: &mut Canvas, (x, y): (f64, f64)) {
        match self.round {
            0 => canvas.dot((x, y), POINT as u32, self.colour),
            1 => canvas.block((x - POINT, y - POINT), (x + POINT, y + POINT), self.colour, 1.0),
            _ => {
                let far = POINT + 1.5;
                let corners = vec![(x - far, y), (x, y - far), (x + far, y), (x, y + far)];
                canvas.area(corners, self.colour, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_dozen_differ() {
        let looks: Vec<Look> = (0..24).map(Look::of).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "{index}");
        }
    }

    #[test]
    fn dashes_go_on_around_corners() {
        let mut canvas = Canvas::new(40, 40, "");
        canvas.dashes(&[(0.0, 0.0), (5.0, 0.0), (5.0, 20.0)], LINES[0], 1, (8.0, 4.0));
        let svg = canvas.svg(false).unwrap();
        assert!(svg.contains("points=\"0,0 5,0 5,3 \"") && svg.contains("points=\"5,7 5,15 \""), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 3, "the last one is cut short: {svg}");
    }
}
