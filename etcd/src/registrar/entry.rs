//! The requests of a registration. Each write is a transaction with a precondition.

use std::pin::pin;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Error as ClientError, PutOptions};
use etcd_client::{Txn, TxnOp, TxnOpResponse, TxnResponse};
use service_registry::{Provider, ServiceInfo, ServiceKey, ServiceStatus};

use tokio::time::{sleep, timeout};

use crate::call::retry;
use crate::keys::Prefix;
use crate::{Error, EtcdRevision, values, wire};

/// The key of a pod in etcd, and the client with which to access it.
pub(super) struct PodEntry {
    pub(super) client: Client,
    pub(super) key: String,
    pub(super) naming: Option<String>,
    pub(super) ttl: Duration,
    pub(super) patience: Duration,
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TxnOutcome {
    /// The precondition held, and the transaction was committed at this revision.
    Done(EtcdRevision),
    /// The key does not exist.
    Absent,
    /// The key does not satisfy the precondition; its lease and revisions.
    Other {
        lease: i64,
        created: EtcdRevision,
        modified: EtcdRevision,
    },
    /// The lease no longer exists.
    NoLease,
}

/// Returns the key in the layout of etcd's resolver. Encodes the names as in our own keys.
pub(super) fn naming_key(prefix: &str, pod: &ServiceKey) -> String {
    let any = Prefix::new("/").expect("it is not empty");
    format!("{prefix}{}", &any.key(pod)[1..])
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint<'a> {
    op: u8,
    addr: String,
    metadata: &'a std::collections::BTreeMap<String, String>,
}

/// Returns `host:port`, with an IPv6 address in brackets.
fn address(provider: &Provider) -> String {
    match provider.socket_addr() {
        Some(address) => address.to_string(),
        None => format!("{}:{}", provider.host, provider.port),
    }
}

impl PodEntry {
    /// Takes a new lease.
    pub(super) async fn grant(&self) -> Result<i64, Error> {
        let seconds = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let lease = self.client.lease_client();
        let granted = retry(self.patience, || {
            let mut lease = lease.clone();
            async move { lease.grant(seconds, None).await }
        });
        Ok(granted.await?.id())
    }

    /// Revokes a lease, which deletes its keys. Makes one attempt, because the lease also expires
    /// by itself.
    pub(super) async fn revoke(&self, lease: i64) {
        let mut client = self.client.lease_client();
        let _ = timeout(self.patience, client.revoke(lease)).await;
    }

    /// Renews a lease, and returns whether it exists. Returns an error if no answer comes.
    ///
    /// If the first answer takes long, sends a second request: the client may choose another member
    /// for it.
    pub(super) async fn renew(&self, lease: i64) -> Result<bool, ()> {
        let first = self.renew_once(lease);
        let second = async {
            sleep(self.patience / 3).await;
            self.renew_once(lease).await
        };
        let (mut first, mut second) = (pin!(first), pin!(second));
        tokio::select! {
            renewed = &mut first => match renewed {
                Ok(renewed) => Ok(renewed),
                Err(()) => second.await,
            },
            renewed = &mut second => match renewed {
                Ok(renewed) => Ok(renewed),
                Err(()) => first.await,
            },
        }
    }

    async fn renew_once(&self, lease: i64) -> Result<bool, ()> {
        let mut client = self.client.lease_client();
        match timeout(self.patience, client.keep_alive(lease)).await {
            Ok(Ok(_)) => Ok(true),
            // The client returns this error if the lease is gone, but also for other reasons.
            Ok(Err(ClientError::LeaseKeepAliveError(_))) => {
                match timeout(self.patience, client.time_to_live(lease, None)).await {
                    Ok(Ok(answer)) if answer.ttl() <= 0 => Ok(false),
                    _ => Err(()),
                }
            }
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// Writes the key if it does not exist.
    pub(super) async fn create(&self, info: &ServiceInfo, lease: i64) -> Result<TxnOutcome, Error> {
        let free = Compare::create_revision(self.key.as_str(), CompareOp::Equal, 0);
        self.change(free, self.puts(info, lease)).await
    }

    /// Writes the key if it has the lease `lease`.
    pub(super) async fn update(&self, info: &ServiceInfo, lease: i64) -> Result<TxnOutcome, Error> {
        self.change(self.is_of(lease), self.puts(info, lease)).await
    }

    /// Removes the key if it has the lease `lease`.
    pub(super) async fn remove(&self, lease: i64) -> Result<TxnOutcome, Error> {
        self.change(self.is_of(lease), self.deletes()).await
    }

    /// Removes the key if it has not changed since `modified`.
    pub(super) async fn remove_unchanged(
        &self,
        modified: EtcdRevision,
    ) -> Result<TxnOutcome, Error> {
        let same = Compare::mod_revision(self.key.as_str(), CompareOp::Equal, modified.to_wire());
        self.change(same, self.deletes()).await
    }

    /// Checks whether the key has the lease `lease`.
    pub(super) async fn check_lease(&self, lease: i64) -> Result<TxnOutcome, Error> {
        self.change(self.is_of(lease), Vec::new()).await
    }

    fn is_of(&self, lease: i64) -> Compare {
        Compare::lease(self.key.as_str(), CompareOp::Equal, lease)
    }

    fn puts(&self, info: &ServiceInfo, lease: i64) -> Vec<TxnOp> {
        let options = || Some(PutOptions::new().with_lease(lease));
        let mut ops = vec![TxnOp::put(
            self.key.as_str(),
            values::encode(info),
            options(),
        )];
        if let Some(naming) = &self.naming {
            let healthy = info.status() == ServiceStatus::Healthy;
            ops.push(match info.providers().first().filter(|_| healthy) {
                Some(provider) => {
                    let endpoint = Endpoint {
                        op: 0,
                        addr: address(provider),
                        metadata: info.metadata(),
                    };
                    let value = serde_json::to_vec(&endpoint).expect("texts serialize");
                    TxnOp::put(naming.as_str(), value, options())
                }
                None => TxnOp::delete(naming.as_str(), None),
            });
        }
        ops
    }

    fn deletes(&self) -> Vec<TxnOp> {
        let keys = std::iter::once(&self.key).chain(&self.naming);
        keys.map(|key| TxnOp::delete(key.as_str(), None)).collect()
    }

    async fn change(&self, compare: Compare, then: Vec<TxnOp>) -> Result<TxnOutcome, Error> {
        let get = TxnOp::get(self.key.as_str(), None);
        let txn = Txn::new().when([compare]).and_then(then).or_else([get]);
        let kv = self.client.kv_client();
        let answer = retry(self.patience, || {
            let (mut kv, txn) = (kv.clone(), txn.clone());
            async move { kv.txn(txn).await }
        });
        match answer.await {
            Ok(answer) => Ok(outcome(&answer)),
            Err(Error::Etcd(error)) if is_lease_not_found(&error) => Ok(TxnOutcome::NoLease),
            Err(error) => Err(error),
        }
    }
}

fn outcome(answer: &TxnResponse) -> TxnOutcome {
    if answer.succeeded() {
        return TxnOutcome::Done(wire::header(answer.header()).revision);
    }
    for response in answer.op_responses() {
        if let TxnOpResponse::Get(got) = response
            && let Some(kv) = got.kvs().first()
        {
            return TxnOutcome::Other {
                lease: kv.lease(),
                created: EtcdRevision::from_wire(kv.create_revision()),
                modified: EtcdRevision::from_wire(kv.mod_revision()),
            };
        }
    }
    TxnOutcome::Absent
}

/// Compares the numeric gRPC code.
fn is_lease_not_found(error: &ClientError) -> bool {
    const NOT_FOUND: i32 = 5;
    matches!(error, ClientError::GRpcStatus(status) if status.code() as i32 == NOT_FOUND)
}
