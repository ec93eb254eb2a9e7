//! A watch as the discovery of a balancer: [`tower::discover`](::tower::discover), and so
//! `tower::balance::p2c` and the balanced channel of tonic.
//!
//! [`Discovery`] follows a [`Watch`] and tells which pods to balance over. For a balancer of
//! tower it is all that is needed:
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
//! For tonic, it is handed on to the channel, which makes connections of endpoints by itself (as
//! `tests/sockets/grpc.rs` in the repository does; tonic is no dependency of this crate):
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
//! That channel reads what it is told when it is called. While nobody calls, changes wait in its
//! queue, and behind that in the watch, which folds them: let the capacity hold those of a
//! whole rollout, two for each pod, or the first calls go by what is old. A `p2c` over lazy
//! channels, `Some(endpoint.connect_lazy())`, reads all there is before each call.
//!
//! # What to give the balancer
//!
//! - **A service that is never done for.** `p2c` drops a service whose `poll_ready` fails, and
//!   has no way to ask for it again. Give it one that connects anew by itself, and tells of
//!   a connection that failed in the answer: a client with a pool, as `hyper_util`'s, or an
//!   endpoint of tonic. (`tower::reconnect` of tower 0.5 answers with the error of an attempt
//!   that failed although a later one has succeeded.)
//! - **A time-out around the whole.** A name without pods is not an error, and the
//!   balancer waits until there is one. A time-out of an endpoint does not count then, since
//!   there is no endpoint: put it around the balancer,
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

/// The pods that a watch tells of, as what a balancer of tower balances over.
///
/// It is a [`Stream`] of [`Change`]s, and so a [`Discover`](::tower::discover::Discover).
///
/// # Who is in
///
/// A pod is in while it is [`Healthy`](ServiceStatus::Healthy) and its weight is not 0 (other
/// weights are not told: `p2c` knows none). One that becomes
/// [`Unknown`](ServiceStatus::Unknown) while it is in stays, since nothing bad is known of it;
/// one that is registered anew waits until it is healthy. Who checks no health asks for
/// [`with_unchecked`](Self::with_unchecked).
///
/// A pod that stays in is told again only where its incarnation or its
/// [`providers`](ServiceInfo::providers) changed: no health check, and no change of its
/// metadata, costs a connection. It is removed before it is inserted again: a balancer would
/// call the old service once more otherwise. Of one event all removals come before all
/// insertions.
///
/// # How it ends, and when nobody asks
///
/// A store that is closed ends the stream, and the balancer goes on with the pods that it has. A
/// watch that has fallen behind is no error: what it missed comes as the difference.
///
/// # Costs
///
/// An event costs O(what changed), the state that a watch begins with or that brings what it missed
/// O(pods), and each change that is told O(1) and what `make` does. It keeps a record of each pod
/// that is in.
///
/// A discovery that nobody polls holds the keys that it has told, and nothing grows: the log that
/// the watch reads is the store's, and [has a bound](crate::changes::LogOptions).
pub struct Discovery<F> {
    watch: Watch,
    make: F,
    takes_unchecked: bool,
    /// Who is in, or will be when `steps` are done.
    pods: HashMap<ServiceKey, ServiceInfo, RandomState>,
    /// What is to be told of the last event: removals, then insertions.
    steps: VecDeque<Step>,
}

enum Step {
    Remove(ServiceKey),
    Insert(ServiceInfo),
}

impl<F> Discovery<F> {
    /// The pods of `watch`. `make` makes the service of a pod, or nothing where it has none
    /// for this caller, no provider of the right protocol for one; then it is asked again when
    /// the pod has changed. It should not connect, but have the service do so when it is used.
    pub fn new<S>(watch: Watch, make: F) -> Discovery<F>
    where
        F: FnMut(&ServiceInfo) -> Option<S>,
    {
        Discovery {
            watch,
            make,
            takes_unchecked: false,
            pods: HashMap::default(),
            steps: VecDeque::new(),
        }
    }

    /// Takes pods whose health is [`Unknown`](ServiceStatus::Unknown) from the start, for those
    /// who check none.
    #[must_use]
    pub fn with_unchecked(mut self) -> Discovery<F> {
        self.takes_unchecked = true;
        self
    }

    /// What it follows.
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
                    self.steps.push_front(Step::Remove(key));
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
            self.steps.push_back(Step::Insert(pod));
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        if let Some((key, _)) = self.pods.remove_entry(&**key) {
            // `steps` were done before this event, so that what is behind it is new.
            self.steps.push_front(Step::Remove(key));
        }
    }
}

// `make` is called, and never pinned.
impl<F> Unpin for Discovery<F> {}

impl<F, S> Stream for Discovery<F>
where
    F: FnMut(&ServiceInfo) -> Option<S>,
{
    /// An error is one of a store that cannot be read, and of a poll inside a read closure of a
    /// store that refuses reads there.
    type Item = Result<Change<ServiceKey, S>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let discovery = self.get_mut();
        loop {
            while let Some(step) = discovery.steps.pop_front() {
                match step {
                    Step::Remove(key) => return Poll::Ready(Some(Ok(Change::Remove(key)))),
                    Step::Insert(pod) => {
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
