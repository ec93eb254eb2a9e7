//! Hash maps of many versions: read at the speed of a hash map, with consistent snapshots in O(1).
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
//! # What it costs, and when to use something else
//!
//! - **One writer at a time.** Writers of a domain take turns, behind a mutex. Where many threads write all
//!   the time, a map of many locks (`dashmap`, `scc::HashMap`) gets more done.
//! - **A replaced value lives on for a while.** Values are dropped after some hundred to some thousand later
//!   commits, or when the domain goes: by whoever writes, and by whoever reads, too, where much has
//!   waited. So keys and values are `Send + Sync + 'static`, and a `Drop` that others wait for is in
//!   the wrong place here.
//! - **An update does not change a value in its place**: it makes another one.
//! - **Memory.** A key takes a cell of 32 bytes and the key, rounded up to 32; a version of 16 bytes and the value,
//!   which is rounded up to 32, or to a multiple of 64; 32 bytes for each slot, of which there are 1.25 to 3 a key, after removals more.
//!   A *small* key (a number, `bool`, `char`, `&'static str`, and other types of the standard library of up to 16 bytes that are `Copy`)
//!   stands in the version as well, its cell is not rounded up, and there are 1.7 to 4 slots a key: `u64` under `u64` takes 40 bytes, 32, and the slots.
//!   Types of your own are not among them, small as they may be: a map cannot know that they are `Copy`.
//! - **A table that grows** is laid out anew beside the one that is read, by whoever writes: with each key that is put or removed 64
//!   slots are moved, so that a table of `n` slots takes `n / 50` of them. Meanwhile both tables are there, and reads cost what they cost
//!   otherwise. Of a million insertions the slowest took 0.2 to 3.2 ms of processor time, for memory that was given back (32 to 84 ms when a
//!   single commit did all of it); of as many removals, of which some make the table narrower, 1.2 to 5.1. A commit of
//!   many keys, and `extend`, do this for all of them.
//! - **A thread that sleeps with a pinned view** keeps everything in memory that is replaced meanwhile in that domain,
//!   and in every other one that it has read while it held the view. One that is forgotten (`mem::forget`) holds up
//!   its domain for good, and each that its thread reads from then on.
//! - **A pinned view finds a value behind all its newer versions.** Nothing that has been replaced since it began can be
//!   taken out, so a view that looks often at a key which is updated all the time takes longer and longer; beside a writer that did
//!   nothing else, a hundred looks at such a key had not ended after a million updates. One pin for each look does not have this.
//! - **A snapshot** keeps the versions that it shows, and the tables of its time: 32 bytes for each slot, which snapshots share
//!   unless a table has grown or shrunk between them. That table was made for the keys of its time, with those that only other
//!   snapshots showed; so a snapshot of few keys beside one of many may keep as wide a table. For a value that has
//!   been replaced it keeps what the writer notes of it, too, 48 to 96 bytes and a place in a hash map. Its end takes the domain's turn where something was kept for it,
//!   and costs what it kept alone, however many others there are.
//! - Without consistent snapshots or commits of several keys, `papaya` does with fewer words a key what this does.
//!
//! # What it gives
//!
//! - **Snapshots in O(1)**, of all maps of a domain, that are `Send + Sync + 'static`, stay for as long as one likes,
//!   and keep nothing but what they show, however much is written meanwhile.
//! - **Commits** of any number of keys in any number of maps, that are seen whole or not at all.
//! - **Readers wait for nobody**: no lock, no fence where the kernel has `membarrier(2)`, no write to memory that another
//!   thread uses. Threads that exist and do not read cost them nothing.
//! - **References, not clones**: [`with`](VersionedMap::with), [`pinned`](VersionedMap::pinned) views, snapshots and readers
//!   answer with `&V`.
//!
//! # Consistency
//!
//! Linearizable. A commit becomes visible when its revision is published, in all maps of its domain at once. Every view answers
//! from one revision, and shows the same however often it is asked. Who has been told of a commit sees it. Maps of two domains
//! have nothing to do with each other.
//!
//! Commits that depend on what was read are made with
//! [`publish_if_unchanged_since`](Commit::publish_if_unchanged_since), which makes them serializable; for a single key there are
//! [`update`](VersionedMap::update), [`compute`](VersionedMap::compute) and [`compare_and_set`](VersionedMap::compare_and_set).
//! [`publish`](Commit::publish) by itself lets two commits pass each other, each of which has read what the other one changes (write
//! skew).
//!
//! # Reading
//!
//! | | for | costs | holds up meanwhile |
//! | --- | --- | --- | --- |
//! | [`get`](VersionedMap::get), [`with`](VersionedMap::with) | one question | a pin each | |
//! | [`pinned`](Domain::pinned) | many questions in a row | one pin | the freeing of all that is replaced |
//! | [`reader`](Domain::reader) | a thread that reads a lot | a comparison, unless something was written | what it can see |
//! | [`snapshot`](Domain::snapshot) | answers that stay, on any thread | registering, once | what it can see |
//!
//! # Panics, locks, forks
//!
//! What a caller's `Hash`, `Eq`, `Clone`, `Drop` and closures may do stands at [`VersionedMap`]. In a process that was forked off, reads
//! go on and nothing is freed but what is dropped as a whole; who writes there, or drops a map, waits for ever where another thread was writing at the fork. A signal handler may read with [`with`](VersionedMap::with), after its thread's first read.
//! `VERSIONED_MAP_MEMBARRIER=off` in the environment has pins with a fence, as on systems without that call.
//!
//! # Features
//!
//! `serde`: maps, snapshots and pinned views are serialized as maps; a map is deserialized into a domain of its own.
//!
//! How it works stands in [`algorithm`].

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
