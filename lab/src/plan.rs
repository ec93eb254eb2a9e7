//! How long a run measures what: fixed before it, and printed with its results.

use std::time::Duration;

use crate::scenario::{Cell, Effort, Orchestration};

/// How much a run takes upon itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// No life begins that would end later.
    pub budget: Duration,
    /// Lives that every contender of every cell gets before any gets more.
    pub lives: usize,
    /// Lives that nobody exceeds.
    pub most: usize,
    /// Rounds of a life, unless opening the stores takes longer than these.
    pub rounds: usize,
    /// How long a slice is.
    pub slice: Duration,
    /// How wide half of the interval of a ratio to the reference may be, as a factor, where
    /// no question asks for more.
    pub narrow: f64,
}

/// Rounds of a life whose stores take long to open.
const MANY_ROUNDS: usize = 12;

/// Up to which noise floor a cell is quiet enough.
pub(crate) const QUIET: f64 = 1.04;

/// A slice of an open loop is so many times as long: its tail shows only in many operations.
const OPEN_LOOP: u32 = 4;

impl Plan {
    /// The plan of an effort.
    pub fn of(effort: Effort) -> Plan {
        let (seconds, lives, most, rounds, millis, narrow) = match effort {
            Effort::Smoke => (60, 1, 1, 2, 2, f64::INFINITY),
            Effort::Quick => (52, 4, 100, 3, 10, 1.10),
            Effort::Default => (570, 6, 60, 4, 15, 1.05),
            Effort::Full => (3_450, 10, 60, 4, 30, 1.03),
        };
        Plan {
            budget: Duration::from_secs(seconds),
            lives,
            most,
            rounds,
            slice: Duration::from_millis(millis),
            narrow,
        }
    }

    /// How long a slice of a cell is.
    pub fn slice(&self, cell: &Cell) -> Duration {
        match cell.orchestration {
            Orchestration::OpenLoop { .. } => self.slice * OPEN_LOOP,
            _ => self.slice,
        }
    }

    /// Rounds of a life of a cell whose contenders took so long to open: as many as take
    /// about that long, too, so that starting is at most half of the time.
    pub(crate) fn rounds(&self, opening: Duration, contenders: usize, slice: Duration) -> usize {
        let round = slice.as_secs_f64() * contenders.max(1) as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped next
        let worth = (opening.as_secs_f64() / round.max(1e-6)).ceil() as usize;
        worth.clamp(self.rounds, self.rounds.max(MANY_ROUNDS))
    }

    /// What is fixed, as sentences for the report.
    pub fn rules(&self) -> Vec<String> {
        let slice = self.slice.as_millis();
        vec![
            format!(
                "All contenders of a cell are alive at once, each in a process of its own, opened \
                 and warmed by a slice that does not count. A round is one slice of {slice} ms \
                 for each of them, one after the other in random order; the reference runs in two \
                 processes. Slices of an open loop are {OPEN_LOOP} times as long, and its \
                 percentiles are those of all slices of a life, one figure a life."
            ),
            format!(
                "A life of a cell has {} rounds, or up to {MANY_ROUNDS} where opening the stores takes \
                 longer than those; then all processes are replaced. The cells take turns in \
                 random order, a life each, so that all of them meet the same hours. What is counted \
                 (bytes, instructions, allocations) has no noise, and is measured once.",
                self.rounds
            ),
            format!(
                "A slice is dropped where other programs and the host took {} % more of its processor \
                 time than they usually (in the median) took of that contender in that cell. What \
                 they took is steal, and the time in which its threads waited for a processor \
                 while the processors did not work for it (/proc). Nothing that was measured is \
                 looked at. Open loops keep all slices.",
                DROP * 100.0
            ),
            format!(
                "Every cell gets {} lives. After these a contender goes on only in cells that need \
                 it: where a question is undecided, the best store and those not told from it; in \
                 every second turn also those whose interval next to the reference is wider \
                 than {} % to a side, and the reference where it is farther than {:.0} % from itself. \
                 The run ends when nobody is needed, after {} lives, or when the next life would \
                 not end within {} s.",
                self.lives,
                match self.narrow {
                    narrow if narrow.is_finite() => format!("{:.0}", (narrow - 1.0) * 100.0),
                    _ => "any".into(),
                },
                (QUIET - 1.0) * 100.0,
                self.most,
                self.budget.as_secs()
            ),
        ]
    }
}

/// How much more than usually a slice may lose to others, as a part of its processor time.
pub(crate) const DROP: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_take_long_to_open_get_more_rounds() {
        let plan = Plan::of(Effort::Quick);
        let rounds = |millis| plan.rounds(Duration::from_millis(millis), 8, plan.slice);
        assert_eq!(
            [rounds(20), rounds(400), rounds(60_000)],
            [3, 5, MANY_ROUNDS]
        );
        assert_eq!(plan.rounds(Duration::ZERO, 0, Duration::ZERO), 3);
    }
}
