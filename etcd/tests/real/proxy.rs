//! A TCP proxy that delays, stalls, cuts and half-closes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Each piece comes later.
    Delay(Duration),
    /// Connections are taken, and nothing passes.
    Stall,
    /// Connections are closed as they come.
    Refuse,
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    mode: Mode,
    /// Connections of before are cut.
    cuts: u64,
    /// What the server says does not come any more: its side is closed.
    half_closes: u64,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let orders = watch::Sender::new(Orders {
            mode: Mode::Pass,
            cuts: 0,
            half_closes: 0,
        });
        let seen = orders.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    continue;
                };
                tokio::spawn(serve(near, port, seen.clone()));
            }
        });
        Proxy {
            port: own,
            orders,
            task,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn mode(&self, mode: Mode) {
        self.orders.send_modify(|orders| orders.mode = mode);
    }

    pub(crate) fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    pub(crate) fn half_close(&self) {
        self.orders.send_modify(|orders| orders.half_closes += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(near: TcpStream, port: u16, orders: watch::Receiver<Orders>) {
    if orders.borrow().mode == Mode::Refuse {
        return;
    }
    let far = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(far) = TcpStream::connect(far).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let up = tokio::spawn(pass(near_in, far_out, orders.clone(), false));
    pass(far_in, near_out, orders, true).await;
    // A half that was closed is no reason to close the other one; a cut ends both.
    let _ = up.await;
}

/// Passes on what comes, until it ends, or as it is told.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut orders: watch::Receiver<Orders>,
    is_down: bool,
) {
    let first = *orders.borrow();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let now = *orders.borrow_and_update();
        if now.cuts != first.cuts {
            return;
        }
        if is_down && now.half_closes != first.half_closes {
            let _ = to.shutdown().await;
            // The other direction goes on until it is cut.
            while orders.borrow_and_update().cuts == first.cuts {
                if orders.changed().await.is_err() {
                    return;
                }
            }
            return;
        }
        if now.mode == Mode::Stall {
            if orders.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            changed = orders.changed() => if changed.is_err() {
                return;
            },
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                if let Mode::Delay(delay) = now.mode {
                    sleep(delay).await;
                }
                let write = timeout(Duration::from_secs(5), to.write_all(&buffer[..count]));
                if !matches!(write.await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}

/// Several, before a cluster.
pub(crate) async fn proxies(ports: impl IntoIterator<Item = u16>) -> Arc<Vec<Proxy>> {
    let mut all = Vec::new();
    for port in ports {
        all.push(Proxy::to(port).await);
    }
    Arc::new(all)
}
