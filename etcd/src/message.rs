//! The parts of etcd's messages that a replica uses.

use crate::EtcdRevision;

/// The header of each answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
    /// The revision of the answering member at the time of the answer. It says nothing about the
    /// events of a watch.
    pub(crate) revision: EtcdRevision,
    pub(crate) term: u64,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) created: EtcdRevision,
    pub(crate) modified: EtcdRevision,
    /// How often the key was written since it was created; zero if the server does not report it.
    pub(crate) version: u64,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListPage {
    pub(crate) header: Header,
    pub(crate) pairs: Vec<KeyValue>,
    /// The number of pairs from the first one of this page on, including later pages.
    pub(crate) count: u64,
    pub(crate) more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyEvent {
    Put(KeyValue),
    Delete {
        key: Vec<u8>,
        modified: EtcdRevision,
    },
}

impl KeyEvent {
    pub(crate) fn revision(&self) -> EtcdRevision {
        match self {
            KeyEvent::Put(pair) => pair.modified,
            KeyEvent::Delete { modified, .. } => *modified,
        }
    }
}

/// A message of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchMessage {
    pub(crate) header: Header,
    /// Whether the watch begins with this message.
    pub(crate) created: bool,
    /// The reason, if the watch ends with this message.
    pub(crate) canceled: Option<String>,
    /// Everything before this revision was compacted away; zero if the message reports no
    /// compaction.
    pub(crate) compacted: EtcdRevision,
    /// Whether the next message continues the same answer.
    pub(crate) fragment: bool,
    pub(crate) events: Vec<KeyEvent>,
}
