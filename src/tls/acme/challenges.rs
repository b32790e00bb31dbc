//! What an ACME server may ask for right now, while it makes sure that a name leads to this box.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_rustls::rustls::sign::CertifiedKey;

/// By which connections of TLS-ALPN-01 are told from all others (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// What is asked for while an order waits, and nothing otherwise. Cheap to clone; every clone is the same table.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    /// HTTP-01 (RFC 8555 §8.3): by token.
    answers: BTreeMap<String, String>,
    /// TLS-ALPN-01 (RFC 8737 §3): by name, in lower case.
    certificates: BTreeMap<String, Arc<CertifiedKey>>,
}

impl Challenges {
    /// What `/.well-known/acme-challenge/TOKEN` says (RFC 8555 §8.3); none when nobody waits for it.
    pub fn answer(&self, token: &str) -> Option<String> {
        self.pending().answers.get(token).cloned()
    }

    /// What whoever asks for [`ACME_TLS`] and `name` is shown.
    pub(in crate::tls) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.pending().certificates.get(&name.to_ascii_lowercase()).cloned()
    }

    pub(in crate::tls) fn expect_token(&self, token: String, answer: String) {
        self.pending().answers.insert(token, answer);
    }

    pub(in crate::tls) fn expect_name(&self, name: &str, certificate: Arc<CertifiedKey>) {
        self.pending().certificates.insert(name.to_ascii_lowercase(), certificate);
    }

    /// From now on nothing is expected, until something else is.
    pub(in crate::tls) fn forget(&self) {
        *self.pending() = Pending::default();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_answered_and_nothing_else() {
        let challenges = Challenges::default();
        assert_eq!(challenges.answer(""), None);
        challenges.clone().expect_token("abc".into(), "abc.thumb".into());
        assert_eq!(challenges.answer("abc").as_deref(), Some("abc.thumb"));
        assert_eq!(challenges.answer("ab"), None);
        challenges.forget();
        assert_eq!(challenges.answer("abc"), None);
    }
}
