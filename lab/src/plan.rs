//! How long a run measures what: fixed before it, and printed with its results.

use std::time::Duration;

use minijinja::context;

use crate::fault::Fault;
use crate::judge::BUSY;
use crate::output::templates;
use crate::scenario::{Cell, Effort, Orchestration, QUIET, Scenario};

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

/// Of a life whose stores take long to open, so many times the rounds.
const MANY: usize = 3;

/// Rounds of a life of few processes, and of any while a run is behind its time.
const FEW_ROUNDS: usize = 2;

/// In a turn, a reference that goes on for its noise floor alone gets so many lives.
pub(crate) const FLOORS: usize = 3;

/// After the lives that everybody gets, one of so many turns is for the tables as well.
pub(crate) const TABLES: usize = 12;

/// A slice of an open loop is so many times as long, since its tail shows only in many operations,
/// and one of bursts, since a burst takes a part of a slice.
const LONG: u32 = 4;

/// A life of at most so many processes is cheap: another one tells more than more of its rounds.
pub(crate) const FEW: usize = 4;

impl Plan {
    /// The plan of an effort.
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

    /// How long a slice of a cell is.
    pub fn slice(&self, cell: &Cell) -> Duration {
        match cell.orchestration {
            Orchestration::OpenLoop { .. } | Orchestration::Burst { .. } => self.slice * LONG,
            _ => self.slice,
        }
    }

    /// Rounds of a life of a cell whose contenders took so long to open: as many as take
    /// about that long, too, so that starting is at most half of the time; few where another
    /// life is cheap, and where the run is behind its time.
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

    /// Whether so many lives are fewer than should be over by now, of those that all `cells`
    /// get in any case.
    pub(crate) fn is_behind(&self, elapsed: Duration, lives: usize, cells: usize) -> bool {
        let due = elapsed.as_secs_f64() / self.budget.as_secs_f64() * (self.lives * cells) as f64;
        lives > 0 && (lives as f64) < due
    }

    /// What is fixed before a run, as sentences for the report.
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

/// How much more than usually a slice may lose to others, as a part of its processor time.
pub(crate) const DROP: f64 = 0.1;

/// After so many slices it is known what others usually take.
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
