//! Code that runs when a thread ends, in destructors of thread locals.

use std::cell::RefCell;

/// Runs its closures when it is dropped. The order in which the thread locals of a thread are
/// dropped depends on the order of their first use.
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
