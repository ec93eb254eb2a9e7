//! The feature `tower` over real sockets of loopback: a `p2c` of tower over HTTP, and the
//! balanced channel of tonic. The scenarios are in `scenarios.rs`, and run over both.
//!
//! A server has a runtime of its own, so that killing it cuts its connections as the end of a
//! process does.

mod fleet;
mod grpc;
mod http;
mod load;
mod scenarios;

/// Makes a test of each scenario.
macro_rules! scenarios {
    ($protocol:path: $($name:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let test = crate::scenarios::$name::<$protocol>();
            tokio::time::timeout(crate::scenarios::PATIENCE, test)
                .await
                .expect("it hangs");
        }
    )+};
}

/// Every scenario, over one protocol.
macro_rules! every_scenario {
    ($protocol:path) => {
        scenarios! { $protocol:
            a_rollout_under_load_fails_no_request
            a_killed_pod_fails_what_it_had_and_nothing_after_the_event
            a_draining_pod_gets_nothing_new
            a_pod_that_moves_is_left_at_once
            an_empty_name_answers_within_the_time_of_the_caller
            who_waits_for_the_first_pod_gets_it
            health_checks_cost_no_connection
            an_endpoint_that_failed_comes_back
            a_closed_store_leaves_the_balancer_its_pods
        }
    };
}

mod over_http {
    every_scenario!(crate::http::Http);
}
mod over_grpc {
    every_scenario!(crate::grpc::Grpc);
}
