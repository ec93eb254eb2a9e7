//! Subscriptions to groups.

use service_registry::{MAX_NAME_LEN, Problem, RegistryStore, StoreStats};

use crate::support::{assert_refused, keys, malformed_keys, observe, pod};

fn subscribers(store: &impl RegistryStore, group: &str) -> Vec<String> {
    let subscribers = store.get_subscribers(group).unwrap();
    subscribers.iter().map(ToString::to_string).collect()
}

pub fn subscribing_twice_is_one_subscription(store: &impl RegistryStore) {
    for _ in 0..3 {
        store.add_subscription("web:1", "db").unwrap();
    }
    assert_eq!(subscribers(store, "db"), ["web:1"]);
    assert_eq!(store.stats(), Ok(StoreStats::new(0, 1)));
    store.remove_subscription("web:1", "db").unwrap();
    assert_eq!(subscribers(store, "db"), [""; 0]);
    assert_eq!(store.stats(), Ok(StoreStats::default()));
}

pub fn a_subscriber_need_not_be_registered(store: &impl RegistryStore) {
    store.add_subscription("web:1", "db").unwrap();
    assert_eq!(subscribers(store, "db"), ["web:1"]);
    assert!(store.get_service("web:1").is_err());
}

pub fn removing_what_is_not_there_is_fine(store: &impl RegistryStore) {
    store.add_subscription("web:1", "db").unwrap();
    let before = observe(store, &["db"]);
    store.remove_subscription("web:1", "cache").unwrap();
    store.remove_subscription("web:2", "db").unwrap();
    store.remove_subscription("web:2", "cache").unwrap();
    store.remove_all_subscriptions("web:2").unwrap();
    assert_eq!(observe(store, &["db"]), before);
    store.remove_subscription("web:1", "db").unwrap();
    store.remove_subscription("web:1", "db").unwrap();
    store.remove_all_subscriptions("web:1").unwrap();
    assert!(observe(store, &["db"]).groups.is_empty());
}

pub fn a_group_that_nobody_subscribes_to_is_empty(store: &impl RegistryStore) {
    store.add_subscription("web:1", "db").unwrap();
    store.remove_subscription("web:1", "db").unwrap();
    for group in ["", ":", "db", "never", "web:1", "d"] {
        assert_eq!(store.get_subscribers(group), Ok(vec![]), "{group:?}");
        assert_eq!(store.get_subscriber_services(group), Ok(vec![]));
    }
}

pub fn subscribers_stand_in_the_order_of_subscription(store: &impl RegistryStore) {
    // Neither sorted nor reversed, as texts or as numbers.
    let order = ["web:9", "web:10", "a:1", "web:2", "z:1", "m:1"];
    for key in order {
        store.add_subscription(key, "db").unwrap();
    }
    assert_eq!(subscribers(store, "db"), order);
    // Subscribing again keeps the position.
    store.add_subscription("web:9", "db").unwrap();
    store.add_subscription("z:1", "db").unwrap();
    assert_eq!(subscribers(store, "db"), order);
}

pub fn who_leaves_and_comes_back_stands_last(store: &impl RegistryStore) {
    for key in ["a:1", "b:1", "c:1", "d:1"] {
        store.add_subscription(key, "db").unwrap();
    }
    store.remove_subscription("b:1", "db").unwrap();
    assert_eq!(subscribers(store, "db"), ["a:1", "c:1", "d:1"]);
    store.add_subscription("b:1", "db").unwrap();
    assert_eq!(subscribers(store, "db"), ["a:1", "c:1", "d:1", "b:1"]);
    store.remove_all_subscriptions("a:1").unwrap();
    store.add_subscription("a:1", "db").unwrap();
    assert_eq!(subscribers(store, "db"), ["c:1", "d:1", "b:1", "a:1"]);
}

pub fn each_group_has_an_order_of_its_own(store: &impl RegistryStore) {
    store.add_subscription("a:1", "g").unwrap();
    store.add_subscription("b:1", "h").unwrap();
    store.add_subscription("b:1", "g").unwrap();
    store.add_subscription("a:1", "h").unwrap();
    assert_eq!(subscribers(store, "g"), ["a:1", "b:1"]);
    assert_eq!(subscribers(store, "h"), ["b:1", "a:1"]);
}

pub fn subscriber_services_skips_who_is_not_registered(store: &impl RegistryStore) {
    for key in ["c:1", "a:1", "b:1"] {
        store.add_subscription(key, "db").unwrap();
    }
    let found = |store: &_| {
        let services = RegistryStore::get_subscriber_services(store, "db").unwrap();
        keys(&services).join(" ")
    };
    assert_eq!(found(store), "");
    store.save_service(pod("b", "1")).unwrap();
    assert_eq!(found(store), "b:1");
    store.save_service(pod("c", "1")).unwrap();
    // Not the order in which they registered.
    assert_eq!(found(store), "c:1 b:1");
    store.save_service(pod("a", "1")).unwrap();
    assert_eq!(found(store), "c:1 a:1 b:1");
    store.delete_service("c:1").unwrap();
    assert_eq!(found(store), "a:1 b:1");
    store.save_service(pod("c", "1")).unwrap();
    assert_eq!(found(store), "c:1 a:1 b:1");
    store.save_service(pod("d", "1")).unwrap();
    assert_eq!(found(store), "c:1 a:1 b:1");
}

pub fn removing_all_touches_one_subscriber_only(store: &impl RegistryStore) {
    let groups: Vec<String> = (0..300).map(|n| format!("group-{n}")).collect();
    for group in &groups {
        for key in ["a:1", "b:1", "c:1"] {
            store.add_subscription(key, group).unwrap();
        }
    }
    store.remove_all_subscriptions("b:1").unwrap();
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let left = observe(store, &names);
    assert_eq!(left.groups.len(), 300);
    assert!(left.groups.values().all(|keys| keys == &["a:1", "c:1"]));
    store.remove_all_subscriptions("a:1").unwrap();
    store.remove_all_subscriptions("c:1").unwrap();
    assert!(observe(store, &names).groups.is_empty());
}

pub fn a_thousand_subscribers_keep_their_order(store: &impl RegistryStore) {
    // 7 and 1000 are coprime, so this is every number, shuffled.
    let order: Vec<String> = (0..1000).map(|n| format!("web:{}", n * 7 % 1000)).collect();
    for key in &order {
        store.add_subscription(key, "db").unwrap();
        store.add_subscription(key, "other").unwrap();
    }
    assert_eq!(subscribers(store, "db"), order);
    for (n, key) in order.iter().enumerate() {
        match n % 4 {
            0 => store.remove_subscription(key, "db").unwrap(),
            1 => store.remove_all_subscriptions(key).unwrap(),
            _ => {}
        }
    }
    let left: Vec<_> = (0..1000)
        .filter(|n| n % 4 > 1)
        .map(|n| order[n].clone())
        .collect();
    assert_eq!(subscribers(store, "db"), left);
    assert_eq!(store.stats(), Ok(StoreStats::new(0, 500 + 750)));
    let back = order[0].as_str();
    store.add_subscription(back, "db").unwrap();
    assert_eq!(subscribers(store, "db").last().unwrap(), back);
    observe(store, &["db", "other"]);
}

pub fn pairs_whose_texts_join_alike_are_different(store: &impl RegistryStore) {
    store.add_subscription("a:b", "cd").unwrap();
    store.add_subscription("a:bc", "d").unwrap();
    store.add_subscription("a:b:c", "d").unwrap();
    assert_eq!(store.stats(), Ok(StoreStats::new(0, 3)));
    store.remove_subscription("a:bc", "d").unwrap();
    let left = observe(store, &["cd", "d"]);
    assert_eq!(left.groups["cd"], ["a:b"]);
    assert_eq!(left.groups["d"], ["a:b:c"]);
}

pub fn groups_services_and_keys_do_not_mix(store: &impl RegistryStore) {
    // A group may have the name of a service, of a pod, or of its subscriber's service.
    store.save_service(pod("db", "1")).unwrap();
    store.add_subscription("db:1", "db").unwrap();
    store.add_subscription("db:1", "1").unwrap();
    store.add_subscription("web:1", "1").unwrap();
    assert_eq!(subscribers(store, "db"), ["db:1"]);
    assert_eq!(subscribers(store, "1"), ["db:1", "web:1"]);
    assert_eq!(subscribers(store, "db:1"), Vec::<String>::new());
    assert_eq!(keys(&store.get_services_by_name("db").unwrap()), ["db:1"]);
    assert_eq!(store.get_services_by_name("db:1"), Ok(vec![]));
    store.remove_all_subscriptions("db:1").unwrap();
    assert_eq!(subscribers(store, "1"), ["web:1"]);
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 1)));
}

pub fn a_malformed_subscriber_is_refused_and_says_why(store: &impl RegistryStore) {
    store.add_subscription("web:1", "db").unwrap();
    let before = observe(store, &["db"]);
    for (key, problem) in malformed_keys() {
        let field = "subscriber key";
        assert_refused(store.add_subscription(&key, "db"), field, &key, &problem);
        assert_refused(store.remove_subscription(&key, "db"), field, &key, &problem);
        assert_refused(store.remove_all_subscriptions(&key), field, &key, &problem);
        assert_eq!(observe(store, &["db"]), before);
    }
}

pub fn an_empty_or_too_long_group_is_refused_and_says_why(store: &impl RegistryStore) {
    store.add_subscription("web:1", "db").unwrap();
    let before = observe(store, &["db"]);
    let long = "x".repeat(MAX_NAME_LEN + 1);
    let too_long = Problem::TooLong {
        len: MAX_NAME_LEN + 1,
        max: MAX_NAME_LEN,
    };
    for (group, problem) in [("", Problem::Empty), (&*long, too_long)] {
        let field = "service group";
        assert_refused(
            store.add_subscription("web:1", group),
            field,
            group,
            &problem,
        );
        assert_refused(
            store.remove_subscription("web:1", group),
            field,
            group,
            &problem,
        );
        assert_eq!(store.get_subscribers(group), Ok(vec![]));
        assert_eq!(observe(store, &["db"]), before);
    }
}
