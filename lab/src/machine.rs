//! What others took of the processors while somebody measured.
//!
//! Thirty threads on two processors wait for each other by design, so that waiting alone
//! says nothing. What was lost to others is the time in which threads of the process
//! waited for a processor, as far as the processors did not work for the process itself:
//! never more than the time that its own work left of them, and nothing while its threads
//! slept. What the host took ("steal") comes on top.
//!
//! Threads that queue for a lock are woken onto processors that others of their own hold, so
//! that many of them wait even on a quiet machine. What other programs took cannot be more than
//! they ran; that is known in hundredths of a second only, and so over many slices.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::seat;

/// What a process and the host had used up to some moment, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    at: Instant,
    /// Of processors, by all threads that are there.
    ran: u64,
    /// In which they were to run, and waited.
    waited: u64,
    /// Of processors, by everybody.
    busy: u64,
    /// By the host, of all processors.
    stolen: u64,
}

impl Used {
    /// What a process has used; `None` where the system does not tell. O(threads).
    pub(crate) fn by(process: u32) -> Option<Used> {
        let (mut ran, mut waited) = (0, 0);
        for task in fs::read_dir(format!("/proc/{process}/task")).ok()? {
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else {
                continue;
            };
            let mut numbers = text.split_whitespace().map(str::parse::<u64>);
            ran += numbers.next()?.ok()?;
            waited += numbers.next()?.ok()?;
        }
        let (busy, stolen) = all(&fs::read_to_string("/proc/stat").ok()?)?;
        Some(Used { at: Instant::now(), ran, waited, busy, stolen })
    }

    /// Of what `threads` could have had of `processors` since, which part was lost to others,
    /// from 0 to 1; and which part others ran at most, with the host: of one slice that is a
    /// guess, and may be less than nothing.
    pub(crate) fn lost_until(&self, end: &Used, threads: usize, processors: usize) -> [f64; 2] {
        let own = threads.min(processors).max(1) as f64;
        let length = ((end.at - self.at).as_nanos() as f64 * own).max(1.0);
        let since = |end: u64, begin: u64| end.saturating_sub(begin) as f64;
        let ran = since(end.ran, self.ran);
        let waited = since(end.waited, self.waited).min((length - ran).max(0.0));
        // Of all processors; how many of ours is not known.
        let stolen = since(end.stolen, self.stolen) * own / processors.max(1) as f64;
        let others = since(end.busy, self.busy) - ran + since(end.stolen, self.stolen);
        [((waited + stolen) / length).min(1.0), others / length]
    }
}

/// What everybody ran, and what the host took, of all processors: in nanoseconds, from numbers
/// of the first line in hundredths of a second.
fn all(stat: &str) -> Option<(u64, u64)> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = numbers.map_while(|own| own.parse().ok()).collect();
    let [user, nice, system, _idle, _waits, interrupts, soft, stolen, ..] = ticks[..] else {
        return None;
    };
    let busy = user + nice + system + interrupts + soft;
    Some((busy * 10_000_000, stolen * 10_000_000))
}

/// Threads that can run at once.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Which processors others leave alone: those who measure sit there first.
#[derive(Debug)]
pub(crate) struct Quiet(Vec<(usize, f64)>);

impl Quiet {
    /// How long somebody works on a processor to see whether it is there for others.
    const LOOK: Duration = Duration::from_millis(2);

    /// How much of what is known the next look changes.
    const NEW: f64 = 0.25;

    /// Looks at the processors that this process may use. 20 ms for each.
    pub(crate) fn new() -> Quiet {
        let mut quiet = Quiet(seat::usable().into_iter().map(|cpu| (cpu, 0.0)).collect());
        (0..10).for_each(|_| quiet.look());
        quiet
    }

    /// Works on each processor for a moment, and takes down what others took of it. Where the
    /// system does not tell, nothing is known.
    pub(crate) fn look(&mut self) {
        for (cpu, lost) in &mut self.0 {
            let cpu = *cpu;
            let look = move || {
                seat::take(cpu);
                let begun = Instant::now();
                while begun.elapsed() < Quiet::LOOK {}
                // Also until it was let onto this processor.
                let waited = waited()? as f64;
                Some(waited / (waited + Quiet::LOOK.as_nanos() as f64))
            };
            // A thread of its own: a child sits where the one who started it does.
            let found = thread::Builder::new().spawn(look).ok().and_then(|own| own.join().ok());
            if let Some(found) = found.flatten() {
                *lost += Quiet::NEW * (found - *lost);
            }
        }
    }

    /// The processors, the quietest first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order = self.0.clone();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        order.into_iter().map(|(cpu, _)| cpu).collect()
    }
}

/// For how long the calling thread has waited for a processor so far, in nanoseconds.
fn waited() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_everybody_ran_and_the_host_took_is_read() {
        let stat = "cpu  100 5 50 800 20 1 4 20 7 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(all(stat), Some((1_600_000_000, 200_000_000)));
        assert_eq!([all("cpu 1 2\n"), all("")], [None, None]);
    }

    /// Ten milliseconds in which a process ran and waited for so many, and others ran for five.
    fn lost_and_run(ran: u64, waited: u64, stolen: u64, threads: usize) -> [f64; 2] {
        let begin = Used { at: Instant::now(), ran: 0, waited: 0, busy: 0, stolen: 0 };
        let [ran, waited, stolen] = [ran, waited, stolen].map(|millis| millis * 1_000_000);
        let at = begin.at + Duration::from_millis(10);
        let end = Used { at, ran, waited, busy: ran + 5_000_000, stolen };
        begin.lost_until(&end, threads, 2).map(|part| (part * 100.0).round() / 100.0)
    }

    fn lost(ran: u64, waited: u64, stolen: u64, threads: usize) -> f64 {
        lost_and_run(ran, waited, stolen, threads)[0]
    }

    #[test]
    fn threads_that_wait_for_each_other_lose_nothing_to_others() {
        // Thirty threads that have both processors, and wait by design.
        assert_eq!(lost(20, 280, 0, 30), 0.0);
        // The same beside another program that has a third of one of them.
        assert_eq!(lost(17, 283, 0, 30), 0.15);
        // Threads that sleep at a lock leave time to nobody's harm.
        assert_eq!(lost(9, 0, 0, 8), 0.0);
        // A thread alone that ran for half of the time, and waited for the other half.
        assert_eq!(lost(5, 5, 0, 1), 0.5);
        // Open loop: it ran little and waited less.
        assert_eq!(lost(1, 1, 0, 1), 0.1);
        assert_eq!(lost(20, 0, 10, 2), 0.5);
        assert_eq!(lost(9, 0, 20, 1), 1.0);
        // Threads that queue for a lock wait for each other; others ran less than that.
        assert_eq!(lost_and_run(10, 300, 0, 30), [0.5, 0.25]);
    }
}
