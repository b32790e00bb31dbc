use proptest::prelude::*;
use rtc_stun::attributes::{ATTR_ERROR_CODE, ATTR_ICE_CONTROLLING, ATTR_SOFTWARE};
use rtc_stun::crypto::default_provider;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::message::{Getter, TransactionId};

use super::*;
use crate::clock::Clock;

const PASSWORD: &str = "the-password-of-the-box";

fn agent() -> Agent {
    let local = Credentials { ufrag: "box".into(), password: PASSWORD.into() };
    Agent::new(default_provider().unwrap(), local, "peer".into())
}

fn path(port: u16) -> Path {
    Path { local: [192, 168, 1, 20].into(), peer: ([192, 168, 1, 50], port).into(), transport: Transport::Udp }
}

struct Ask<'a> {
    username: &'a str,
    password: &'a str,
    nominate: bool,
    priority: u32,
    extra: &'a [(AttrType, &'a [u8])],
}

const PLAIN: Ask<'static> =
    Ask { username: "box:peer", password: PASSWORD, nominate: false, priority: 100, extra: &[] };

fn request(ask: &Ask<'_>) -> Vec<u8> {
    let crypto = default_provider().unwrap();
    let mut message = Message::new();
    message.typ = BINDING_REQUEST;
    message.transaction_id = TransactionId([7; 12]);
    message.write_header();
    message.add(ATTR_USERNAME, ask.username.as_bytes());
    message.add(ATTR_PRIORITY, &ask.priority.to_be_bytes());
    if ask.nominate {
        message.add(ATTR_USE_CANDIDATE, &[]);
    }
    for (kind, value) in ask.extra {
        message.add(*kind, value);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(ask.password.into(), crypto.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn handle(agent: &mut Agent, now: Instant, port: u16, ask: &Ask<'_>) -> Result<Answered, NotAnswered> {
    agent.handle(now, path(port), Request::read(&request(ask))?)
}

fn read(reply: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(reply).unwrap();
    FINGERPRINT.check(&message).unwrap();
    MessageIntegrity::check(&mut message, PASSWORD.as_bytes(), default_provider().unwrap().crypto()).unwrap();
    message
}

#[test]
fn answers_a_check_with_the_address_it_came_from() {
    let now = Clock::system().now();
    let mut agent = agent();
    let controlling = Ask { extra: &[(ATTR_ICE_CONTROLLING, &[1; 8]), (ATTR_SOFTWARE, b"x")], ..PLAIN };
    let answered = handle(&mut agent, now, 5000, &controlling).unwrap();
    assert!(answered.proven);
    let reply = read(&answered.reply);
    assert_eq!(reply.typ, BINDING_SUCCESS);
    assert_eq!(reply.transaction_id, TransactionId([7; 12]));
    let mut address = XorMappedAddress::default();
    address.get_from(&reply).unwrap();
    assert_eq!((address.ip, address.port), (path(5000).peer.ip(), 5000));
    assert_eq!(agent.selected(), Some(path(5000)));
}

#[test]
fn says_nothing_to_who_does_not_know_the_password() {
    let now = Clock::system().now();
    let mut agent = agent();
    for wrong in [
        Ask { password: "another", ..PLAIN },
        Ask { username: "box:another", ..PLAIN },
        Ask { username: "another:peer", ..PLAIN },
        Ask { username: "box", ..PLAIN },
    ] {
        assert_eq!(handle(&mut agent, now, 5000, &wrong), Err(NotAnswered::Credentials));
    }
    assert_eq!(agent.selected(), None);
    assert!(!agent.is_proven(&path(5000)));
}

#[test]
fn refuses_to_control_and_what_it_does_not_understand() {
    let now = Clock::system().now();
    let mut agent = agent();
    let mut code = |extra: &[(AttrType, &[u8])]| {
        let answered = handle(&mut agent, now, 5000, &Ask { extra, ..PLAIN }).unwrap();
        assert!(!answered.proven);
        let reply = read(&answered.reply);
        assert_eq!(reply.typ, BINDING_ERROR);
        assert!(reply.contains(ATTR_ERROR_CODE));
        let mut error = ErrorCodeAttribute::default();
        error.get_from(&reply).unwrap();
        error.code
    };
    assert_eq!(code(&[(ATTR_ICE_CONTROLLED, &[1; 8])]).0, ROLE_CONFLICT.0);
    assert_eq!(code(&[(AttrType(0x7ff0), &[1; 4])]).0, UNKNOWN_ATTRIBUTE.0);
    assert_eq!(agent.selected(), None);
}

#[test]
fn follows_the_nomination() {
    let now = Clock::system().now();
    let mut agent = agent();
    let later = |seconds| now + Duration::from_secs(seconds);
    handle(&mut agent, now, 1, &PLAIN).unwrap();
    handle(&mut agent, now, 2, &PLAIN).unwrap();
    assert_eq!(agent.selected(), Some(path(1)), "the first until one is nominated");
    let nominating = |priority| Ask { nominate: true, priority, ..PLAIN };
    handle(&mut agent, now, 2, &nominating(200)).unwrap();
    assert_eq!(agent.selected(), Some(path(2)));
    handle(&mut agent, now, 1, &nominating(100)).unwrap();
    assert_eq!(agent.selected(), Some(path(2)), "of several nominated the one of highest priority");
    handle(&mut agent, now, 3, &nominating(300)).unwrap();
    assert_eq!(agent.selected(), Some(path(3)));
    handle(&mut agent, later(5), 1, &nominating(100)).unwrap();
    assert_eq!(agent.selected(), Some(path(1)), "a lower one once the higher is not nominated any more");
    handle(&mut agent, later(6), 3, &PLAIN).unwrap();
    assert_eq!(agent.selected(), Some(path(1)));
}

#[test]
fn the_old_path_is_kept_through_a_restart_until_the_new_names_are_used() {
    let now = Clock::system().now();
    let mut agent = agent();
    let nominating = Ask { nominate: true, ..PLAIN };
    handle(&mut agent, now, 1, &nominating).unwrap();
    agent.restart(Credentials { ufrag: "box2".into(), password: "new".into() }, "peer2".into());
    assert_eq!(agent.selected(), Some(path(1)));
    assert!(handle(&mut agent, now, 1, &PLAIN).is_ok(), "checks under way");
    let new = Ask { username: "box2:peer2", password: "new", nominate: true, priority: 1, extra: &[] };
    assert!(handle(&mut agent, now, 9, &new).unwrap().proven);
    assert_eq!(agent.selected(), Some(path(9)));
    assert_eq!(handle(&mut agent, now, 1, &PLAIN), Err(NotAnswered::Credentials));
}

#[test]
fn the_number_of_addresses_is_bounded_and_the_selected_one_stays() {
    let now = Clock::system().now();
    let mut agent = agent();
    handle(&mut agent, now, 1, &Ask { nominate: true, ..PLAIN }).unwrap();
    for port in 2..100 {
        handle(&mut agent, now + Duration::from_millis(u64::from(port)), port, &PLAIN).unwrap();
    }
    assert_eq!(agent.paths().count(), MOST_PATHS);
    assert!(agent.is_proven(&path(1)) && agent.is_proven(&path(99)) && !agent.is_proven(&path(2)));
}

#[test]
fn the_same_address_over_tcp_is_another_path_and_gives_way_to_the_one_proven_last_when_it_is_lost() {
    let now = Clock::system().now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let mut agent = agent();
    let nominating = Ask { nominate: true, ..PLAIN };
    let over_tcp = Path { transport: Transport::Tcp, ..path(1) };
    let request_of = |ask: &Ask<'_>| Request::read(&request(ask)).unwrap();
    handle(&mut agent, now, 1, &nominating).unwrap();
    assert!(!agent.is_proven(&over_tcp));
    agent.handle(later(1), over_tcp, request_of(&Ask { priority: 101, ..nominating })).unwrap();
    assert_eq!(agent.selected(), Some(over_tcp));
    handle(&mut agent, later(2), 2, &PLAIN).unwrap();
    agent.lost(&path(1));
    assert_eq!(agent.selected(), Some(over_tcp), "another one is lost");
    agent.lost(&over_tcp);
    assert_eq!(agent.selected(), Some(path(2)));
    agent.lost(&path(2));
    assert_eq!((agent.selected(), agent.paths().count()), (None, 0));
    agent.handle(later(3), over_tcp, request_of(&Ask { priority: 1, ..nominating })).unwrap();
    assert_eq!(agent.selected(), Some(over_tcp), "it comes back, whatever was nominated before");
}

#[test]
fn a_path_is_no_larger_for_its_transport() {
    assert_eq!(size_of::<Path>(), size_of::<(IpAddr, SocketAddr)>());
}

#[test]
fn what_stands_behind_the_integrity_check_does_not_count() {
    let now = Clock::system().now();
    let mut agent = agent();
    handle(&mut agent, now, 1, &Ask { nominate: true, ..PLAIN }).unwrap();
    let mut message = Message::new();
    message.unmarshal_binary(&request(&Ask { priority: 900, ..PLAIN })).unwrap();
    let mut forged = Message::new();
    forged.typ = BINDING_REQUEST;
    forged.transaction_id = message.transaction_id;
    forged.write_header();
    for attribute in message.attributes.0.iter().filter(|a| a.typ != rtc_stun::attributes::ATTR_FINGERPRINT) {
        forged.add(attribute.typ, &attribute.value);
    }
    forged.add(ATTR_USE_CANDIDATE, &[]);
    FINGERPRINT.add_to(&mut forged).unwrap();
    agent.handle(now, path(2), Request::read(&forged.raw).unwrap()).unwrap();
    assert_eq!(agent.selected(), Some(path(1)));
}

proptest! {
    #[test]
    fn damaged_requests_are_not_answered(bit in 0usize..600) {
        let mut datagram = request(&PLAIN);
        let bit = bit % (datagram.len() * 8);
        datagram[bit / 8] ^= 1 << (bit % 8);
        let mut agent = agent();
        let now = Clock::system().now();
        prop_assert!(Request::read(&datagram).and_then(|request| agent.handle(now, path(1), request)).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut data in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::read(&data);
        if data.len() >= 20 {
            let len = (data.len() - 20) as u16;
            data[..2].copy_from_slice(&[0, 1]);
            data[2..4].copy_from_slice(&len.to_be_bytes());
            data[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
            let _ = Request::read(&data);
        }
    }
}
