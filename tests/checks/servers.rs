//! Servers on loopback, each with a way of its own to answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

/// What a server does with the connection of this number.
pub(crate) type Answer = fn(usize, &mut TcpStream);

/// Answers until the test process ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    /// What keeps an address at which nobody listens.
    kept: Option<TcpSocket>,
}

impl Server {
    pub(crate) fn start(answer: Answer) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, SeqCst);
                let mut stream = stream.unwrap();
                thread::spawn(move || answer(number, &mut stream));
            }
        });
        Server {
            address,
            connections,
            kept: None,
        }
    }

    /// An address at which nobody listens, which nobody else gets.
    pub(crate) fn gone() -> Server {
        let kept = TcpSocket::new_v4().unwrap();
        kept.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Server {
            address: kept.local_addr().unwrap(),
            connections: Arc::default(),
            kept: Some(kept),
        }
    }
}

fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 256];
        match stream.read(&mut bytes) {
            Ok(1..) => request.extend_from_slice(&bytes),
            _ => break,
        }
        request.retain(|byte| *byte != 0);
    }
    String::from_utf8(request).unwrap()
}

fn answer(stream: &mut TcpStream, head: &str) {
    let request = request(stream);
    let is_well_formed = request.starts_with("GET /health?deep=1 HTTP/1.1\r\n")
        && request.contains("\r\nHost: 127.0.0.1:");
    let head = if is_well_formed {
        head
    } else {
        "HTTP/1.1 400 Bad Request\r\n\r\n"
    };
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes());
}

pub(crate) fn well(_: usize, stream: &mut TcpStream) {
    answer(stream, "HTTP/1.1 204 No Content\r\n\r\n");
}

/// In pieces, and with an answer before the answer.
pub(crate) fn in_pieces(_: usize, stream: &mut TcpStream) {
    for piece in [
        "HTTP/1.1 103 Early Hints\r\nLink",
        ": a\r\n\r\nHTTP/1.1 2",
        "00 OK\r\n",
    ] {
        answer_more(stream, piece);
    }
    hang(0, stream);
}

fn answer_more(stream: &mut TcpStream, piece: &str) {
    let _ = stream.write_all(piece.as_bytes());
    thread::sleep(Duration::from_millis(5));
}

pub(crate) fn failing(_: usize, stream: &mut TcpStream) {
    answer(stream, "HTTP/1.1 500 Internal Server Error\r\n\r\n");
}

pub(crate) fn redirecting(_: usize, stream: &mut TcpStream) {
    answer(stream, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n");
}

pub(crate) fn closing(_: usize, _: &mut TcpStream) {}

pub(crate) fn hang(_: usize, stream: &mut TcpStream) {
    // Until the client goes.
    let _ = stream.read(&mut [0; 1 << 12]);
    let _ = stream.read(&mut [0]);
}

/// Without end, and never a line of it.
pub(crate) fn babbling(_: usize, stream: &mut TcpStream) {
    while stream.write_all(&[b'x'; 1 << 10]).is_ok() {}
}

pub(crate) fn slow(_: usize, stream: &mut TcpStream) {
    thread::sleep(Duration::from_secs(2));
    well(0, stream);
}

/// Well and not, by turns.
pub(crate) fn flapping(number: usize, stream: &mut TcpStream) {
    if number.is_multiple_of(2) {
        well(0, stream);
    } else {
        failing(0, stream);
    }
}
