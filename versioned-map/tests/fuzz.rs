//! Arbitrary programs of operations on the maps of a domain, beside a model: the state at each revision, as
//! hash maps of the standard library.
//!
//! `cargo test` draws random bytes for a few seconds, and says with which `BOLERO_RANDOM_SEED` a failure
//! comes again; `BOLERO_RANDOM_TEST_TIME_MS` has it go on for longer.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use versioned_map::{Change, Domain, Reader, Snapshot, VersionedMap};

type Numbers = VersionedMap<u8, Arc<u8>>;
type Texts = VersionedMap<String, u8>;

/// What is there at a revision.
#[derive(Clone, Default)]
struct State {
    numbers: HashMap<u8, u8>,
    texts: HashMap<String, u8>,
}

/// A state that is held: a snapshot, or in a twin something that moves on.
enum Held {
    Snapshot(Snapshot),
    Moving(u64, Reader),
}

/// A domain beside its model.
struct Subject {
    domain: Domain,
    numbers: Numbers,
    texts: Texts,
    /// By their revisions.
    states: Vec<State>,
    held: Vec<Held>,
    reader: Reader,
    /// As many as there are shares of this are values of `numbers` that have not been dropped.
    values: Vec<Arc<u8>>,
    /// Whether what is held moves on.
    is_broken: bool,
}

impl Subject {
    fn new(is_broken: bool) -> Subject {
        let domain = Domain::new();
        Subject {
            numbers: domain.map(),
            texts: domain.map(),
            reader: domain.reader(),
            domain,
            states: vec![State::default()],
            held: Vec::new(),
            values: (0..=u8::MAX).map(Arc::new).collect(),
            is_broken,
        }
    }

    fn value(&self, value: u8) -> Arc<u8> {
        self.values[usize::from(value)].clone()
    }

    /// Notes a commit.
    fn commit(&mut self, change: impl FnOnce(&mut State)) {
        let mut state = self.states.last().unwrap().clone();
        change(&mut state);
        self.states.push(state);
    }

    fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn step(&mut self, what: u8, key: u8, value: u8) {
        let text = (key % 8).to_string();
        match what % 16 {
            0..=2 => {
                let is_new = self.numbers.insert(key, self.value(value));
                assert_eq!(is_new, !self.newest().numbers.contains_key(&key));
                self.commit(|state| _ = state.numbers.insert(key, value));
            }
            3 | 4 => {
                let was_there = self.numbers.remove(&key);
                assert_eq!(was_there, self.newest().numbers.contains_key(&key));
                if was_there {
                    self.commit(|state| _ = state.numbers.remove(&key));
                }
            }
            5 => {
                let fresh = self.value(value);
                let was_there = self.numbers.update(&key, |_| fresh.clone());
                assert_eq!(was_there, self.newest().numbers.contains_key(&key));
                if was_there {
                    self.commit(|state| _ = state.numbers.insert(key, value));
                }
            }
            6 => {
                let is_new = self.texts.try_insert(text.clone(), value);
                assert_eq!(is_new, !self.newest().texts.contains_key(&text));
                if is_new {
                    self.commit(|state| _ = state.texts.insert(text, value));
                }
            }
            7 => {
                let known = self.newest().texts.get(&text).copied();
                let is_changed = self.texts.compute(text.clone(), |seen| {
                    assert_eq!(seen.copied(), known);
                    match seen {
                        Some(1) => Change::Remove,
                        Some(other) => Change::Insert(other.wrapping_sub(1)),
                        None if value.is_multiple_of(2) => Change::Insert(value % 4 + 1),
                        None => Change::Keep,
                    }
                });
                assert_eq!(is_changed, known.is_some() || value.is_multiple_of(2));
                if is_changed {
                    self.commit(|state| match known {
                        Some(1) => _ = state.texts.remove(&text),
                        Some(other) => _ = state.texts.insert(text, other.wrapping_sub(1)),
                        None => _ = state.texts.insert(text, value % 4 + 1),
                    });
                }
            }
            8 => self.commit_several(key, value),
            9 => {
                let were_there = self.numbers.clear();
                assert_eq!(were_there, !self.newest().numbers.is_empty());
                if were_there {
                    self.commit(|state| state.numbers.clear());
                }
            }
            10 | 11 => {
                let held = if self.is_broken {
                    Held::Moving(self.domain.revision(), self.domain.reader())
                } else {
                    Held::Snapshot(self.domain.snapshot())
                };
                self.held.push(held);
            }
            12 if !self.held.is_empty() => {
                let at = usize::from(key) % self.held.len();
                drop(self.held.swap_remove(at));
            }
            13 if !self.held.is_empty() => {
                let at = usize::from(key) % self.held.len();
                self.check_held(at);
            }
            14 => {
                let Subject {
                    numbers,
                    texts,
                    states,
                    reader,
                    ..
                } = self;
                check(reader.view(), numbers, texts, states, states.len() - 1);
            }
            _ => self.check_newest(key),
        }
    }

    /// One commit of both maps: what is noted last of a key counts.
    fn commit_several(&mut self, key: u8, value: u8) {
        let mut after = self.newest().clone();
        let mut commit = self.domain.commit();
        // With each number comes a text.
        let mut is_change = !value.is_multiple_of(5);
        if value.is_multiple_of(7) {
            commit.clear(&self.numbers);
            is_change |= !after.numbers.is_empty();
            after.numbers.clear();
        }
        for n in 0..value % 5 {
            let (key, fresh) = (key.wrapping_add(n / 2), value.wrapping_add(n));
            if fresh.is_multiple_of(3) {
                commit.remove(&self.numbers, key);
                after.numbers.remove(&key);
            } else {
                commit.insert(&self.numbers, key, self.value(fresh));
                after.numbers.insert(key, fresh);
            }
            let text = (key % 8).to_string();
            commit.insert(&self.texts, text.clone(), n);
            after.texts.insert(text, n);
        }
        let revision = commit.publish();
        if is_change {
            self.states.push(after);
        }
        assert_eq!(revision, self.states.len() as u64 - 1);
    }

    fn check_newest(&self, key: u8) {
        let newest = self.newest();
        let value = self.numbers.get(&key).map(|value| *value);
        assert_eq!(value, newest.numbers.get(&key).copied());
        let text = (key % 8).to_string();
        assert_eq!(self.texts.get(&text), newest.texts.get(&text).copied());
        let pinned = self.domain.pinned();
        assert_eq!(pinned.revision(), self.states.len() as u64 - 1);
        assert_eq!(pinned.len(&self.numbers), newest.numbers.len());
        assert_eq!(pinned.iter(&self.texts).count(), newest.texts.len());
    }

    fn check_held(&mut self, at: usize) {
        let Subject {
            numbers,
            texts,
            states,
            held,
            ..
        } = self;
        match &mut held[at] {
            Held::Snapshot(view) => {
                let revision = usize::try_from(view.revision()).unwrap();
                check(view, numbers, texts, states, revision);
            }
            Held::Moving(revision, reader) => {
                let revision = usize::try_from(*revision).unwrap();
                check(reader.view(), numbers, texts, states, revision);
            }
        }
    }

    /// All that is held shows what it showed; and when everything has gone, nothing is left.
    fn end(mut self) {
        for at in 0..self.held.len() {
            self.check_held(at);
        }
        self.check_newest(0);
        let Subject {
            domain,
            numbers,
            texts,
            held,
            reader,
            values,
            ..
        } = self;
        drop((held, reader, numbers, texts, domain));
        for value in values {
            assert_eq!(Arc::strong_count(&value), 1, "a value was not dropped");
        }
    }
}

fn check(view: &Snapshot, numbers: &Numbers, texts: &Texts, states: &[State], revision: usize) {
    let state = &states[revision];
    let seen = view.iter(numbers).map(|(key, value)| (*key, **value));
    assert!(
        seen.collect::<HashMap<u8, u8>>() == state.numbers,
        "{WRONG}"
    );
    let seen = view.iter(texts).map(|(key, value)| (key.clone(), *value));
    assert!(
        seen.collect::<HashMap<String, u8>>() == state.texts,
        "{WRONG}"
    );
    assert_eq!(view.len(numbers), state.numbers.len());
    for key in 0..=u8::MAX {
        let seen = view.get(numbers, &key).map(|value| **value);
        assert_eq!(seen, state.numbers.get(&key).copied());
    }
}

const WRONG: &str = "a view does not show its revision";

fn run(program: &[u8], is_broken: bool) {
    let mut subject = Subject::new(is_broken);
    for step in program.chunks_exact(3) {
        subject.step(step[0], step[1], step[2]);
    }
    subject.end();
}

#[test]
fn maps_are_the_model() {
    bolero::check!(name = "maps_are_the_model")
        .with_iterations(100_000)
        .with_test_time(Duration::from_millis(2_500))
        .with_max_len(4_096)
        .for_each(|program: &[u8]| run(program, false));
}

/// How it could fail: snapshots that move on with the domain.
#[test]
fn snapshots_that_move_on_are_found() {
    // Marsaglia's xorshift.
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice.to_le_bytes()[3]
    };
    for program in 0..1_000 {
        let bytes: Vec<u8> = (0..300).map(|_| roll()).collect();
        let found = catch_unwind(AssertUnwindSafe(|| run(&bytes, true))).is_err();
        // The same program is nothing to complain of.
        run(&bytes, false);
        if found {
            println!("found by program {program}");
            return;
        }
    }
    panic!("it was not found");
}
