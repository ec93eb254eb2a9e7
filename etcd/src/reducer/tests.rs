//! One test per fault, with etcd's messages written by hand.

use service_registry::ServiceRegistration;

use super::*;

mod epochs;

const CLUSTER: u64 = 7;

fn header(revision: u64) -> Header {
    Header {
        cluster: CLUSTER,
        member: 1,
        revision: revision.into(),
        term: 2,
    }
}

fn info(name: &str, zone: &str) -> ServiceInfo {
    let (service, pod) = name.split_once('/').unwrap();
    let registration = ServiceRegistration::new(service, pod).with_zone(zone);
    let info = ServiceInfo::new(registration).unwrap();
    info.with_registered_at(std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
}

fn raw(key: &str, value: &[u8], created: u64, modified: u64) -> KeyValue {
    KeyValue {
        key: format!("/p/{key}").into_bytes(),
        value: value.into(),
        created: created.into(),
        modified: modified.into(),
        version: 0,
    }
}

fn version(event: KeyEvent, version: u64) -> KeyEvent {
    match event {
        KeyEvent::Put(pair) => KeyEvent::Put(KeyValue { version, ..pair }),
        KeyEvent::Delete { .. } => event,
    }
}

fn pair(key: &str, created: u64, modified: u64) -> KeyValue {
    let value = values::encode(&info(key, &modified.to_string()));
    raw(key, &value, created, modified)
}

fn put(key: &str, created: u64, modified: u64) -> KeyEvent {
    KeyEvent::Put(pair(key, created, modified))
}

fn delete(key: &str, modified: u64) -> KeyEvent {
    KeyEvent::Delete {
        key: format!("/p/{key}").into_bytes(),
        modified: modified.into(),
    }
}

fn page(revision: u64, pairs: Vec<KeyValue>) -> ListPage {
    ListPage {
        header: header(revision),
        count: pairs.len() as u64,
        more: false,
        pairs,
    }
}

fn events(revision: u64, events: Vec<KeyEvent>) -> WatchMessage {
    WatchMessage {
        header: header(revision),
        events,
        ..WatchMessage::default()
    }
}

fn reducer() -> Reducer {
    Reducer::new(Prefix::new("/p/").unwrap(), SetAsideKeys::default())
}

/// A reducer that has taken a list of revision 10, and watches.
fn synced(pairs: Vec<KeyValue>) -> Reducer {
    let mut reducer = reducer();
    assert!(reducer.on_page(page(10, pairs)).unwrap().is_some());
    let created = WatchMessage {
        header: header(10),
        created: true,
        ..WatchMessage::default()
    };
    assert_eq!(reducer.on_message(created, false), WatchOutcome::default());
    reducer
}

fn apply(reducer: &mut Reducer, message: WatchMessage) -> Vec<Commit> {
    let outcome = reducer.on_message(message, false);
    assert_eq!(outcome.end, None);
    outcome.commits
}

/// Returns why a message ends the watch, if it does.
fn end(reducer: &mut Reducer, message: WatchMessage) -> Option<Why> {
    reducer.on_message(message, false).end
}

fn changes(revision: u64, changes: Vec<PodChange>) -> Commit {
    Commit {
        revision: revision.into(),
        content: CommitContent::Changes(changes),
    }
}

fn saved(key: &str, modified: u64) -> PodChange {
    PodChange::Save(info(key, &modified.to_string()))
}

fn registered(key: &str, modified: u64) -> PodChange {
    PodChange::Register(info(key, &modified.to_string()))
}

fn removed(key: &str) -> PodChange {
    PodChange::Remove(info(key, "").key().clone())
}

fn watch_from(revision: u64) -> EtcdRequest {
    let from = revision.into();
    EtcdRequest::Watch { from }
}

fn is_listing(reducer: &Reducer) -> bool {
    matches!(reducer.next_request(), EtcdRequest::List { at: None, .. })
}

#[test]
fn a_list_comes_in_pages_of_one_revision() {
    let mut reducer = reducer();
    assert_eq!(reducer.epoch(), 0);
    let from = b"/p/".to_vec();
    assert_eq!(reducer.next_request(), EtcdRequest::List { from, at: None });
    let first = ListPage {
        more: true,
        count: 3,
        ..page(10, vec![pair("a/1", 2, 3), pair("a/2", 2, 4)])
    };
    assert_eq!(reducer.on_page(first).unwrap(), None);
    let (from, at) = (b"/p/a/2\0".to_vec(), Some(10.into()));
    assert_eq!(reducer.next_request(), EtcdRequest::List { from, at });
    // The member has advanced meanwhile; the list has the revision of its first page.
    let commit = reducer
        .on_page(page(15, vec![pair("b/1", 9, 9)]))
        .unwrap()
        .unwrap();
    assert_eq!(commit.revision, 10.into());
    let CommitContent::List { pods, anew } = commit.content else {
        panic!("no list")
    };
    assert_eq!((pods.len(), anew.len()), (3, 0));
    assert_eq!(reducer.next_request(), watch_from(10));
    assert_eq!(reducer.epoch(), 1);
}

/// The next page begins with the least key behind the last one.
#[test]
fn a_key_that_follows_at_once_is_listed() {
    let mut reducer = reducer();
    let first = ListPage {
        more: true,
        count: 2,
        ..page(10, vec![pair("a/1", 2, 3)])
    };
    assert_eq!(reducer.on_page(first).unwrap(), None);
    let next = raw("a/1\0", b"?", 2, 4);
    assert!(reducer.on_page(page(10, vec![next])).unwrap().is_some());
    assert_eq!(reducer.set_aside.len(), 1);
}

#[test]
fn a_list_that_contradicts_itself_begins_anew() {
    let more = |count, pairs| ListPage {
        more: true,
        count,
        ..page(10, pairs)
    };
    let other = |header| ListPage {
        header,
        ..page(10, vec![pair("b/1", 3, 3)])
    };
    let bad: Vec<Vec<ListPage>> = vec![
        vec![page(0, vec![])],
        vec![ListPage {
            count: 2,
            ..page(10, vec![pair("a/1", 2, 3)])
        }],
        vec![more(0, vec![])],
        vec![more(5, vec![])],
        vec![more(1, vec![pair("a/1", 2, 3)])],
        vec![more(2, vec![pair("a/1", 2, 3)]), page(10, vec![])],
        vec![page(10, vec![pair("a/2", 2, 3), pair("a/1", 2, 3)])],
        vec![page(10, vec![pair("a/1", 2, 11)])],
        vec![page(10, vec![pair("a/1", 4, 3)])],
        vec![
            more(2, vec![pair("a/1", 2, 3)]),
            page(10, vec![pair("a/1", 2, 3)]),
        ],
        vec![more(2, vec![pair("a/1", 2, 3)]), other(header(9))],
        vec![
            more(2, vec![pair("a/1", 2, 3)]),
            other(Header {
                cluster: 8,
                ..header(10)
            }),
        ],
    ];
    for pages in bad {
        let mut reducer = reducer();
        let last = pages.len() - 1;
        for (at, page) in pages.into_iter().enumerate() {
            let answer = reducer.on_page(page.clone());
            assert_eq!(answer.is_err(), at == last, "{page:?}");
        }
        assert!(is_listing(&reducer));
        assert!(reducer.on_page(page(10, vec![])).unwrap().is_some());
    }
}

/// nacos#4470, shenyu#6526.
#[test]
fn an_empty_list_is_accepted_when_it_comes_twice() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let compacted = WatchMessage {
        compacted: 20.into(),
        ..events(20, vec![])
    };
    assert_eq!(end(&mut reducer, compacted), Some(Why::Compacted));
    assert_eq!(
        reducer.on_page(page(20, vec![])).unwrap(),
        None,
        "by mistake"
    );
    assert!(is_listing(&reducer));
    let commit = reducer
        .on_page(page(20, vec![pair("a/1", 2, 3)]))
        .unwrap()
        .unwrap();
    let CommitContent::List { pods, .. } = commit.content else {
        panic!("no list")
    };
    assert_eq!(pods.len(), 1);

    let compacted = WatchMessage {
        compacted: 30.into(),
        ..events(30, vec![])
    };
    reducer.on_message(compacted, false);
    assert_eq!(reducer.on_page(page(30, vec![])).unwrap(), None);
    let commit = reducer.on_page(page(30, vec![])).unwrap().unwrap();
    assert_eq!(
        commit.content,
        CommitContent::List {
            pods: vec![],
            anew: vec![]
        }
    );
    // The copy was empty, so an empty list cannot remove anything by mistake.
    let compacted = WatchMessage {
        compacted: 40.into(),
        ..events(40, vec![])
    };
    end(&mut reducer, compacted);
    assert!(reducer.on_page(page(40, vec![])).unwrap().is_some());
}

/// python-etcd3#729.
#[test]
fn several_keys_of_one_revision_are_one_commit_also_in_fragments() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let fragment = |event| WatchMessage {
        fragment: true,
        ..events(12, vec![event])
    };
    assert_eq!(apply(&mut reducer, fragment(put("a/1", 2, 11))), []);
    assert_eq!(apply(&mut reducer, fragment(put("a/2", 11, 11))), []);
    assert_eq!(reducer.applied(), 10.into(), "no half of it");
    let commits = apply(
        &mut reducer,
        events(12, vec![delete("a/3", 11), put("a/2", 11, 12)]),
    );
    assert_eq!(
        commits,
        [
            changes(11, vec![saved("a/1", 11), registered("a/2", 11)]),
            changes(12, vec![saved("a/2", 12)]),
        ]
    );
}

#[test]
fn what_was_there_of_an_answer_is_forgotten_when_the_connection_breaks() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let half = WatchMessage {
        fragment: true,
        ..events(11, vec![put("a/1", 2, 11)])
    };
    apply(&mut reducer, half);
    reducer.drop_partial_answers();
    let (key, at) = (b"/p/a/1".to_vec(), 10.into());
    assert_eq!(reducer.next_request(), EtcdRequest::Prove { key, at });
    let proof = page(11, vec![pair("a/1", 2, 3)]);
    reducer.on_proof(&proof).unwrap();
    // dotnet-etcd#310: it continues where it was, not from the present.
    assert_eq!(reducer.next_request(), watch_from(10));
    let whole = events(11, vec![put("a/1", 2, 11), put("a/2", 11, 11)]);
    let commit = changes(11, vec![saved("a/1", 11), registered("a/2", 11)]);
    assert_eq!(apply(&mut reducer, whole), [commit]);
}

/// etcd#15220.
#[test]
fn progress_moves_on_only_where_it_is_trusted() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    assert_eq!(apply(&mut reducer, events(15, vec![])), []);
    assert_eq!(reducer.applied(), 10.into());
    // Events after an early progress message are not lost.
    let late = events(15, vec![put("a/1", 2, 15)]);
    assert_eq!(
        apply(&mut reducer, late),
        [changes(15, vec![saved("a/1", 15)])]
    );

    let outcome = reducer.on_message(events(20, vec![]), true);
    assert_eq!(outcome, WatchOutcome::default());
    assert_eq!(reducer.applied(), 20.into());
    // Progress inside an answer, and of a past revision (etcd#20221).
    let half = WatchMessage {
        fragment: true,
        ..events(21, vec![put("a/1", 2, 21)])
    };
    apply(&mut reducer, half);
    let rest = reducer.on_message(events(30, vec![]), true);
    assert_eq!(rest.commits, [changes(21, vec![saved("a/1", 21)])]);
    assert_eq!(reducer.applied(), 21.into());
    reducer.on_message(events(12, vec![]), true);
    assert_eq!(reducer.applied(), 21.into());
}

#[test]
fn neither_the_beginning_of_a_watch_nor_events_report_progress() {
    let mut reducer = synced(vec![]);
    let created = WatchMessage {
        created: true,
        ..events(30, vec![])
    };
    assert_eq!(reducer.on_message(created, true), WatchOutcome::default());
    assert_eq!(reducer.applied(), 10.into());
    assert_eq!(
        apply(&mut reducer, events(30, vec![put("a/1", 11, 11)])).len(),
        1
    );
    assert_eq!(reducer.applied(), 11.into());
}

/// etcd#20221.
#[test]
fn a_watch_from_the_future_that_shows_the_past_changes_nothing() {
    let mut reducer = synced(vec![pair("a/1", 2, 8)]);
    let past = events(
        10,
        vec![
            put("a/1", 2, 4),
            put("a/2", 5, 5),
            delete("a/1", 6),
            delete("a/2", 7),
            put("a/1", 2, 8),
        ],
    );
    assert_eq!(apply(&mut reducer, past), []);
    assert_eq!(reducer.applied(), 10.into());
}

/// etcd#17529, etcd#18089, etcd#19179 and others: any skipped change that shows later.
#[test]
fn a_change_that_was_skipped_and_shows_makes_it_list_again() {
    let skipped = [
        put("a/1", 2, 9),
        // etcd changes a key once in a revision.
        delete("a/1", 8),
        delete("a/1", 9),
        put("a/2", 10, 10),
        delete("a/1", 10),
    ];
    for event in skipped {
        let mut reducer = synced(vec![pair("a/1", 2, 8)]);
        let end = end(&mut reducer, events(11, vec![event]));
        assert_eq!(end, Some(Why::Inconsistent("a change was skipped")));
        assert!(is_listing(&reducer));
    }
    let mut reducer = synced(vec![]);
    let disorder = events(13, vec![put("a/1", 12, 12), put("a/2", 11, 11)]);
    let outcome = reducer.on_message(disorder, false);
    assert_eq!((outcome.commits.len(), outcome.end.is_some()), (1, true));
    let mut reducer = synced(vec![]);
    let foreign = KeyEvent::Put(KeyValue {
        key: b"/q/a/1".to_vec(),
        ..pair("a/1", 11, 11)
    });
    assert!(end(&mut reducer, events(11, vec![foreign])).is_some());
}

/// etcd#17529: a slow watch skips compacted revisions, and continues as if nothing were missing.
#[test]
fn a_version_that_does_not_follow_shows_what_was_skipped() {
    let known = || {
        let pair = KeyValue {
            version: 4,
            ..pair("a/1", 2, 8)
        };
        synced(vec![pair, raw("a/2", b"?", 3, 7)])
    };
    let follows = [
        version(put("a/1", 2, 20), 5),
        version(put("a/1", 2, 20), 0),
        version(put("a/2", 3, 20), 9),
        version(put("a/3", 20, 20), 1),
    ];
    for event in follows {
        assert_eq!(apply(&mut known(), events(20, vec![event])).len(), 1);
    }
    let skipped = [
        version(put("a/1", 2, 20), 6),
        version(put("a/1", 2, 20), 4),
        // The key was deleted in between.
        version(put("a/1", 20, 20), 1),
        version(put("a/3", 15, 20), 2),
    ];
    for event in skipped {
        let mut reducer = known();
        let before = version(put("a/4", 19, 19), 1);
        let outcome = reducer.on_message(events(20, vec![before, event]), false);
        assert_eq!((outcome.commits.len(), outcome.end), (1, Some(SKIPPED)));
        assert!(is_listing(&reducer));
    }
    // No part of the transaction counts as known.
    let mut reducer = known();
    let new = version(put("a/5", 20, 20), 1);
    let skipped = version(put("a/1", 2, 20), 9);
    let outcome = reducer.on_message(events(20, vec![new, skipped]), false);
    assert_eq!((outcome.commits.len(), outcome.end), (0, Some(SKIPPED)));
    assert!(!reducer.known.contains_key("web:5") && reducer.applied() == 10.into());
    assert_eq!(reducer.known.len(), 1);
}

/// PR 19251: a watch that begins at the revision of a compaction may lack its deletion. The reducer
/// begins at the applied revision, which etcd refuses if that is before the compaction.
#[test]
fn a_watch_begins_at_a_revision_that_is_known() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    assert_eq!(reducer.next_request(), watch_from(10));
    apply(&mut reducer, events(11, vec![delete("a/1", 11)]));
    reducer.drop_partial_answers();
    // The marker is the only key to ask for.
    assert_eq!(
        reducer.next_request(),
        EtcdRequest::Prove {
            key: b"/p/%/barrier".to_vec(),
            at: 11.into(),
        }
    );
    reducer.on_proof(&page(11, vec![])).unwrap();
    assert_eq!(reducer.next_request(), watch_from(11));
    assert_eq!(apply(&mut reducer, events(11, vec![delete("a/1", 11)])), []);
}

#[test]
fn after_a_compaction_it_lists_and_registers_only_what_is_another() {
    let mut reducer = synced(vec![
        pair("a/1", 2, 3),
        pair("a/2", 4, 4),
        pair("a/3", 5, 5),
    ]);
    let compacted = WatchMessage {
        compacted: 30.into(),
        canceled: Some("compacted".into()),
        ..events(35, vec![])
    };
    assert_eq!(end(&mut reducer, compacted), Some(Why::Compacted));
    assert!(is_listing(&reducer));
    let pairs = vec![pair("a/1", 2, 3), pair("a/2", 20, 21), pair("a/3", 5, 22)];
    let commit = reducer.on_page(page(40, pairs)).unwrap().unwrap();
    let CommitContent::List { pods, anew } = commit.content else {
        panic!("no list")
    };
    assert_eq!(pods.len(), 3);
    assert_eq!(anew, [info("a/2", "21")]);
    assert_eq!(reducer.epoch(), 1, "the same history");
}

#[test]
fn a_watch_that_is_canceled_is_begun_again_where_it_was() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let canceled = WatchMessage {
        canceled: Some("no leader".into()),
        ..events(11, vec![])
    };
    let end = reducer.on_message(canceled, true).end;
    assert_eq!(end, Some(Why::Canceled("no leader".into())));
    assert_eq!(reducer.applied(), 10.into());
    assert!(matches!(reducer.next_request(), EtcdRequest::Prove { .. }));
}

#[test]
fn a_delete_of_an_unknown_key_is_no_commit() {
    let mut reducer = synced(vec![]);
    assert_eq!(apply(&mut reducer, events(11, vec![delete("a/1", 11)])), []);
    assert_eq!(reducer.applied(), 11.into());
}

#[test]
fn a_pod_is_registered_anew_only_with_another_create_revision() {
    let mut reducer = synced(vec![pair("a/1", 2, 3)]);
    let outcome = apply(
        &mut reducer,
        events(
            14,
            vec![
                put("a/1", 2, 11),
                delete("a/1", 12),
                put("a/1", 13, 13),
                put("a/1", 13, 14),
            ],
        ),
    );
    let expected = [
        changes(11, vec![saved("a/1", 11)]),
        changes(12, vec![removed("a/1")]),
        changes(13, vec![registered("a/1", 13)]),
        changes(14, vec![saved("a/1", 14)]),
    ];
    assert_eq!(outcome, expected);
}

#[test]
fn what_cannot_be_read_is_set_aside_and_takes_nothing_else_along() {
    let mut reducer = synced(vec![
        pair("a/1", 2, 3),
        raw("a/2", b"hunter2", 4, 4),
        raw("no-pod", b"{}", 5, 5),
    ]);
    assert_eq!(reducer.set_aside.len(), 2);
    let bad = |key, modified| KeyEvent::Put(raw(key, br#"{"version":9}"#, 2, modified));
    let commits = apply(
        &mut reducer,
        events(
            12,
            vec![
                bad("a/1", 11),
                put("a/3", 11, 11),
                put("a/2", 4, 12),
                delete("no-pod", 12),
            ],
        ),
    );
    let expected = [
        changes(11, vec![removed("a/1"), registered("a/3", 11)]),
        changes(12, vec![registered("a/2", 12)]),
    ];
    assert_eq!(commits, expected);
    let set_aside = reducer.set_aside.list(10);
    assert_eq!(set_aside.len(), 1);
    assert_eq!(set_aside[0].key, b"/p/a/1");
    assert_eq!(set_aside[0].reason, Unreadable::Version(9));
    // The same event again, after a broken connection: it is known.
    reducer.drop_partial_answers();
    let proof = ListPage {
        count: 3,
        ..page(12, vec![pair("a/2", 4, 12)])
    };
    reducer.on_proof(&proof).unwrap();
    assert_eq!(
        apply(
            &mut reducer,
            events(12, vec![bad("a/1", 11), put("a/2", 4, 12)])
        ),
        []
    );
    apply(&mut reducer, events(13, vec![delete("a/1", 13)]));
    assert_eq!(reducer.set_aside.len(), 0);
}

#[test]
fn the_marker_moves_on_and_is_no_pod() {
    let mut reducer = synced(vec![]);
    let marker = KeyEvent::Put(raw("%/barrier", b"", 11, 11));
    assert_eq!(apply(&mut reducer, events(11, vec![marker])), []);
    assert_eq!(reducer.applied(), 11.into());
    assert_eq!(reducer.set_aside.len(), 0);
}
