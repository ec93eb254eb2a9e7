//! Views, held against the states of their revisions.

use std::collections::BTreeMap;

use super::super::{VersionedSnapshot, VersionedView};
use super::states::{GROUPS, NAMES, PODS, Pod, Record, State, group, is, key, name};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::store::RegistryView;
use crate::sync::delayed::dice::Dice;

pub(super) const WRONG: &str = "a view does not show its revision";

/// A view, and whether it is that of a closed store.
pub(super) trait View: RegistryView {
    fn is_closed(&self) -> bool;
}

impl View for VersionedView<'_> {
    fn is_closed(&self) -> bool {
        self.state.is_closed()
    }
}

impl View for VersionedSnapshot {
    fn is_closed(&self) -> bool {
        self.state.is_closed()
    }
}

/// Looks at every index, in an order of which the beginning is random.
pub(super) fn all(view: &impl View, state: &State, dice: &mut Dice) {
    let first = dice.roll(5);
    for aspect in 0..5 {
        match (first + aspect) % 5 {
            0 => keys(view, state),
            1 => same(view, "all services", view.services(), state.all()),
            2 => {
                for number in 0..=NAMES {
                    let seen = view.services_by_name(&name(number));
                    same(view, "a name", seen, state.of_name(number));
                }
            }
            3 => groups(view, state),
            _ => {
                let (seen, revision) = (view.stats(), view.revision());
                assert_eq!(seen, state.stats(), "{WRONG}: the counts at {revision}");
            }
        }
    }
}

fn keys(view: &impl View, state: &State) {
    for pod in 0..PODS {
        let (seen, expected) = (view.get(key(pod)), state.services.get(&pod));
        let is_right = match (seen, expected) {
            (Some(seen), Some(record)) => is(seen, pod, *record),
            (seen, expected) => seen.is_none() && expected.is_none(),
        };
        let revision = view.revision();
        assert!(is_right, "{WRONG}: {pod} at {revision} is no {expected:?}");
    }
}

fn groups(view: &impl View, state: &State) {
    for number in 0..=GROUPS {
        let seen: Vec<&str> = view
            .subscribers(&group(number))
            .map(ServiceKey::as_str)
            .collect();
        let expected: Vec<&str> = state.subscribers(number).into_iter().map(key).collect();
        let revision = view.revision();
        assert_eq!(seen, expected, "{WRONG}: a group at {revision}");
    }
}

/// Whether these are the records that a view has to show, in any order.
pub(super) fn same<'a>(
    view: &impl View,
    what: &str,
    seen: impl Iterator<Item = &'a ServiceInfo>,
    expected: impl Iterator<Item = (Pod, Record)>,
) {
    let mut expected: BTreeMap<&str, (Pod, Record)> = expected
        .map(|(pod, record)| (key(pod), (pod, record)))
        .collect();
    let revision = view.revision();
    for info in seen {
        let of_key = expected.remove(info.key().as_str());
        let is_right = of_key.is_some_and(|(pod, record)| is(info, pod, record));
        assert!(
            is_right,
            "{WRONG}: {what} at {revision}: {info:?} is no {of_key:?}"
        );
    }
    assert!(
        expected.is_empty(),
        "{WRONG}: {what} at {revision} misses {expected:?}"
    );
}
