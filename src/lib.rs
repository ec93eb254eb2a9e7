//! An in-process service registry.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod error;
mod hash;
mod registry;
mod select;
mod service;
mod store;
mod sync;

pub use batch::{Batch, Change, Revision};
pub use error::{InvalidInput, Problem, Result, StoreError};
pub use registry::Registry;
pub use select::{DefaultStore, StoreKind};
pub use service::{
    MAX_NAME_LEN, Protocol, Provider, ServiceInfo, ServiceKey, ServiceRegistration, ServiceStatus,
};
pub use store::*;
