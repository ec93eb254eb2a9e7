//! The progress of a run, on standard error; prints nothing if that is no terminal.

use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar. It is drawn between slices, never during one, and has no thread of its own.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    budget: Duration,
}

impl Progress {
    /// Creates a bar for a run that takes at most `budget`.
    pub fn new(budget: Duration) -> Progress {
        let bar = ProgressBar::with_draw_target(
            Some(budget.as_secs().max(1)),
            ProgressDrawTarget::stderr_with_hz(4),
        );
        let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Progress { bar, begun: Instant::now(), budget }
    }

    /// Shows what comes next, such as `burst-30x100, 95/5, life 12`, and the time left.
    pub fn at(&self, what: &str) {
        if self.bar.is_hidden() {
            return;
        }
        let done = self.begun.elapsed();
        let left = self.budget.saturating_sub(done);
        self.bar.set_length((done + left).as_secs().max(1));
        self.bar.set_position(done.as_secs());
        self.bar.set_message(format!("{what}; {} left", FormattedDuration(left)));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
