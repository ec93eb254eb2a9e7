//! Another etcd, or one that went back in time.

use super::*;

#[test]
fn another_etcd_is_a_new_epoch() {
    let others = [
        Header {
            cluster: 8,
            ..header(20)
        },
        Header {
            term: 1,
            ..header(20)
        },
        header(9),
    ];
    for other in others {
        let mut reducer = synced(vec![pair("a/1", 2, 3), pair("a/2", 2, 4)]);
        reducer.broken();
        let proof = Page {
            header: other,
            count: 2,
            ..page(0, vec![pair("a/2", 2, 4)])
        };
        assert_eq!(reducer.proven(&proof), Err(Why::OtherEtcd));
        // The same numbers of another history: the same pod only if nothing differs.
        let pairs = vec![pair("a/1", 2, 5), pair("a/2", 2, 4)];
        let list = Page {
            header: other,
            ..page(0, pairs)
        };
        let commit = reducer.listed(list).unwrap().unwrap();
        let What::List { anew, .. } = commit.what else {
            panic!("no list")
        };
        assert_eq!(anew, [info("a/1", "5")]);
        assert_eq!(reducer.epoch(), 2);
        assert_eq!(reducer.applied(), other.revision);
    }
}

/// As it was at the revision that is applied.
fn proof(count: u64, newest: Option<Pair>) -> Page {
    Page {
        count,
        ..page(20, newest.into_iter().collect())
    }
}

#[test]
fn an_etcd_that_went_back_and_has_come_further_shows_by_its_past() {
    let known = || synced(vec![pair("a/1", 2, 8), pair("a/2", 2, 4)]);
    let other_value = Pair {
        value: b"?".to_vec(),
        ..pair("a/1", 2, 8)
    };
    let others = [
        proof(2, Some(pair("a/1", 2, 7))),
        proof(2, Some(pair("a/1", 7, 8))),
        proof(2, Some(other_value)),
        proof(2, None),
        proof(1, Some(pair("a/1", 2, 8))),
        proof(3, Some(pair("a/1", 2, 8))),
    ];
    for proof in others {
        let mut reducer = known();
        reducer.broken();
        assert_eq!(reducer.proven(&proof), Err(Why::OtherEtcd), "{proof:?}");
        reducer
            .listed(page(20, vec![pair("a/1", 2, 7)]))
            .unwrap()
            .unwrap();
        assert_eq!(reducer.epoch(), 2);
    }
    let mut reducer = known();
    reducer.broken();
    reducer.proven(&proof(2, Some(pair("a/1", 2, 8)))).unwrap();
    assert_eq!(reducer.ask(), Ask::Watch { from: 10.into() });
    // The marker counts, and what is set aside; without the newest pod the one before it tells.
    let marker = Event::Put(raw("%/barrier", b"", 11, 11));
    let aside = Event::Put(raw("a/3", b"?", 12, 12));
    told(
        &mut reducer,
        events(13, vec![marker, aside, delete("a/1", 13)]),
    );
    reducer.broken();
    let key = b"/p/a/2".to_vec();
    assert_eq!(reducer.ask(), Ask::Prove { key, at: 13.into() });
    reducer.proven(&proof(3, Some(pair("a/2", 2, 4)))).unwrap();
}

#[test]
fn of_a_list_the_pod_that_changed_last_proves_the_history() {
    for (one, other) in [(4, 8), (8, 4)] {
        let pairs = vec![pair("a/1", 2, one), pair("a/2", 2, other)];
        let newest = pairs.iter().max_by_key(|pair| pair.modified).unwrap();
        let key = newest.key.clone();
        let mut reducer = synced(pairs);
        reducer.broken();
        assert_eq!(reducer.ask(), Ask::Prove { key, at: 10.into() });
    }
}

/// It was compacted besides, and so nobody asked for the past.
#[test]
fn a_list_that_has_another_past_is_of_another_etcd() {
    let lists = [
        (vec![pair("a/1", 2, 8)], 1),
        (vec![pair("a/1", 2, 15)], 1),
        (vec![pair("a/1", 12, 15), pair("a/2", 14, 14)], 1),
        (vec![], 1),
        (vec![pair("a/1", 2, 7)], 2),
        (vec![pair("a/1", 2, 8), pair("a/2", 9, 9)], 2),
    ];
    for (pairs, epoch) in lists {
        let mut reducer = synced(vec![pair("a/1", 2, 8)]);
        reducer.unproven(Why::Compacted);
        while reducer.listed(page(20, pairs.clone())).unwrap().is_none() {}
        assert_eq!(reducer.epoch(), epoch, "{pairs:?}");
    }
}

#[test]
fn who_refuses_to_tell_of_the_past_is_listed() {
    for (why, epoch) in [(Why::Compacted, 1), (Why::OtherEtcd, 2)] {
        let mut reducer = synced(vec![pair("a/1", 2, 8)]);
        reducer.broken();
        assert_eq!(reducer.unproven(why.clone()), why);
        reducer.broken();
        reducer
            .listed(page(20, vec![pair("a/1", 2, 8)]))
            .unwrap()
            .unwrap();
        assert_eq!(reducer.epoch(), epoch);
    }
}

#[test]
fn a_watch_of_another_cluster_is_noticed() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let other = Message {
        header: Header {
            cluster: 8,
            ..header(11)
        },
        events: vec![delete("a/1", 11)],
        ..Message::default()
    };
    let told = reducer.told(other, true);
    assert_eq!((told.commits.len(), told.end), (0, Some(Why::OtherEtcd)));
    // It stays so, whatever the numbers of the list say, and however often it fails.
    reducer.broken();
    assert!(is_listing(&reducer));
    assert!(reducer.listed(page(0, vec![])).is_err());
    reducer
        .listed(page(30, vec![pair("a/1", 2, 3)]))
        .unwrap()
        .unwrap();
    assert_eq!(reducer.epoch(), 2);
}
