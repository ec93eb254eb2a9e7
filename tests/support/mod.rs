//! What the test files share.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]
// The kit is a crate for others, too.
#![allow(unreachable_pub, unused_imports)]

/// What the kit for stores from elsewhere has as well.
#[macro_use]
#[path = "../../testkit/src/support/mod.rs"]
mod kit;

pub(crate) mod child;
pub(crate) mod history;
pub(crate) mod linear;
pub(crate) mod random;
pub(crate) mod subject;
#[macro_use]
pub(crate) mod stores;
pub(crate) mod faulty_log;
#[cfg(feature = "snapshot")]
pub(crate) mod twin;

pub(crate) use kit::*;
