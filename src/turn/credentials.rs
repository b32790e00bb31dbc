//! Who may allocate: names that carry their own end and passwords made of them, so that nothing has to be kept.
//!
//! Owns: minting and checking the credentials (draft-uberti-behave-turn-rest-00 §2.2: `username = end:id`,
//! `password = base64(HMAC-SHA1(secret, username))`) and nonces. The end is in seconds of the box's own monotonic clock
//! since the program started: the box has no battery clock, and the secret is drawn at each start as well.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// How long after it was given a name may be used to allocate. An allocation may outlive it.
pub const HOLDS: Duration = Duration::from_secs(3600);
/// How long a nonce is taken (RFC 8656 §5: an hour at most).
const NONCE_HOLDS: Duration = Duration::from_secs(1800);
/// Bytes of a nonce that prove the box made it: guesses have to come through the network.
const NONCE_PROOF: usize = 5;

/// A name and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `end:id`.
    pub username: String,
    /// Secret.
    pub password: String,
    /// For how long it may be used to allocate.
    pub holds: Duration,
}

/// Makes and checks credentials. Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Keys>);

struct Keys {
    passwords: hmac::Key,
    nonces: hmac::Key,
    started: Instant,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// From a `secret` nobody else knows; seconds are counted from `started`.
    pub fn new(secret: &[u8; 32], started: Instant) -> Self {
        let of_nonces = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"nonces");
        Self(Arc::new(Keys {
            passwords: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, of_nonces.as_ref()),
            started,
        }))
    }

    /// A login for whoever is called `id`, which must be different for each.
    pub fn mint(&self, now: Instant, id: &str) -> Login {
        let username = format!("{}:{id}", self.seconds(now) + HOLDS.as_secs());
        let password = self.password(&username);
        Login { username, password, holds: HOLDS }
    }

    /// The password that belongs to a name.
    pub(super) fn password(&self, username: &str) -> String {
        STANDARD.encode(hmac::sign(&self.0.passwords, username.as_bytes()))
    }

    /// Whether a name has not ended yet. That the box gave it is proven by its password.
    pub(super) fn is_current(&self, now: Instant, username: &str) -> bool {
        let end = username.split_once(':').and_then(|(end, _)| end.parse::<u64>().ok());
        end.is_some_and(|end| self.seconds(now) < end)
    }

    /// A nonce for one client.
    pub(super) fn nonce(&self, now: Instant, client: SocketAddr) -> String {
        let end = u32::try_from(self.seconds(now) + NONCE_HOLDS.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
        URL_SAFE_NO_PAD.encode([&end[..], &self.proof(end, client)].concat())
    }

    /// Whether a nonce was given to this client, and lately.
    pub(super) fn is_nonce(&self, now: Instant, client: SocketAddr, nonce: &[u8]) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((end, proof)) = bytes.split_first_chunk::<4>() else { return false };
        let is_ours = constant_time::verify_slices_are_equal(&self.proof(*end, client), proof).is_ok();
        is_ours && self.seconds(now) < u64::from(u32::from_be_bytes(*end))
    }

    fn proof(&self, end: [u8; 4], client: SocketAddr) -> [u8; NONCE_PROOF] {
        let ip = match client.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut context = hmac::Context::with_key(&self.0.nonces);
        [&end[..], &ip.octets(), &client.port().to_be_bytes()].iter().for_each(|part| context.update(part));
        let tag = context.sign();
        let mut proof = [0; NONCE_PROOF];
        proof.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        proof
    }

    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.0.started).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_login_is_as_the_rest_form_says() {
        let now = Clock::manual().0.now();
        let credentials = Credentials::new(&[7; 32], now);
        let login = credentials.mint(now + 5 * SECOND, "page");
        assert_eq!(login.username, "3605:page");
        // printf 3605:page | openssl dgst -sha1 -mac HMAC -macopt hexkey:0707…07 -binary | base64
        assert_eq!(login.password, "iBn6pdNZtvRCBVkXqVyu1YXneMc=");
        assert_eq!(credentials.password(&login.username), login.password);
    }

    #[test]
    fn a_name_ends_by_the_monotonic_clock() {
        let now = Clock::manual().0.now();
        let credentials = Credentials::new(&[7; 32], now);
        let login = credentials.mint(now, "a");
        assert!(credentials.is_current(now + HOLDS - SECOND, &login.username));
        assert!(!credentials.is_current(now + HOLDS, &login.username));
        for name in ["", ":", "a:b", "-1:a", "99999999999999999999999:a", "7200"] {
            assert!(!credentials.is_current(now, name), "{name}");
        }
    }

    #[test]
    fn a_nonce_is_one_clients_and_not_for_ever() {
        let now = Clock::manual().0.now();
        let credentials = Credentials::new(&[7; 32], now);
        let (one, other) = (client("192.0.2.1:5000"), client("192.0.2.1:5001"));
        let nonce = credentials.nonce(now, one);
        assert_eq!(nonce.len(), 12);
        assert!(credentials.is_nonce(now, one, nonce.as_bytes()));
        assert!(!credentials.is_nonce(now, other, nonce.as_bytes()));
        assert!(!credentials.is_nonce(now + NONCE_HOLDS, one, nonce.as_bytes()));
        assert!(!Credentials::new(&[8; 32], now).is_nonce(now, one, nonce.as_bytes()));
        for wrong in ["", "AAAA", "AAAAAAAAAAAA", "!!!"] {
            assert!(!credentials.is_nonce(now, one, wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn what_is_logged_of_them_is_nothing() {
        let credentials = Credentials::new(&[7; 32], Clock::manual().0.now());
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    }
}
