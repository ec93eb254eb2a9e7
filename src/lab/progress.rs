//! The progress bar on stderr; nothing at all where that is no terminal.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::scenarios::Effort;

/// Drawn between samples, never while a clock runs, and by no thread of its own.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    efforts: Vec<Effort>,
    begun: Instant,
    scenario: Cell<usize>,
    scenario_begun: Cell<Instant>,
    rounds_done: Cell<usize>,
    what: RefCell<String>,
}

impl Progress {
    pub(super) fn new(efforts: Vec<Effort>) -> Progress {
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{wide_bar:.green} {percent:>3}%  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Progress {
            bar,
            efforts,
            begun: Instant::now(),
            scenario: Cell::new(0),
            scenario_begun: Cell::new(Instant::now()),
            rounds_done: Cell::new(0),
            what: RefCell::default(),
        }
    }

    /// A round begins.
    pub(super) fn round(&self, scenario: usize, name: &str, round: usize) {
        if round == 0 {
            self.scenario.set(scenario);
            self.scenario_begun.set(Instant::now());
        }
        self.rounds_done.set(round);
        *self.what.borrow_mut() = match round {
            0 => format!("{name}, rehearsal"),
            round => format!("{name}, round {round}"),
        };
        self.tick();
    }

    /// A sample has been taken.
    pub(super) fn tick(&self) {
        if self.bar.is_hidden() {
            return;
        }
        let (done, left) = (self.begun.elapsed(), self.left());
        let whole = HumanDuration(Duration::from_secs(left.as_secs()));
        let message = format!("{}; {whole:#} left", self.what.borrow());
        self.bar.set_message(message);
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.bar.set_length(milliseconds(done + left).max(1));
        self.bar.set_position(milliseconds(done));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// A scenario takes its time, or as long as its rounds take, whichever is
    /// less; one that has not begun is taken to need its time.
    fn left(&self) -> Duration {
        let later = self.efforts.iter().skip(self.scenario.get() + 1);
        let later: Duration = later.map(|effort| effort.budget).sum();
        let Some(effort) = self.efforts.get(self.scenario.get()) else {
            return later;
        };
        let gone = self.scenario_begun.get().elapsed();
        let rounds_done = u32::try_from(self.rounds_done.get()).unwrap_or(u32::MAX);
        let total = match rounds_done {
            0 => effort.budget,
            done => {
                let rounds = |n: usize| gone * u32::try_from(n + 1).unwrap_or(u32::MAX) / done;
                let longest = effort.budget.max(rounds(effort.at_least));
                rounds(effort.rounds).min(longest)
            }
        };
        later + total.saturating_sub(gone)
    }
}
