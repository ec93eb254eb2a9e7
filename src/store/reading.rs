//! Tracks which stores the current thread is reading under a lock.
//!
//! A store that holds a lock while a closure of the caller runs must detect when
//! that closure calls the store again, because the call would wait for itself.
//! Each thread keeps a stack of the stores that it is reading. A store is
//! identified by its address, which is unique while the store is borrowed.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use crate::model::error::{Result, StoreError};
use crate::sync::thread_local;

/// How deep read closures nest before the stack allocates.
const SHALLOW: usize = 8;

/// It has no destructor, so that destructors of other thread locals can use it.
struct Stack {
    depth: Cell<usize>,
    stores: [Cell<usize>; SHALLOW],
    /// The stores that do not fit into `stores`. Leaks nothing: it keeps no memory while it is empty.
    deep: ManuallyDrop<RefCell<Vec<usize>>>,
}

thread_local! {
    static STACK: Stack = const {
        Stack {
            depth: Cell::new(0),
            stores: [const { Cell::new(0) }; SHALLOW],
            deep: ManuallyDrop::new(RefCell::new(Vec::new())),
        }
    };
}

/// A guard that marks the current thread as reading a store until it is dropped.
pub(super) struct Reading {
    /// Guards are dropped in the reverse order of their creation, on the thread
    /// that created them: they live in one function and are not `Send`.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Reading {
    /// Marks the current thread as reading `store`.
    ///
    /// # Errors
    ///
    /// `Reentrant` if the thread is already reading it.
    #[inline]
    pub(super) fn enter<S>(store: &S) -> Result<Reading> {
        Reading::refuse_inside(store)?;
        STACK.with(|stack| stack.push(address(store)));
        Ok(Reading {
            _not_send: std::marker::PhantomData,
        })
    }

    /// Fails with `Reentrant` if the thread is reading `store`. O(depth of this thread's reads).
    #[inline]
    pub(super) fn refuse_inside<S>(store: &S) -> Result<()> {
        STACK.with(|stack| match stack.depth.get() {
            0 => Ok(()),
            _ => stack.refuse(address(store)),
        })
    }
}

impl Drop for Reading {
    #[inline]
    fn drop(&mut self) {
        STACK.with(Stack::pop);
    }
}

impl Stack {
    #[inline]
    fn push(&self, store: usize) {
        let depth = self.depth.get();
        match self.stores.get(depth) {
            Some(place) => place.set(store),
            None => self.push_deep(store),
        }
        self.depth.set(depth + 1);
    }

    #[inline]
    fn pop(&self) {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        if depth >= SHALLOW {
            self.pop_deep();
        }
    }

    #[cold]
    fn push_deep(&self, store: usize) {
        self.deep.borrow_mut().push(store);
    }

    #[cold]
    fn pop_deep(&self) {
        let mut deep = self.deep.borrow_mut();
        deep.pop();
        if deep.is_empty() {
            *deep = Vec::new();
        }
    }

    #[cold]
    fn refuse(&self, store: usize) -> Result<()> {
        let shallow = &self.stores[..self.depth.get().min(SHALLOW)];
        let is_inside = shallow.iter().any(|entered| entered.get() == store)
            || self.deep.borrow().contains(&store);
        if is_inside {
            return Err(StoreError::Reentrant);
        }
        Ok(())
    }
}

#[inline]
fn address<S>(store: &S) -> usize {
    std::ptr::from_ref(store).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_refused_inside_itself_and_inside_another() {
        let (a, b) = (1_u64, 2_u64);
        let outer = Reading::enter(&a).unwrap();
        assert_eq!(Reading::enter(&a).err(), Some(StoreError::Reentrant));
        let inner = Reading::enter(&b).unwrap();
        assert_eq!(Reading::refuse_inside(&a), Err(StoreError::Reentrant));
        drop(inner);
        assert_eq!(Reading::refuse_inside(&b), Ok(()));
        drop(outer);
        assert_eq!(Reading::refuse_inside(&a), Ok(()));
    }

    #[test]
    fn a_panic_inside_a_read_leaves_the_stack_as_it_was() {
        let store = 1_u64;
        let panicked = std::panic::catch_unwind(|| {
            let _reading = Reading::enter(&store).unwrap();
            panic!("in the closure of a caller");
        });
        assert!(panicked.is_err());
        assert_eq!(Reading::refuse_inside(&store), Ok(()));
    }

    #[test]
    fn a_store_is_refused_inside_itself_however_deep_it_lies() {
        const DEEP: usize = 10 * SHALLOW;
        let stores: [u64; DEEP] = [0; DEEP];
        let mut inside = Vec::new();
        for (depth, store) in stores.iter().enumerate() {
            inside.push(Reading::enter(store).unwrap());
            let (entered, free) = stores.split_at(depth + 1);
            assert!(entered.iter().all(|store| Reading::enter(store).is_err()));
            assert!(
                free.iter()
                    .all(|store| Reading::refuse_inside(store).is_ok())
            );
        }
        while inside.pop().is_some() {
            let (entered, free) = stores.split_at(inside.len());
            assert!(entered.iter().all(|store| Reading::enter(store).is_err()));
            assert!(
                free.iter()
                    .all(|store| Reading::refuse_inside(store).is_ok())
            );
        }
        let kept = STACK.with(|stack| stack.deep.borrow().capacity());
        assert_eq!(kept, 0);
    }
}
