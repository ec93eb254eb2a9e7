//! Uses a watch as the discovery of a balancer: [`tower::discover`], and so `tower::balance::p2c`
//! and the balanced channel of tonic.
//!
//! [`Discovery`] follows a [`Watch`] and reports which pods to balance over. A balancer of tower
//! needs nothing else:
//!
//! ```
//! # use service_registry::changes::Selection;
//! # use service_registry::tower::Discovery;
//! # use service_registry::{MemoryStore, Registry};
//! # struct Client;
//! # impl Client { fn new(_: std::net::SocketAddr) -> Client { Client } }
//! # let registry = Registry::new(MemoryStore::new());
//! let watch = registry.watch(Selection::service("checkout"))?;
//! let pods = Discovery::new(watch, |pod| {
//!     let address = pod.providers().first()?.socket_addr()?;
//!     Some(Client::new(address)) // a `tower::Service`
//! });
//! // let pods = PendingRequestsDiscover::new(pods, CompleteOnResponse::default());
//! // let mut service = Balance::new(pods);
//! # drop(pods);
//! # Ok::<(), service_registry::StoreError>(())
//! ```
//!
//! For tonic, forward the changes to the channel, which connects to the endpoints itself (as
//! `tests/sockets/grpc.rs` in the repository does; tonic is not a dependency of this crate):
//!
//! ```ignore
//! let (channel, changes) = tonic::transport::Channel::balance_channel(64);
//! let mut pods = Discovery::new(watch, |pod| {
//!     Endpoint::from_shared(format!("http://{}", pod.providers().first()?.socket_addr()?)).ok()
//! });
//! tokio::spawn(async move {
//!     while let Some(Ok(change)) = pods.next().await {
//!         let change = match change {
//!             tower::discover::Change::Insert(key, endpoint) => Change::Insert(key, endpoint),
//!             tower::discover::Change::Remove(key) => Change::Remove(key),
//!         };
//!         if changes.send(change).await.is_err() {
//!             break;
//!         }
//!     }
//! });
//! ```
//!
//! That channel reads its changes when it is called. While nobody calls, changes wait in its queue,
//! and once that is full in the watch, which folds them. Give the queue the capacity for a whole
//! rollout, two changes for each pod; otherwise the first calls use old pods. A `p2c` over lazy
//! channels, `Some(endpoint.connect_lazy())`, reads all pending changes before each call.
//!
//! # What to give the balancer
//!
//! - **A service that never fails for good.** `p2c` drops a service whose `poll_ready` fails, and
//!   cannot ask for it again. Give it a service that reconnects by itself, and reports a failed
//!   connection in the response: a client with a pool, such as that of `hyper_util`, or an endpoint
//!   of tonic. (`tower::reconnect` of tower 0.5 returns the error of a failed attempt although a
//!   later one has succeeded.)
//! - **A timeout around the balancer.** A service without pods is not an error: the balancer waits
//!   until there is a pod. The timeout of an endpoint does not apply then, since there is no
//!   endpoint. Put a timeout around the balancer,
//!   `ServiceBuilder::new().timeout(..).buffer(..).service(balancer)`, or around the call.
//!
//! `tests/sockets` in the repository does all of this over real sockets.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tower::discover::Change;
use futures_core::Stream;
use hashbrown::HashMap;

use crate::changes::{Difference, Event, Watch};
use crate::hash::RandomState;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::status::ServiceStatus;

/// The pods of a watch, for a balancer of tower.
///
/// It is a [`Stream`] of [`Change`]s, and so a [`Discover`](::tower::discover::Discover).
///
/// # Which pods are included
///
/// A pod is included while it is [`Healthy`](ServiceStatus::Healthy) and its weight is not 0. Other
/// weights are not passed on, because `p2c` has none. An included pod that becomes
/// [`Unknown`](ServiceStatus::Unknown) stays, since nothing bad is known about it. A pod that
/// registers again is left out until it is healthy. Without health checks, use
/// [`with_unchecked`](Self::with_unchecked).
///
/// An included pod is reported again only if its incarnation or its
/// [`providers`](ServiceInfo::providers) changed: health checks and changes of its metadata cost no
/// connection. Its removal comes before its insertion, because a balancer would call the old
/// service once more otherwise. All removals of an event come before all its insertions.
///
/// # End of the stream
///
/// Closing the store ends the stream, and the balancer goes on with the pods that it has. A watch
/// that falls behind is not an error: the discovery reports the difference to the current state.
///
/// # Costs
///
/// An event costs O(changes). The first state, and a state after falling behind, cost O(pods). Each
/// reported change costs O(1) and the call of `make`. The discovery keeps a record of each included
/// pod.
///
/// A discovery that is not polled keeps what it has, and does not grow: the log that the watch
/// reads belongs to the store and [is bounded](crate::changes::LogOptions).
pub struct Discovery<F> {
    watch: Watch,
    make: F,
    takes_unchecked: bool,
    /// The pods that are included once all `pending` are reported.
    pods: HashMap<ServiceKey, ServiceInfo, RandomState>,
    /// The changes of the last event that are not reported yet: removals, then insertions.
    pending: VecDeque<PendingChange>,
}

enum PendingChange {
    Remove(ServiceKey),
    Insert(ServiceInfo),
}

impl<F> Discovery<F> {
    /// Creates a discovery of the pods of `watch`.
    ///
    /// `make` creates the service of a pod. It returns `None` to leave the pod out, for example if
    /// no provider has the right protocol; it is called again when the pod changes. It should not
    /// connect; the service should do that on first use.
    pub fn new<S>(watch: Watch, make: F) -> Discovery<F>
    where
        F: FnMut(&ServiceInfo) -> Option<S>,
    {
        Discovery {
            watch,
            make,
            takes_unchecked: false,
            pods: HashMap::default(),
            pending: VecDeque::new(),
        }
    }

    /// Includes pods whose health is [`Unknown`](ServiceStatus::Unknown) from the start, for
    /// registries without health checks.
    #[must_use]
    pub fn with_unchecked(mut self) -> Discovery<F> {
        self.takes_unchecked = true;
        self
    }

    /// Returns the watch that the discovery follows.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::State { services, .. } => {
                let mut gone = std::mem::take(&mut self.pods);
                for pod in &services {
                    if let Some((key, known)) = gone.remove_entry(&**pod.key()) {
                        self.pods.insert(key, known);
                    }
                }
                for key in gone.into_keys() {
                    self.pending.push_front(PendingChange::Remove(key));
                }
                for pod in services {
                    self.put(pod);
                }
            }
            Event::Changes { changes, .. } => {
                for change in changes {
                    match change {
                        Difference::Added(pod) | Difference::Changed { after: pod, .. } => {
                            self.put(pod);
                        }
                        Difference::Removed { last, .. } => self.remove(last.key()),
                        Difference::Subscribed { .. }
                        | Difference::Unsubscribed { .. }
                        | Difference::Skipped { .. } => {}
                    }
                }
            }
        }
    }

    fn put(&mut self, pod: ServiceInfo) {
        let known = self.pods.get(&**pod.key());
        let known = known.filter(|known| known.incarnation() == pod.incarnation());
        let is_in = match pod.status() {
            ServiceStatus::Healthy => true,
            ServiceStatus::Unknown => self.takes_unchecked || known.is_some(),
            ServiceStatus::Unhealthy | ServiceStatus::Draining => false,
        };
        let is_in = is_in && pod.weight() > 0;
        if is_in && known.is_some_and(|known| known.providers() == pod.providers()) {
            return;
        }
        self.remove(pod.key());
        if is_in {
            self.pods.insert(pod.key().clone(), pod.clone());
            self.pending.push_back(PendingChange::Insert(pod));
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        if let Some((key, _)) = self.pods.remove_entry(&**key) {
            // `pending` was empty before this event, so all insertions in it are of this event.
            self.pending.push_front(PendingChange::Remove(key));
        }
    }
}

// `make` is only called through `&mut`, never pinned.
impl<F> Unpin for Discovery<F> {}

impl<F, S> Stream for Discovery<F>
where
    F: FnMut(&ServiceInfo) -> Option<S>,
{
    /// An error if the store cannot be read, or if this is polled inside a read closure of a store
    /// that refuses reads there.
    type Item = Result<Change<ServiceKey, S>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let discovery = self.get_mut();
        loop {
            while let Some(change) = discovery.pending.pop_front() {
                match change {
                    PendingChange::Remove(key) => {
                        return Poll::Ready(Some(Ok(Change::Remove(key))));
                    }
                    PendingChange::Insert(pod) => {
                        let key = pod.key();
                        if let Some(service) = (discovery.make)(&pod) {
                            return Poll::Ready(Some(Ok(Change::Insert(key.clone(), service))));
                        }
                        discovery.pods.remove(&**key);
                    }
                }
            }
            match ready!(discovery.watch.poll_recv(context)) {
                Ok(event) => discovery.apply(event),
                Err(StoreError::Closed) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<F> fmt::Debug for Discovery<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("watch", &self.watch)
            .field("pods", &self.pods.len())
            .finish_non_exhaustive()
    }
}
