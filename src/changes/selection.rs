//! [`Selection`], the part of a registry that a watch observes.

use std::fmt;
use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;

use crate::changes::{Difference, State, Subscription};
use crate::model::cause::Cause;
use crate::model::error::Result;
use crate::model::excerpt::Excerpt;
use crate::model::key::check_key;
use crate::model::labels::Labels;
use crate::model::limits::check_service_name;
use crate::model::record::ServiceInfo;

/// The part of a registry that a [`Watch`](super::Watch) observes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// Every record and every subscription.
    All,
    /// The pods of one service.
    Service(Box<str>),
    /// The record under one key.
    Pod(Box<str>),
    /// The subscriptions of one service group.
    Group(Box<str>),
    /// The pods of another selection that match labels.
    Labelled(Box<Labelled>),
}

/// A selection together with labels that the metadata and the zone of its pods must match.
/// See [`Selection::with_labels`].
#[derive(Clone, PartialEq, Eq)]
pub struct Labelled {
    of: Selection,
    labels: Labels,
}

impl Labelled {
    /// Returns the selection without labels.
    pub fn of(&self) -> &Selection {
        &self.of
    }

    /// Returns the labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
}

impl Selection {
    /// Selects the pods of the service `name`.
    pub fn service(name: impl Into<Box<str>>) -> Selection {
        Selection::Service(name.into())
    }

    /// Selects the record under `key`, which has the form `service:pod`.
    pub fn pod(key: impl Into<Box<str>>) -> Selection {
        Selection::Pod(key.into())
    }

    /// Selects the subscriptions of the service group `name`.
    pub fn group(name: impl Into<Box<str>>) -> Selection {
        Selection::Group(name.into())
    }

    /// Narrows the selection to pods that match `labels`. The result has no subscriptions.
    ///
    /// If a pod's metadata or zone changes and the pod no longer matches, the watch reports it
    /// as [`Removed`](Difference::Removed), with [`Cause::Deselected`]. A pod that begins to
    /// match is reported as [`Added`](Difference::Added). Every change to the selection
    /// without labels wakes the watch, which then filters it.
    ///
    /// ```
    /// use service_registry::changes::{Difference, Event, Selection};
    /// use service_registry::{Cause, Labels, MemoryStore, Registry, ServiceRegistration};
    ///
    /// let registry = Registry::new(MemoryStore::new());
    /// let canaries = Selection::service("web").with_labels(Labels::new().present("canary"));
    /// let mut watch = registry.watch(canaries)?;
    /// watch.recv()?;
    ///
    /// let pod = ServiceRegistration::new("web", "pod-1");
    /// registry.register(pod.clone().with_metadata("canary", ""))?;
    /// let Event::Changes { changes, .. } = watch.recv()? else { unreachable!() };
    /// assert!(matches!(changes[..], [Difference::Added(_)]));
    /// registry.register(pod)?;
    /// let Event::Changes { changes, .. } = watch.recv()? else { unreachable!() };
    /// let [Difference::Removed { cause: Cause::Deselected, .. }] = changes[..] else {
    ///     unreachable!()
    /// };
    /// # Ok::<(), service_registry::StoreError>(())
    /// ```
    #[must_use]
    pub fn with_labels(self, labels: Labels) -> Selection {
        Selection::Labelled(Box::new(match self {
            Selection::Labelled(known) => Labelled {
                of: known.of,
                labels: known.labels.and(labels),
            },
            of => Labelled { of, labels },
        }))
    }

    /// Returns the selection without labels. The log files changes under it.
    pub(super) fn topic(&self) -> &Selection {
        match self {
            Selection::Labelled(labelled) => &labelled.of,
            topic => topic,
        }
    }

    /// Checks that a store can contain the selected name or key.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Selection::All => {}
            Selection::Service(name) | Selection::Group(name) => {
                check_service_name("selection", name)?;
            }
            Selection::Pod(key) => check_key("selection", key)?,
            Selection::Labelled(labelled) => labelled.of.check()?,
        }
        Ok(())
    }

    /// Returns whether the selection contains this record.
    pub fn holds(&self, service: &ServiceInfo) -> bool {
        match self {
            Selection::All => true,
            Selection::Service(name) => service.service_name() == &**name,
            Selection::Pod(key) => service.key() == &**key,
            Selection::Group(_) => false,
            Selection::Labelled(labelled) => {
                labelled.of.holds(service) && labelled.labels.hold(service)
            }
        }
    }

    /// Returns whether the selection contains the subscriptions of this group.
    pub fn holds_subscription(&self, group: &str) -> bool {
        match self {
            Selection::All => true,
            Selection::Group(name) => group == &**name,
            Selection::Service(_) | Selection::Pod(_) | Selection::Labelled(_) => false,
        }
    }

    /// Reduces `state` to what is selected.
    pub(crate) fn of(&self, mut state: State) -> State {
        if *self != Selection::All {
            state.services.retain(|service| self.holds(service));
            let held = |one: &Subscription| self.holds_subscription(&one.group);
            state.subscriptions.retain(held);
        }
        state
    }

    /// Returns whether this difference affects the selection.
    pub fn concerns(&self, difference: &Difference) -> bool {
        match difference {
            Difference::Added(service)
            | Difference::Removed { last: service, .. }
            | Difference::Skipped { kept: service } => self.holds(service),
            Difference::Changed { before, after } => self.holds(after) || self.holds(before),
            Difference::Subscribed { group, .. } | Difference::Unsubscribed { group, .. } => {
                self.holds_subscription(group)
            }
        }
    }
}

impl Labelled {
    /// Translates a difference for a watch that sees only the matching pods. Returns `None` if
    /// nothing changes for it.
    pub(super) fn select(&self, difference: Difference) -> Option<Difference> {
        let holds = |service| self.of.holds(service) && self.labels.hold(service);
        match difference {
            Difference::Changed { before, after } => match (holds(&before), holds(&after)) {
                (true, true) => Some(Difference::Changed { before, after }),
                (true, false) => Some(Difference::Removed {
                    last: before,
                    cause: Cause::Deselected,
                }),
                (false, true) => Some(Difference::Added(after)),
                (false, false) => None,
            },
            Difference::Added(ref service)
            | Difference::Removed {
                last: ref service, ..
            } => holds(service).then_some(difference),
            // Watches never report skipped records, and this selection has no subscriptions.
            _ => None,
        }
    }
}

// `Equivalent` requires that a selection and its `TopicName` form have the same hash.
impl Hash for Selection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        TopicName::from(self).hash(state);
    }
}

/// Shows at most 64 characters of a name.
impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Selection::All => return f.write_str("All"),
            Selection::Service(name) => ("Service", name),
            Selection::Pod(key) => ("Pod", key),
            Selection::Group(name) => ("Group", name),
            Selection::Labelled(labelled) => return labelled.fmt(f),
        };
        f.debug_tuple(kind).field(&Excerpt::new(name)).finish()
    }
}

impl fmt::Debug for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The length of labels has no limit.
        f.debug_tuple("Labelled")
            .field(&self.of)
            .finish_non_exhaustive()
    }
}

/// The kinds of selections without labels.
#[derive(Clone, Copy)]
pub(super) enum SelectionKind {
    All,
    Service,
    Pod,
    Group,
}

/// A selection without labels that borrows its name.
#[derive(PartialEq, Eq)]
pub(super) enum TopicName<'a> {
    All,
    Service(&'a str),
    Pod(&'a str),
    Group(&'a str),
}

impl TopicName<'_> {
    pub(super) fn kind(&self) -> SelectionKind {
        match self {
            TopicName::All => SelectionKind::All,
            TopicName::Service(_) => SelectionKind::Service,
            TopicName::Pod(_) => SelectionKind::Pod,
            TopicName::Group(_) => SelectionKind::Group,
        }
    }
}

impl Hash for TopicName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A service and a group of the same name share a hash. The comparison distinguishes them.
        match self {
            TopicName::All => "".hash(state),
            TopicName::Service(name) | TopicName::Pod(name) | TopicName::Group(name) => {
                name.hash(state);
            }
        }
    }
}

impl<'a> From<&'a Selection> for TopicName<'a> {
    fn from(selection: &'a Selection) -> TopicName<'a> {
        match selection {
            Selection::All => TopicName::All,
            Selection::Service(name) => TopicName::Service(name),
            Selection::Pod(name) => TopicName::Pod(name),
            Selection::Group(name) => TopicName::Group(name),
            Selection::Labelled(labelled) => TopicName::from(&labelled.of),
        }
    }
}

impl Equivalent<Selection> for TopicName<'_> {
    fn equivalent(&self, key: &Selection) -> bool {
        *self == TopicName::from(key)
    }
}
