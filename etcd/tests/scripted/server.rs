//! A server that speaks etcd's protocol, and says what a test tells it to.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::Client;
use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbCompactionRequest, PbCompactionResponse,
    PbDefragmentRequest, PbDefragmentResponse, PbDeleteRequest, PbDeleteResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbEvent, PbHashKvRequest, PbHashKvResponse,
    PbHashRequest, PbHashResponse, PbKeyValue, PbKvServer, PbKvService, PbMaintenanceServer,
    PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbResponseHeader, PbSnapshotRequest,
    PbSnapshotResponse, PbStatusRequest, PbStatusResponse, PbTxnRequest, PbTxnResponse,
    PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchServer, PbWatchService,
};
use service_registry::{ServiceInfo, ServiceRegistration};
use service_registry_etcd::keys::Prefix;
use service_registry_etcd::{connect_options, values};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const PREFIX: &str = "/pods/";
const SOON: Duration = Duration::from_secs(10);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What it is now.
pub(crate) struct Now {
    pub(crate) header: PbResponseHeader,
    pub(crate) pairs: Vec<PbKeyValue>,
    /// What it has told by watches: what it says that it was.
    pub(crate) past: Vec<PbKeyValue>,
    pub(crate) version: String,
    /// Who answers for its state, if not the member of the header.
    pub(crate) other_member: Option<u64>,
    /// The next list is empty, whatever there is.
    pub(crate) empty_lists: usize,
    pub(crate) lists: usize,
    pub(crate) puts: usize,
}

/// A watch that a client began.
pub(crate) struct Watch {
    pub(crate) from: i64,
    requests: Streaming<PbWatchRequest>,
    answers: mpsc::Sender<Result<PbWatchResponse, Status>>,
    now: Arc<Mutex<Now>>,
}

impl Watch {
    pub(crate) async fn send(&self, answer: PbWatchResponse) {
        // Whether anybody listens is the client's business.
        let _ = self.answers.send(Ok(answer)).await;
    }

    pub(crate) async fn created(&self) {
        let created = true;
        self.send(PbWatchResponse {
            created,
            ..self.answer()
        })
        .await;
    }

    /// An answer with the present header, and nothing else.
    pub(crate) fn answer(&self) -> PbWatchResponse {
        PbWatchResponse {
            header: Some(self.now.lock().unwrap().header),
            ..PbWatchResponse::default()
        }
    }

    pub(crate) async fn events(&self, events: Vec<PbEvent>) {
        let told = |kv: &PbKeyValue| kv.key.starts_with(PREFIX.as_bytes());
        for event in &events {
            let past = &mut self.now.lock().unwrap().past;
            if let Some(kv) = event.kv.as_ref().filter(|kv| told(kv) && event.r#type < 2) {
                past.retain(|before| before.key != kv.key);
                past.extend((event.r#type == 0).then(|| kv.clone()));
            }
        }
        self.send(PbWatchResponse {
            events,
            ..self.answer()
        })
        .await;
    }

    /// Waits until it is asked for its progress.
    pub(crate) async fn asked_for_progress(&mut self) {
        let asked = async {
            while let Ok(Some(request)) = self.requests.message().await {
                if let Some(PbWatchRequestUnion::ProgressRequest(_)) = request.request_union {
                    return true;
                }
            }
            false
        };
        assert!(timeout(SOON, asked).await.expect("it asks"));
    }

    /// Whether the client has given it up.
    pub(crate) async fn is_given_up(&self) -> bool {
        timeout(SOON, self.answers.closed()).await.is_ok()
    }
}

/// The server.
pub(crate) struct Server {
    pub(crate) now: Arc<Mutex<Now>>,
    watches: mpsc::Receiver<Watch>,
    port: u16,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Service {
    now: Arc<Mutex<Now>>,
    watches: mpsc::Sender<Watch>,
}

impl Server {
    pub(crate) fn start(version: &str, revision: i64) -> Server {
        let header = PbResponseHeader {
            cluster_id: 7,
            member_id: 1,
            revision,
            raft_term: 2,
        };
        let now = Arc::new(Mutex::new(Now {
            header,
            pairs: Vec::new(),
            past: Vec::new(),
            version: version.into(),
            other_member: None,
            empty_lists: 0,
            lists: 0,
            puts: 0,
        }));
        let (sender, watches) = mpsc::channel(16);
        let service = Service {
            now: now.clone(),
            watches: sender,
        };
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = incoming.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let served = tonic::transport::Server::builder()
                .add_service(PbKvServer::new(service.clone()))
                .add_service(PbMaintenanceServer::new(service.clone()))
                .add_service(PbWatchServer::new(service))
                .serve_with_incoming(incoming);
            served.await.unwrap();
        });
        Server {
            now,
            watches,
            port,
            task,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        let endpoint = format!("127.0.0.1:{}", self.port);
        Client::connect([endpoint], Some(connect_options()))
            .await
            .unwrap()
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().unwrap());
    }

    /// The next watch that a client begins.
    pub(crate) async fn watch(&mut self) -> Watch {
        timeout(SOON, self.watches.recv())
            .await
            .expect("it watches")
            .unwrap()
    }

    /// The watches that are begun within a time, each dropped at once.
    pub(crate) async fn count_watches(&mut self, within: Duration) -> usize {
        let mut count = 0;
        let _ = timeout(within, async {
            while let Some(watch) = self.watches.recv().await {
                watch.created().await;
                count += 1;
            }
        })
        .await;
        count
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn pod(name: &str, zone: &str) -> ServiceInfo {
    let registration = ServiceRegistration::new("web", name).with_zone(zone);
    ServiceInfo::new(registration).unwrap()
}

pub(crate) fn pair(name: &str, created: i64, modified: i64) -> PbKeyValue {
    let info = pod(name, &modified.to_string());
    PbKeyValue {
        key: Prefix::new(PREFIX).unwrap().key(info.key()).into_bytes(),
        value: values::encode(&info),
        create_revision: created,
        mod_revision: modified,
        version: 0,
        lease: 0,
    }
}

pub(crate) fn put(name: &str, created: i64, modified: i64) -> PbEvent {
    PbEvent {
        r#type: 0,
        kv: Some(pair(name, created, modified)),
        prev_kv: None,
    }
}

pub(crate) fn delete(name: &str, modified: i64) -> PbEvent {
    let kv = PbKeyValue {
        value: Vec::new(),
        ..pair(name, 0, modified)
    };
    PbEvent {
        r#type: 1,
        kv: Some(kv),
        prev_kv: None,
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn not_in_the_script<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the script"))
}

#[tonic::async_trait]
impl PbKvService for Service {
    async fn range(&self, request: Request<PbRangeRequest>) -> Answer<PbRangeResponse> {
        let request = request.into_inner();
        let mut now = self.now.lock().unwrap();
        let is_list = !request.range_end.is_empty();
        let pairs = if request.revision > 0 {
            &now.past
        } else {
            &now.pairs
        };
        let mut kvs: Vec<PbKeyValue> = pairs
            .iter()
            .filter(|pair| {
                if is_list {
                    pair.key >= request.key
                } else {
                    pair.key == request.key
                }
            })
            .cloned()
            .collect();
        if is_list && !request.count_only {
            now.lists += 1;
            if now.empty_lists > 0 {
                now.empty_lists -= 1;
                kvs.clear();
            }
            // No list here has a second page.
            now.past.clone_from(&kvs);
        }
        Ok(Response::new(PbRangeResponse {
            header: Some(now.header),
            count: i64::try_from(kvs.len()).unwrap(),
            more: false,
            kvs,
        }))
    }

    type RangeStreamStream = Answers<PbRangeStreamResponse>;

    async fn range_stream(&self, _: Request<PbRangeRequest>) -> Answer<Self::RangeStreamStream> {
        not_in_the_script()
    }

    async fn put(&self, _: Request<PbPutRequest>) -> Answer<PbPutResponse> {
        let mut now = self.now.lock().unwrap();
        now.puts += 1;
        now.header.revision += 1;
        Ok(Response::new(PbPutResponse {
            header: Some(now.header),
            prev_kv: None,
        }))
    }

    async fn delete_range(&self, _: Request<PbDeleteRequest>) -> Answer<PbDeleteResponse> {
        not_in_the_script()
    }

    async fn txn(&self, _: Request<PbTxnRequest>) -> Answer<PbTxnResponse> {
        not_in_the_script()
    }

    async fn compact(&self, _: Request<PbCompactionRequest>) -> Answer<PbCompactionResponse> {
        not_in_the_script()
    }
}

#[tonic::async_trait]
impl PbWatchService for Service {
    type WatchStream = Answers<PbWatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Answer<Self::WatchStream> {
        let mut requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(64);
        let (now, watches) = (self.now.clone(), self.watches.clone());
        tokio::spawn(async move {
            let Ok(Some(first)) = requests.message().await else {
                return;
            };
            let Some(PbWatchRequestUnion::CreateRequest(create)) = first.request_union else {
                return;
            };
            assert_eq!((create.key, create.fragment), (PREFIX.into(), true));
            let from = create.start_revision;
            let _ = watches
                .send(Watch {
                    from,
                    requests,
                    answers,
                    now,
                })
                .await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for Service {
    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Answer<PbAlarmResponse> {
        not_in_the_script()
    }

    async fn status(&self, _: Request<PbStatusRequest>) -> Answer<PbStatusResponse> {
        let now = self.now.lock().unwrap();
        let mut header = now.header;
        header.member_id = now.other_member.unwrap_or(header.member_id);
        Ok(Response::new(PbStatusResponse {
            header: Some(header),
            version: now.version.clone(),
            ..PbStatusResponse::default()
        }))
    }

    async fn defragment(&self, _: Request<PbDefragmentRequest>) -> Answer<PbDefragmentResponse> {
        not_in_the_script()
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Answer<PbHashResponse> {
        not_in_the_script()
    }

    async fn hash_kv(&self, _: Request<PbHashKvRequest>) -> Answer<PbHashKvResponse> {
        not_in_the_script()
    }

    type SnapshotStream = Answers<PbSnapshotResponse>;

    async fn snapshot(&self, _: Request<PbSnapshotRequest>) -> Answer<Self::SnapshotStream> {
        not_in_the_script()
    }

    async fn move_leader(&self, _: Request<PbMoveLeaderRequest>) -> Answer<PbMoveLeaderResponse> {
        not_in_the_script()
    }

    async fn downgrade(&self, _: Request<PbDowngradeRequest>) -> Answer<PbDowngradeResponse> {
        not_in_the_script()
    }
}
