//! The data model: what a pod says of itself, what the registry knows of it, what can
//! be changed, and what can go wrong.
//!
//! ```text
//!  excerpt  revision  cause
//!     |        |        |
//!  condition --'        |
//!     |                 |
//!   error               |
//!     |                 |
//!  limits  time  status |
//!     |     |      |    |
//!    key  host  protocol|
//!     |     |      |    |
//!  provider, registration
//!     |                 |
//!   record, subscription|
//!     |                 |
//!   change -------------'
//!     |
//!   batch
//!     |
//!   check
//! ```

pub(crate) mod batch;
pub(crate) mod cause;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod condition;
pub(crate) mod error;
pub(crate) mod excerpt;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod labels;
pub(crate) mod limits;
pub(crate) mod protocol;
pub(crate) mod provider;
pub(crate) mod record;
pub(crate) mod registration;
pub(crate) mod revision;
pub(crate) mod status;
pub(crate) mod subscription;
pub(crate) mod time;
pub(crate) mod upkeep;
