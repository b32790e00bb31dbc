//! One request to an ACME server: over TLS, bounded in time and size, a connection each. There are a few in two months.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::trouble::Trouble;
use crate::clock::Clock;

/// From looking up the name to the last byte of the answer.
const WITHIN: Duration = Duration::from_secs(30);

/// For each address that its name has.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// A chain of certificates is a few KB, a directory one.
const MOST_BYTES: usize = 256 << 10;

/// Asks one ACME server. Cheap to clone; every clone remembers for all.
#[derive(Clone)]
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    asked_to_wait: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    /// Trusts the certificates that `authority` has signed, a file in PEM, else those of the public authorities, as of
    /// the present of `clock`.
    pub(super) fn new(authority: Option<&Path>, provider: Arc<CryptoProvider>, clock: Clock) -> Result<Self, Trouble> {
        let roots = match authority {
            Some(file) => own_roots(file).map_err(|error| Trouble::Authority(file.to_owned(), error.to_string()))?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let builder = ClientConfig::builder_with_details(provider, Arc::new(Today(clock)));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Trouble::Unreachable(error.to_string()))?;
        let tls = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { tls, asked_to_wait: Arc::default() })
    }

    /// For how long the server last asked to be left alone, when it refused for now (RFC 9110 §10.2.3). Forgotten once
    /// it is told.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        self.asked_to_wait.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn heed(&self, response: &Response<Full<Bytes>>) {
        if matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| u64::from_str(value.to_str().ok()?).ok());
            *self.asked_to_wait.lock().unwrap_or_else(PoisonError::into_inner) = wait.map(Duration::from_secs);
        }
    }
}

fn own_roots(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(std::fs::File::open(file)?, MOST_BYTES as u64), &mut bytes)?;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|_| io::Error::other("it is no certificate in PEM"))?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    match roots.is_empty() {
        true => Err(io::Error::other("it has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")),
        false => Ok(roots),
    }
}

/// The clock that certificates of servers are judged by.
#[derive(Debug)]
struct Today(Clock);

impl TimeProvider for Today {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.wall().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("`{0}` is no address of an ACME server")]
    Address(Uri),
    #[error("{0} cannot be connected to: {1}")]
    Connect(String, io::Error),
    #[error("{0} is not trusted: {1}")]
    Tls(String, io::Error),
    #[error("{0} does not answer: {1}")]
    Http(String, hyper::Error),
    #[error("the answer of {0} cannot be read: {1}")]
    Body(String, Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", WITHIN.as_secs())]
    TooLate,
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let answer = tokio::time::timeout(WITHIN, ask(client.tls.clone(), request)).await;
            let answer = answer.unwrap_or(Err(Unanswered::TooLate));
            let answer = answer.map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
            client.heed(&answer);
            Ok(BytesResponse::from(answer))
        })
    }
}

/// One address after the other: where IPv6 leads nowhere, IPv4 has its turn.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(CONNECTED_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

async fn ask(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Unanswered> {
    let uri = request.uri().clone();
    let no_address = || Unanswered::Address(uri.clone());
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(no_address)?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| no_address())?;
    let told = HeaderValue::from_str(authority.as_str()).map_err(|_| no_address())?;
    request.headers_mut().insert(HOST, told);
    // HTTP/1.1 has the path alone in its first line (RFC 9112 §3.2.1).
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| no_address())?;

    let stream = connect(&host, authority.port_u16().unwrap_or(443)).await;
    let stream = stream.map_err(|error| Unanswered::Connect(host.clone(), error))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|error| Unanswered::Tls(host.clone(), error))?;
    let http = |error| Unanswered::Http(host.clone(), error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await.map_err(http)?.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|e| Unanswered::Body(host.clone(), e))?;
        // The connection ends with its last sender.
        drop(sender);
        Ok(Response::from_parts(parts, Full::new(body.to_bytes())))
    };
    // How the connection ends is of no interest to an answer that is whole.
    tokio::join!(answer, connection).0
}
