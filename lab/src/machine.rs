//! How much processor time other programs took during a measurement.
//!
//! Thirty threads on two processors wait for each other by design, so their waiting alone says
//! nothing. The time lost to others is the time in which threads of the process waited for a
//! processor while the processors did not work for the process itself: at most the time that its
//! own work left of them, and none while its threads slept. The time taken by the host ("steal") is
//! added.
//!
//! Threads that queue for a lock are woken on processors that other threads of their process hold,
//! so many of them wait even on a quiet machine. Other programs cannot have taken more than they
//! ran; that is known in hundredths of a second only, and so only over many slices.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::affinity;

/// The processor time that a process and the host have used up to a moment, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuUsage {
    at: Instant,
    /// Processor time of all living threads.
    ran: u64,
    /// The time in which they were runnable, and waited.
    waited: u64,
    /// Processor time of all processes.
    busy: u64,
    /// Time that the host took, of all processors.
    stolen: u64,
}

impl CpuUsage {
    /// Reads the usage of a process; `None` if the system does not report it. O(threads).
    pub(crate) fn by(process: u32) -> Option<CpuUsage> {
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
        Some(CpuUsage { at: Instant::now(), ran, waited, busy, stolen })
    }

    /// Returns two parts of the time that `threads` could have had on `processors` since `self`:
    /// the part lost to others, from 0 to 1, and the part that others and the host ran at most. Of
    /// one slice, the second is an estimate, and may be negative.
    pub(crate) fn lost_until(&self, end: &CpuUsage, threads: usize, processors: usize) -> [f64; 2] {
        let own = threads.min(processors).max(1) as f64;
        let length = ((end.at - self.at).as_nanos() as f64 * own).max(1.0);
        let since = |end: u64, begin: u64| end.saturating_sub(begin) as f64;
        let ran = since(end.ran, self.ran);
        let waited = since(end.waited, self.waited).min((length - ran).max(0.0));
        // Counts all processors, because the share of ours is not known.
        let stolen = since(end.stolen, self.stolen) * own / processors.max(1) as f64;
        let others = since(end.busy, self.busy) - ran + since(end.stolen, self.stolen);
        [((waited + stolen) / length).min(1.0), others / length]
    }
}

/// Returns the run time of all processes and the time taken by the host, of all processors: in
/// nanoseconds, computed from the first line, which counts hundredths of a second.
fn all(stat: &str) -> Option<(u64, u64)> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = numbers.map_while(|own| own.parse().ok()).collect();
    let [user, nice, system, _idle, _waits, interrupts, soft, stolen, ..] = ticks[..] else {
        return None;
    };
    let busy = user + nice + system + interrupts + soft;
    Some((busy * 10_000_000, stolen * 10_000_000))
}

/// Returns how many threads can run at once.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Ranks the processors by how much others use them: measuring threads take the quietest first.
#[derive(Debug)]
pub(crate) struct ProcessorRanking(Vec<(usize, f64)>);

impl ProcessorRanking {
    /// How long a thread works on a processor to see how much of it is available.
    const PROBE: Duration = Duration::from_millis(2);

    /// The weight of the next observation.
    const NEW: f64 = 0.25;

    /// Probes the processors that this process may use. 20 ms for each.
    pub(crate) fn new() -> ProcessorRanking {
        let mut ranking =
            ProcessorRanking(affinity::usable().into_iter().map(|cpu| (cpu, 0.0)).collect());
        (0..10).for_each(|_| ranking.probe());
        ranking
    }

    /// Works on each processor for a moment, and records what others took of it. If the system does
    /// not report that, nothing is known.
    pub(crate) fn probe(&mut self) {
        for (cpu, lost) in &mut self.0 {
            let cpu = *cpu;
            let probe = move || {
                affinity::pin(cpu);
                let begun = Instant::now();
                while begun.elapsed() < ProcessorRanking::PROBE {}
                // Includes the wait until it got this processor.
                let waited = waited()? as f64;
                Some(waited / (waited + ProcessorRanking::PROBE.as_nanos() as f64))
            };
            // Runs on its own thread, because a child process starts on the processor of its
            // parent.
            let found = thread::Builder::new().spawn(probe).ok().and_then(|own| own.join().ok());
            if let Some(found) = found.flatten() {
                *lost += ProcessorRanking::NEW * (found - *lost);
            }
        }
    }

    /// Returns the processors, the quietest first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order = self.0.clone();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        order.into_iter().map(|(cpu, _)| cpu).collect()
    }
}

/// Returns how long the calling thread has waited for a processor so far, in nanoseconds.
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
        let begin = CpuUsage { at: Instant::now(), ran: 0, waited: 0, busy: 0, stolen: 0 };
        let [ran, waited, stolen] = [ran, waited, stolen].map(|millis| millis * 1_000_000);
        let at = begin.at + Duration::from_millis(10);
        let end = CpuUsage { at, ran, waited, busy: ran + 5_000_000, stolen };
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
