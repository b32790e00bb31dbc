//! Keeps the certificates fit to be served: at the start, and while names, addresses, files and days change.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::acme::challenges::ACME_TLS;
use super::acme::{self, Acme};
use super::authority::{Authority, Signer, hexadecimal};
use super::calendar::Calendar;
use super::dates::Validity;
use super::issued::Issued;
use super::own::{self, Files, State};
use super::served::Served;
use crate::clock::Clock;
use crate::problems::{Problem, Problems};
use crate::system::Store;

/// Under which names these are kept. Both hold keys.
const AUTHORITY: &str = "https-authority.pem";
const CERTIFICATE: &str = "https-certificate.pem";

/// How often addresses and files are looked at: a phone that joins a network the box has just joined waits so long.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Addresses that a certificate names at most, and names.
const MOST_NAMES: usize = 64;

/// The code of the problem of a person's own certificate.
const PROBLEM: &str = "https_certificate";

/// The code of the problem of one that ends soon.
const ENDS: &str = "https_certificate_ends";

/// How long before its end a person's certificate is a problem.
const TOLD_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// What certificates are for, and where they are kept.
pub struct Config {
    /// Where the authority is kept; `None`: it is another at each start, and nobody can trust it for long.
    pub store: Option<Store>,
    /// Names of the box: the first is its own, by which its authority is called.
    pub names: Vec<String>,
    /// Addresses of the box, as they are when asked.
    pub addresses: fn() -> Vec<IpAddr>,
    /// Files of a certificate that a person brings, and of its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// When the program was made, as far as it knows.
    pub built: SystemTime,
    /// Whether a time server has set the clock.
    pub clock_is_set: fn() -> bool,
}

/// Why there can be no HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    /// TLS cannot be set up with it.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The authority cannot be kept, so that nobody could trust it for longer than until the next start.
    #[error("the certificate authority cannot be kept: {0}")]
    Store(#[from] io::Error),
    /// What was kept is not to be read.
    #[error("the certificate that was made cannot be read")]
    Unreadable,
}

/// Keeps the certificates of a running box.
pub struct Keeper {
    config: Config,
    calendar: Calendar,
    problems: Problems,
    provider: Arc<CryptoProvider>,
    signer: Signer,
    issued: Issued,
    served: Arc<Served>,
    files: Option<Files>,
    loaded: Option<State>,
    /// When the person's certificate that is served ends.
    own_ends: Option<SystemTime>,
}

impl Keeper {
    /// Has the authority, and a certificate for the names and addresses of the moment; makes what there is not.
    ///
    /// # Errors
    /// When there can be no HTTPS.
    pub fn new(config: Config, clock: Clock, problems: Problems) -> Result<Self, NotKept> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let kept = config.store.as_ref().and_then(|store| store.read(AUTHORITY));
        let kept = kept.and_then(|text| {
            let read = Signer::read(&text);
            read.inspect_err(|err| tracing::error!(%err, "the certificate authority is damaged; a new one is made"))
                .ok()
        });
        let signer = match kept {
            Some(signer) => signer,
            None => {
                let named = config.names.iter().filter_map(|name| name.parse().ok());
                let addresses: Vec<IpAddr> = (config.addresses)().into_iter().chain(named).collect();
                let host = config.names.first().map_or("returnfeed", String::as_str);
                let (signer, text) = Signer::make(host, &addresses)?;
                if let Some(store) = &config.store {
                    store.write_private(AUTHORITY, &text)?;
                }
                tracing::info!("made the certificate authority \"{}\"", signer.authority().name);
                signer
            }
        };
        let calendar = Calendar::new(config.store.clone(), clock, config.clock_is_set, config.built);
        let today = calendar.today();
        let kept = config.store.as_ref().and_then(|store| Issued::read(&store.read(CERTIFICATE)?));
        let names = names(&config, &signer);
        let by = hexadecimal(&signer.authority().fingerprint());
        let kept = kept.filter(|issued| issued.does(&by, &names, today) && certified(issued, &provider).is_ok());
        let is_new = kept.is_none();
        let issued = match kept {
            Some(issued) => issued,
            None => signer.issue(&names, Validity::from(today))?,
        };
        let files = config.own.clone().map(|(certificate, key)| Files { certificate, key });
        let mut keeper = Self {
            served: Arc::default(),
            loaded: None,
            own_ends: None,
            config,
            calendar,
            problems,
            provider,
            signer,
            issued,
            files,
        };
        keeper.serve_issued()?;
        if is_new {
            keeper.keep_issued();
        }
        keeper.look_at_files();
        keeper.look_at_its_end();
        keeper.calendar.keep();
        Ok(keeper)
    }

    /// The authority, for people to trust.
    pub fn authority(&self) -> &Authority {
        self.signer.authority()
    }

    /// What keeps public names certified, to be served beside what is served already.
    pub fn acme(&self, config: acme::Config) -> Acme {
        let Config { store, clock_is_set, built, .. } = &self.config;
        let clock = self.calendar.clock().clone();
        let parts = acme::Parts {
            store: store.clone(),
            calendar: Calendar::new(store.clone(), clock.clone(), *clock_is_set, *built),
            clock,
            problems: self.problems.clone(),
            provider: self.provider.clone(),
            served: self.served.clone(),
        };
        Acme::new(config, parts)
    }

    /// How connections are encrypted: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, TURN (RFC 7443), and what ACME servers
    /// look for (RFC 8737).
    ///
    /// # Errors
    /// When the library has no such versions.
    pub fn server(&self) -> Result<Arc<ServerConfig>, NotKept> {
        let builder =
            ServerConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.served.clone());
        config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"stun.turn", ACME_TLS].map(<[u8]>::to_vec).into();
        Ok(Arc::new(config))
    }

    /// Keeps at it until it is aborted.
    pub async fn run(mut self) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.look();
        }
    }

    /// Looks at everything once.
    fn look(&mut self) {
        self.look_at_files();
        self.look_at_its_end();
        self.calendar.keep();
        let names = names(&self.config, &self.signer);
        if self.issued.does(&self.issued.by, &names, self.today()) {
            return;
        }
        match self.signer.issue(&names, Validity::from(self.today())) {
            Ok(issued) => {
                self.issued = issued;
                match self.serve_issued() {
                    Ok(()) => tracing::info!("HTTPS has a new certificate, for {}", names.join(", ")),
                    Err(err) => tracing::error!(%err, "HTTPS keeps its certificate"),
                }
                self.keep_issued();
            }
            Err(err) => tracing::error!(%err, "HTTPS keeps its certificate"),
        }
    }

    fn today(&self) -> SystemTime {
        self.calendar.today()
    }

    fn serve_issued(&self) -> Result<(), NotKept> {
        self.served.issued(certified(&self.issued, &self.provider)?);
        Ok(())
    }

    fn keep_issued(&self) {
        let kept = self.config.store.as_ref().map(|store| store.write_private(CERTIFICATE, &self.issued.text()));
        if let Some(Err(err)) = kept {
            tracing::warn!(%err, "HTTPS's certificate is made anew at the next start");
        }
    }

    fn look_at_files(&mut self) {
        let Some(files) = &self.files else { return };
        let state = files.state();
        if self.loaded == Some(state) {
            return;
        }
        let subject = files.certificate.display().to_string();
        match files.load(&self.provider) {
            Ok(own) => {
                self.own_ends = own.end_entity_cert().ok().and_then(own::end);
                self.served.own(own);
                self.problems.clear(PROBLEM, &subject);
                tracing::info!("HTTPS serves the certificate in {subject}");
            }
            Err(error) => self.problems.raise(Problem {
                code: PROBLEM,
                subject,
                text: format!("HTTPS cannot use the certificate that [https] names: {error}. Meanwhile it serves the last good one, or its own."),
            }),
        }
        self.loaded = Some(state);
    }
}

impl Keeper {
    /// Says that a person's certificate ends soon. The box may think it is earlier than it is, and never later: what it says
    /// is so.
    fn look_at_its_end(&self) {
        let (Some(files), Some(ends)) = (&self.files, self.own_ends) else { return };
        let subject = files.certificate.display().to_string();
        let text = match ends.duration_since(self.today()) {
            Ok(left) if left > TOLD_BEFORE => return self.problems.clear(ENDS, &subject),
            Ok(left) => {
                let days = left.as_secs() / (24 * 3600);
                format!("The certificate that [https] names ends in {days} days: put a new one in its place.")
            }
            Err(_) => {
                "The certificate that [https] names has ended, and browsers refuse it: put a new one in its place."
                    .to_owned()
            }
        };
        self.problems.raise(Problem { code: ENDS, subject, text });
    }
}

/// What a certificate is for: names, then addresses, and this machine for whoever sits at it.
fn names(config: &Config, signer: &Signer) -> Vec<String> {
    let addresses = (config.addresses)().into_iter().map(|address| address.to_canonical().to_string());
    let here = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names: Vec<String> = Vec::new();
    for name in config.names.iter().cloned().chain(here).chain(addresses) {
        if signer.may_name(&name) && !names.contains(&name) && names.len() < MOST_NAMES {
            names.push(name);
        }
    }
    names
}

fn certified(issued: &Issued, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, NotKept> {
    let pem = issued.pem.as_bytes();
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| NotKept::Unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| NotKept::Unreadable)?;
    Ok(Arc::new(CertifiedKey::from_der(vec![certificate], key, provider)?))
}

#[cfg(test)]
mod tests;
