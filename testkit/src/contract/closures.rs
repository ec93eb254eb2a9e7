//! Closures of the caller: panics, and calls of the store from inside a closure.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use service_registry::{
    MemoryStore, Registry, RegistryStore, Result, ServiceInfo, ServiceStatus, StoreError,
};

use crate::support::{
    CALLS, Call, GROUPS, KEY, at, fill_store, observe, pod, registration, version,
};

/// Runs `read`, which must panic with `payload`, and checks that the payload arrives.
fn panics_through<R>(payload: &'static str, read: impl FnOnce() -> R) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(read)) else {
        panic!("the panic of the closure was swallowed");
    };
    assert_eq!(panic.downcast_ref::<&str>(), Some(&payload));
}

/// A panic that prints nothing.
fn quiet(payload: &'static str) -> ! {
    resume_unwind(Box::new(payload))
}

pub fn a_panic_in_a_closure_leaves_the_store_usable(store: &impl RegistryStore) {
    fill_store(store);
    let before = observe(store, GROUPS);
    for _ in 0..50 {
        panics_through("with", || store.with_service(KEY, |_| quiet("with")));
        panics_through("visit", || {
            store.visit_service(KEY, &mut |_| quiet("visit"))
        });
        panics_through("inner", || {
            store.with_service(KEY, |_| {
                // Where the inner call is refused, the outer closure panics.
                let _: Result<()> = store.with_service(KEY, |_| quiet("inner"));
                quiet("inner")
            })
        });
        assert_eq!(observe(store, GROUPS), before);
    }
    // Every call still works, including writes and `close`.
    for (name, call) in CALLS {
        let answer = call(store);
        let gone = matches!(&answer, Err(StoreError::NotFound(key)) if &**key == KEY);
        assert!(answer.is_ok() || gone, "{name}: {answer:?}");
    }
    panics_through("registry", || {
        let registry = Registry::new(store);
        registry.register(registration("db", "pod-1", &[])).unwrap();
        registry.with_service(KEY, |_| quiet("registry"))
    });
    assert_eq!(store.close(), Ok(()));
}

pub fn a_panic_with_a_hook_leaves_the_store_usable(store: &impl RegistryStore) {
    // `panic!` runs the panic hook while the closure is still on the stack.
    fill_store(store);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.with_service(KEY, |info| {
            assert_eq!(info.pod_name(), "nobody's name", "on purpose");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(store.save_service(pod("db", "3")), Ok(()));
    assert_eq!(store.stats().unwrap().services, 3);
}

/// Checks that a call from inside a closure is refused with `Reentrant` and changes nothing, or
/// has the effect of a call from outside.
fn from_inside<S: RegistryStore>(
    store: &S,
    (name, call): &Call,
    enter: impl FnOnce(&S, &mut dyn FnMut()),
) {
    let twin = MemoryStore::new();
    fill_store(store);
    fill_store(&twin);
    let mut answer = None;
    enter(store, &mut || answer = Some(call(store)));
    let answer = answer.expect("the closure was called");
    if answer != Err(StoreError::Reentrant) {
        assert_eq!(answer, call(&twin), "{name}");
    }
    assert_eq!(observe(store, GROUPS), observe(&twin, GROUPS), "{name}");
}

pub fn a_call_from_inside_a_closure_is_done_or_refused<S: RegistryStore>(make: impl Fn() -> S) {
    for call in CALLS {
        from_inside(&make(), call, |store, inside| {
            store.with_service(KEY, |_| inside()).unwrap();
        });
        from_inside(&make(), call, |store, inside| {
            store.visit_service(KEY, &mut |_| inside()).unwrap();
        });
        // Two levels deep, if the store allows that.
        from_inside(&make(), call, |store, inside| {
            let mut inside = Some(inside);
            let nested = store
                .with_service("db:pod-2", |_| {
                    store.with_service(KEY, |_| inside.take().expect("called once")())
                })
                .unwrap();
            if nested == Err(StoreError::Reentrant) {
                store
                    .with_service(KEY, |_| inside.take().expect("called once")())
                    .unwrap();
            }
        });
    }
}

pub fn close_from_inside_a_closure_is_done_or_refused(store: &impl RegistryStore) {
    fill_store(store);
    let held = pod("db", "pod-1");
    let closed = store
        .with_service(KEY, |info| {
            let closed = store.close();
            // The record that the closure has borrowed does not change.
            assert_eq!(*info, held);
            closed
        })
        .unwrap();
    match closed {
        Ok(()) => assert_eq!(store.ping(), Err(StoreError::Closed)),
        Err(StoreError::Reentrant) => {
            assert_eq!(store.get_service(KEY), Ok(held));
            assert_eq!(store.close(), Ok(()));
        }
        Err(other) => panic!("{other}"),
    }
}

pub fn a_write_from_inside_is_seen_from_inside(store: &impl RegistryStore) {
    let (first, second) = (version("db", "1", 1), version("db", "1", 2));
    store.save_service(first.clone()).unwrap();
    store
        .with_service("db:1", |info| {
            let expected = match store.save_service(second.clone()) {
                Ok(()) => &second,
                Err(StoreError::Reentrant) => &first,
                Err(other) => panic!("{other}"),
            };
            match store.get_service("db:1") {
                Err(StoreError::Reentrant) => {}
                found => assert_eq!(found.as_ref(), Ok(expected)),
            }
            assert_eq!(*info, first, "what the closure was lent has changed");
        })
        .unwrap();
}

pub fn the_revision_can_be_asked_from_inside(store: &impl RegistryStore) {
    fill_store(store);
    let outside = store.revision();
    assert_eq!(store.with_service(KEY, |_| store.revision()), Ok(outside));
    store
        .visit_service(KEY, &mut |_| assert_eq!(store.revision(), outside))
        .unwrap();
}

/// Enters the stores one inside the other, and writes to the inner ones. Returns how many it
/// entered.
fn descend<S: RegistryStore>(stores: &[S]) -> Result<usize> {
    let Some((store, deeper)) = stores.split_first() else {
        return Ok(0);
    };
    store.with_service("db:1", |_| {
        for other in deeper {
            other
                .update_health_status("db:1", ServiceStatus::Healthy, at(deeper.len() as u64))
                .unwrap();
            other.get_service("db:1").unwrap();
        }
        descend(deeper).map(|depth| depth + 1)
    })?
}

pub fn a_closure_may_use_other_stores<S: RegistryStore>(make: impl Fn() -> S) {
    let stores: Vec<S> = (0..4).map(|_| make()).collect();
    for store in &stores {
        store.save_service(pod("db", "1")).unwrap();
    }
    assert_eq!(descend(&stores), Ok(4));
    for store in &stores {
        store.save_service(version("db", "1", 9)).unwrap();
        assert_eq!(store.get_service("db:1"), Ok(version("db", "1", 9)));
    }
}

/// Guards against a limit: nine nested stores were one too many.
pub fn closures_of_a_hundred_stores_nest<S: RegistryStore>(make: impl Fn() -> S) {
    let stores: Vec<S> = (0..100).map(|_| make()).collect();
    for store in &stores {
        store.save_service(pod("db", "1")).unwrap();
    }
    assert_eq!(descend(&stores), Ok(100));
}

pub fn a_refusal_inside_is_over_when_the_closure_is(store: &impl RegistryStore) {
    store.save_service(pod("db", "1")).unwrap();
    for n in 0..20 {
        let inside = store
            .with_service("db:1", |_| store.save_service(version("db", "1", n)))
            .unwrap();
        assert!(matches!(inside, Ok(()) | Err(StoreError::Reentrant)));
        // Also if the closure panicked.
        panics_through("on the way out", || {
            store.with_service("db:1", |_| {
                let _refused_or_not = store.save_service(version("db", "1", 100 + n));
                quiet("on the way out")
            })
        });
        store.save_service(version("db", "1", 200 + n)).unwrap();
        assert_eq!(store.get_service("db:1"), Ok(version("db", "1", 200 + n)));
    }
}

/// `with_service` on a `dyn` store uses `visit_service`.
pub fn a_closure_works_through_dyn(store: &impl RegistryStore) {
    fill_store(store);
    let through: &dyn RegistryStore = store;
    assert_eq!(
        (&through).with_service(KEY, ServiceInfo::clone),
        store.get_service(KEY)
    );
    assert_eq!(
        (&through).with_service("x:1", |_| ()),
        Err(StoreError::NotFound("x:1".into()))
    );
    panics_through("dyn", || (&through).with_service(KEY, |_| quiet("dyn")));
    assert_eq!(through.save_service(pod("db", "3")), Ok(()));
    for (name, call) in CALLS {
        let inside = (&through).with_service("db:pod-2", |_| call(through));
        match inside {
            // Not found after `clear` and the like, if the store allows them inside.
            Ok(Ok(()) | Err(StoreError::Reentrant | StoreError::NotFound(_)))
            | Err(StoreError::NotFound(_)) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}
