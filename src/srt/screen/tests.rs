use proptest::prelude::*;
use srt_protocol::packet::Packet;

use super::*;

fn bytes(words: &[u32]) -> Bytes {
    words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>().into()
}

fn control(kind: u32, subkind: u32, info: u32, body: &[u32]) -> Bytes {
    let mut words = vec![0x8000_0000 | kind << 16 | subkind, info, 0, 77];
    words.extend(body);
    bytes(&words)
}

/// A conclusion with these extension blocks.
fn conclusion(extensions: &[u32]) -> Bytes {
    let mut words = vec![5, 0x0000_0007, 1234, 1500, 8192, 0xFFFF_FFFF, 99, 0xC0FFEE, 0, 0, 0, 0];
    words.extend(extensions);
    control(0, 0, 0, &words)
}

fn key_message(flags: u32, cipher: u32, salt_words: u32, key_words: u32, following: usize) -> Vec<u32> {
    let mut words = vec![0x1220_2900 | flags, 0, cipher << 24 | 0x0200, salt_words << 8 | key_words];
    words.extend(std::iter::repeat_n(0xAAAA_AAAA, following));
    words
}

fn key_extension(kind: u32, words: &[u32]) -> Vec<u32> {
    let mut block = vec![kind << 16 | words.len() as u32];
    block.extend(words);
    block
}

/// Whether the crate's own parser would have taken the program down.
fn crate_panics(datagram: &Bytes) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let parsed = std::panic::catch_unwind(|| {
        let packet = Packet::parse(&mut datagram.clone(), false);
        // What a NAK carries is read only when it is used, or logged.
        format!("{packet:?}").len()
    });
    std::panic::set_hook(hook);
    parsed.is_err()
}

#[test]
fn refuses_or_defuses_what_makes_the_crates_parser_panic() {
    let string = |text: &[u8; 4]| u32::from_be_bytes(*text).swap_bytes();
    let dangerous = [
        ("congestion extension", conclusion(&[0x0006_0001, string(b"live")])),
        ("filter extension", conclusion(&[0x0007_0001, string(b"a:bc")])),
        ("group extension", conclusion(&[0x0008_0001, 0x0100_0000])),
        ("stream ID without text", conclusion(&[0x0005_0000, 0])),
        ("group without content", conclusion(&[0x0008_0000, 0])),
        ("NAK that ends within a range", control(3, 0, 0, &[0x8000_0005])),
    ];
    for (what, datagram) in dangerous {
        assert!(crate_panics(&datagram), "{what} no longer panics");
        // Understood by ourselves, or refused: in no case handed to the crate.
        match screen(&datagram).map(|datagram| datagram.body) {
            Ok(Body::Handshake(handshake)) => assert_eq!(handshake.step, Step::Conclusion, "{what}"),
            Ok(Body::ForSenders) | Err(_) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn keeps_from_the_crate_what_makes_its_connection_panic() {
    let whole_keys = key_message(1, 2, 4, 4, 10);
    for (what, datagram, expected) in [
        ("congestion warning", control(4, 0, 0, &[0]), Err(Refused::Control)),
        ("peer error", control(8, 0, 1, &[0]), Err(Refused::Control)),
        ("SRT reject packet", control(0x7FFF, 0, 0, &[]), Err(Refused::Control)),
        ("SRT stream ID packet", control(0x7FFF, 5, 0, &[1]), Err(Refused::Control)),
        ("SRT congestion packet", control(0x7FFF, 6, 0, &[1]), Err(Refused::Control)),
        ("SRT filter packet", control(0x7FFF, 7, 0, &[1]), Err(Refused::Control)),
        ("SRT group packet", control(0x7FFF, 8, 0, &[]), Err(Refused::Control)),
        ("late SRT handshake", control(0x7FFF, 1, 0, &[1, 2, 3]), Err(Refused::Control)),
        ("unknown control packet", control(0x1234, 0, 0, &[]), Err(Refused::Control)),
        ("ACK", control(2, 0, 1, &[5]), Ok(Body::ForSenders)),
        ("NAK that runs backward", control(3, 0, 0, &[0x8000_0005, 1]), Ok(Body::ForSenders)),
        ("key response", control(0x7FFF, 4, 0, &whole_keys), Ok(Body::ForSenders)),
        ("ACKACK of nothing", control(6, 0, 0, &[0]), Err(Refused::AckNumber)),
        ("backward drop request", control(7, 0, 0, &[9, 8]), Err(Refused::Range)),
        ("truncated drop request", control(7, 0, 0, &[9]), Err(Refused::Truncated)),
        (
            "drop request across the wrap",
            control(7, 0, 0, &[SEQUENCE_MASK, 0]),
            Ok(Body::Drop { first: SEQUENCE_MASK, last: 0 }),
        ),
        ("keys without a key", control(0x7FFF, 3, 0, &key_message(0, 2, 4, 4, 6)), Err(Refused::KeyMaterial)),
        ("keys that are cut off", control(0x7FFF, 3, 0, &key_message(1, 2, 4, 4, 9)), Err(Refused::KeyMaterial)),
        ("keys under a short salt", control(0x7FFF, 3, 0, &key_message(1, 2, 3, 4, 10)), Err(Refused::KeyMaterial)),
        (
            "keys of a size that does not exist",
            control(0x7FFF, 3, 0, &key_message(1, 2, 4, 5, 11)),
            Err(Refused::KeyMaterial),
        ),
        (
            "keys for another cipher",
            control(0x7FFF, 3, 0, &key_message(1, 4, 4, 4, 10)),
            Ok(Body::Keys(Keys::OtherCipher)),
        ),
        ("both encryption flags", bytes(&[1, 0xD800_0001, 0, 77, 0]), Err(Refused::Encryption)),
        ("no data", bytes(&[1, 0xC000_0001, 0, 77]), Err(Refused::Empty)),
        ("no header", bytes(&[0x8001_0000, 0, 0]), Err(Refused::Truncated)),
        ("nothing", Bytes::new(), Err(Refused::Truncated)),
    ] {
        assert_eq!(screen(&datagram).map(|datagram| datagram.body), expected, "{what}");
    }
}

#[test]
fn refuses_handshakes_that_do_not_fit_themselves() {
    let handshake = |version: u32, step: u32| control(0, 0, 0, &[version, 2, 1, 1500, 8192, step, 9, 0, 0, 0, 0, 0]);
    for (what, datagram, expected) in [
        ("truncated", control(0, 0, 0, &[5; 11]), Refused::Truncated),
        ("version 3", handshake(3, 1), Refused::Version),
        ("version 6", handshake(6, 1), Refused::Version),
        ("step 17", handshake(5, 17), Refused::Step),
        ("step -3", handshake(5, 0xFFFF_FFFD), Refused::Step),
        ("extension longer than the packet", conclusion(&[0x0005_0002, 0]), Refused::Extension),
        ("capabilities of two words", conclusion(&[0x0001_0002, 0, 0]), Refused::Extension),
        ("keys without a key", conclusion(&key_extension(3, &key_message(0, 2, 4, 4, 6))), Refused::KeyMaterial),
    ] {
        assert_eq!(screen(&datagram), Err(expected), "{what}");
    }
}

#[test]
fn reads_a_conclusion_with_everything_it_may_carry() {
    let mut extensions = vec![0x0001_0003, 0x0001_0501, 0xBF, 120 << 16 | 80];
    extensions.extend(key_extension(3, &key_message(3, 2, 4, 8, 4 + 16 + 2)));
    // "live/pgm!" in little-endian words, padded.
    extensions.extend([0x0005_0003, 0x6576_696C, 0x6D67_702F, 0x0000_0021, 0x0006_0001, 0x6576_696C, 0x0009_0000]);
    let Ok(Datagram { destination: 77, body: Body::Handshake(handshake) }) = screen(&conclusion(&extensions)) else {
        panic!("refused");
    };
    let found = &handshake.extensions;
    assert_eq!((handshake.socket, handshake.cookie, handshake.initial_sequence), (99, 0xC0FFEE, 1234));
    let capabilities = found.capabilities.unwrap();
    assert_eq!((capabilities.receive_latency_ms, capabilities.send_latency_ms), (120, 80));
    assert_eq!(found.stream_id, Some(Ok("live/pgm!".into())));
    assert_eq!(found.unsupported, None);
    let Some(Keys::Wrapped { response: false, message }) = &found.keys else { panic!("no keys") };
    assert_eq!((message.salt.len(), message.wrapped_keys.len()), (16, 72));
}

#[test]
fn a_stream_id_that_is_no_text_is_told_apart_from_none() {
    let stream_id = |extensions: &[u32]| match screen(&conclusion(extensions)).map(|datagram| datagram.body) {
        Ok(Body::Handshake(handshake)) => handshake.extensions.stream_id,
        other => panic!("{other:?}"),
    };
    assert_eq!(stream_id(&[]), None);
    assert_eq!(stream_id(&[0x0005_0000]), Some(Ok(String::new())));
    assert_eq!(stream_id(&[0x0005_0001, 0xFFFF_FFFF]), Some(Err(BadStreamId)));
    let mut long = vec![0x0005_0081];
    long.extend([0x6161_6161; 0x81]);
    assert_eq!(stream_id(&long), Some(Err(BadStreamId)));
}

#[test]
fn refuses_data_that_fits_no_ethernet_frame() {
    let datagram = |payload: usize| [&bytes(&[1, 0xC000_0001, 0, 77])[..], &vec![0x47; payload]].concat().into();
    assert!(screen(&datagram(1456)).is_ok());
    for payload in [1457, 2032, 65_491] {
        assert_eq!(screen(&datagram(payload)), Err(Refused::Oversized), "{payload}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = screen(&bytes.into());
    }

    #[test]
    fn arbitrary_handshakes_never_panic(words in proptest::collection::vec(any::<u32>(), 0..60)) {
        let _ = screen(&conclusion(&words));
    }

    #[test]
    fn data_keeps_every_byte(sequence in 0u32..=SEQUENCE_MASK, payload in proptest::collection::vec(any::<u8>(), 1..=1456)) {
        let mut datagram = bytes(&[sequence, 0xC400_0001, 5, 77]).to_vec();
        datagram.extend(&payload);
        match screen(&datagram.into()).map(|datagram| datagram.body) {
            Ok(Body::Data(data)) => {
                prop_assert_eq!((data.sequence, data.retransmitted, data.timestamp_us), (sequence, true, 5));
                prop_assert_eq!(&data.payload[..], &payload[..]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
