//! One key in a turn: its newest value, and what is put there.

use equivalent::Equivalent;

use super::cell::{At, Key};
use super::engine::Owner;
use super::kind;
use super::tables::Map;
use super::turn::{Position, Turn};

impl<'e, O: Owner> Turn<'e, O> {
    /// Where a key with that hash stands, to look at it and then put something there. Nothing else is
    /// put meanwhile.
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

/// Where a key stands, or would stand: found in a turn, which it borrows.
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
    /// The newest value there, which may not be published yet.
    #[inline]
    pub fn value(&self) -> Option<&V> {
        let taken = self.position.taken.as_ref()?;
        // SAFETY: this is the writer, and nothing has been put there since.
        unsafe { kind::value(taken.newest) }
    }

    /// The revision that the commit leads to.
    #[inline]
    pub fn next_revision(&self) -> u64 {
        self.turn.next()
    }

    /// Puts a value there; `key` is what the key is made of, where it was not there.
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

    /// Puts another value in the place of the one that is there. Where there is none, it does
    /// nothing.
    #[inline]
    pub fn replace(self, value: V) {
        if self.value().is_some() {
            self.turn.replace(self.map, &self.position, Some(value));
        }
    }

    /// Removes the key. Answers where it stood, if it was there.
    pub fn remove(self) -> Option<At<V>> {
        self.value()?;
        let cell = self.turn.replace(self.map, &self.position, None)?;
        Some(At::new(cell))
    }

    /// Puts a changed copy of the value in the place of the one that is there, without cloning it:
    /// the newer version takes over what both share, and lends it to the older one. Where there is
    /// none, it does nothing.
    ///
    /// # Safety
    ///
    /// `change` changes plain data only: it drops nothing of the value, moves nothing out of it,
    /// and stores nothing in it that wants to be dropped. It does not panic. Nothing in the value can be
    /// changed through a shared reference but behind a pointer that both copies have.
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
        // SAFETY: this is the writer; nothing has been put there since the position was found; it
        // is put in front at once; and the caller's.
        let fresh = unsafe {
            kind::succeed_lending::<K, V>(spare, taken.cell, taken.newest, revision, change)
        };
        let kind = Map::<K, V>::kind();
        let map = self.map.number();
        self.turn.push(map, kind, self.position.hash, &taken, fresh);
    }
}
