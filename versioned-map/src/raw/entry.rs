//! One key in a turn: its newest value, and what the writer puts there.

use equivalent::Equivalent;

use super::cell::{At, Key};
use super::engine::Owner;
use super::kind;
use super::tables::Map;
use super::turn::{Position, Turn};

impl<'e, O: Owner> Turn<'e, O> {
    /// Finds the slot of a key with this hash, to read its value and then put another one. The
    /// entry borrows the turn, so nothing else can be put at the same time.
    #[inline]
    pub fn entry<K, V, Q>(&mut self, map: Map<K, V>, hash: u64, key: &Q) -> Entry<'_, 'e, O, K, V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let position = self.find(map, hash, key);
        Entry {
            turn: self,
            map,
            position,
        }
    }
}

/// A key's slot, if it has one, found in a turn that this borrows.
pub struct Entry<'t, 'e, O: Owner, K: ?Sized, V> {
    turn: &'t mut Turn<'e, O>,
    map: Map<K, V>,
    position: Position,
}

impl<O: Owner, K, V> Entry<'_, '_, O, K, V>
where
    K: Key + Send + Sync + ?Sized,
    V: Send + Sync + 'static,
{
    /// The newest value of the key, published or not.
    #[inline]
    pub fn value(&self) -> Option<&V> {
        let taken = self.position.taken.as_ref()?;
        // SAFETY: this thread is the writer, and has put nothing since the position was found.
        unsafe { kind::value(taken.newest) }
    }

    /// The revision that this commit publishes.
    #[inline]
    pub fn next_revision(&self) -> u64 {
        self.turn.next()
    }

    /// Puts a value under the key. If the key has no slot yet, makes it from `key`.
    pub fn insert(self, key: K::New<'_>, value: V) -> At<V> {
        let Entry {
            turn,
            map,
            position,
        } = self;
        At::new(if position.is_vacant() {
            turn.add_key(map, &position, key, value)
        } else {
            let cell = turn.replace(map, &position, Some(value));
            cell.expect("the key has a cell")
        })
    }

    /// Replaces the value. Does nothing if there is none.
    #[inline]
    pub fn replace(self, value: V) {
        if self.value().is_some() {
            self.turn.replace(self.map, &self.position, Some(value));
        }
    }

    /// Removes the key. Returns where it stood, if it was there.
    pub fn remove(self) -> Option<At<V>> {
        self.value()?;
        let cell = self.turn.replace(self.map, &self.position, None)?;
        Some(At::new(cell))
    }

    /// Replaces the value by a changed copy of it, without cloning: the newer version takes over
    /// what both share, and lends it to the older one. Does nothing if there is no value.
    ///
    /// # Safety
    ///
    /// `change` changes plain data only: it drops nothing of the value, moves nothing out of it,
    /// and stores nothing in it that needs a drop. It does not panic. Nothing in the value can be
    /// changed through a shared reference, except behind a pointer that both copies have.
    #[inline]
    pub unsafe fn lend(self, change: impl FnOnce(&mut V)) {
        let Some(taken) = self.position.taken else {
            return;
        };
        if self.value().is_none() {
            return;
        }
        let revision = self.turn.begin();
        let spare = self.turn.spare::<K, V>();
        // SAFETY: this thread is the writer, and has put nothing since the position was found; it
        // puts the version in front at once. The caller guarantees the rest.
        let fresh = unsafe {
            kind::make_lending::<K, V>(spare, taken.cell, taken.newest, revision, change)
        };
        let kind = Map::<K, V>::kind();
        let map = self.map.number();
        self.turn.push(map, kind, self.position.hash, &taken, fresh);
    }
}
