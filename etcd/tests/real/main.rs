//! Replicas and registrars against real servers, which `.ci/etcd` brings:
//!
//!     .ci/etcd && cargo test -p service-registry-etcd --test real -- --ignored
//!
//! # Known faults of others
//!
//! Each has a test, in `faults.rs`, in `registrations.rs`, in `tests/scripted` or in the tests of the
//! reducer.
//!
//! | fault | test |
//! | --- | --- |
//! | progress told before its events (etcd#15220) | `progress_that_runs_ahead_is_not_believed` |
//! | no progress on a quiet watch (etcd#17507) | `a_watch_that_is_silent_is_replaced`, `empty_and_quiet` |
//! | events skipped behind a compaction (etcd#17529) | `events_skipped_behind_a_compaction`, `a_version_that_does_not_follow_shows_what_was_skipped` |
//! | a delete lost at the compaction revision (etcd#18089, #19179, PR 19251) | `a_delete_at_the_revision_of_a_compaction`, `a_change_that_was_skipped_makes_it_list_again` |
//! | a watch from the future that shows the past (etcd#20221) | `the_past_changes_nothing` |
//! | a revision torn on resume (python-etcd3#729) | `fragments_are_joined`, `what_is_half_there_is_not_seen_and_not_kept` |
//! | resuming from "now" (dotnet-etcd#310) | `served_meanwhile` |
//! | a watch that hangs behind a stopped member (etcd#8980) | `a_stopped_member` |
//! | keep-alives that end with a leader (etcd#15922) | `pods_outlive_changes_of_the_leader` |
//! | a lease that is never taken again (registry-etcd#11) | `a_lease_that_is_lost_is_taken_anew` |
//! | a process that is paused (SIGSTOP), and wakes when another has come in its place | `a_process_that_was_paused_changes_nothing` |
//! | connections that are cut off for asking whether they live | `a_quiet_watch_is_not_cut_off` |
//! | health that waits, and the lease runs out meanwhile | `health_that_waits_is_in_nobodys_way` |
//! | a page that never comes in time | `a_slow_connection_lists_in_smaller_pages` |
//! | a barrier that writes where it need not | `a_barrier_writes_nothing_before_it_knows_whom_to_trust` |
//! | a name that is another's prefix (etcd#15022) | `a_service_whose_name_begins_anothers_has_keys_of_its_own` |
//! | an empty list by mistake (nacos#4470, shenyu#6526) | `a_list_that_is_empty_by_mistake_takes_nothing_away` |
//! | values and keys of any kind | `hard_values` |
//! | expired tokens, TLS with a wrong name | `with_a_password_over_tls`, `tls_with_a_wrong_name` |
//!
//! # How the tests could fail
//!
//! Each of these reducers was tried once, by hand, and fails some test: one that watches from the
//! next revision; takes a fragment for the whole; believes any progress, an empty list or a short
//! page; does not look for a restore or for skipped events; leaves out every 31st commit; makes one
//! commit of each key. The faults that real servers can show (the next revision, fragments, commits
//! that are torn or left out) fail here.

/// Tests that run on both servers.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod v3_4 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs etcd: .ci/etcd"]
                async fn $test() {
                    super::$test(crate::server::Version::Old).await;
                }
            )+
        }

        mod v3_5 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs etcd: .ci/etcd"]
                async fn $test() {
                    super::$test(crate::server::Version::New).await;
                }
            )+
        }
    };
}

mod basics;
mod convergence;
mod faults;
mod history;
mod proxy;
mod registrations;
#[cfg(feature = "tls")]
mod secure;
mod server;
mod support;
