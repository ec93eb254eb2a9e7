//! The only place that switches between the standard library, loom and shuttle.
//!
//! loom tries every schedule and every value that a memory ordering allows, on models of a few
//! steps; shuttle tries random schedules on whole stores. Neither sees into a crate that was not
//! written for it. If a store depends on such a crate, `stand_in` has the replacement for models.
//!
//! Models run with
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --lib --features thread-safe,worker,evmap,snapshot,versioned models`,
//! schedules with
//! `RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo test --release --features thread-safe,worker,evmap,snapshot,versioned --test schedules`.

// A build with fewer stores uses only some of these.
#![allow(unused_imports)]

#[cfg(not(any(loom, shuttle)))]
pub(crate) mod thread {
    //! Puts threads to sleep and wakes them.

    pub(crate) use std::thread::{Thread, current, park, park_timeout};
}

#[cfg(not(any(loom, shuttle)))]
pub(crate) use {
    std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    std::thread::{Builder, JoinHandle},
    std::thread_local,
};

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic;

#[cfg(all(feature = "snapshot", not(any(loom, shuttle))))]
pub(crate) use arc_swap::{ArcSwap, Cache};

#[cfg(all(feature = "worker", not(any(loom, shuttle))))]
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

#[cfg(loom)]
pub(crate) use {
    loom::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    loom::thread::{Builder, JoinHandle, ThreadId, current},
    loom_thread_local as thread_local,
};

#[cfg(shuttle)]
pub(crate) use {
    shuttle::sync::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
    },
    shuttle::thread::{Builder, JoinHandle, ThreadId, current},
    shuttle::thread_local,
};

#[cfg(any(loom, shuttle))]
pub(crate) use stand_in::*;

/// `thread_local!` of loom, which does not support `const` blocks.
#[cfg(loom)]
#[allow(unused_macros)] // as for the imports
macro_rules! loom_thread_local {
    ($($visibility:vis static $name:ident: $type:ty = const $first:block;)*) => {
        loom::thread_local! { $($visibility static $name: $type = $first;)* }
    };
}
#[cfg(loom)]
pub(crate) use loom_thread_local;

#[cfg(any(loom, shuttle))]
mod stand_in {
    //! Replacements, in models, for crates that the model checker cannot see into. Each does what
    //! the real crate documents, and no more.

    #[cfg(feature = "snapshot")]
    pub(crate) use arc_swap::{ArcSwap, Cache};
    #[cfg(feature = "worker")]
    pub(crate) use channel::{Receiver, Sender, bounded, unbounded};

    pub(crate) mod thread {
        //! Replaces `std::thread::park`. shuttle's own may return spuriously, as the real one may,
        //! which hides a lost wake-up; this one returns only when it has to.

        use crate::sync::{Condvar, Mutex, thread_local};
        use std::cell::OnceCell;
        use std::sync::Arc;
        use std::time::Duration;

        #[derive(Default)]
        struct ParkToken {
            /// Whether the thread has been unparked since it last parked.
            token: Mutex<bool>,
            given: Condvar,
        }

        #[derive(Clone, Default)]
        pub(crate) struct Thread(Arc<ParkToken>);

        thread_local! {
            static CURRENT: OnceCell<Thread> = const { OnceCell::new() };
        }

        pub(crate) fn current() -> Thread {
            CURRENT.with(|own| own.get_or_init(Thread::default).clone())
        }

        pub(crate) fn park() {
            let ParkToken { token, given } = &*current().0;
            let mut token = token.lock().unwrap();
            while !*token {
                token = given.wait(token).unwrap();
            }
            *token = false;
        }

        pub(crate) fn park_timeout(_: Duration) {
            unimplemented!("a model knows no time");
        }

        impl Thread {
            pub(crate) fn unpark(&self) {
                *self.0.token.lock().unwrap() = true;
                self.0.given.notify_one();
            }
        }
    }

    #[cfg(feature = "snapshot")]
    mod arc_swap {
        //! Replaces `arc_swap::ArcSwap` and its `Cache`.
        //!
        //! These do with one pointer what the real ones do: a load acquires, a swap releases and
        //! acquires, and a cache compares with a relaxed load. The pointer is an index that the
        //! model checker sees; the values are in a list that it does not see, so that reading them
        //! orders nothing.
        //!
        //! In addition, all accesses are counted with relaxed operations, which order nothing
        //! either. loom tries another order of two accesses only if the second one finds the first
        //! as the *last* access that it depends on. A writer that loads before it swaps would hide
        //! all loads of readers from its swap, and with them most schedules. Counted accesses do
        //! not hide each other.

        use crate::sync::atomic::AtomicUsize;
        use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
        use std::ops::Deref;
        use std::sync::{Arc, Mutex};

        pub(crate) struct ArcSwap<T> {
            newest: AtomicUsize,
            values: Mutex<Vec<Arc<T>>>,
            accesses: AtomicUsize,
        }

        impl<T> ArcSwap<T> {
            pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
                ArcSwap {
                    newest: AtomicUsize::new(0),
                    values: Mutex::new(vec![Arc::new(value)]),
                    accesses: AtomicUsize::new(0),
                }
            }

            fn count_access(&self) {
                self.accesses.fetch_add(1, Relaxed);
            }

            fn load_index(&self) -> (usize, Arc<T>) {
                self.count_access();
                // Acquire: pairs with the Release of `swap`.
                let index = self.newest.load(Acquire);
                (index, self.values.lock().unwrap()[index].clone())
            }

            pub(crate) fn load_full(&self) -> Arc<T> {
                self.load_index().1
            }

            pub(crate) fn load(&self) -> Box<Arc<T>> {
                Box::new(self.load_full())
            }

            pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
                let index = {
                    let mut values = self.values.lock().unwrap();
                    values.push(value);
                    values.len() - 1
                };
                self.count_access();
                // Release and Acquire: pairs with the load in `load_index` and with
                // the swap before.
                let old = self.newest.swap(index, AcqRel);
                self.values.lock().unwrap()[old].clone()
            }
        }

        #[derive(Clone)]
        pub(crate) struct Cache<A, T> {
            pointer: A,
            index: usize,
            value: T,
        }

        impl<A: Deref<Target = ArcSwap<T>>, T> Cache<A, Arc<T>> {
            pub(crate) fn new(pointer: A) -> Self {
                let (index, value) = pointer.load_index();
                Cache {
                    pointer,
                    index,
                    value,
                }
            }

            pub(crate) fn load(&mut self) -> &Arc<T> {
                self.pointer.count_access();
                if self.pointer.newest.load(Relaxed) != self.index {
                    (self.index, self.value) = self.pointer.load_index();
                }
                &self.value
            }
        }
    }

    #[cfg(feature = "worker")]
    mod channel {
        //! Replaces a bounded channel of `crossbeam_channel`.
        //!
        //! It has the parts of the real one that can hang a program: a sender waits while the
        //! channel is full (with a capacity of 0, until its value has been taken), and a receiver
        //! waits while it is empty. A call fails once the other side is gone; a receiver first
        //! takes what is left. Values that are in the channel when its receiver is dropped stay
        //! there until the last sender is dropped as well.

        use crate::sync::{Condvar, Mutex, MutexGuard};
        use std::collections::VecDeque;
        use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
        use std::sync::Arc;
        use std::thread::panicking;

        struct Channel<T> {
            capacity: usize,
            state: Mutex<ChannelState<T>>,
            changed: Condvar,
        }

        struct ChannelState<T> {
            waiting: VecDeque<T>,
            /// How many values were ever sent and taken.
            sent: usize,
            taken: usize,
            senders: usize,
            is_received: bool,
        }

        pub(crate) struct Sender<T>(Arc<Channel<T>>);
        pub(crate) struct Receiver<T>(Arc<Channel<T>>);

        /// The other side is gone.
        #[derive(Debug)]
        pub(crate) struct Disconnected;

        pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
            let channel = Arc::new(Channel {
                capacity,
                state: Mutex::new(ChannelState {
                    waiting: VecDeque::new(),
                    sent: 0,
                    taken: 0,
                    senders: 1,
                    is_received: true,
                }),
                changed: Condvar::new(),
            });
            (Sender(channel.clone()), Receiver(channel))
        }

        pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
            bounded(usize::MAX)
        }

        impl<T> Channel<T> {
            fn state(&self) -> MutexGuard<'_, ChannelState<T>> {
                self.state.lock().unwrap()
            }

            /// Waits while `condition` holds.
            fn wait_while<'a>(
                &'a self,
                mut state: MutexGuard<'a, ChannelState<T>>,
                condition: impl Fn(&ChannelState<T>) -> bool,
            ) -> MutexGuard<'a, ChannelState<T>> {
                while condition(&state) {
                    state = self.changed.wait(state).unwrap();
                }
                state
            }
        }

        impl<T> Sender<T> {
            pub(crate) fn send(&self, value: T) -> Result<(), Disconnected> {
                let Channel {
                    capacity, changed, ..
                } = &*self.0;
                let room = (*capacity).max(1);
                let mut state = self.0.wait_while(self.0.state(), |state| {
                    state.is_received && state.waiting.len() >= room
                });
                if !state.is_received {
                    return Err(Disconnected);
                }
                state.waiting.push_back(value);
                state.sent += 1;
                changed.notify_all();
                let own = state.sent;
                if *capacity == 0 {
                    state = self
                        .0
                        .wait_while(state, |state| state.is_received && state.taken < own);
                    if state.taken < own {
                        state.waiting.pop_back();
                        return Err(Disconnected);
                    }
                }
                Ok(())
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn recv(&self) -> Result<T, Disconnected> {
                let mut state = self.0.wait_while(self.0.state(), |state| {
                    state.waiting.is_empty() && state.senders > 0
                });
                let value = state.waiting.pop_front().ok_or(Disconnected)?;
                state.taken += 1;
                self.0.changed.notify_all();
                Ok(value)
            }
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Sender<T> {
                self.0.state().senders += 1;
                Sender(self.0.clone())
            }
        }

        impl<T> Channel<T> {
            /// Notifies the other side that this one is dropped, also during a panic. If the model
            /// itself has failed, its locks panic too, and a second panic would abort.
            fn update_and_notify(&self, change: fn(&mut ChannelState<T>)) {
                let updated = catch_unwind(AssertUnwindSafe(|| {
                    change(&mut self.state());
                    self.changed.notify_all();
                }));
                match updated {
                    Err(panic) if !panicking() => resume_unwind(panic),
                    _ => {}
                }
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                self.0.update_and_notify(|state| state.senders -= 1);
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                self.0.update_and_notify(|state| state.is_received = false);
            }
        }

        impl<'a, T> IntoIterator for &'a Receiver<T> {
            type Item = T;
            type IntoIter = Box<dyn Iterator<Item = T> + 'a>;

            fn into_iter(self) -> Self::IntoIter {
                Box::new(std::iter::from_fn(|| self.recv().ok()))
            }
        }
    }
}
