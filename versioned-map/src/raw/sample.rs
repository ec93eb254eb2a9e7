//! A small owner of an engine, for tests. It stores items under `str` keys, lists of items, groups,
//! and the number of items. It uses everything that an owner can use.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::{At, Cleared, Engine, Map, Owner, Pinned, ReclaimAfterView, Registered, Turn};

pub(super) type Pod = usize;

/// The number of lists. The pods of a list have the same remainder.
pub(super) const LISTS: usize = 4;

/// The data that the versions of an item share.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) key: String,
    pub(super) stamp: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) shared: Arc<Shared>,
    /// Plain data that changes without the rest.
    pub(super) checked: Option<u64>,
}

// SAFETY: `Store::new` creates all five maps in this order. The same holds for the other constants.
const ITEMS: Map<str, Item> = unsafe { Map::numbered(0) };
// SAFETY: as above.
const LISTED: Map<u64, Vec<At<Item>>> = unsafe { Map::numbered(1) };
// SAFETY: as above.
const GROUPS: Map<usize, Vec<Pod>> = unsafe { Map::numbered(2) };
// SAFETY: as above.
const COUNT: Map<(), usize> = unsafe { Map::numbered(3) };
/// The fifth map. The root itself contains the tables of only four maps.
// SAFETY: as above.
const NUDGES: Map<u64, Box<u64>> = unsafe { Map::numbered(4) };

pub(super) struct Sample;

#[derive(Default)]
pub(super) struct WriterState {
    count: usize,
    counted: bool,
}

impl Owner for Sample {
    type WriterState = WriterState;
}

/// A change.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(loom, allow(dead_code))] // models use some of them
pub(super) enum Step {
    /// Saves a pod with this stamp, as not checked.
    Save(Pod, u64),
    Delete(Pod),
    Check(Pod, u64),
    Join(Pod, usize),
    Leave(Pod, usize),
    /// Writes to another map, so that the commit runs a reclamation pass.
    #[cfg_attr(not(loom), allow(dead_code))]
    Nudge,
}

pub(super) fn key(pod: Pod) -> String {
    format!("{}:p{pod}", list_of(pod))
}

pub(super) fn list_of(pod: Pod) -> usize {
    pod % LISTS
}

/// Returns a number from which no order can be seen.
#[cfg(not(loom))]
pub(super) fn scattered(number: u64) -> u64 {
    hash(number)
}

fn hash(key: impl std::hash::Hash) -> u64 {
    foldhash::fast::FixedState::default().hash_one(key)
}

pub(super) struct Store {
    pub(super) engine: Arc<Engine<Sample>>,
}

/// The error of a closed store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Store {
    pub(super) fn new() -> Store {
        let mut engine = Engine::new(Sample);
        let numbers = [
            engine.add::<str, Item>(),
            engine.add::<u64, Vec<At<Item>>>(),
            engine.add::<usize, Vec<Pod>>(),
            engine.add::<(), usize>(),
            engine.add::<u64, Box<u64>>(),
        ];
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        let engine = Arc::new(engine);
        engine.add_handle();
        Store { engine }
    }

    pub(super) fn commit(&self, steps: &[Step]) -> Result<u64, Closed> {
        let mut turn = self.engine.turn();
        if turn.is_closed() {
            return Err(Closed);
        }
        for step in steps {
            apply(&mut turn, *step);
        }
        let revision = settle(&mut turn);
        let is_large = turn.is_large();
        drop(turn);
        if is_large {
            self.engine.reclaim_now();
        }
        Ok(revision)
    }

    pub(super) fn clear(&self) -> Result<(), Closed> {
        let mut turn = self.engine.turn();
        if turn.is_closed() {
            return Err(Closed);
        }
        let cleared: Option<Cleared<Sample>> = has_content(&mut turn).then(|| {
            *turn.writer_state_mut() = WriterState::default();
            turn.clear()
        });
        turn.publish();
        drop(turn);
        drop(cleared);
        Ok(())
    }

    #[cfg_attr(loom, allow(dead_code))]
    pub(super) fn close(&self) {
        self.engine.close();
    }

    pub(super) fn pinned(&self) -> View<'_> {
        View {
            state: self.engine.pin(),
            _after: ReclaimAfterView::new(&self.engine),
        }
    }

    pub(super) fn snapshot(&self) -> Registered<Sample> {
        self.engine.register()
    }

    pub(super) fn reader(&self) -> Reader {
        self.engine.add_handle();
        Reader(self.engine.register())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.engine.drop_writer_handle();
    }
}

/// A snapshot that moves to the newest state.
pub(super) struct Reader(Registered<Sample>);

impl Reader {
    pub(super) fn view(&mut self) -> &Registered<Sample> {
        if !self.0.is_newest() {
            self.0.renew();
        }
        &self.0
    }

    /// Returns the revision that it has shown last.
    #[cfg(loom)]
    pub(super) fn shown(&self) -> u64 {
        self.0.revision()
    }
}

impl Clone for Reader {
    fn clone(&self) -> Reader {
        self.0.engine().add_handle();
        Reader(self.0.engine().register())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.engine().drop_handle();
    }
}

fn settle(turn: &mut Turn<'_, Sample>) -> u64 {
    let state = turn.writer_state_mut();
    if std::mem::take(&mut state.counted) {
        let count = state.count;
        turn.entry(COUNT, 0, &()).insert((), count);
    }
    turn.publish()
}

/// Returns whether the store contains anything.
fn has_content(turn: &mut Turn<'_, Sample>) -> bool {
    let maps = [ITEMS.number(), GROUPS.number(), NUDGES.number()];
    maps.into_iter().any(|map| turn.len(map) > 0)
}

fn count(turn: &mut Turn<'_, Sample>, change: isize) {
    let state = turn.writer_state_mut();
    state.count = state.count.wrapping_add_signed(change);
    state.counted = true;
}

pub(super) fn apply(turn: &mut Turn<'_, Sample>, step: Step) {
    match step {
        Step::Save(pod, stamp) => save(turn, pod, stamp),
        Step::Delete(pod) => delete(turn, pod),
        Step::Check(pod, checked) => {
            let key = key(pod);
            let entry = turn.entry(ITEMS, hash(&*key), &*key);
            if entry
                .value()
                .is_some_and(|known| known.checked != Some(checked))
            {
                // SAFETY: the change stores a number.
                unsafe { entry.lend(|item| item.checked = Some(checked)) };
            }
        }
        Step::Join(pod, group) => {
            let entry = turn.entry(GROUPS, hash(group), &group);
            let mut pods = entry.value().cloned().unwrap_or_default();
            if !pods.contains(&pod) {
                pods.push(pod);
                entry.insert(group, pods);
            }
        }
        Step::Leave(pod, group) => {
            let entry = turn.entry(GROUPS, hash(group), &group);
            let mut pods = entry.value().cloned().unwrap_or_default();
            if pods.contains(&pod) {
                pods.retain(|other| *other != pod);
                if pods.is_empty() {
                    entry.remove();
                } else {
                    entry.replace(pods);
                }
            }
        }
        Step::Nudge => {
            for number in 0..3 {
                let entry = turn.entry(NUDGES, hash(0_u64), &0);
                entry.insert(0, Box::new(number));
            }
        }
    }
}

fn save(turn: &mut Turn<'_, Sample>, pod: Pod, stamp: u64) {
    let key = key(pod);
    let shared = Shared {
        key: key.clone(),
        stamp,
    };
    let entry = turn.entry(ITEMS, hash(&*key), &*key);
    let is_same = |known: &Item| *known.shared == shared && known.checked.is_none();
    if entry.value().is_some_and(is_same) {
        return;
    }
    let was_there = entry.value().is_some();
    let item = Item {
        shared: Arc::new(shared),
        checked: None,
    };
    if was_there {
        entry.replace(item);
        return;
    }
    let at = entry.insert(&key, item);
    let list = list_of(pod) as u64;
    let entry = turn.entry(LISTED, hash(list), &list);
    let mut pods = entry.value().cloned().unwrap_or_default();
    // SAFETY: the caller has the turn.
    unsafe { at.set_note(u32::try_from(pods.len()).unwrap()) };
    pods.push(at);
    entry.insert(list, pods);
    count(turn, 1);
}

fn delete(turn: &mut Turn<'_, Sample>, pod: Pod) {
    let key = key(pod);
    let Some(at) = turn.entry(ITEMS, hash(&*key), &*key).remove() else {
        return;
    };
    let list = list_of(pod) as u64;
    let entry = turn.entry(LISTED, hash(list), &list);
    let mut pods = entry.value().cloned().unwrap();
    // SAFETY: the caller has the turn.
    let place = unsafe { at.note() };
    assert!(pods.swap_remove(place as usize) == at);
    if let Some(moved) = pods.get(place as usize) {
        // SAFETY: as above.
        unsafe { moved.set_note(place) };
    }
    if pods.is_empty() {
        entry.remove();
    } else {
        entry.replace(pods);
    }
    count(turn, -1);
}

/// A pinned view. When it is dropped, the thread reclaims.
pub(super) struct View<'s> {
    state: Pinned<'s, Sample>,
    _after: ReclaimAfterView<'s, Sample>,
}

/// The state at a revision.
#[cfg_attr(loom, allow(dead_code))] // models use a part
pub(super) trait State {
    fn revision(&self) -> u64;
    fn is_closed(&self) -> bool;
    fn item(&self, pod: Pod) -> Option<&Item>;
    fn items(&self) -> impl Iterator<Item = (&str, &Item)>;
    fn list(&self, list: usize) -> impl Iterator<Item = &Item>;
    fn group(&self, group: usize) -> &[Pod];
    fn count(&self) -> usize;
}

macro_rules! impl_state {
    ($type:ty $(, $state:ident)?) => {
        impl State for $type {
            fn revision(&self) -> u64 {
                self $(.$state)?.revision()
            }
            fn is_closed(&self) -> bool {
                self $(.$state)?.is_closed()
            }
            fn item(&self, pod: Pod) -> Option<&Item> {
                let key = key(pod);
                self $(.$state)?.get(ITEMS, hash(&*key), &*key)
            }
            fn items(&self) -> impl Iterator<Item = (&str, &Item)> {
                self $(.$state)?.iter(ITEMS)
            }
            fn list(&self, list: usize) -> impl Iterator<Item = &Item> {
                let list = list as u64;
                let pods = self $(.$state)?.get(LISTED, hash(list), &list);
                pods.into_iter().flatten().map(|at| {
                    // SAFETY: it is in a visible list, and every item of a visible list is present.
                    unsafe { self $(.$state)?.at_cell(*at) }.expect(WRONG)
                })
            }
            fn group(&self, group: usize) -> &[Pod] {
                let pods = self $(.$state)?.get(GROUPS, hash(group), &group);
                pods.map_or(&[], |pods| &**pods)
            }
            fn count(&self) -> usize {
                self $(.$state)?.get(COUNT, 0, &()).copied().unwrap_or(0)
            }
        }
    };
}

impl_state!(View<'_>, state);
impl_state!(Registered<Sample>);

pub(super) const WRONG: &str = "a view does not show its revision";
