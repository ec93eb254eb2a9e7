//! Multi-version concurrent hash maps: reads at the speed of a hash map, and consistent snapshots
//! in O(1).
//!
//! ```
//! use versioned_map::{Domain, VersionedMap};
//!
//! let domain = Domain::new();                             // one revision, one writer at a time
//! let pods: VersionedMap<String, u16> = domain.map();     // as many maps as one likes
//! let names: VersionedMap<String, Vec<String>> = domain.map();
//!
//! let mut commit = domain.commit();
//! commit.insert(&pods, "a".into(), 8080);
//! commit.insert(&names, "checkout".into(), vec!["a".into()]);
//! commit.publish();                                       // dropped instead: nothing happened
//!
//! let snapshot = domain.snapshot();                       // O(1), Send + Sync + 'static, of all maps
//! pods.remove("a");                                       // a commit of its own
//! assert_eq!(snapshot.get(&pods, "a"), Some(&8080));
//! assert_eq!(pods.get("a"), None);
//! ```
//!
//! # Costs, and when to use something else
//!
//! - **One writer at a time.** The writers of a domain take turns, behind a mutex. Where many
//!   threads write all the time, a map with many locks (`dashmap`, `scc::HashMap`) gets more done.
//! - **A replaced value lives on for a while.** It is dropped some hundred to some thousand commits
//!   later, or with the domain, by a thread that writes or, if the backlog is large, by a thread
//!   that reads. So keys and values are `Send + Sync + 'static`, and a `Drop` that other code waits
//!   for does not belong here.
//! - **An update does not change a value in place**: it creates a new value.
//! - **Memory.** A key takes a cell of 32 bytes plus the key, rounded up to 32. A value takes a
//!   version of 16 bytes plus the value, rounded up to 32 or to a multiple of 64. The table takes
//!   32 bytes per slot, with 1.25 to 3 slots per key, and more after removals. A *small* key (a
//!   number, `bool`, `char`, `&'static str`, and other `Copy` types of the standard library of up
//!   to 16 bytes) is also stored in the version; its cell is not rounded up, and there are 1.7 to 4
//!   slots per key: `u64` under `u64` takes 40 bytes, 32, and the slots. Your own types never count
//!   as small, because a map cannot know that they are `Copy`.
//! - **A table that grows** is rebuilt by writers beside the one that is read: each insertion or
//!   removal of a key moves 64 slots, so a table of `n` slots takes `n / 50` of them. Meanwhile
//!   both tables are in memory, and reads cost the same as otherwise. Of a million insertions the
//!   slowest took 0.2 to 3.2 ms of processor time, which went into giving memory back (32 to 84 ms
//!   when a single commit did all of it); of as many removals, some of which shrink the table, 1.2
//!   to 5.1. A commit of many keys, and `extend`, do this work for all of them.
//! - **A thread that sleeps with a pinned view** keeps in memory everything that is replaced
//!   meanwhile in that domain, and in every other domain that it has read while it held the view. A
//!   forgotten view (`mem::forget`) stops its domain from freeing anything, and also each domain
//!   that its thread reads from then on.
//! - **A pinned view finds a value behind all its newer versions.** No version that was replaced
//!   since the view began can be removed, so look-ups of a key that is updated all the time take
//!   longer and longer. Beside a writer that did nothing else, a hundred look-ups of such a key had
//!   not ended after a million updates. One pin per look-up avoids this.
//! - **A snapshot** keeps the versions that it shows, and the tables of its time: 32 bytes per
//!   slot, which snapshots share unless a table has grown or shrunk between them. That table was
//!   sized for the keys of its time, including those that only other snapshots showed; so a
//!   snapshot of few keys beside one of many may keep a table as wide. For a value that has been
//!   replaced, the snapshot also keeps the writer's record of it, 48 to 96 bytes and an entry in a
//!   hash map. Dropping a snapshot takes the domain's writer lock if something was kept for it, and
//!   costs only what this snapshot alone kept, however many others there are.
//! - If you need neither consistent snapshots nor commits of several keys, `papaya` does the same
//!   with fewer words per key.
//!
//! # Features of the maps
//!
//! - **Snapshots in O(1)** of all maps of a domain. They are `Send + Sync + 'static`, live as long
//!   as you like, and keep only what they show, however much is written meanwhile.
//! - **Commits** of any number of keys in any number of maps, visible as a whole or not at all.
//! - **Readers never wait**: no lock, no fence where the kernel has `membarrier(2)`, no write to
//!   memory that another thread uses. Threads that exist and do not read cost them nothing.
//! - **References, not clones**: [`with`](VersionedMap::with), [`pinned`](VersionedMap::pinned)
//!   views, snapshots and readers return `&V`.
//!
//! # Consistency
//!
//! All operations are linearizable. A commit becomes visible when its revision is published, in all
//! maps of its domain at once. Every view answers from one revision, and always shows the same.
//! Once a commit has returned, every later read sees it. Maps of different domains are independent.
//!
//! To make a commit that depends on what was read, use
//! [`publish_if_unchanged_since`](Commit::publish_if_unchanged_since): such commits are
//! serializable. For a single key there are [`update`](VersionedMap::update),
//! [`compute`](VersionedMap::compute) and [`compare_and_set`](VersionedMap::compare_and_set).
//! [`publish`](Commit::publish) alone allows write skew: each of two commits may have read what the
//! other one changes.
//!
//! # Reading
//!
//! | | for | cost | delays meanwhile |
//! | --- | --- | --- | --- |
//! | [`get`](VersionedMap::get), [`with`](VersionedMap::with) | one question | one pin each | |
//! | [`pinned`](Domain::pinned) | many questions in a row | one pin | the freeing of everything that is replaced |
//! | [`reader`](Domain::reader) | a thread that reads a lot | one comparison, unless something was written | the freeing of what it can see |
//! | [`snapshot`](Domain::snapshot) | answers that stay, on any thread | one registration | the freeing of what it can see |
//!
//! # Panics, locks, forks
//!
//! [`VersionedMap`] describes what the caller's `Hash`, `Eq`, `Clone`, `Drop` and closures may do.
//! In a forked process, reads work, and nothing is freed but what is dropped as a whole; a write,
//! or the drop of a map, waits forever if another thread was writing at the time of the fork. A
//! signal handler may read with [`with`](VersionedMap::with), after its thread's first read. With
//! `VERSIONED_MAP_MEMBARRIER=off` in the environment, pins use a fence, as on systems without that
//! call.
//!
//! # Features
//!
//! `serde`: maps, snapshots and pinned views serialize as maps; a map is deserialized into its own
//! domain.
//!
//! The page [`algorithm`] explains how the maps work.

pub mod algorithm;
mod commit;
mod domain;
mod handle;
mod map;
mod map_view;
#[doc(hidden)]
#[allow(unsafe_code)]
pub mod raw;
#[doc(hidden)]
pub mod reclaim;
#[cfg(feature = "serde")]
mod serde;
mod sync;
mod twin;
mod view;

pub use commit::Commit;
pub use domain::Domain;
pub use handle::RandomState;
pub use map::{Change, VersionedMap};
pub use map_view::{MapReader, MapSnapshot, PinnedMap};
pub use view::{Pinned, Reader, Snapshot};

#[cfg(all(test, loom))]
mod map_models;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
