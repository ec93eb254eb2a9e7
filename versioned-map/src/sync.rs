//! The only place that switches between the standard library, loom and shuttle.
//!
//! Models run with
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --lib -p versioned-map models`.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard},
    thread_local,
};

#[cfg(not(any(test, loom, shuttle)))]
pub(crate) use std::sync::atomic;

#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use delayed::atomic;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) mod delayed;

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic},
    thread_local,
};

#[cfg(loom)]
pub(crate) use {
    local_of_loom as thread_local,
    loom::sync::{Mutex, MutexGuard, atomic},
};

/// A `static`, which a model makes anew each time that it runs. There it is leaked, because threads
/// end after the model has.
macro_rules! global {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $new:expr;) => {
        #[cfg(not(any(loom, shuttle)))]
        $(#[$attribute])*
        static $name: $type = $new;

        #[cfg(loom)]
        loom::lazy_static! {
            $(#[$attribute])*
            static ref $name: &'static $type = Box::leak(Box::new($new));
        }

        #[cfg(shuttle)]
        shuttle::lazy_static! {
            $(#[$attribute])*
            static ref $name: &'static $type = Box::leak(Box::new($new));
        }
    };
}
pub(crate) use global;

/// `thread_local!` of loom, which knows no `const` blocks.
#[cfg(loom)]
macro_rules! local_of_loom {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = const $first:block;)*) => {
        loom::thread_local! { $($(#[$attribute])* $visibility static $name: $type = $first;)* }
    };
}
#[cfg(loom)]
pub(crate) use local_of_loom;
