//! A contender that the operations are tried on.

use std::cell::OnceCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Operation;
use super::clock::{Timed, keep, slice, tally, wait};
use crate::lab::contender::{About, Contender, SnapshotContender};
use crate::lab::gang::Gang;
use crate::lab::record::Sample;
use crate::lab::workload::{BATCH, Deck, Fleet, PODS_PER_SERVICE, Texts, seeded, shuffled};
use crate::{Batch, RegistryView, Result, ServiceInfo};

/// How much of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Dose {
    /// From which place of the deck on.
    pub from: usize,
    /// How often, while the clock runs. One of the "1,000 updates" counts as one.
    pub count: usize,
    /// How many pods are read before the clock starts.
    pub sweep: usize,
}

impl Dose {
    /// How many operations that are none of these reads come before the clock
    /// starts.
    pub(super) fn warm_up(self) -> usize {
        (self.count / 4).max(1)
    }

    /// The keys of the sweep, and then random ones.
    pub(super) fn keys(self, deck: &Deck) -> Vec<&str> {
        let mut keys = deck.sweep_keys.window(0, self.sweep);
        keys.extend(deck.keys.window(self.from, self.count));
        keys
    }

    /// So many texts before the clock starts, and then those that count.
    pub(super) fn window(self, texts: &Texts, warm: usize) -> Vec<&str> {
        texts.window(self.from, warm + self.count)
    }
}

/// A contender that the operations are tried on.
pub trait Subject {
    /// Who it is.
    fn about(&self) -> &'static About;

    /// Whether it has such an operation.
    fn can(&self, op: Operation) -> bool;

    /// Builds it anew and registers the fleet of a deck.
    ///
    /// # Errors
    ///
    /// Those of the store.
    fn fill(&mut self, deck: &Deck) -> Result<()>;

    /// Does an operation as often as the dose says, or as its state asks for.
    /// After [`Operation::Drop`] it has to be filled again.
    ///
    /// # Errors
    ///
    /// Those of the store, outside of what is timed.
    fn sample(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Result<Sample>;

    /// How many services are registered, with each of its stores if it has several;
    /// none where it has no store.
    ///
    /// # Errors
    ///
    /// Those of the store.
    fn services(&self) -> Result<Option<usize>>;

    /// Drops what it holds.
    fn empty(&mut self);
}

/// The most new pods, or new subscriptions, of a sample and store.
const GROWTH: usize = 4_096;

/// How many a store grows by: to twice its size at most.
pub(super) fn growth(deck: &Deck) -> usize {
    deck.fleet.pods.min(GROWTH)
}

/// How many stores a subject has: of very small ones many, so that a sample that
/// can be taken only once from each is long enough.
pub(super) fn herd(about: &About, deck: &Deck) -> usize {
    match deck.fleet.pods {
        1_000.. => 1,
        // Each of them starts a thread.
        _ if about.own_thread => 10,
        _ => 100,
    }
}

/// The records of pods that register anew, one for each place from `from` on.
pub(super) fn replacements(deck: &Deck, from: usize, count: usize) -> Vec<ServiceInfo> {
    (from..from + count)
        .map(|at| {
            let pod = deck.picks[at % deck.picks.len()];
            deck.fleet.replacement(pod, 1 + deck.stamp(at))
        })
        .collect()
}

/// The keys of the pods by which each store of a herd has grown, with its number:
/// one store after the other, in a random order, which is another one for each place.
pub(super) fn leaving(deck: &Deck, from: usize, herd: usize) -> Vec<(usize, String)> {
    let (pods, growth) = (deck.fleet.pods, growth(deck));
    let mut rng = seeded(deck.stamp(from));
    (0..herd)
        .flat_map(|store| {
            let order = shuffled(growth, &mut rng).into_iter();
            order.map(move |pod| (store, Fleet::key(pods + pod)))
        })
        .collect()
}

/// A store on one thread.
#[derive(Debug)]
pub(super) struct Single<S> {
    stores: Vec<S>,
}

impl<S> Default for Single<S> {
    fn default() -> Single<S> {
        Single { stores: Vec::new() }
    }
}

impl<S: Contender> Single<S> {
    fn store(&self) -> &S {
        self.stores.first().expect("a subject is filled first")
    }

    /// Reads what a write is about to touch.
    fn touch(&self, deck: &Deck, dose: Dose) {
        for key in deck.sweep_keys.window(0, dose.sweep) {
            let _ = black_box(self.store().get_service(key));
        }
    }

    /// The sum of a number of each store.
    fn sum(&self, number: impl Fn(&S) -> Result<usize>) -> Result<u64> {
        self.stores
            .iter()
            .try_fold(0, |sum, store| Ok(sum + number(store)? as u64))
    }

    fn read(&self, op: Operation, deck: &Deck, dose: Dose) -> Option<Sample> {
        let store = self.store();
        let found =
            |answer: &Result<ServiceInfo>| answer.as_ref().map_or(0, |info| info.status() as usize);
        // A service name, or a group, for each ten pods; fewer where a contender
        // goes through everything to find a name.
        let names = 2 * dose.sweep.div_ceil(PODS_PER_SERVICE);
        let names = match op {
            Operation::ByName => {
                let start = Instant::now();
                let _ = black_box(store.get_services_by_name(deck.names.get(0)));
                names.min(affordable(start.elapsed()))
            }
            _ => names,
        };
        Some(match op {
            Operation::WithService => wait(&dose.keys(deck), dose.sweep, |key| {
                store.with_service(key, |info| info.status() as usize).ok()
            })
            .reads(),
            Operation::WithServiceBackToBack => tally(dose.keys(deck), dose.sweep, |key| {
                let answer = store.with_service(key, |info| black_box(info.status()));
                answer.is_ok()
            })
            .reads(),
            Operation::GetService => {
                let keys = dose.keys(deck);
                keep(
                    &keys,
                    dose.sweep,
                    slice(1),
                    |key| store.get_service(key),
                    found,
                    |at, answer| answer.as_ref().is_ok_and(|info| *info.key() == keys[at]),
                )
                .reads()
            }
            // The error is dropped at once: that is part of a miss.
            Operation::Miss => tally(dose.window(&deck.absent, dose.sweep), dose.sweep, |key| {
                store.get_service(key).is_ok()
            })
            .misses(),
            Operation::ByName => keep(
                &dose.window(&deck.names, names),
                names,
                slice(PODS_PER_SERVICE),
                |name| store.get_services_by_name(name),
                len,
                |_, answer| len(answer) == PODS_PER_SERVICE,
            )
            .reads(),
            Operation::All => {
                let warm = dose.warm_up();
                keep(
                    &vec![(); warm + dose.count],
                    warm,
                    slice(deck.fleet.pods),
                    |()| store.get_all_services(),
                    len,
                    |_, answer| len(answer) == deck.fleet.pods,
                )
                .reads()
            }
            Operation::Subscribers => keep(
                &dose.window(&deck.groups, names),
                names,
                slice(PODS_PER_SERVICE),
                |group| store.get_subscribers(group),
                len,
                |_, answer| len(answer) == PODS_PER_SERVICE,
            )
            .reads(),
            _ => return None,
        })
    }

    /// What changes a record, and leaves the store as large as it was.
    fn update(&self, op: Operation, deck: &Deck, dose: Dose) -> Option<Sample> {
        let store = self.store();
        let warm = dose.warm_up();
        let total = warm + dose.count;
        let before = store.revision().as_u64();
        // The revision tells how many of them changed something.
        let changes = |warm: usize| store.revision().as_u64() - before - warm as u64;
        Some(match op {
            Operation::UpdateHealth => {
                let timed = tally(deck.health_checks(dose.from, total), warm, |check| {
                    store
                        .update_health_status(check.key, check.status, check.at)
                        .is_ok()
                });
                timed.hit(changes(warm)).writes()
            }
            Operation::UpdatesSingly => {
                let checks = deck.sweep_checks(dose.from, total * BATCH);
                let timed = tally(checks, warm * BATCH, |check| {
                    store
                        .update_health_status(check.key, check.status, check.at)
                        .is_ok()
                });
                timed.hit(changes(warm * BATCH)).writes()
            }
            Operation::UpdatesInBatch => {
                let checks = deck.sweep_checks(dose.from, total * BATCH);
                let batches: Vec<Batch> = checks
                    .chunks(BATCH)
                    .map(|checks| {
                        let mut batch = Batch::with_capacity(checks.len());
                        for check in checks {
                            batch.update_health_status(check.key, check.status, check.at);
                        }
                        batch
                    })
                    .collect();
                let timed = tally(batches, warm, |batch| store.commit(batch).is_ok());
                let timed = timed.hit(changes(warm));
                timed.each_counts(BATCH as u64).writes()
            }
            Operation::SaveReplace => {
                let records = replacements(deck, dose.from, total);
                let timed = tally(records, warm, |record| store.save_service(record).is_ok());
                timed.hit(changes(warm)).writes()
            }
            Operation::DeleteSave => {
                let keys = deck.keys.window(dose.from, total).into_iter();
                let pairs = keys.zip(replacements(deck, dose.from, total));
                tally(pairs, warm, |(key, record)| {
                    store.delete_service(key).is_ok() && store.save_service(record).is_ok()
                })
                .writes()
            }
            _ => return None,
        })
    }

    /// What changes how much the stores hold, and so can be done once.
    fn grow(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Result<Option<Sample>> {
        let (pods, growth) = (deck.fleet.pods, growth(deck));
        let herd = self.stores.len();
        let sample = match op {
            Operation::SaveNew => {
                let new = pods..pods + growth;
                let stores = self.stores.iter();
                let items: Vec<(&S, ServiceInfo)> = stores
                    .flat_map(|store| new.clone().map(move |pod| (store, deck.fleet.record(pod))))
                    .collect();
                let timed = tally(items, 0, |(store, record)| {
                    store.save_service(record).is_ok()
                });
                let now = self.sum(|store| Ok(store.stats()?.services))?;
                for store in &self.stores {
                    for pod in new.clone() {
                        store.delete_service(&Fleet::key(pod))?;
                    }
                }
                timed.hit(now - (herd * pods) as u64)
            }
            Operation::Delete => {
                for store in &self.stores {
                    for pod in pods..pods + growth {
                        store.save_service(deck.fleet.record(pod))?;
                    }
                }
                let before = self.sum(|store| Ok(store.stats()?.services))?;
                let leaving = leaving(deck, dose.from, herd);
                let items = leaving.iter().map(|(at, key)| (&self.stores[*at], key));
                let items: Vec<(&S, &String)> = items.collect();
                let timed = tally(items, 0, |(store, key)| store.delete_service(key).is_ok());
                let now = self.sum(|store| Ok(store.stats()?.services))?;
                timed.hit(before - now)
            }
            Operation::AddSubscription => {
                for group in deck.groups.window(0, growth) {
                    black_box(self.store().get_subscribers(group)?);
                }
                let timed = tally(self.pairs(deck, 0), 0, |(store, key, group)| {
                    store.add_subscription(key, group).is_ok()
                });
                let now = self.sum(|store| Ok(store.stats()?.subscriptions))?;
                timed.hit(now - (herd * pods) as u64)
            }
            Operation::RemoveSubscription => {
                let timed = tally(self.pairs(deck, growth / 2), 0, |(store, key, group)| {
                    store.remove_subscription(key, group).is_ok()
                });
                let now = self.sum(|store| Ok(store.stats()?.subscriptions))?;
                timed.hit((herd * (pods + growth)) as u64 - now)
            }
            Operation::Clear => {
                let timed = tally(&self.stores, 0, |store| store.clear().is_ok());
                let emptied = self.sum(|store| Ok(usize::from(store.stats()?.services == 0)))?;
                for store in &self.stores {
                    deck.fleet.fill(store, &deck.order)?;
                }
                timed.hit(emptied)
            }
            Operation::Drop => tally(self.stores.drain(..), 0, |store| {
                drop(store);
                true
            }),
            _ => return Ok(None),
        };
        Ok(Some(sample.writes()))
    }

    /// New subscriptions of each store, beginning with the one at `first`.
    fn pairs<'a>(&'a self, deck: &'a Deck, first: usize) -> Vec<(&'a S, &'a str, &'a str)> {
        let growth = growth(deck);
        self.stores
            .iter()
            .flat_map(|store| {
                (0..growth).map(move |at| {
                    let at = (at + first) % growth;
                    (store, deck.sweep_keys.get(at), deck.sweep_groups.get(at))
                })
            })
            .collect()
    }
}

/// How many calls that take so long may come before the clock starts.
fn affordable(each: Duration) -> usize {
    const TIME: Duration = Duration::from_millis(25);
    usize::try_from(TIME.as_nanos() / each.as_nanos().max(1))
        .map_or(usize::MAX, |calls| calls.max(1))
}

fn len<T>(answer: &Result<Vec<T>>) -> usize {
    answer.as_ref().map_or(0, Vec::len)
}

impl<S: Contender> Subject for Single<S> {
    fn about(&self) -> &'static About {
        &S::ABOUT
    }

    fn can(&self, op: Operation) -> bool {
        !op.is_throughput() && !op.is_of_snapshots()
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.stores.clear();
        for _ in 0..herd(&S::ABOUT, deck) {
            let store = S::default();
            deck.fleet.fill(&store, &deck.order)?;
            self.stores.push(store);
        }
        Ok(())
    }

    fn sample(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Result<Sample> {
        if op.is_write() {
            self.touch(deck, dose);
        }
        let sample = self.read(op, deck, dose);
        let sample = match sample.or_else(|| self.update(op, deck, dose)) {
            Some(sample) => Some(sample),
            None => self.grow(op, deck, dose)?,
        };
        Ok(sample.expect("a subject is asked for what it can"))
    }

    fn services(&self) -> Result<Option<usize>> {
        let total = usize::try_from(self.sum(|store| Ok(store.stats()?.services))?);
        // Where not all have the same, the mean is none of theirs.
        let total = total.unwrap_or(usize::MAX);
        Ok((!self.stores.is_empty()).then(|| total.div_ceil(self.stores.len())))
    }

    fn empty(&mut self) {
        self.stores.clear();
    }
}

/// One thread and two, for throughput; started when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Gangs {
    one: OnceCell<Gang>,
    two: OnceCell<Gang>,
}

impl Gangs {
    fn of(&self, op: Operation) -> &Gang {
        let (gang, threads) = match op.threads() {
            1 => (&self.one, 1),
            _ => (&self.two, 2),
        };
        gang.get_or_init(|| {
            let gang = Gang::new(threads).expect("the system has two threads to give");
            gang.watching()
        })
    }
}

/// A store that threads share, on one thread and on two.
pub(super) struct Shared<S> {
    single: Single<S>,
    gangs: Rc<Gangs>,
}

/// How often a sample of throughput is taken at most.
const ATTEMPTS: usize = 10;

/// How many keys a thread goes through before it begins again: too many to be
/// learnt, few enough for its cache.
const LAP: usize = 1 << 14;

impl<S: Contender + Send + Sync> Shared<S> {
    pub(super) fn new(gangs: Rc<Gangs>) -> Shared<S> {
        let single = Single::default();
        Shared { single, gangs }
    }

    /// Reads with all threads of a gang, each with a handle of its own.
    ///
    /// Threads that share a processor do not disturb each other: what they reach
    /// says nothing of the store. So a sample in which one of them had to wait
    /// for a processor is taken again, a few times, and the one with the shortest
    /// wait counts. Its wait is noted with it.
    fn throughput<H: Send>(
        gang: &Gang,
        deck: &Deck,
        dose: Dose,
        open: impl Fn() -> H + Sync,
        read: impl Fn(&mut H, &str) -> bool + Sync,
    ) -> Sample {
        let mut best = Self::throughput_once(gang, deck, dose, &open, &read);
        for _ in 1..ATTEMPTS {
            if best.waited.is_none_or(|waited| waited < best.elapsed / 50) {
                break;
            }
            let sample = Self::throughput_once(gang, deck, dose, &open, &read);
            if sample.waited < best.waited {
                best = sample;
            }
        }
        best
    }

    fn throughput_once<H: Send>(
        gang: &Gang,
        deck: &Deck,
        dose: Dose,
        open: &(impl Fn() -> H + Sync),
        read: &(impl Fn(&mut H, &str) -> bool + Sync),
    ) -> Sample {
        let lap = dose.count.min(LAP);
        let laps = dose.count.div_ceil(lap);
        let pieces: Vec<Vec<&str>> = (0..gang.threads())
            .map(|thread| deck.keys.window(dose.from + thread * LAP, lap))
            .collect();
        let together = gang.run(
            pieces,
            |keys| {
                let mut handle = open();
                for key in &keys {
                    black_box(read(&mut handle, key));
                }
                (keys, handle, 0)
            },
            |(keys, handle, hits)| {
                let mut found = 0;
                for _ in 0..laps {
                    for key in keys.iter() {
                        found += u64::from(read(handle, key));
                    }
                }
                *hits = found;
            },
        );
        let timed = Timed {
            elapsed: together.elapsed,
            operations: (gang.threads() * laps * lap) as u64,
            hits: together.work.iter().map(|(.., hits)| hits).sum(),
        };
        Sample {
            // A store's own thread takes a processor as well, and what its
            // callers wait for then is the store.
            waited: together.waited.filter(|_| !S::ABOUT.own_thread),
            ..timed.reads()
        }
    }
}

impl<S: Contender + Send + Sync> Subject for Shared<S> {
    fn about(&self) -> &'static About {
        self.single.about()
    }

    fn can(&self, op: Operation) -> bool {
        matches!(op, Operation::Throughput1 | Operation::Throughput2) || self.single.can(op)
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.single.fill(deck)
    }

    fn sample(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Result<Sample> {
        if !op.is_throughput() {
            return self.single.sample(op, deck, dose);
        }
        let gang = self.gangs.of(op);
        let store = self.single.store();
        let read = |(): &mut (), key: &str| {
            let answer = store.with_service(key, |info| black_box(info.status()));
            answer.is_ok()
        };
        Ok(Self::throughput(gang, deck, dose, || (), read))
    }

    fn services(&self) -> Result<Option<usize>> {
        self.single.services()
    }

    fn empty(&mut self) {
        self.single.empty();
    }
}

/// A store that hands out snapshots.
pub(super) struct Snapshots<S> {
    shared: Shared<S>,
}

impl<S: SnapshotContender> Snapshots<S> {
    pub(super) fn new(gangs: Rc<Gangs>) -> Snapshots<S> {
        let shared = Shared::new(gangs);
        Snapshots { shared }
    }
}

impl<S: SnapshotContender> Subject for Snapshots<S> {
    fn about(&self) -> &'static About {
        self.shared.about()
    }

    fn can(&self, op: Operation) -> bool {
        op.is_of_snapshots() || self.shared.can(op)
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.shared.fill(deck)
    }

    fn sample(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Result<Sample> {
        if !op.is_of_snapshots() {
            return self.shared.sample(op, deck, dose);
        }
        let store = self.shared.single.store();
        let warm = dose.warm_up();
        let total = warm + dose.count;
        let read = |reader: &mut S::Reader, key: &str| {
            S::read(reader, key, |info| black_box(info.status())).is_ok()
        };
        Ok(match op {
            Operation::Reader => {
                let mut reader = store.open_reader();
                wait(&dose.keys(deck), dose.sweep, |key| {
                    S::read(&mut reader, key, |info| info.status() as usize).ok()
                })
                .reads()
            }
            Operation::ReaderBackToBack => {
                let mut reader = store.open_reader();
                tally(dose.keys(deck), dose.sweep, |key| read(&mut reader, key)).reads()
            }
            Operation::SnapshotGet => {
                let view = store.take();
                wait(&dose.keys(deck), dose.sweep, |key| {
                    view.get(key).map(|info| info.status() as usize)
                })
                .reads()
            }
            Operation::PinnedGet => {
                let view = store.pin();
                wait(&dose.keys(deck), dose.sweep, |key| {
                    view.get(key).map(|info| info.status() as usize)
                })
                .reads()
            }
            Operation::PinnedByName => {
                let names = 2 * dose.sweep.div_ceil(PODS_PER_SERVICE);
                let view = store.pin();
                tally(dose.window(&deck.names, names), names, |name| {
                    let pods = view.services_by_name(name);
                    let pods = pods.map(|info| {
                        black_box(info.status());
                    });
                    pods.count() == PODS_PER_SERVICE
                })
                .reads()
            }
            Operation::Snapshot => keep(
                &vec![(); total],
                warm,
                slice(1),
                |()| store.take(),
                |_| 0,
                |_, view| view.stats().services == deck.fleet.pods,
            )
            .reads(),
            Operation::SnapshotAndDrop => tally(0..total, warm, |_| {
                drop(black_box(store.take()));
                true
            })
            .reads(),
            _ => {
                let gang = self.shared.gangs.of(op);
                Shared::<S>::throughput(gang, deck, dose, || store.open_reader(), read)
            }
        })
    }

    fn services(&self) -> Result<Option<usize>> {
        self.shared.services()
    }

    fn empty(&mut self) {
        self.shared.empty();
    }
}
