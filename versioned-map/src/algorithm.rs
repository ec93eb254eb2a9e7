//! How it works: no items, only this page.
//!
//! # Tables, chains, revisions
//!
//! Each map of a domain is a hash table from a key to a *chain* of versions, newest first. One
//! writer at a time holds the domain's lock, its *turn*. It puts versions with the revision
//! `published + 1` in front of chains, where readers pass over them, and then stores `published`,
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
//! The table is an open one with linear probing. A slot has five bits of the hash in its pointer, so that a
//! look-up as a rule goes to one slot, and from there to the version and to the key at the same time. A *small* key, of one of
//! some types of the standard library of up to 16 bytes that are `Copy`, stands in each version behind the value, and a look-up goes to no cell:
//!
//! ```text
//!  slots of the table, by themselves    version               version
//!  [newest+tag] [newest+tag] ...------->[ 52 | value | key ]->[ 47 | value | key ]
//!  [cell] [cell] ...-->[revision | newest | key]
//! ```
//!
//! It is known of these types only that they may be copied. That a type is small and needs no `Drop` is not enough: a lock may be, and must
//! not be there twice.
//!
//! A slot
//! that is taken stays its key's until the table is laid out anew, in another one that takes the
//! place of this one at once; so no reader who goes from slot to slot misses a key that was there when it began.
//!
//! Where a table is full, or much too wide, the writer makes its *successor*, which nobody else knows of. With each key that is put, or
//! removed, it writes some slots of that at first, and then moves some of the old one's. What changes in a slot that has been moved
//! is changed in the successor as well. So the old table is complete until the successor is, which then takes its place at once; readers look
//! in one table, and a snapshot goes on with the one that it has.
//!
//! # Readers
//!
//! A **pinned** reader pins its thread, loads `published`, then the tables, and takes from each chain the
//! first version that is not newer.
//!
//! A **registered** reader (a snapshot) has told its revision, in a place of its own, and holds the tables of
//! that time by a reference count. It is not pinned. Where the head of a chain is not newer than its
//! revision, that is the version to see, and it is protected. Where it is newer, the reader pins for as
//! long as it takes to follow the chain, from the newest tables.
//!
//! A pin is one store to a line that no other thread writes to. A read writes to no memory that another thread
//! uses, and waits for nobody.
//!
//! # What is freed when
//!
//! A version is *visible* from its own revision until that of the next one in its chain. It may be
//! needed by registered readers of a revision in between, and by pinned readers of an older revision
//! than that of the next one, who have told nobody. The writer takes a version out of its chain when
//!
//! 1. a period has passed since the next one was published: whoever was pinned then has left, and who
//!    was pinned later has loaded a later revision;
//! 2. no registered reader is in between, by a scan that is made after that: whoever was pinned has
//!    registered before it left. What a scan has found holds until another period has passed, but for those who
//!    have gone since; so it is made once a period, and not before as much has been done as it costs.
//!
//! Then it is unlinked, and retired, to be freed after another period, because a registered reader who follows the
//! chain to an older version may be on it. Where that scan has found nobody, and nothing is kept, nobody can be: a
//! pinned reader of a later revision stops at a later version. Then its memory is used again at once, if its value is
//! another version's or wants no drop. A version that a registered reader needs is *kept*, under the oldest revision
//! that needs it. When that one is registered no more, whoever gives back its place sees by a mark that something
//! was kept, and tells the writer the revision: what ends before the next registered reader goes, and the rest is
//! handed on to that one as a whole. So a snapshot keeps what it can see, however much is written
//! meanwhile, and thousands of them go in O(what they kept, and a logarithm of it), in any order.
//!
//! A key whose only version says that it is not there is *removed*: its slot dies, and the cell is treated as one
//! more version, which ends now. It needs no unlinking, but a period as well: who was pinned before, and has loaded
//! tables in which it lives, may register yet.
//!
//! A *period* ends with a system call, `membarrier(2)`, that makes up for the fence which pins do not have,
//! and a look at every thread that was ever pinned: once in 1,024 replaced versions. It has *passed* when those
//! who were pinned then have left. Where the kernel has no such call, pins have their fence.
//!
//! All of this is done every few commits, by the writer, for 32 times as many versions as have been replaced
//! since. Where more than 8,192 wait, and where a map is cleared or a domain has lost its last owner, whoever lets go
//! of a view or a snapshot sees to them, 2,048 at a time, as soon as a reader has left whom they wait for, and
//! until all are gone or somebody commits. Who reads without a closure sees to 2,048. Values and keys are dropped when the turn has been given back,
//! and never within one another: a thread that frees takes what its `Drop`s have left to be freed after them.
//!
//! Clearing a map puts another table in the place of the old one, which goes, with all that is in it, with its
//! last reader; beside snapshots it puts a version in each chain that says that there is nothing, so that they
//! keep what they show and no more.
//!
//! # Commits and code of a caller's
//!
//! A [`Commit`](crate::Commit) notes its changes, hashes their keys, and compares keys among themselves. Publishing takes
//! the turn, passes over the maps that have gone since, and then
//!
//! 1. finds where all keys stand: here the caller's `Eq` runs. Nothing has been written yet, so that a panic
//!    leaves everything as it was. A write to the same domain from in here panics;
//! 2. has room for the new keys in the tables, and puts all versions. No code of a caller runs, and nothing of
//!    what was found is trusted that an `Eq` that lies could have got wrong;
//! 3. stores `published`, and gives the turn back. What is left over is dropped.
//!
//! [`update`](crate::VersionedMap::update) and the like run their closures before they take the turn, and begin anew where
//! the key has got another version meanwhile. A panic in the middle of 2, which nothing is known to cause, has the next
//! one to take the turn close the domain: what was published last can still be read from views that are there, and nothing of what
//! was half written is ever seen.
//!
//! # Invariants
//!
//! - What can be reached from the newest tables has not been freed: it is unlinked first. Links lead only
//!   to older versions of the same cell.
//! - A table that has been replaced is not written to any more. Its heads may lead to what has been freed, but for
//!   readers who were pinned when it was replaced, and for heads that are not newer than a registered revision.
//! - A cell is freed with its last version.
//! - Whatever only the writer asks for (which version replaced another, hashes) is read and written in the turn,
//!   with relaxed operations.
//!
//! # Sources
//!
//! Multi-version concurrency control: Reed (1978), Bernstein and Goodman (1983); visible by a published revision as in
//! Larson and others, *High-performance concurrency control mechanisms for main-memory databases* (2011), and in
//! `LMDB`, whose readers register as here. Reclamation: see the papers that are named in `reclaim`.
//!
//! # How it is checked
//!
//! loom runs the engine's steps, each protocol with a *twin*: the engine with one step left out or done too early, which
//! has to be rejected. loom cannot see `membarrier`: in a model fences stand for it, as the reclamation explains. A stress of real
//! threads, with delays between any two accesses, looks at whole programs, and has to notice eight of the twins.
