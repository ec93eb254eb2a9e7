//! The domain of several maps: one revision, and one writer at a time.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use crate::commit::Commit;
use crate::handle::{Handle, RandomState};
use crate::map::VersionedMap;
use crate::view::{Pinned, Reader, Snapshot};

/// Maps that are changed together and seen together.
///
/// A domain has one revision, which grows by one with each commit that changes something in any
/// of its maps, and one writer at a time. A [`Snapshot`] shows all of them at one revision.
/// Maps that are never changed or looked at together are better off in domains of their own, which
/// is what [`VersionedMap::new`] gives them.
///
/// A clone is another handle of the same domain.
///
/// ```
/// use versioned_map::{Domain, VersionedMap};
///
/// let domain = Domain::new();
/// let pods: VersionedMap<String, u16> = domain.map();
/// let names: VersionedMap<&str, Vec<String>> = domain.map();
///
/// let mut commit = domain.commit();
/// commit.insert(&pods, "a".to_string(), 8080);
/// commit.insert(&names, "checkout", vec!["a".to_string()]);
/// commit.publish();
///
/// let snapshot = domain.snapshot();
/// pods.remove("a");
/// assert_eq!(snapshot.get(&pods, "a"), Some(&8080));
/// assert_eq!(domain.snapshot().get(&pods, "a"), None);
/// ```
#[derive(Clone)]
pub struct Domain {
    handle: Handle,
}

impl Domain {
    /// Creates a domain without maps.
    pub fn new() -> Domain {
        Domain {
            handle: Handle::new(),
        }
    }

    /// Creates an empty map in this domain.
    ///
    /// A domain keeps a few bytes for each map that was ever made in it.
    pub fn map<K, V>(&self) -> VersionedMap<K, V>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        self.map_with_hasher(RandomState::default())
    }

    /// Creates an empty map with the given hasher in this domain.
    pub fn map_with_hasher<K, V, S>(&self, hasher: S) -> VersionedMap<K, V, S>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
        S: BuildHasher,
    {
        let map = self.handle.add();
        VersionedMap::of(self.handle.clone(), map, hasher)
    }

    /// Begins a commit, which may change several maps at once. Takes no lock yet.
    pub fn commit(&self) -> Commit<'_> {
        Commit::new(&self.handle)
    }

    /// Returns a snapshot of the present state of all maps, which can be kept as long as you like.
    /// O(1); allocates only if there are more snapshots at once than ever before.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.handle.engine())
    }

    /// Returns a handle for a thread that reads a lot: a snapshot that moves on by itself. O(1).
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.handle.engine())
    }

    /// Returns a view of the present state of all maps, for several questions in a row on one
    /// thread: the cheapest consistent view. O(1), allocates nothing.
    ///
    /// While the view exists, nothing that is replaced in this domain is freed, nor in any other
    /// domain that the thread reads meanwhile: see [`Pinned`].
    #[inline]
    #[must_use]
    pub fn pinned(&self) -> Pinned<'_> {
        Pinned::new(self.handle.engine())
    }

    /// Returns the newest revision: 0 at first.
    pub fn revision(&self) -> u64 {
        self.handle.engine().pin().revision()
    }
}

impl<K, V, S> VersionedMap<K, V, S> {
    /// Returns the domain of the map.
    pub fn domain(&self) -> Domain {
        Domain {
            handle: self.handle().clone(),
        }
    }
}

impl Default for Domain {
    fn default() -> Domain {
        Domain::new()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
