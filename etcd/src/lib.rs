//! x
#![allow(missing_docs)]
#![allow(dead_code)]
mod apply;
mod aside;
mod error;
pub mod keys;
mod message;
mod reducer;
mod revision;
mod state;
pub mod values;

pub use aside::SetAside;
pub use error::InvalidPrefix;
pub use revision::EtcdRevision;
pub use state::{State, Why};
