//! The task of a replica: sends the requests of the reducer to etcd, and applies its commits to the
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
use super::status::ReplicaState;
use crate::EtcdRevision;
use crate::apply::{ApplyOutcome, Target};
use crate::backoff::Backoff;
use crate::call::{disconnected, no_answer, once, revision_error};
use crate::keys::Prefix;
use crate::message::{ListPage, WatchMessage};
use crate::reducer::{Commit, CommitContent, EtcdRequest, Reducer};
use crate::set_aside::SetAsideKeys;
use crate::state::Why;
use crate::version::reports_progress_in_order;
use crate::wire;

/// The target size of a page of a list, in bytes and in keys. With each page etcd counts all keys
/// that are left, so small pages cost it more than they are worth. If a page does not come in time,
/// the next request is for a smaller one, down to the minimum.
const PAGE: usize = 16 << 20;
const SMALLEST_PAGE: usize = 64 << 10;
const PAGE_KEYS: usize = 1 << 15;
const FIRST_KEYS: usize = 256;
/// How many keys are decoded before the task yields.
const KEYS_PER_PART: usize = 1_024;

pub(super) struct ReplicaDriver<S> {
    client: Client,
    prefix: Prefix,
    reducer: Reducer,
    target: Arc<Target<S>>,
    shared: Arc<ReplicaState>,
    heartbeat: Duration,
    patience: Duration,
    backoff: Backoff,
    /// The target size of the pages of this list, in bytes.
    page: usize,
    /// The number of keys to request per page.
    limit: usize,
    /// The next page, if the reducer asks for it. It is fetched while the previous one is decoded.
    prefetched: Option<PrefetchedPage>,
    /// When the watch last showed a sign of life.
    alive: Instant,
}

struct PrefetchedPage {
    from: Vec<u8>,
    at: Option<EtcdRevision>,
    page: Task<Result<ListPage, Why>>,
}

/// A task that is aborted when this is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Notifies the handle when the task ends, for any reason.
struct EndGuard(Arc<ReplicaState>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end(Why::Stopped);
    }
}

impl<S: RegistryStore + Send + Sync + 'static> ReplicaDriver<S> {
    pub(super) fn new(
        options: Builder,
        prefix: Prefix,
        store: S,
        shared: Arc<ReplicaState>,
        set_aside: SetAsideKeys,
    ) -> ReplicaDriver<S> {
        let most = options.longest_wait;
        ReplicaDriver {
            client: options.client,
            reducer: Reducer::new(prefix.clone(), set_aside),
            prefix,
            target: Arc::new(Target::new(store, options.source)),
            shared,
            heartbeat: options.heartbeat,
            patience: options.patience,
            backoff: Backoff::new(most / 100, most),
            page: PAGE,
            limit: FIRST_KEYS,
            prefetched: None,
            alive: Instant::now(),
        }
    }

    /// Runs until the store is closed, or the task is aborted.
    pub(super) async fn run(mut self) {
        let ending = EndGuard(self.shared.clone());
        loop {
            let done = match self.reducer.next_request() {
                EtcdRequest::List { from, at } => self.list(from, at).await,
                EtcdRequest::Prove { key, at } => self.prove(key, at).await,
                EtcdRequest::Watch { from } => self.watch(from).await,
            };
            match done {
                Ok(()) => {}
                Err(why @ Why::Store(_)) => {
                    self.shared.end(why);
                    break;
                }
                Err(why) => {
                    self.reducer.drop_partial_answers();
                    self.shared.set_trusted(None);
                    self.shared.stale(self.alive, &why);
                    sleep(self.backoff.next()).await;
                }
            }
        }
        drop(ending);
    }

    fn end_of_range(&self) -> Vec<u8> {
        let mut end = self.prefix.as_str().as_bytes().to_vec();
        // A prefix ends with a slash, so this cannot overflow.
        *end.last_mut().expect("a prefix is not empty") += 1;
        end
    }

    async fn list(&mut self, from: Vec<u8>, at: Option<EtcdRevision>) -> Result<(), Why> {
        let page = match self.prefetched.take() {
            Some(prefetched) if (&prefetched.from, prefetched.at) == (&from, at) => {
                let mut page = prefetched.page;
                let page = (&mut page.0).await;
                page.map_err(|error| Why::Disconnected(error.to_string()))?
            }
            _ => self.page(from, at).await,
        };
        let page = page.inspect_err(|why| {
            if *why == no_answer() {
                self.page = (self.page / 4).max(SMALLEST_PAGE);
                self.limit = (self.limit / 4).clamp(4, FIRST_KEYS);
            }
        })?;
        self.backoff.reset();
        let bytes = page
            .pairs
            .iter()
            .map(|pair| pair.key.len() + pair.value.len());
        let mean = bytes.sum::<usize>() / page.pairs.len().max(1);
        self.limit = (self.page / mean.max(1)).clamp(4, PAGE_KEYS);
        if let Some(last) = page.pairs.last().filter(|_| page.more) {
            let from = [&*last.key, &[0]].concat();
            let at = at.or(Some(page.header.revision));
            let page = Task(tokio::spawn(self.page(from.clone(), at)));
            self.prefetched = Some(PrefetchedPage { from, at, page });
        }
        for part in parts(page) {
            if let Some(commit) = self.reducer.on_page(part)? {
                self.page = PAGE;
                self.commit(commit).await?;
                self.shared.counts.lists.fetch_add(1, Relaxed);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Requests a page.
    fn page(
        &self,
        from: Vec<u8>,
        at: Option<EtcdRevision>,
    ) -> impl Future<Output = Result<ListPage, Why>> + Send + use<S> {
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

    async fn prove(&mut self, key: Vec<u8>, at: EtcdRevision) -> Result<(), Why> {
        let mut kv = self
            .client
            .kv_client()
            .max_decoding_message_size(usize::MAX);
        let options = GetOptions::new().with_revision(at.to_wire());
        let all = options
            .clone()
            .with_range(self.end_of_range())
            .with_count_only();
        let asked = timeout(self.patience, async {
            let page = wire::page(kv.get(key, Some(options)).await?);
            let all = wire::page(kv.get(self.prefix.as_str(), Some(all)).await?);
            Ok(ListPage {
                count: all.count,
                ..page
            })
        });
        match asked.await {
            Ok(Ok(page)) => self.reducer.on_proof(&page),
            Ok(Err(error)) => Err(match revision_error(&error) {
                Some(why) => self.reducer.on_proof_refused(why),
                None => disconnected(&error),
            }),
            Err(_) => Err(no_answer()),
        }
    }

    /// Applies one commit to the store, and then reports its revision.
    async fn commit(&mut self, commit: Commit) -> Result<(), Why> {
        let Commit { revision, content } = commit;
        let applied = match content {
            // The time grows with the number of pods.
            CommitContent::List { .. } => {
                let target = self.target.clone();
                let applied = tokio::task::spawn_blocking(move || target.apply(content)).await;
                applied.map_err(|panic| Why::Store(panic.to_string()))?
            }
            CommitContent::Changes(_) => self.target.apply(content),
        };
        let ApplyOutcome { skipped } =
            applied.map_err(|error: StoreError| Why::Store(error.to_string()))?;
        let counts = &self.shared.counts;
        counts.skipped.fetch_add(skipped as u64, Relaxed);
        counts.commits.fetch_add(1, Relaxed);
        self.shared.applied(self.reducer.epoch(), revision);
        Ok(())
    }

    /// Follows a watch until it ends. Always returns an error.
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
        // The first message names the member.
        let (member, of_member) = tokio::sync::oneshot::channel();
        let mut member = Some(member);
        let mut trust = pin!(is_trusted(self.client.clone(), of_member));
        let mut is_known = false;
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
                    self.handle_message(message, trusted).await?;
                    (asked, due) = (false, Instant::now() + self.heartbeat);
                    tokio::task::consume_budget().await;
                }
                is_trusted = &mut trust, if !is_known => {
                    (is_known, trusted) = (true, is_trusted);
                    self.shared.set_trusted(Some(trusted));
                }
                () = self.shared.progress_wanted.notified() => {
                    // If there is no room, earlier progress requests are still on their way.
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

    async fn handle_message(&mut self, message: WatchMessage, trusted: bool) -> Result<(), Why> {
        self.alive = Instant::now();
        let (created, ends) = (message.created, message.canceled.is_some());
        let outcome = self.reducer.on_message(message, trusted);
        for commit in outcome.commits {
            self.commit(commit).await?;
            // One answer may have thousands of commits.
            tokio::task::consume_budget().await;
        }
        if let Some(why) = outcome.end {
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

/// Splits a page into smaller ones.
fn parts(page: ListPage) -> impl Iterator<Item = ListPage> {
    let ListPage {
        header,
        pairs,
        mut count,
        more,
    } = page;
    let mut pairs = pairs.into_iter();
    let mut is_first = true;
    std::iter::from_fn(move || {
        let part: Vec<_> = pairs.by_ref().take(KEYS_PER_PART).collect();
        // A page without pairs is one part.
        if part.is_empty() && !std::mem::take(&mut is_first) {
            return None;
        }
        is_first = false;
        let before = count;
        count = count.saturating_sub(part.len() as u64);
        let more = more || pairs.len() > 0;
        Some(ListPage {
            header,
            pairs: part,
            count: before,
            more,
        })
    })
}

/// Returns whether the member that serves the watch reports progress in order. The client chooses
/// any member for a request, and this needs the same one: of five, 64 attempts miss it once in a
/// million times.
async fn is_trusted(client: Client, member: tokio::sync::oneshot::Receiver<u64>) -> bool {
    let Ok(member) = member.await else {
        return false;
    };
    let mut failures = 0;
    for _ in 0..64 {
        let mut maintenance = client.maintenance_client();
        let Ok(Ok(status)) = timeout(Duration::from_secs(1), maintenance.status()).await else {
            failures += 1;
            if failures == 8 {
                break;
            }
            continue;
        };
        if wire::header(status.header()).member == member {
            return reports_progress_in_order(status.version());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Header, KeyValue};

    #[test]
    fn a_page_in_parts_is_the_same_page() {
        for (len, left) in [
            (0, 0),
            (1, 0),
            (KEYS_PER_PART, 3),
            (KEYS_PER_PART + 1, 0),
            (3 * KEYS_PER_PART, 9),
        ] {
            let pair = |at: usize| KeyValue {
                key: at.to_be_bytes().into(),
                value: Vec::new(),
                created: 1.into(),
                modified: 1.into(),
                version: 1,
            };
            let page = ListPage {
                header: Header::default(),
                pairs: (0..len).map(pair).collect(),
                count: (len + left) as u64,
                more: left > 0,
            };
            let parts: Vec<ListPage> = parts(page.clone()).collect();
            assert_eq!(parts.len(), len.div_ceil(KEYS_PER_PART).max(1));
            let mut rest = page.count;
            for (at, part) in parts.iter().enumerate() {
                assert_eq!(part.count, rest);
                rest -= part.pairs.len() as u64;
                assert_eq!(part.more, rest > 0, "{len} {left} {at}");
            }
            let pairs: Vec<KeyValue> = parts.into_iter().flat_map(|part| part.pairs).collect();
            assert_eq!(pairs, page.pairs);
        }
    }
}
