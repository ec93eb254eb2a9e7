//! A store with watches that never hear of anything: what they cost the others.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use service_registry::ServiceInfo;
use service_registry::changes::{Event, Selection, Watch};

use super::ours::{Held, Store};
use crate::subject::{Follower, Subject};

/// A store, and as many watches of names that no pod has, all of them asleep.
pub(super) struct Watched<S, const WATCHES: usize> {
    store: Store<S>,
    _watches: Vec<Watch>,
}

fn asleep(store: &impl Held, number: usize) -> Watch {
    let watch = store.watch(Selection::service(format!("nobody-{number}")));
    let mut watch = watch.expect("an open store");
    assert!(matches!(watch.try_recv(), Ok(Some(Event::State { .. }))));
    let told = watch.poll_recv(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(told, Poll::Pending), "told of nothing");
    watch
}

impl<S: Held, const WATCHES: usize> Subject for Watched<S, WATCHES> {
    type Hand<'a> = &'a Store<S>;

    fn create(seed: u64) -> Watched<S, WATCHES> {
        let store = Store::<S>::create(seed);
        let watches = (0..WATCHES).map(|number| asleep(&store.0, number)).collect();
        Watched { store, _watches: watches }
    }

    fn hand(&self) -> &Store<S> {
        &self.store
    }

    fn fill(&mut self, pods: &mut dyn Iterator<Item = ServiceInfo>) {
        self.store.fill(pods);
    }

    fn follow(&self, name: &str, told: Box<dyn FnMut() + Send>) -> Option<Follower> {
        self.store.follow(name, told)
    }

    fn differences(&self, change: &mut dyn FnMut()) -> Option<(Duration, usize)> {
        self.store.differences(change)
    }
}
