//! What a thread does when it ends: destructors of thread locals.

use std::cell::RefCell;

/// Runs what it was given when it is dropped. As a thread local it is dropped before,
/// or after, the others of its thread: the order is that in which they were first used.
pub struct ExitHooks(RefCell<Vec<Box<dyn FnOnce()>>>);

impl ExitHooks {
    pub const fn new() -> ExitHooks {
        ExitHooks(RefCell::new(Vec::new()))
    }

    pub fn push(&self, hook: impl FnOnce() + 'static) {
        self.0.borrow_mut().push(Box::new(hook));
    }
}

impl Drop for ExitHooks {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|hook| hook());
    }
}

thread_local! {
    pub static EXIT_HOOKS: ExitHooks = const { ExitHooks::new() };
}
