//! Which certificate a client gets, as of now.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::acme::challenges::{ACME_TLS, Challenges};

/// The certificates there are. What is swapped here counts from the next handshake on.
#[derive(Debug, Default)]
pub(super) struct Served {
    issued: RwLock<Option<Arc<CertifiedKey>>>,
    own: RwLock<Option<Arc<CertifiedKey>>>,
    public: RwLock<Option<Arc<CertifiedKey>>>,
    challenges: Challenges,
}

impl Served {
    pub(super) fn issued(&self, key: Arc<CertifiedKey>) {
        *self.issued.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(super) fn own(&self, key: Arc<CertifiedKey>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(super) fn public(&self, key: Arc<CertifiedKey>) {
        *self.public.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// What an ACME server is shown.
    pub(super) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// The one a person brought, under the names it is for; then that of the public names; the box's own under all
    /// others, and for whoever asks by address and so names none (RFC 6066 §3).
    fn for_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = [&self.own, &self.public].into_iter().find_map(|key| {
            let key = key.read().unwrap_or_else(PoisonError::into_inner).clone()?;
            name.is_some_and(|name| is_for(&key, name)).then_some(key)
        });
        named.or_else(|| self.issued.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Whether a certificate is for a name.
pub(super) fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let verify = || {
        let certificate = ParsedCertificate::try_from(key.end_entity_cert().ok()?).ok()?;
        verify_server_name(&certificate, &ServerName::try_from(name).ok()?).ok()
    };
    verify().is_some()
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // It offers nothing else (RFC 8737 §3), and is shown nothing else.
        let is_acme = hello.alpn().is_some_and(|offered| offered.eq([ACME_TLS]));
        match (is_acme, hello.server_name()) {
            (true, name) => self.challenges.certificate(name?),
            (false, name) => self.for_name(name),
        }
    }
}
