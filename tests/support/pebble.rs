//! A real ACME server, pebble, which looks up names at a name server of the test's own: every name is 127.0.0.1.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::appliance::{Log, command, free_port, spawn_logged};
use super::{Result, http, until};
use std::time::Duration;

/// How long its programs may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(15);

/// Where and how names are confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Validation {
    /// The port that stands for 80.
    pub http_port: u16,
    /// The port that stands for 443.
    pub tls_port: u16,
    /// How long its certificates hold, in seconds.
    pub validity_s: u64,
}

/// A running server, and the name server it asks. Dropped, both are ended.
#[derive(Debug)]
pub struct Pebble {
    server: Child,
    names: Child,
    log: Log,
    home: tempfile::TempDir,
    port: u16,
    management: u16,
    names_management: u16,
}

impl Pebble {
    /// Starts both on free ports of the loopback address.
    ///
    /// # Errors
    /// They are not installed (Debian's `pebble`), or do not come up.
    pub async fn start(validation: Validation) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let [port, management, dns, names_management] = std::array::from_fn(|_| free_port());
        let (root, certificate, key) = own_certificate()?;
        for (file, text) in [("root.pem", root), ("server.pem", certificate), ("server.key", key)] {
            std::fs::write(home.path().join(file), text)?;
        }
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": home.path().join("server.pem"),
            "privateKey": home.path().join("server.key"),
            "httpPort": validation.http_port,
            "tlsPort": validation.tls_port,
            "certificateValidityPeriod": validation.validity_s,
        }});
        std::fs::write(home.path().join("pebble.json"), config.to_string())?;
        let missing = |error: Box<dyn std::error::Error + Send + Sync>| {
            format!("pebble cannot be started (Debian's package `pebble` has it): {error}")
        };
        let at = |port: u16| format!("127.0.0.1:{port}");
        let (names, _) = spawn_logged(
            command("/usr/bin/pebble-challtestsrv")
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "", "-dns01"])
                .args([at(dns), "-management".into(), at(names_management)]),
        )
        .map_err(missing)?;
        let (log, mut server) = (Log::default(), command("/usr/bin/pebble"));
        server.arg("-config").arg(home.path().join("pebble.json")).args(["-dnsserver", &at(dns)]);
        // Without the sleeps by which it imitates a slow server; names are confirmed anew for every order.
        server.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")]);
        server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = server.spawn().map_err(|error| missing(error.into()))?;
        log.follow(server.stdout.take().ok_or("no stdout")?);
        let pebble = Self { server, names, log, home, port, management, names_management };
        until("pebble", UP_WITHIN, async || {
            let names = TcpStream::connect(("127.0.0.1", pebble.names_management)).await;
            names.and(TcpStream::connect(("127.0.0.1", pebble.port)).await).ok()
        })
        .await?;
        Ok(pebble)
    }

    /// The address of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The file with the authority that signed its own certificate.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("root.pem")
    }

    /// The port where records of its name server are set, by `POST /set-txt`, `/clear-txt` and `/add-a`.
    pub fn names_port(&self) -> u16 {
        self.names_management
    }

    /// Has a name lead to another address than this machine's.
    ///
    /// # Errors
    /// The name server does not answer.
    pub async fn lead(&self, name: &str, address: &str) -> Result<()> {
        let body = serde_json::json!({"host": format!("{name}."), "addresses": [address]}).to_string();
        let url = format!("http://127.0.0.1:{}/add-a", self.names_management);
        match http::request("POST", &url, &[], body.as_bytes()).await?.status {
            200 => Ok(()),
            status => Err(format!("the name server says {status}").into()),
        }
    }

    /// What its certificates are trusted by.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn roots(&self) -> Result<RootCertStore> {
        let own = CertificateDer::from_pem_file(self.authority())?;
        let mut stream = connect(self.management, "localhost", roots_of(own)?).await?;
        stream.write_all(b"GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = Vec::new();
        // It may end the connection without a goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        roots_of(CertificateDer::from_pem_slice(&answer)?)
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.names] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Connects to a port of this machine by TLS as `name`, and trusts nothing but `roots`.
///
/// # Errors
/// Nobody is there, or is not trusted.
pub async fn connect(port: u16, name: &str, roots: RootCertStore) -> Result<TlsStream<TcpStream>> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned())?, stream).await?)
}

/// The certificate that whoever trusts `roots` gets there for `name`.
///
/// # Errors
/// As [`connect`].
pub async fn certificate(port: u16, name: &str, roots: RootCertStore) -> Result<Vec<u8>> {
    let stream = connect(port, name, roots).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain.first().ok_or("no certificate")?.to_vec())
}

fn roots_of(certificate: CertificateDer<'_>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.into_owned())?;
    Ok(roots)
}

/// An authority, a certificate of it for this machine, and its key, in PEM.
fn own_certificate() -> Result<(String, String, String)> {
    let [authority_key, key] = [KeyPair::generate()?, KeyPair::generate()?];
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    Ok((root, certificate.pem(), key.serialize_pem()))
}
