//! Turns the messages of etcd into commits to the store: a state machine without I/O.
//!
//! The reducer makes one [request](Reducer::next_request) at a time. First it asks for a **list**,
//! page by page, all at one revision. The list makes one commit, which is a difference to the
//! current copy. Then it asks for a **watch** from that revision on. Each revision of etcd in the watch makes one
//! atomic commit, and moves [`applied`](Reducer::applied) up to it. When the watch ends, the
//! reducer asks for a **proof** that etcd still has the same history, and then for a watch from
//! `applied` on.
//!
//! The reducer guards against these faults:
//!
//! - A message may be a fragment. The reducer applies an answer only when it is complete, and drops
//!   a partial answer when the connection breaks.
//! - The watch begins *at* the applied revision, not after it, and repeated changes are dropped.
//!   The reason is etcd#19179: a watch that begins at exactly the compacted revision may lack a
//!   deletion of that revision. So that revision must be one that the reducer already knows.
//! - Repeated changes must be known. A change that is not newer than `applied`, and is not in the
//!   copy, was skipped, so the reducer lists again. It also lists again if the version of a key
//!   does not follow the known one: old servers skip events of a slow watch when they compact
//!   (etcd#17529).
//! - The revision in the header of events, or of the message that begins a watch, is the progress
//!   of the *member*, not of the watch. Only a progress message reports the progress of the watch,
//!   and on old servers it may arrive before its events (etcd#15220). The caller says whether to
//!   trust it.
//! - A new **epoch** begins with another cluster, with a lower term or a lower revision in a
//!   linearizable answer, or when etcd's state at the applied revision differs from what is known.
//!   Revisions of the old epoch mean nothing in the new one.
//! - A list is accepted only if its pages agree with their counts. An empty list, where the copy is
//!   not empty, is accepted only when a second list is empty too.

#[cfg(test)]
mod histories;
mod listing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use service_registry::{ServiceInfo, ServiceKey};

use crate::EtcdRevision;
use crate::keys::{KeyKind, Prefix};
use crate::message::{Header, KeyEvent, KeyValue, ListPage, WatchMessage};
use crate::set_aside::SetAsideKeys;
use crate::state::Why;
use crate::values::{self, Unreadable};

use listing::{CompleteList, Listing};

const SKIPPED: Why = Why::Inconsistent("a change was skipped");

/// The next request to etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EtcdRequest {
    /// A page of the prefix, from this key on, at the given revision or the newest.
    List {
        from: Vec<u8>,
        at: Option<EtcdRevision>,
    },
    /// One key as of this revision, and the number of keys of the prefix then; linearizable.
    Prove { key: Vec<u8>, at: EtcdRevision },
    /// All changes from this revision on, inclusive.
    Watch { from: EtcdRevision },
}

/// The change to the store for one revision of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) revision: EtcdRevision,
    pub(crate) content: CommitContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitContent {
    /// The changes of one transaction of etcd. Never empty.
    Changes(Vec<PodChange>),
    /// All pods, and those among them that were registered anew.
    List {
        pods: Vec<ServiceInfo>,
        anew: Vec<ServiceInfo>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodChange {
    /// The pod has changed.
    Save(ServiceInfo),
    /// The pod is a new incarnation, even if its fields are the same.
    Register(ServiceInfo),
    Remove(ServiceKey),
}

/// The outcome of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchOutcome {
    pub(crate) commits: Vec<Commit>,
    /// Why the watch is no longer useful, if so: ask again.
    pub(crate) end: Option<Why>,
}

/// The known state of a key that has a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyState {
    created: EtcdRevision,
    modified: EtcdRevision,
    version: u64,
}

impl KeyState {
    fn of(pair: &KeyValue) -> KeyState {
        KeyState {
            created: pair.created,
            modified: pair.modified,
            version: pair.version,
        }
    }

    /// Returns whether this state can directly follow `before`; `None` means that there was no key.
    fn follows(&self, before: Option<&KeyState>) -> bool {
        match before {
            _ if self.version == 0 => true,
            Some(before) => self.created == before.created && self.version == before.version + 1,
            None => self.version == 1,
        }
    }
}

/// Returns the hash of a value, valid within this process.
fn hash_of(value: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

/// The identity of an etcd.
#[derive(Clone, Copy, Debug)]
struct EtcdIdentity {
    cluster: u64,
    /// The highest term in a linearizable answer.
    term: u64,
}

enum Phase {
    List(Listing),
    Prove,
    Watch {
        /// The events so far of an incomplete answer.
        fragments: Vec<KeyEvent>,
    },
}

/// See the [module](self).
pub(crate) struct Reducer {
    prefix: Prefix,
    identity: Option<EtcdIdentity>,
    epoch: u64,
    applied: EtcdRevision,
    known: HashMap<ServiceKey, KeyState>,
    /// The pod that changed last, and the hash of its value.
    newest: Option<(ServiceKey, u64)>,
    has_marker: bool,
    set_aside: SetAsideKeys,
    /// This is known to be another etcd than before, whatever its numbers say.
    is_other_etcd: bool,
    /// The watch skipped a change, so an unknown change in the next list does not prove another
    /// history.
    has_skipped: bool,
    phase: Phase,
}

impl Reducer {
    pub(crate) fn new(prefix: Prefix, set_aside: SetAsideKeys) -> Reducer {
        let phase = Phase::List(Listing::new(&prefix));
        Reducer {
            prefix,
            identity: None,
            epoch: 0,
            applied: EtcdRevision::ZERO,
            known: HashMap::new(),
            newest: None,
            has_marker: false,
            set_aside,
            is_other_etcd: false,
            has_skipped: false,
            phase,
        }
    }

    /// Returns the next request to etcd.
    pub(crate) fn next_request(&self) -> EtcdRequest {
        match &self.phase {
            Phase::List(listing) => listing.next_request(),
            Phase::Prove => EtcdRequest::Prove {
                key: self.proof_key(),
                at: self.applied,
            },
            Phase::Watch { .. } => EtcdRequest::Watch { from: self.applied },
        }
    }

    /// Returns the revision up to which the returned commits have everything.
    pub(crate) fn applied(&self) -> EtcdRevision {
        self.applied
    }

    /// Returns the number of histories so far. Revisions of different histories cannot be compared.
    /// Zero before the first list.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Drops partial answers, after a request failed or the watch ended.
    pub(crate) fn drop_partial_answers(&mut self) {
        self.phase = match self.phase {
            Phase::List(_) => Phase::List(Listing::new(&self.prefix)),
            Phase::Prove | Phase::Watch { .. } => Phase::Prove,
        };
    }

    fn list_again(&mut self, why: Why) -> Why {
        self.is_other_etcd |= why == Why::OtherEtcd;
        self.phase = Phase::List(Listing::new(&self.prefix));
        why
    }

    /// Processes a requested page. Returns the commit with the last page.
    ///
    /// # Errors
    ///
    /// Returns the reason why the list cannot be accepted. The list starts again.
    pub(crate) fn on_page(&mut self, page: ListPage) -> Result<Option<Commit>, Why> {
        let Phase::List(listing) = &mut self.phase else {
            return Ok(None);
        };
        let was_empty = self.known.is_empty() && self.set_aside.len() == 0;
        let list = match listing.add_page(&self.prefix, page, was_empty) {
            Ok(Some(list)) => list,
            Ok(None) => return Ok(None),
            Err(reason) => return Err(self.list_again(Why::Inconsistent(reason))),
        };
        Ok(Some(self.apply_list(list)))
    }

    fn apply_list(&mut self, list: CompleteList) -> Commit {
        let Header {
            cluster,
            term,
            revision,
            ..
        } = list.header;
        let has_skipped = std::mem::take(&mut self.has_skipped);
        let is_new = std::mem::take(&mut self.is_other_etcd)
            || self.is_other_history(&list.header)
            || !has_skipped && self.has_other_history(&list.pods);
        self.epoch += u64::from(is_new || self.identity.is_none());
        self.identity = Some(EtcdIdentity { cluster, term });
        self.applied = revision;
        let mut known = HashMap::with_capacity(list.pods.len());
        let mut pods = Vec::with_capacity(list.pods.len());
        let mut anew = Vec::new();
        for (pod, now) in list.pods {
            if let Some(before) = self.known.get(pod.key()) {
                // In another history, the same number may belong to another pod.
                let other =
                    before.created != now.created || is_new && before.modified != now.modified;
                if other {
                    anew.push(pod.clone());
                }
            }
            known.insert(pod.key().clone(), now);
            pods.push(pod);
        }
        self.known = known;
        self.newest = list.newest;
        self.has_marker = list.has_marker;
        self.set_aside.replace(list.set_aside);
        self.phase = Phase::Watch {
            fragments: Vec::new(),
        };
        Commit {
            revision,
            content: CommitContent::List { pods, anew },
        }
    }

    /// Returns whether a linearizable answer is from another history.
    fn is_other_history(&self, header: &Header) -> bool {
        self.identity.is_some_and(|identity| {
            header.cluster != identity.cluster
                || header.term < identity.term
                || header.revision < self.applied
        })
    }

    /// Returns whether a list has an old change that is not in the copy.
    fn has_other_history(&self, pods: &[(ServiceInfo, KeyState)]) -> bool {
        let is_other = |(pod, now): &(ServiceInfo, KeyState)| {
            let known = self.known.get(pod.key());
            now.modified <= self.applied && known.is_none_or(|known| known.modified != now.modified)
        };
        self.identity.is_some() && pods.iter().any(is_other)
    }

    /// Returns the key by which to check that the history is the known one: that of the pod that
    /// changed last, or the marker if there is no pod.
    fn proof_key(&self) -> Vec<u8> {
        let is_there = |(key, _): &&(ServiceKey, u64)| self.known.contains_key(key);
        let newest = self.newest.as_ref().filter(is_there).map(|(key, _)| key);
        let last = || self.known.iter().max_by_key(|(_, known)| known.modified);
        match newest.or_else(|| last().map(|(key, _)| key)) {
            Some(key) => self.prefix.key(key).into_bytes(),
            None => self.prefix.marker().into_bytes(),
        }
    }

    /// Processes the answer to [`EtcdRequest::Prove`]: the key, and the count of all keys.
    ///
    /// # Errors
    ///
    /// Returns an error if this is another etcd; the reducer lists again.
    pub(crate) fn on_proof(&mut self, page: &ListPage) -> Result<(), Why> {
        if self.is_other_history(&page.header) || !self.matches_known_state(page) {
            return Err(self.list_again(Why::OtherEtcd));
        }
        if let Some(identity) = &mut self.identity {
            identity.term = page.header.term;
        }
        self.phase = Phase::Watch {
            fragments: Vec::new(),
        };
        Ok(())
    }

    /// Processes the refusal of [`EtcdRequest::Prove`]: etcd has compacted the revision, or has not
    /// reached it.
    pub(crate) fn on_proof_refused(&mut self, why: Why) -> Why {
        self.list_again(why)
    }

    /// Returns whether the state of etcd at the applied revision is the known one, judged by its
    /// newest pod and the count of its keys.
    fn matches_known_state(&self, page: &ListPage) -> bool {
        let count = self.known.len() + self.set_aside.len() + usize::from(self.has_marker);
        if page.count != count as u64 {
            return false;
        }
        let Ok(KeyKind::Pod(key)) = self.prefix.parse(&self.proof_key()) else {
            return true;
        };
        let (Some(known), Some(pair)) = (self.known.get(&key), page.pairs.first()) else {
            return false;
        };
        let newest = self.newest.as_ref().filter(|(newest, _)| *newest == key);
        *known == KeyState::of(pair) && newest.is_none_or(|(_, hash)| *hash == hash_of(&pair.value))
    }

    /// Processes a message of the watch. `trusted` says whether this server reports progress after
    /// the events that belong to it.
    pub(crate) fn on_message(&mut self, message: WatchMessage, trusted: bool) -> WatchOutcome {
        let mut outcome = WatchOutcome::default();
        let Phase::Watch { fragments } = &mut self.phase else {
            return outcome;
        };
        if message.header.revision == EtcdRevision::ZERO {
            let why = Why::Inconsistent("a message does not name its cluster and revision");
            outcome.end = Some(self.list_again(why));
            return outcome;
        }
        let cluster = message.header.cluster;
        if self
            .identity
            .is_some_and(|identity| cluster != identity.cluster)
        {
            outcome.end = Some(self.list_again(Why::OtherEtcd));
            return outcome;
        }
        if message.compacted > EtcdRevision::ZERO {
            outcome.end = Some(self.list_again(Why::Compacted));
            return outcome;
        }
        fragments.extend(message.events);
        if let Some(said) = message.canceled {
            self.drop_partial_answers();
            outcome.end = Some(Why::Canceled(said));
        } else if message.created || message.fragment {
            // The rest of the answer comes with later messages.
        } else if fragments.is_empty() {
            // Progress, and nothing else.
            if trusted {
                self.applied = self.applied.max(message.header.revision);
            }
        } else {
            let events = std::mem::take(fragments);
            if let Err(why) = self.apply_events(events, &mut outcome.commits) {
                self.has_skipped = true;
                outcome.end = Some(self.list_again(why));
            }
        }
        outcome
    }

    /// Processes the events of a complete answer, which may span several revisions.
    fn apply_events(
        &mut self,
        events: Vec<KeyEvent>,
        commits: &mut Vec<Commit>,
    ) -> Result<(), Why> {
        let mut events = events.into_iter().peekable();
        let mut last = EtcdRevision::ZERO;
        while let Some(revision) = events.peek().map(KeyEvent::revision) {
            // Never equal: `of_revision` has taken all that came in a row.
            if revision < last || revision == EtcdRevision::ZERO {
                return Err(Why::Inconsistent("revisions of one answer are in disorder"));
            }
            last = revision;
            let of_revision =
                std::iter::from_fn(|| events.next_if(|event| event.revision() == revision));
            if revision <= self.applied {
                for event in of_revision {
                    self.check_known(&event)?;
                }
                continue;
            }
            // All or nothing: after an error the reducer lists again, as a difference to what is
            // known.
            let of_revision: Vec<KeyEvent> = of_revision.collect();
            of_revision
                .iter()
                .try_for_each(|event| self.check_next(event))?;
            let changes = of_revision
                .into_iter()
                .filter_map(|event| self.apply_event(event));
            let changes: Vec<PodChange> = changes.collect();
            self.applied = revision;
            if !changes.is_empty() {
                commits.push(Commit {
                    revision,
                    content: CommitContent::Changes(changes),
                });
            }
        }
        Ok(())
    }

    fn parse(&self, key: &[u8]) -> Result<Result<KeyKind, Unreadable>, Why> {
        if !self.prefix.covers(key) {
            return Err(Why::Inconsistent("a key is not under the prefix"));
        }
        Ok(self.prefix.parse(key).map_err(Unreadable::Key))
    }

    /// Checks that an already applied event agrees with the copy.
    fn check_known(&self, event: &KeyEvent) -> Result<(), Why> {
        let (KeyEvent::Put(KeyValue { key, .. }) | KeyEvent::Delete { key, .. }) = event;
        let Ok(KeyKind::Pod(pod)) = self.parse(key)? else {
            return Ok(());
        };
        let revision = event.revision();
        let fits = match (event, self.known.get(&pod)) {
            (KeyEvent::Put(_), Some(known)) => known.modified >= revision,
            // The key was deleted since, or could not be read.
            (KeyEvent::Put(_), None) => revision < self.applied || self.set_aside.contains(key),
            (KeyEvent::Delete { .. }, Some(known)) => known.modified > revision,
            (KeyEvent::Delete { .. }, None) => true,
        };
        if fits { Ok(()) } else { Err(SKIPPED) }
    }

    /// Checks that a new event follows what is known of its key.
    fn check_next(&self, event: &KeyEvent) -> Result<(), Why> {
        let (KeyEvent::Put(KeyValue { key, .. }) | KeyEvent::Delete { key, .. }) = event;
        let kind = self.parse(key)?;
        // A value that could not be read has no known state.
        let (KeyEvent::Put(pair), Ok(KeyKind::Pod(pod)), false) =
            (event, kind, self.set_aside.contains(key))
        else {
            return Ok(());
        };
        if KeyState::of(pair).follows(self.known.get(&pod)) {
            Ok(())
        } else {
            Err(SKIPPED)
        }
    }

    fn apply_event(&mut self, event: KeyEvent) -> Option<PodChange> {
        match event {
            KeyEvent::Put(pair) => self.put(pair),
            KeyEvent::Delete { key, .. } => {
                self.set_aside.remove(&key);
                match self.prefix.parse(&key) {
                    Ok(KeyKind::Pod(pod)) => {
                        self.known.remove(&pod).map(|_| PodChange::Remove(pod))
                    }
                    Ok(KeyKind::Marker) => {
                        self.has_marker = false;
                        None
                    }
                    Err(_) => None,
                }
            }
        }
    }

    fn put(&mut self, pair: KeyValue) -> Option<PodChange> {
        let pod = match self.prefix.parse(&pair.key) {
            Ok(KeyKind::Pod(pod)) => pod,
            Ok(KeyKind::Marker) => {
                self.has_marker = true;
                return None;
            }
            Err(reason) => {
                self.set_aside.put(pair.key, Unreadable::Key(reason));
                return None;
            }
        };
        match values::decode(&pod, &pair.value) {
            Ok(info) => {
                self.set_aside.remove(&pair.key);
                let now = KeyState::of(&pair);
                let before = self.known.insert(info.key().clone(), now);
                self.newest = Some((info.key().clone(), hash_of(&pair.value)));
                let is_same = before.is_some_and(|before| before.created == now.created);
                Some(if is_same {
                    PodChange::Save(info)
                } else {
                    PodChange::Register(info)
                })
            }
            Err(reason) => {
                self.set_aside.put(pair.key, reason);
                self.known.remove(&pod).map(|_| PodChange::Remove(pod))
            }
        }
    }
}
