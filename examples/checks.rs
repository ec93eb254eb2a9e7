//! Measures what it costs to check the health of ten thousand pods every ten seconds: the
//! processor time of a process that does nothing else. The pods are a second process of this
//! program, which answers on 250 addresses of the loopback device.
//!
//! ```console
//! cargo run --release --features checks,versioned --example checks [http|tcp] [seconds]
//! ```

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use service_registry::checks::{CheckOptions, Checks, HttpProbe, Probe, TcpProbe};
use service_registry::{
    Batch, Protocol, Provider, Registry, ServiceInfo, ServiceRegistration, ServiceStatus,
    VersionedStore,
};

const PODS: u32 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let protocol = arguments.next().unwrap_or_else(|| "http".into());
    if protocol == "answer" {
        return answer();
    }
    let seconds = arguments.next().map_or(Ok(30), |seconds| seconds.parse())?;

    let mut pods = Killed(
        Command::new(env::current_exe()?)
            .arg("answer")
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut port = String::new();
    let output = pods.0.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut port)?;
    let port = port.trim().parse()?;
    match protocol.as_str() {
        "http" => check(HttpProbe::new(), port, seconds),
        "tcp" => check(TcpProbe::new(), port, seconds),
        _ => Err("http or tcp".into()),
    }
}

fn check(probe: impl Probe, port: u16, seconds: u64) -> Result<(), Box<dyn Error>> {
    let registry = Registry::new(Arc::new(VersionedStore::new()));
    let mut batch = Batch::new();
    for pod in 0..PODS {
        let host = [127, 0, 0, u8::try_from(1 + pod % 250)?];
        let mut registration =
            ServiceRegistration::new(format!("service-{}", pod % 100), pod.to_string())
                .with_provider(Provider::new(Protocol::Http, host, port));
        let [.., last] = host;
        registration.health_check_url = format!("http://127.0.0.{last}:{port}/health/{pod}");
        batch.register_service(ServiceInfo::new(registration)?);
    }
    registry.commit(batch)?;
    let options = CheckOptions::default();
    // A thread for the checks alone: several threads would wake each other.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let checks = Checks::new(registry.clone(), probe, options);
    std::thread::spawn(move || runtime.block_on(checks.run()));

    // By then, every pod has been checked once, and the first burst is over.
    std::thread::sleep(options.interval);
    let (begun, before, revision) = (Instant::now(), processor_time()?, registry.revision());
    std::thread::sleep(Duration::from_secs(seconds));
    let took = begun.elapsed().as_secs_f64();
    let [user, system] = processor_time()?;
    let spent = user + system - before[0] - before[1];
    let statuses = registry.get_all_services()?;
    let of = |status| statuses.iter().filter(|pod| pod.status() == status).count();
    println!(
        "{PODS} pods, every {:?}: {:.1} % of a core ({spent:.2} s in {took:.1} s, {:.0} % of it in the \
         system), {} commits",
        options.interval,
        100.0 * spent / took,
        100.0 * (system - before[1]) / spent,
        registry.revision().as_u64() - revision.as_u64(),
    );
    let (healthy, unhealthy) = (of(ServiceStatus::Healthy), of(ServiceStatus::Unhealthy));
    println!("{healthy} healthy, {unhealthy} unhealthy");
    Ok(())
}

/// Returns the processor time that this process has used, in user mode and in the system, in
/// seconds. Linux only.
fn processor_time() -> Result<[f64; 2], Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The fields follow the name of the program, which may contain anything but this.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no stat")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<f64, Box<dyn Error>> {
        // There are a hundred ticks in a second, on every Linux that runs Rust.
        Ok(fields.next().ok_or("no times")?.parse::<f64>()? / 100.0)
    };
    Ok([ticks()?, ticks()?])
}

/// Answers for the pods until the parent kills this process.
fn answer() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let mut stream = stream?;
        // A client that only connects, and sends nothing, closes the connection, too.
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok_and(|read| read > 0) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    }
    Ok(())
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
