//! [`Options`]: the arguments of the program.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use service_registry::checks::CheckOptions;
use service_registry::leases::LeaseOptions;

/// A gateway over a service registry, with a page that shows its fleet.
///
/// It has no authentication: whoever reaches its address may register, drain and kill pods.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version)]
pub struct Options {
    /// Where to listen; port 0 for any [default: 127.0.0.1:7070, or any port if that is taken]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// A name in URLs that lead here, beside IP addresses and `localhost`; several times for more
    #[arg(long = "host", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub hosts: Vec<String>,
    /// Restore the registry from this file, if it is there, and keep it up to date
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// How often to write the dump, where something has changed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub dump_every: Duration,
    /// How many pods may be registered
    #[arg(long, value_name = "PODS", default_value_t = 2_000)]
    pub limit: usize,
    /// Do not simulate a fleet
    #[arg(long)]
    pub no_fleet: bool,
    /// Stop after this time, such as 3s or 500ms
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub lifetime: Option<Duration>,
    /// What tests set, and the command line does not.
    #[arg(skip)]
    pub tuning: Tuning,
}

/// How quickly the gateway finds out.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// How pods are probed.
    pub checks: CheckOptions,
    /// How leases end where many do.
    pub leases: LeaseOptions,
    /// How often it is looked which leases have ended.
    pub sweep: Duration,
    /// How long a pod that was restored from a dump may take to register again.
    pub restored_ttl: Duration,
    /// How long a pod may take to begin its answer.
    pub answer: Duration,
    /// How long a pod is left out that did not answer.
    pub ejected: Duration,
}

impl Default for Tuning {
    /// Quick enough for a demonstration.
    fn default() -> Tuning {
        let second = Duration::from_secs(1);
        Tuning {
            checks: CheckOptions {
                interval: second,
                timeout: second / 2,
                rise: 1,
                fall: 2,
                ..CheckOptions::default()
            },
            leases: LeaseOptions {
                hold: 15 * second,
                ..LeaseOptions::default()
            },
            sweep: second / 2,
            restored_ttl: 30 * second,
            answer: 10 * second,
            ejected: 5 * second,
        }
    }
}

impl Default for Options {
    /// Any port of loopback, and no fleet.
    fn default() -> Options {
        Options {
            listen: Some(([127, 0, 0, 1], 0).into()),
            no_fleet: true,
            ..Options::parse_from(["gateway"])
        }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * seconds)
    });
    found
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a time longer than zero, such as 500ms, 3s or 1m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(time("1.5s"), time("1500ms"));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in [
            "", "3", "s", "-1s", "0s", "1h", "infs", "NaNs", "1e99s", " 3s",
        ] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }
}
