//! A store that accepts everything and stores nothing: a burst with it measures the waking of the
//! threads.

use std::time::SystemTime;

use service_registry::{ServiceInfo, ServiceStatus};

use crate::fleet::epoch;
use crate::subject::{Handle, NewPod, Subject};

/// Stores nothing but the number of pods that it was filled with.
pub(crate) struct Null(usize);

impl Subject for Null {
    type Handle<'a> = &'a Null;

    const REMEMBERS: bool = false;

    fn create(_: u64) -> Null {
        Null(0)
    }

    fn handle(&self) -> &Null {
        self
    }

    fn fill(&mut self, pods: &mut dyn Iterator<Item = ServiceInfo>) {
        self.0 = pods.count();
    }
}

impl Handle for &Null {
    fn with(&mut self, _: &str) -> Option<ServiceStatus> {
        Some(ServiceStatus::Healthy)
    }

    fn get(&mut self, _: &str) -> bool {
        true
    }

    fn checked_at(&mut self, _: &str) -> Option<SystemTime> {
        Some(epoch())
    }

    fn update(&mut self, _: &str, _: ServiceStatus, _: SystemTime) -> bool {
        true
    }

    fn insert(&mut self, _: &NewPod) -> bool {
        true
    }

    fn remove(&mut self, _: &str) -> bool {
        true
    }

    fn replace(&mut self, _: ServiceInfo) -> bool {
        true
    }

    fn pods(&mut self) -> usize {
        self.0
    }
}
