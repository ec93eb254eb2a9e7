//! Authentication and TLS, on a server that has both.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use service_registry::{RegistryStore, ServiceRegistration, VersionedStore};
use service_registry_etcd::etcd_client::{
    Certificate, Client, ConnectOptions, Permission, TlsOptions,
};
use service_registry_etcd::{Error, Registrar, Replica, Why};
use tokio::time::{sleep, timeout};

use crate::server::{Cluster, Version, options};
use crate::support::{PREFIX, builder, pair, pod};

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "correct-horse-battery-staple";

/// A certificate for `name`, and who vouches for it.
struct Certificates {
    authority: String,
    certificate: PathBuf,
    key: PathBuf,
    folder: PathBuf,
}

impl Certificates {
    fn of(names: &[&str]) -> Certificates {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "the tests");
        let key = KeyPair::generate().unwrap();
        let pem = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let folder = std::env::temp_dir().join(format!(
            "service-registry-certificates-{}-{:p}",
            std::process::id(),
            &raw const *pem
        ));
        fs::create_dir_all(&folder).unwrap();
        let (certificate, path) = (folder.join("own.pem"), folder.join("own.key"));
        fs::write(&certificate, own.pem()).unwrap();
        fs::write(&path, key.serialize_pem()).unwrap();
        Certificates {
            authority: pem,
            certificate,
            key: path,
            folder,
        }
    }

    async fn server(&self, version: Version) -> Cluster {
        let certificate = format!("--cert-file={}", self.certificate.display());
        let key = format!("--key-file={}", self.key.display());
        let listen = "--listen-client-urls=https://127.0.0.1:{port}";
        let advertise = "--advertise-client-urls=https://127.0.0.1:{port}";
        Cluster::start(version, 1, &[&certificate, &key, listen, advertise]).await
    }

    fn options(&self) -> ConnectOptions {
        let authority = Certificate::from_pem(&self.authority);
        options().with_tls(TlsOptions::new().ca_certificate(authority))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Connects, and waits until etcd answers.
async fn ready(etcd: &Cluster, options: ConnectOptions) -> Client {
    let begun = async {
        loop {
            let client = Client::connect(etcd.endpoints(), Some(options.clone())).await;
            if let Ok(client) = client
                && client.kv_client().get("/pods/x", None).await.is_ok()
            {
                return client;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, begun).await.expect("etcd answers")
}

/// Who may read the prefix, who may write pods, and who may do all.
async fn enable_authentication(root: &Client) {
    let auth = root.auth_client();
    let grants: [(&str, &[Permission]); 3] = [
        ("root", &[]),
        ("reader", &[Permission::read(PREFIX).with_prefix()]),
        ("writer", &[Permission::read_write(PREFIX).with_prefix()]),
    ];
    for (name, permissions) in grants {
        auth.clone().user_add(name, PASSWORD, None).await.unwrap();
        auth.clone().role_add(name).await.unwrap();
        for permission in permissions {
            auth.clone()
                .role_grant_permission(name, permission.clone())
                .await
                .unwrap();
        }
        auth.clone().user_grant_role(name, name).await.unwrap();
    }
    auth.clone().auth_enable().await.unwrap();
}

async fn copy(client: Client) -> (Arc<VersionedStore>, Replica) {
    crate::support::replica(client).await
}

async fn with_a_password_over_tls(version: Version) {
    let certificates = Certificates::of(&["localhost", "127.0.0.1"]);
    let mut etcd = certificates.server(version).await;
    let root = ready(&etcd, certificates.options()).await;
    enable_authentication(&root).await;
    let as_user = |name: &str| certificates.options().with_user(name, PASSWORD);
    let reader = ready(&etcd, as_user("reader")).await;
    let writer = ready(&etcd, as_user("writer")).await;

    let (store, replica) = copy(reader.clone()).await;
    timeout(SOON, replica.synced()).await.unwrap().unwrap();
    let registrar = Registrar::new(writer.clone()).prefix(PREFIX);
    let ttl = Duration::from_secs(5);
    let one = registrar
        .register(ServiceRegistration::new("web", "1"), ttl)
        .await
        .unwrap();
    timeout(SOON, replica.wait_for(one.revision()))
        .await
        .unwrap()
        .unwrap();
    // A barrier writes, on these servers.
    let refused = timeout(SOON, replica.read_barrier())
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(refused, Error::Etcd(_)), "{refused}");
    let (_, writing) = copy(writer.clone()).await;
    timeout(SOON, writing.read_barrier())
        .await
        .unwrap()
        .unwrap();
    let refused = Registrar::new(reader.clone()).prefix(PREFIX);
    let refused = refused.register(ServiceRegistration::new("web", "2"), ttl);
    let refused = timeout(SOON, refused).await.unwrap().unwrap_err();
    assert!(
        refused.to_string().contains("permission denied"),
        "{refused}"
    );

    // Whoever may not read is told so, and goes on asking.
    let nobody = builder(reader.clone())
        .prefix("/others/")
        .start(VersionedStore::new())
        .await
        .unwrap();
    let trouble = async {
        loop {
            if let Some(Why::Disconnected(said)) = nobody.trouble() {
                return said;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let said = timeout(SOON, trouble).await.unwrap();
    assert!(said.contains("permission denied"), "{said}");

    // The server forgets its tokens: they are as good as expired.
    etcd.kill(0);
    etcd.launch(0);
    let root = ready(&etcd, as_user("root")).await;
    let (key, value) = pair(&pod("web", "3", ""));
    let revision = root.kv_client().put(key, value, None).await.unwrap();
    let revision = u64::try_from(revision.header().unwrap().revision()).unwrap();
    timeout(SOON, replica.wait_for(revision.into()))
        .await
        .unwrap()
        .unwrap();
    assert!(store.contains_service("web:3").unwrap());
    sleep(2 * ttl).await;
    assert!(store.contains_service("web:1").unwrap(), "it is kept alive");
    // And so is a right that is taken away and given back.
    let role = root.auth_client();
    role.clone()
        .user_revoke_role("reader", "reader")
        .await
        .unwrap();
    sleep(Duration::from_secs(2)).await;
    role.clone()
        .user_grant_role("reader", "reader")
        .await
        .unwrap();
    let (key, value) = pair(&pod("web", "4", ""));
    let revision = root.kv_client().put(key, value, None).await.unwrap();
    let revision = u64::try_from(revision.header().unwrap().revision()).unwrap();
    timeout(SOON, replica.wait_for(revision.into()))
        .await
        .unwrap()
        .unwrap();

    let wrong = Client::connect(
        etcd.endpoints(),
        Some(
            certificates
                .options()
                .with_user("reader", format!("{PASSWORD}-wrong")),
        ),
    );
    let wrong = Error::from(wrong.await.err().expect("it is wrong"));
    let shown = format!(
        "{wrong} {wrong:?} {refused} {refused:?} {:?} {:?} {:?} {replica:?} {registrar:?} {one:?}",
        builder(reader.clone()),
        replica.state(),
        nobody.trouble(),
    );
    assert!(!shown.contains(PASSWORD), "{shown}");
}

async fn tls_with_a_wrong_name(version: Version) {
    let certificates = Certificates::of(&["other.example"]);
    let etcd = certificates.server(version).await;
    let authority = || Certificate::from_pem(&certificates.authority);
    let named = TlsOptions::new()
        .ca_certificate(authority())
        .domain_name("other.example");
    let right = ready(&etcd, options().with_tls(named)).await;

    let wrong = Client::connect(etcd.endpoints(), Some(certificates.options()))
        .await
        .unwrap();
    let (store, replica) = copy(wrong).await;
    assert!(
        timeout(Duration::from_secs(2), replica.synced())
            .await
            .is_err()
    );
    let trouble = replica.trouble().expect("it says so");
    assert!(matches!(trouble, Why::Disconnected(_)), "{trouble}");
    assert_eq!(store.revision(), service_registry::Revision::ZERO);

    let (_, replica) = copy(right).await;
    timeout(SOON, replica.synced()).await.unwrap().unwrap();
}

on_both!(with_a_password_over_tls, tls_with_a_wrong_name);
