//! What is kept across restarts, as text: the account, and the certificate with its key. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::{AccountCredentials, CertificateIdentifier};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::trouble::Trouble;
use crate::tls::dates::Validity;

/// An account at one server, with its key (RFC 8555 §7.3).
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    /// Whose it is.
    pub(super) directory: String,
    /// Whom the server writes to.
    pub(super) email: Option<String>,
    /// The key is in them, so they are a text that nobody looks at.
    credentials: String,
}

impl Account {
    pub(super) fn new(directory: String, email: Option<String>, credentials: &AccountCredentials) -> Self {
        let credentials = serde_json::to_string(credentials).expect("texts always serialise");
        Self { directory, email, credentials }
    }

    /// What it is used with.
    pub(super) fn credentials(&self) -> Option<AccountCredentials> {
        serde_json::from_str(&self.credentials).ok()
    }

    pub(super) fn with_email(&self, email: Option<String>) -> Self {
        Self { email, ..self.clone() }
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts always serialise")
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// A certificate with those it is signed by, and its key.
pub(super) struct Certificate {
    /// Who issued it.
    pub(super) directory: String,
    /// What it was ordered for.
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
    chain: Vec<CertificateDer<'static>>,
    pem: String,
}

impl Certificate {
    /// `pem` holds the chain, its own certificate first (RFC 8555 §7.4.2), and then the key.
    pub(super) fn new(directory: String, names: Vec<String>, pem: String) -> Result<Self, Trouble> {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| Trouble::Unfit("it is no certificate in PEM"))?;
        let own = chain.first().ok_or(Trouble::Unfit("there is no certificate in it"))?;
        let validity = validity(own).ok_or(Trouble::Unfit("it says nothing of its dates"))?;
        Ok(Self { directory, names, validity, chain, pem })
    }

    pub(super) fn text(&self) -> String {
        format!("directory: {}\nnames: {}\n{}", self.directory, self.names.join(" "), self.pem)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let names = value("names")?.split(' ').map(str::to_owned).collect();
        Self::new(value("directory")?.to_owned(), names, text.get(text.find("-----BEGIN")?..)?.to_owned()).ok()
    }

    /// As it is served.
    pub(super) fn key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Trouble> {
        let key = PrivateKeyDer::from_pem_slice(self.pem.as_bytes()).map_err(|_| Trouble::Unfit("it has no key"))?;
        CertifiedKey::from_der(self.chain.clone(), key, provider)
            .map_err(|_| Trouble::Unfit("it is not for the box's key"))
    }

    /// Whether it was ordered from there, for those names and no others.
    pub(super) fn is_of(&self, directory: &str, names: &[String]) -> bool {
        let all = |some: &[String], of: &[String]| some.iter().all(|name| of.contains(name));
        self.directory == directory && all(&self.names, names) && all(names, &self.names)
    }

    /// By what its issuer knows it (RFC 9773 §4.1).
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        CertificateIdentifier::try_from(self.chain.first()?).ok().map(CertificateIdentifier::into_owned)
    }
}

fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let time = |seconds: i64| -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
    };
    let (begins, ends) = (read.validity().not_before.timestamp(), read.validity().not_after.timestamp());
    Some(Validity { begins: time(begins)?, ends: time(ends)? })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    fn issued(key: &KeyPair) -> String {
        let mut params = CertificateParams::new(["return.studio.tv".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 4, 1));
        params.self_signed(key).unwrap().pem()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_the_same_after_it_was_kept() {
        let key = KeyPair::generate().unwrap();
        let pem = format!("{}{}", issued(&key), key.serialize_pem());
        let made = Certificate::new("https://a/dir".into(), names(&["return.studio.tv"]), pem).unwrap();
        let read = Certificate::read(&made.text()).unwrap();
        assert_eq!((read.validity, read.text()), (made.validity, made.text()));
        let days = read.validity.ends.duration_since(read.validity.begins).unwrap().as_secs() / (24 * 3600);
        assert_eq!(days, 90);
        read.key(&default_provider()).unwrap();
        assert!(read.is_of("https://a/dir", &names(&["return.studio.tv"])));
        assert!(!read.is_of("https://b/dir", &names(&["return.studio.tv"])));
        assert!(!read.is_of("https://a/dir", &names(&["return.studio.tv", "b.studio.tv"])));
        assert!(!read.is_of("https://a/dir", &names(&["b.studio.tv"])));
    }

    #[test]
    fn what_was_cut_off_or_is_of_another_key_is_not_served() {
        let [key, other] = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
        let pem = format!("{}{}", issued(&key), other.serialize_pem());
        let strange = Certificate::new("https://a/dir".into(), names(&["return.studio.tv"]), pem).unwrap();
        assert_eq!(strange.key(&default_provider()).err(), Some(Trouble::Unfit("it is not for the box's key")));
        let text = strange.text();
        for end in [0, 10, 60, 400] {
            assert!(Certificate::read(&text[..end]).is_none_or(|read| read.key(&default_provider()).is_err()), "{end}");
        }
    }
}
