//! A list in progress.

use std::collections::BTreeMap;

use service_registry::{ServiceInfo, ServiceKey};

use super::{EtcdRequest, KeyState, hash_of};
use crate::EtcdRevision;
use crate::keys::{KeyKind, Prefix};
use crate::message::{Header, KeyValue, ListPage};
use crate::values::{self, Unreadable};

/// The pages so far, all at the revision of the first one.
pub(super) struct Listing {
    from: Vec<u8>,
    first: Option<Header>,
    /// The number of pairs still to come; `None` before the first page.
    rest: Option<u64>,
    pods: Vec<(ServiceInfo, KeyState)>,
    set_aside: BTreeMap<Vec<u8>, Unreadable>,
    /// The pod that changed last: its revision, its key, and the hash of its value.
    newest: Option<(EtcdRevision, ServiceKey, u64)>,
    has_marker: bool,
    /// Whether a first list of the prefix was empty.
    pub(super) was_empty: bool,
}

/// A complete list.
pub(super) struct CompleteList {
    pub(super) header: Header,
    pub(super) pods: Vec<(ServiceInfo, KeyState)>,
    pub(super) set_aside: BTreeMap<Vec<u8>, Unreadable>,
    pub(super) newest: Option<(ServiceKey, u64)>,
    pub(super) has_marker: bool,
}

impl Listing {
    pub(super) fn new(prefix: &Prefix) -> Listing {
        Listing {
            from: prefix.as_str().into(),
            first: None,
            rest: None,
            pods: Vec::new(),
            set_aside: BTreeMap::new(),
            newest: None,
            has_marker: false,
            was_empty: false,
        }
    }

    pub(super) fn next_request(&self) -> EtcdRequest {
        EtcdRequest::List {
            from: self.from.clone(),
            at: self.first.map(|first| first.revision),
        }
    }

    /// Processes a page. `is_empty` says that nothing is known yet. Returns the list when it is
    /// complete.
    pub(super) fn add_page(
        &mut self,
        prefix: &Prefix,
        page: ListPage,
        is_empty: bool,
    ) -> Result<Option<CompleteList>, &'static str> {
        let first = *self.first.get_or_insert(page.header);
        if first.revision == EtcdRevision::ZERO {
            return Err("a list is of no revision");
        }
        if page.header.cluster != first.cluster || page.header.revision < first.revision {
            return Err("the pages of a list are of different etcds");
        }
        let rest = page.count.checked_sub(page.pairs.len() as u64);
        let agrees = rest.is_some_and(|rest| page.more == (rest > 0))
            && self.rest.is_none_or(|rest| page.count == rest)
            && !(page.more && page.pairs.is_empty());
        if !agrees {
            return Err("a page does not agree with its count");
        }
        self.rest = rest;
        for pair in page.pairs {
            if pair.key < self.from || !prefix.covers(&pair.key) {
                return Err("a page has keys that were not asked for");
            }
            if pair.modified > first.revision || pair.created > pair.modified {
                return Err("a page is newer than its list");
            }
            self.from.clone_from(&pair.key);
            self.from.push(0);
            self.add_pair(prefix, pair);
        }
        if page.more {
            return Ok(None);
        }
        let has_nothing = self.pods.is_empty() && self.set_aside.is_empty();
        if has_nothing && !is_empty && !self.was_empty {
            *self = Listing::new(prefix);
            self.was_empty = true;
            return Ok(None);
        }
        Ok(Some(CompleteList {
            header: first,
            pods: std::mem::take(&mut self.pods),
            set_aside: std::mem::take(&mut self.set_aside),
            newest: self.newest.take().map(|(_, key, hash)| (key, hash)),
            has_marker: self.has_marker,
        }))
    }

    fn add_pair(&mut self, prefix: &Prefix, pair: KeyValue) {
        let known = KeyState::of(&pair);
        let read = match prefix.parse(&pair.key) {
            Ok(KeyKind::Marker) => {
                self.has_marker = true;
                return;
            }
            Ok(KeyKind::Pod(pod)) => values::decode(&pod, &pair.value),
            Err(bad) => Err(Unreadable::Key(bad)),
        };
        match read {
            Ok(pod) => {
                let newest = self.newest.as_ref().map(|(revision, ..)| *revision);
                // Of several that one revision changed, any will do.
                if newest.is_none_or(|newest| newest < known.modified) {
                    let hash = hash_of(&pair.value);
                    self.newest = Some((known.modified, pod.key().clone(), hash));
                }
                self.pods.push((pod, known));
            }
            Err(reason) => {
                self.set_aside.insert(pair.key, reason);
            }
        }
    }
}
