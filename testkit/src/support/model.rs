//! A plain model of a store, written from the documentation, and random
//! operations for both.

use std::collections::BTreeMap;
use std::time::SystemTime;

use service_registry::{
    Batch, Change, Condition, Expected, HealthUpdate, OnForeign, Registry, RegistryStore,
    ServiceInfo, ServiceStatus, StoreStats,
};

use super::failure::{Failure, check_group, check_key, check_key_of};
use super::{ObservedState, at, registration};

// --- the model

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub services: BTreeMap<String, ServiceInfo>,
    /// The revision of the last change and the incarnation of each record.
    pub stamps: BTreeMap<String, (u64, u64)>,
    /// Subscriber and group, in the order of subscription.
    pub subscriptions: Vec<(String, String)>,
    pub revision: u64,
    pub closed: bool,
}

impl Model {
    pub fn get(&self, key: &str) -> Result<ServiceInfo, Failure> {
        let found = self.services.get(key).cloned();
        found.ok_or_else(|| match check_key_of("key", key) {
            Ok(()) => Failure::NotFound(key.into()),
            Err(invalid) => invalid,
        })
    }

    fn holds(&self, key: &str, expected: Expected) -> Result<bool, Failure> {
        check_key_of("key", key)?;
        let stamp = self.stamps.get(key);
        Ok(match expected {
            Expected::Absent => stamp.is_none(),
            Expected::Present => stamp.is_some(),
            Expected::Revision(at) => stamp.is_some_and(|(own, _)| *own == at.as_u64()),
            Expected::Incarnation(at) => stamp.is_some_and(|(_, own)| *own == at.as_u64()),
            other => panic!("the model knows no {other:?}"),
        })
    }

    /// Saves a record. Returns whether that had an effect.
    fn put(&mut self, info: &ServiceInfo, anew: bool) -> Result<bool, Failure> {
        let (key, next) = (info.key().to_string(), self.revision + 1);
        let before = self.services.get(&key);
        if before.is_some_and(|before| before.source() != info.source()) {
            return Err(Failure::Conflict(Condition::Source {
                key: key.as_str().into(),
                source: info.source().map(Box::from),
            }));
        }
        let effect = anew || before != Some(info);
        // A time by itself leaves the record's revision alone.
        let but_for_time = |info: &ServiceInfo| {
            let registration = info.registration().clone();
            (registration, info.status(), info.registered_at())
        };
        let same = before.is_some_and(|before| but_for_time(before) == but_for_time(info));
        let (revision, incarnation) = self.stamps.get(&key).copied().unwrap_or((next, next));
        let revision = if same { revision } else { next };
        let stamp = if anew {
            (next, next)
        } else {
            (revision, incarnation)
        };
        self.services.insert(key.clone(), info.clone());
        self.stamps.insert(key, stamp);
        Ok(effect)
    }

    fn take(&mut self, key: &str) -> bool {
        let taken = self.services.remove(key).is_some();
        if taken {
            self.stamps.remove(key);
            self.subscriptions.retain(|(own, _)| own != key);
        }
        taken
    }

    fn set_health(&mut self, key: &str, status: ServiceStatus, checked_at: SystemTime) -> bool {
        let before = &self.services[key];
        if before
            .last_health_check()
            .is_some_and(|last| checked_at < last)
        {
            return false;
        }
        let after = before.with_health(status, checked_at).unwrap();
        let effect = after != *before;
        if after.status() != before.status() {
            self.stamps.get_mut(key).unwrap().0 = self.revision + 1;
        }
        self.services.insert(key.into(), after);
        effect
    }

    fn replace_source(
        &mut self,
        source: &str,
        services: &[ServiceInfo],
        on_foreign: OnForeign,
    ) -> Result<bool, Failure> {
        let mut own = Vec::new();
        for info in services {
            let known = self.services.get(&**info.key());
            if known.is_none_or(|known| known.source() == Some(source)) {
                own.push(info.clone().with_source(source).unwrap());
            } else if on_foreign == OnForeign::Reject {
                return Err(Failure::Conflict(Condition::Source {
                    key: info.key().as_str().into(),
                    source: Some(source.into()),
                }));
            }
        }
        let gone = self.services.values().filter(|known| {
            known.source() == Some(source) && own.iter().all(|own| own.key() != known.key())
        });
        let gone: Vec<String> = gone.map(|known| known.key().to_string()).collect();
        let mut effect = !gone.is_empty();
        for key in gone {
            self.take(&key);
        }
        for mut info in own {
            if let Some(known) = self.services.get(&**info.key())
                && known.registration() == info.registration()
            {
                info = info.with_registered_at(known.registered_at()).unwrap();
            }
            if let Some(known) = self.services.get(&**info.key())
                && let Some(last) = known.last_health_check()
                && info.last_health_check().is_none_or(|own| own < last)
            {
                info = info.with_health(known.status(), last).unwrap();
            }
            effect |= self.put(&info, false)?;
        }
        Ok(effect)
    }

    pub fn subscribers(&self, group: &str) -> Vec<String> {
        let of_group = self.subscriptions.iter().filter(|(_, of)| of == group);
        of_group.map(|(key, _)| key.clone()).collect()
    }

    pub fn stats(&self) -> StoreStats {
        StoreStats::new(self.services.len(), self.subscriptions.len())
    }

    /// Applies one change, and tells whether it had an effect. Conditions are judged
    /// against the state `before` the batch.
    fn apply(&mut self, change: &Change, before: &Model) -> Result<bool, Failure> {
        match change {
            Change::SaveService(info) => self.put(info, false),
            Change::RegisterService(info) => self.put(info, true),
            Change::DeleteService { key } => {
                self.get(key)?;
                self.services.remove(&**key);
                self.stamps.remove(&**key);
                Ok(true)
            }
            Change::RemoveIf { key, expected, .. } => {
                Ok(before.holds(key, *expected)? && self.take(key))
            }
            Change::UpdateHealthIf {
                key,
                expected,
                status,
                checked_at,
            } => Ok(before.holds(key, *expected)?
                && self.services.contains_key(&**key)
                && self.set_health(key, *status, *checked_at)),
            Change::ReplaceSource {
                source,
                services,
                on_foreign,
            } => self.replace_source(source, services, *on_foreign),
            Change::ReplaceAll {
                services,
                subscriptions,
            } => {
                let was = self.stats();
                self.services.clear();
                self.stamps.clear();
                self.subscriptions.clear();
                for info in services {
                    self.put(info, true)?;
                }
                for side in subscriptions {
                    let pair = (side.subscriber.to_string(), side.group.to_string());
                    if !self.subscriptions.contains(&pair) {
                        self.subscriptions.push(pair);
                    }
                }
                Ok(was != StoreStats::default() || self.stats() != was)
            }
            Change::Require { key, expected } if before.holds(key, *expected)? => Ok(false),
            Change::Require { key, expected } => Err(Failure::Conflict(Condition::Expected {
                key: key.clone(),
                expected: *expected,
            })),
            Change::RequireUnchangedSince { revision } if before.revision == revision.as_u64() => {
                Ok(false)
            }
            Change::RequireUnchangedSince { revision } => {
                Err(Failure::Conflict(Condition::UnchangedSince(*revision)))
            }
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => {
                self.get(key)?;
                Ok(self.set_health(key, *status, *checked_at))
            }
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => {
                check_key(subscriber_key)?;
                check_group(service_group)?;
                let pair = (subscriber_key.to_string(), service_group.to_string());
                let new = !self.subscriptions.contains(&pair);
                if new {
                    self.subscriptions.push(pair);
                }
                Ok(new)
            }
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => {
                check_key(subscriber_key)?;
                check_group(service_group)?;
                let before = self.subscriptions.len();
                self.subscriptions
                    .retain(|(key, group)| (&**key, &**group) != (subscriber_key, service_group));
                Ok(self.subscriptions.len() < before)
            }
            Change::RemoveAllSubscriptions { subscriber_key } => {
                check_key(subscriber_key)?;
                let before = self.subscriptions.len();
                self.subscriptions
                    .retain(|(key, _)| **key != **subscriber_key);
                Ok(self.subscriptions.len() < before)
            }
            other => panic!("the model knows no {other:?}"),
        }
    }

    /// Makes one commit of `changes`.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), Failure> {
        let mut after = self.clone();
        let mut effect = false;
        for (index, change) in changes.iter().enumerate() {
            effect |= after
                .apply(change, self)
                .map_err(|source| Failure::Rejected {
                    index,
                    operation: change.operation(),
                    source: Box::new(source),
                })?;
        }
        after.revision += u64::from(effect);
        *self = after;
        Ok(())
    }

    /// A single operation is a commit, too.
    pub fn change(&mut self, change: &Change) -> Result<(), Failure> {
        let before = self.clone();
        let effect = self.apply(change, &before)?;
        self.revision += u64::from(effect);
        Ok(())
    }

    /// What `update_health_status` answers.
    fn report(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<Answer, Failure> {
        let known = self.get(key)?;
        let is_late = known
            .last_health_check()
            .is_some_and(|last| checked_at < last);
        self.change(&Change::UpdateHealthStatus {
            key: key.into(),
            status,
            checked_at,
        })?;
        Ok(Answer::Health(match known.status() {
            current if is_late => HealthUpdate::Late { current },
            before => HealthUpdate::Applied { before },
        }))
    }

    pub fn state(&self) -> ObservedState {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, group) in &self.subscriptions {
            groups.entry(group.clone()).or_default().push(key.clone());
        }
        ObservedState {
            services: self.services.clone(),
            groups,
            revision: self.revision,
        }
    }
}

// --- operations and their answers

#[derive(Clone, Debug)]
pub enum Operation {
    Change(Change),
    Commit(Vec<Change>),
    Swap(String, ServiceStatus, u64),
    Take(String),
    Get(String),
    With(String),
    Visit(String),
    ByName(String),
    All,
    Subscribers(String),
    SubscriberServices(String),
    Stats,
    Revision,
    Ping,
    Clear,
    Register(String, String, Vec<String>),
    Unregister(String, String),
    Report(String, ServiceStatus),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done,
    Revision(u64),
    Health(HealthUpdate),
    Changed(bool),
    Service(ServiceInfo),
    MaybeService(Option<ServiceInfo>),
    InAnyOrder(BTreeMap<String, ServiceInfo>),
    InOrder(Vec<ServiceInfo>),
    Keys(Vec<String>),
    Stats(StoreStats),
}

/// What the store answers.
pub fn ask(store: &impl RegistryStore, operation: &Operation) -> Result<Answer, Failure> {
    let registry = Registry::new(store);
    let done = |()| Answer::Done;
    let any_order = |records| Answer::InAnyOrder(super::by_key(records));
    let answer = match operation {
        Operation::Change(change) => match change.clone() {
            Change::SaveService(info) => store.save_service(info).map(done),
            Change::DeleteService { key } => store.delete_service(&key).map(done),
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => store
                .update_health_status(&key, status, checked_at)
                .map(Answer::Health),
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => store
                .add_subscription(&subscriber_key, &service_group)
                .map(done),
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => store
                .remove_subscription(&subscriber_key, &service_group)
                .map(done),
            Change::RemoveAllSubscriptions { subscriber_key } => {
                store.remove_all_subscriptions(&subscriber_key).map(done)
            }
            other => panic!("the model knows no {other:?}"),
        },
        Operation::Commit(changes) => {
            let batch: Batch = changes.iter().cloned().collect();
            store
                .commit(batch)
                .map(|revision| Answer::Revision(revision.as_u64()))
        }
        Operation::Swap(key, status, moment) => store
            .update_health_status(key, *status, at(*moment))
            .map(Answer::Health),
        Operation::Take(key) => store.take_service(key).map(Answer::Service),
        Operation::Get(key) => store.get_service(key).map(Answer::Service),
        Operation::With(key) => store
            .with_service(key, ServiceInfo::clone)
            .map(Answer::Service),
        Operation::Visit(key) => {
            let mut visited = Vec::new();
            let answer = store.visit_service(key, &mut |info| visited.push(info.clone()));
            answer.map(|()| Answer::InOrder(visited))
        }
        Operation::ByName(name) => store.get_services_by_name(name).map(any_order),
        Operation::All => store.get_all_services().map(any_order),
        Operation::Subscribers(group) => store.get_subscribers(group).map(|subscribers| {
            let texts = subscribers.iter().map(ToString::to_string);
            Answer::Keys(texts.collect())
        }),
        Operation::SubscriberServices(group) => {
            store.get_subscriber_services(group).map(Answer::InOrder)
        }
        Operation::Stats => store.stats().map(Answer::Stats),
        Operation::Revision => Ok(Answer::Revision(store.revision().as_u64())),
        Operation::Ping => store.ping().map(done),
        Operation::Clear => store.clear().map(done),
        Operation::Register(service, pod, groups) => {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            registry
                .register(registration(service, pod, &groups))
                .map(Answer::Service)
        }
        Operation::Unregister(service, pod) => {
            registry.unregister(service, pod).map(Answer::MaybeService)
        }
        Operation::Report(key, status) => registry
            .update_health_status(key, *status)
            .map(Answer::Changed),
    };
    answer.map_err(Failure::from)
}

/// What the model answers. The moments that a registry takes from the clock are
/// taken over: that of a registration from `answer`, which is what the store
/// answered, that of a health report from `checked_at`.
pub fn expect(
    model: &mut Model,
    operation: &Operation,
    answer: &Result<Answer, Failure>,
    checked_at: impl FnOnce(&str) -> Option<SystemTime>,
) -> Result<Answer, Failure> {
    if model.closed && !matches!(operation, Operation::Revision) {
        return Err(Failure::Closed);
    }
    match operation {
        Operation::Change(Change::UpdateHealthStatus {
            key,
            status,
            checked_at,
        }) => model.report(key, *status, *checked_at),
        Operation::Change(change) => model.change(change).map(|()| Answer::Done),
        Operation::Commit(changes) => {
            model.commit(changes)?;
            Ok(Answer::Revision(model.revision))
        }
        Operation::Swap(key, status, moment) => model.report(key, *status, at(*moment)),
        Operation::Take(key) => {
            let taken = model.get(key)?;
            let key: Box<str> = key.as_str().into();
            model.commit(&[
                Change::DeleteService { key: key.clone() },
                Change::RemoveAllSubscriptions {
                    subscriber_key: key,
                },
            ])?;
            Ok(Answer::Service(taken))
        }
        Operation::Get(key) | Operation::With(key) => model.get(key).map(Answer::Service),
        Operation::Visit(key) => model.get(key).map(|info| Answer::InOrder(vec![info])),
        Operation::ByName(name) => {
            let mut found = model.services.clone();
            found.retain(|_, info| info.service_name() == name);
            Ok(Answer::InAnyOrder(found))
        }
        Operation::All => Ok(Answer::InAnyOrder(model.services.clone())),
        Operation::Subscribers(group) => Ok(Answer::Keys(model.subscribers(group))),
        Operation::SubscriberServices(group) => {
            let subscribers = model.subscribers(group);
            let registered = subscribers
                .iter()
                .filter_map(|key| model.services.get(key).cloned());
            Ok(Answer::InOrder(registered.collect()))
        }
        Operation::Stats => Ok(Answer::Stats(model.stats())),
        Operation::Revision => Ok(Answer::Revision(model.revision)),
        Operation::Ping => Ok(Answer::Done),
        Operation::Clear => {
            model.revision += u64::from(model.stats() != StoreStats::default());
            model.services.clear();
            model.stamps.clear();
            model.subscriptions.clear();
            Ok(Answer::Done)
        }
        Operation::Register(service, pod, groups) => {
            let registered_at = match answer {
                Ok(Answer::Service(registered)) => registered.registered_at(),
                // Refused: rightly, if the model refuses it, too.
                _ => at(0),
            };
            let asked: Vec<&str> = groups.iter().map(String::as_str).collect();
            let expected = ServiceInfo::new(registration(service, pod, &asked))
                .unwrap()
                .with_registered_at(registered_at)
                .unwrap();
            let key: Box<str> = expected.key().as_str().into();
            let mut changes = vec![
                Change::RegisterService(expected.clone()),
                Change::RemoveAllSubscriptions {
                    subscriber_key: key.clone(),
                },
            ];
            changes.extend(groups.iter().map(|group| Change::AddSubscription {
                subscriber_key: key.clone(),
                service_group: group.as_str().into(),
            }));
            model.commit(&changes)?;
            Ok(Answer::Service(expected))
        }
        Operation::Unregister(service, pod) => {
            let key: Box<str> = format!("{service}:{pod}").into();
            let taken = model.services.get(&*key).cloned();
            if taken.is_some() {
                model.commit(&[
                    Change::DeleteService { key: key.clone() },
                    Change::RemoveAllSubscriptions {
                        subscriber_key: key,
                    },
                ])?;
            }
            Ok(Answer::MaybeService(taken))
        }
        Operation::Report(key, status) => {
            let before = model.get(key)?.status();
            let moment = checked_at(key);
            model.change(&Change::UpdateHealthStatus {
                key: key.as_str().into(),
                status: *status,
                checked_at: moment.expect("a report notes when it was made"),
            })?;
            Ok(Answer::Changed(before != *status))
        }
    }
}

/// Does one operation on a store and on the model, and compares.
pub fn step(store: &impl RegistryStore, model: &mut Model, operation: &Operation) {
    let answer = ask(store, operation);
    let checked_at = |key: &str| store.get_service(key).ok()?.last_health_check();
    let expected = expect(model, operation, &answer, checked_at);
    assert_eq!(answer, expected, "{operation:?}");
    assert_eq!(
        store.revision().as_u64(),
        model.revision,
        "the revision after {operation:?}"
    );
}

/// Compares what a store has noted of its records with the model.
pub fn assert_stamps(store: &impl RegistryStore, model: &Model) {
    let records = store.get_all_services().unwrap();
    let stamps: BTreeMap<String, (u64, u64)> = records
        .iter()
        .map(|record| {
            let stamp = (record.revision().as_u64(), record.incarnation().as_u64());
            (record.key().to_string(), stamp)
        })
        .collect();
    assert_eq!(stamps, model.stamps, "revisions and incarnations");
}

pub const SERVICES: [&str; 2] = ["a", "b"];
pub const PODS: [&str; 3] = ["1", "2", "2:x"];
/// Also one that is named like a service.
pub const GROUPS: &[&str] = &["g", "h", "a"];
