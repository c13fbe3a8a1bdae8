//! Forecasts that wait for their time.

/// The last values of a series, as many as a horizon has steps: what goes in comes out so many steps later.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    values: Vec<f64>,
    steps: usize,
    next: usize,
}

impl Ring {
    /// For so many steps, 1 at least.
    pub fn new(steps: u32) -> Self {
        Self { values: Vec::new(), steps: steps.max(1) as usize, next: 0 }
    }

    /// What went in so many steps ago; `None` where nothing did.
    pub fn due(&self) -> Option<f64> {
        (self.values.len() == self.steps).then(|| self.values[self.next])
    }

    /// One more, in the place of what was due.
    pub fn push(&mut self, value: f64) {
        if self.values.len() < self.steps {
            self.values.push(value);
            return;
        }
        self.values[self.next] = value;
        self.next = if self.next + 1 == self.steps { 0 } else { self.next + 1 };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "what is exact is claimed to be")]

    use super::*;

    #[test]
    fn what_goes_in_comes_out_so_many_steps_later() {
        for steps in [1_u32, 2, 5] {
            let mut ring = Ring::new(steps);
            for t in 0..20_u32 {
                assert_eq!(ring.due(), t.checked_sub(steps).map(f64::from), "{steps} {t}");
                ring.push(f64::from(t));
            }
        }
        assert_eq!(Ring::new(0).due(), None);
    }
}
