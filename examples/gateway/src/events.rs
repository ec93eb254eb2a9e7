//! `GET /events`: a watch as server-sent events.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use service_registry::changes::{Cursor, Selection, Watch};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::refusal::Refusal;
use crate::serve::stopped;
use crate::shared::Shared;
use crate::show;

/// First `state`, then `changes`; and `load` once a second.
///
/// The id of an event is the cursor of the watch, so a browser that comes back goes on behind what
/// it has seen. One that does not keep up is not waited for: what is pending is folded into its net
/// effect, and where the log does not reach back it is told the state.
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let seat = shared.watchers.clone().try_acquire_owned();
    let seat = seat.map_err(|_| Refusal::full("too many are following already", 5))?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let watch = match last.and_then(|id| id.parse::<Cursor>().ok()) {
        Some(cursor) => shared.registry.watch_from(Selection::All, cursor)?,
        None => shared.registry.watch(Selection::All)?,
    };
    let feed = Feed {
        watch,
        load: shared.load_updates.subscribe(),
        stop: shared.stop.subscribe(),
        _seat: seat,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok(event), feed))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Feed {
    watch: Watch,
    load: watch::Receiver<Arc<str>>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Feed {
    /// `None` when the gateway stops.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            () = stopped(&mut self.stop) => None,
            event = poll_fn(|context| self.watch.poll_recv(context)) => {
                let (name, said) = show::event(&event.ok()?);
                let event = Event::default().id(self.watch.cursor().to_string()).event(name);
                Some(event.data(said.to_string()))
            }
            Ok(()) = self.load.changed() => {
                let load = self.load.borrow_and_update().clone();
                Some(Event::default().event("load").data(load))
            }
        }
    }
}
