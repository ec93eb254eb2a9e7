//! [`Floor`]: what the work itself costs.

use hashbrown::HashMap;

use super::{About, Kind, Promises};
use crate::hash::RandomState;
use crate::lab::workload::Fleet;
use crate::{ServiceInfo, ServiceKey};

/// One hash map from key to record, with the hasher and the values of the
/// stores and nothing else: no lock, no other index, no revision, no errors.
///
/// It is not a store, because it cannot do what one has to. What a store costs
/// above it is the price of what the store adds.
#[derive(Debug, Default)]
pub struct Floor {
    /// The map.
    pub services: HashMap<ServiceKey, ServiceInfo, RandomState>,
}

impl Floor {
    /// What it is called.
    pub const ABOUT: About = About {
        name: "floor",
        id: "floor",
        about: "a bare hashbrown::HashMap, no synchronisation and no other index",
        own_thread: false,
        kind: Kind::Measure,
        crate_name: Some("hashbrown"),
        promises: Promises::NONE,
    };

    /// Registers a fleet, in `order`.
    pub fn fill(&mut self, fleet: Fleet, order: &[usize]) {
        for &pod in order {
            let record = fleet.record(pod);
            self.services.insert(record.key().clone(), record);
        }
    }
}
