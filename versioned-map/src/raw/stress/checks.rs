//! Compares views with the states of their revisions.

use std::collections::BTreeMap;

use super::super::sample::{self, Item, LISTS, Pod, WRONG, key};
use super::states::{GROUPS, PODS, Record, State, is};
use crate::sync::delayed::dice::Dice;

/// Checks every map, beginning with a random one.
pub(super) fn all(view: &impl sample::State, state: &State, dice: &mut Dice) {
    let first = dice.roll(5);
    for aspect in 0..5 {
        match (first + aspect) % 5 {
            0 => keys(view, state),
            1 => {
                let items = view.items();
                let items = items.inspect(|(key, item)| assert_eq!(*key, item.shared.key));
                same(view, "all items", items.map(|(_, item)| item), state.all());
            }
            2 => {
                for list in 0..=LISTS {
                    same(view, "a list", view.list(list), state.of_list(list));
                }
            }
            3 => groups(view, state),
            _ => {
                let (seen, revision) = (view.count(), view.revision());
                assert_eq!(seen, state.items.len(), "{WRONG}: the count at {revision}");
            }
        }
    }
}

fn keys(view: &impl sample::State, state: &State) {
    for pod in 0..PODS {
        let (seen, expected) = (view.item(pod), state.items.get(&pod));
        let is_right = match (seen, expected) {
            (Some(seen), Some(record)) => is(seen, pod, *record),
            (seen, expected) => seen.is_none() && expected.is_none(),
        };
        let revision = view.revision();
        assert!(is_right, "{WRONG}: {pod} at {revision} is no {expected:?}");
    }
}

fn groups(view: &impl sample::State, state: &State) {
    for number in 0..=GROUPS {
        let (seen, expected) = (view.group(number), state.group(number));
        let revision = view.revision();
        assert_eq!(seen, expected, "{WRONG}: a group at {revision}");
    }
}

/// Checks that a view shows exactly the expected items, in any order.
pub(super) fn same<'a>(
    view: &impl sample::State,
    what: &str,
    seen: impl Iterator<Item = &'a Item>,
    expected: impl Iterator<Item = (Pod, Record)>,
) {
    let mut expected: BTreeMap<String, (Pod, Record)> = expected
        .map(|(pod, record)| (key(pod), (pod, record)))
        .collect();
    let revision = view.revision();
    for item in seen {
        let of_key = expected.remove(&item.shared.key);
        let is_right = of_key.is_some_and(|(pod, record)| is(item, pod, record));
        assert!(
            is_right,
            "{WRONG}: {what} at {revision}: {item:?} is no {of_key:?}"
        );
    }
    assert!(
        expected.is_empty(),
        "{WRONG}: {what} at {revision} misses {expected:?}"
    );
}
