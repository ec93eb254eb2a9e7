//! Decides when memory that readers may be looking at is freed.
//!
//! # Purpose
//!
//! Readers go through shared memory without a lock. A writer unlinks a value from it: a reader that
//! comes later does not find the value, but a reader that came before may still be looking at it.
//! So the value is freed only after the earlier readers have left. Readers announce that they come
//! and go: they *pin*.
//!
//! Reads are many and short, and each of them pays for a pin. So a pin is one store to a line that
//! only the reader's thread writes to, and the end of a pin is another one. The thread that frees
//! does all the rest, for thousands of values at a time.
//!
//! # The algorithm
//!
//! Each thread has a *record*, in which one word says how deep the thread is pinned, for which
//! domain, and how often it has been pinned before. A reader
//!
//! 1. stores in its word that it is pinned,
//! 2. passes the *light fence*, which keeps what follows behind that store,
//! 3. reads,
//! 4. stores, with Release, that it has left.
//!
//! A writer, which holds the lock of its data,
//!
//! 1. unlinks values, one after the other, and *retires* them: puts them into a list;
//! 2. ends the *period* when enough are retired: it passes the *heavy fence*, then looks at the
//!    words of all threads and notes each pinned reader, with the word that it saw;
//! 3. waits until each of those readers has left: until its word shows another number of pins, or
//!    no pin. The writer does not block: it checks now and then, during other work;
//! 4. frees what was retired before the fence. What has been retired since belongs to the next
//!    period, and waits for the next fence.
//!
//! # Why this is enough
//!
//! Let a reader look at a value that was unlinked before the heavy fence. Because of the two fences
//! (see `barrier`), at most one of writer and reader misses the other's store. If the reader has
//! passed its light fence first, the writer sees its word, and waits. Otherwise the reader sees
//! that the value was unlinked, and does not reach it. So the writer has seen each reader that can
//! reach the value. It reads with Acquire that the reader has left, so that all reads come before
//! the freeing.
//!
//! The writer also waits for a reader that it saw, but that was pinned too late to find anything.
//! It does not wait for later pins: a thread that pins again shows another number.
//!
//! The fence ends one period and begins the next: what was unlinked in one period is freed in the
//! next one if there are readers, and at once if there are none. Sometimes two waits follow one
//! another, as in a map of many versions: a version is *unlinked* when no reader is left from
//! before the next version was published, and *freed* when no reader is left from before it was
//! unlinked. Then each fence serves both: what was replaced in period *k* - 1 is unlinked in *k*
//! and freed in *k* + 1. A map without writes takes two fences to free everything.
//!
//! While a reader sleeps, one period waits for it, and what is retired meanwhile waits behind that
//! period. The writer pays for no fence, and looks at no word but the sleeper's. When the reader
//! has left, the first period is freed at once, and the second one with the next fence.
//!
//! # Threads that come and go, signals, forks, panics
//!
//! - A thread that ends gives its record back, and the next thread takes it over and goes on with
//!   its number of pins. A thread that is still pinned when its thread locals are dropped keeps its
//!   record until the last pin ends; a thread that pins later than that has a record for one pin. A
//!   guard that is forgotten holds up its domain for good.
//! - A signal handler that pins finds a word that says either that its thread is pinned, or that it
//!   is not; a store has no state in between. The handler leaves the depth that it found. The
//!   thread may overwrite a number of pins that the handler has added, and then the thread's next
//!   pin has the number of the handler's: a writer that waits for the handler's pin waits a little
//!   longer.
//! - A forked process has one thread, and the records of all threads of its parent. It never frees
//!   what was retired before the fork ([`Reclaimer::is_forked`]), because values may have been half
//!   written, and because what they stand for (files, locks) also belongs to the parent. A domain
//!   that is made in the forked process works as usual.
//! - No foreign code runs in here: values are handed out, to be dropped elsewhere. A reclaimer that
//!   unwinds leaks what it has.
//!
//! # Sources
//!
//! Epochs: Fraser, *Practical lock-freedom* (2004). The kernel's help, with its proof: Desnoyers
//! and others, *User-level implementations of read-copy update* (2012), and the asymmetric fences
//! of P1202. Readers that store a number of their own instead of a shared one, so that they load
//! nothing that another thread writes to: as in the read-side counters of sleepable RCU.

pub(crate) mod barrier;
mod period;
mod pin;
#[allow(unsafe_code)]
pub(crate) mod threads;
mod word;

pub use period::Reclaimer;
pub use pin::{Domain, Guard};
pub use threads::Awaited;
