//! Those who watch while a program runs: they begin, sleep, look, fall behind, go, and go on.

use std::ops::AddAssign;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use service_registry::changes::{LogOptions, Selection};
use service_registry::{Change, RegistryStore, Revision, StoreError};

use crate::support::followed_state::FollowedState;
use crate::support::follower::{Follower, PausedFollower, WAYS};
use crate::support::model::{GROUPS, Model, Operation, PODS, SERVICES};

/// What one of them does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Begins to watch one of the [`selections`].
    Begin(usize),
    /// Leaves, and notes where.
    Go(usize),
    /// Comes back to where one has left.
    GoOn(usize),
    /// Looks once, in one of the ways.
    Look(usize, usize),
}

/// Everything, all that can be selected of the names of a program, and one thing that is not
/// there.
fn selections() -> Vec<Selection> {
    let services = SERVICES.iter().chain(&["nobody"]);
    let pods = SERVICES
        .iter()
        .flat_map(|service| PODS.map(|pod| Selection::pod(format!("{service}:{pod}").as_str())));
    let groups = GROUPS.iter().copied();
    [Selection::All]
        .into_iter()
        .chain(services.map(|name| Selection::service(*name)))
        .chain(groups.map(Selection::group))
        .chain(pods)
        .collect()
}

/// What they do after an operation.
pub(crate) fn steps(u: &mut Unstructured<'_>) -> Result<Vec<Step>> {
    let some = |u: &mut Unstructured<'_>| u.int_in_range(0..=7_usize);
    let len = *u.choose(&[0, 0, 1, 1, 2, 4])?;
    let step = |_| {
        Ok(match u.int_in_range(0..=9)? {
            0 => Step::Begin(0),
            1 => Step::Begin(u.choose_index(selections().len())?),
            2 => Step::Go(some(u)?),
            3 => Step::GoOn(some(u)?),
            _ => Step::Look(some(u)?, u.choose_index(WAYS)?),
        })
    };
    (0..len).map(step).collect()
}

/// Longer than any program runs.
const LONG: Duration = Duration::from_secs(3_600);

/// A log that holds everything, or one commit at most, or some; and which goes on without
/// watches, or does not.
pub(crate) fn log(u: &mut Unstructured<'_>) -> Result<LogOptions> {
    Ok(LogOptions {
        bytes: *u.choose(&[LogOptions::default().bytes, 4_000, 1_000, 0])?,
        retain: *u.choose(&[LONG, Duration::ZERO])?,
    })
}

/// Those who watch a store, and what it has shown.
pub(crate) struct Watchers {
    /// By revision.
    states: Vec<FollowedState>,
    followers: Vec<Follower>,
    left: Vec<PausedFollower>,
    /// Whether nobody can fall behind, but by a restoration.
    all_is_held: bool,
    /// Which revision the last restoration led to. Who is behind that needs a state, and a closed
    /// store has none.
    restored: Revision,
    reached: Reached,
}

/// What a program has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// Watches that fell behind.
    pub(crate) lagged: usize,
    /// Removals by a source of which a watch was told.
    pub(crate) replaced: usize,
    /// Watches that went on from a cursor.
    pub(crate) went_on: usize,
    /// Watches that saw the end of their store.
    pub(crate) ended: usize,
}

impl AddAssign for Reached {
    fn add_assign(&mut self, other: Reached) {
        self.lagged += other.lagged;
        self.replaced += other.replaced;
        self.went_on += other.went_on;
        self.ended += other.ended;
    }
}

impl Watchers {
    pub(crate) fn new(log: LogOptions) -> Watchers {
        Watchers {
            states: vec![FollowedState::default()],
            followers: Vec::new(),
            left: Vec::new(),
            all_is_held: log.bytes == LogOptions::default().bytes && log.retain == LONG,
            restored: Revision::ZERO,
            reached: Reached::default(),
        }
    }

    /// An operation has led to what the model holds; now these steps come.
    pub(crate) fn act(
        &mut self,
        store: &impl RegistryStore,
        model: &Model,
        operation: &Operation,
        steps: &[Step],
    ) {
        let present = usize::try_from(model.revision).unwrap();
        if self.states.len() <= present && restores(operation) {
            self.restored = store.revision();
        }
        self.states
            .resize(present + 1, FollowedState::of_model(model));
        for step in steps {
            self.step(store, model, *step);
        }
    }

    fn step(&mut self, store: &impl RegistryStore, model: &Model, step: Step) {
        match step {
            Step::Begin(which) => {
                let selection = selections()[which].clone();
                let watch = is_refused_if_closed(model, store.watch(selection.clone()));
                let follower = watch.map(|watch| Follower::new(watch, selection));
                self.followers.extend(follower);
            }
            Step::Go(which) if !self.followers.is_empty() => {
                let which = which % self.followers.len();
                let goes = self.followers.swap_remove(which);
                self.count(&goes);
                if goes.began {
                    self.left.push(goes.pause());
                }
            }
            Step::GoOn(which) if !self.left.is_empty() => {
                let which = which % self.left.len();
                let gone = self.left.swap_remove(which);
                let watch = store.watch_from(gone.selection.clone(), gone.cursor);
                let watch = is_refused_if_closed(model, watch);
                let follower = watch.map(|watch| Follower::resume(gone, watch));
                self.reached.went_on += usize::from(follower.is_some());
                self.followers.extend(follower);
            }
            Step::Look(which, way) if !self.followers.is_empty() => {
                let which = which % self.followers.len();
                self.look(which, way, model.closed);
            }
            Step::Go(_) | Step::GoOn(_) | Step::Look(..) => {}
        }
    }

    /// Has one of them look once, and tells whether it was told something.
    fn look(&mut self, which: usize, way: usize, is_closed: bool) -> bool {
        let follower = &mut self.followers[which];
        match follower.look(way, &self.states) {
            Ok(is_told) => {
                assert!(is_told || !is_closed, "a watch waits for a closed store");
                is_told
            }
            Err(error) => {
                assert!(is_closed, "{error}");
                assert_eq!(error, StoreError::Closed);
                let is_behind = follower.watch().revision() < self.restored;
                if self.all_is_held && follower.began && !is_behind {
                    follower.has_shown_all(&self.states);
                }
                self.reached.ended += 1;
                false
            }
        }
    }

    fn count(&mut self, follower: &Follower) {
        self.reached.lagged += follower.lagged;
        self.reached.replaced += follower.replaced;
    }

    /// All look until there is nothing left.
    pub(crate) fn end(mut self, model: &Model) -> Reached {
        for which in 0..self.followers.len() {
            while self.look(which, which % WAYS, model.closed) {}
        }
        for follower in std::mem::take(&mut self.followers) {
            self.count(&follower);
        }
        self.reached
    }
}

/// Whether it fills the store anew, where it does something.
fn restores(operation: &Operation) -> bool {
    let is_restoration = |change: &Change| matches!(change, Change::ReplaceAll { .. });
    match operation {
        Operation::Change(change) => is_restoration(change),
        Operation::Commit(changes) => changes.iter().any(is_restoration),
        _ => false,
    }
}

/// What has begun, if the store is open.
fn is_refused_if_closed<T>(model: &Model, begun: service_registry::Result<T>) -> Option<T> {
    match begun {
        Ok(begun) => {
            assert!(!model.closed, "a closed store has begun a watch");
            Some(begun)
        }
        Err(error) => {
            assert!(model.closed, "{error}");
            assert_eq!(error, StoreError::Closed);
            None
        }
    }
}
