//! The task: it asks etcd what the reducer wants to know, and brings what comes of it into the
//! store.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, WatchOptions};
use service_registry::{RegistryStore, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::builder::Builder;
use super::status::Shared;
use crate::EtcdRevision;
use crate::apply::{Applied, Target};
use crate::aside::Aside;
use crate::backoff::Backoff;
use crate::call::{disconnected, once};
use crate::keys::Prefix;
use crate::message::{Message, Page};
use crate::reducer::{Ask, Commit, Reducer, What};
use crate::state::Why;
use crate::version::tells_progress_in_order;
use crate::wire;

/// How large a page of a list is meant to be, in bytes.
const PAGE: usize = 4 << 20;

pub(super) struct Driver<S> {
    client: Client,
    prefix: Prefix,
    reducer: Reducer,
    target: Arc<Target<S>>,
    shared: Arc<Shared>,
    heartbeat: Duration,
    patience: Duration,
    backoff: Backoff,
    /// How many keys to ask for in a page.
    limit: usize,
    /// The page that comes next, if the reducer asks for it: it is on its way while the one before
    /// it is decoded.
    ahead: Option<Ahead>,
    /// When the watch last showed a sign of life.
    alive: Instant,
}

struct Ahead {
    from: Vec<u8>,
    at: Option<EtcdRevision>,
    page: Task<Result<Page, Why>>,
}

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the handle when the task has ended in whatever way.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Why::Stopped);
    }
}

impl<S: RegistryStore + Send + Sync + 'static> Driver<S> {
    pub(super) fn new(
        options: Builder,
        prefix: Prefix,
        store: S,
        shared: Arc<Shared>,
        aside: Aside,
    ) -> Driver<S> {
        let most = options.longest_wait;
        Driver {
            client: options.client,
            reducer: Reducer::new(prefix.clone(), aside),
            prefix,
            target: Arc::new(Target::new(store, options.source)),
            shared,
            heartbeat: options.heartbeat,
            patience: options.patience,
            backoff: Backoff::new(most / 100, most),
            limit: 256,
            ahead: None,
            alive: Instant::now(),
        }
    }

    /// Until the store is closed, or the task is aborted.
    pub(super) async fn run(mut self) {
        let ending = Ending(self.shared.clone());
        loop {
            let done = match self.reducer.ask() {
                Ask::List { from, at } => self.list(from, at).await,
                Ask::Prove { key } => self.prove(key).await,
                Ask::Watch { from } => self.watch(from).await,
            };
            match done {
                Ok(()) => {}
                Err(why @ Why::Store(_)) => {
                    self.shared.end(why);
                    break;
                }
                Err(why) => {
                    self.reducer.broken();
                    self.shared.trust(false);
                    self.shared.stale(self.alive, &why);
                    sleep(self.backoff.next()).await;
                }
            }
        }
        drop(ending);
    }

    fn end_of_range(&self) -> Vec<u8> {
        let mut end = self.prefix.as_str().as_bytes().to_vec();
        // A prefix ends with a slash.
        *end.last_mut().expect("a prefix is not empty") += 1;
        end
    }

    async fn list(&mut self, from: Vec<u8>, at: Option<EtcdRevision>) -> Result<(), Why> {
        let page = match self.ahead.take() {
            Some(ahead) if (&ahead.from, ahead.at) == (&from, at) => {
                let mut page = ahead.page;
                let page = (&mut page.0).await;
                page.map_err(|error| Why::Disconnected(error.to_string()))??
            }
            _ => self.page(from, at).await?,
        };
        self.backoff.reset();
        let bytes = page
            .pairs
            .iter()
            .map(|pair| pair.key.len() + pair.value.len());
        let mean = bytes.sum::<usize>() / page.pairs.len().max(1);
        self.limit = (PAGE / mean.max(1)).clamp(4, 8_192);
        if let Some(last) = page.pairs.last().filter(|_| page.more) {
            let from = [&*last.key, &[0]].concat();
            let at = at.or(Some(page.header.revision));
            let page = Task(tokio::spawn(self.page(from.clone(), at)));
            self.ahead = Some(Ahead { from, at, page });
        }
        if let Some(commit) = self.reducer.listed(page)? {
            self.commit(commit).await?;
            self.shared.counts.lists.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Asks for a page.
    fn page(
        &self,
        from: Vec<u8>,
        at: Option<EtcdRevision>,
    ) -> impl Future<Output = Result<Page, Why>> + Send + use<S> {
        let mut options = GetOptions::new()
            .with_range(self.end_of_range())
            .with_limit(i64::try_from(self.limit).unwrap_or(i64::MAX));
        if let Some(at) = at {
            options = options.with_revision(at.to_wire());
        }
        let mut kv = self
            .client
            .kv_client()
            .max_decoding_message_size(usize::MAX);
        let patience = self.patience;
        async move {
            Ok(wire::page(
                once(patience, kv.get(from, Some(options))).await?,
            ))
        }
    }

    async fn prove(&mut self, key: Vec<u8>) -> Result<(), Why> {
        let mut kv = self
            .client
            .kv_client()
            .max_decoding_message_size(usize::MAX);
        let page = wire::page(once(self.patience, kv.get(key, None)).await?);
        self.reducer.proven(&page)
    }

    /// Brings one commit into the store, and then tells that it is there.
    async fn commit(&mut self, commit: Commit) -> Result<(), Why> {
        let Commit { revision, what } = commit;
        let applied = match what {
            // It takes as long as there are pods.
            What::List { .. } => {
                let target = self.target.clone();
                let applied = tokio::task::spawn_blocking(move || target.apply(what)).await;
                applied.map_err(|panic| Why::Store(panic.to_string()))?
            }
            What::Changes(_) => self.target.apply(what),
        };
        let Applied { skipped } =
            applied.map_err(|error: StoreError| Why::Store(error.to_string()))?;
        let counts = &self.shared.counts;
        counts.skipped.fetch_add(skipped as u64, Relaxed);
        counts.commits.fetch_add(1, Relaxed);
        self.shared.applied(self.reducer.epoch(), revision);
        Ok(())
    }

    /// Follows a watch until it ends; always with a reason.
    async fn watch(&mut self, from: EtcdRevision) -> Result<(), Why> {
        let options = WatchOptions::new()
            .with_range(self.end_of_range())
            .with_start_revision(from.to_wire())
            .with_fragment()
            .with_progress_notify();
        let mut client = self
            .client
            .watch_client()
            .max_decoding_message_size(usize::MAX);
        let begun = client.watch(self.prefix.as_str(), Some(options));
        let (mut requests, mut answers) = once(self.patience, begun).await?.split();
        self.shared.counts.watches.fetch_add(1, Relaxed);
        let mut trusted = false;
        // Which member it is, the first message tells.
        let (member, of_member) = tokio::sync::oneshot::channel();
        let mut member = Some(member);
        let mut trust = pin!(is_trusted(self.client.clone(), of_member));
        let mut knows = false;
        let mut asked = false;
        let mut due = Instant::now() + self.heartbeat;
        loop {
            tokio::select! {
                answer = answers.message() => {
                    let answer = answer.map_err(|error| disconnected(&error))?;
                    let answer = answer.ok_or_else(|| Why::Disconnected("the watch ended".into()))?;
                    let message = wire::message(answer)?;
                    if let Some(member) = member.take() {
                        let _ = member.send(message.header.member);
                    }
                    self.told(message, trusted).await?;
                    (asked, due) = (false, Instant::now() + self.heartbeat);
                    tokio::task::consume_budget().await;
                }
                is_trusted = &mut trust, if !knows => {
                    (knows, trusted) = (true, is_trusted);
                    self.shared.trust(trusted);
                }
                () = self.shared.poke.notified() => {
                    // Where there is no room, questions are on their way.
                    let _ = timeout(Duration::ZERO, requests.request_progress()).await;
                }
                () = sleep_until(due.into()) => {
                    if asked {
                        return Err(Why::Silent);
                    }
                    let _ = timeout(Duration::ZERO, requests.request_progress()).await;
                    (asked, due) = (true, Instant::now() + self.patience);
                }
            }
        }
    }

    async fn told(&mut self, message: Message, trusted: bool) -> Result<(), Why> {
        self.alive = Instant::now();
        let (created, ends) = (message.created, message.canceled.is_some());
        let told = self.reducer.told(message, trusted);
        for commit in told.commits {
            self.commit(commit).await?;
        }
        if let Some(why) = told.end {
            return Err(why);
        }
        self.shared
            .applied(self.reducer.epoch(), self.reducer.applied());
        if created && !ends {
            self.shared.synced();
        } else {
            self.backoff.reset();
        }
        Ok(())
    }
}

/// Whether the member that a watch is of tells progress in order. The client asks any member: it
/// has to be the same one.
async fn is_trusted(client: Client, member: tokio::sync::oneshot::Receiver<u64>) -> bool {
    let Ok(member) = member.await else {
        return false;
    };
    for _ in 0..8 {
        let mut maintenance = client.maintenance_client();
        let Ok(Ok(status)) = timeout(Duration::from_secs(1), maintenance.status()).await else {
            continue;
        };
        if wire::header(status.header()).member == member {
            return tells_progress_in_order(status.version());
        }
    }
    false
}
