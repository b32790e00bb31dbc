use std::sync::Arc;

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
use crate::webrtc::ice::{Credentials, Transport};
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
    Path { local: [127, 0, 0, 1].into(), peer: ([127, 0, 0, 1], 5000).into(), transport: Transport::Udp }
}

impl Pair {
    fn new() -> Self {
        Self::with(|offered, _| offered)
    }

    /// A viewer that shows what `shown` makes of the certificate that its offer names and another one.
    fn with(shown: impl FnOnce(Certificate, Certificate) -> Certificate) -> Self {
        let now = Clock::system().now();
        let identity = Identity::generate().unwrap();
        let crypto = identity.crypto();
        let make = || Certificate::generate_self_signed(vec!["viewer".into()], crypto.crypto()).unwrap();
        let certificate = make();
        let der = &certificate.certificate[0];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref().to_vec();
        let peer = vec![Fingerprint { hash: FingerprintHash::Sha256, digest }];
        let config = ConfigBuilder::default()
            .with_crypto_provider(crypto.clone())
            .with_certificates(vec![shown(certificate, make())])
            .with_srtp_protection_profiles(vec![Offered::Srtp_Aes128_Cm_Hmac_Sha1_80])
            .with_insecure_skip_verify(true)
            .build(true, None)
            .unwrap();
        let mut client = Endpoint::new(path().peer, TransportProtocol::UDP, None);
        client.connect(now, path().peer, Arc::new(config), None).unwrap();
        let local = Credentials { ufrag: "box".into(), password: PASSWORD.into() };
        let parts = Parts {
            agent: Agent::new(crypto, local, "peer".into()),
            dtls: Dtls::new(identity.clone(), peer, &Profile::by_cpu()).unwrap(),
            ssrc: 1,
            sound_ssrc: Some(3),
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
        let report = SenderReport { ssrc: 1, ntp: 0, rtp: 0, packets: 1, octets: 1 };
        self.session.handle_timeout(self.now, &[report]);
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
fn another_certificate_than_the_offered_one_agrees_on_no_keys() {
    let mut pair = Pair::with(|_, other| other);
    pair.check();
    for _ in 0..4 {
        pair.exchange(Some);
    }
    assert!(matches!(pair.session.phase(), Phase::Ended(Ended::Failed(_))), "{:?}", pair.session.phase());
    assert!(pair.session.srtcp.is_none() && !pair.client_connected);
}

/// Certificates cross the network as they are (RFC 6347 §4.2.4), so anybody can show one.
#[test]
fn the_offered_certificate_without_its_key_agrees_on_no_keys() {
    let mut pair = Pair::with(|offered, other| Certificate { certificate: offered.certificate, ..other });
    pair.check();
    let mut said = Vec::new();
    for _ in 0..4 {
        pair.exchange(|datagram| {
            said.push(datagram.clone());
            Some(datagram)
        });
    }
    // The client went as far as its last flight: certificate, proof of the key, the end of the handshake.
    assert!(said.iter().map(Vec::len).sum::<usize>() > 700, "{said:?}");
    assert!(matches!(pair.session.phase(), Phase::Ended(Ended::Failed(_))), "{:?}", pair.session.phase());
    assert!(pair.session.srtcp.is_none() && !pair.client_connected);
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

/// Connected, and keys known to both.
fn playing() -> (Pair, Keys) {
    let mut pair = Pair::new();
    pair.connect();
    let keys = Keys::new(Profile::AeadAes128Gcm, &[1; 16], &[2; 12]).unwrap();
    pair.session.srtcp = Some((Inbound::new(&keys), Outbound::new(&keys).split().1));
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
    Outbound::new(&keys).split().1.protect_rtcp(&mut compound).unwrap();
    let mut wishes = Vec::new();
    pair.session.handle_rtcp(pair.now, 0, &mut compound, |wish| wishes.push(wish));
    assert_eq!(pair.session.reception().malformed, 0);
    assert_eq!(wishes.len(), 64);
    assert_eq!(wishes[1], Wish::Again { ssrc: 1, sequence: 5, following: 0 });
}

#[test]
fn replayed_feedback_is_counted_wakes_no_wish_and_keeps_no_session_alive() {
    let (mut pair, keys) = playing();
    let mut viewer = Outbound::new(&keys).split().1;
    let mut say = |ssrc: u8| {
        let mut compound = vec![0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, ssrc];
        viewer.protect_rtcp(&mut compound).unwrap();
        compound
    };
    let captured: Vec<_> = (0..300).map(|_| say(1)).collect();
    let mut wishes = 0;
    let mut hear = |pair: &mut Pair, datagram: &Vec<u8>| {
        pair.session.handle_rtcp(pair.now, 0, &mut datagram.clone(), |_| wishes += 1);
        (wishes, pair.session.reception().malformed)
    };
    // Out of order is not replayed, as long as it is not too old to tell (RFC 3711 §3.3.2).
    assert_eq!(hear(&mut pair, &captured[1]), (1, 0));
    assert_eq!(hear(&mut pair, &captured[0]), (2, 0));
    assert_eq!(hear(&mut pair, &captured[299]), (3, 0));
    assert_eq!(hear(&mut pair, &captured[2]), (3, 1), "too old to tell");
    pair.now += SILENCE_TIMEOUT - Duration::from_millis(1);
    for (count, at) in (2..).zip([0, 1, 299, 299, 0]) {
        assert_eq!(hear(&mut pair, &captured[at]), (3, count));
    }
    pair.pass(Duration::from_millis(1));
    assert_eq!(pair.session.phase(), &Phase::Ended(Ended::Silent), "what was said before is no sign of life");
}

#[test]
fn a_viewer_without_media_of_its_own_learns_the_round_trip_time() {
    let (mut pair, keys) = playing();
    pair.session_says();
    let mut viewer = Outbound::new(&keys).split().1;
    let mut tell = |pair: &mut Pair, ssrc: u8, fraction: u8| {
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, ssrc, 0x80, 207, 0, 4, 0, 0, 0, ssrc, 4, 0, 0, 2];
        compound.extend_from_slice(&[0, 0, 0x12, 0x34, fraction, 0, 0, 0]);
        viewer.protect_rtcp(&mut compound).unwrap();
        pair.session.handle_rtcp(pair.now, 0, &mut compound, |_| {});
    };
    let mut inbound = Inbound::new(&keys);
    let mut answers = |pair: &mut Pair| -> Vec<Vec<u8>> {
        let opened =
            pair.session_says().into_iter().map(|mut datagram| inbound.unprotect_rtcp(&mut datagram).unwrap().to_vec());
        opened.filter(|compound| compound[1] == 201).collect()
    };
    tell(&mut pair, 9, 1);
    let [answer] = &answers(&mut pair)[..] else { panic!("an answer at once") };
    assert_eq!(answer[answer.len() - 16..], [5, 0, 0, 3, 0, 0, 0, 9, 0x12, 0x34, 1, 0, 0, 0, 0, 0]);
    for n in 2..200 {
        tell(&mut pair, 9 + n % 2, n);
        tell(&mut pair, n, n);
    }
    assert!(answers(&mut pair).is_empty(), "as often as it is asked");
    assert!(pair.session.poll_timeout() <= pair.now + Duration::from_millis(50));
    pair.pass(Duration::from_millis(50));
    let [answer] = &answers(&mut pair)[..] else { panic!("one answer for all") };
    let blocks = &answer[answer.len() - 4 * 12..];
    for block in blocks.chunks(12) {
        let delay = u32::from_be_bytes(block[8..].try_into().unwrap());
        assert_eq!(delay, 65_536 / 20, "50 ms ago");
    }
    pair.pass(Duration::from_millis(50));
    assert!(answers(&mut pair).is_empty(), "answered once");
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
        prop_assert_eq!(connected, pair.session.srtcp.is_some());
    }
}
