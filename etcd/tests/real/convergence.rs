//! Random writes and random faults: the copy becomes what etcd has, and never was anything else
//! than what etcd was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use service_registry::RegistryStore;
use service_registry_etcd::etcd_client::{Client, CompactionOptions, DeleteOptions, Txn, TxnOp};
use service_registry_etcd::{Replica, State};
use tokio::time::{sleep, timeout};

use crate::history::{Follower, Recorder};
use crate::proxy::{Mode, Proxy, proxies};
use crate::server::{Cluster, Version, connect};
use crate::support::{Dice, builder, converges, pair, pod, prefix};
use service_registry::VersionedStore;

/// Reads all the time: a name that etcd always has is never empty, and no read waits.
struct Reader {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Reader {
    fn new(store: Arc<VersionedStore>) -> Reader {
        let ends = Arc::new(AtomicBool::new(false));
        let seen = ends.clone();
        let thread = thread::spawn(move || {
            let mut reads = 0;
            while !seen.load(Relaxed) {
                thread::sleep(Duration::from_micros(100));
                let count = store.get_services_by_name("always").unwrap().len();
                // A write that was given up may come later than the next one, and then there are two.
                assert!(count > 0 || reads == 0, "empty after {reads} reads");
                reads += u64::from(count > 0);
            }
            reads
        });
        Reader { ends, thread }
    }

    /// How often it has read since there was one.
    fn end(self) -> u64 {
        self.ends.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

struct Run {
    version: Version,
    dice: Dice,
    etcd: Cluster,
    direct: Client,
    proxies: Arc<Vec<Proxy>>,
    store: Arc<VersionedStore>,
    replica: Replica,
    recorder: Recorder,
    follower: Follower,
    reader: Reader,
    written: u64,
    stopped: Option<usize>,
    killed: Option<usize>,
    seen: BTreeSet<&'static str>,
}

impl Run {
    async fn new(version: Version, members: usize) -> Run {
        let etcd = Cluster::start(version, members, &[]).await;
        let direct = etcd.client().await;
        let proxies = proxies(etcd.members.iter().map(|member| member.port)).await;
        let endpoints: Vec<String> = proxies.iter().map(Proxy::endpoint).collect();
        let store = Arc::new(VersionedStore::new());
        let follower = Follower::new(&*store);
        let replica = builder(connect(&endpoints).await)
            .heartbeat(Duration::from_millis(300))
            .patience(Duration::from_millis(700))
            .longest_wait(Duration::from_millis(200))
            .start(store.clone())
            .await
            .unwrap();
        Run {
            version,
            dice: Dice::new(),
            recorder: Recorder::new(direct.clone()),
            etcd,
            direct,
            proxies,
            reader: Reader::new(store.clone()),
            store,
            replica,
            follower,
            written: 0,
            stopped: None,
            killed: None,
            seen: BTreeSet::new(),
        }
    }

    async fn write(&mut self) {
        let mut ops = Vec::new();
        let (count, first) = (1 + self.dice.roll(4), self.dice.roll(12));
        for at in 0..count {
            let name = (first + at) % 12;
            self.written += 1;
            let service = ["web", "web2", "a/b"][usize::try_from(name % 3).unwrap()];
            let (key, value) = pair(&pod(service, &name.to_string(), &self.written.to_string()));
            ops.push(match self.dice.roll(5) {
                0 | 1 => TxnOp::delete(key, None),
                2 if self.dice.roll(10) == 0 => TxnOp::put(key, "?", None),
                _ => TxnOp::put(key, value, None),
            });
        }
        // One that is never without a pod.
        let always = |at: u64| pair(&pod("always", &format!("{at:09}"), &format!("always {at}")));
        let (key, value) = always(self.written);
        let range = DeleteOptions::new().with_range(key.clone());
        ops.push(TxnOp::delete(prefix().service("always"), Some(range)));
        ops.push(TxnOp::put(key, value, None));
        let mut kv = self.direct.kv_client();
        // Whether it was done, the recorder knows.
        let _ = timeout(Duration::from_secs(2), kv.txn(Txn::new().and_then(ops))).await;
    }

    fn some_member(&mut self) -> usize {
        usize::try_from(self.dice.roll(self.etcd.members.len() as u64)).unwrap()
    }

    fn is_whole(&self) -> bool {
        self.stopped.is_none() && self.killed.is_none()
    }

    async fn step(&mut self) {
        let at = self.some_member();
        let proxies = self.proxies.clone();
        let proxy = &proxies[at];
        let fault = match self.dice.roll(200) {
            0..6 => {
                proxy.cut();
                "cut"
            }
            6..10 => {
                proxy.half_close();
                "half-closed"
            }
            10..14 => {
                proxy.mode(Mode::Stall);
                "stalled"
            }
            14..18 => {
                proxy.mode(Mode::Refuse);
                proxy.cut();
                "refused"
            }
            18..22 => {
                proxy.mode(Mode::Delay(Duration::from_millis(self.dice.roll(60))));
                "delayed"
            }
            22..26 if self.is_whole() => {
                // The recorder must have what goes.
                let now = self.recorder.catches_up(&self.direct).await;
                let mut kv = self.direct.kv_client();
                let physical = Some(CompactionOptions::new().with_physical());
                let at = now - i64::try_from(self.dice.roll(2)).unwrap();
                // It may have been compacted there before.
                let _ = kv.compact(at, physical).await;
                "compacted"
            }
            26 if self.is_whole() => {
                let only = connect(&self.etcd.endpoints()[at..=at]).await;
                let _ = timeout(
                    Duration::from_secs(5),
                    only.maintenance_client().defragment(),
                )
                .await;
                "defragmented"
            }
            27 if self.is_whole() => {
                self.etcd.stop(at);
                self.stopped = Some(at);
                if self.etcd.members.len() == 1 {
                    sleep(Duration::from_millis(self.dice.roll(2_500))).await;
                }
                "stopped"
            }
            // 3.5.1 may lose commits when it is killed (etcd#13766).
            28 if self.is_whole() && self.version == Version::Old => {
                self.etcd.kill(at);
                self.killed = Some(at);
                "killed"
            }
            _ => {
                if self.etcd.members.len() > 1 || self.is_whole() {
                    self.write().await;
                }
                "written"
            }
        };
        self.seen.insert(fault);
        if self.dice.roll(20) == 0 {
            sleep(Duration::from_millis(self.dice.roll(60))).await;
        }
    }

    /// Ends all faults, and looks.
    async fn heal(&mut self) {
        for proxy in self.proxies.iter() {
            proxy.mode(Mode::Pass);
        }
        if let Some(at) = self.stopped.take() {
            self.etcd.go_on(at);
        }
        if let Some(at) = self.killed.take() {
            self.etcd.launch(at);
            self.etcd.ready().await;
        }
        converges(&*self.store, &self.direct, Duration::from_secs(60)).await;
        self.follower.follow();
    }

    async fn run(mut self, steps: u64) {
        let steps = std::env::var("STEPS")
            .ok()
            .and_then(|steps| steps.parse().ok())
            .unwrap_or(steps);
        for _ in 0..steps {
            self.step().await;
            if self.dice.roll(3) == 0 {
                self.heal().await;
            }
        }
        self.heal().await;
        let synced = timeout(Duration::from_secs(30), self.replica.synced());
        synced.await.unwrap().unwrap();
        self.recorder.catches_up(&self.direct).await;
        let barrier = timeout(Duration::from_secs(30), self.replica.read_barrier());
        barrier.await.unwrap().unwrap();
        self.follower.follow();
        let stats = self.replica.stats();
        let recorded = self.recorder.states();
        let left_out = self.follower.agrees(&recorded, stats.lists);
        eprintln!(
            "{} states, {left_out} left out by lists; {stats:?}; {:?}",
            recorded.len(),
            self.seen
        );
        assert_eq!(stats.epoch, 1, "it was the same etcd all the time");
        assert!(matches!(self.replica.state(), State::Synced { .. }));
        let reads = self.reader.end();
        assert!(reads > 1_000, "{reads} reads");
    }
}

async fn one_member(version: Version) {
    Box::pin(Run::new(version, 1).await.run(1_200)).await;
}

async fn three_members(version: Version) {
    Box::pin(Run::new(version, 3).await.run(800)).await;
}

on_both!(one_member, three_members);
