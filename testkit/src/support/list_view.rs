//! A view over lists, for the stores of tests.

use std::collections::{BTreeMap, BTreeSet};

use service_registry::{DynView, RegistryView, Revision, ServiceInfo, ServiceKey, StoreStats};

/// A copy of a state, so that the store is not locked while a closure reads it.
pub struct ListView {
    pub revision: Revision,
    pub services: Vec<ServiceInfo>,
    pub groups: BTreeMap<String, Vec<ServiceKey>>,
}

impl ListView {
    pub fn of(view: &dyn DynView) -> ListView {
        let subscribers = |group| view.subscribers(group).cloned().collect();
        let groups = view
            .groups()
            .map(|group| (group.to_owned(), subscribers(group)));
        ListView {
            revision: view.revision(),
            services: view.services().cloned().collect(),
            groups: groups.collect(),
        }
    }
}

impl RegistryView for ListView {
    fn revision(&self) -> Revision {
        self.revision
    }
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.services.iter().find(|info| *info.key() == key)
    }
    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        self.services.iter()
    }
    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        let of_name = |info: &&ServiceInfo| info.service_name() == service_name;
        let found: Vec<_> = self.services.iter().filter(of_name).collect();
        found.into_iter()
    }
    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        self.groups.get(service_group).into_iter().flatten()
    }
    fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.services.iter().map(ServiceInfo::service_name);
        names.collect::<BTreeSet<_>>().into_iter()
    }
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }
    fn stats(&self) -> StoreStats {
        let subscriptions = self.groups.values().map(Vec::len).sum();
        StoreStats::new(self.services.len(), subscriptions)
    }
}
