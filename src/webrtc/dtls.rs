//! DTLS 1.2 as a server, for the SRTP keys (RFC 5763, RFC 5764), on `rtc-dtls`.
//!
//! Owns: the box's certificate, one association per session, and the choice of the SRTP profile.
//! Does not own: who may start a handshake: `session` hands over only what comes along a path that
//! ICE has proven. An association belongs to its session, not to an address, so it survives a
//! change of path.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::contained::contained;
use super::srtp::{Keys, Profile};

/// Label of the exporter (RFC 5764 §4.2).
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// How long a flight is given before it is sent again: LAN round trips are a few milliseconds.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(250);
/// A handshake takes about 3 KB from the client; what sends much more is up to no good.
const MOST_HANDSHAKE_BYTES: usize = 64 << 10;
/// Datagrams accepted after the handshake: a lost last flight, close_notify, no data channel.
const MOST_LATER_DATAGRAMS: u32 = 1_000;

/// The `rtc-dtls` endpoint keys its associations by address; ours has exactly one.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The fingerprint of a certificate as SDP carries it (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How it was hashed.
    pub hash: FingerprintHash,
    /// The digest.
    pub digest: Vec<u8>,
}

/// A hash function of RFC 8122 §5 that is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintHash {
    /// `sha-256`.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl FingerprintHash {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    /// Its name in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

impl Fingerprint {
    /// Reads the value of `a=fingerprint`: `sha-256 AB:CD:…`.
    pub fn parse(value: &str) -> Option<Self> {
        let (name, digits) = value.trim().split_once(' ')?;
        let hash = [FingerprintHash::Sha256, FingerprintHash::Sha384, FingerprintHash::Sha512]
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(name))?;
        let byte = |pair: &str| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten();
        let digest: Vec<u8> = digits.trim().split(':').map(byte).collect::<Option<_>>()?;
        (digest.len() == hash.algorithm().output_len()).then_some(Self { hash, digest })
    }

    /// Whether this is the fingerprint of a certificate in DER form.
    pub fn matches(&self, der: &[u8]) -> bool {
        digest::digest(self.hash.algorithm(), der).as_ref() == self.digest
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.hash.name())?;
        for (n, byte) in self.digest.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for WebRTC could be made: {0}")]
pub struct IdentityError(String);

/// The box's self-signed certificate. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    certificate: Certificate,
    crypto: Arc<dyn RTCCryptoProvider>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// Makes a certificate with a new key.
    ///
    /// # Errors
    /// When the crypto library refuses, for lack of randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let failed = |err: &dyn std::fmt::Display| IdentityError(err.to_string());
        let crypto = default_provider().map_err(|err| failed(&err))?;
        let certificate = Certificate::generate_self_signed(vec!["returnfeed".to_owned()], crypto.crypto())
            .map_err(|err| failed(&err))?;
        let der = certificate.certificate.first().ok_or_else(|| failed(&"it is empty"))?;
        let digest = digest::digest(&digest::SHA256, der).as_ref().to_vec();
        let fingerprint = Fingerprint { hash: FingerprintHash::Sha256, digest };
        Ok(Self { certificate, crypto, fingerprint })
    }

    /// What the answer says about the certificate.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The crypto the certificate is used with.
    pub fn crypto(&self) -> Arc<dyn RTCCryptoProvider> {
        self.crypto.clone()
    }

    fn server_config(&self, peer: &[Fingerprint], profiles: &[Profile]) -> Result<Arc<HandshakeConfig>, Error> {
        let expected = peer.to_vec();
        let verify = move |certificates: &[Vec<u8>], _: &[_]| {
            let matches = certificates.first().is_some_and(|der| expected.iter().any(|print| print.matches(der)));
            if matches { Ok(()) } else { Err(Error::ErrVerifyDataMismatch) }
        };
        let profiles = profiles.iter().map(|profile| match profile {
            Profile::Aes128CmSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        });
        ConfigBuilder::default()
            .with_crypto_provider(self.crypto.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(profiles.collect())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(FLIGHT_INTERVAL)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .build(false, None)
            .map(Arc::new)
    }
}

/// What became of a session's handshake.
pub enum DtlsEvent {
    /// It is done: the peer's keys and ours.
    Connected {
        /// What the peer protects with.
        client: Keys,
        /// What the box protects with.
        server: Keys,
    },
    /// The peer said goodbye.
    Closed,
}

/// Why an association ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// The handshake failed, or its retransmissions were used up.
    #[error("the DTLS handshake failed: {0}")]
    Failed(String),
    /// More data than a handshake has.
    #[error("the peer sent more than a DTLS handshake has")]
    TooMuch,
}

/// One session's association.
pub struct Dtls {
    identity: Identity,
    peer: Vec<Fingerprint>,
    /// In the order they are tried; one handshake offers one, for the library lets the client's
    /// order decide and the CPU's order matters more.
    profiles: Vec<Profile>,
    /// Gone when the library has panicked in it.
    endpoint: Option<Endpoint>,
    /// What came before a profile was agreed, to start again with the next one.
    opening: Vec<Vec<u8>>,
    received: usize,
    connected: bool,
    later: u32,
}

impl Dtls {
    /// An association that waits for a client whose certificate has one of the fingerprints.
    ///
    /// # Errors
    /// When the configuration is refused, which only an unusable certificate can cause.
    pub fn new(identity: Identity, peer: Vec<Fingerprint>, profiles: &[Profile]) -> Result<Self, DtlsError> {
        let mut profiles = profiles.to_vec();
        profiles.reverse();
        let endpoint = Some(next_endpoint(&identity, &peer, &mut profiles)?);
        let opening = Vec::new();
        Ok(Self { identity, peer, profiles, endpoint, opening, received: 0, connected: false, later: 0 })
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// When the association has ended. Alerts may be waiting in [`Self::poll_transmit`].
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<DtlsEvent>, DtlsError> {
        if self.connected {
            self.later += 1;
            if self.later > MOST_LATER_DATAGRAMS {
                return Err(DtlsError::TooMuch);
            }
        } else {
            self.received += datagram.len();
            if self.received > MOST_HANDSHAKE_BYTES {
                return Err(DtlsError::TooMuch);
            }
            if !self.profiles.is_empty() {
                self.opening.push(datagram.to_vec());
            }
        }
        match self.read(now, datagram) {
            Err(Error::ErrServerNoMatchingSrtpProfile) if !self.profiles.is_empty() => {
                self.endpoint = Some(next_endpoint(&self.identity, &self.peer, &mut self.profiles)?);
                let opening = std::mem::take(&mut self.opening);
                if !self.profiles.is_empty() {
                    self.opening = opening.clone();
                }
                let mut last = None;
                for datagram in &opening {
                    last = self.read(now, datagram).map_err(failed)?.or(last);
                }
                Ok(last)
            }
            result => result.map_err(failed),
        }
    }

    fn read(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<DtlsEvent>, Error> {
        let events = self.guarded(|endpoint| endpoint.read(now, PEER, None, BytesMut::from(datagram)))?;
        let mut outcome = None;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.connected = true;
                    self.opening = Vec::new();
                    outcome = Some(self.keys()?);
                }
                EndpointEvent::PeerClosed => outcome = Some(DtlsEvent::Closed),
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// Every use of the library: a panic in it ends this association and nothing else.
    fn guarded<T>(&mut self, act: impl FnOnce(&mut Endpoint) -> Result<T, Error>) -> Result<T, Error> {
        let broken = || Error::Other("the DTLS library cannot go on with what the peer sent".into());
        let mut endpoint = self.endpoint.take().ok_or_else(broken)?;
        let (endpoint, result) = contained(move || {
            let result = act(&mut endpoint);
            (endpoint, result)
        })
        .ok_or_else(broken)?;
        self.endpoint = Some(endpoint);
        result
    }

    fn keys(&mut self) -> Result<DtlsEvent, Error> {
        self.guarded(|endpoint| {
            let state = endpoint.get_connection_state(PEER).ok_or(Error::HandshakeInProgress)?;
            let profile = match state.srtp_protection_profile() {
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1_80,
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
                _ => return Err(Error::ErrServerNoMatchingSrtpProfile),
            };
            let material = state.export_keying_material(EXPORTER, &[], profile.keying_material_len())?;
            let (client, server) =
                Keys::from_keying_material(profile, material.as_ref()).ok_or(Error::ErrLengthMismatch)?;
            Ok(DtlsEvent::Connected { client, server })
        })
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.guarded(|endpoint| Ok(endpoint.poll_transmit())).ok().flatten().map(|transmit| transmit.message)
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let endpoint = self.endpoint.as_ref().filter(|_| !self.connected)?;
        contained(|| endpoint.poll_timeout(&PEER)).flatten()
    }

    /// Sends a flight again whose answer is late.
    ///
    /// # Errors
    /// When it was sent often enough.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        self.guarded(|endpoint| match endpoint.poll_timeout(&PEER) {
            Some(_) => endpoint.handle_timeout(PEER, now),
            None => Ok(()),
        })
        .map_err(failed)
    }

    /// Says goodbye; the datagram waits in [`Self::poll_transmit`].
    pub fn close(&mut self, now: Instant) {
        if self.connected {
            // Who cannot be told notices the silence.
            let _ = self.guarded(|endpoint| Ok(endpoint.stop(now, PEER)));
        }
    }
}

fn failed(err: Error) -> DtlsError {
    DtlsError::Failed(err.to_string())
}

fn next_endpoint(
    identity: &Identity,
    peer: &[Fingerprint],
    profiles: &mut Vec<Profile>,
) -> Result<Endpoint, DtlsError> {
    let profile = profiles.pop().ok_or_else(|| DtlsError::Failed("no SRTP profile in common".into()))?;
    let config = identity.server_config(peer, &[profile]).map_err(failed)?;
    Ok(Endpoint::new(PEER, TransportProtocol::UDP, Some(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_panic_of_the_library_ends_the_association_and_nothing_else() {
        let now = Clock::system().now();
        let peer = vec![Fingerprint { hash: FingerprintHash::Sha256, digest: vec![0; 32] }];
        let mut dtls = Dtls::new(Identity::generate().unwrap(), peer, &Profile::by_cpu()).unwrap();
        assert!(dtls.handle_timeout(now).is_ok());
        assert!(dtls.guarded(|_| -> Result<(), Error> { panic!("as a library might") }).is_err());
        assert!(matches!(dtls.handle(now, &[22, 0xfe, 0xfd]), Err(DtlsError::Failed(_))));
        assert!(dtls.handle_timeout(now).is_err());
        assert_eq!(dtls.poll_timeout(), None);
        assert!(dtls.poll_transmit().is_none());
        dtls.connected = true;
        dtls.close(now);
    }
}
