//! [`serve`]: HTTP over a listener, with bounds on what strangers can hold.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// Who connects and sends nothing does not stay longer.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Who reads nothing of an answer does not stay longer, either.
const WRITES_WITHIN: Duration = Duration::from_secs(10);
/// What is kept of an answer for a connection that takes it slowly.
const BUFFER: usize = 64 << 10;
/// More connections than that wait.
const CONNECTIONS: usize = 2_048;

/// Serves until it is told to stop, and then until what is under way has been answered. Where this
/// is dropped, its connections are closed at once.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    service_for: impl Fn(SocketAddr) -> S,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    let stops = stop.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                let Ok((stream, peer)) = accepted else {
                    // Such as too many open files: others have to be closed first.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let mut stream = TimeoutStream::new(stream);
                stream.set_write_timeout(Some(WRITES_WITHIN));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_WITHIN)
                    .max_buf_size(BUFFER)
                    .serve_connection(TokioIo::new(Box::pin(stream)), service_for(peer));
                let mut stop = stops.clone();
                connections.spawn(async move {
                    let mut connection = pin!(connection);
                    tokio::select! {
                        _ = &mut connection => return,
                        () = stopped(&mut stop) => {}
                    }
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                });
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until it is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Where nobody can tell any more, it is over, too.
    let _ = stop.wait_for(|stops| *stops).await;
}
