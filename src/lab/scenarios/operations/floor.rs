//! The same loops around a bare hash map.

use std::hint::black_box;

use super::Operation;
use super::clock::{keep, slice, tally, wait};
use super::subject::{Dose, Subject, growth, herd, leaving, replacements};
use crate::lab::contender::{About, Floor};
use crate::lab::record::Sample;
use crate::lab::workload::{Deck, Fleet};
use crate::{Result, ServiceInfo};

/// The floor.
#[derive(Debug, Default)]
pub(super) struct FloorSubject {
    maps: Vec<Floor>,
}

impl FloorSubject {
    fn touch(&self, deck: &Deck, dose: Dose) {
        for key in deck.sweep_keys.window(0, dose.sweep) {
            black_box(self.maps[0].services.get(key).cloned());
        }
    }

    fn read(&self, op: Operation, deck: &Deck, dose: Dose) -> Option<Sample> {
        let map = &self.maps[0].services;
        let found =
            |answer: &Option<ServiceInfo>| answer.as_ref().map_or(0, |info| info.status() as usize);
        Some(match op {
            Operation::WithService => wait(&dose.keys(deck), dose.sweep, |key| {
                map.get(key).map(|info| info.status() as usize)
            })
            .reads(),
            Operation::WithServiceBackToBack => tally(dose.keys(deck), dose.sweep, |key| {
                map.get(key).map(|info| black_box(info.status())).is_some()
            })
            .reads(),
            Operation::GetService => {
                let keys = dose.keys(deck);
                keep(
                    &keys,
                    dose.sweep,
                    slice(1),
                    |key| map.get(key).cloned(),
                    found,
                    |at, answer| answer.as_ref().is_some_and(|info| *info.key() == keys[at]),
                )
                .reads()
            }
            // The error is dropped at once: that is part of a miss.
            Operation::Miss => tally(dose.window(&deck.absent, dose.sweep), dose.sweep, |key| {
                map.get(key).cloned().is_some()
            })
            .misses(),
            Operation::All => {
                let warm = dose.warm_up();
                keep(
                    &vec![(); warm + dose.count],
                    warm,
                    slice(deck.fleet.pods),
                    |()| map.values().cloned().collect::<Vec<ServiceInfo>>(),
                    Vec::len,
                    |_, answer| answer.len() == deck.fleet.pods,
                )
                .reads()
            }
            _ => return None,
        })
    }

    fn write(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Option<Sample> {
        let map = &mut self.maps[0].services;
        let warm = dose.warm_up();
        let total = warm + dose.count;
        let timed = match op {
            Operation::UpdateHealth => tally(deck.health_checks(dose.from, total), warm, |check| {
                let info = map.get_mut(check.key);
                info.is_some_and(|info| {
                    crate::lab::contender::outside::set_health(info, check.status, check.at)
                })
            }),
            Operation::SaveReplace => tally(replacements(deck, dose.from, total), warm, |record| {
                map.insert(record.key().clone(), record).is_some()
            }),
            Operation::DeleteSave => {
                let keys = deck.keys.window(dose.from, total).into_iter();
                let pairs = keys.zip(replacements(deck, dose.from, total));
                tally(pairs, warm, |(key, record)| {
                    let gone = map.remove(key).is_some();
                    gone && map.insert(record.key().clone(), record).is_none()
                })
            }
            _ => return None,
        };
        Some(timed.writes())
    }

    fn grow(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Option<Sample> {
        let pods = deck.fleet.pods;
        let new = pods..pods + growth(deck);
        let timed = match op {
            Operation::SaveNew => {
                let items: Vec<(usize, ServiceInfo)> = (0..self.maps.len())
                    .flat_map(|at| new.clone().map(move |pod| (at, deck.fleet.record(pod))))
                    .collect();
                let timed = tally(items, 0, |(at, record)| {
                    let map = &mut self.maps[at].services;
                    map.insert(record.key().clone(), record).is_none()
                });
                for map in &mut self.maps {
                    for pod in new.clone() {
                        map.services.remove(&*Fleet::key(pod));
                    }
                }
                timed
            }
            Operation::Delete => {
                for map in &mut self.maps {
                    for pod in new.clone() {
                        let record = deck.fleet.record(pod);
                        map.services.insert(record.key().clone(), record);
                    }
                }
                let leaving = leaving(deck, dose.from, self.maps.len());
                tally(&leaving, 0, |(at, key)| {
                    self.maps[*at].services.remove(&**key).is_some()
                })
            }
            Operation::Clear => {
                let timed = tally(self.maps.iter_mut(), 0, |map| {
                    map.services.clear();
                    map.services.is_empty()
                });
                for map in &mut self.maps {
                    map.fill(deck.fleet, &deck.order);
                }
                timed
            }
            Operation::Drop => tally(self.maps.drain(..), 0, |map| {
                drop(map);
                true
            }),
            _ => return None,
        };
        Some(timed.writes())
    }
}

impl Subject for FloorSubject {
    fn about(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn can(&self, op: Operation) -> bool {
        op.on_the_floor() == Some(op)
    }

    fn fill(&mut self, deck: &Deck) -> Result<()> {
        self.maps.clear();
        self.maps
            .resize_with(herd(&Floor::ABOUT, deck), Floor::default);
        for map in &mut self.maps {
            map.fill(deck.fleet, &deck.order);
        }
        Ok(())
    }

    fn sample(&mut self, op: Operation, deck: &Deck, dose: Dose) -> Result<Sample> {
        if op.is_write() {
            self.touch(deck, dose);
        }
        let sample = self.read(op, deck, dose);
        let sample = sample.or_else(|| self.write(op, deck, dose));
        let sample = sample.or_else(|| self.grow(op, deck, dose));
        Ok(sample.expect("a subject is asked for what it can"))
    }

    fn services(&self) -> Result<Option<usize>> {
        Ok(self.maps.first().map(|map| map.services.len()))
    }

    fn empty(&mut self) {
        self.maps.clear();
    }
}
