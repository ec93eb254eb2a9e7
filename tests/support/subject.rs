//! Stores under test: how threads call them, and how their answers become observations.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use service_registry::changes::{self, Selection, Watch};
use service_registry::{RegistryStore, StoreError};

use super::failure::Failure;
use super::followed_state::FollowedState;
use super::history::{Action, PollAnswer, PollMode, Seen, WatchReport};
use super::model::{Answer, GROUPS, ask};
use super::observe_view;

/// The time that a lingering read stays in its closure.
const LINGER: Duration = Duration::from_micros(20);

/// A store under test: how threads call it, and how their answers become observations.
pub(crate) trait TestedStore: Sync {
    type Store: RegistryStore;
    /// The state of one thread, such as a reader handle.
    type Handle: Send;
    /// The immediate answer of a call; [`learn`](Self::learn) reads its content later.
    type Raw: Send;

    fn store(&self) -> &Self::Store;
    fn handle(&self) -> Self::Handle;
    fn perform(&self, handle: &mut Self::Handle, action: &Action) -> Self::Raw;
    fn learn(raw: Self::Raw) -> Seen;
}

/// A store without views.
pub(crate) struct Plain<S>(pub(crate) S);

impl<S: RegistryStore + Sync> TestedStore for Plain<S> {
    type Store = S;
    type Handle = ();
    type Raw = Seen;

    fn store(&self) -> &S {
        &self.0
    }
    fn handle(&self) {}
    fn perform(&self, (): &mut (), action: &Action) -> Seen {
        Seen::Answer(perform(&self.0, action))
    }
    fn learn(seen: Seen) -> Seen {
        seen
    }
}

fn perform(store: &impl RegistryStore, action: &Action) -> Result<Answer, Failure> {
    match action {
        Action::Ask(operation) => ask(store, operation),
        Action::Close => store.close().map(|()| Answer::Done).map_err(Failure::from),
        Action::Linger(key) => {
            let found = store.with_service(key, |info| {
                thread::sleep(LINGER);
                info.clone()
            });
            found.map(Answer::Service).map_err(Failure::from)
        }
        other => panic!("a store without views or watches cannot do {other:?}"),
    }
}

/// A store with views; each thread has a reader handle.
pub(crate) struct Viewed<S>(pub(crate) S);

/// A view that is read when all threads are done: it shows the moment at which it was taken.
pub(crate) enum RawView<V> {
    Seen(Seen),
    View(V),
}

impl<S: super::views::Views> TestedStore for Viewed<S> {
    type Store = S;
    type Handle = S::Reader;
    type Raw = RawView<S::Snapshot>;

    fn store(&self) -> &S {
        &self.0
    }
    fn handle(&self) -> S::Reader {
        self.0.reader()
    }
    fn perform(&self, reader: &mut S::Reader, action: &Action) -> RawView<S::Snapshot> {
        RawView::Seen(Seen::Answer(match action {
            Action::Snapshot => return RawView::View(self.0.snapshot()),
            Action::View => return RawView::View(S::view(reader).clone()),
            Action::Read(key) => S::read(reader, key, Clone::clone)
                .map(Answer::Service)
                .map_err(Failure::from),
            other => perform(&self.0, other),
        }))
    }
    fn learn(raw: RawView<S::Snapshot>) -> Seen {
        match raw {
            RawView::Seen(seen) => seen,
            RawView::View(view) => Seen::State(Box::new(observe_view(&view, GROUPS))),
        }
    }
}

/// A store with watches; each thread has its own.
pub(crate) struct Watched<S>(pub(crate) S);

/// A watch of one thread.
pub(crate) struct ThreadWatch {
    selection: Selection,
    watch: Watch,
    events: Option<Arc<Events>>,
}

/// The events of a watch, the last one first.
pub(crate) struct Events {
    last: changes::Event,
    before: Option<Arc<Events>>,
}

/// The events of a watch, which are applied when all threads are done.
pub(crate) enum RawWatchReport {
    Seen(Seen),
    WatchReport(PollAnswer, [u64; 2], Option<Arc<Events>>),
}

impl<S: RegistryStore + Sync> TestedStore for Watched<S> {
    type Store = S;
    type Handle = Vec<ThreadWatch>;
    type Raw = RawWatchReport;

    fn store(&self) -> &S {
        &self.0
    }
    fn handle(&self) -> Vec<ThreadWatch> {
        Vec::new()
    }
    fn perform(&self, handle: &mut Vec<ThreadWatch>, action: &Action) -> RawWatchReport {
        match action {
            Action::Poll(selection, how) => poll(&self.0, handle, selection, *how).unwrap_or(
                RawWatchReport::WatchReport(PollAnswer::Closed, [0, 0], None),
            ),
            other => RawWatchReport::Seen(Seen::Answer(perform(&self.0, other))),
        }
    }
    fn learn(raw: RawWatchReport) -> Seen {
        let (answer, [since, revision], last) = match raw {
            RawWatchReport::Seen(seen) => return seen,
            RawWatchReport::WatchReport(answer, revisions, last) => (answer, revisions, last),
        };
        let events = std::iter::successors(last.as_deref(), |events| events.before.as_deref());
        let mut events: Vec<&changes::Event> = events.map(|events| &events.last).collect();
        events.reverse();
        let followed = (!events.is_empty()).then(|| {
            let mut followed = FollowedState::default();
            let follows = events.iter().try_for_each(|event| followed.follow(event));
            follows.map(|()| followed)
        });
        Seen::WatchReport(Box::new(WatchReport {
            answer,
            since,
            revision,
            followed,
        }))
    }
}

/// Polls a watch; `None` if a closed store refuses to begin one.
fn poll(
    store: &impl RegistryStore,
    handle: &mut Vec<ThreadWatch>,
    selection: &Selection,
    how: PollMode,
) -> Option<RawWatchReport> {
    fn open<T>(answer: service_registry::Result<T>) -> Option<T> {
        assert!(answer.is_ok() || answer.as_ref().err() == Some(&StoreError::Closed));
        answer.ok()
    }
    let place = handle.iter().position(|own| own.selection == *selection);
    let mut own = if let Some(place) = place {
        handle.swap_remove(place)
    } else {
        ThreadWatch {
            selection: selection.clone(),
            watch: open(store.watch(selection.clone()))?,
            events: None,
        }
    };
    let since = own.watch.revision().as_u64();
    if how == PollMode::Resumed && own.events.is_some() {
        let cursor = own.watch.cursor();
        own.watch = open(store.watch_from(selection.clone(), cursor))?;
    }
    let polled = match how {
        PollMode::All | PollMode::Resumed => own.watch.try_recv(),
        PollMode::Commit => own.watch.try_recv_commit(),
    };
    let revision = own.watch.revision().as_u64();
    let answer = match open(polled) {
        None => PollAnswer::Closed,
        Some(None) => PollAnswer::Nothing,
        Some(Some(last)) => {
            assert_eq!(last.revision().as_u64(), revision);
            let before = own.events.take();
            own.events = Some(Arc::new(Events { last, before }));
            PollAnswer::Event
        }
    };
    let events = own.events.clone();
    handle.push(own);
    Some(RawWatchReport::WatchReport(
        answer,
        [since, revision],
        events,
    ))
}
