//! When memory that readers may be looking at is freed.
//!
//! # What for
//!
//! Readers go through shared memory without a lock. A writer takes a value out of it: whoever comes
//! later does not find it. But who came before may be looking at it still, so that it is freed
//! when they have gone. Readers say when they come and go: they *pin*.
//!
//! Reads are many and short, and a pin is paid by each of them. So a pin is one store to a line
//! that belongs to the reader's thread alone, and the end of a pin is another one. All else is done
//! by who frees, and it is done for thousands of values at a time.
//!
//! # The algorithm
//!
//! A thread has a *record*, which says in one word how deep it is pinned, for
//! which domain, and how often it has been pinned before. A reader
//!
//! 1. stores in its word that it is pinned,
//! 2. passes the *light fence*, which keeps what follows behind that store,
//! 3. reads,
//! 4. stores, with Release, that it has left.
//!
//! Who frees, a writer that has the lock of its data,
//!
//! 1. unlinks values, one after the other, and *retires* them: they are put into a list;
//! 2. ends the *period*, when there are enough of them: it passes the *heavy fence*, then looks at the
//!    words of all threads, and notes who is pinned, with the word that it has seen;
//! 3. waits until each of those has left: until its word shows another number of pins, or none.
//!    It does so by looking now and then, when it comes by;
//! 4. frees what was retired before the fence. What has been retired since is of the next period, and
//!    waits for the next fence.
//!
//! # Why that is enough
//!
//! Let a reader look at a value that was unlinked before the heavy fence. The two fences (see
//! `barrier`) let at most one of the two miss the other's store. If the reader has passed its
//! light fence first, who frees sees its word, and waits. Otherwise the reader sees that the value
//! was unlinked, and does not come to it. So each reader that can come to the value has been seen.
//! That it has left is read with Acquire, so that all its reading comes before the freeing.
//!
//! A reader that is seen, and was pinned too late to find anything, is waited for all the same.
//! Nobody waits for a reader who comes later: one that is pinned again shows another number.
//!
//! The fence ends one period and begins the next: what was unlinked in one is freed in the next one,
//! with readers about, and at once without. Where two things have to wait one after the other, as in a map
//! of many versions (a version is *unlinked* when no reader is left from before the next one was
//! published, and *freed* when nobody is left from before it was unlinked), each fence does
//! for both: what was replaced in period *k* - 1 is unlinked in *k* and freed in *k* + 1. A map that
//! nobody writes to takes two fences to get rid of everything.
//!
//! While a reader sleeps, one period waits for it, and what is retired meanwhile waits behind that
//! one. No fence is paid, and nobody looks at any word but the sleeper's. When it has gone, the
//! first period is freed at once, and the second one with the next fence.
//!
//! # Threads that come and go, signals, forks, panics
//!
//! - Who ends gives its record back, and the next thread takes it over, with the number of pins going
//!   on. A thread that is still pinned when its thread locals are dropped keeps it, until the last pin
//!   ends; one that is pinned later than that has it for one pin. Whoever forgets a guard
//!   holds its domain up for good.
//! - A signal handler that pins finds either a word that says that its thread is pinned, or one that
//!   does not; in the midst of a store there is nothing between. It leaves the depth that it
//!   found. A number of pins that it has added may be lost, and then the next pin has the number of
//!   the handler's: who waits for that one waits a little longer.
//! - A process that was forked off has one thread, and the records of all. It never frees what was
//!   retired before ([`Reclaimer::is_forked`]), because values may have been half written, and
//!   because what they stand for (files, locks) is the other process's, too. A domain that is made
//!   there works as usual.
//! - Nothing that belongs to others runs in here: values are handed out to be dropped elsewhere. A
//!   reclaimer that unwinds leaks what it has.
//!
//! # Where this comes from
//!
//! Epochs: Fraser, *Practical lock-freedom* (2004). The kernel's help and the proof with it: Desnoyers and
//! others, *User-level implementations of read-copy update* (2012), and the asymmetric fences of
//! P1202. Readers who store a number of their own instead of a shared one, so that they load nothing
//! that anybody writes to: as in the read-side counters of sleepable RCU.

pub(crate) mod barrier;
mod period;
mod pin;
#[allow(unsafe_code)]
pub(crate) mod threads;
mod word;

pub use period::Reclaimer;
pub use pin::{Domain, Guard};
pub use threads::Awaited;
