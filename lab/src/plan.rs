//! How long a run measures each cell: fixed before it, and printed with its results.

use std::time::Duration;

use minijinja::context;

use crate::fault::Fault;
use crate::judge::BUSY;
use crate::output::templates;
use crate::scenario::{Cell, Effort, Orchestration, QUIET, Scenario};

/// The limits of an effort.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The time limit: no life begins that would end later.
    pub budget: Duration,
    /// The lives that every contender of every cell gets before any gets more.
    pub lives: usize,
    /// The maximum number of lives.
    pub most: usize,
    /// The rounds of a life, unless opening the stores takes longer than these.
    pub rounds: usize,
    /// How long a slice is.
    pub slice: Duration,
    /// The target for half of the interval of a ratio to the reference, as a factor, unless a
    /// question asks for more.
    pub narrow: f64,
}

/// The factor for the rounds of a life whose stores take long to open.
const MANY: usize = 3;

/// The rounds of a life of few processes, and of any life while a run is behind its time.
const FEW_ROUNDS: usize = 2;

/// The lives per turn of a reference that continues only for its noise floor.
pub(crate) const FLOORS: usize = 3;

/// After the guaranteed lives, one of this many turns is for the tables as well.
pub(crate) const TABLES: usize = 12;

/// The factor for the slices of an open loop, whose tail shows only in many operations, and of
/// bursts, since a burst takes a part of a slice.
const LONG: u32 = 4;

/// A life of at most this many processes is cheap: a further life tells more than further rounds.
pub(crate) const FEW: usize = 4;

impl Plan {
    /// Returns the plan of an effort.
    pub fn of(effort: Effort) -> Plan {
        let (seconds, lives, most, rounds, millis, narrow) = match effort {
            Effort::Smoke => (60, 1, 1, 2, 2, f64::INFINITY),
            Effort::Quick => (54, 2, 100, 3, 10, 1.10),
            Effort::Default => (570, 2, 100, 4, 15, 1.05),
            Effort::Full => (3_450, 4, 100, 4, 30, 1.03),
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

    /// Returns the length of a slice of a cell.
    pub fn slice(&self, cell: &Cell) -> Duration {
        match cell.orchestration {
            Orchestration::OpenLoop { .. } | Orchestration::Burst { .. } => self.slice * LONG,
            _ => self.slice,
        }
    }

    /// Returns the rounds of a life of a cell whose contenders took this long to open: as many as
    /// take about the same time, so that starting is at most half of it; few if another life is
    /// cheap, or if the run is behind its time.
    pub(crate) fn rounds(
        &self,
        is_cheap: bool,
        opening: Duration,
        round: Duration,
        is_behind: bool,
    ) -> usize {
        if is_behind {
            return FEW_ROUNDS.min(self.rounds);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped next
        let worth = (opening.as_secs_f64() / round.as_secs_f64().max(1e-6)).ceil() as usize;
        let least = if is_cheap { FEW_ROUNDS.min(self.rounds) } else { self.rounds };
        worth.clamp(least, self.rounds * MANY)
    }

    /// Returns whether this many lives are fewer than should be done by now, of the guaranteed
    /// lives of all `cells`.
    pub(crate) fn is_behind(&self, elapsed: Duration, lives: usize, cells: usize) -> bool {
        let due = elapsed.as_secs_f64() / self.budget.as_secs_f64() * (self.lives * cells) as f64;
        lives > 0 && (lives as f64) < due
    }

    /// Returns the fixed rules of a run, as sentences for the report.
    pub(crate) fn rules(&self, scenarios: &[Scenario]) -> Result<Vec<String>, Fault> {
        let percent = |factor: f64| format!("{:.0}", (factor - 1.0) * 100.0);
        let quieter = scenarios.iter().filter(|own| own.quiet < QUIET);
        let quieter = quieter.map(|own| format!("{} % in {}", percent(own.quiet), own.name));
        let rules = templates::render(
            "rules.txt",
            context! {
                LONG, FEW, FEW_ROUNDS, FLOORS, TABLES, USUAL,
                slice => self.slice.as_millis(),
                rounds => self.rounds,
                most_rounds => self.rounds * MANY,
                drop => DROP * 100.0,
                busy => BUSY * 100.0,
                lives => self.lives,
                most_lives => self.most,
                quiet => percent(QUIET),
                quieter => quieter.collect::<Vec<_>>(),
                narrow => if self.narrow.is_finite() { percent(self.narrow) } else { "any".into() },
                budget => self.budget.as_secs(),
            },
        );
        Ok(rules?.lines().map(String::from).collect())
    }
}

/// How much more than usual a slice may lose to others, as a part of its processor time.
pub(crate) const DROP: f64 = 0.1;

/// After this many slices, the usual loss is known.
pub(crate) const USUAL: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_take_long_to_open_get_more_rounds_unless_time_is_short() {
        let plan = Plan::of(Effort::Quick);
        let round = Duration::from_millis(80);
        let rounds = |millis, late| plan.rounds(false, Duration::from_millis(millis), round, late);
        assert_eq!([rounds(20, false), rounds(400, false), rounds(60_000, false)], [3, 5, 9]);
        assert_eq!(rounds(60_000, true), FEW_ROUNDS);
        assert_eq!(plan.rounds(true, Duration::ZERO, round, false), FEW_ROUNDS);
        let half = plan.budget / 2;
        assert!(plan.is_behind(half, 19, 20) && !plan.is_behind(half, 21, 20));
    }
}
