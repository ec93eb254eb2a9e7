//! Random histories of an etcd, cut into pages, fragments, broken connections, compactions and
//! restores. At each commit the store must equal etcd at that revision, and at the end etcd's
//! current state.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use service_registry::{MemoryStore, RegistryStore, Revision, ServiceRegistration, ServiceStatus};

use super::*;
use crate::apply::Target;

/// `SplitMix64`.
struct TestRng(u64);

impl TestRng {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

const KEYS: [&str; 7] = [
    "a/1",
    "a/2",
    "aa/1",
    "a%2Fa/1",
    "ü/%25",
    "%/barrier",
    "a/b/c",
];

type PodMap = BTreeMap<String, (u64, ServiceInfo)>;

/// The state of etcd, and its history.
#[derive(Clone)]
struct FakeEtcd {
    cluster: u64,
    term: u64,
    revision: u64,
    compacted: u64,
    pairs: BTreeMap<String, KeyValue>,
    /// For each revision, the events under the prefix, and the readable pods after it.
    log: BTreeMap<u64, (Vec<KeyEvent>, PodMap)>,
}

impl FakeEtcd {
    fn header(&self) -> Header {
        Header {
            cluster: self.cluster,
            member: 1,
            revision: self.revision.into(),
            term: self.term,
        }
    }

    fn pods(&self) -> PodMap {
        let prefix = Prefix::new("/p/").unwrap();
        let read = |pair: &KeyValue| {
            let Ok(KeyKind::Pod(key)) = prefix.parse(&pair.key) else {
                return None;
            };
            let info = values::decode(&key, &pair.value).ok()?;
            Some((key.to_string(), (pair.created.get(), info)))
        };
        self.pairs.values().filter_map(read).collect()
    }

    /// Writes one transaction of several keys, or one of another prefix.
    fn write(&mut self, rng: &mut TestRng) {
        self.revision += 1;
        let mut events = Vec::new();
        let now = EtcdRevision::new(self.revision);
        let count = rng.below(4);
        let first = rng.below(KEYS.len() as u64);
        for at in 0..count {
            let name = KEYS[usize::try_from((first + at) % KEYS.len() as u64).unwrap()];
            let key = format!("/p/{name}").into_bytes();
            if rng.one_in(3) {
                if self.pairs.remove(name).is_some() {
                    events.push(KeyEvent::Delete { key, modified: now });
                }
                continue;
            }
            let created = self.pairs.get(name).map_or(now, |pair| pair.created);
            let value = match Prefix::new("/p/").unwrap().parse(&key) {
                Ok(KeyKind::Pod(pod)) if !rng.one_in(8) => {
                    let registration = ServiceRegistration::new(pod.service_name(), pod.pod_name())
                        .with_zone(format!("z{}", rng.below(3)));
                    let at =
                        |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
                    let info = ServiceInfo::new(registration).unwrap();
                    let info = info.with_registered_at(at(created.get())).unwrap();
                    let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy];
                    let status = status[usize::from(rng.one_in(2))];
                    values::encode(&info.with_health(status, at(self.revision)).unwrap())
                }
                _ => b"?".to_vec(),
            };
            let pair = KeyValue {
                key,
                value,
                created,
                modified: now,
                version: 1 + self.pairs.get(name).map_or(0, |pair| pair.version),
            };
            self.pairs.insert(name.into(), pair.clone());
            events.push(KeyEvent::Put(pair));
        }
        self.log.insert(self.revision, (events, self.pods()));
    }

    fn compact(&mut self, rng: &mut TestRng) {
        self.compacted += rng.below(self.revision - self.compacted + 1);
    }
}

/// The server's side of a watch.
struct FakeWatch {
    /// The next revision to send.
    next: u64,
    /// The revision at which it began.
    start: u64,
    trusted: bool,
}

struct Simulation {
    rng: TestRng,
    etcd: FakeEtcd,
    backup: FakeEtcd,
    reducer: Reducer,
    store: MemoryStore,
    watch: Option<FakeWatch>,
    /// For each pod in the store: epoch, create revision, incarnation.
    seen: HashMap<String, (u64, u64, Revision)>,
    lists: usize,
    /// Whether the reducer accepted another history as its own: one with the same newest pod and
    /// the same number of keys.
    is_fooled: bool,
    last: (u64, EtcdRevision),
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut rng = TestRng(seed);
        let mut etcd = FakeEtcd {
            cluster: 1,
            term: 2,
            revision: 1,
            compacted: 0,
            pairs: BTreeMap::new(),
            log: BTreeMap::new(),
        };
        etcd.log.insert(1, (Vec::new(), PodMap::new()));
        for _ in 0..rng.below(6) {
            etcd.write(&mut rng);
        }
        Simulation {
            backup: etcd.clone(),
            etcd,
            rng,
            reducer: Reducer::new(Prefix::new("/p/").unwrap(), SetAsideKeys::default()),
            store: MemoryStore::new(),
            watch: None,
            seen: HashMap::new(),
            lists: 0,
            is_fooled: false,
            last: (0, EtcdRevision::ZERO),
        }
    }

    fn commit(&mut self, commit: Commit) {
        let Commit { revision, content } = commit;
        let epoch = self.reducer.epoch();
        let is_list = matches!(content, CommitContent::List { .. });
        assert!(
            epoch > self.last.0 || revision > self.last.1 || is_list && revision == self.last.1
        );
        self.last = (epoch, revision);
        let before = self.store.revision();
        Target::new(&self.store, "etcd").apply(content).unwrap();
        assert!(self.store.revision() <= before.next(), "one commit");
        // The copy equals etcd at that revision.
        let pods = &self.etcd.log[&revision.get()].1;
        let copy = self.store.get_all_services().unwrap();
        let copy: BTreeMap<_, _> = copy
            .into_iter()
            .map(|pod| (pod.key().to_string(), pod))
            .collect();
        assert!(
            copy.keys().eq(pods.keys()),
            "{:?} {:?}",
            copy.keys(),
            pods.keys()
        );
        let mut seen = HashMap::new();
        for (key, (created, pod)) in pods {
            let copied = &copy[key];
            assert_eq!(copied, &pod.clone().with_source("etcd").unwrap());
            let now = (epoch, *created, copied.incarnation());
            if let Some(before) = self.seen.get(key)
                && before.0 == epoch
            {
                assert_eq!(
                    before.1 == now.1,
                    before.2 == now.2,
                    "{key}: {before:?} {now:?}"
                );
            }
            seen.insert(key.clone(), now);
        }
        self.seen = seen;
    }

    /// Does one request, or one answer of the watch. Either may fail at any point.
    fn step(&mut self, faults: bool) {
        match self.reducer.next_request() {
            EtcdRequest::List { from, at } => {
                self.watch = None;
                if faults && self.rng.one_in(12)
                    || at.is_some_and(|at| at.get() < self.etcd.compacted)
                {
                    return self.reducer.drop_partial_answers();
                }
                let revision = at.map_or(self.etcd.revision, EtcdRevision::get);
                let pairs = self.pairs_at(revision);
                let rest: Vec<KeyValue> =
                    pairs.into_iter().filter(|pair| pair.key >= from).collect();
                let limit = 1 + usize::try_from(self.rng.below(4)).unwrap();
                let mut page = ListPage {
                    header: self.etcd.header(),
                    count: rest.len() as u64,
                    more: rest.len() > limit,
                    pairs: rest,
                };
                page.pairs.truncate(limit);
                if faults && self.rng.one_in(15) {
                    // A list that is empty by mistake.
                    page = ListPage {
                        count: 0,
                        more: false,
                        pairs: Vec::new(),
                        ..page
                    };
                    if self.reducer.known.is_empty() && self.reducer.set_aside.len() == 0 {
                        return;
                    }
                    if self.was_empty() {
                        return;
                    }
                }
                if let Ok(Some(commit)) = self.reducer.on_page(page) {
                    self.lists += 1;
                    self.commit(commit);
                }
            }
            EtcdRequest::Prove { key, at } => {
                self.watch = None;
                if faults && self.rng.one_in(6) {
                    return self.reducer.drop_partial_answers();
                }
                if at.get() < self.etcd.compacted {
                    self.reducer.on_proof_refused(Why::Compacted);
                } else if at.get() > self.etcd.revision {
                    self.reducer.on_proof_refused(Why::OtherEtcd);
                } else {
                    let all = self.pairs_at(at.get());
                    let count = all.len() as u64;
                    let pairs = all.into_iter().filter(|pair| pair.key == key).collect();
                    let header = self.etcd.header();
                    let more = false;
                    let proof = ListPage {
                        header,
                        pairs,
                        count,
                        more,
                    };
                    self.is_fooled =
                        self.reducer.on_proof(&proof).is_ok() && !self.matches(at.get());
                }
            }
            EtcdRequest::Watch { from } => match self.watch.take() {
                None => self.begin(from.get()),
                Some(watch) => self.deliver(watch, faults),
            },
        }
    }

    /// Returns whether the current list was already empty once: the reducer survives one mistake,
    /// not two.
    fn was_empty(&self) -> bool {
        let Phase::List(listing) = &self.reducer.phase else {
            return false;
        };
        listing.was_empty
    }

    fn pairs_at(&self, revision: u64) -> Vec<KeyValue> {
        let mut pairs = BTreeMap::new();
        for (_, (events, _)) in self.etcd.log.range(..=revision) {
            for event in events {
                match event {
                    KeyEvent::Put(pair) => drop(pairs.insert(pair.key.clone(), pair.clone())),
                    KeyEvent::Delete { key, .. } => drop(pairs.remove(key)),
                }
            }
        }
        pairs.into_values().collect()
    }

    fn deliver_one(&mut self, message: WatchMessage, trusted: bool) -> bool {
        let outcome = self.reducer.on_message(message, trusted);
        for commit in outcome.commits {
            self.commit(commit);
        }
        outcome.end.is_none()
    }

    fn begin(&mut self, from: u64) {
        let created = WatchMessage {
            header: self.etcd.header(),
            created: true,
            canceled: (from < self.etcd.compacted).then(|| "compacted".into()),
            compacted: if from < self.etcd.compacted {
                self.etcd.compacted
            } else {
                0
            }
            .into(),
            ..WatchMessage::default()
        };
        let goes_on = self.deliver_one(created, false);
        // It may begin with changes that are already known.
        let early = self.rng.below(3).min(from - self.etcd.compacted.min(from));
        let (next, trusted) = (from - early, self.rng.one_in(2));
        self.watch = goes_on.then_some(FakeWatch {
            next,
            start: next,
            trusted,
        });
    }

    fn deliver(&mut self, mut watch: FakeWatch, faults: bool) {
        let header = self.etcd.header();
        let is_behind = watch.next <= self.etcd.revision;
        if is_behind && watch.next < self.etcd.compacted {
            let compacted = self.etcd.compacted.into();
            let message = WatchMessage {
                header,
                compacted,
                canceled: Some(String::new()),
                ..WatchMessage::default()
            };
            assert!(!self.deliver_one(message, watch.trusted));
            return;
        }
        if faults && self.rng.one_in(10) {
            if self.rng.one_in(2) {
                let canceled = Some("no leader".into());
                self.deliver_one(
                    WatchMessage {
                        header,
                        canceled,
                        ..WatchMessage::default()
                    },
                    watch.trusted,
                );
            } else {
                self.reducer.drop_partial_answers();
            }
            return;
        }
        if self.rng.one_in(3) {
            // Old servers report progress that runs ahead; new ones report the truth.
            let revision = if watch.trusted {
                watch.next.saturating_sub(1)
            } else {
                self.etcd.revision
            };
            let header = Header {
                revision: revision.into(),
                ..header
            };
            self.deliver_one(
                WatchMessage {
                    header,
                    ..WatchMessage::default()
                },
                watch.trusted,
            );
        }
        if !is_behind {
            self.watch = Some(watch);
            return;
        }
        let until = self.etcd.revision.min(watch.next + self.rng.below(4));
        let mut events = Vec::new();
        for (revision, (happened, _)) in self.etcd.log.range(watch.next..=until) {
            // etcd#19179: a watch that begins at the revision of a compaction does not deliver the
            // deletions of that revision. (A watch that is exactly there during the compaction
            // loses them as well, and nothing shows that.)
            let is_lost = |event: &KeyEvent| {
                matches!(event, KeyEvent::Delete { .. })
                    && *revision == self.etcd.compacted
                    && *revision == watch.start
            };
            events.extend(happened.iter().filter(|event| !is_lost(event)).cloned());
        }
        watch.next = until + 1;
        while !events.is_empty() {
            let cut = 1 + usize::try_from(self.rng.below(events.len() as u64)).unwrap();
            let rest = events.split_off(cut);
            let fragment = !rest.is_empty();
            let message = WatchMessage {
                header,
                fragment,
                events,
                ..WatchMessage::default()
            };
            if !self.deliver_one(message, watch.trusted) {
                return;
            }
            events = rest;
            if faults && fragment && self.rng.one_in(8) {
                return self.reducer.drop_partial_answers();
            }
        }
        self.watch = Some(watch);
    }

    /// Returns whether the copy equals etcd at `revision`.
    fn matches(&self, revision: u64) -> bool {
        let copy = self.store.get_all_services().unwrap();
        let pods = &self.etcd.log[&revision].1;
        let is_same = |pod: &ServiceInfo| {
            let info = pods.get(&**pod.key()).map(|(_, info)| info.clone());
            info.is_some_and(|info| info.with_source("etcd").unwrap() == *pod)
        };
        copy.len() == pods.len() && copy.iter().all(is_same)
    }

    /// Returns the number of lists, or `None` if the reducer was fooled.
    fn run(mut self) -> Option<usize> {
        for _ in 0..120 {
            if self.is_fooled {
                return None;
            }
            match self.rng.below(20) {
                0..6 => self.etcd.write(&mut self.rng),
                6 if self.rng.one_in(3) => self.etcd.compact(&mut self.rng),
                7 if self.rng.one_in(6) => self.backup = self.etcd.clone(),
                8 if self.rng.one_in(8) => self.restore(),
                _ => self.step(true),
            }
        }
        for _ in 0..400 {
            self.step(false);
            if self.is_fooled {
                return None;
            }
        }
        assert!(
            self.watch
                .as_ref()
                .is_some_and(|watch| watch.next > self.etcd.revision)
        );
        assert!(self.matches(self.etcd.revision));
        Some(self.lists)
    }

    /// Restores an older backup. It may or may not have moved on before that is noticed, and its
    /// cluster may have another id.
    fn restore(&mut self) {
        let cluster = self.etcd.cluster;
        self.etcd = self.backup.clone();
        self.etcd.cluster = cluster + u64::from(self.rng.one_in(3));
        for _ in 0..self.rng.below(20) {
            self.etcd.write(&mut self.rng);
        }
        self.watch = None;
        self.reducer.drop_partial_answers();
        self.backup = self.etcd.clone();
    }
}

#[test]
fn any_history_in_any_pieces_converges() {
    // Set `HISTORY` to the seed that a failure printed, to repeat it.
    let seed = std::env::var("HISTORY")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let base = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    let (mut lists, mut fooled) = (0, 0);
    for seed in base..base.saturating_add(400) {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        match run.unwrap_or_else(|_| panic!("seed {seed}")) {
            Some(count) => lists += count,
            None => fooled += 1,
        }
    }
    assert!(seed.is_some() || lists > 500, "{lists} lists are few");
    println!("fooled {fooled} times, {lists} lists");
    // `docs/fleet.md` says what is not promised. Here it happens in two of 400 runs; it would be
    // some 70 without the comparison with the past.
    assert!(fooled <= 20, "fooled {fooled} times");
}
