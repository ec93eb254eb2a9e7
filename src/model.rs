pub use crate::batch::Revision;
pub use crate::error::{Result, StoreError};
pub use crate::service::{ServiceInfo, ServiceKey, ServiceRegistration};
/// Cause
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// a
    Deleted,
    /// a
    Unknown,
}
