//! Bodies of fuzz targets: what hostile datagrams may do to this room.
//!
//! Owns: invariants over arbitrary input, for `make fuzz` and for the bounded run in `make test`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::calling::{Calling, Request};
use super::connection::{Agreement, Connection, Delivery, LONGEST_LATENCY};
use super::handshake::{self, Cookies, FirstLook, Terms};
use super::keys::{KEY_ENTROPY, StreamKeys};
use super::screen::{self, Body, Step};
use super::stream_id::Wish;
use crate::clock::Clock;
use crate::media::StreamName;

/// Datagrams of any content, at any pace, to the handshake and to a running connection, which is
/// encrypted or not.
///
/// The input is a first byte of options, then datagrams: two bytes of length, two of pause before
/// it in milliseconds, its bytes.
///
/// # Panics
/// When an invariant does not hold.
pub fn srt_datagrams(data: &[u8]) {
    let (mut now, from) = (Clock::manual().0.now(), SocketAddr::from(([192, 0, 2, 1], 5000)));
    let Some((options, mut rest)) = data.split_first() else { return };
    let keys = StreamKeys::make("correct horse", 16, &[5; KEY_ENTROPY]).ok();
    let passphrase = |_: &StreamName| (options & 2 != 0).then(|| "correct horse".to_owned());
    let terms = Terms { latency: Duration::from_millis(120), passphrase: &passphrase };
    let cookies = Cookies::new(&[7; 32], now);
    let agreement = Agreement {
        remote: from,
        peer_socket: 1,
        local_socket: 2,
        initial_sequence: 0x7FFF_FF00,
        latency: Duration::from_millis(u64::from(*options) * 10),
        keys: keys.filter(|_| options & 1 != 0),
    };
    let mut calling = Calling::new(Request {
        remote: from,
        local_socket: 3,
        initial_sequence: 9,
        stream_id: None,
        latency: terms.latency,
        keys: agreement.keys.clone(),
    });
    let mut connection = Connection::new(now, agreement);
    let mut payload = 0;
    while let Some((&[long, short, late, soon], following)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([long, short])).min(following.len());
        let (datagram, others) = following.split_at(length);
        rest = others;
        now += Duration::from_millis(u64::from(u16::from_be_bytes([late, soon])));
        let datagram = Bytes::copy_from_slice(datagram);
        if let Ok(screened) = screen::screen(&datagram) {
            assert_eq!(Some(screened.destination), screen::destination(&datagram));
            if let Body::Handshake(packet) = &screened.body {
                assert!(screen::is_handshake(&datagram));
                match handshake::first_look(&cookies, now, from, packet) {
                    FirstLook::Answer(answer) => {
                        assert!(answer.len() <= datagram.len(), "an answer longer than the question");
                    }
                    FirstLook::Proven | FirstLook::Ignore(_) => {}
                }
                if packet.step == Step::Conclusion {
                    match handshake::judge(packet, &terms) {
                        Ok(accepted) => {
                            assert!(accepted.latency <= LONGEST_LATENCY);
                            assert!(screen::screen(&handshake::acceptance(from, packet, &accepted, 5)).is_ok());
                        }
                        Err(why) => assert!(screen::screen(&handshake::rejection(from, packet, &why)).is_ok()),
                    }
                }
                calling.handle(packet);
            }
            connection.handle(now, screened.body);
        }
        if connection.next_timeout() <= now {
            connection.handle_timeout(now);
        }
        while let Some(sent) = connection.poll_transmit() {
            assert!(!sent.is_empty());
        }
        while let Some(delivery) = connection.poll_delivery() {
            match delivery {
                Delivery::Payload(bytes) => payload += bytes.len(),
                Delivery::Lost(packets) => assert!(packets > 0),
            }
        }
        assert!(connection.ended().is_some() || connection.next_timeout() > now, "a timer that never comes to rest");
    }
    assert!(payload <= data.len(), "more came out than went in");
}

/// Any text as a stream ID.
///
/// # Panics
/// When a name comes out that could not go in.
pub fn stream_id(data: &[u8]) {
    if let Ok(wish) = Wish::parse(&String::from_utf8_lossy(data)) {
        assert_eq!(wish.stream.to_string().parse(), Ok(wish.stream));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header that leads somewhere, more often than chance would.
    fn datagram() -> impl Strategy<Value = Vec<u8>> {
        let header = prop_oneof![
            (0u32..64).prop_map(|n| 0x7FFF_FF00 + n),
            (0u32..9).prop_map(|kind| 0x8000_0000 | kind << 16),
            (0u32..9).prop_map(|kind| 0xFFFF_0000 | kind),
            any::<u32>(),
        ];
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        (header, prop_oneof![Just(0xC000_0001u32), any::<u32>()], any::<u32>(), body).prop_map(
            |(first, second, third, body)| {
                let mut bytes: Vec<u8> = [first, second, third, 2].iter().flat_map(|word| word.to_be_bytes()).collect();
                bytes.extend(body);
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn hostile_datagrams_never_panic(
            options: u8,
            datagrams in proptest::collection::vec((0u16..500, datagram()), 0..40),
        ) {
            let mut input = vec![options];
            for (pause, datagram) in datagrams {
                input.extend((datagram.len() as u16).to_be_bytes());
                input.extend(pause.to_be_bytes());
                input.extend(datagram);
            }
            srt_datagrams(&input);
        }

        #[test]
        fn arbitrary_input_never_panics(input in proptest::collection::vec(any::<u8>(), 0..600)) {
            srt_datagrams(&input);
            stream_id(&input);
        }
    }
}
