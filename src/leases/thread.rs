//! [`Sweeping`]: a thread that sweeps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::handle::Leases;
use crate::model::error::StoreError;
use crate::store::RegistryStore;

/// A thread that calls [`sweep`](Leases::sweep) again and again. It ends when this is
/// dropped, which waits for the sweep that is under way, or when the store is closed.
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct Sweeping {
    /// Nothing is sent: the thread sees that it has gone.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The process that the thread is in.
    process: u32,
}

/// No shorter one: a thread that only sweeps would keep a processor to itself.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

impl<S: RegistryStore + Send + Sync + 'static> Leases<S> {
    /// Starts a thread that sweeps once in a `tick`, of a millisecond or longer, so that a pod
    /// goes within a tick of the end of its lease. A sweep that fails, or panics, is tried again at
    /// the next tick.
    ///
    /// # Panics
    ///
    /// Where the system makes no thread.
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
                    // What sweeps remember is whole at each point where code of others is
                    // called: of the store, and of a recorder.
                    let sweep = catch_unwind(AssertUnwindSafe(|| leases.sweep_now()));
                    if let Ok(Err(StoreError::Closed)) = sweep {
                        break;
                    }
                    // A sweep that takes long does not put off the next one.
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
        // A child of the process has no such thread.
        if let Some(thread) = self.thread.take()
            && self.process == process::id()
        {
            let _ = thread.join();
        }
    }
}
