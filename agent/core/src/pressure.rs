//! What an agent gives up, and in which order, as its memory nears the limit it was given.
//!
//! A machine without a clock: it is told how much is resident and says what is to be done differently. What was given
//! up comes back only when memory has fallen clearly below the mark that took it, so nothing flaps. Measuring and
//! doing are the daemon's.

/// What is given up. Each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Answers that are kept to be quicker, or for the time without servers: all can be made or asked for again.
    Kept,
    /// Blocking queries: they are what thousands of idle connections cost. Clients ask again.
    Waiting,
    /// Every request that is not about this agent itself. Checks, DNS, gossip and Raft go on.
    Requests,
}

/// The levels, and at what share of the limit each begins, in percent.
const MARKS: [(Level, u64); 3] = [(Level::Kept, 75), (Level::Waiting, 85), (Level::Requests, 95)];

/// How far below its mark memory must be for a level to end, in percent of the limit.
const RELIEF: u64 = 5;

/// An agent's memory under its limit.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    limit_bytes: u64,
    level: Level,
}

impl Pressure {
    /// Nothing is given up yet of what may take `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Pressure { limit_bytes, level: Level::None }
    }

    /// What is given up.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes how much is resident now, in bytes. Returns the level where it is another one from now on.
    pub fn step(&mut self, resident_bytes: u64) -> Option<Level> {
        let share = resident_bytes.saturating_mul(100) / self.limit_bytes.max(1);
        let holds = |(level, mark): &(Level, u64)| {
            let relief = if *level <= self.level { RELIEF } else { 0 };
            share + relief >= *mark
        };
        let level = MARKS.iter().rfind(|mark| holds(mark)).map_or(Level::None, |(level, _)| *level);
        (level != std::mem::replace(&mut self.level, level)).then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_given_up_the_nearer_the_limit_comes_and_taken_back_with_a_margin() {
        let mut pressure = Pressure::new(1000);
        let told: Vec<Option<Level>> =
            [100, 749, 750, 710, 860, 955, 905, 899, 860, 799, 702, 699].map(|bytes| pressure.step(bytes)).into();
        use Level::{Kept, None as Nothing, Requests, Waiting};
        let expected = [
            None,
            None,
            Some(Kept),
            None,
            Some(Waiting),
            Some(Requests),
            None,
            Some(Waiting),
            None,
            Some(Kept),
            None,
            Some(Nothing),
        ];
        assert_eq!(told, expected);
        assert_eq!(pressure.level(), Nothing);
    }

    #[test]
    fn no_figure_is_too_large() {
        assert_eq!(Pressure::new(0).step(u64::MAX), Some(Level::Requests));
        assert_eq!(Pressure::new(u64::MAX).step(1), None);
    }
}
