//! A thread of a round, and its operations.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use super::super::Registered;
use super::super::sample::{self, Item, Pod, Sample, Step, Store, WRONG};
use super::checks;
use super::shared::{HELD, Held, Round, lock};
use super::states::{PODS, Record, State, is};
use crate::sync::delayed;
use crate::sync::delayed::dice::{Dice, nth};

/// The largest number of operations of a thread.
const MOST_PASSES: usize = 60;

/// Returns whether the round tests the handshake of a registration: one thread writes while the
/// others register, and only the registration has delays. Every other round does this, because the
/// window for a fault is narrow.
pub(super) fn is_registering(seed: u64) -> bool {
    nth(seed, 2).is_multiple_of(2)
}

const HABITS: [Habit; 4] = [Habit::Write, Habit::Register, Habit::Pin, Habit::Anything];

#[derive(Clone, Copy)]
enum Habit {
    Write,
    Register,
    Pin,
    Anything,
}

/// A thread, with the views and records that it holds.
pub(super) struct Worker<'r> {
    round: &'r Round,
    dice: Dice,
    seed: (u64, u64),
    held: Held,
}

impl<'r> Worker<'r> {
    pub(super) fn new(round: &'r Round, seed: u64, number: u64) -> Worker<'r> {
        Worker {
            round,
            dice: Dice::new(nth(seed, number + 2)),
            seed: (nth(seed, 1_000 + number), seed),
            held: Held::default(),
        }
    }

    pub(super) fn work(mut self, store: &Store, seat: u64, closes: bool) {
        let is_registering = is_registering(self.seed.1);
        let focus = is_registering.then_some("registrations.rs");
        delayed::begin(self.seed.0, self.seed.1, focus);
        // Most of its operations are of this kind.
        let habit = match (is_registering, seat) {
            (true, 0) => Habit::Write,
            (true, _) => Habit::Register,
            (false, _) => HABITS[self.dice.roll(HABITS.len())],
        };
        for _ in 0..self.dice.roll(MOST_PASSES) {
            if self.round.failed.load(Relaxed) {
                return;
            }
            match habit {
                Habit::Write if self.dice.roll(4) > 0 => self.write(store),
                Habit::Register if self.dice.roll(4) > 0 => self.register(store),
                Habit::Pin if self.dice.roll(4) > 0 => self.pin(store),
                _ => self.step(store, true),
            }
        }
        if closes {
            self.close(store);
        }
        // Other threads get some of the views and records that it holds.
        let mut left = lock(&self.round.shelf);
        let room = |len: usize| HELD.saturating_sub(len);
        let Held {
            snapshots,
            readers,
            records,
        } = &mut *left;
        snapshots.extend(self.held.snapshots.drain(..).take(room(snapshots.len())));
        readers.extend(self.held.readers.drain(..).take(room(readers.len())));
        records.extend(self.held.records.drain(..).take(room(records.len())));
    }

    /// Checks the remaining views and records, and drops them.
    pub(super) fn inherit(mut self) {
        delayed::begin(self.seed.0, self.seed.1, None);
        loop {
            let mut left = lock(&self.round.shelf);
            let snapshot = left.snapshots.pop();
            let reader = left.readers.pop();
            let record = left.records.pop();
            drop(left);
            if snapshot.is_none() && reader.is_none() && record.is_none() {
                return;
            }
            if let Some(snapshot) = snapshot {
                self.check(&snapshot);
            }
            if let Some((mut reader, shown)) = reader {
                let view = reader.view();
                assert!(view.revision() >= shown, "a reader goes back");
                self.check(view);
            }
            if let Some(record) = record {
                is_unchanged(&record);
            }
        }
    }

    /// Runs a random operation. If `deep`, the operation may hold a view while it runs others.
    fn step(&mut self, store: &Store, deep: bool) {
        match self.dice.roll(20) {
            0..6 => self.write(store),
            6 => Self::is_idle(store),
            7..10 => self.register(store),
            10 => {
                if let Some(at) = self.any_snapshot() {
                    let snapshot = self.held.snapshots[at].clone();
                    self.hold(snapshot);
                }
            }
            11 => self.exchange(),
            12..15 => self.read(store),
            15 => drop(store.pinned()),
            16 => self.held.records.iter().for_each(is_unchanged),
            17 if deep => {
                let view = self.fresh(|| store.pinned());
                self.linger(store, &view);
            }
            18 if deep => {
                let snapshot = self.fresh(|| store.snapshot());
                self.linger(store, &snapshot);
            }
            _ => self.pin(store),
        }
    }

    // --- writing

    fn write(&mut self, store: &Store) {
        let mut turn = lock(&self.round.turn);
        let turn = &mut *turn;
        if self.dice.roll(8) == 0 {
            turn.target = [0, 2, 12, PODS][self.dice.roll(4)];
        }
        let mut state = turn.state.clone();
        if self.dice.roll(40) == 0 {
            let is_empty = state == State::default();
            turn.announce(self.round, State::default(), !is_empty);
            let answer = store.clear();
            turn.is_done(self.round, answer.map(|()| turn.revision));
            return;
        }
        // Usually a few pods, sometimes all.
        let mut steps: Vec<Step> = match self.dice.roll(40) {
            0 => state.items.keys().map(|pod| Step::Delete(*pod)).collect(),
            1 => (0..PODS).map(|pod| Step::Save(pod, turn.stamp)).collect(),
            _ => Vec::new(),
        };
        let mut effect = false;
        for step in &steps {
            effect |= state.apply(*step);
        }
        for _ in 0..self.dice.roll(6) {
            turn.stamp += 1;
            let step = state.next(&mut self.dice, turn.target, turn.stamp);
            effect |= state.apply(step);
            steps.push(step);
        }
        turn.announce(self.round, state, effect);
        let answer = store.commit(&steps);
        turn.is_done(self.round, answer);
    }

    /// Makes a commit that changes nothing. It does not take the round's turn, so it competes with
    /// the commits of other threads.
    fn is_idle(store: &Store) {
        let before = sample::State::revision(&store.pinned());
        let answer = store.commit(&[]);
        assert!(answer.map_or(true, |now| now >= before), "{WRONG}");
    }

    fn close(&self, store: &Store) {
        let mut turn = lock(&self.round.turn);
        turn.closed = true;
        store.close();
        self.round.closed.store(true, Release);
    }

    // --- checking

    /// Takes a view, and checks that it is as new as it must be.
    fn fresh<V: sample::State>(&self, take: impl FnOnce() -> V) -> V {
        let closed = self.round.closed.load(Acquire);
        let floor = self.round.floor.load(Acquire);
        let view = take();
        let revision = view.revision();
        assert!(revision >= floor, "{WRONG}: {revision} after {floor}");
        assert!(view.is_closed() || !closed, "{WRONG}: open after closing");
        view
    }

    fn pin(&mut self, store: &Store) {
        let view = self.fresh(|| store.pinned());
        self.check(&view);
    }

    /// Checks all of a view, and sometimes copies a record.
    fn check(&mut self, view: &impl sample::State) {
        let state = self.round.state(view);
        checks::all(view, &state, &mut self.dice);
        let pod = self.dice.roll(PODS);
        if let (Some(seen), Some(record)) = (view.item(pod), state.items.get(&pod))
            && self.held.records.len() < HELD
        {
            self.held.records.push((seen.clone(), pod, *record));
        }
    }

    /// Keeps references into a view while it runs other operations.
    fn linger(&mut self, store: &Store, view: &impl sample::State) {
        let state = self.round.state(view);
        let known = |(pod, record): (Pod, Record)| (view.item(pod), pod, record);
        let borrowed: Vec<_> = state.all().map(known).collect();
        let mut scan = view.items().map(|(_, item)| item);
        let seen: Vec<&Item> = scan.by_ref().take(self.dice.roll(PODS)).collect();
        let until = Instant::now() + Duration::from_micros(self.dice.roll(5_000) as u64);
        for _ in 0..self.dice.roll(8) {
            self.step(store, false);
        }
        if self.dice.roll(4) == 0 {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        for (seen, pod, record) in borrowed {
            let is_right = seen.is_some_and(|seen| is(seen, pod, record));
            let revision = view.revision();
            assert!(is_right, "{WRONG}: {pod} at {revision} is no {record:?}");
        }
        checks::same(
            view,
            "half a scan",
            seen.into_iter().chain(scan),
            state.all(),
        );
        self.check(view);
    }

    /// Reads with a handle, or creates, clones or drops one.
    fn read(&mut self, store: &Store) {
        let at = self.dice.roll(HELD);
        let Some((mut reader, shown)) =
            (at < self.held.readers.len()).then(|| self.held.readers.swap_remove(at))
        else {
            self.held.readers.push((store.reader(), 0));
            return;
        };
        let (closed, floor) = (
            self.round.closed.load(Acquire),
            self.round.floor.load(Acquire),
        );
        let view = reader.view();
        let revision = view.revision();
        assert!(
            revision >= floor.max(shown),
            "{WRONG}: {revision} after {floor}, {shown}"
        );
        assert!(view.is_closed() || !closed, "{WRONG}: open after closing");
        if self.dice.roll(3) > 0 {
            self.held.readers.push((reader, revision));
            return;
        }
        self.check(view);
        match self.dice.roll(8) {
            0 => return,
            // The snapshot shares a reader slot with the handle, which moves to a newer revision.
            1 | 2 => {
                let snapshot = view.clone();
                self.hold(snapshot);
            }
            3 if self.held.readers.len() < HELD => {
                self.held.readers.push((reader.clone(), revision));
            }
            _ => {}
        }
        self.held.readers.push((reader, revision));
    }

    // --- holding

    fn register(&mut self, store: &Store) {
        let snapshot = self.fresh(|| store.snapshot());
        self.hold(snapshot);
    }

    fn any_snapshot(&mut self) -> Option<usize> {
        let count = self.held.snapshots.len();
        (count > 0).then(|| self.dice.roll(count))
    }

    fn hold(&mut self, snapshot: Registered<Sample>) {
        self.held.snapshots.push(snapshot);
        let room = self.dice.roll(HELD);
        while self.held.snapshots.len() > room
            && let Some(at) = self.any_snapshot()
        {
            let snapshot = self.held.snapshots.swap_remove(at);
            self.check(&snapshot);
        }
    }

    /// Exchanges a snapshot, a handle and a record with another thread.
    fn exchange(&mut self) {
        let (from, to) = (&mut self.held, &mut *lock(&self.round.shelf));
        swap(&mut from.snapshots, &mut to.snapshots, &mut self.dice);
        swap(&mut from.readers, &mut to.readers, &mut self.dice);
        swap(&mut from.records, &mut to.records, &mut self.dice);
    }
}

fn swap<T>(own: &mut Vec<T>, others: &mut Vec<T>, dice: &mut Dice) {
    if !others.is_empty() && own.len() < HELD {
        own.push(others.swap_remove(dice.roll(others.len())));
    }
    if !own.is_empty() && others.len() < HELD {
        others.push(own.swap_remove(dice.roll(own.len())));
    }
}

/// Checks that a copy of a record has not changed.
fn is_unchanged((info, pod, record): &(Item, Pod, Record)) {
    assert!(is(info, *pod, *record), "{WRONG}: a copy is no {record:?}");
}
