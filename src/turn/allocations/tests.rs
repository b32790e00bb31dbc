use proptest::prelude::*;
use rtc_stun::attributes::ATTR_XOR_PEER_ADDRESS;
use rtc_stun::crypto::default_provider;
use rtc_stun::message::{CLASS_INDICATION, METHOD_DATA, MessageType};

use super::*;
use crate::clock::Clock;
use crate::turn::credentials::{HOLDS, Login};
use crate::turn::tests::{
    ALLOCATE, BIND, PERMIT, Part, REFRESH, Talker, address, channel, code, lifetime, number, peer, read, relayed, udp,
};

const MEDIA: &str = "192.168.1.20:8189";
const SECOND: Duration = Duration::from_secs(1);

/// A box at 192.168.1.20 and fd00::20 that takes media on 8189, and one client of it.
struct Rig {
    now: Instant,
    allocations: Allocations,
    credentials: Credentials,
    talker: Talker,
    client: Client,
    ports: u16,
}

fn client(transport: Transport, port: u16) -> Client {
    let peer = ([192, 168, 1, 50], port).into();
    Client { transport, peer, local: ([192, 168, 1, 20], 3478).into() }
}

impl Rig {
    fn with(limits: Limits) -> Self {
        Self::behind(limits, &[])
    }

    /// Behind a router that is reached at these addresses.
    fn behind(limits: Limits, public: &[&str]) -> Self {
        let now = Clock::manual().0.now();
        let credentials = Credentials::new(&[7; 32], now);
        let own = vec![[192, 168, 1, 20].into(), "fd00::20".parse().unwrap()];
        let public = public.iter().map(|ip| ip.parse().unwrap()).collect();
        let media = Media { listen: "[::]:8189".parse().unwrap(), own, public };
        let sources = Sources::new(|address| address.to_string().starts_with("fd00:"));
        let crypto = default_provider().unwrap();
        let allocations = Allocations::new(now, crypto, credentials.clone(), (limits, sources), media);
        let talker = Talker::new(&credentials.mint(now, "a"));
        Self { now, allocations, credentials, talker, client: client(Transport::Udp, 5000), ports: 40_000 }
    }

    fn new() -> Self {
        Self::with(Limits::for_viewers(250))
    }

    /// Already challenged and allocated.
    fn allocated() -> Self {
        let mut rig = Self::new();
        rig.challenge();
        assert_eq!(code(&rig.allocate(&[udp()])), 200);
        rig
    }

    fn say(&mut self, message: &[u8]) -> Outcome<'static> {
        match self.allocations.handle(self.now, self.client, message) {
            Outcome::Relay { peer, data } => Outcome::Relay { peer, data: Cow::Owned(data.into_owned()) },
            Outcome::Ignored => Outcome::Ignored,
            Outcome::Reply(reply) => Outcome::Reply(reply),
            Outcome::Release(reply) => Outcome::Release(reply),
            Outcome::Allocate(pending) => {
                self.ports += 1;
                let bound = SocketAddr::new(pending.bind, self.ports);
                Outcome::Reply(self.allocations.allocated(self.now, pending, Some(bound)))
            }
        }
    }

    fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        match self.say(message) {
            Outcome::Reply(reply) | Outcome::Release(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn challenge(&mut self) {
        let refusal = self.answer(&self.talker.bare(ALLOCATE, &[udp()]));
        assert_eq!(code(&refusal), 401);
        self.talker.learn(&refusal);
    }

    fn ask(&mut self, method: rtc_stun::message::Method, parts: &[Part]) -> Vec<u8> {
        self.answer(&self.talker.request(method, parts))
    }

    fn allocate(&mut self, parts: &[Part]) -> Vec<u8> {
        self.ask(ALLOCATE, parts)
    }

    fn permit(&mut self, to: &str) -> u16 {
        let to = peer(&self.talker, to);
        code(&self.ask(PERMIT, &[to]))
    }

    fn bind(&mut self, number: u16, to: &str) -> u16 {
        let to = peer(&self.talker, to);
        code(&self.ask(BIND, &[channel(number), to]))
    }

    /// Where a Send indication goes, if anywhere.
    fn send(&mut self, to: &str) -> Option<SocketAddr> {
        match self.say(&self.talker.send(to, b"check")) {
            Outcome::Relay { peer, data } => {
                assert_eq!(&*data, b"check");
                Some(peer)
            }
            Outcome::Ignored => None,
            other => panic!("{other:?}"),
        }
    }

    fn heard(&mut self, from: &str, data: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let sent = self.allocations.heard(self.now, &self.client, from.parse().unwrap(), data, &mut out);
        sent.then_some(out)
    }
}

fn login(rig: &Rig, id: &str) -> Login {
    rig.credentials.mint(rig.now, id)
}

#[test]
fn an_allocation_is_on_the_address_that_was_asked() {
    let mut rig = Rig::new();
    rig.challenge();
    let answer = rig.allocate(&[udp()]);
    assert_eq!(code(&answer), 200);
    assert_eq!(relayed(&answer).to_string(), "192.168.1.20:40001");
    assert_eq!(address(&read(&answer), ATTR_XORMAPPED_ADDRESS), rig.client.peer);
    assert_eq!(number(&answer, ATTR_LIFETIME), 600);
    assert_eq!(rig.allocate(&[udp()]), answer, "asked again, it is the same");
    rig.talker.transaction = 1;
    assert_eq!(code(&rig.allocate(&[udp()])), 437);
    assert_eq!(rig.allocations.len(), 1);
}

#[test]
fn a_family_is_given_where_the_box_has_it() {
    for (family, given) in [(1, "192.168.1.20:40001"), (2, "[fd00::20]:40001")] {
        let mut rig = Rig::new();
        rig.challenge();
        let answer = rig.allocate(&[udp(), (ATTR_REQUESTED_ADDRESS_FAMILY, vec![family, 0, 0, 0])]);
        assert_eq!(relayed(&answer).to_string(), given);
    }
    let mut rig = Rig::new();
    rig.allocations.set_own(vec!["192.168.1.20".parse().unwrap()]);
    rig.challenge();
    assert_eq!(code(&rig.allocate(&[udp(), (ATTR_REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0])])), 440);
    let mut rig = Rig::new();
    rig.client.local = "[fd00::20]:3478".parse().unwrap();
    rig.challenge();
    assert_eq!(relayed(&rig.allocate(&[udp()])).to_string(), "192.168.1.20:40001", "IPv4 unless asked");
}

#[test]
fn what_data_goes_to_the_media_and_comes_back_from_it() {
    let mut rig = Rig::allocated();
    assert_eq!(rig.send(MEDIA), None, "nothing goes without permission");
    assert_eq!(rig.heard(MEDIA, b"x"), None, "nor comes");
    assert_eq!(rig.permit(MEDIA), 200);
    assert_eq!(rig.send(MEDIA), Some(MEDIA.parse().unwrap()));
    let data = read(&rig.heard(MEDIA, b"picture").unwrap());
    assert_eq!(data.typ, MessageType::new(METHOD_DATA, CLASS_INDICATION));
    assert_eq!(address(&data, ATTR_XOR_PEER_ADDRESS).to_string(), MEDIA);
    assert_eq!(data.get(ATTR_DATA).unwrap(), b"picture");
    assert_eq!(rig.bind(0x4001, MEDIA), 200);
    assert_eq!(rig.heard(MEDIA, b"picture").unwrap(), b"\x40\x01\x00\x07picture");
    let Outcome::Relay { peer, data } = rig.say(b"\x40\x01\x00\x05check") else { panic!() };
    assert_eq!((peer, &*data), (MEDIA.parse().unwrap(), &b"check"[..]));
    assert!(matches!(rig.say(b"\x40\x02\x00\x05check"), Outcome::Ignored), "no such channel");
    assert!(matches!(rig.say(b"\x40\x01\x00\x06check"), Outcome::Ignored), "longer than it is");
}

#[test]
fn on_a_stream_channel_data_is_padded() {
    let mut rig = Rig::new();
    rig.client = client(Transport::Stream, 5000);
    rig.challenge();
    assert_eq!(code(&rig.allocate(&[udp()])), 200);
    assert_eq!(rig.bind(0x4fff, MEDIA), 200);
    assert_eq!(rig.heard(MEDIA, b"picture").unwrap(), b"\x4f\xff\x00\x07picture\0");
}

#[test]
fn a_peer_that_is_not_the_boxs_media_is_refused() {
    let mut rig = Rig::allocated();
    for other in ["192.168.1.21:8189", "127.0.0.1:8189", "203.0.113.9:8189", "0.0.0.0:8189", "255.255.255.255:8189"] {
        assert_eq!(rig.permit(other), 403, "{other}");
        assert_eq!(rig.bind(0x4001, other), 403, "{other}");
        assert_eq!(rig.send(other), None, "{other}");
        assert_eq!(rig.heard(other, b"x"), None, "{other}");
    }
    for other in ["[fd00::21]:8189", "[::1]:8189", "[::ffff:192.168.1.20]:8189"] {
        assert_eq!(rig.permit(other), 403, "{other}");
    }
    assert_eq!(rig.permit("[fd00::20]:8189"), 443, "of the other family");
    // A permission is for an address (RFC 8656 §9), and still only the media's port is reached.
    assert_eq!(rig.permit("192.168.1.20:22"), 200);
    for port in [22, 8889, 8890, 3478] {
        let other = format!("192.168.1.20:{port}");
        assert_eq!((rig.send(&other), rig.bind(0x4001, &other)), (None, 403), "{other}");
        assert_eq!(rig.heard(&other, b"x"), None, "{other}");
    }
}

#[test]
fn a_public_address_is_the_media_too_and_its_answers_come_from_it() {
    let public = ["203.0.113.9", "2001:db8::9", "198.51.100.9", "192.168.1.20", "2001:db8::a"];
    let mut rig = Rig::behind(Limits::for_viewers(250), &public);
    rig.challenge();
    assert_eq!(code(&rig.allocate(&[udp()])), 200);
    let peers = ["203.0.113.9:8189", "198.51.100.9:8189", MEDIA];
    for (number, peer) in peers.into_iter().enumerate() {
        assert_eq!(rig.permit(peer), 200, "{peer}");
        let way = rig.send(peer).unwrap();
        assert_eq!(rig.bind(0x4000 + number as u16, peer), 200, "{peer}");
        assert_eq!(rig.heard(&way.to_string(), b"abcd").unwrap(), [0x40, number as u8, 0, 4, b'a', b'b', b'c', b'd']);
    }
    let ways = peers.map(|peer| rig.send(peer).unwrap().to_string());
    assert_eq!(ways, ["127.0.0.2:8189", "127.0.0.3:8189", MEDIA]);
    // Nobody has the loopback address itself for a peer, nor anything else at the router.
    for other in ["127.0.0.2:8189", "127.0.0.1:8189", "203.0.113.10:8189"] {
        assert_eq!((rig.permit(other), rig.send(other)), (403, None), "{other}");
    }
    assert_eq!(rig.send("203.0.113.9:22"), None);
    assert_eq!(rig.heard("127.0.0.2:22", b"x"), None);
    assert_eq!(rig.permit("[2001:db8::9]:8189"), 443, "of the other family");
    rig.client.peer.set_port(5001);
    rig.challenge();
    assert_eq!(code(&rig.allocate(&[udp(), (ATTR_REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0])])), 200);
    assert_eq!(rig.permit("[2001:db8::9]:8189"), 200);
    assert_eq!(rig.send("[2001:db8::9]:8189").unwrap().to_string(), "[::1]:8189");
    assert_eq!(rig.permit("[2001:db8::a]:8189"), 403, "there is one loopback address of IPv6");
}

#[test]
fn a_socket_on_one_address_is_not_reached_by_public_ones() {
    let public = vec!["203.0.113.9".parse().unwrap()];
    let media = Media { listen: MEDIA.parse().unwrap(), own: vec![[192, 168, 1, 20].into()], public };
    assert!(media.is(MEDIA.parse().unwrap()));
    assert!(!media.is("203.0.113.9:8189".parse().unwrap()));
}

#[test]
fn one_forbidden_peer_forbids_the_request() {
    let mut rig = Rig::allocated();
    let peers = [peer(&rig.talker, MEDIA), peer(&rig.talker, "10.0.0.1:1")];
    assert_eq!(code(&rig.ask(PERMIT, &peers)), 403);
    assert_eq!(rig.send(MEDIA), None);
    assert_eq!(code(&rig.ask(PERMIT, &[])), 400);
}

#[test]
fn an_address_the_box_no_longer_has_is_no_peer_any_more() {
    let mut rig = Rig::allocated();
    assert_eq!(rig.bind(0x4000, MEDIA), 200);
    rig.allocations.set_own(vec!["10.0.0.2".parse().unwrap()]);
    assert!(matches!(rig.say(b"\x40\0\0\x01x"), Outcome::Ignored));
    assert_eq!(rig.heard(MEDIA, b"x"), None);
}

#[test]
fn channels_are_as_the_rfc_says() {
    let mut rig = Rig::allocated();
    rig.allocations.set_own(vec!["192.168.1.20".parse().unwrap(), "10.0.0.2".parse().unwrap()]);
    assert_eq!(rig.bind(0x3fff, MEDIA), 400);
    assert_eq!(rig.bind(0x5000, MEDIA), 400);
    assert_eq!(rig.bind(0x4000, MEDIA), 200);
    assert_eq!(rig.bind(0x4000, MEDIA), 200, "again refreshes");
    assert_eq!(rig.bind(0x4000, "10.0.0.2:8189"), 400, "a channel has one peer");
    assert_eq!(rig.bind(0x4001, MEDIA), 400, "a peer has one channel");
    assert_eq!(rig.bind(0x4001, "10.0.0.2:8189"), 200);
}

#[test]
fn nothing_lasts_unless_it_is_refreshed() {
    let mut rig = Rig::allocated();
    assert_eq!(rig.bind(0x4000, MEDIA), 200);
    rig.now += 299 * SECOND;
    assert_eq!(rig.send(MEDIA), Some(MEDIA.parse().unwrap()));
    rig.now += SECOND;
    assert_eq!(rig.send(MEDIA), None, "the permission is over");
    assert_eq!(number(&rig.ask(REFRESH, &[lifetime(99_999)]), ATTR_LIFETIME), 600);
    assert_eq!(rig.permit(MEDIA), 200);
    rig.now += 299 * SECOND;
    assert!(rig.heard(MEDIA, b"x").unwrap().starts_with(b"\x40\0"));
    rig.now += SECOND;
    assert_eq!(rig.permit(MEDIA), 200);
    assert!(rig.heard(MEDIA, b"x").unwrap().starts_with(&[0, 0x17]), "the channel is over");
    assert!(rig.allocations.expire(rig.now).is_empty());
    rig.now += 300 * SECOND;
    assert_eq!(rig.heard(MEDIA, b"x"), None);
    assert_eq!(rig.allocations.expire(rig.now), [rig.client]);
    assert!(rig.allocations.is_empty());
}

#[test]
fn an_allocation_is_given_back() {
    let mut rig = Rig::allocated();
    let Outcome::Release(reply) = rig.say(&rig.talker.request(REFRESH, &[lifetime(0)])) else { panic!() };
    assert_eq!((code(&reply), number(&reply, ATTR_LIFETIME)), (200, 0));
    assert!(rig.allocations.is_empty());
    assert_eq!(code(&rig.ask(REFRESH, &[])), 437);
}

#[test]
fn no_refresh_goes_beyond_the_life_of_an_allocation() {
    let mut rig = Rig::with(Limits { life: 1000 * SECOND, ..Limits::for_viewers(1) });
    rig.challenge();
    rig.allocate(&[udp()]);
    rig.now += 500 * SECOND;
    assert_eq!(number(&rig.ask(REFRESH, &[]), ATTR_LIFETIME), 500);
    rig.now += 500 * SECOND;
    assert_eq!(rig.allocations.expire(rig.now).len(), 1);
}

#[test]
fn wrong_credentials_get_nothing() {
    let mut rig = Rig::new();
    rig.challenge();
    let right = (rig.talker.username.clone(), rig.talker.password.clone());
    for (username, password) in [(&*right.0, "wrong"), ("999999:a", &*right.1), ("a", &*right.1), ("", "")] {
        (rig.talker.username, rig.talker.password) = (username.into(), password.into());
        assert_eq!(code(&rig.allocate(&[udp()])), 401, "{username}");
    }
    let other = Credentials::new(&[8; 32], rig.now).mint(rig.now, "a");
    (rig.talker.username, rig.talker.password) = (other.username, other.password);
    assert_eq!(code(&rig.allocate(&[udp()])), 401, "of another box, or before this start");
    rig.talker.nonce = b"AAAAAAAAAAAA".to_vec();
    assert_eq!(code(&rig.allocate(&[udp()])), 438);
    assert!(rig.allocations.is_empty());
}

#[test]
fn credentials_end_and_what_was_allocated_with_them_goes_on() {
    let mut rig = Rig::allocated();
    for _ in 0..7 {
        rig.now += 599 * SECOND;
        let refusal = rig.ask(REFRESH, &[]);
        match code(&refusal) {
            438 => {
                rig.talker.learn(&refusal);
                assert_eq!(code(&rig.ask(REFRESH, &[])), 200, "with a fresh nonce");
            }
            code => assert_eq!(code, 200),
        }
    }
    assert!(rig.now.duration_since(Rig::new().now) > Duration::ZERO && 7 * 599 * SECOND > HOLDS);
    rig.client = client(Transport::Udp, 5001);
    let refusal = rig.answer(&rig.talker.bare(ALLOCATE, &[udp()]));
    rig.talker.learn(&refusal);
    assert_eq!(code(&rig.allocate(&[udp()])), 401, "but nothing new");
}

#[test]
fn an_allocation_answers_to_the_login_it_was_made_with() {
    let mut rig = Rig::allocated();
    let other = login(&rig, "b");
    (rig.talker.username, rig.talker.password) = (other.username, other.password);
    assert_eq!(code(&rig.ask(REFRESH, &[lifetime(0)])), 441);
    assert_eq!(rig.permit(MEDIA), 441);
    assert!(rig.allocations.has(&rig.client));
}

#[test]
fn a_login_and_an_address_and_the_box_have_their_fill() {
    let limits = Limits { allocations: 6, per_login: 2, per_address: 4, ..Limits::for_viewers(250) };
    let mut rig = Rig::with(limits);
    let mut codes = Vec::new();
    for (n, (id, host)) in [("a", 1), ("a", 1), ("a", 1), ("b", 1), ("b", 1), ("c", 1), ("c", 2), ("d", 2), ("e", 2)]
        .into_iter()
        .enumerate()
    {
        rig.client.peer = ([192, 168, 2, host], 6000 + n as u16).into();
        rig.talker = Talker::new(&login(&rig, id));
        rig.challenge();
        codes.push(code(&rig.allocate(&[udp()])));
    }
    assert_eq!(codes, [200, 200, 486, 200, 200, 486, 200, 200, 508]);
}

#[test]
fn whoever_has_an_ipv6_network_elsewhere_has_the_fill_of_one_and_the_studios_phones_each_have_theirs() {
    let limits = Limits { allocations: 100, per_login: 1, per_address: 4, ..Limits::for_viewers(250) };
    for (network, most) in [("2001:db8:0:1", 4), ("fd00:0:0:1", 9)] {
        let mut rig = Rig::with(limits);
        let allocated = (1..10).filter(|n| {
            rig.client.peer = format!("[{network}::{n}]:6000").parse().unwrap();
            rig.talker = Talker::new(&login(&rig, &n.to_string()));
            rig.challenge();
            code(&rig.allocate(&[udp()])) == 200
        });
        assert_eq!(allocated.count(), most, "{network}");
    }
}

#[test]
fn a_network_of_ipv6_elsewhere_is_one_source_of_unproven_requests() {
    for (network, most) in [("2001:db8:0:1", 256), ("fd00:0:0:1", 900)] {
        let mut rig = Rig::new();
        let asked = rig.talker.bare(ALLOCATE, &[udp()]);
        let answered = (1..=900).filter(|n| {
            rig.client.peer = format!("[{network}::{n:x}]:6000").parse().unwrap();
            matches!(rig.say(&asked), Outcome::Reply(_))
        });
        assert_eq!(answered.count(), most, "{network}");
    }
}

#[test]
fn a_client_sends_no_more_than_a_viewer_does_and_gets_no_more_than_its_rate() {
    let limits = Limits { up_bps: 8_000, down_bps: 80_000, ..Limits::for_viewers(250) };
    let mut rig = Rig::with(limits);
    rig.challenge();
    rig.allocate(&[udp()]);
    assert_eq!(rig.bind(0x4000, MEDIA), 200);
    let message = [b"\x40\0\x03\xe8".as_slice(), &[7; 1000]].concat();
    let relayed = (0..1000).filter(|_| matches!(rig.say(&message), Outcome::Relay { .. })).count();
    assert_eq!(relayed, 262);
    rig.now += 2 * SECOND;
    let relayed = (0..1000).filter(|_| matches!(rig.say(&message), Outcome::Relay { .. })).count();
    assert_eq!(relayed, 2);
    let got = (0..20_000).filter(|_| rig.heard(MEDIA, &[7; 1000]).is_some()).count();
    assert_eq!(got, 8_000);
}

#[test]
fn what_is_not_understood_is_refused() {
    let mut rig = Rig::new();
    rig.challenge();
    let tcp = (ATTR_REQUESTED_TRANSPORT, vec![6, 0, 0, 0]);
    assert_eq!(code(&rig.allocate(&[tcp])), 442);
    assert_eq!(code(&rig.allocate(&[])), 400);
    let family = (ATTR_REQUESTED_ADDRESS_FAMILY, vec![9, 0, 0, 0]);
    assert_eq!(code(&rig.allocate(&[udp(), family])), 440);
    // EVEN-PORT, DONT-FRAGMENT, RESERVATION-TOKEN.
    for kind in [0x18, 0x1a, 0x22] {
        assert_eq!(code(&rig.allocate(&[udp(), (rtc_stun::attributes::AttrType(kind), vec![0; 4])])), 420);
    }
}

#[test]
fn an_unproven_source_is_answered_little_and_seldom() {
    let mut rig = Rig::new();
    let asked = rig.talker.bare(ALLOCATE, &[udp()]);
    let answer = rig.answer(&asked);
    assert_eq!((asked.len(), answer.len()), (28, 52), "with IP and UDP around them 56 and 80 bytes");
    let mut bytes = 0;
    for _ in 0..10_000 {
        if let Outcome::Reply(reply) = rig.say(&asked) {
            bytes += reply.len();
        }
    }
    assert!(bytes < 10_000 * asked.len() / 20, "a flood is answered by a twentieth of it: {bytes}");
    // What is nothing is answered by nothing.
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for nothing in [&b""[..], b"x", &[0; 20], &binding, &asked[..27], b"\x16\x03\x01\0\x05hello"] {
        let mut rig = Rig::new();
        assert!(matches!(rig.say(nothing), Outcome::Ignored), "{nothing:02x?}");
    }
}

#[test]
fn no_socket_no_allocation() {
    let mut rig = Rig::new();
    rig.challenge();
    let request = rig.talker.request(ALLOCATE, &[udp()]);
    let Outcome::Allocate(pending) = rig.allocations.handle(rig.now, rig.client, &request) else { panic!() };
    assert_eq!(code(&rig.allocations.allocated(rig.now, pending, None)), 508);
    assert!(rig.allocations.is_empty());
}

proptest! {
    #[test]
    fn nothing_but_the_media_is_ever_relayed_to(
        ip in prop_oneof![Just([192, 168, 1, 20]), any::<[u8; 4]>()],
        port in prop_oneof![Just(8189_u16), any::<u16>()],
        number in prop_oneof![Just(0x4000_u16), any::<u16>()],
    ) {
        let mut rig = Rig::allocated();
        let target = SocketAddr::from((ip, port)).to_string();
        rig.permit(&target);
        let bound = rig.bind(number, &target);
        let is_media = target == MEDIA;
        prop_assert_eq!(rig.send(&target).is_some(), is_media);
        prop_assert_eq!(bound == 200, is_media && (0x4000..=0x4fff).contains(&number));
    }

    #[test]
    fn a_damaged_request_changes_nothing(at in 0_usize..120, bit in 0_u8..8) {
        let mut rig = Rig::new();
        rig.challenge();
        let mut request = rig.talker.request(ALLOCATE, &[udp()]);
        let at = at % request.len();
        request[at] ^= 1 << bit;
        let _ = rig.allocations.handle(rig.now, rig.client, &request);
        prop_assert!(rig.allocations.is_empty());
    }
}
