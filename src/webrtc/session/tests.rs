use bytes::BytesMut;
use proptest::prelude::*;
use rtc_dtls::config::ConfigBuilder;
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Offered;
use rtc_shared::TransportProtocol;
use rtc_stun::attributes::ATTR_USERNAME;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};

use super::*;
use crate::clock::Clock;
use crate::webrtc::dtls::{Fingerprint, FingerprintHash, Identity};
use crate::webrtc::ice::Credentials;
use crate::webrtc::packetizer::Packetizer;
use crate::webrtc::sdp::NegotiatedVideo;
use crate::webrtc::sender::Sources;
use crate::webrtc::srtp::{Keys, Profile};

const PASSWORD: &str = "the-password-of-the-box";

/// A session and its viewer, and the wire between them.
struct Pair {
    now: Instant,
    identity: Identity,
    session: Session,
    client: Endpoint,
    client_connected: bool,
}

fn path() -> Path {
    Path { local: [127, 0, 0, 1].into(), peer: ([127, 0, 0, 1], 5000).into() }
}

impl Pair {
    fn new() -> Self {
        let now = Clock::system().now();
        let identity = Identity::generate().unwrap();
        let crypto = identity.crypto();
        let certificate = Certificate::generate_self_signed(vec!["viewer".into()], crypto.crypto()).unwrap();
        let der = &certificate.certificate[0];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref().to_vec();
        let peer = vec![Fingerprint { hash: FingerprintHash::Sha256, digest }];
        let config = ConfigBuilder::default()
            .with_crypto_provider(crypto.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![Offered::Srtp_Aes128_Cm_Hmac_Sha1_80])
            .with_insecure_skip_verify(true)
            .build(true, None)
            .unwrap();
        let mut client = Endpoint::new(path().peer, TransportProtocol::UDP, None);
        client.connect(now, path().peer, Arc::new(config), None).unwrap();
        let local = Credentials { ufrag: "box".into(), password: PASSWORD.into() };
        let negotiated = NegotiatedVideo { payload_type: 96, rtx_payload_type: None, playout_delay: None, nack: true };
        let parts = Parts {
            agent: Agent::new(crypto, local, "peer".into()),
            dtls: Dtls::new(identity.clone(), peer, &Profile::by_cpu()).unwrap(),
            sender: Sender::new(Sources { ssrc: 1, rtx_ssrc: 2, first_sequence: 0 }, negotiated),
            cname: "box".into(),
        };
        Self { now, identity, session: Session::new(now, parts), client, client_connected: false }
    }

    fn check(&mut self) {
        let mut message = Message::new();
        message.typ = BINDING_REQUEST;
        message.write_header();
        message.add(ATTR_USERNAME, b"box:peer");
        let crypto = self.identity.crypto();
        MessageIntegrity::new_short_term_integrity_with_provider(PASSWORD.into(), crypto.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        let proven = self.session.handle_check(self.now, path(), Request::read(&message.raw).unwrap()).unwrap();
        assert!(proven);
        assert!(self.session.poll_transmit().is_some());
    }

    fn client_says(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.client.poll_transmit()).map(|transmit| transmit.message.to_vec()).collect()
    }

    fn session_says(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.session.poll_transmit()).map(|(_, datagram)| datagram).collect()
    }

    fn client_hears(&mut self, datagrams: Vec<Vec<u8>>) {
        for datagram in datagrams {
            if let Ok(events) = self.client.read(self.now, path().peer, None, BytesMut::from(&datagram[..])) {
                self.client_connected |= events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
            }
        }
    }

    /// One exchange; `wire` may lose or change what the client sends.
    fn exchange(&mut self, mut wire: impl FnMut(Vec<u8>) -> Option<Vec<u8>>) {
        for datagram in self.client_says() {
            if let Some(datagram) = wire(datagram) {
                self.session.handle_dtls(self.now, path(), &datagram);
            }
        }
        let answers = self.session_says();
        self.client_hears(answers);
    }

    fn connect(&mut self) {
        self.check();
        for _ in 0..4 {
            self.exchange(Some);
        }
        assert_eq!(self.session.phase(), &Phase::Connected);
        assert!(self.client_connected);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now, 0, Some(0));
    }
}

#[test]
fn handshakes_over_a_proven_path_only() {
    let mut pair = Pair::new();
    pair.exchange(Some);
    assert_eq!(pair.session.phase(), &Phase::Checking, "nothing is proven yet");
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.session.connected_at(), Some(pair.now));
}

#[test]
fn who_never_connects_is_given_up() {
    let mut pair = Pair::new();
    pair.check();
    pair.pass(CONNECT_TIMEOUT - Duration::from_millis(1));
    assert_eq!(pair.session.phase(), &Phase::Handshaking);
    assert!(pair.session.poll_timeout() <= pair.now + Duration::from_millis(1));
    pair.pass(Duration::from_millis(1));
    assert_eq!(pair.session.phase(), &Phase::Ended(Ended::NeverConnected));
}

#[test]
fn who_falls_silent_is_given_up_and_a_check_is_a_sign_of_life() {
    let mut pair = Pair::new();
    pair.connect();
    pair.pass(SILENCE_TIMEOUT - Duration::from_millis(1));
    pair.check();
    pair.pass(SILENCE_TIMEOUT - Duration::from_millis(1));
    assert_eq!(pair.session.phase(), &Phase::Connected);
    pair.pass(Duration::from_millis(1));
    assert_eq!(pair.session.phase(), &Phase::Ended(Ended::Silent));
    assert!(!pair.session_says().is_empty(), "it is told all the same");
}

/// Connected, keys known to both, and a picture sent: sender reports are due from now on.
fn playing() -> (Pair, Keys) {
    let mut pair = Pair::new();
    pair.connect();
    let keys = Keys::new(Profile::AeadAes128Gcm, &[1; 16], &[2; 12]).unwrap();
    pair.session.srtp = Some((Inbound::new(&keys), Outbound::new(&keys)));
    let mut unit = vec![0, 0, 1, 0x65];
    unit.resize(2_000_000, 1);
    let frame = Arc::new(Packetizer::default().h264(&unit, true, 0, pair.now).unwrap());
    let (mut history, mut batch) = (History::default(), Batch::default());
    history.push(frame.clone());
    pair.session.offer(pair.now, &frame);
    while pair.session.fill(pair.now, &history, &mut batch).is_some() {
        pair.session.sent(pair.now, &batch);
    }
    (pair, keys)
}

#[test]
fn nothing_follows_the_goodbye() {
    const SENDER_REPORT: u8 = 200;
    let (mut pair, _) = playing();
    pair.pass(Duration::from_secs(2));
    assert!(pair.session_says().iter().any(|datagram| datagram[1] == SENDER_REPORT));
    pair.pass(SILENCE_TIMEOUT);
    assert_eq!(pair.session.phase(), &Phase::Ended(Ended::Silent));
    let last = pair.session_says();
    assert!(!last.is_empty());
    assert!(last.iter().all(|datagram| datagram[1] != SENDER_REPORT), "a report after goodbye");
}

#[test]
fn one_compound_asks_for_a_bounded_number_of_packets() {
    let (mut pair, keys) = playing();
    let mut compound = vec![0x81, 205, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1];
    for n in 0..300u16 {
        compound.extend_from_slice(&[(n * 5).to_be_bytes(), [0, 0]].concat());
    }
    let words = (compound.len() / 4 - 1) as u16;
    compound[2..4].copy_from_slice(&words.to_be_bytes());
    Outbound::new(&keys).protect_rtcp(&mut compound).unwrap();
    pair.session.handle_rtcp(pair.now, 0, &mut compound);
    assert_eq!(pair.session.reception().malformed, 0);
    assert_eq!(pair.session.counts().nacked, 64);
}

#[test]
fn a_lost_flight_is_sent_again() {
    let mut pair = Pair::new();
    pair.check();
    pair.exchange(Some);
    for datagram in pair.client_says() {
        pair.session.handle_dtls(pair.now, path(), &datagram);
    }
    assert!(!pair.session_says().is_empty(), "the flight with the certificate is lost");
    let due = pair.session.poll_timeout() - pair.now;
    assert!(due <= Duration::from_millis(300), "{due:?}");
    pair.pass(due);
    let again = pair.session_says();
    assert!(!again.is_empty());
    pair.client_hears(again);
    for _ in 0..3 {
        pair.exchange(Some);
    }
    assert!(pair.client_connected);
    assert_eq!(pair.session.phase(), &Phase::Connected);
}

#[test]
fn hostile_records_do_not_end_a_connected_session() {
    let mut pair = Pair::new();
    pair.connect();
    for kind in 20..64 {
        let record = [kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 0];
        pair.session.handle_dtls(pair.now, path(), &record);
        pair.session.handle_dtls(pair.now, path(), &record[..5]);
    }
    assert_eq!(pair.session.phase(), &Phase::Connected);
}

#[test]
fn a_goodbye_of_the_viewer_ends_the_session() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.stop(pair.now, path().peer);
    pair.exchange(Some);
    assert_eq!(pair.session.phase(), &Phase::Ended(Ended::Left));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_handshake_never_panics_and_never_half_connects(
        which in 0usize..6,
        at in any::<prop::sample::Index>(),
        change in 1u8..=255,
        cut in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        pair.check();
        let mut seen = 0;
        for _ in 0..4 {
            pair.exchange(|mut datagram| {
                if seen == which {
                    let at = at.index(datagram.len());
                    if cut { datagram.truncate(at) } else { datagram[at] ^= change }
                }
                seen += 1;
                Some(datagram)
            });
        }
        let connected = *pair.session.phase() == Phase::Connected;
        prop_assert_eq!(connected, pair.session.srtp.is_some());
    }
}
