//! The only place that switches between the standard library, loom and shuttle.
//!
//! loom tries every schedule and every value that a memory ordering allows, on
//! models of a few steps; shuttle tries random schedules on whole stores. Neither
//! sees into a crate that was not written for it. Where a store stands on such a
//! crate, [`stand_in`] has what takes its place in a model.
//!
//! Models run with
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --lib --features thread-safe,worker,evmap,snapshot,versioned models`,
//! schedules with
//! `RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo test --release --features thread-safe,worker,evmap,snapshot,versioned --test schedules`.

// A build with fewer stores uses a part of this.
#![allow(unused_imports)]

#[cfg(not(any(loom, shuttle)))]
pub(crate) mod thread {
    //! How a thread sleeps until another one wakes it.

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
    local_of_loom as thread_local,
    loom::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    loom::thread::{Builder, JoinHandle, ThreadId, current},
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

/// `thread_local!` of loom, which knows no `const` blocks.
#[cfg(loom)]
#[allow(unused_macros)] // as for the imports
macro_rules! local_of_loom {
    ($($visibility:vis static $name:ident: $type:ty = const $first:block;)*) => {
        loom::thread_local! { $($visibility static $name: $type = $first;)* }
    };
}
#[cfg(loom)]
pub(crate) use local_of_loom;

#[cfg(any(loom, shuttle))]
mod stand_in {
    //! What stands in, in a model, for the crates that the model checker cannot
    //! see into. Each does what the real one documents, and no more.

    #[cfg(feature = "snapshot")]
    pub(crate) use arc_swap::{ArcSwap, Cache};
    #[cfg(feature = "worker")]
    pub(crate) use channel::{Receiver, Sender, bounded, unbounded};

    pub(crate) mod thread {
        //! For `std::thread::park`. That of shuttle may return by itself, as the real one may,
        //! which hides a wake-up that is lost; this one returns when it has to.

        use crate::sync::{Condvar, Mutex, thread_local};
        use std::cell::OnceCell;
        use std::sync::Arc;
        use std::time::Duration;

        #[derive(Default)]
        struct Parked {
            /// Whether the thread was woken since it last lay down.
            token: Mutex<bool>,
            given: Condvar,
        }

        #[derive(Clone, Default)]
        pub(crate) struct Thread(Arc<Parked>);

        thread_local! {
            static OWN: OnceCell<Thread> = const { OnceCell::new() };
        }

        pub(crate) fn current() -> Thread {
            OWN.with(|own| own.get_or_init(Thread::default).clone())
        }

        pub(crate) fn park() {
            let Parked { token, given } = &*current().0;
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
        //! For `arc_swap::ArcSwap` and its `Cache`.
        //!
        //! They do with one pointer what the real ones do: a load acquires, a swap
        //! releases and acquires, and a cache compares with a relaxed load. The
        //! pointer is an index that the model checker knows; what it leads to lies
        //! in a list that it does not see, so that reading it orders nothing.
        //!
        //! Beside the pointer all accesses are counted, relaxed, which orders nothing
        //! either. loom looks for another order of two accesses only where the second
        //! one finds the first as the *last* that it depends on. A writer that loads
        //! before it swaps would hide all loads of readers from its swap, and with
        //! them most schedules; of counted accesses none hides another.

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
        //! For a bounded channel of `crossbeam_channel`.
        //!
        //! Of the real one it has what can hang a program: a sender waits while the
        //! channel is full (with a capacity of 0, until its value has been taken), a
        //! receiver while it is empty. Either is refused once the other side has
        //! gone, a receiver only when nothing is left. What lies in the channel when
        //! its receiver goes stays there until the last sender has gone as well.

        use crate::sync::{Condvar, Mutex, MutexGuard};
        use std::collections::VecDeque;
        use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
        use std::sync::Arc;
        use std::thread::panicking;

        struct Channel<T> {
            capacity: usize,
            state: Mutex<State<T>>,
            changed: Condvar,
        }

        struct State<T> {
            waiting: VecDeque<T>,
            /// How many values were sent and taken, ever.
            sent: usize,
            taken: usize,
            senders: usize,
            is_received: bool,
        }

        pub(crate) struct Sender<T>(Arc<Channel<T>>);
        pub(crate) struct Receiver<T>(Arc<Channel<T>>);

        /// The other side has gone.
        #[derive(Debug)]
        pub(crate) struct Disconnected;

        pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
            let channel = Arc::new(Channel {
                capacity,
                state: Mutex::new(State {
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
            fn state(&self) -> MutexGuard<'_, State<T>> {
                self.state.lock().unwrap()
            }

            /// Waits until there is nothing to wait for any more.
            fn wait_while<'a>(
                &'a self,
                mut state: MutexGuard<'a, State<T>>,
                condition: impl Fn(&State<T>) -> bool,
            ) -> MutexGuard<'a, State<T>> {
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
            /// Tells the other side that this one goes, also in a panic. Where it is the
            /// model that has failed, its locks panic as well, which would be once too
            /// often.
            fn tell(&self, change: fn(&mut State<T>)) {
                let told = catch_unwind(AssertUnwindSafe(|| {
                    change(&mut self.state());
                    self.changed.notify_all();
                }));
                match told {
                    Err(panic) if !panicking() => resume_unwind(panic),
                    _ => {}
                }
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                self.0.tell(|state| state.senders -= 1);
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                self.0.tell(|state| state.is_received = false);
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
