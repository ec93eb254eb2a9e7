//! Converts the types of `etcd-client` into those of the reducer.

use etcd_client::{GetResponse, ResponseHeader, WatchResponse};

use crate::EtcdRevision;
use crate::message::{Header, KeyEvent, KeyValue, ListPage, WatchMessage};
use crate::state::Why;

pub(crate) fn header(header: Option<&ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster: header.cluster_id(),
        member: header.member_id(),
        revision: EtcdRevision::from_wire(header.revision()),
        term: header.raft_term(),
    })
}

pub(crate) fn page(mut answer: GetResponse) -> ListPage {
    let pairs = answer.take_kvs().into_iter().map(|kv| {
        let (created, modified) = (kv.create_revision(), kv.mod_revision());
        let version = u64::try_from(kv.version()).unwrap_or(0);
        let (key, value) = kv.into_key_value();
        KeyValue {
            key,
            value,
            created: EtcdRevision::from_wire(created),
            modified: EtcdRevision::from_wire(modified),
            version,
        }
    });
    ListPage {
        pairs: pairs.collect(),
        header: header(answer.header()),
        count: u64::try_from(answer.count()).unwrap_or(0),
        more: answer.more(),
    }
}

pub(crate) fn message(answer: WatchResponse) -> Result<WatchMessage, Why> {
    let header = header(answer.header());
    let answer = answer.0;
    let mut events = Vec::with_capacity(answer.events.len());
    for event in answer.events {
        let Some(kv) = event.kv else {
            return Err(Why::Inconsistent("an event is of no key"));
        };
        let modified = EtcdRevision::from_wire(kv.mod_revision);
        let key = kv.key;
        events.push(match event.r#type {
            0 => KeyEvent::Put(KeyValue {
                key,
                value: kv.value,
                created: EtcdRevision::from_wire(kv.create_revision),
                modified,
                version: u64::try_from(kv.version).unwrap_or(0),
            }),
            1 => KeyEvent::Delete { key, modified },
            _ => return Err(Why::Inconsistent("an event is of no known kind")),
        });
    }
    Ok(WatchMessage {
        header,
        created: answer.created,
        canceled: answer.canceled.then_some(answer.cancel_reason),
        compacted: EtcdRevision::from_wire(answer.compact_revision),
        fragment: answer.fragment,
        events,
    })
}
