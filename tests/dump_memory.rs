//! How much memory a dump takes, and restoring one; and how much time.
//!
//! Each test is alone in the process, whose bytes it counts.
//!
//! Of a million records (`--release --all-features --test dump_memory -- --ignored --nocapture
//! --test-threads 1`, one processor, other programs stopped, 2026-11-29) the file has 440 MiB, and
//! dumping takes 64 KiB. Restoring, beside what the reader has:
//!
//! | store | in the store | dumped in | restored in | at most, of which stays |
//! | --- | --- | --- | --- | --- |
//! | `MemoryStore` | 1,545 MiB | 1.6 s | 8.2 s | 1,586 MiB, 1,537 |
//! | `WorkerStore`, `ThreadSafeMemoryStore` | 1,545 MiB | 1.2 s | 7.7 s | 1,586 MiB, 1,537 |
//! | `EvmapStore` | 2,129 MiB | 2.1 s | 11.3 s | 2,187 MiB, 2,187 |
//! | `SnapshotStore` | 1,838 MiB | 5.2 s | 11.2 s | 1,862 MiB, 1,830 |
//! | `VersionedStore` | 1,669 MiB | 3.7 s | 10.6 s | 2,151 MiB, 1,661 |

#![cfg(feature = "dump")]

#[macro_use]
mod support;

#[path = "support/heap/mod.rs"]
mod heap;

#[path = "dump/files.rs"]
mod files;

use std::io::{self, Read, Write};
use std::time::Instant;

use service_registry::dump::Flaw;
use service_registry::{Batch, Registry, RegistryStore, ServiceInfo};

use files::{dumped, header, record, refused, sealed, side};
use heap::alone;
use heap::counts::{live, peak};
use support::{pod, registration};

/// Counts what is written.
#[derive(Default)]
struct Counting(usize);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Registers pods, ten of a name, each of which hears of a group.
fn fill(store: &impl RegistryStore, pods: usize) {
    for first in (0..pods).step_by(10_000) {
        let mut batch = Batch::new();
        for n in first..(first + 10_000).min(pods) {
            let (service, pod) = (format!("service-{}", n / 10), format!("pod-{n}"));
            let group = format!("service-{}", n / 10 + 1);
            let registration = registration(&service, &pod, &[&group]);
            let info = ServiceInfo::new(registration).unwrap();
            batch.add_subscription(info.key(), &group);
            batch.register_service(info);
        }
        store.commit(batch).unwrap();
    }
}

/// Beside what it is given: a buffer of 64 KiB for either, and what the harness does meanwhile.
const BUFFERS: i64 = 200 << 10;

fn a_dump_takes_memory_for_a_record_and_restoring_for_the_records<S: RegistryStore>(
    make: impl Fn() -> S,
) {
    let _alone = alone();
    for pods in [1_000, 20_000] {
        let before = live();
        let store = make();
        store.save_service(pod("first", "1")).unwrap();
        fill(&store, pods);
        let records = live() - before;
        let registry = Registry::new(&store);
        let (most, written) = peak(|| {
            let mut written = Counting::default();
            registry.dump(&mut written).unwrap();
            written.0
        });
        assert!(written > 300 * pods);
        assert!(most < BUFFERS, "{most} bytes to dump {pods} pods");

        let file = dumped(&store);
        drop(store);
        let before = live();
        let store = make();
        let registry = Registry::new(&store);
        let (most, _) = peak(|| registry.restore(&file[..]).unwrap());
        let kept = live() - before;
        assert_eq!(store.stats().unwrap().services, pods + 1);
        // What is kept, once more in lists and in what makes sure that no key comes twice.
        let limit = records.max(kept) * 3 / 2 + (8 << 20);
        assert!(
            most < limit,
            "{most} bytes to restore {pods} pods, which take {kept}, and took {records}"
        );
    }
}

fn a_million_records<S: RegistryStore>(make: impl Fn() -> S) {
    const PODS: usize = 1_000_000;
    let _alone = alone();
    let before = live();
    let store = make();
    fill(&store, PODS);
    let records = live() - before;
    let registry = Registry::new(&store);
    let path = std::env::temp_dir().join(format!("dump-of-a-million-{}", std::process::id()));
    let began = Instant::now();
    let (most_dumped, ()) = peak(|| {
        let file = std::fs::File::create(&path).unwrap();
        registry.dump(&file).unwrap();
    });
    let dumped = began.elapsed();
    drop(store);
    let mut file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let bytes = io::copy(&mut file.try_clone().unwrap(), &mut io::sink()).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let store = make();
    let registry = Registry::new(&store);
    let before = live();
    let began = Instant::now();
    let (most_restored, _) = peak(|| registry.restore(&file).unwrap());
    let restored = began.elapsed();
    let kept = live() - before;
    assert_eq!(store.stats().unwrap().services, PODS);
    let mib = |bytes: i64| bytes >> 20;
    println!(
        "{}: {} MiB in the store, {} MiB in the file; dumped in {dumped:.1?} with {} KiB; \
         restored in {restored:.1?} with {} MiB, of which {} MiB stay",
        std::any::type_name::<S>(),
        mib(records),
        bytes >> 20,
        most_dumped >> 10,
        mib(most_restored),
        mib(kept),
    );
    assert!(most_dumped < BUFFERS, "{most_dumped} bytes to dump");
    assert!(most_restored < 2 * kept, "{most_restored} bytes to restore");
}

macro_rules! every_store {
    ($make:expr) => {
        #[test]
        fn a_dump_takes_memory_for_a_record_and_restoring_for_the_records() {
            crate::a_dump_takes_memory_for_a_record_and_restoring_for_the_records(|| $make);
        }
        #[test]
        #[ignore = "takes a minute and a gigabyte; run it with --release"]
        fn a_million_records() {
            crate::a_million_records(|| $make);
        }
    };
}

mod memory {
    every_store!(service_registry::MemoryStore::new());
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            every_store!(service_registry::$store::new());
        }
    };
}

shared_stores!(shared);

/// Makes up a line of a gigabyte, and counts what is asked of it.
struct Gigabyte {
    head: io::Cursor<Vec<u8>>,
    left: u64,
    read: u64,
}

impl Gigabyte {
    fn behind(head: &str) -> Gigabyte {
        Gigabyte {
            head: io::Cursor::new(head.into()),
            left: 1 << 30,
            read: 0,
        }
    }
}

impl Read for Gigabyte {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut read = self.head.read(into)?;
        if read == 0 {
            read = into.len().min(usize::try_from(self.left).unwrap());
            into[..read].fill(b'x');
            self.left -= read as u64;
        }
        self.read += read as u64;
        Ok(read)
    }
}

#[test]
fn a_line_of_a_gigabyte_is_refused_with_bounded_memory() {
    let _alone = alone();
    let begun = format!("{}\n", header(1, 1));
    for (line, head) in [
        (1, String::new()),
        (2, begun.clone()),
        (2, format!("{begun}{{\"service_name\":\"")),
        (3, format!("{begun}{}\n{{\"group\":\"", record("web", "1"))),
        (
            4,
            format!("{begun}{}\n{}\n", record("web", "1"), side("x:1", "g")),
        ),
    ] {
        let mut gigabyte = Gigabyte::behind(&head);
        let (most, answer) = peak(|| refused(&mut gigabyte));
        let max = 16 << 20;
        assert_eq!(answer, (line, Flaw::TooLong { max }));
        assert!(
            gigabyte.read < 17 << 20,
            "{} bytes were read",
            gigabyte.read
        );
        // A vector that grows has twice of it for a moment.
        assert!(most < 50 << 20, "{most} bytes");
    }
}

#[test]
fn a_header_that_promises_much_takes_nothing_for_it() {
    let _alone = alone();
    for (services, subscriptions) in [(u64::MAX, 0), (0, u64::MAX), (1 << 60, 1 << 60)] {
        let file = sealed(&[&header(services, subscriptions)]);
        let (most, (line, _)) = peak(|| refused(&file[..]));
        assert_eq!(line, 2);
        assert!(most < 16 << 20, "{most} bytes");
    }
}
