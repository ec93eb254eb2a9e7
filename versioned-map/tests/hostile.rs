//! Keys and values whose code panics, calls the map, takes locks or lies: what was published last
//! stays, nothing is freed twice or lost, and whatever may be called can be.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread;
use std::time::Duration;

use versioned_map::{Change, Domain, VersionedMap};

type Hook = Arc<dyn Fn() + Send + Sync>;

thread_local! {
    /// What this thread's keys do next.
    static IN_EQ: Cell<Option<Hook>> = const { Cell::new(None) };
    static IN_HASH: Cell<Option<Hook>> = const { Cell::new(None) };
}

fn run(hook: &'static thread::LocalKey<Cell<Option<Hook>>>) {
    // Once: it may come here again.
    if let Some(hook) = hook.take() {
        hook();
    }
}

#[derive(Clone, Debug)]
struct Key(u64, #[allow(dead_code)] Arc<()>);

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        run(&IN_EQ);
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        run(&IN_HASH);
        self.0.hash(state);
    }
}

fn fails<R>(work: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work))
        .err()
        .expect("it did not panic");
    match panic.downcast::<&str>() {
        Ok(text) => (*text).to_string(),
        Err(other) => *other.downcast::<String>().expect("a text"),
    }
}

struct Subject {
    alive: Arc<()>,
    map: Arc<VersionedMap<Key, Arc<()>>>,
}

impl Subject {
    fn new() -> Subject {
        let alive = Arc::new(());
        let map = Arc::new(VersionedMap::new());
        let subject = Subject { alive, map };
        subject.fill(0..10);
        subject
    }

    fn fill(&self, numbers: Range<u64>) {
        for number in numbers {
            self.map.insert(self.key(number), self.alive.clone());
        }
    }

    fn key(&self, number: u64) -> Key {
        Key(number, self.alive.clone())
    }

    /// All that anybody can see.
    fn state(&self) -> (u64, Vec<u64>) {
        let view = self.map.pinned();
        let mut keys: Vec<u64> = view.keys().map(|key| key.0).collect();
        keys.sort_unstable();
        assert_eq!((keys.len(), view.len()), (view.len(), self.map.len()));
        (view.revision(), keys)
    }

    /// All that writes, once.
    fn writes(&self) -> Vec<Box<dyn Fn() + '_>> {
        let (map, value) = (&self.map, &self.alive);
        vec![
            Box::new(move || _ = map.insert(self.key(3), value.clone())),
            Box::new(move || _ = map.try_insert(self.key(3), value.clone())),
            Box::new(move || _ = map.remove(&self.key(3))),
            Box::new(move || _ = map.update(&self.key(3), Clone::clone)),
            Box::new(move || _ = map.compute(self.key(3), |_| Change::Remove)),
            Box::new(move || _ = map.compare_and_set(&self.key(3), value, value.clone())),
            Box::new(move || {
                let domain = map.domain();
                let mut commit = domain.commit();
                commit.insert(map, self.key(3), value.clone());
                commit.insert(map, self.key(77), value.clone());
                commit.remove(map, self.key(4));
                commit.publish();
            }),
        ]
    }

    /// Sees that nothing is lost.
    fn end(self) {
        // Nothing is closed, and the lock is free.
        assert!(self.map.insert(self.key(1_000), self.alive.clone()));
        assert!(self.map.remove(&self.key(1_000)));
        drop(self.map);
        assert_eq!(Arc::strong_count(&self.alive), 1, "something is lost");
    }
}

/// On each of its calls, in the turn and before it.
#[test]
fn an_eq_that_panics_leaves_what_was_published_last() {
    let subject = Subject::new();
    for write in subject.writes() {
        let before = subject.state();
        for calls in 0.. {
            IN_EQ.set(Some(panics_after(calls)));
            let answer = catch_unwind(AssertUnwindSafe(&write));
            IN_EQ.set(None);
            if answer.is_ok() {
                assert!(calls > 0, "it was never asked");
                break;
            }
            assert_eq!(subject.state(), before);
        }
        subject.fill(3..5);
        subject.map.remove(&subject.key(77));
        assert_eq!(subject.state().1, before.1);
    }
    subject.end();
}

fn panics_after(calls: usize) -> Hook {
    Arc::new(move || {
        assert!(calls > 0, "an Eq that panics");
        IN_EQ.set(Some(panics_after(calls - 1)));
    })
}

#[test]
fn a_hash_that_panics_leaves_what_was_published_last() {
    let subject = Subject::new();
    let before = subject.state();
    let mut calls = subject.writes();
    calls.push(Box::new(|| _ = subject.map.get(&subject.key(3))));
    for call in calls {
        IN_HASH.set(Some(Arc::new(|| panic!("a Hash that panics"))));
        assert_eq!(fails(call), "a Hash that panics");
        assert_eq!(subject.state(), before);
    }
    subject.end();
}

/// A table of 1,024 slots has room for 819 keys, and it takes some 20 changes more to lay out the next one.
#[test]
fn panics_while_a_table_grows_leave_what_was_published_last() {
    let subject = Subject::new();
    subject.fill(10..825);
    for hook in [&IN_EQ, &IN_HASH] {
        for write in subject.writes() {
            let before = subject.state();
            hook.set(Some(panics_after(0)));
            let answer = catch_unwind(AssertUnwindSafe(&write));
            assert!(answer.is_err() && hook.take().is_none(), "it was not asked");
            assert_eq!(subject.state(), before);
        }
    }
    let before = subject.map.snapshot();
    for (number, write) in (825..).zip(subject.writes()) {
        write();
        subject.fill(number..number + 1);
    }
    subject.fill(832..990);
    assert_eq!(before.len(), 825);
    for number in 0..825 {
        assert!(before.get(&subject.key(number)).is_some());
    }
    // The last write has removed key 4.
    let is_there = |number: &u64| subject.map.contains_key(&subject.key(*number));
    assert_eq!(
        (0..990)
            .filter(|number| !is_there(number))
            .collect::<Vec<_>>(),
        [4]
    );
    drop(before);
    subject.end();
}

#[test]
fn closures_that_panic_leave_what_was_published_last() {
    let subject = Subject::new();
    let before = subject.state();
    let key = subject.key(3);
    let map = &subject.map;
    assert_eq!(fails(|| map.update(&key, |_| panic!("here"))), "here");
    assert_eq!(
        fails(|| map.compute(key.clone(), |_| panic!("here"))),
        "here"
    );
    assert_eq!(fails(|| map.with(&key, |_| panic!("here"))), "here");
    assert_eq!(subject.state(), before);
    drop(key);
    subject.end();
}

#[test]
fn an_eq_may_read_in_a_commit_and_may_write_elsewhere() {
    let subject = Subject::new();
    let other: Arc<VersionedMap<u64, u64>> = Arc::new(VersionedMap::new());
    for (count, write) in subject.writes().into_iter().enumerate() {
        let (map, other) = (subject.map.clone(), other.clone());
        let key = subject.key(5);
        IN_EQ.set(Some(Arc::new(move || {
            assert!(map.get(&key).is_some());
            assert!(map.snapshot().contains_key(&key) && map.pinned().contains_key(&key));
            other.insert(count as u64, 1);
        })));
        write();
    }
    IN_EQ.set(None);
    assert_eq!(other.len(), 7);
    subject.end();
}

#[test]
fn an_eq_that_writes_to_its_own_domain_panics() {
    let subject = Subject::new();
    // `insert` asks in the turn only.
    let map = subject.map.clone();
    let key = subject.key(5);
    IN_EQ.set(Some(Arc::new(move || _ = map.remove(&key))));
    let text = fails(|| subject.map.insert(subject.key(3), subject.alive.clone()));
    assert!(text.contains("writes to its own domain"), "{text}");
    assert!(subject.map.contains_key(&subject.key(5)));
    subject.end();
}

/// A thread that ends has no destructors of thread locals any more but those that are left.
#[test]
fn an_eq_that_writes_to_its_own_domain_panics_while_its_thread_ends() {
    struct Ends(Cell<Option<Box<dyn FnOnce()>>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.take().unwrap()();
        }
    }
    thread_local! {
        static ENDS: Ends = const { Ends(Cell::new(None)) };
    }
    let (told, text) = mpsc::channel();
    let map = Arc::new(VersionedMap::new());
    thread::spawn(move || {
        // They run in the opposite order: this one after that of whatever is asked for later.
        ENDS.with(|ends| {
            let map = map.clone();
            let ending = move || {
                let inner = map.clone();
                map.insert(InEq(1, None), 2);
                let again = move || {
                    let text = fails(|| inner.insert(InEq(1, None), 3));
                    told.send(text).unwrap();
                };
                map.insert(InEq(1, Some(Mutex::new(Box::new(again)))), 4);
            };
            ends.0.set(Some(Box::new(ending)));
        });
        map.insert(InEq(1, None), 1);
        map.insert(InEq(1, None), 1);
    });
    let text = text.recv_timeout(Duration::from_secs(60));
    let text = text.expect("it waits for itself");
    assert!(text.contains("writes to its own domain"), "{text}");
}

/// A key that does something each time that it is compared.
struct InEq(u64, Option<Mutex<Box<dyn Fn() + Send>>>);

impl PartialEq for InEq {
    fn eq(&self, other: &InEq) -> bool {
        if let Some(work) = &self.1 {
            work.lock().unwrap()();
        }
        self.0 == other.0
    }
}

impl Eq for InEq {}

impl Hash for InEq {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn hash_clone_and_closures_may_write() {
    let subject = Subject::new();
    for write in subject.writes() {
        let map = subject.map.clone();
        let (key, value) = (subject.key(50), subject.alive.clone());
        IN_HASH.set(Some(Arc::new(move || {
            map.insert(key.clone(), value.clone());
        })));
        write();
        assert!(subject.map.remove(&subject.key(50)));
    }
    let key = subject.key(9);
    let update = |_: &Arc<()>| {
        subject.map.insert(subject.key(8), subject.alive.clone());
        subject.alive.clone()
    };
    assert!(subject.map.update(&key, update));
    subject.map.with(&key, |_| subject.map.remove(&key));
    assert!(!subject.map.contains_key(&key));
    drop(key);
    subject.end();
}

/// All keys are equal now and then, and their hashes are others each time.
#[derive(Debug)]
struct Liar(u64, #[allow(dead_code)] Arc<()>);

static LIES: AtomicUsize = AtomicUsize::new(0);

fn lie() -> usize {
    // Not by chance, and not in a short circle.
    let mut mixed = LIES.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 31
}

impl PartialEq for Liar {
    fn eq(&self, other: &Liar) -> bool {
        match lie() % 4 {
            0 => true,
            1 => false,
            _ => self.0 == other.0,
        }
    }
}

impl Eq for Liar {}

impl Hash for Liar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0 * 8 + lie() as u64 % 8).hash(state);
    }
}

#[derive(Clone, Copy, Default)]
struct Narrow;

struct Sum(u64);

impl std::hash::BuildHasher for Narrow {
    type Hasher = Sum;

    fn build_hasher(&self) -> Sum {
        Sum(0)
    }
}

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.iter().map(|byte| u64::from(*byte) % 8).sum::<u64>();
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[test]
fn keys_that_lie_lose_nothing_and_free_nothing_twice() {
    let alive = Arc::new(());
    let domain = Domain::new();
    let map: VersionedMap<Liar, Arc<()>, Narrow> = domain.map_with_hasher(Narrow);
    for round in 0..2_000 {
        let key = |number: u64| Liar(number % 16, alive.clone());
        map.insert(key(round), alive.clone());
        map.remove(&key(round + 1));
        map.update(&key(round + 2), Clone::clone);
        map.compute(key(round + 3), |_| Change::Insert(alive.clone()));
        let mut commit = domain.commit();
        for number in 0..8 {
            commit.insert(&map, key(round + number), alive.clone());
        }
        if round % 64 == 0 {
            commit.clear(&map);
        }
        commit.publish();
        if round % 100 == 0 {
            let snapshot = map.snapshot();
            assert_eq!(snapshot.iter().count(), snapshot.len());
            map.clear();
        }
    }
    assert_eq!(map.pinned().iter().count(), map.len());
    drop((map, domain));
    assert_eq!(
        Arc::strong_count(&alive),
        1,
        "something is lost, or was dropped twice"
    );
}

// --- drops

/// A value whose drop panics, each second time.
struct Panics(#[allow(dead_code)] Arc<()>, bool);

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(!self.1 || thread::panicking(), "a drop that panics");
    }
}

/// The panics go on to whoever frees, and all the rest is freed.
#[test]
fn drops_that_panic_lose_nothing_panic_of_others() {
    let alive = Arc::new(());
    let value = |number: u64| Panics(alive.clone(), number.is_multiple_of(2));
    let map: VersionedMap<u64, Panics> = VersionedMap::new();
    let mut panics = 0;
    for step in 0..20_000 {
        let write = || {
            map.insert(step % 50, value(step));
            if step % 7 == 0 {
                map.remove(&(step % 50));
            }
        };
        panics += u64::from(catch_unwind(AssertUnwindSafe(write)).is_err());
        if step % 5_000 == 0 {
            panics += u64::from(catch_unwind(AssertUnwindSafe(|| map.clear())).is_err());
        }
    }
    assert!(panics > 0, "nobody has freed");
    assert!(map.len() <= 50 && map.pinned().iter().count() == map.len());
    let view = map.snapshot();
    panics += u64::from(catch_unwind(AssertUnwindSafe(|| drop(map))).is_err());
    panics += u64::from(catch_unwind(AssertUnwindSafe(|| drop(view))).is_err());
    assert_eq!(Arc::strong_count(&alive), 1, "after {panics} panics");
}

/// A value that writes into another map of its domain, and takes a lock, when it is dropped.
struct Notes(Arc<Book>);

struct Book {
    count: VersionedMap<u8, usize>,
    lock: Mutex<usize>,
}

impl Drop for Notes {
    fn drop(&mut self) {
        let count = |count: Option<&usize>| Change::Insert(count.unwrap_or(&0) + 1);
        self.0.count.compute(0, count);
        *self.0.lock.lock().unwrap() += 1;
    }
}

#[test]
fn drops_may_write_to_the_domain_and_take_locks() {
    let domain = Domain::new();
    let map: VersionedMap<u64, Notes> = domain.map();
    let book = Arc::new(Book {
        count: domain.map(),
        lock: Mutex::new(0),
    });
    thread::scope(|threads| {
        for seed in 0..3 {
            let (map, book) = (&map, &book);
            threads.spawn(move || {
                for step in 0..10_000 {
                    // Whoever has the lock writes as well.
                    let held = (step % 100 == seed).then(|| book.lock.lock().unwrap());
                    if held.is_none() {
                        map.insert((step + seed) % 20, Notes(book.clone()));
                    }
                    drop(held);
                    if step % 1_000 == 0 {
                        map.clear();
                    }
                }
            });
        }
    });
    drop(map);
    (0..10).for_each(|_| drop(domain.pinned()));
    let dropped = *book.lock.lock().unwrap();
    assert_eq!(book.count.get(&0), Some(dropped));
    assert_eq!(dropped, 3 * 10_000 - 3 * 100);
}

thread_local! {
    /// How many values are being dropped, one within the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// A value that puts one into its own map when it is dropped, so many times.
struct Again(usize, Weak<Retries>);

struct Retries {
    map: VersionedMap<usize, Again>,
    dropped: AtomicUsize,
    deepest: AtomicUsize,
}

impl Drop for Again {
    fn drop(&mut self) {
        let Some(retries) = self.1.upgrade() else {
            return;
        };
        let count = retries.dropped.fetch_add(1, Relaxed);
        DEPTH.set(DEPTH.get() + 1);
        retries.deepest.fetch_max(DEPTH.get(), Relaxed);
        if self.0 > 0 {
            let again = Again(self.0 - 1, self.1.clone());
            retries.map.insert(count % 100, again);
        } else {
            retries.map.with(&0, |_| ());
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// What is left to free while a thread frees is freed afterwards, not within.
#[test]
fn drops_that_write_do_not_nest() {
    let retries = Arc::new(Retries {
        map: VersionedMap::new(),
        dropped: AtomicUsize::new(0),
        deepest: AtomicUsize::new(0),
    });
    let put = |times| {
        for step in 0..20_000 {
            let again = Again(times, Arc::downgrade(&retries));
            retries.map.insert(step % 100, again);
        }
    };
    put(30);
    // Much that has waited for a view.
    let view = retries.map.pinned();
    put(0);
    drop(view);
    put(0);
    assert!(retries.dropped.load(Relaxed) > 600_000);
    assert_eq!(retries.deepest.load(Relaxed), 1);
}

/// Keys of some types stand in each version, as copies. One that is not `Copy` is there once, whatever its size: a lock
/// must not be there twice.
#[test]
fn a_small_key_that_is_no_copy_is_there_once() {
    #[derive(Default)]
    struct Counted(u32, AtomicU32);

    impl PartialEq for Counted {
        fn eq(&self, other: &Counted) -> bool {
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, hasher: &mut H) {
            self.0.hash(hasher);
        }
    }

    let map = VersionedMap::new();
    map.insert(Counted::default(), 1);
    let before = map.snapshot();
    before.keys().next().unwrap().1.store(7, Relaxed);
    map.update(&Counted::default(), |value| value + 1);
    let after = map.snapshot();
    let only = |keys: Vec<*const Counted>| keys[0];
    let of_before = only(before.keys().map(std::ptr::from_ref).collect());
    let of_after = only(after.keys().map(std::ptr::from_ref).collect());
    assert_eq!(of_before, of_after);
    assert_eq!(after.keys().next().unwrap().1.load(Relaxed), 7);
    assert_eq!(map.get(&Counted::default()), Some(2));
}
