//! Proof that the law can fail where no store can break it: twins of watches and streams.

use service_registry::MemoryStore;

use crate::law::law;
use crate::support::PATIENCE;
use crate::support::failing::failure;
use crate::support::follower::wrong::DeliveryFault;

#[track_caller]
fn is_noticed(fault: DeliveryFault, expected: &str) {
    let said = failure(PATIENCE, move || {
        law(fault, MemoryStore::new);
    });
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_watch_that_shows_what_was_skipped() {
    is_noticed(DeliveryFault::ShowsSkipped, "is no net effect");
}

#[cfg(feature = "stream")]
mod streams {
    use super::*;

    #[test]
    fn a_stream_that_loses_events() {
        is_noticed(DeliveryFault::StreamLoses, "where nothing is left to tell");
    }

    #[test]
    fn a_stream_that_tells_twice() {
        is_noticed(DeliveryFault::StreamTellsTwice, "told at revision");
    }

    #[test]
    fn a_stream_that_reorders() {
        // The commit that comes late is missed before it comes.
        is_noticed(DeliveryFault::StreamReorders, "several commits as one");
    }

    #[test]
    fn a_stream_that_lags() {
        is_noticed(
            DeliveryFault::StreamLags,
            "told by a watch that is at revision",
        );
    }

    #[test]
    fn a_stream_of_commits_that_folds() {
        is_noticed(DeliveryFault::StreamFolds, "several commits as one");
    }
}
