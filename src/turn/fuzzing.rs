//! What a fuzzer drives: messages as they arrive on the port, and a stream of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use rtc_stun::crypto::default_provider;

use super::allocations::{Allocations, Client, Media, Outcome, Transport};
use super::credentials::Credentials;
use super::framing::{self, LONGEST, Next};
use super::limits::Limits;
use crate::access::Sources;
use crate::clock::Clock;

/// A stream, and each of its messages as a datagram too: without a password nothing is allocated, nothing is relayed,
/// and no answer is much larger than what it answers.
pub fn turn(data: &[u8]) {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    let now = CLOCK.get_or_init(|| Clock::manual().0).now();
    let (own, public) = (vec![Ipv4Addr::LOCALHOST.into()], Vec::new());
    let media = Media { listen: (Ipv4Addr::LOCALHOST, 8189).into(), own, public };
    let credentials = Credentials::new(&[7; 32], now);
    let crypto = default_provider().expect("there is cryptography");
    let mut allocations =
        Allocations::new(now, crypto, credentials, (Limits::for_viewers(1), Sources::default()), media);
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut handle = |transport, message: &[u8]| {
        let client = Client { transport, peer: at(5000), local: at(3478) };
        match allocations.handle(now, client, message) {
            Outcome::Ignored => {}
            Outcome::Reply(reply) => assert!(reply.len() <= message.len() + 32, "{} {}", message.len(), reply.len()),
            other => panic!("without a password: {other:?}"),
        }
    };
    handle(Transport::Udp, data);
    let mut rest = data;
    while let Next::Whole { message, padding } = framing::next(rest) {
        assert!(message + padding <= rest.len().min(LONGEST), "beyond the stream");
        let (whole, after) = rest.split_at(message);
        handle(Transport::Stream, whole);
        rest = after.get(padding..).unwrap_or_default();
    }
    assert!(allocations.is_empty());
}
