//! Each pointer passes every call on, the provided methods as well: a store that does better
//! than those would lose it otherwise.

use std::cell::RefCell;
use std::time::SystemTime;

use service_registry::Result;

use super::support::{CALLS, KEY, WATCHES};
use super::*;
use service_registry::changes::{Cursor, Difference, Selection, Watch};

/// Writes down what it is asked.
#[derive(Default)]
struct Listening(RefCell<Vec<&'static str>>);

impl Listening {
    fn note<T>(&self, call: &'static str) -> Result<T> {
        self.0.borrow_mut().push(call);
        Err(StoreError::Closed)
    }
}

impl RegistryStore for Listening {
    fn save_service(&self, _: ServiceInfo) -> Result<()> {
        self.note("save_service")
    }
    fn get_service(&self, _: &str) -> Result<ServiceInfo> {
        self.note("get_service")
    }
    fn get_services_by_name(&self, _: &str) -> Result<Vec<ServiceInfo>> {
        self.note("get_services_by_name")
    }
    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        self.note("get_all_services")
    }
    fn delete_service(&self, _: &str) -> Result<()> {
        self.note("delete_service")
    }
    fn find_service(&self, _: &str) -> Result<Option<ServiceInfo>> {
        self.note("find_service")
    }
    fn contains_service(&self, _: &str) -> Result<bool> {
        self.note("contains_service")
    }
    fn update_health_status(
        &self,
        _: &str,
        _: ServiceStatus,
        _: SystemTime,
    ) -> Result<HealthUpdate> {
        self.note("update_health_status")
    }
    fn add_subscription(&self, _: &str, _: &str) -> Result<()> {
        self.note("add_subscription")
    }
    fn remove_subscription(&self, _: &str, _: &str) -> Result<()> {
        self.note("remove_subscription")
    }
    fn remove_all_subscriptions(&self, _: &str) -> Result<()> {
        self.note("remove_all_subscriptions")
    }
    fn get_subscribers(&self, _: &str) -> Result<Vec<ServiceKey>> {
        self.note("get_subscribers")
    }
    fn get_subscriber_services(&self, _: &str) -> Result<Vec<ServiceInfo>> {
        self.note("get_subscriber_services")
    }
    fn commit(&self, _: Batch) -> Result<Revision> {
        self.note("commit")
    }
    fn commit_changes(&self, _: Batch) -> Result<(Revision, Vec<Difference>)> {
        self.note("commit_changes")
    }
    fn watch(&self, _: Selection) -> Result<Watch> {
        self.note("watch")
    }
    fn watch_from(&self, _: Selection, _: Cursor) -> Result<Watch> {
        self.note("watch_from")
    }
    fn revision(&self) -> Revision {
        self.0.borrow_mut().push("revision");
        Revision::from(7)
    }
    fn take_service(&self, _: &str) -> Result<ServiceInfo> {
        self.note("take_service")
    }
    fn clear(&self) -> Result<()> {
        self.note("clear")
    }
    fn stats(&self) -> Result<StoreStats> {
        self.note("stats")
    }
    fn ping(&self) -> Result<()> {
        self.note("ping")
    }
    fn close(&self) -> Result<()> {
        self.note("close")
    }
    fn visit_service(&self, _: &str, _: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
        self.note("visit_service")
    }
    fn visit_view(&self, _: &mut dyn FnMut(&dyn service_registry::DynView)) -> Result<()> {
        self.note("visit_view")
    }
}

/// Asks for everything through `store`, and checks that `listening` heard
/// it, once and under its name.
fn passes_on(store: &impl RegistryStore, listening: &Listening) {
    let heard = |call: &str| assert_eq!(listening.0.take(), [call]);
    for (name, call) in CALLS.iter().chain(WATCHES) {
        assert_eq!(call(store), Err(StoreError::Closed));
        // "commit of nothing" is a call of `commit`.
        heard(name.split([',', ' ']).next().unwrap());
    }
    assert_eq!(store.close(), Err(StoreError::Closed));
    heard("close");
    assert_eq!(store.revision().as_u64(), 7);
    heard("revision");
    // `dyn` has no `with_service`.
    assert_eq!(store.with_service(KEY, |_| ()), Err(StoreError::Closed));
    heard("visit_service");
    assert_eq!(store.with_view(|_| ()), Err(StoreError::Closed));
    heard("visit_view");
}

#[test]
#[allow(clippy::arc_with_non_send_sync)] // the pointers are under test
fn pass_every_call_on() {
    let direct = Listening::default();
    passes_on(&direct, &direct);
    passes_on(&&direct, &direct);
    passes_on(&(&direct as &dyn RegistryStore), &direct);
    let boxed = Box::new(Listening::default());
    passes_on(&boxed, &boxed);
    let counted = Rc::new(Listening::default());
    passes_on(&counted, &counted);
    let shared = Arc::new(Listening::default());
    passes_on(&shared, &shared);
    let nested: Arc<Box<dyn RegistryStore + '_>> = Arc::new(Box::new(&shared));
    passes_on(&nested, &shared);
}
