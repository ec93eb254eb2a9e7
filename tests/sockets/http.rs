//! HTTP/1.1: a `p2c` of tower over pooled clients of hyper.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::balance::p2c::Balance;
use tower::load::{CompleteOnResponse, PendingRequestsDiscover};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::fleet::{Call, Counts, Fleet, Protocol};

pub(crate) struct Http;

impl Protocol for Http {
    const FORWARDS: bool = false;
    // One for each request at a time, of which there are eight, and some that were begun
    // while another became free.
    const CONNECTIONS: usize = 24;

    async fn serve(listener: TcpListener, counts: Arc<Counts>) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counts.connections.fetch_add(1, SeqCst);
            let counts = counts.clone();
            let answer = service_fn(move |_: Request<Incoming>| {
                let counts = counts.clone();
                async move {
                    counts.request().await;
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer),
            );
        }
    }

    fn balance(fleet: &Fleet, timeout: Duration) -> Call {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let pods = fleet.discover(move |_, address| PodClient {
            address,
            client: client.clone(),
        });
        let pods = PendingRequestsDiscover::new(pods, CompleteOnResponse::default());
        let service = ServiceBuilder::new()
            .timeout(timeout)
            .buffer(64)
            .service(Balance::new(pods));
        Arc::new(move || {
            let answer = service.clone().oneshot(());
            answer
                .map(|answer| answer.map_err(|error: BoxError| format!("{error:?}")))
                .boxed()
        })
    }
}

/// A client of one pod, which is ready whatever becomes of its connections.
struct PodClient {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Service<()> for PodClient {
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let address = self.address;
        let uri = format!("http://{address}/").parse().unwrap();
        let answer = self.client.get(uri);
        let answered = async move {
            answer.await?.into_body().collect().await?;
            Ok(())
        };
        answered
            .map_err(move |error: BoxError| format!("{address}: {error:?}").into())
            .boxed()
    }
}
