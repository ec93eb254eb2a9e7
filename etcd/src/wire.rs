//! Converts the types of `etcd-client` into those of the reducer.

use etcd_client::{GetResponse, ResponseHeader, WatchResponse};

use crate::EtcdRevision;
use crate::message::{Event, Header, Message, Page, Pair};
use crate::state::Why;

pub(crate) fn header(header: Option<&ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster: header.cluster_id(),
        member: header.member_id(),
        revision: EtcdRevision::from_wire(header.revision()),
        term: header.raft_term(),
    })
}

pub(crate) fn page(mut answer: GetResponse) -> Page {
    let pairs = answer.take_kvs().into_iter().map(|kv| {
        let (created, modified) = (kv.create_revision(), kv.mod_revision());
        let version = u64::try_from(kv.version()).unwrap_or(0);
        let (key, value) = kv.into_key_value();
        Pair {
            key,
            value,
            created: EtcdRevision::from_wire(created),
            modified: EtcdRevision::from_wire(modified),
            version,
        }
    });
    Page {
        pairs: pairs.collect(),
        header: header(answer.header()),
        count: u64::try_from(answer.count()).unwrap_or(0),
        more: answer.more(),
    }
}

pub(crate) fn message(answer: WatchResponse) -> Result<Message, Why> {
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
            0 => Event::Put(Pair {
                key,
                value: kv.value,
                created: EtcdRevision::from_wire(kv.create_revision),
                modified,
                version: u64::try_from(kv.version).unwrap_or(0),
            }),
            1 => Event::Delete { key, modified },
            _ => return Err(Why::Inconsistent("an event is of no known kind")),
        });
    }
    Ok(Message {
        header,
        created: answer.created,
        canceled: answer.canceled.then_some(answer.cancel_reason),
        compacted: EtcdRevision::from_wire(answer.compact_revision),
        fragment: answer.fragment,
        events,
    })
}
