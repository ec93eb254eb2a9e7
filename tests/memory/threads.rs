//! Records that many threads share, and threads that come to their end.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use service_registry::{RegistryStore, ServiceInfo};

use crate::heap::counts;
use crate::heap::ledger::{self, number};
use crate::support::race::together;
use crate::support::thread_exit::EXIT_HOOKS;
use crate::{Churn, check_exact, marked};

pub(crate) fn churn_of_many_threads_drops_every_record_once<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync,
{
    for seed in 0..3 {
        let book = ledger::open();
        let store = make();
        let kept = together(6, |thread| {
            let mut churn = Churn::new(100 * seed + thread as u64);
            for _ in 0..500 {
                churn.step(&store);
            }
            churn.kept
        });
        // Answers that are dropped by another thread than the one that got them.
        drop(kept);
        check_exact(&store, &book, "after the churn");
        drop(store);
        book.check_all_died("the store is gone");
    }
}

pub(crate) fn a_store_closed_under_churn_frees_every_record<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync,
{
    for seed in 0..5 {
        let book = ledger::open();
        let store = make();
        for n in 0..50 {
            store.save_service(marked("a", &n.to_string())).unwrap();
        }
        together(4, |thread| {
            if thread == 0 {
                thread::sleep(Duration::from_micros(300 * seed));
                store.close().unwrap();
                return;
            }
            for n in 0..100 {
                // Done or refused; the record goes in either case.
                drop(store.save_service(marked("b", &n.to_string())));
                drop(store.get_service(&format!("a:{}", n % 50)));
                drop(store.take_service(&format!("a:{}", n % 50)));
                drop(store.get_all_services());
            }
        });
        book.check_all_died("closed");
    }
}

/// A thread is held up inside a read while the record is replaced and deleted, and
/// then ends, by a panic or in peace.
pub(crate) fn a_reader_inside_a_closure_keeps_its_record<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    for panics in [false, true] {
        let book = ledger::open();
        let store = Arc::new(make());
        let record = marked("a", "1");
        let shown = number(&record);
        store.save_service(record).unwrap();
        let (entered, inside) = channel();
        let (leave, left) = channel::<()>();
        let reader = thread::spawn({
            let store = store.clone();
            move || {
                store
                    .with_service("a:1", |info| {
                        entered.send(()).unwrap();
                        // Until the other end is dropped.
                        left.recv().unwrap_err();
                        let still = number(info);
                        if panics {
                            resume_unwind(Box::new(still));
                        }
                        still
                    })
                    .unwrap()
            }
        });
        inside.recv().unwrap();
        let writer = thread::spawn({
            let store = store.clone();
            move || {
                store.save_service(marked("a", "1")).unwrap();
                store.delete_service("a:1").unwrap();
                store.save_service(marked("a", "2")).unwrap();
            }
        });
        // The writer is through, or it waits for the reader: stores differ, and it
        // is all one here.
        thread::sleep(Duration::from_millis(20));
        assert!(book.alive().contains(&shown), "dropped while it is read");
        drop(leave);
        let still = match reader.join() {
            Ok(still) => still,
            Err(panic) => *panic.downcast::<usize>().unwrap(),
        };
        assert_eq!(still, shown);
        writer.join().unwrap();
        check_exact(&*store, &book, "the reader has ended");
        let store = Arc::into_inner(store).expect("the threads have ended");
        drop(store);
        book.check_all_died("the store is gone");
    }
}

pub(crate) fn threads_that_panic_mid_read_leave_nothing<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    let book = ledger::open();
    let store = Arc::new(make());
    let panics = |threads: usize| {
        for n in 0..threads {
            store.save_service(marked("a", "1")).unwrap();
            let store = store.clone();
            let reader = thread::spawn(move || {
                store.with_service("a:1", |info| {
                    resume_unwind(Box::new((n, number(info))));
                })
            });
            assert!(reader.join().is_err());
        }
    };
    panics(50);
    nudge_through(&*store);
    let before = counts::live();
    panics(500);
    nudge_through(&*store);
    let left = counts::live() - before;
    check_exact(&*store, &book, "every reader has panicked");
    assert!(
        left < crate::noise::<S>(),
        "{left} bytes are left of readers that panicked"
    );
    drop(store);
    book.check_all_died("the store is gone");
}

/// A destructor of a thread local reads and writes the store while the thread ends.
pub(crate) fn threads_that_read_while_they_end_leave_nothing<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    thread_local! {
        static KEPT: RefCell<Vec<ServiceInfo>> = const { RefCell::new(Vec::new()) };
    }
    let book = ledger::open();
    let store = Arc::new(make());
    store.save_service(marked("a", "1")).unwrap();
    let said = Arc::new(AtomicUsize::new(0));
    let ends = |threads: usize| {
        for n in 0..threads {
            let (store, said) = (store.clone(), said.clone());
            let ending = thread::spawn(move || {
                // Destructors run before or after those that the store has made
                // for itself on this thread.
                if n % 2 == 0 {
                    store.get_service("a:1").unwrap();
                }
                let late = {
                    let store = store.clone();
                    move || {
                        store
                            .with_service("a:1", |info| drop(info.clone()))
                            .unwrap();
                        store.save_service(marked("a", "late")).unwrap();
                        drop(store.get_all_services().unwrap());
                        store.delete_service("a:late").unwrap();
                        said.fetch_add(1, SeqCst);
                    }
                };
                EXIT_HOOKS.with(|hooks| hooks.push(late));
                // An answer that goes with its thread.
                KEPT.with_borrow_mut(|kept| kept.push(store.get_service("a:1").unwrap()));
            });
            ending.join().unwrap();
        }
    };
    ends(50);
    nudge_through(&*store);
    let before = counts::live();
    ends(500);
    nudge_through(&*store);
    let left = counts::live() - before;
    assert_eq!(said.load(SeqCst), 550);
    check_exact(&*store, &book, "every thread has ended");
    assert!(
        left < crate::noise::<S>(),
        "{left} bytes are left of threads that ended"
    );
    drop(store);
    book.check_all_died("the store is gone");
}

const SHORT_LIVED: usize = 10_000;
const WAVE: usize = 20;

pub(crate) fn ten_thousand_short_lived_threads_leave_nothing<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync,
{
    let book = ledger::open();
    let store = make();
    let key = |n: usize| format!("a:{n}");
    for n in 0..WAVE {
        store.save_service(marked("a", &n.to_string())).unwrap();
    }
    let waves = |threads: usize| {
        for wave in 0..threads / WAVE {
            thread::scope(|scope| {
                let short_lived = |n: usize| {
                    let (store, key) = (&store, key(n));
                    scope.spawn(move || {
                        store.get_service(&key).unwrap();
                        store.with_service(&key, number).unwrap();
                        if (n + wave).is_multiple_of(WAVE) {
                            store.save_service(marked("a", &n.to_string())).unwrap();
                        }
                    })
                };
                let threads: Vec<_> = (0..WAVE).map(short_lived).collect();
                // A scope by itself ends before the destructors of its threads do.
                for thread in threads {
                    thread.join().unwrap();
                }
            });
        }
    };
    // What a store once needs for so many threads at once it may keep.
    waves(SHORT_LIVED / 10);
    nudge_through(&store);
    let before = counts::live();
    waves(SHORT_LIVED - SHORT_LIVED / 10);
    nudge_through(&store);
    let left = counts::live() - before;
    check_exact(&store, &book, "the threads have ended");
    assert!(
        left < crate::noise::<S>(),
        "{left} bytes are left of {SHORT_LIVED} threads"
    );
    drop(store);
    book.check_all_died("the store is gone");
}

/// Lets a store that frees later come to the same point each time.
fn nudge_through<S: RegistryStore>(store: &S) {
    for _ in 0..crate::commits_until_freed::<S>().clamp(10, 3_000) {
        crate::nudge(store);
    }
}
