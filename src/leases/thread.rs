//! [`Sweeping`], a thread that sweeps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::handle::Leases;
use crate::model::error::StoreError;
use crate::store::RegistryStore;

/// A thread that calls [`sweep`](Leases::sweep) repeatedly. It ends when this value is dropped
/// or the store is closed. The drop waits for a running sweep.
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct Sweeping {
    /// Nothing is sent. Dropping it stops the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The process of the thread.
    process: u32,
}

/// A thread with a shorter tick would occupy a whole processor.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

impl<S: RegistryStore + Send + Sync + 'static> Leases<S> {
    /// Starts a thread that sweeps once per `tick`, which is at least a millisecond. A pod is
    /// removed within one tick after its lease ends. If a sweep fails or panics, the next tick
    /// tries again.
    ///
    /// # Panics
    ///
    /// Panics if the system cannot create a thread.
    pub fn spawn(&self, tick: Duration) -> Sweeping {
        let leases = self.clone();
        let tick = tick.max(SHORTEST_TICK);
        let (stop, stopped) = channel::<()>();
        let thread = Builder::new()
            .name("service-registry leases".into())
            .spawn(move || {
                let mut pause = tick;
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                    let begun = Instant::now();
                    // The state of the sweeps is valid wherever foreign code runs: the store
                    // and a recorder.
                    let sweep = catch_unwind(AssertUnwindSafe(|| leases.sweep_now()));
                    if let Ok(Err(StoreError::Closed)) = sweep {
                        break;
                    }
                    // A long sweep does not delay the next one.
                    pause = tick.saturating_sub(begun.elapsed());
                }
            })
            .expect("the system makes a thread");
        Sweeping {
            stop: Some(stop),
            thread: Some(thread),
            process: process::id(),
        }
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A child process does not have this thread.
        if let Some(thread) = self.thread.take()
            && self.process == process::id()
        {
            let _ = thread.join();
        }
    }
}
