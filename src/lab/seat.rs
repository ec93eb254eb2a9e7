//! A processor of its own for each of two threads.
//!
//! Where two threads are as many as there are processors, the system now and then puts
//! both on one for a while, and lets the other idle. What is measured then is the length
//! of its time slices.

#[cfg(target_os = "linux")]
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
#[cfg(target_os = "linux")]
use nix::unistd::Pid;

/// Two processors for two threads, where there are two.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
pub struct Seats {
    /// Those that the thread may use that asked.
    allowed: CpuSet,
    pair: [usize; 2],
}

#[cfg(target_os = "linux")]
impl Seats {
    /// Finds two; `None` where the thread that asks may use one only, or the system does
    /// not tell.
    pub fn find() -> Option<Seats> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut usable = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true));
        // Neighbours may share a core.
        let pair = [usable.next()?, usable.next_back()?];
        Some(Seats { allowed, pair })
    }

    /// Keeps the calling thread on one of them, until what is answered is dropped. Where the
    /// system refuses, it runs where it runs.
    pub fn take(&self, which: usize) -> Seat {
        let mut own = CpuSet::new();
        let set = own.set(self.pair[which]);
        let set = set.and_then(|()| sched_setaffinity(Pid::from_raw(0), &own));
        Seat {
            left: set.is_ok().then_some(self.allowed),
            on_this_thread: std::marker::PhantomData,
        }
    }
}

/// A processor that the thread stays on.
#[derive(Debug)]
pub struct Seat {
    /// Where it may run afterwards.
    #[cfg(target_os = "linux")]
    left: Option<CpuSet>,
    on_this_thread: std::marker::PhantomData<*const ()>,
}

#[cfg(target_os = "linux")]
impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(left) = &self.left {
            // It could before.
            let _ = sched_setaffinity(Pid::from_raw(0), left);
        }
    }
}

/// Elsewhere the system decides.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
pub struct Seats;

#[cfg(not(target_os = "linux"))]
impl Seats {
    /// None.
    pub fn find() -> Option<Seats> {
        None
    }

    /// Nothing.
    pub fn take(&self, _: usize) -> Seat {
        Seat {
            on_this_thread: std::marker::PhantomData,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let all = 0..CpuSet::count();
        all.filter(|cpu| allowed.is_set(*cpu).unwrap()).collect()
    }

    #[test]
    fn two_threads_sit_apart_and_get_up_again() {
        let before = allowed();
        let Some(seats) = Seats::find() else {
            assert_eq!(before.len(), 1);
            return;
        };
        let seat = seats.take(0);
        let here = allowed();
        let there = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                let _seat = seats.take(1);
                allowed()
            });
            there.join().unwrap()
        });
        assert_eq!((here.len(), there.len()), (1, 1));
        assert_ne!(here, there);
        drop(seat);
        assert_eq!(allowed(), before);
    }
}
