//! What happened, as another client recorded it, and what the copy made of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use service_registry::changes::{Difference, Event, Selection, Watch};
use service_registry::{RegistryStore, ServiceInfo};
use service_registry_etcd::etcd_client::{Client, EventType, WatchOptions};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::{PREFIX, prefix};

/// Pods by key, with the zone, which no two writes share.
type Zones = BTreeMap<String, String>;
/// Of each revision what it did.
type Log = BTreeMap<i64, Vec<(String, Option<String>)>>;

/// Follows etcd by a bare watch.
pub(crate) struct Recorder {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Records everything from the first revision on.
    pub(crate) fn new(client: Client) -> Recorder {
        let log = Arc::new(Mutex::new(Log::new()));
        let task = tokio::spawn(record(client, log.clone()));
        Recorder { log, task }
    }

    /// Waits until it has everything that etcd has now: up to the revision that it answers with.
    pub(crate) async fn catches_up(&self, client: &Client) -> i64 {
        // A member that was started again a moment ago may refuse.
        let revision = loop {
            let marker = client.kv_client().put("/pods/%/barrier", "", None).await;
            if let Ok(marker) = marker {
                break marker.header().unwrap().revision();
            }
            sleep(Duration::from_millis(20)).await;
        };
        while self
            .log
            .lock()
            .unwrap()
            .last_key_value()
            .is_none_or(|last| *last.0 < revision)
        {
            sleep(Duration::from_millis(5)).await;
        }
        revision
    }

    /// The state after each revision that changed it, in order.
    pub(crate) fn states(&self) -> Vec<Zones> {
        let mut now = Zones::new();
        let mut states = vec![now.clone()];
        for changes in self.log.lock().unwrap().values() {
            for (key, zone) in changes {
                match zone {
                    Some(zone) => drop(now.insert(key.clone(), zone.clone())),
                    None => drop(now.remove(key)),
                }
            }
            if states.last() != Some(&now) {
                states.push(now.clone());
            }
        }
        states
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(client: Client, log: Arc<Mutex<Log>>) {
    loop {
        let from = log
            .lock()
            .unwrap()
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        let mut watch = client.watch_client().max_decoding_message_size(usize::MAX);
        if let Ok(mut stream) = watch.watch(PREFIX, Some(options)).await {
            while let Ok(Some(answer)) = stream.message().await {
                assert_eq!(answer.compact_revision(), 0, "the recorder was too slow");
                let mut log = log.lock().unwrap();
                for event in answer.events() {
                    let kv = event.kv().unwrap();
                    let text = kv.key_str().unwrap();
                    let change = match serde_json::from_slice::<ServiceInfo>(kv.value()) {
                        Ok(info) if event.event_type() == EventType::Put => {
                            assert_eq!(prefix().key(info.key()), text);
                            (text.to_string(), Some(info.zone().to_string()))
                        }
                        _ => (text.to_string(), None),
                    };
                    log.entry(kv.mod_revision()).or_default().push(change);
                }
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Follows the store, commit by commit, from the time when it is still empty.
pub(crate) struct Follower {
    watch: Watch,
    now: Zones,
    states: Vec<Zones>,
}

impl Follower {
    pub(crate) fn new(store: &impl RegistryStore) -> Follower {
        let mut watch = store.watch(Selection::All).unwrap();
        let Event::State { services, .. } = watch.recv_commit().unwrap() else {
            panic!("no state")
        };
        assert!(services.is_empty());
        Follower {
            watch,
            now: Zones::new(),
            states: vec![Zones::new()],
        }
    }

    /// Takes the commits that are there.
    pub(crate) fn follow(&mut self) {
        while let Some(event) = self.watch.try_recv_commit().unwrap() {
            let Event::Changes { changes, .. } = event else {
                panic!("it fell behind")
            };
            for change in changes {
                match change {
                    Difference::Added(info) | Difference::Changed { after: info, .. } => {
                        let key = prefix().key(info.key());
                        self.now.insert(key, info.zone().to_string());
                    }
                    Difference::Removed { last, .. } => {
                        self.now.remove(&prefix().key(last.key()));
                    }
                    _ => {}
                }
            }
            self.states.push(self.now.clone());
        }
    }

    /// Each state of the copy was one of etcd's, in the same order, and none is left out but
    /// where it was listed anew. Answers with how many were.
    pub(crate) fn agrees(&self, recorded: &[Zones], lists: u64) -> usize {
        let mut rest = recorded.iter();
        let mut jumps = 0;
        let mut left_out = 0;
        for state in &self.states {
            let mut skipped = 0;
            loop {
                let next = rest.next().unwrap_or_else(|| {
                    panic!("etcd was never so, or not after what came before: {state:?}")
                });
                if next == state {
                    break;
                }
                skipped += 1;
            }
            jumps += u64::from(skipped > 0);
            left_out += skipped;
        }
        assert_eq!(rest.count(), 0, "the copy has come to the end");
        assert!(jumps <= lists, "{jumps} gaps, {lists} lists");
        left_out
    }
}
