//! x
#![allow(missing_docs)]
mod error;
pub mod keys;
mod revision;
pub mod values;

pub use error::InvalidPrefix;
pub use revision::EtcdRevision;
