//! Programs on a store and on the model.

use service_registry::changes::Difference;
use service_registry::{Change, MemoryStore, RegistryStore, StoreError};

use crate::programs::{Program, WORKER, is_looked_at};
use crate::support::model::{GROUPS, Model, Operation, PODS, SERVICES, ask, expect};
use crate::support::stores::Required;
use crate::support::{ObservedState, observe};
use crate::watching::{Reached, Watchers};

/// Runs a program on a store and on the model, and compares every answer and,
/// after an operation, everything that can be asked, and what watches tell. `watch`
/// is shown the store and the state that the model expects.
pub(crate) fn run<S: RegistryStore>(
    name: &str,
    store: &S,
    program: &Program,
    mut watch: impl FnMut(&S, &ObservedState),
) -> Reached {
    let mut model = Model::default();
    let mut watchers = Watchers::new(program.log);
    for (n, (operation, steps)) in program.operations.iter().enumerate() {
        if program.close_at == Some(n) {
            store.close().unwrap();
            model.closed = true;
        }
        let answer = ask(store, operation);
        let checked_at = |key: &str| store.get_service(key).ok()?.last_health_check();
        let expected = expect(&mut model, operation, &answer, checked_at);
        assert_eq!(answer, expected, "operation {n}, {operation:?}");
        assert_eq!(
            store.revision().as_u64(),
            model.revision,
            "the revision after operation {n}, {operation:?}"
        );
        if !model.closed && is_looked_at(name, n, program.operations.len()) {
            let state = model.state();
            assert_eq!(
                observe(store, GROUPS),
                state,
                "after operation {n}, {operation:?}"
            );
            holds_nothing_else(store, &state);
            watch(store, &state);
        }
        watchers.act(store, &model, operation, steps);
    }
    watchers.end(&model)
}

fn holds_nothing_else(store: &impl RegistryStore, state: &ObservedState) {
    for service in SERVICES {
        for pod in PODS {
            let key = format!("{service}:{pod}");
            if !state.services.contains_key(&key) {
                let expected = Err(StoreError::NotFound(key.as_str().into()));
                assert_eq!(store.get_service(&key), expected);
            }
        }
        let held = store.get_services_by_name(service).unwrap().len();
        let expected = state.services.values();
        let expected = expected.filter(|info| info.service_name() == service);
        assert_eq!(held, expected.count(), "by the name {service}");
    }
}

fn run_on_one(name: &str, run: &dyn Fn()) {
    // The name goes before what the panic says.
    let _named = Named(name);
    run();
}

fn run_on_every_store(program: &Program) {
    run_on_one("MemoryStore", &|| {
        let store = MemoryStore::with_log(program.log);
        run("MemoryStore", &store, program, |_, _| ());
    });
    run_on_one("Required", &|| {
        // It tells no changes.
        let mut unwatched = program.clone();
        unwatched
            .operations
            .iter_mut()
            .for_each(|(_, steps)| steps.clear());
        run("Required", &Required::new(), &unwatched, |_, _| ());
    });
    macro_rules! run_on {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            if stringify!($store) != WORKER {
                let name = stringify!($store);
                run_on_one(name, &|| {
                    let store = service_registry::$store::with_log(program.log);
                    run(name, &store, program, |_, _| ());
                });
            }
        };
    }
    shared_stores!(run_on);
    #[cfg(any(feature = "snapshot", feature = "versioned"))]
    views::run_on_every_viewed_store(program);
}

/// Says on which store a program failed.
pub(crate) struct Named<'a>(pub(crate) &'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("on {}:", self.0);
        }
    }
}

target!(every_store_is_the_model, Program, run_on_every_store);

#[cfg(feature = "worker")]
mod worker {
    use service_registry::WorkerStore;

    use super::*;

    target!(a_worker_is_the_model, Program, |program| {
        let store = WorkerStore::with_log(program.log);
        run(WORKER, &store, program, |_, _| ());
    });
}

#[cfg(any(feature = "snapshot", feature = "versioned"))]
mod views {
    use super::*;
    use crate::support::observe_view;
    use crate::support::views::Views;

    /// Every view shows the state that it was taken of, now and later, also
    /// when the store has been closed.
    fn agree<S: Views>(
        program: &Program,
        name: &str,
        store: &S,
        snapshot: impl Fn(&S) -> S::Snapshot,
    ) {
        let mut reader = store.reader();
        let mut kept = vec![(snapshot(store), Model::default().state())];
        let mut commits = 0_usize;
        run(name, store, program, |store, state| {
            assert_eq!(observe_view(S::view(&mut reader), GROUPS), *state);
            // Others go, so that some of what has been replaced may be freed.
            commits += 1;
            if commits.is_multiple_of(3) {
                kept.swap_remove(commits / 2 % kept.len());
            }
            kept.push((snapshot(store), state.clone()));
        });
        for (snapshot, state) in &kept {
            assert_eq!(observe_view(snapshot, GROUPS), *state);
        }
    }

    pub(super) fn run_on_every_viewed_store(program: &Program) {
        macro_rules! run_on {
            ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
                #[cfg(feature = $feature)]
                run_on_one(concat!("the views of ", stringify!($store)), &|| {
                    let store = service_registry::$store::with_log(program.log);
                    agree(
                        program,
                        stringify!($store),
                        &store,
                        service_registry::Snapshots::snapshot,
                    );
                });
            };
        }
        viewed_stores!(run_on);
    }

    #[cfg(feature = "snapshot")]
    #[test]
    fn a_snapshot_of_another_state_is_found() {
        use service_registry::SnapshotStore;

        crate::found::<Program>(200, |program| {
            let store = SnapshotStore::new();
            agree(program, "SnapshotStore", &store, |store| {
                match store.stats().unwrap().subscriptions {
                    2 => SnapshotStore::new().snapshot(),
                    _ => store.snapshot(),
                }
            });
        });
    }
}

/// Conditions, sources, batches and watches are in the programs, and come to something.
#[test]
fn programs_reach_what_they_are_about() {
    let mut watched = Reached::default();
    let (mut conflicts, mut conditions, mut sources, mut skipped) = (0, 0, 0, 0);
    for program in crate::drawn::<Program>(300) {
        let store = MemoryStore::with_log(program.log);
        watched += run("MemoryStore", &store, &program, |_, _| ());
        let store = MemoryStore::new();
        for (operation, _) in &program.operations {
            let Operation::Commit(changes) = operation else {
                let _ = ask(&store, operation);
                continue;
            };
            let before = store.revision();
            match store.commit_changes(changes.iter().cloned().collect()) {
                Ok((_, told)) => {
                    let is_skipped =
                        |told: &&Difference| matches!(told, Difference::Skipped { .. });
                    skipped += told.iter().filter(is_skipped).count();
                }
                Err(StoreError::BatchRejected { source, .. }) => {
                    conflicts += usize::from(matches!(*source, StoreError::Conflict(_)));
                }
                Err(error) => panic!("{error}"),
            }
            if store.revision() > before {
                let is_source = |change: &Change| matches!(change, Change::ReplaceSource { .. });
                sources += usize::from(changes.iter().any(is_source));
                let is_condition = |change: &Change| {
                    use Change::{RemoveIf, Require, RequireUnchangedSince, UpdateHealthIf};
                    matches!(
                        change,
                        Require { .. }
                            | RequireUnchangedSince { .. }
                            | RemoveIf { .. }
                            | UpdateHealthIf { .. }
                    )
                };
                conditions += usize::from(changes.iter().any(is_condition));
            }
        }
    }
    println!(
        "{watched:?}, {conflicts} conflicts, {conditions} conditions, {sources} sources, {skipped} skipped"
    );
    let Reached {
        lagged,
        replaced,
        went_on,
        ended,
    } = watched;
    for often in [
        lagged, replaced, went_on, ended, conflicts, conditions, sources, skipped,
    ] {
        assert!(often > 3, "{often} times only");
    }
}
