//! What an engine's next requests pay because it has gone cold.

use std::sync::Arc;

use crate::kernel::SimDuration;

/// The extra time of the requests after a rest, to be taken one after the other.
#[derive(Clone, Debug, Default)]
pub struct Cooled {
    curve: Arc<[SimDuration]>,
    next: usize,
}

impl Cooled {
    /// The engine has gone cold: the curve begins anew, however far it had got.
    pub fn again(&mut self, curve: &Arc<[SimDuration]>) {
        self.curve = Arc::clone(curve);
        self.next = 0;
    }

    /// The extra time of the request that starts now.
    pub fn take(&mut self) -> SimDuration {
        let Some(penalty) = self.curve.get(self.next) else { return SimDuration::ZERO };
        self.next += 1;
        *penalty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_paid_once_a_rest() {
        let secs = |secs: u64| SimDuration::from_secs(secs);
        let mut cooled = Cooled::default();
        assert_eq!(cooled.take(), SimDuration::ZERO);
        let curve: Arc<[SimDuration]> = Arc::new([secs(3), secs(1)]);
        cooled.again(&curve);
        assert_eq!(cooled.take(), secs(3));
        cooled.again(&curve);
        assert_eq!([cooled.take(), cooled.take(), cooled.take()], [secs(3), secs(1), SimDuration::ZERO]);
    }
}
