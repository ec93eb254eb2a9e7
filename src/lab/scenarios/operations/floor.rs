//! The same loops around a bare hash map.

use std::hint::black_box;

use super::Operation;
use super::clock::{keep, slice, tally, warm_up};
use super::subject::{Subject, growth, herd, replacements};
use crate::lab::contender::{About, Floor};
use crate::lab::run::Sample;
use crate::lab::workload::{Deck, Fleet};
use crate::{Result, ServiceInfo};
use std::cell::RefCell;

/// The floor. The cell is opened once a sample, outside the clock.
#[derive(Debug, Default)]
pub(super) struct FloorSubject {
    maps: RefCell<Vec<Floor>>,
}

fn filled(deck: &Deck) -> Vec<Floor> {
    (0..herd(&Floor::ABOUT, deck))
        .map(|_| {
            let mut map = Floor::default();
            map.fill(deck.fleet, &deck.order);
            map
        })
        .collect()
}

impl Subject for FloorSubject {
    fn about(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn can(&self, op: Operation) -> bool {
        op.on_the_floor() == Some(op)
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.maps = RefCell::new(filled(deck));
        Ok(())
    }

    fn sample(&self, op: Operation, deck: &Deck, from: usize, count: usize) -> Result<Sample> {
        let mut maps = self.maps.borrow_mut();
        let (pods, growth) = (deck.fleet.pods, growth(deck));
        let warm = warm_up(count);
        let total = count + warm;
        let first = &mut maps
            .first_mut()
            .expect("a subject is filled first")
            .services;
        Ok(match op {
            Operation::WithService => {
                let map = &*first;
                tally(deck.keys.window(from, total), warm, |key| {
                    map.get(key).map(|info| black_box(info.status())).is_some()
                })
                .reads()
            }
            Operation::GetService => {
                let map = &*first;
                let keys = deck.keys.window(from, total);
                let asked = keys.clone();
                keep(
                    keys,
                    warm,
                    slice(1),
                    |key| map.get(key).cloned(),
                    |at, answer| answer.as_ref().is_some_and(|info| *info.key() == asked[at]),
                )
                .reads()
            }
            Operation::Miss => {
                let map = &*first;
                keep(
                    deck.absent.window(from, total),
                    warm,
                    slice(1),
                    |key| map.get(key).cloned(),
                    |_, answer| answer.is_some(),
                )
                .misses()
            }
            Operation::All => {
                let map = &*first;
                keep(
                    0..total,
                    warm,
                    slice(pods),
                    |_| map.values().cloned().collect::<Vec<ServiceInfo>>(),
                    |_, answer| answer.len() == pods,
                )
                .reads()
            }
            Operation::UpdateHealth => tally(deck.health_checks(from, total), warm, |check| {
                let info = first.get_mut(check.key);
                info.is_some_and(|info| info.set_health(check.status, check.at))
            })
            .writes(),
            Operation::SaveReplace => tally(replacements(deck, from, total), warm, |record| {
                first.insert(record.key().clone(), record).is_some()
            })
            .writes(),
            Operation::DeleteSave => {
                let keys = deck.keys.window(from, total).into_iter();
                let pairs = keys.zip(replacements(deck, from, total));
                tally(pairs, warm, |(key, record)| {
                    let gone = first.remove(key).is_some();
                    gone && first.insert(record.key().clone(), record).is_none()
                })
                .writes()
            }
            Operation::SaveNew => {
                let items: Vec<(usize, ServiceInfo)> = (0..maps.len())
                    .flat_map(|at| (pods..pods + growth).map(move |pod| (at, pod)))
                    .map(|(at, pod)| (at, deck.fleet.record(pod)))
                    .collect();
                let timed = tally(items, 0, |(at, record)| {
                    let map = &mut maps[at].services;
                    map.insert(record.key().clone(), record).is_none()
                });
                for map in maps.iter_mut() {
                    for pod in pods..pods + growth {
                        map.services.remove(&*Fleet::key(pod));
                    }
                }
                timed.writes()
            }
            Operation::Clear => tally(maps.iter_mut(), 0, |map| {
                map.services.clear();
                map.services.is_empty()
            })
            .writes(),
            Operation::Drop => tally(filled(deck), 0, |map| {
                drop(map);
                true
            })
            .writes(),
            _ => unreachable!("the floor is asked for what it can"),
        })
    }

    fn empty(&mut self) {
        self.maps.borrow_mut().clear();
    }
}
