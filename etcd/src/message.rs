//! What etcd says, as far as a replica looks at it.

use crate::EtcdRevision;

/// What stands before each answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
    /// Of the member that answers, when it answers: of a watch's events it says nothing.
    pub(crate) revision: EtcdRevision,
    pub(crate) term: u64,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) created: EtcdRevision,
    pub(crate) modified: EtcdRevision,
    /// How often it was written since it was created; zero where the server does not tell.
    pub(crate) version: u64,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) header: Header,
    pub(crate) pairs: Vec<Pair>,
    /// How many there are from the first of this page on, on this page and later ones.
    pub(crate) count: u64,
    pub(crate) more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Put(Pair),
    Delete {
        key: Vec<u8>,
        modified: EtcdRevision,
    },
}

impl Event {
    pub(crate) fn revision(&self) -> EtcdRevision {
        match self {
            Event::Put(pair) => pair.modified,
            Event::Delete { modified, .. } => *modified,
        }
    }
}

/// What comes out of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) header: Header,
    /// The watch begins.
    pub(crate) created: bool,
    /// The watch ends, and why.
    pub(crate) canceled: Option<String>,
    /// What was before this revision is not to be had any more; zero for nothing.
    pub(crate) compacted: EtcdRevision,
    /// More of the same answer comes with the next message.
    pub(crate) fragment: bool,
    pub(crate) events: Vec<Event>,
}
