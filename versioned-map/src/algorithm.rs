//! How it works. This page has no items.
//!
//! # Tables, chains, revisions
//!
//! Each map of a domain is a hash table from a key to a *chain* of versions, newest first. One
//! writer at a time holds the domain's lock, its *turn*. It puts versions with the revision
//! `published + 1` in front of chains, where readers pass over them. Then it stores `published`,
//! which makes all of them visible at once, in all maps.
//!
//! ```text
//!  slot of the table           version          version          version
//!  [newest+tag | cell]-------->[ 52 | value ]-->[ 47 | value ]-->[ 12 | value ]
//!                 v             ^
//!  cell of the key              |
//!  [newest | revision | key]----'
//! ```
//!
//! The table uses open addressing with linear probing. The pointer in a slot holds five bits of the
//! hash. So a look-up usually goes to one slot, and from there to the version and to the key at the
//! same time.
//!
//! A *small* key (of certain types of the standard library that are `Copy` and have up to 16 bytes)
//! stands in each version, behind the value. Then a look-up loads no cell:
//!
//! ```text
//!  slots of the table, by themselves    version               version
//!  [newest+tag] [newest+tag] ...------->[ 52 | value | key ]->[ 47 | value | key ]
//!  [cell] [cell] ...-->[revision | newest | key]
//! ```
//!
//! The list of types is fixed because those types may be copied. It would not be enough that a type
//! is small and has no `Drop`: a lock can be both, and must not exist twice.
//!
//! A slot belongs to its key until another table replaces the whole table at once. So a reader that
//! goes from slot to slot misses no key that was there when it began.
//!
//! When a table is full, or much too large, the writer builds its *successor*, which readers do not
//! see. With each key that it puts or removes, the writer first initializes some slots of the
//! successor, and then moves some slots of the old table. It repeats every change of a slot that it
//! has already moved. So the old table stays complete until the successor is complete and replaces
//! it. Readers look in one table, and a snapshot keeps the one that it has.
//!
//! # Readers
//!
//! A **pinned** reader pins its thread, loads `published`, then the tables, and takes from each chain
//! the first version that is not newer.
//!
//! A **registered** reader (a snapshot) has stored its revision in a slot of its own, and holds the
//! tables of that time by a reference count. It is not pinned. If the head of a chain is not newer
//! than its revision, that version is the one to show, and it is protected. If it is newer, the
//! reader pins its thread while it follows the chain, from the newest table.
//!
//! A pin is one store to a line that no other thread writes to. A read writes to no memory that
//! another thread uses, and waits for nobody.
//!
//! # What is freed when
//!
//! A version is *visible* from its own revision until that of the next one in its chain. Two kinds
//! of readers may need it: registered readers of a revision in between, and pinned readers of an
//! earlier revision than that of the next one, which no list names. The writer unlinks a version
//! when
//!
//! 1. a period has passed since the next version was published. A reader that was pinned then has
//!    left, and a later one has loaded a later revision;
//! 2. no registered reader is in between, by a scan that was made after that period: a reader that
//!    was pinned has registered before it left. The result of a scan is used until another period
//!    has passed, without the readers that have gone since. So the writer scans once a period, and
//!    only after as much work as the scan costs.
//!
//! It frees the version after another period, because a registered reader that follows the chain to
//! an older version may be on it. If the scan has found no reader, and nothing is kept, no reader
//! can be on it: a pinned reader of a later revision stops at a later version. Then the writer uses
//! the memory again at once, if another version owns the value or the value needs no `Drop`.
//!
//! A version that a registered reader needs is *kept*, in the list of the oldest revision that needs
//! it. When the last reader of that revision goes, it sees by a mark that something was kept, and
//! tells the writer. The writer frees what ends before the next registered reader, and moves the rest
//! to that reader's list as a whole. So a snapshot keeps what it can see, however much is written in
//! the meantime. Thousands of snapshots can go in any order, in O(what they kept, times a logarithm).
//!
//! When the only version of a key says that the key is absent, the key is *removed*: its slot is
//! marked as dead, and its cell is treated as one more version that ends now. It needs no unlinking,
//! but it needs a period too: a reader that was pinned before, and has loaded tables that contain the
//! cell, may still register.
//!
//! A writer ends a *period* once in 1,024 replaced versions, with the system call `membarrier(2)`,
//! which replaces the fence that pins do not have, and a look at every thread that was ever pinned.
//! The period has *passed* when the threads that were pinned then have left. On a kernel without that
//! call, pins have a fence.
//!
//! The writer does all of this once in 64 replaced versions, and examines 32 waiting versions for
//! each of them. If more than 8,192 versions wait, or if a map was cleared or a domain has lost its
//! last owner, readers help: a thread that drops a view or a snapshot frees 2,048 versions at a time
//! as soon as the reader for which they waited has left, until none is left or another thread
//! commits. A read without a closure frees up to 2,048. Values and keys are dropped outside the turn,
//! and never inside each other's `Drop`: what a `Drop` makes free is freed after it.
//!
//! Clearing a map replaces its table by an empty one. The old table is freed with everything in it
//! when its last reader has left. If there are snapshots, clearing puts a version without a value in
//! front of each chain instead, so that the snapshots keep only what they show.
//!
//! # Commits and the caller's code
//!
//! A [`Commit`](crate::Commit) collects its changes, hashes their keys, and compares the keys with
//! each other. To publish, it takes the turn, skips the maps that have been dropped, and then
//!
//! 1. finds the slots of all keys. Here the caller's `Eq` runs. Nothing has been written yet, so a
//!    panic leaves everything as it was. A write to the same domain from here panics;
//! 2. makes room for the new keys in the tables, and puts all versions. No code of the caller runs,
//!    and nothing is assumed that an `Eq` that lies could have made false;
//! 3. stores `published`, and ends the turn. Then it drops what is left over.
//!
//! [`update`](crate::VersionedMap::update) and similar methods run their closures before they take
//! the turn, and again if the key was changed in the meantime. If there is a panic during step 2
//! (none is known), the next thread that takes the turn closes the domain: existing views still show
//! what was published last, and nobody ever sees a part of that commit.
//!
//! # Invariants
//!
//! - What can be reached from the newest tables has not been freed: it is unlinked first. Links lead
//!   only to older versions of the same cell.
//! - A table that has been replaced is not written to any more. Its heads may lead to freed versions,
//!   except for readers that were pinned when it was replaced, and except for heads that are not newer
//!   than a registered revision.
//! - A cell is freed with its last version.
//! - What only the writer needs (which version replaced which, hashes) is read and written in the
//!   turn, with relaxed operations.
//!
//! # Sources
//!
//! Multi-version concurrency control: Reed (1978), Bernstein and Goodman (1983). Visibility by a
//! published revision: Larson and others, *High-performance concurrency control mechanisms for
//! main-memory databases* (2011), and `LMDB`, whose readers register as here. Reclamation: see the
//! papers named in `reclaim`.
//!
//! # How it is checked
//!
//! loom runs the steps of the engine. Each protocol has a *twin*: the engine with one step left out
//! or done too early, which loom must reject. loom cannot see `membarrier`: in a model fences
//! replace it, as the reclamation explains. A stress test with real threads, and with delays between
//! any two accesses, checks whole programs, and must notice eight of the twins.
