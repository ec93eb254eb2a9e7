//! What the registry holds, as JSON for the page and for whoever asks.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use service_registry::changes::{Difference, Event, Reason};
use service_registry::{RegistryView, ServiceInfo, VersionedSnapshot};

use crate::shared::Shared;

/// A pod as the page needs it.
#[derive(Serialize)]
#[allow(clippy::struct_field_names)] // they are the names in the JSON
pub(crate) struct Pod<'a> {
    service: &'a str,
    pod: &'a str,
    zone: &'a str,
    status: &'static str,
    weight: u32,
    providers: Vec<String>,
    metadata: &'a BTreeMap<String, String>,
    incarnation: u64,
}

pub(crate) fn pod(pod: &ServiceInfo) -> Pod<'_> {
    Pod {
        service: pod.service_name(),
        pod: pod.pod_name(),
        zone: pod.zone(),
        status: pod.status().as_str(),
        weight: pod.weight(),
        providers: pod.providers().iter().map(ToString::to_string).collect(),
        metadata: pod.metadata(),
        incarnation: pod.incarnation().as_u64(),
    }
}

/// A pod with its load, and when it was checked last.
pub(crate) fn in_full(shared: &Shared, info: &ServiceInfo) -> Value {
    let (in_flight, per_second) = shared.load.of(info.key());
    let mut shown = json!(pod(info));
    shown["registered_at"] = json!(unix_seconds(Some(info.registered_at())));
    shown["checked_at"] = json!(unix_seconds(info.last_health_check()));
    shown["subscriptions"] = json!(info.subscriptions());
    shown["in_flight"] = json!(in_flight);
    shown["per_second"] = json!(per_second);
    shown["ejected"] = json!(shared.ejections.is_ejected(info, Instant::now()));
    shown
}

fn unix_seconds(time: Option<std::time::SystemTime>) -> Option<f64> {
    let since = time?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

/// The load of the pods that have any, by key: under way, per second, and whether the pod is left
/// out.
pub(crate) fn load(shared: &Shared, view: &VersionedSnapshot) -> String {
    let now = Instant::now();
    let busy: BTreeMap<&str, (u64, u64, bool)> = view
        .services()
        .filter_map(|pod| {
            let (in_flight, per_second) = shared.load.of(pod.key());
            let is_ejected = shared.ejections.is_ejected(pod, now);
            let is_busy = in_flight > 0 || per_second > 0 || is_ejected;
            is_busy.then_some((&**pod.key(), (in_flight, per_second, is_ejected)))
        })
        .collect();
    json!(busy).to_string()
}

/// The name of an event, and what it says.
pub(crate) fn event(event: &Event) -> (&'static str, Value) {
    let revision = event.revision().as_u64();
    match event {
        Event::State {
            services,
            subscriptions,
            reason,
            ..
        } => {
            let reason = match reason {
                Reason::Lagged => "lagged",
                Reason::Restored => "restored",
                _ => "begin",
            };
            let pods: Vec<_> = services.iter().map(pod).collect();
            let subscriptions: Vec<_> = (subscriptions.iter())
                .map(|one| json!({"subscriber": one.subscriber, "group": &*one.group}))
                .collect();
            let said = json!({
                "revision": revision, "reason": reason, "pods": pods, "subscriptions": subscriptions
            });
            ("state", said)
        }
        Event::Changes { changes, .. } => {
            let changes: Vec<_> = changes.iter().filter_map(change).collect();
            ("changes", json!({"revision": revision, "changes": changes}))
        }
        // A later version of the library may have more. A page that begins anew is not wrong.
        _ => ("unknown", json!({"revision": revision})),
    }
}

fn change(change: &Difference) -> Option<Value> {
    Some(match change {
        Difference::Added(after) => json!({"kind": "added", "pod": pod(after)}),
        Difference::Changed { before, after, .. } => json!({
            "kind": "changed",
            "pod": pod(after),
            "before": before.status().as_str(),
            "again": before.incarnation() != after.incarnation(),
        }),
        Difference::Removed { last, cause, .. } => {
            json!({"kind": "removed", "pod": pod(last), "cause": cause.as_str()})
        }
        Difference::Subscribed {
            subscriber, group, ..
        } => json!({"kind": "subscribed", "subscriber": subscriber, "group": &**group}),
        Difference::Unsubscribed {
            subscriber, group, ..
        } => json!({"kind": "unsubscribed", "subscriber": subscriber, "group": &**group}),
        _ => return None,
    })
}
