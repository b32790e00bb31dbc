//! A certificate that a person brings, in two files, and what is wrong with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

/// A chain of certificates and a key are a few KB.
const MOST_BYTES: u64 = 256 << 10;

/// Why files are of no use; the words name the file and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("{0} cannot be read: {1}; the program's user must be able to read it")]
    Unreadable(PathBuf, io::Error),
    #[error("{0} is no certificate in PEM; it begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate(PathBuf),
    #[error("{0} is no private key in PEM; it begins with -----BEGIN PRIVATE KEY-----, and has no passphrase")]
    NoKey(PathBuf),
    #[error("the key in {key} does not belong to the first certificate in {certificate}")]
    NotAPair { certificate: PathBuf, key: PathBuf },
}

/// Where a person's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// By what a change of a file is seen: its time, its length, and which file it is where another took its place.
pub(super) type State = [Option<(SystemTime, u64, u64)>; 2];

impl Files {
    pub(super) fn state(&self) -> State {
        use std::os::unix::fs::MetadataExt;
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len(), found.ino()))
        })
    }

    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Unusable> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&self.certificate)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| Unusable::NoCertificate(self.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_| Unusable::NoKey(self.key.clone()))?;
        let not_a_pair = || Unusable::NotAPair { certificate: self.certificate.clone(), key: self.key.clone() };
        CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|_| not_a_pair())
    }
}

/// When a certificate ends (RFC 5280 §4.1.2.5), if it can be read.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let read = || {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(std::fs::File::open(path)?, MOST_BYTES), &mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| Unusable::Unreadable(path.to_owned(), error))
}
