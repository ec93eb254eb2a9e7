//! Random operations on a store, for `proptest`.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use service_registry::changes::Subscription;
use service_registry::{Cause, Change, Expected, OnForeign, ServiceInfo, ServiceStatus};

use super::at;
use super::model::{GROUPS, Operation, PODS, SERVICES};

pub(crate) fn text(choices: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    select(choices.to_vec()).prop_map(String::from)
}

/// Mostly keys; now and then something that is none.
pub(crate) fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => (text(&SERVICES), text(&PODS)).prop_map(|(service, pod)| format!("{service}:{pod}")),
        1 => text(&["", "a", ":1", "a:", ":", "c:1"]),
    ]
}

pub(crate) fn any_group() -> impl Strategy<Value = String> {
    prop_oneof![20 => text(GROUPS), 1 => text(&["", "a:1"])]
}

pub(crate) fn any_status() -> impl Strategy<Value = ServiceStatus> {
    select(vec![
        ServiceStatus::Healthy,
        ServiceStatus::Unhealthy,
        ServiceStatus::Unknown,
    ])
}

/// Few enough variants that equal records are saved twice.
pub(crate) fn any_record() -> impl Strategy<Value = ServiceInfo> {
    let health = prop_oneof![
        Just(None),
        (any_status(), 0_u64..2).prop_map(|(status, moment)| Some((status, at(moment)))),
    ];
    (text(&SERVICES), text(&PODS), 0_u64..2, health).prop_map(|(service, pod, version, health)| {
        let record = super::version(&service, &pod, version);
        match health {
            Some((status, moment)) => record.with_health(status, moment).unwrap(),
            None => record,
        }
    })
}

pub(crate) fn any_change() -> impl Strategy<Value = Change> {
    let key = || any_key().prop_map(Box::<str>::from);
    let group = || any_group().prop_map(Box::<str>::from);
    prop_oneof![
        4 => any_record().prop_map(Change::SaveService),
        2 => key().prop_map(|key| Change::DeleteService { key }),
        2 => (key(), any_status(), 0_u64..3).prop_map(|(key, status, moment)| {
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at: at(moment),
            }
        }),
        4 => (key(), group()).prop_map(|(subscriber_key, service_group)| {
            Change::AddSubscription {
                subscriber_key,
                service_group,
            }
        }),
        2 => (key(), group()).prop_map(|(subscriber_key, service_group)| {
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            }
        }),
        1 => key().prop_map(|subscriber_key| Change::RemoveAllSubscriptions { subscriber_key }),
    ]
}

/// Conditions, sources and new incarnations, which stores only know that keep revisions
/// and incarnations.
pub(crate) fn any_conditional_change() -> impl Strategy<Value = Change> {
    let key = || any_key().prop_map(Box::<str>::from);
    let expected = || {
        prop_oneof![
            1 => Just(Expected::Absent),
            3 => Just(Expected::Present),
            3 => (0_u64..30).prop_map(|at| Expected::Revision(at.into())),
            3 => (0_u64..30).prop_map(|at| Expected::Incarnation(at.into())),
        ]
    };
    let source = || text(&["etcd", "file"]);
    let on_foreign = select(vec![OnForeign::Reject, OnForeign::Skip]);
    let all = (
        vec(any_record(), 0..5),
        vec((any_key(), text(GROUPS)), 0..4),
    );
    let owned = (any_record(), source());
    let owned = owned.prop_map(|(record, source)| record.with_source(&source).unwrap());
    prop_oneof![
        4 => any_change(),
        2 => any_record().prop_map(Change::RegisterService),
        1 => owned.prop_map(Change::SaveService),
        2 => (key(), expected()).prop_map(|(key, expected)| Change::RemoveIf {
            key,
            expected,
            cause: Cause::Expired,
        }),
        2 => (key(), expected(), any_status(), 0_u64..3).prop_map(
            |(key, expected, status, moment)| Change::UpdateHealthIf {
                key,
                expected,
                status,
                checked_at: at(moment),
            },
        ),
        1 => (key(), expected()).prop_map(|(key, expected)| Change::Require { key, expected }),
        1 => all.prop_map(|(records, sides)| {
            // A key that is there twice is refused.
            let records: BTreeMap<_, _> = records
                .into_iter()
                .map(|record| (record.key().clone(), record))
                .collect();
            let sides = sides.into_iter().filter_map(|(subscriber, group)| {
                Some(Subscription::new(subscriber.parse().ok()?, group))
            });
            Change::ReplaceAll {
                services: records.into_values().collect(),
                subscriptions: sides.collect(),
            }
        }),
        1 => (0_u64..30).prop_map(|at| Change::RequireUnchangedSince { revision: at.into() }),
        3 => (source(), vec(any_record(), 0..5), on_foreign).prop_map(
            |(source, records, on_foreign)| {
                // A key that is there twice is refused.
                let records: BTreeMap<_, _> = records
                    .into_iter()
                    .map(|record| (record.key().clone(), record))
                    .collect();
                Change::ReplaceSource {
                    source: source.into(),
                    services: records.into_values().collect(),
                    on_foreign,
                }
            },
        ),
    ]
}

/// The same operations, and commits with conditions among them.
pub(crate) fn any_operation_with_conditions() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => any_operation(),
        2 => vec(any_conditional_change(), 1..5).prop_map(Operation::Commit),
    ]
}

pub(crate) fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        24 => any_change().prop_map(Operation::Change),
        8 => vec(any_change(), 0..8).prop_map(Operation::Commit),
        2 => (any_key(), any_status(), 0_u64..3)
            .prop_map(|(key, status, moment)| Operation::Swap(key, status, moment)),
        2 => any_key().prop_map(Operation::Take),
        2 => any_key().prop_map(Operation::Get),
        1 => any_key().prop_map(Operation::With),
        1 => any_key().prop_map(Operation::Visit),
        2 => text(&["a", "b", "c", "", "a:1"]).prop_map(Operation::ByName),
        1 => Just(Operation::All),
        2 => any_group().prop_map(Operation::Subscribers),
        2 => any_group().prop_map(Operation::SubscriberServices),
        1 => Just(Operation::Stats),
        1 => Just(Operation::Revision),
        1 => Just(Operation::Ping),
        1 => Just(Operation::Clear),
        3 => (text(&SERVICES), text(&PODS), vec(text(GROUPS), 0..3))
            .prop_map(|(service, pod, groups)| Operation::Register(service, pod, groups)),
        2 => (text(&SERVICES), text(&PODS))
            .prop_map(|(service, pod)| Operation::Unregister(service, pod)),
        1 => (any_key(), any_status()).prop_map(|(key, status)| Operation::Report(key, status)),
    ]
}

/// Operations for threads that run beside each other: those that take no moment
/// from the clock, and more of those that see or change several things at once.
pub(crate) fn any_concurrent_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => any_change().prop_map(Operation::Change),
        6 => vec(any_change(), 2..6).prop_map(Operation::Commit),
        2 => (any_key(), any_status(), 0_u64..3)
            .prop_map(|(key, status, moment)| Operation::Swap(key, status, moment)),
        2 => any_key().prop_map(Operation::Take),
        2 => any_key().prop_map(Operation::Get),
        1 => any_key().prop_map(Operation::With),
        2 => text(&SERVICES).prop_map(Operation::ByName),
        3 => Just(Operation::All),
        2 => any_group().prop_map(Operation::Subscribers),
        3 => any_group().prop_map(Operation::SubscriberServices),
        3 => Just(Operation::Stats),
        2 => Just(Operation::Revision),
        1 => Just(Operation::Clear),
        1 => (text(&SERVICES), text(&PODS))
            .prop_map(|(service, pod)| Operation::Unregister(service, pod)),
    ]
}
