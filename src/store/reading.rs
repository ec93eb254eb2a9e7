//! The stores that this thread is reading under a lock.
//!
//! A store that holds a lock while a closure of the caller runs must detect that the closure
//! calls the store again, because that call would wait for itself. Each thread keeps a stack of
//! the stores that it is reading. A store is identified by its address, which is unique as long
//! as it is borrowed.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use crate::model::error::{Result, StoreError};
use crate::sync::thread_local;

/// The number of nested read closures for which the stack does not allocate.
const SHALLOW: usize = 8;

/// Has no destructor, so that it is available to destructors of other thread locals.
struct Stack {
    depth: Cell<usize>,
    stores: [Cell<usize>; SHALLOW],
    /// The stores after the first ones. Leaks nothing, because no memory is kept while it is
    /// empty.
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

/// This thread is reading a store until this is dropped.
pub(super) struct Reading {
    /// Guards are dropped in reverse order and on the thread that created them: they live in
    /// one function and are not `Send`.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Reading {
    /// Enters a store that this thread is not reading.
    ///
    /// # Errors
    ///
    /// `Reentrant` if the thread is already reading it.
    #[inline]
    pub(super) fn enter<S>(store: &S) -> Result<Reading> {
        Reading::check_not_reentrant(store)?;
        STACK.with(|stack| stack.push(address(store)));
        Ok(Reading {
            _not_send: std::marker::PhantomData,
        })
    }

    /// Returns an error inside a read of this store. O(depth of the reads of this thread).
    #[inline]
    pub(super) fn check_not_reentrant<S>(store: &S) -> Result<()> {
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
        assert_eq!(Reading::check_not_reentrant(&a), Err(StoreError::Reentrant));
        drop(inner);
        assert_eq!(Reading::check_not_reentrant(&b), Ok(()));
        drop(outer);
        assert_eq!(Reading::check_not_reentrant(&a), Ok(()));
    }

    #[test]
    fn a_panic_inside_a_read_leaves_the_stack_as_it_was() {
        let store = 1_u64;
        let panicked = std::panic::catch_unwind(|| {
            let _reading = Reading::enter(&store).unwrap();
            panic!("in the closure of a caller");
        });
        assert!(panicked.is_err());
        assert_eq!(Reading::check_not_reentrant(&store), Ok(()));
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
                    .all(|store| Reading::check_not_reentrant(store).is_ok())
            );
        }
        while inside.pop().is_some() {
            let (entered, free) = stores.split_at(inside.len());
            assert!(entered.iter().all(|store| Reading::enter(store).is_err()));
            assert!(
                free.iter()
                    .all(|store| Reading::check_not_reentrant(store).is_ok())
            );
        }
        let kept = STACK.with(|stack| stack.deep.borrow().capacity());
        assert_eq!(kept, 0);
    }
}
