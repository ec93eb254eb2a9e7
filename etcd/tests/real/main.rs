//! Replicas and registrars against real servers, which `.ci/etcd` brings:
//!
//!     .ci/etcd && cargo test -p service-registry-etcd --test real -- --ignored

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
