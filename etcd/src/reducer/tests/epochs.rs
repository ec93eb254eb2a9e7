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

#[test]
fn an_etcd_that_went_back_and_has_come_further_shows_by_its_past() {
    let went_back = [page(20, vec![pair("a/1", 2, 7)]), page(10, vec![])];
    for proof in went_back {
        let mut reducer = synced(vec![pair("a/1", 2, 8)]);
        reducer.broken();
        assert_eq!(reducer.proven(&proof), Err(Why::OtherEtcd));
        reducer
            .listed(page(20, vec![pair("a/1", 2, 7)]))
            .unwrap()
            .unwrap();
        assert_eq!(reducer.epoch(), 2);
    }
    for proof in [
        page(20, vec![]),
        page(20, vec![pair("a/1", 2, 8)]),
        page(20, vec![pair("a/1", 15, 16)]),
    ] {
        let mut reducer = synced(vec![pair("a/1", 2, 8)]);
        reducer.broken();
        reducer.proven(&proof).unwrap();
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
