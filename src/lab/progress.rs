//! The progress bar on stderr; nothing at all where that is no terminal.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::scenarios::Effort;

/// Drawn between processes, never while one measures, and by no thread of its own.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    /// When the run ends in any case.
    limit: Option<Duration>,
    scenarios: RefCell<Vec<Spent>>,
    /// The block that is under way: of which scenario, which, and since when.
    current: Cell<Option<(usize, usize, Instant)>>,
}

/// What a scenario may take, and has taken.
#[derive(Clone, Copy, Debug)]
struct Spent {
    effort: Effort,
    blocks: usize,
    time: Duration,
    over: bool,
}

impl Progress {
    pub(super) fn new(efforts: Vec<Effort>, limit: Option<Duration>) -> Progress {
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{wide_bar:.green} {percent:>3}%  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        let spent = |effort| Spent {
            effort,
            blocks: 0,
            time: Duration::ZERO,
            over: false,
        };
        Progress {
            bar,
            begun: Instant::now(),
            limit,
            scenarios: RefCell::new(efforts.into_iter().map(spent).collect()),
            current: Cell::new(None),
        }
    }

    /// A contender is about to be measured.
    pub(super) fn process(&self, scenario: usize, name: &str, block: usize, store: &str) {
        if self.bar.is_hidden() {
            return;
        }
        let since = match self.current.get() {
            Some((of, which, since)) if (of, which) == (scenario, block) => since,
            _ => Instant::now(),
        };
        self.current.set(Some((scenario, block, since)));
        let left = left(&self.scenarios.borrow(), Some((scenario, since.elapsed())));
        let done = self.begun.elapsed();
        let left = self
            .limit
            .map_or(left, |limit| left.min(limit.saturating_sub(done)));
        let message = format!("block {}, {name}, {store}; {} left", block + 1, clock(left));
        self.bar.set_message(message);
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.bar.set_length(milliseconds(done + left).max(1));
        self.bar.set_position(milliseconds(done));
    }

    /// A scenario has done so many blocks in so much time.
    pub(super) fn block(&self, scenario: usize, blocks: usize, time: Duration) {
        let spent = &mut self.scenarios.borrow_mut()[scenario];
        (spent.blocks, spent.time) = (blocks, time);
    }

    /// A scenario begins no more blocks.
    pub(super) fn done(&self, scenario: usize) {
        self.scenarios.borrow_mut()[scenario].over = true;
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What is left of a run, one of whose scenarios has been at a block for a while.
///
/// A scenario that has done blocks tells by them how many it will do. Of the others
/// nothing is known but their time; they are taken to need as much of it as the
/// known ones do of theirs.
fn left(scenarios: &[Spent], current: Option<(usize, Duration)>) -> Duration {
    let known = || scenarios.iter().filter(|spent| spent.blocks > 0);
    let needed: Duration = known().map(|spent| spent.time + spent.more()).sum();
    let allowed: Duration = known().map(|spent| spent.effort.budget).sum();
    let share = match allowed.as_secs_f64() {
        allowed if allowed > 0.0 => needed.as_secs_f64() / allowed,
        _ => 1.0,
    };
    let of = |(at, spent): (usize, &Spent)| {
        let all = if spent.blocks > 0 || spent.over {
            spent.more()
        } else {
            spent.effort.budget.mul_f64(share)
        };
        let gone = current.filter(|(scenario, _)| *scenario == at);
        all.saturating_sub(gone.map_or(Duration::ZERO, |(_, gone)| gone))
    };
    scenarios.iter().enumerate().map(of).sum()
}

impl Spent {
    /// What the blocks take that a scenario has not done yet, of one that has done
    /// some.
    fn more(&self) -> Duration {
        let done = u32::try_from(self.blocks).ok().filter(|done| *done > 0);
        let Some(done) = done.filter(|_| !self.over) else {
            return Duration::ZERO;
        };
        let each = self.time / done;
        // As the scenario decides itself, block by block.
        let more = (self.blocks..self.effort.blocks)
            .take_while(|&blocks| {
                let then = self.time + each * u32::try_from(blocks - self.blocks).unwrap_or(0);
                !self.effort.is_over(blocks, then)
            })
            .count();
        each * u32::try_from(more).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(effort: Effort) -> Spent {
        Spent {
            effort,
            blocks: 0,
            time: Duration::ZERO,
            over: false,
        }
    }

    #[test]
    fn what_is_left_follows_what_blocks_take() {
        let left = |blocks, seconds, gone| {
            let spent = Spent {
                blocks,
                time: Duration::from_secs(seconds),
                ..spent(Effort::new(20, 3, 60))
            };
            left(&[spent], Some((0, Duration::from_secs(gone)))).as_secs()
        };
        assert_eq!(left(0, 0, 0), 60);
        // Quick blocks: all twenty of them, before the time is up.
        assert_eq!(left(5, 5, 0), 15);
        // Slow ones: until the time is up.
        assert_eq!(left(2, 20, 0), 40);
        // The one that is under way has begun before.
        assert_eq!(left(2, 20, 7), 33);
        assert_eq!(left(3, 90, 1), 0);
    }

    /// A run as `run` does it, on a clock that only counts: what a block of each
    /// scenario takes, in seconds. Answers with pairs of what was said to be left,
    /// before each process, and when.
    fn simulated(scenarios: &[(Effort, f64)]) -> (Vec<(f64, f64)>, f64) {
        const PROCESSES: u32 = 13;
        let mut under_way: Vec<Spent> =
            scenarios.iter().map(|(effort, _)| spent(*effort)).collect();
        let (mut now, mut said) = (0.0, Vec::new());
        for block in 0.. {
            if under_way.iter().all(|own| own.over) {
                break;
            }
            for (at, (effort, takes)) in scenarios.iter().enumerate() {
                under_way[at].over |= effort.is_over(block, under_way[at].time);
                if under_way[at].over {
                    continue;
                }
                // Blocks differ by a fifth, and every seventh is repeated.
                let takes = takes * [1.0, 0.9, 1.1, 0.8, 1.2][(block * 3 + at) % 5];
                let takes = if block % 7 == 3 { takes * 2.0 } else { takes };
                for process in 0..PROCESSES {
                    let gone = takes * f64::from(process) / f64::from(PROCESSES);
                    let current = Some((at, Duration::from_secs_f64(gone)));
                    said.push((now + gone, left(&under_way, current).as_secs_f64()));
                }
                now += takes;
                under_way[at].time += Duration::from_secs_f64(takes);
                under_way[at].blocks = block + 1;
            }
        }
        (said, now)
    }

    #[test]
    fn what_is_said_to_be_left_is_right_within_a_third() {
        let runs: [&[(Effort, f64)]; 4] = [
            // Some end with their blocks, some with their time.
            &[
                (Effort::new(25, 7, 110), 6.0),
                (Effort::new(31, 9, 60), 3.0),
                (Effort::new(31, 7, 60), 1.2),
                (Effort::new(15, 7, 40), 2.5),
                (Effort::new(21, 7, 25), 0.9),
            ],
            // All end with their time.
            &[
                (Effort::new(99, 7, 110), 5.0),
                (Effort::new(99, 7, 60), 3.0),
            ],
            // All end long before it.
            &[
                (Effort::new(15, 7, 400), 5.0),
                (Effort::new(15, 7, 300), 3.0),
            ],
            &[(Effort::new(30, 3, 1_000), 5.0)],
        ];
        for run in runs {
            let (said, end) = simulated(run);
            // Before the first blocks nothing is known, and at the very end a third
            // of what is left is less than a process takes.
            let judged = said
                .iter()
                .filter(|(now, _)| (0.1..=0.9).contains(&(now / end)));
            for (now, said) in judged {
                let left = end - now;
                assert!(
                    (said - left).abs() <= left / 3.0,
                    "at {now:.0} of {end:.0} s: said {said:.0}, were {left:.0}"
                );
            }
        }
    }

    #[test]
    fn what_is_left_is_not_rounded_to_minutes() {
        let said = [0, 9, 90, 3_661].map(|seconds| clock(Duration::from_secs(seconds)));
        assert_eq!(said, ["0:00", "0:09", "1:30", "61:01"]);
    }

    #[test]
    fn a_run_of_which_nothing_is_known_takes_its_time() {
        let efforts = [Effort::new(9, 3, 40), Effort::new(9, 3, 20)].map(spent);
        assert_eq!(left(&efforts, None), Duration::from_secs(60));
    }
}
