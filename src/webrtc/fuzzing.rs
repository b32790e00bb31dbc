//! What a fuzzer drives: one function for each entry from the network. Each asserts what must hold
//! whatever arrives, not only that nothing panics.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rtc_sdp::description::session::SessionDescription;

use super::dtls::{Dtls, DtlsEvent, Fingerprint, FingerprintHash, Identity};
use super::framing;
use super::history::History;
use super::ice::{Agent, Credentials, Path, Request, Transport};
use super::packetizer::Packetizer;
use super::rtcp::{self, Feedback, ReferenceAnswer};
use super::sdp::{
    AnswerRequest, Candidates, Fragment, NegotiatedVideo, Offer, OfferedSound, OfferedTrack, ProfileLevelId,
};
use super::sdp::{answer, restart_answer};
use super::sending::{Batch, Pacing, Sending, SendingParts, Sources};
use super::srtp::{Inbound, Keys, Outbound, Profile};
use crate::clock::Clock;

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::generate().expect("a fuzzer's machine has randomness"))
}

fn credentials() -> Credentials {
    Credentials { ufrag: "boxufrag".into(), password: "a-password-no-datagram-holds".into() }
}

fn path() -> Path {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
    Path { local: Ipv4Addr::LOCALHOST.into(), peer, transport: Transport::Udp }
}

/// A datagram where connectivity checks arrive: nothing is proven without the password.
pub fn stun(data: &[u8]) {
    let mut agent = Agent::new(identity().crypto(), credentials(), "peer".into());
    if let Ok(request) = Request::read(data) {
        let answered = agent.handle(Clock::system().now(), path(), request);
        assert!(answered.is_err(), "answered without the password");
    }
    assert!(agent.selected().is_none());
}

/// A connection to the media port, cut in two after as many bytes as its first says: the same frames come out of it as of
/// the whole, none is longer than what was said, and they are as if written again.
pub fn framing(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let frames = |mut read: &[u8], out: &mut Vec<u8>| {
        let whole = read.len();
        while let Ok(Some(frame)) = framing::take(&mut read) {
            assert!(frame.len() <= framing::LONGEST && framing::write(frame, out), "too long");
        }
        whole - read.len()
    };
    let (mut at_once, mut in_two) = (Vec::new(), Vec::new());
    let taken = frames(stream, &mut at_once);
    assert_eq!(stream.get(..taken), Some(&at_once[..]), "not what was sent");
    let before = stream.get(..usize::from(cut)).unwrap_or(stream);
    let first = frames(before, &mut in_two);
    frames(stream.get(first..).unwrap_or_default(), &mut in_two);
    assert_eq!(at_once, in_two, "cut in two, it is another");
}

/// Datagrams, each after its length in one byte times eight, where DTLS arrives: no keys without
/// the offered certificate.
pub fn dtls(data: &[u8]) {
    let now = Clock::system().now();
    let peer = vec![Fingerprint { hash: FingerprintHash::Sha256, digest: vec![0; 32] }];
    let mut dtls = Dtls::new(identity().clone(), peer, &Profile::by_cpu()).expect("the certificate is usable");
    let mut rest = data;
    let (mut taken, mut given) = (0, 0);
    while let Some((&len, more)) = rest.split_first() {
        let (datagram, more) = more.split_at(more.len().min(usize::from(len) * 8));
        rest = more;
        taken += datagram.len();
        let event = dtls.handle(now, datagram);
        assert!(!matches!(event, Ok(Some(DtlsEvent::Connected { .. }))), "keys without a certificate");
        while let Some(datagram) = dtls.poll_transmit() {
            given += datagram.len();
        }
        if event.is_err() {
            break;
        }
    }
    // A whole flight with the certificate is about 1 KB; it takes a cookie to get it.
    assert!(given <= 4_096 + 64 * taken, "{given} bytes for {taken}");
}

/// A datagram where SRTCP arrives, and the same bytes as if they had been authentic.
pub fn rtcp(data: &[u8]) {
    let keys = Keys::new(Profile::AeadAes128Gcm, &[1; 16], &[2; 12]).expect("the lengths fit");
    let mut inbound = Inbound::new(&keys);
    assert!(inbound.unprotect_rtcp(&mut data.to_vec()).is_err(), "accepted without the key");
    let now = Clock::system().now();
    let negotiated = NegotiatedVideo { payload_type: 96, rtx_payload_type: Some(97), playout_delay: Some(1) };
    let mut sending = Sending::new(SendingParts {
        video: Sources { ssrc: 1, rtx_ssrc: 2, first_sequence: 0 },
        negotiated,
        sound: None,
        srtp: Outbound::new(&keys).split().0,
        path: path(),
        pacing: Pacing { live_bps: None, join_bps: 100_000_000 },
    });
    let (mut history, mut batch) = (History::default(), Batch::default());
    let mut unit = vec![0, 0, 1, 0x65];
    unit.resize(50_000, 1);
    if let Some(frame) = Packetizer::default().h264(&unit, true, 0, now).map(Arc::new) {
        history.push(frame.clone());
        sending.offer(now, &frame);
    }
    while sending.fill(now, &history, &mut batch).is_some() {
        sending.sent(now, &batch);
    }
    let (mut reports, mut answers) = (0, Vec::new());
    let _ = rtcp::read(data, |feedback| match feedback {
        Feedback::Nack { sequence, following, .. } => sending.nack(now, 1, sequence, following),
        Feedback::PictureLoss { .. } => sending.picture_lost(now),
        Feedback::Report(report) => {
            let _ = report.round_trip(u64::from(report.delay) << 16);
            reports += 1;
        }
        Feedback::ReferenceTime { ssrc, reference } => {
            answers.push(ReferenceAnswer { ssrc, reference, delay: Duration::ZERO });
        }
        _ => {}
    });
    assert!(reports * 24 + answers.len() * 12 <= data.len());
    answers.truncate(31);
    let mut compound = Vec::new();
    rtcp::write_reference_answers(&mut compound, 1, &answers, "box");
    assert_eq!(rtcp::read(&compound, |_| {}), Ok(()), "an answer of ours");
    let before = sending.counts().picture;
    sending.start(now, &history);
    while sending.fill(now, &history, &mut batch).is_some() {
        sending.sent(now, &batch);
    }
    assert!(sending.counts().picture.retransmitted <= before.packets, "more sent again than was sent");
}

/// An offer: what is answered is a description with as many sections.
pub fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(offer) = Offer::parse(text) else { return };
    let track = OfferedTrack { ssrc: 1, rtx_ssrc: 2, stream_id: "pgm-video".into() };
    let request = AnswerRequest {
        session_number: 1,
        credentials: &credentials(),
        fingerprint: identity().fingerprint(),
        candidates: Candidates { addresses: &[path().peer], over_tcp: true },
        cname: "box",
        video: (track, ProfileLevelId([0x64, 0, 0x28])),
        sound: OfferedSound { ssrc: 3, stream_id: "pgm-sound".into() },
        lip_sync: data.len() % 2 == 1,
    };
    let Ok(answer) = answer(&offer, &request) else { return };
    let sections = answer.sdp.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections, offer.sections.len());
    let read = SessionDescription::unmarshal(&mut std::io::Cursor::new(answer.sdp.as_bytes()));
    assert!(read.is_ok(), "{:?}\n{}", read.err(), answer.sdp);
}

/// A fragment: what answers it is one again.
pub fn sdp_fragment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(fragment) = Fragment::parse(text) else { return };
    let credentials = credentials();
    let answer = restart_answer(&fragment, &credentials, Candidates { addresses: &[path().peer], over_tcp: true });
    let read = Fragment::parse(&answer).map(|fragment| fragment.credentials);
    assert_eq!(read.as_ref(), Ok(&credentials), "{answer}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &str = include_str!("sdp/offers/safari.sdp");
    const FRAGMENT: &str = "a=ice-options:trickle\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n";

    fn spliced(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
        (0..text.len(), 0usize..60, 0..text.len(), prop::collection::vec(any::<u8>(), 0..8)).prop_map(
            move |(at, cut, from, insert)| {
                let bytes = text.as_bytes();
                let end = (at + cut).min(bytes.len());
                let moved = &bytes[from..(from + cut).min(bytes.len())];
                [&bytes[..at], &insert, moved, &bytes[end..]].concat()
            },
        )
    }

    proptest! {
        #[test]
        fn damaged_text_keeps_the_invariants(offer in spliced(OFFER), fragment in spliced(FRAGMENT)) {
            sdp(&offer);
            sdp_fragment(&fragment);
        }

        #[test]
        fn arbitrary_datagrams_keep_the_invariants(data in prop::collection::vec(any::<u8>(), 0..400)) {
            stun(&data);
            rtcp(&data);
            sdp(&data);
            sdp_fragment(&data);
        }

        #[test]
        fn records_with_arbitrary_content_keep_the_invariants(
            kind in 20u8..26,
            handshake in 0u8..25,
            body in prop::collection::vec(any::<u8>(), 0..120),
            claimed in 0u8..200,
        ) {
            let mut record = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
            record.extend_from_slice(&((12 + body.len()) as u16).to_be_bytes());
            record.extend_from_slice(&[handshake, 0, 0, claimed, 0, 0, 0, 0, 0, 0, 0, body.len() as u8]);
            record.extend_from_slice(&body);
            record.resize(record.len().next_multiple_of(8), 0);
            let mut data = vec![(record.len() / 8) as u8];
            data.extend_from_slice(&record);
            dtls(&data);
        }
    }
}
