//! A contender that the operations are tried on.

use std::hint::black_box;
use std::rc::Rc;

use super::clock::{Timed, keep, slice, tally, warm_up};
use super::{Gangs, Operation, updates};
use crate::lab::contender::{About, Contender, SnapshotContender};
use crate::lab::gang::Gang;
use crate::lab::run::Sample;
use crate::lab::workload::{BATCH, Deck, Fleet, PODS_PER_SERVICE};
use crate::{Batch, RegistryView, Result, ServiceInfo, StoreError};

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

    /// Does an operation `count` times, or as often as its state asks for, with
    /// the cards of the deck `from` a place on.
    ///
    /// # Errors
    ///
    /// Those of the store, outside of what is timed.
    fn sample(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Result<Sample>;

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
    if deck.fleet.pods < 1_000 {
        about.herd
    } else {
        1
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

    fn filled(deck: &Deck) -> Result<Vec<S>> {
        (0..herd(&S::ABOUT, deck))
            .map(|_| {
                let store = S::default();
                deck.fleet.fill(&store, &deck.order)?;
                Ok(store)
            })
            .collect()
    }

    /// The sum of a number of each store.
    fn sum(&self, number: impl Fn(&S) -> Result<usize>) -> Result<u64> {
        self.stores
            .iter()
            .try_fold(0, |sum, store| Ok(sum + number(store)? as u64))
    }

    fn read(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Option<Sample> {
        let store = self.store();
        let warm = warm_up(count);
        let total = count + warm;
        Some(match op {
            Operation::WithService => tally(deck.keys.window(from, total), warm, |key| {
                store
                    .with_service(key, |info| black_box(info.status()))
                    .is_ok()
            })
            .reads(),
            Operation::GetService => {
                let keys = deck.keys.window(from, total);
                let asked = keys.clone();
                keep(
                    keys,
                    warm,
                    slice(1),
                    |key| store.get_service(key),
                    |at, answer| answer.as_ref().is_ok_and(|info| *info.key() == asked[at]),
                )
                .reads()
            }
            Operation::Miss => keep(
                deck.absent.window(from, total),
                warm,
                slice(1),
                |key| store.get_service(key),
                |_, answer| !matches!(answer, Err(StoreError::NotFound(_))),
            )
            .misses(),
            Operation::ByName => keep(
                deck.names.window(from, total),
                warm,
                slice(PODS_PER_SERVICE),
                |name| store.get_services_by_name(name),
                |_, answer| has(answer.as_ref(), PODS_PER_SERVICE),
            )
            .reads(),
            Operation::All => keep(
                0..total,
                warm,
                slice(deck.fleet.pods),
                |_| store.get_all_services(),
                |_, answer| has(answer.as_ref(), deck.fleet.pods),
            )
            .reads(),
            Operation::Subscribers => keep(
                (from..from + total).map(|at| {
                    let pod = deck.picks[at % deck.picks.len()];
                    deck.groups.get(pod / PODS_PER_SERVICE)
                }),
                warm,
                slice(PODS_PER_SERVICE),
                |group| store.get_subscribers(group),
                |_, answer| has(answer.as_ref(), PODS_PER_SERVICE),
            )
            .reads(),
            _ => return None,
        })
    }

    fn update(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Option<Sample> {
        let store = self.store();
        let warm = warm_up(count);
        let total = count + warm;
        let before = store.revision().as_u64();
        let changes = || store.revision().as_u64() - before;
        Some(match op {
            Operation::UpdateHealth => {
                let timed = tally(deck.health_checks(from, total), warm, |check| {
                    store
                        .update_health_status(check.key, check.status, check.at)
                        .is_ok()
                });
                timed.hit(changes() - warm as u64).writes()
            }
            Operation::UpdatesSingly => {
                let (checks, warm) = (deck.sweep_checks(from, updates(total)), updates(warm));
                let timed = tally(checks, warm, |check| {
                    store
                        .update_health_status(check.key, check.status, check.at)
                        .is_ok()
                });
                timed.hit(changes() - warm as u64).writes()
            }
            Operation::UpdatesInBatch => {
                let checks = deck.sweep_checks(from, updates(total));
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
                let timed = timed.hit(changes() - warm as u64);
                timed.each_counts(BATCH as u64).writes()
            }
            Operation::SaveReplace => {
                let timed = tally(replacements(deck, from, total), warm, |record| {
                    store.save_service(record).is_ok()
                });
                timed.hit(changes() - warm as u64).writes()
            }
            Operation::DeleteSave => {
                let keys = deck.keys.window(from, total).into_iter();
                let pairs = keys.zip(replacements(deck, from, total));
                tally(pairs, warm, |(key, record)| {
                    store.delete_service(key).is_ok() && store.save_service(record).is_ok()
                })
                .writes()
            }
            _ => return None,
        })
    }

    /// What changes how much the stores hold, and so can be done once.
    fn grow(&self, op: Operation, deck: &Deck) -> Result<Option<Sample>> {
        let (pods, growth) = (deck.fleet.pods, growth(deck));
        let herd = self.stores.len();
        let subscriptions = |timed: Timed, hits: u64| timed.hit(hits).writes();
        Ok(Some(match op {
            Operation::SaveNew => {
                let stores = self.stores.iter();
                let items: Vec<(&S, ServiceInfo)> = stores
                    .flat_map(|store| {
                        let new = pods..pods + growth;
                        new.map(move |pod| (store, deck.fleet.record(pod)))
                    })
                    .collect();
                let timed = tally(items, 0, |(store, record)| {
                    store.save_service(record).is_ok()
                });
                let now = self.sum(|store| Ok(store.stats()?.services))?;
                for store in &self.stores {
                    for pod in pods..pods + growth {
                        store.delete_service(&Fleet::key(pod))?;
                    }
                }
                timed.hit(now - (herd * pods) as u64).writes()
            }
            Operation::AddSubscription => {
                let timed = tally(self.pairs(deck, 0), 0, |(store, key, group)| {
                    store.add_subscription(key, group).is_ok()
                });
                let now = self.sum(|store| Ok(store.stats()?.subscriptions))?;
                subscriptions(timed, now - (herd * pods) as u64)
            }
            Operation::RemoveSubscription => {
                let timed = tally(self.pairs(deck, growth / 2), 0, |(store, key, group)| {
                    store.remove_subscription(key, group).is_ok()
                });
                let now = self.sum(|store| Ok(store.stats()?.subscriptions))?;
                subscriptions(timed, (herd * (pods + growth)) as u64 - now)
            }
            Operation::Clear => {
                let timed = tally(&self.stores, 0, |store| store.clear().is_ok());
                let emptied = self.sum(|store| Ok(usize::from(store.stats()?.services == 0)))?;
                timed.hit(emptied).writes()
            }
            Operation::Drop => {
                let stores = Self::filled(deck)?;
                tally(stores, 0, |store| {
                    drop(store);
                    true
                })
                .writes()
            }
            _ => return Ok(None),
        }))
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

fn has<T>(answer: Result<&Vec<T>, &StoreError>, records: usize) -> bool {
    answer.is_ok_and(|found| found.len() == records)
}

impl<S: Contender> Subject for Single<S> {
    fn about(&self) -> &'static About {
        &S::ABOUT
    }

    fn can(&self, op: Operation) -> bool {
        !matches!(
            op,
            Operation::Reader
                | Operation::SnapshotGet
                | Operation::Snapshot
                | Operation::SnapshotAndDrop
        ) && !op.is_throughput()
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.stores = Self::filled(deck)?;
        Ok(())
    }

    fn sample(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Result<Sample> {
        let once = self.read(op, deck, from, count);
        let sample = match once.or_else(|| self.update(op, deck, from, count)) {
            Some(sample) => Some(sample),
            None => self.grow(op, deck)?,
        };
        Ok(sample.expect("a subject is asked for what it can"))
    }

    fn empty(&mut self) {
        self.stores.clear();
    }
}

/// A store that threads share, on one thread and on two.
pub(super) struct Shared<S> {
    single: Single<S>,
    gangs: Rc<Gangs>,
}

impl<S: Contender + Send + Sync> Shared<S> {
    pub(super) fn new(gangs: Rc<Gangs>) -> Shared<S> {
        let single = Single::default();
        Shared { single, gangs }
    }

    /// Reads with all threads of a gang, each with a handle of its own.
    fn throughput<H: Send>(
        gang: &Gang,
        deck: &Deck,
        from: usize,
        count: usize,
        open: impl Fn() -> H + Sync,
        read: impl Fn(&mut H, &str) -> bool + Sync,
    ) -> Sample {
        let lap = count.min(LAP);
        let laps = count.div_ceil(lap);
        let pieces: Vec<Vec<&str>> = (0..gang.threads())
            .map(|thread| deck.keys.window(from + thread * LAP, lap))
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
        let operations = (gang.threads() * laps * lap) as u64;
        Timed {
            elapsed: together.elapsed,
            operations,
            hits: together.work.iter().map(|(.., hits)| hits).sum(),
        }
        .reads()
    }
}

/// How many keys a thread goes through before it begins again: too many to be
/// learnt, few enough for its cache.
const LAP: usize = 1 << 14;

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

    fn sample(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Result<Sample> {
        let gang = match op {
            Operation::Throughput1 => &self.gangs.one,
            Operation::Throughput2 => &self.gangs.two,
            _ => return self.single.sample(op, deck, from, count),
        };
        let store = self.single.store();
        let read = |(): &mut (), key: &str| {
            let answer = store.with_service(key, |info| black_box(info.status()));
            answer.is_ok()
        };
        Ok(Self::throughput(gang, deck, from, count, || (), read))
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
        matches!(
            op,
            Operation::Reader
                | Operation::SnapshotGet
                | Operation::Snapshot
                | Operation::SnapshotAndDrop
                | Operation::ReaderThroughput1
                | Operation::ReaderThroughput2
        ) || self.shared.can(op)
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.shared.fill(deck)
    }

    fn sample(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Result<Sample> {
        let store = self.shared.single.store();
        let warm = warm_up(count);
        let total = count + warm;
        let read = |reader: &mut S::Reader, key: &str| {
            S::read(reader, key, |info| black_box(info.status())).is_ok()
        };
        Ok(match op {
            Operation::Reader => {
                let mut reader = store.open_reader();
                let keys = deck.keys.window(from, total);
                tally(keys, warm, |key| read(&mut reader, key)).reads()
            }
            Operation::SnapshotGet => {
                let view = store.take();
                tally(deck.keys.window(from, total), warm, |key| {
                    view.get(key).map(|info| black_box(info.status())).is_some()
                })
                .reads()
            }
            Operation::Snapshot => keep(
                0..total,
                warm,
                slice(1),
                |_| store.take(),
                |_, view| view.stats().services == deck.fleet.pods,
            )
            .reads(),
            Operation::SnapshotAndDrop => tally(0..total, warm, |_| {
                drop(black_box(store.take()));
                true
            })
            .reads(),
            Operation::ReaderThroughput1 | Operation::ReaderThroughput2 => {
                let gangs = &self.shared.gangs;
                let gang = match op {
                    Operation::ReaderThroughput1 => &gangs.one,
                    _ => &gangs.two,
                };
                let open = || store.open_reader();
                Shared::<S>::throughput(gang, deck, from, count, open, read)
            }
            _ => return self.shared.sample(op, deck, from, count),
        })
    }

    fn empty(&mut self) {
        self.shared.empty();
    }
}
