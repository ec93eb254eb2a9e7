//! Tests that a trie behaves like a map, and that its clones never change.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An entry whose hash the test chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TestEntry {
    hash: u64,
    key: String,
    value: u32,
}

impl TrieEntry for TestEntry {
    fn hash(&self) -> u64 {
        self.hash
    }
    fn key(&self) -> &str {
        &self.key
    }
    fn same(&self, other: &TestEntry) -> bool {
        self == other
    }
    fn touch(&self) {}
}

fn get<'a>(trie: &'a Trie<TestEntry>, hash: u64, key: &str) -> Option<&'a TestEntry> {
    trie.find(hash, |pod| pod.key == key)
}

/// Returns a hash. Hashes are spread over the whole range, or crowded into a few leaves.
fn hash_of(key: u16, crowded: bool) -> u64 {
    let spread = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if crowded { spread & 0x3 } else { spread }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u32),
    Remove(u16),
    Clone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..600_u16, any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        3 => (0..600_u16).prop_map(Step::Remove),
        1 => Just(Step::Clone),
    ];
    prop::collection::vec(step, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A trie returns the same as a map, and clones do not change.
    #[test]
    fn a_trie_is_a_map_and_its_clones_never_change(steps in steps(), crowded in any::<bool>()) {
        let mut trie = Trie::default();
        let mut model = BTreeMap::new();
        let mut clones: Vec<(Trie<TestEntry>, BTreeMap<u16, u32>)> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key, value) => {
                    model.insert(key, value);
                    let hash = hash_of(key, crowded);
                    trie.insert(TestEntry { hash, key: key.to_string(), value });
                }
                Step::Remove(key) => {
                    let removed = trie.remove(hash_of(key, crowded), &key.to_string());
                    prop_assert_eq!(removed.map(|pod| pod.value), model.remove(&key));
                }
                Step::Clone => clones.push((trie.clone(), model.clone())),
            }
        }
        clones.push((trie, model));
        for (trie, model) in clones {
            prop_assert_eq!(trie.len(), model.len());
            for key in 0..600 {
                let found = get(&trie, hash_of(key, crowded), &key.to_string());
                prop_assert_eq!(found.map(|pod| &pod.value), model.get(&key));
            }
            let listed: BTreeMap<u16, u32> =
                trie.iter().map(|pod| (pod.key.parse().unwrap(), pod.value)).collect();
            prop_assert_eq!(trie.iter().count(), model.len());
            prop_assert_eq!(listed, model);
        }
    }
}

#[test]
fn it_grows_shrinks_and_keeps_its_depth_uniform() {
    let mut trie = Trie::default();
    for key in 0..40_000_u16 {
        let hash = hash_of(key, false);
        trie.insert(TestEntry {
            hash,
            key: key.to_string(),
            value: 0,
        });
    }
    assert!(trie.bits > ROOT_BITS + BRANCH_BITS, "{}", trie.bits);
    assert_eq!(trie.iter().size_hint().0, 40_000);
    for key in 0..40_000_u16 {
        trie.remove(hash_of(key, false), &key.to_string()).unwrap();
    }
    assert_eq!((trie.bits, trie.len()), (0, 0));
}

#[test]
fn a_batch_pays_for_each_node_once() {
    let mut trie = Trie::default();
    for key in 0..1000 {
        let hash = hash_of(key, false);
        trie.insert(TestEntry {
            hash,
            key: key.to_string(),
            value: 0,
        });
    }
    let before = trie.clone();
    let hash = hash_of(1, false);
    trie.insert(TestEntry {
        hash,
        key: "1".into(),
        value: 1,
    });
    let leaf = std::ptr::from_ref(trie.leaf(hash));
    assert!(!std::ptr::eq(leaf, before.leaf(hash)));
    trie.insert(TestEntry {
        hash,
        key: "1".into(),
        value: 2,
    });
    assert!(std::ptr::eq(leaf, trie.leaf(hash)));
    assert_eq!(get(&before, hash, "1").unwrap().value, 0);
}
