//! gRPC: the balanced channel of tonic.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use futures_util::{FutureExt, StreamExt};
use tokio::net::TcpListener;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::discover::Change as DiscoverChange;

use crate::fleet::{Call, Counts, Fleet, Protocol};

pub(crate) struct Grpc;

/// A service that needs no compiler of protocols: that of health checks.
struct HealthService(Arc<Counts>);

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.request().await;
        Ok(Response::new(HealthCheckResponse::default()))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }
}

impl Protocol for Grpc {
    const FORWARDS: bool = true;
    const CONNECTIONS: usize = 1;

    async fn serve(listener: TcpListener, counts: Arc<Counts>) {
        let counting = counts.clone();
        let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let connections = connections.inspect(move |_| {
            counting.connections.fetch_add(1, SeqCst);
        });
        let server = Server::builder().add_service(HealthServer::new(HealthService(counts)));
        server.serve_with_incoming(connections).await.unwrap();
    }

    fn balance(fleet: &Fleet, timeout: Duration) -> Call {
        let (channel, changes) = Channel::balance_channel(64);
        let pods = fleet
            .discover(|_, address| Endpoint::from_shared(format!("http://{address}")).unwrap());
        tokio::spawn(forward(pods, changes));
        let client = HealthClient::new(channel);
        Arc::new(move || {
            let mut client = client.clone();
            async move {
                let answer = client.check(HealthCheckRequest::default());
                match tokio::time::timeout(timeout, answer).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(status)) => Err(format!("{status:?}")),
                    Err(elapsed) => Err(format!("{elapsed:?}")),
                }
            }
            .boxed()
        })
    }
}

/// Hands what is told on to a channel, until one of the two ends.
async fn forward<K, E>(
    mut pods: impl Stream<Item = Result<DiscoverChange<K, Endpoint>, E>> + Unpin,
    changes: tokio::sync::mpsc::Sender<Change<K, Endpoint>>,
) {
    while let Some(Ok(change)) = pods.next().await {
        let change = match change {
            DiscoverChange::Insert(key, endpoint) => Change::Insert(key, endpoint),
            DiscoverChange::Remove(key) => Change::Remove(key),
        };
        if changes.send(change).await.is_err() {
            break;
        }
    }
}
