//! How much work a commit does while a table grows or shrinks: counted, not timed.

use std::sync::Arc;

use super::super::limits::SLOTS_WRITTEN_PER_MOVE;
use super::super::sample::scattered;
use super::super::{Engine, Map, Turn};
use super::{SLOTS_MOVED_PER_KEY, Successor};

// SAFETY: `Numbers::new` creates this map first.
const MAP: Map<u64, u64> = unsafe { Map::numbered(0) };

struct Numbers(Arc<Engine<()>>);

/// The table that readers see, and the progress of its successor.
#[derive(Clone, Copy, PartialEq)]
struct Progress {
    /// The address of the table.
    table: usize,
    slots: usize,
    written: usize,
    moved: Option<usize>,
    live: usize,
}

impl Numbers {
    fn new() -> Numbers {
        let mut engine = Engine::new(());
        assert_eq!(engine.add::<u64, u64>(), MAP.number());
        Numbers(Arc::new(engine))
    }

    fn progress(&self) -> Progress {
        let turn = self.0.turn();
        let usage = turn.writer.usages[0];
        let slots = turn.table(0).len();
        assert!(usage.used < slots, "a probe would not end");
        let successor = turn.writer.successors.get(&0);
        let written = |successor: &Successor| match (&successor.unwritten, &successor.table) {
            (Some(unwritten), _) => unwritten.written(),
            (None, Some(table)) => table.len(),
            (None, None) => 0,
        };
        Progress {
            table: turn.table(0).slot(0).newest.as_ptr().addr(),
            slots,
            written: successor.map_or(0, written),
            moved: successor.map(|successor| successor.moved),
            live: usage.live,
        }
    }

    /// Makes a commit of this many changes, and checks that it has not done more than its share.
    fn commit(&self, changes: usize, put: impl FnOnce(&mut Turn<'_, ()>)) -> Progress {
        let before = self.progress();
        let mut turn = self.0.turn();
        put(&mut turn);
        turn.publish();
        drop(turn);
        let after = self.progress();
        let died = before.live.saturating_sub(after.live);
        let steps = changes + died;
        // If the successor has been installed, all slots of the old table have been moved.
        let is_replaced = before.table != after.table;
        let moved = if is_replaced { before.slots } else { 0 } + after.moved.unwrap_or(0);
        let moved = moved - before.moved.unwrap_or(0);
        assert!(
            moved <= steps * SLOTS_MOVED_PER_KEY,
            "{moved} slots in {steps} steps"
        );
        if !is_replaced {
            let written = after.written - before.written;
            // The new table is twice as large.
            let most = steps * 2 * SLOTS_WRITTEN_PER_MOVE * SLOTS_MOVED_PER_KEY;
            assert!(written <= most, "{written} in {steps} steps");
        }
        after
    }

    fn insert(&self, key: u64, value: u64) -> Progress {
        self.commit(1, |turn| {
            turn.entry(MAP, scattered(key), &key).insert(key, value);
        })
    }

    fn remove(&self, key: u64) -> Progress {
        self.commit(1, |turn| {
            turn.entry(MAP, scattered(key), &key).remove();
        })
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.pin().get(MAP, scattered(key), &key).copied()
    }
}

const KEYS: u64 = 3_000;

#[test]
fn no_commit_moves_more_than_a_few_slots() {
    let numbers = Numbers::new();
    let mut moving = 0;
    let mut views = Vec::new();
    for key in 0..KEYS {
        let progress = numbers.insert(key, key);
        if let Some(moved) = progress.moved {
            moving += 1;
            if moved > 0 && views.len() as u64 * 10 < key {
                views.push((key, numbers.0.register()));
            }
        }
        // Updates a key that has been moved, or will be.
        numbers.insert(scattered(key) % (key + 1), key);
        if key % 3 == 0 {
            numbers.remove(key / 2);
            assert_eq!(numbers.get(key / 2), None);
            numbers.insert(key / 2, key);
        }
        assert!(numbers.get(key).is_some());
    }
    assert!(moving > 100, "it was done at once");
    assert!(views.len() > 10, "{}", views.len());
    for (newest, view) in &views {
        let seen = view.iter(MAP).count() as u64;
        assert_eq!(seen, newest + 1);
        assert!((0..=*newest).all(|key| view.get(MAP, scattered(key), &key).is_some()));
        assert!(
            view.get(MAP, scattered(newest + 1), &(newest + 1))
                .is_none()
        );
    }
    assert_eq!(numbers.0.pin().iter(MAP).count() as u64, KEYS);

    drop(views);
    let mut moving = 0;
    for key in 0..KEYS {
        let progress = numbers.remove(key);
        moving += u64::from(progress.moved.is_some());
        assert!(
            (0..=key)
                .rev()
                .take(20)
                .all(|key| numbers.get(key).is_none())
        );
        assert!(
            (key + 1..KEYS)
                .take(20)
                .all(|key| numbers.get(key).is_some())
        );
    }
    assert!(moving > 20, "it was done at once");
    numbers.0.reclaim_now();
    assert!(
        numbers.progress().slots <= 16,
        "{}",
        numbers.progress().slots
    );
}

/// Returns a map whose table is being replaced, and the number of its keys.
fn growing() -> (Numbers, u64) {
    let numbers = Numbers::new();
    for key in 0..KEYS {
        let progress = numbers.insert(key, key);
        if key > KEYS / 4
            && progress
                .moved
                .is_some_and(|moved| moved > progress.slots / 2)
        {
            return (numbers, key + 1);
        }
    }
    unreachable!("a table has grown");
}

#[test]
fn updates_alone_complete_the_growth() {
    let (numbers, keys) = growing();
    while numbers.progress().moved.is_some() {
        numbers.insert(1, 0);
    }
    assert_eq!(numbers.0.pin().iter(MAP).count() as u64, keys);
}

#[test]
fn many_keys_in_one_commit_complete_the_growth_and_begin_another() {
    let (numbers, keys) = growing();
    let many = usize::try_from(4 * KEYS).unwrap();
    let mut turn = numbers.0.turn();
    turn.reserve([(MAP.number(), many)]);
    for key in keys..keys + many as u64 {
        turn.entry(MAP, scattered(key), &key).insert(key, key);
    }
    turn.publish();
    drop(turn);
    assert!((0..keys + many as u64).all(|key| numbers.get(key) == Some(key)));
    numbers.progress();
}

#[test]
fn a_map_that_is_cleared_while_it_grows_is_empty_and_stays_in_a_snapshot() {
    for has_snapshot in [false, true] {
        let (numbers, keys) = growing();
        let view = has_snapshot.then(|| numbers.0.register());
        let mut turn = numbers.0.turn();
        let cleared = turn.clear();
        turn.publish();
        drop(turn);
        drop(cleared);
        assert!(numbers.progress().moved.is_none());
        assert!((0..keys).all(|key| numbers.get(key).is_none()));
        numbers.insert(1, 7);
        assert_eq!(numbers.get(1), Some(7));
        if let Some(view) = view {
            assert!((0..keys).all(|key| view.get(MAP, scattered(key), &key) == Some(&key)));
        }
    }
}

#[test]
fn reserved_room_suffices_for_all_keys() {
    for in_the_middle in [false, true] {
        let (numbers, from) = if in_the_middle {
            growing()
        } else {
            (Numbers::new(), 0)
        };
        let mut turn = numbers.0.turn();
        assert!(turn.make_room(MAP.number(), 1000));
        turn.publish();
        drop(turn);
        let room = numbers.progress();
        assert!((0..from).all(|key| numbers.get(key) == Some(key)));
        for key in from..from + 1000 {
            let progress = numbers.insert(key, key);
            assert!(progress.table == room.table && progress.moved.is_none());
        }
    }
}
