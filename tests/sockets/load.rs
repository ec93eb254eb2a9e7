//! Requests, all the time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use crate::fleet::Call;

const TASKS: usize = 8;

/// Tasks that send one request after the other, each of them.
pub(crate) struct Load {
    shared: Arc<LoadState>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct LoadState {
    is_over: AtomicBool,
    /// A server that was killed while the event is not seen yet: what goes there may fail.
    killed: Mutex<Option<SocketAddr>>,
    /// Requests that failed without a word of where.
    cut: AtomicUsize,
    answered: AtomicUsize,
    excused: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl LoadState {
    /// Whether an error is of a server that was killed. It names that, or is of a connection that
    /// was cut, of which gRPC does not say whose it was: of those there is one for each request
    /// that was under way, and so at most one for each task.
    fn excuses(&self, error: &str) -> bool {
        let Some(killed) = *self.killed.lock().unwrap() else {
            return false;
        };
        let names_nobody = !error.contains(&killed.ip().to_string());
        error.contains(&killed.to_string()) || names_nobody && self.cut.fetch_add(1, SeqCst) < TASKS
    }
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) answered: usize,
    /// Requests that failed at a server that was killed, before the event was seen.
    pub(crate) excused: usize,
    pub(crate) failed: Vec<String>,
}

impl Load {
    pub(crate) fn begin(call: &Call) -> Load {
        let shared = Arc::new(LoadState::default());
        let task = || {
            let (call, shared) = (call.clone(), shared.clone());
            tokio::spawn(async move {
                while !shared.is_over.load(SeqCst) {
                    let answer = call().await;
                    match answer {
                        Ok(()) => {
                            shared.answered.fetch_add(1, SeqCst);
                        }
                        Err(error) if shared.excuses(&error) => {
                            shared.excused.fetch_add(1, SeqCst);
                        }
                        Err(error) => shared.failed.lock().unwrap().push(error),
                    }
                }
            })
        };
        let tasks = (0..TASKS).map(|_| task()).collect();
        Load { shared, tasks }
    }

    /// Which server may fail requests from now on.
    pub(crate) fn may_fail(&self, killed: Option<SocketAddr>) {
        *self.shared.killed.lock().unwrap() = killed;
    }

    /// Waits for this many more answers.
    pub(crate) async fn answers(&self, more: usize) {
        let enough = self.shared.answered.load(SeqCst) + more;
        while self.shared.answered.load(SeqCst) < enough {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn end(self) -> Outcome {
        self.shared.is_over.store(true, SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        Outcome {
            answered: self.shared.answered.load(SeqCst),
            excused: self.shared.excused.load(SeqCst),
            failed: std::mem::take(&mut *self.shared.failed.lock().unwrap()),
        }
    }
}
