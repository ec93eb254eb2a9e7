//! Which stores this thread is reading under a lock or a guard.
//!
//! A store that holds something while a closure of the caller runs must notice
//! when that closure calls the store again: it would wait for itself. Each
//! thread keeps a short stack of the stores that it is inside of. A store is
//! known by its address, which is its own for as long as it is borrowed.

use std::cell::Cell;

use crate::model::error::{Result, StoreError};
#[cfg(feature = "evmap")]
use crate::model::revision::Revision;
use crate::sync::thread_local;

/// How deep read closures may nest.
const DEPTH: usize = 8;

struct Stack {
    depth: Cell<usize>,
    stores: [Cell<usize>; DEPTH],
    #[cfg(feature = "evmap")]
    revisions: [Cell<u64>; DEPTH],
}

thread_local! {
    static STACK: Stack = const {
        Stack {
            depth: Cell::new(0),
            stores: [const { Cell::new(0) }; DEPTH],
            #[cfg(feature = "evmap")]
            revisions: [const { Cell::new(0) }; DEPTH],
        }
    };
}

/// This thread is inside a read of a store, until this is dropped.
pub(super) struct Reading {
    /// Guards are dropped in the reverse order of their making, on the thread
    /// that made them: they live in one function and are not `Send`.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Reading {
    /// Enters a store that this thread is not inside of.
    ///
    /// # Errors
    ///
    /// `Reentrant` where it is, or where it is inside of eight reads already.
    #[inline]
    pub(super) fn enter<S>(store: &S) -> Result<Reading> {
        Reading::refuse_inside(store)?;
        STACK.with(|stack| {
            let depth = stack.depth.get();
            let place = stack.stores.get(depth).ok_or(StoreError::Reentrant)?;
            place.set(address(store));
            stack.depth.set(depth + 1);
            Ok(Reading {
                _not_send: std::marker::PhantomData,
            })
        })
    }

    /// Notes the revision that this read shows.
    #[cfg(feature = "evmap")]
    #[allow(clippy::unused_self)] // only who is inside has something to note
    pub(super) fn note_revision(&self, revision: Revision) {
        STACK.with(|stack| {
            if let Some(top) = stack.depth.get().checked_sub(1) {
                stack.revisions[top].set(revision.as_u64());
            }
        });
    }

    /// The revision that this thread is reading of this store, if it is inside of a
    /// read that has noted one.
    #[cfg(feature = "evmap")]
    pub(super) fn noted_revision<S>(store: &S) -> Option<Revision> {
        STACK.with(|stack| {
            let inside = &stack.stores[..stack.depth.get()];
            let mut places = inside.iter().zip(&stack.revisions);
            let place = places.find(|(entered, _)| entered.get() == address(store));
            place.map(|(_, revision)| revision.get().into())
        })
    }

    /// Refuses to go on inside a read of this store.
    #[inline]
    pub(super) fn refuse_inside<S>(store: &S) -> Result<()> {
        STACK.with(|stack| match stack.depth.get() {
            0 => Ok(()),
            _ => stack.refuse(store),
        })
    }
}

impl Drop for Reading {
    #[inline]
    fn drop(&mut self) {
        STACK.with(|stack| stack.depth.set(stack.depth.get() - 1));
    }
}

impl Stack {
    #[cold]
    fn refuse<S>(&self, store: &S) -> Result<()> {
        let inside = &self.stores[..self.depth.get()];
        if inside.iter().any(|entered| entered.get() == address(store)) {
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
    fn nesting_deeper_than_the_stack_is_refused_and_not_forgotten() {
        let stores: [u64; DEPTH + 1] = [0; DEPTH + 1];
        let mut inside: Vec<_> = stores[..DEPTH]
            .iter()
            .map(|store| Reading::enter(store).unwrap())
            .collect();
        assert!(Reading::enter(&stores[DEPTH]).is_err());
        assert!(Reading::refuse_inside(&stores[0]).is_err());
        while inside.pop().is_some() {}
        assert!(Reading::enter(&stores[DEPTH]).is_ok());
    }
}
