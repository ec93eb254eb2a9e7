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
        reducer.drop_partial_answers();
        let proof = ListPage {
            header: other,
            count: 2,
            ..page(0, vec![pair("a/2", 2, 4)])
        };
        assert_eq!(reducer.on_proof(&proof), Err(Why::OtherEtcd));
        // The same numbers of another history: the same pod only if nothing differs.
        let pairs = vec![pair("a/1", 2, 5), pair("a/2", 2, 4)];
        let list = ListPage {
            header: other,
            ..page(0, pairs)
        };
        let commit = reducer.on_page(list).unwrap().unwrap();
        let CommitContent::List { anew, .. } = commit.content else {
            panic!("no list")
        };
        assert_eq!(anew, [info("a/1", "5")]);
        assert_eq!(reducer.epoch(), 2);
        assert_eq!(reducer.applied(), other.revision);
    }
}

/// As it was at the revision that is applied.
fn proof(count: u64, newest: Option<KeyValue>) -> ListPage {
    ListPage {
        count,
        ..page(20, newest.into_iter().collect())
    }
}

#[test]
fn an_etcd_that_went_back_and_has_come_further_is_detected_by_its_past() {
    let known = || synced(vec![pair("a/1", 2, 8), pair("a/2", 2, 4)]);
    let other_value = KeyValue {
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
        reducer.drop_partial_answers();
        assert_eq!(reducer.on_proof(&proof), Err(Why::OtherEtcd), "{proof:?}");
        reducer
            .on_page(page(20, vec![pair("a/1", 2, 7)]))
            .unwrap()
            .unwrap();
        assert_eq!(reducer.epoch(), 2);
    }
    let mut reducer = known();
    reducer.drop_partial_answers();
    reducer
        .on_proof(&proof(2, Some(pair("a/1", 2, 8))))
        .unwrap();
    assert_eq!(reducer.next_request(), watch_from(10));
    // The marker counts, and what is set aside; without the newest pod the one before it tells.
    let marker = KeyEvent::Put(raw("%/barrier", b"", 11, 11));
    let set_aside = KeyEvent::Put(raw("a/3", b"?", 12, 12));
    apply(
        &mut reducer,
        events(13, vec![marker, set_aside, delete("a/1", 13)]),
    );
    reducer.drop_partial_answers();
    let key = b"/p/a/2".to_vec();
    assert_eq!(
        reducer.next_request(),
        EtcdRequest::Prove { key, at: 13.into() }
    );
    reducer
        .on_proof(&proof(3, Some(pair("a/2", 2, 4))))
        .unwrap();
}

#[test]
fn of_a_list_the_pod_that_changed_last_proves_the_history() {
    for (one, other) in [(4, 8), (8, 4)] {
        let pairs = vec![pair("a/1", 2, one), pair("a/2", 2, other)];
        let newest = pairs.iter().max_by_key(|pair| pair.modified).unwrap();
        let key = newest.key.clone();
        let mut reducer = synced(pairs);
        reducer.drop_partial_answers();
        assert_eq!(
            reducer.next_request(),
            EtcdRequest::Prove { key, at: 10.into() }
        );
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
        reducer.on_proof_refused(Why::Compacted);
        while reducer.on_page(page(20, pairs.clone())).unwrap().is_none() {}
        assert_eq!(reducer.epoch(), epoch, "{pairs:?}");
    }
}

#[test]
fn an_etcd_that_refuses_the_proof_is_listed() {
    for (why, epoch) in [(Why::Compacted, 1), (Why::OtherEtcd, 2)] {
        let mut reducer = synced(vec![pair("a/1", 2, 8)]);
        reducer.drop_partial_answers();
        assert_eq!(reducer.on_proof_refused(why.clone()), why);
        reducer.drop_partial_answers();
        reducer
            .on_page(page(20, vec![pair("a/1", 2, 8)]))
            .unwrap()
            .unwrap();
        assert_eq!(reducer.epoch(), epoch);
    }
}

#[test]
fn a_watch_of_another_cluster_is_noticed() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let other = WatchMessage {
        header: Header {
            cluster: 8,
            ..header(11)
        },
        events: vec![delete("a/1", 11)],
        ..WatchMessage::default()
    };
    let outcome = reducer.on_message(other, true);
    assert_eq!(
        (outcome.commits.len(), outcome.end),
        (0, Some(Why::OtherEtcd))
    );
    // It stays so, whatever the numbers of the list say, and however often it fails.
    reducer.drop_partial_answers();
    assert!(is_listing(&reducer));
    assert!(reducer.on_page(page(0, vec![])).is_err());
    reducer
        .on_page(page(30, vec![pair("a/1", 2, 3)]))
        .unwrap()
        .unwrap();
    assert_eq!(reducer.epoch(), 2);
}
