//! Watches as streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{Event, Watch};
use crate::model::error::{Result, StoreError};

macro_rules! stream {
    ($(#[$about:meta])* $name:ident, $poll:ident, $into:ident, $(#[$how:meta])*) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $name(Watch);

        impl $name {
            /// Returns the watch at its current position.
            pub fn into_watch(self) -> Watch {
                self.0
            }
        }

        impl Stream for $name {
            type Item = Result<Event>;

            fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
                self.get_mut().0.$poll(context).map(|event| match event {
                    Err(StoreError::Closed) => None,
                    event => Some(event),
                })
            }
        }

        impl Watch {
            $(#[$how])*
            pub fn $into(self) -> $name {
                $name(self)
            }
        }
    };
}

stream!(
    /// A stream of the events of [`Watch::poll_recv`]. It ends when the store is closed.
    EventStream,
    poll_recv,
    into_stream,
    /// Turns the watch into a stream of the events that [`recv`](Self::recv) returns. The
    /// stream ends when the store is closed.
);
stream!(
    /// A stream of the events of [`Watch::poll_recv_commit`]. It ends when the store is closed.
    CommitStream,
    poll_recv_commit,
    into_commit_stream,
    /// Turns the watch into a stream of the events that [`recv_commit`](Self::recv_commit)
    /// returns. The stream ends when the store is closed.
);
