//! Requests, all the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use crate::fleet::Call;

/// Eight tasks that send one request after the other.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Whether a request may fail: a server was killed, and the event is not seen yet.
    may_fail: AtomicBool,
    answered: AtomicUsize,
    excused: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) answered: usize,
    /// Requests that failed while that was to be expected.
    pub(crate) excused: usize,
    pub(crate) failed: Vec<String>,
}

impl Load {
    pub(crate) fn begin(call: &Call) -> Load {
        let shared = Arc::new(Shared::default());
        let task = || {
            let (call, shared) = (call.clone(), shared.clone());
            tokio::spawn(async move {
                while !shared.is_over.load(SeqCst) {
                    let answer = call().await;
                    match answer {
                        Ok(()) => {
                            shared.answered.fetch_add(1, SeqCst);
                        }
                        Err(_) if shared.may_fail.load(SeqCst) => {
                            shared.excused.fetch_add(1, SeqCst);
                        }
                        Err(error) => shared.failed.lock().unwrap().push(error),
                    }
                }
            })
        };
        let tasks = (0..8).map(|_| task()).collect();
        Load { shared, tasks }
    }

    /// Whether requests may fail from now on.
    pub(crate) fn may_fail(&self, may: bool) {
        self.shared.may_fail.store(may, SeqCst);
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
