//! Cooldown as the controller codes it (`podautoscaler_controller.go` `stabilizeRecommendation`): up, the highest
//! recommendation within the window counts; down, the *lowest*. The HPA does the opposite, so this one does not hold a
//! scale-down back but repeats it.

use std::collections::VecDeque;

use crate::kernel::{SimDuration, SimTime};

/// The recommendations that may still count.
#[derive(Clone, Debug, PartialEq)]
pub struct Cooldown {
    up: SimDuration,
    down: SimDuration,
    history: VecDeque<(SimTime, u32)>,
}

impl Cooldown {
    /// With the windows `scale-up-cooldown-window` and `scale-down-cooldown-window`.
    pub fn new(up: SimDuration, down: SimDuration) -> Self {
        Self { up, down, history: VecDeque::new() }
    }

    /// What becomes of a recommendation.
    pub fn apply(&mut self, now: SimTime, recommended: u32, current: u32) -> u32 {
        self.history.push_back((now, recommended));
        let longest = self.up.max(self.down);
        while self.history.front().is_some_and(|(at, _)| *at + longest <= now) {
            self.history.pop_front();
        }
        let within = |window: SimDuration| {
            self.history.iter().filter(move |(at, _)| *at + window > now).map(|(_, replicas)| *replicas)
        };
        match recommended.cmp(&current) {
            std::cmp::Ordering::Equal => current,
            std::cmp::Ordering::Greater => within(self.up).max().unwrap_or(recommended),
            std::cmp::Ordering::Less => within(self.down).min().unwrap_or(recommended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_takes_the_lowest_and_up_the_highest() {
        let seconds = SimDuration::from_secs;
        let mut own = Cooldown::new(seconds(0), seconds(300));
        let mut at = |now_s, recommended, current| own.apply(SimTime::from_secs(now_s), recommended, current);
        assert_eq!(at(0, 2, 8), 2);
        assert_eq!(at(10, 7, 8), 2);
        assert_eq!(at(20, 9, 8), 9);
        assert_eq!(at(30, 8, 8), 8);
        // The 2 of 0 s is 300 s old, and no longer within.
        assert_eq!(at(299, 7, 8), 2);
        assert_eq!(at(300, 7, 8), 7);
        let mut slow = Cooldown::new(seconds(60), seconds(0));
        let mut at =
            |now_s, recommended, current| slow.apply(SimTime::from_secs(now_s), recommended, current);
        assert_eq!((at(0, 9, 2), at(30, 4, 2), at(60, 4, 2)), (9, 9, 4));
    }
}
