//! Proof that the law can fail where no store can break it: twins of watches and streams.

use service_registry::MemoryStore;

use crate::law::law;
use crate::support::PATIENCE;
use crate::support::failing::failure;
use crate::support::follower::wrong::Fault;

#[track_caller]
fn is_noticed(fault: Fault, expected: &str) {
    let said = failure(PATIENCE, move || {
        law(fault, MemoryStore::new);
    });
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_watch_that_shows_what_was_skipped() {
    is_noticed(Fault::ShowsSkipped, "is no net effect");
}

#[cfg(feature = "stream")]
mod streams {
    use super::*;

    #[test]
    fn a_stream_that_loses_events() {
        is_noticed(Fault::StreamLoses, "where nothing is left to tell");
    }

    #[test]
    fn a_stream_that_tells_twice() {
        is_noticed(Fault::StreamTellsTwice, "told at revision");
    }

    #[test]
    fn a_stream_that_reorders() {
        // The commit that comes late is missed before it comes.
        is_noticed(Fault::StreamReorders, "several commits as one");
    }

    #[test]
    fn a_stream_that_lags() {
        is_noticed(Fault::StreamLags, "told by a watch that is at revision");
    }

    #[test]
    fn a_stream_of_commits_that_folds() {
        is_noticed(Fault::StreamFolds, "several commits as one");
    }
}
