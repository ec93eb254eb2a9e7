//! What a thread does when it ends: destructors of thread locals.

use std::cell::RefCell;

/// Runs what it was given when it is dropped. As a thread local it is dropped before,
/// or after, the others of its thread: the order is that in which they were first used.
pub struct Late(RefCell<Vec<Box<dyn FnOnce()>>>);

impl Late {
    pub const fn new() -> Late {
        Late(RefCell::new(Vec::new()))
    }

    pub fn will(&self, last_words: impl FnOnce() + 'static) {
        self.0.borrow_mut().push(Box::new(last_words));
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0
            .take()
            .into_iter()
            .for_each(|last_words| last_words());
    }
}

thread_local! {
    pub static LATE: Late = const { Late::new() };
}
