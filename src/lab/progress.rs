//! The progress bar on stderr; nothing at all where that is no terminal.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::scenarios::Effort;

/// Drawn between processes, never while one measures, and by no thread of its own.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    scenarios: RefCell<Vec<Spent>>,
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
    pub(super) fn new(efforts: Vec<Effort>) -> Progress {
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
            scenarios: RefCell::new(efforts.into_iter().map(spent).collect()),
        }
    }

    /// A contender is about to be measured.
    pub(super) fn process(&self, _scenario: usize, name: &str, block: usize, store: &str) {
        if self.bar.is_hidden() {
            return;
        }
        let (done, left) = (self.begun.elapsed(), self.left());
        let whole = HumanDuration(Duration::from_secs(left.as_secs()));
        let message = format!("block {}, {name}, {store}; {whole:#} left", block + 1);
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

    fn left(&self) -> Duration {
        self.scenarios.borrow().iter().map(Spent::left).sum()
    }
}

impl Spent {
    /// A scenario takes its time, or as long as its blocks take, whichever is
    /// less; one that has done no block yet is taken to need its time.
    fn left(&self) -> Duration {
        if self.over {
            return Duration::ZERO;
        }
        let Some(done) = u32::try_from(self.blocks).ok().filter(|done| *done > 0) else {
            return self.effort.budget;
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

    #[test]
    fn what_is_left_follows_what_blocks_take() {
        let spent = |blocks, seconds| Spent {
            effort: Effort::new(20, 3, 60),
            blocks,
            time: Duration::from_secs(seconds),
            over: false,
        };
        assert_eq!(spent(0, 0).left(), Duration::from_secs(60));
        // Quick blocks: all twenty of them, before the time is up.
        assert_eq!(spent(5, 5).left(), Duration::from_secs(15));
        // Slow ones: until the time is up.
        assert_eq!(spent(2, 20).left(), Duration::from_secs(40));
        assert_eq!(spent(3, 90).left(), Duration::ZERO);
    }
}
