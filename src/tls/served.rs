//! Which certificate a client gets, as of now.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// The certificates there are. What is swapped here counts from the next handshake on.
#[derive(Debug, Default)]
pub(super) struct Served {
    issued: RwLock<Option<Arc<CertifiedKey>>>,
    own: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Served {
    pub(super) fn issued(&self, key: Arc<CertifiedKey>) {
        *self.issued.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(super) fn own(&self, key: Arc<CertifiedKey>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// The one a person brought, under the names it is for; the box's own under all others, and for whoever asks by
    /// address and so names none (RFC 6066 §3).
    fn for_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner).clone();
        let own = own.filter(|own| name.is_some_and(|name| is_for(own, name)));
        own.or_else(|| self.issued.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let verify = || {
        let certificate = ParsedCertificate::try_from(key.end_entity_cert().ok()?).ok()?;
        verify_server_name(&certificate, &ServerName::try_from(name).ok()?).ok()
    };
    verify().is_some()
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_name(hello.server_name())
    }
}
