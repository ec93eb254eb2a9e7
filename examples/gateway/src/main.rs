//! The program: reads its arguments, runs until it is told to stop.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use service_registry_gateway::{Gateway, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let lifetime = options.lifetime;
    // Before it says that it runs: who reads that may stop it at once.
    let stop_signal = stop_signal();
    let gateway = match Gateway::start(options).await {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("http://{}/", gateway.address());
    tokio::select! {
        () = stop_signal => {}
        () = tokio::time::sleep(lifetime.unwrap_or(Duration::MAX)) => {}
    }
    match gateway.stop().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C, or what `kill` and a supervisor send. It listens from now on.
#[cfg(unix)]
fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};

    let listen = |kind| signal(kind).expect("a runtime with signals");
    let mut interrupt = listen(SignalKind::interrupt());
    let mut terminate = listen(SignalKind::terminate());
    async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
async fn stop_signal() {
    let _ = tokio::signal::ctrl_c().await;
}
