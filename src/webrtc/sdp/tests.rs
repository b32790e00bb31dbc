use std::net::SocketAddr;

use proptest::prelude::*;

use super::super::dtls::FingerprintHash;
use super::*;

const CHROMIUM: &str = include_str!("offers/chromium.sdp");
const FIREFOX: &str = include_str!("offers/firefox.sdp");
const SAFARI: &str = include_str!("offers/safari.sdp");

const CONSTRAINED_BASELINE: [u8; 3] = [0x42, 0xc0, 0x1f];
const MAIN: [u8; 3] = [0x4d, 0x40, 0x28];
const HIGH: [u8; 3] = [0x64, 0x00, 0x28];

fn answer_to(offer: &str, profile: [u8; 3]) -> Result<Answer, OfferError> {
    answer_in(offer, profile, false)
}

fn answer_in(offer: &str, profile: [u8; 3], lip_sync: bool) -> Result<Answer, OfferError> {
    let offer = Offer::parse(offer)?;
    let credentials = Credentials { ufrag: "boxufrag".into(), password: "box-password-of-the-session".into() };
    let fingerprint = Fingerprint { hash: FingerprintHash::Sha256, digest: vec![0xab; 32] };
    let candidates: [SocketAddr; 2] = ["192.168.1.20:8189".parse().unwrap(), "[fd00::20]:8189".parse().unwrap()];
    let track = OfferedTrack { ssrc: 1000, rtx_ssrc: 2000, stream_id: "pgm-video".into() };
    answer(
        &offer,
        &AnswerRequest {
            session_number: 42,
            credentials: &credentials,
            fingerprint: &fingerprint,
            candidates: Candidates { addresses: &candidates, over_tcp: true },
            cname: "box",
            video: (track, ProfileLevelId(profile)),
            sound: OfferedSound { ssrc: 3000, stream_id: "pgm-sound".into() },
            lip_sync,
        },
    )
}

/// The lines of the answer's n-th section, as the grammar of another implementation takes them as well.
fn section_of(sdp: &str, n: usize) -> Vec<&str> {
    SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes())).unwrap();
    sdp.split("m=").nth(n + 1).unwrap().lines().collect()
}

fn lines(sdp: &str) -> Vec<&str> {
    sdp.lines().collect()
}

#[test]
fn answers_a_browser_with_picture_and_sound() {
    let Answer { sdp, video, sound } = answer_to(SAFARI, HIGH).unwrap();
    assert_eq!(
        lines(&sdp),
        [
            "v=0",
            "o=- 42 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=ice-lite",
            "a=group:BUNDLE 0 1",
            "a=msid-semantic: WMS *",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
            "c=IN IP4 0.0.0.0",
            "a=mid:0",
            "a=ice-ufrag:boxufrag",
            "a=ice-pwd:box-password-of-the-session",
            &format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":")),
            "a=setup:passive",
            "a=rtcp-mux",
            "a=rtcp-rsize",
            "a=candidate:1 1 udp 2130706431 192.168.1.20 8189 typ host",
            "a=candidate:2 1 udp 2130706175 fd00::20 8189 typ host",
            "a=candidate:3 1 tcp 27262975 192.168.1.20 8189 typ host tcptype passive",
            "a=candidate:4 1 tcp 27262719 fd00::20 8189 typ host tcptype passive",
            "a=end-of-candidates",
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c28",
            "a=rtcp-fb:96 nack",
            "a=rtcp-fb:96 nack pli",
            "a=rtcp-fb:96 ccm fir",
            "a=rtpmap:97 rtx/90000",
            "a=fmtp:97 apt=96",
            "a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            "a=sendonly",
            "a=msid:pgm-video pgm-video",
            "a=ssrc-group:FID 1000 2000",
            "a=ssrc:1000 cname:box",
            "a=ssrc:1000 msid:pgm-video pgm-video",
            "a=ssrc:2000 cname:box",
            "a=ssrc:2000 msid:pgm-video pgm-video",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "c=IN IP4 0.0.0.0",
            "a=mid:1",
            "a=ice-ufrag:boxufrag",
            "a=ice-pwd:box-password-of-the-session",
            &format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":")),
            "a=setup:passive",
            "a=rtcp-mux",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
            "a=sendonly",
            "a=msid:pgm-sound pgm-sound",
            "a=ssrc:3000 cname:box",
            "a=ssrc:3000 msid:pgm-sound pgm-sound",
        ]
    );
    assert_eq!(sound, Some(NegotiatedSound { payload_type: 111 }));
    let playout_delay = Some(5);
    assert_eq!(video, NegotiatedVideo { payload_type: 96, rtx_payload_type: Some(97), playout_delay });
    // The grammar of another implementation takes it as well.
    SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes())).unwrap();
}

#[test]
fn what_every_browser_offers_for_sound_is_accepted() {
    for (offer, payload_type) in [(CHROMIUM, 111), (FIREFOX, 109), (SAFARI, 111)] {
        let Answer { sdp, sound, .. } = answer_to(offer, HIGH).unwrap();
        assert_eq!(sound, Some(NegotiatedSound { payload_type }));
        assert!(sdp.contains("a=group:BUNDLE 0 1\r\n"), "{sdp}");
        let audio = section_of(&sdp, 1);
        assert_eq!(audio[0], format!("audio 9 UDP/TLS/RTP/SAVPF {payload_type}"));
        assert!(audio.contains(&format!("a=rtpmap:{payload_type} opus/48000/2").as_str()), "{audio:?}");
        assert!(section_of(&sdp, 0).contains(&"a=end-of-candidates") && !audio.contains(&"a=end-of-candidates"));
    }
}

#[test]
fn a_receivers_clock_is_agreed_on_where_it_is_offered() {
    let offered = |offer: &str| answer_to(offer, HIGH).unwrap().sdp.contains(" rrtr\r\n");
    assert!(!offered(CHROMIUM));
    assert!(offered(&CHROMIUM.replace("goog-remb", "rrtr")));
}

#[test]
fn for_lip_sync_both_are_in_one_stream_and_nothing_asks_for_haste() {
    let Answer { sdp, video, sound } = answer_in(CHROMIUM, HIGH, true).unwrap();
    assert_eq!(video.playout_delay, None);
    assert!(sound.is_some() && !sdp.contains("playout-delay"), "{sdp}");
    assert!(section_of(&sdp, 0).contains(&"a=msid:pgm-video pgm-video"), "{sdp}");
    let audio = section_of(&sdp, 1);
    assert!(audio.contains(&"a=msid:pgm-video pgm-sound"), "{sdp}");
    assert!(audio.contains(&"a=ssrc:3000 msid:pgm-video pgm-sound"), "{sdp}");
    let usual = answer_to(CHROMIUM, HIGH).unwrap();
    assert!(usual.video.playout_delay.is_some());
    assert!(section_of(&usual.sdp, 1).contains(&"a=msid:pgm-sound pgm-sound"));
}

#[test]
fn sound_that_cannot_be_served_is_refused_and_the_picture_is_not() {
    let (picture, sound) = CHROMIUM.split_at(CHROMIUM.find("m=audio").unwrap());
    for (from, to) in [
        ("a=recvonly", "a=sendonly"),
        ("a=recvonly", "a=inactive"),
        ("m=audio 9", "m=audio 0"),
        ("a=mid:1", "a=mid:other"),
        ("a=rtcp-mux", "a=x"),
        ("opus/48000/2", "opus/48000"),
        ("opus/48000/2", "opus/16000/2"),
        ("opus/48000/2", "opus/48000/x"),
        ("a=rtpmap:111 ", "a=rtpmap:112 "),
    ] {
        let refused = sound.replace(from, to);
        assert_ne!(refused, sound);
        let answer = answer_to(&format!("{picture}{refused}"), HIGH).unwrap();
        assert_eq!(answer.sound, None, "{to}");
        assert!(answer.sdp.contains("a=group:BUNDLE 0\r\n"), "{}", answer.sdp);
        let audio = section_of(&answer.sdp, 1);
        assert!(audio[0].starts_with("audio 0 ") && audio.last() == Some(&"a=inactive"), "{audio:?}");
    }
    assert_eq!(answer_to(picture, HIGH).unwrap().sound, None, "not asked for");
}

#[test]
fn one_section_of_each_kind_is_accepted() {
    let again = |text: &str| text.replace("a=mid:0", "a=mid:2").replace("a=mid:1", "a=mid:3");
    let sections = &SAFARI[SAFARI.find("m=video").unwrap()..];
    let offer = format!("{}{}", SAFARI.replace("BUNDLE 0 1", "BUNDLE 3 2 1 0"), again(sections));
    let sdp = answer_to(&offer, HIGH).unwrap().sdp;
    assert!(sdp.contains("a=group:BUNDLE 1 0\r\n"), "in the order of the offer: {sdp}");
    let ports: Vec<_> = sdp.split("m=").skip(1).map(|section| &section[..7]).collect();
    assert_eq!(ports, ["video 9", "audio 9", "video 0", "audio 0"]);
    let has_candidates = |n| section_of(&sdp, n).contains(&"a=end-of-candidates");
    assert!(has_candidates(1) && !has_candidates(0), "with the bundle's tag: {sdp}");
}

#[test]
fn the_answered_profile_is_the_streams_among_what_is_offered() {
    let chosen = |offer, profile| {
        let sdp = answer_to(offer, profile).unwrap().sdp;
        let line = sdp.lines().find(|line| line.contains("profile-level-id")).unwrap().to_owned();
        line.split_once("profile-level-id=").unwrap().1.to_owned()
    };
    assert_eq!(chosen(SAFARI, HIGH), "640c28", "never Baseline for High where High is offered");
    assert_eq!(chosen(SAFARI, CONSTRAINED_BASELINE), "42e01f");
    assert_eq!(chosen(SAFARI, MAIN), "640c28");
    assert_eq!(chosen(FIREFOX, CONSTRAINED_BASELINE), "42e01f");
    assert_eq!(chosen(FIREFOX, HIGH), "42e028", "the only thing Firefox offers");
    assert_eq!(chosen(CHROMIUM, CONSTRAINED_BASELINE), "42e01f");
    assert_eq!(chosen(CHROMIUM, MAIN), "4d0028");
}

#[test]
fn a_level_is_not_changed_where_levels_must_not_differ() {
    let offer = SAFARI.replace("level-asymmetry-allowed=1;", "");
    let sdp = answer_to(&offer, HIGH).unwrap().sdp;
    assert!(sdp.contains("a=fmtp:96 packetization-mode=1;profile-level-id=640c1f\r\n"), "{sdp}");
}

#[test]
fn extensions_with_a_direction_and_without_are_found() {
    assert_eq!(answer_to(FIREFOX, HIGH).unwrap().video.playout_delay, Some(6));
    assert!(answer_to(CHROMIUM, HIGH).unwrap().video.playout_delay.is_some());
    let without = SAFARI.replace("playout-delay", "something-else");
    assert_eq!(answer_to(&without, HIGH).unwrap().video.playout_delay, None);
}

#[test]
fn an_offer_without_bundle_or_retransmission_is_served() {
    let sdp = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n\
        a=fingerprint:SHA-256 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff\n\
        a=setup:active\nm=video 9 UDP/TLS/RTP/SAVPF 100\nc=IN IP4 0.0.0.0\na=rtcp-mux\na=recvonly\n\
        a=rtpmap:100 H264/90000\na=fmtp:100 packetization-mode=1;profile-level-id=42e01f";
    let Answer { sdp, video, sound } = answer_to(sdp, CONSTRAINED_BASELINE).unwrap();
    assert_eq!(sound, None);
    assert!(!sdp.contains("BUNDLE") && !sdp.contains("a=mid") && !sdp.contains("rtx"), "{sdp}");
    assert_eq!(video, NegotiatedVideo { payload_type: 100, rtx_payload_type: None, playout_delay: None });
}

#[test]
fn says_precisely_what_is_wrong_with_an_offer() {
    let wrong = |from: &str, to: &str| answer_to(&SAFARI.replace(from, to), HIGH).map(|_| ()).unwrap_err();
    assert!(matches!(answer_to("hello", HIGH), Err(OfferError::Malformed(_))));
    assert!(matches!(answer_to(&"a".repeat(100_000), HIGH), Err(OfferError::Malformed(_))));
    assert!(matches!(answer_to("", HIGH), Err(OfferError::Malformed(_) | OfferError::Lacks(_))));
    assert!(matches!(wrong("a=ice-ufrag:kY7c\n", ""), OfferError::Lacks(_)));
    assert!(matches!(wrong("a=ice-ufrag:kY7c", "a=ice-ufrag:k"), OfferError::Attribute { attribute: "ice-ufrag", .. }));
    assert!(matches!(wrong("a=ice-pwd:QmS0l3", "a=ice-pwd: x"), OfferError::Attribute { attribute: "ice-pwd", .. }));
    assert!(matches!(wrong("a=fingerprint:sha-256", "a=x:"), OfferError::Lacks(_)));
    assert!(matches!(wrong("sha-256 0F", "md5 0F"), OfferError::Attribute { attribute: "fingerprint", .. }));
    assert!(matches!(wrong("setup:actpass", "setup:passive"), OfferError::Attribute { attribute: "setup", .. }));
    assert!(matches!(wrong("a=rtcp-mux\n", ""), OfferError::Lacks(_)));
    assert_eq!(wrong("a=recvonly", "a=sendonly"), OfferError::NoVideo);
    assert_eq!(wrong("m=video 9", "m=video 0"), OfferError::NoVideo);
    assert_eq!(wrong("H264/90000", "VP8/90000"), OfferError::NoCodec);
    assert_eq!(wrong("packetization-mode=1", "packetization-mode=0"), OfferError::NoCodec);
    assert!(matches!(wrong("BUNDLE 0 1", "BUNDLE 1"), OfferError::Lacks(_)));
}

#[test]
fn sections_of_other_kinds_are_refused_in_their_place() {
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:2\na=sctp-port:5000\n";
    let offer = format!("{}{data}", SAFARI.replace("BUNDLE 0 1", "BUNDLE 0 1 2"));
    let sdp = answer_to(&offer, HIGH).unwrap().sdp;
    assert!(sdp.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{sdp}");
    let second = SAFARI.find("m=audio").unwrap();
    let swapped = format!(
        "{}{}{}",
        &SAFARI[..SAFARI.find("m=video").unwrap()],
        &SAFARI[second..],
        &SAFARI[SAFARI.find("m=video").unwrap()..second]
    );
    let sdp = answer_to(&swapped, HIGH).unwrap().sdp;
    let order: Vec<_> = sdp.lines().filter(|line| line.starts_with("m=")).map(|line| &line[..9]).collect();
    assert_eq!(order, ["m=audio 9", "m=video 9"]);
}

/// Sound first, picture second, each section with a transport of its own, as before bundling is agreed.
fn audio_first(audio: &str, video: &str) -> String {
    let codec = "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f";
    format!(
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE a v\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=mid:a\na=recvonly\na=rtcp-mux\n{audio}\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\nc=IN IP4 0.0.0.0\na=mid:v\na=recvonly\na=rtcp-mux\n{codec}\n{video}\n"
    )
}

fn transport_lines(ufrag: &str, digest_byte: &str, setup: &str) -> String {
    let digest = [digest_byte; 32].join(":");
    format!("a=ice-ufrag:{ufrag}\na=ice-pwd:{ufrag}{}\na=fingerprint:sha-256 {digest}\na=setup:{setup}", "0".repeat(22))
}

#[test]
fn the_transport_is_that_of_the_first_section_that_is_accepted() {
    // No Opus: the sound is refused, so the picture's section carries the tag (RFC 9143 §7.3.1).
    let text = audio_first(&transport_lines("sound", "AA", "passive"), &transport_lines("picture", "BB", "actpass"));
    let offer = Offer::parse(&text).unwrap();
    assert_eq!(offer.credentials.ufrag, "picture");
    assert!(offer.credentials.password.starts_with("picture"));
    assert_eq!(offer.fingerprints, [Fingerprint { hash: FingerprintHash::Sha256, digest: vec![0xbb; 32] }]);
    let sdp = answer_to(&text, CONSTRAINED_BASELINE).unwrap().sdp;
    assert!(sdp.contains("a=group:BUNDLE v\r\n"), "{sdp}");
    let with_sound = |setup: &str| {
        let sound = format!("a=rtpmap:111 opus/48000/2\n{}", transport_lines("sound", "AA", setup));
        audio_first(&sound, &transport_lines("picture", "BB", "passive"))
    };
    let offer = Offer::parse(&with_sound("actpass")).unwrap();
    assert_eq!(offer.credentials.ufrag, "sound");
    assert_eq!(offer.fingerprints, [Fingerprint { hash: FingerprintHash::Sha256, digest: vec![0xaa; 32] }]);
    let sdp = answer_to(&with_sound("actpass"), CONSTRAINED_BASELINE).unwrap().sdp;
    assert!(sdp.contains("a=group:BUNDLE a v\r\n"), "{sdp}");
    assert!(matches!(Offer::parse(&with_sound("passive")), Err(OfferError::Attribute { attribute: "setup", .. })));
    let reordered = with_sound("passive").replace("BUNDLE a v", "BUNDLE v a").replace("passive", "active");
    assert_eq!(Offer::parse(&reordered).unwrap().credentials.ufrag, "picture");
    let refused = audio_first(&transport_lines("sound", "AA", "actpass"), &transport_lines("picture", "BB", "passive"));
    assert!(matches!(Offer::parse(&refused), Err(OfferError::Attribute { attribute: "setup", .. })));
}

#[test]
fn what_the_tagged_section_leaves_out_is_taken_from_the_session_or_from_the_bundle() {
    let whole = transport_lines("whole", "CC", "actpass");
    let session = audio_first(&transport_lines("sound", "AA", "actpass"), "a=ice-ufrag:picture")
        .replace("t=0 0", &format!("t=0 0\n{whole}"));
    let offer = Offer::parse(&session).unwrap();
    assert_eq!(offer.credentials.ufrag, "picture");
    assert!(offer.credentials.password.starts_with("whole"));
    assert_eq!(offer.fingerprints[0].digest, [0xcc; 32]);
    // A bundle-only section has no transport attributes: those of the tagged section apply (RFC 9143 §7.1.3).
    let only =
        audio_first(&transport_lines("sound", "AA", "actpass"), "a=bundle-only").replace("m=video 9", "m=video 0");
    let offer = Offer::parse(&only).unwrap();
    assert_eq!(offer.credentials.ufrag, "sound");
    assert_eq!(offer.fingerprints[0].digest, [0xaa; 32]);
}

#[test]
fn reads_a_fragment_and_answers_a_restart() {
    let text = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
        a=end-of-candidates\r\n";
    let fragment = Fragment::parse(text).unwrap();
    assert_eq!(fragment.credentials.ufrag, "EsAw");
    assert_eq!(fragment.candidates, 1);
    let credentials = Credentials { ufrag: "newufrag".into(), password: "newpassword".into() };
    let addresses = ["192.0.2.9:8189".parse().unwrap()];
    let answer = restart_answer(&fragment, &credentials, Candidates { addresses: &addresses, over_tcp: true });
    assert_eq!(
        lines(&answer),
        [
            "a=ice-lite",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "a=mid:0",
            "a=ice-ufrag:newufrag",
            "a=ice-pwd:newpassword",
            "a=candidate:1 1 udp 2130706431 192.0.2.9 8189 typ host",
            "a=candidate:2 1 tcp 27262975 192.0.2.9 8189 typ host tcptype passive",
            "a=end-of-candidates",
        ]
    );
}

#[test]
fn refuses_fragments_that_are_none() {
    assert_eq!(Fragment::parse(""), Err(FragmentError::NoCredentials));
    assert_eq!(Fragment::parse("hello"), Err(FragmentError::Malformed(1)));
    assert_eq!(Fragment::parse("a=x\nhello=1"), Err(FragmentError::Malformed(2)));
    assert_eq!(Fragment::parse(&"a=x\n".repeat(10_000)), Err(FragmentError::TooLong));
    assert_eq!(Fragment::parse("a=ice-ufrag:ab\na=ice-pwd:short"), Err(FragmentError::Credentials));
    let two = "a=ice-ufrag:abcd\na=ice-ufrag:efgh\na=ice-pwd:0123456789012345678901";
    assert_eq!(Fragment::parse(two), Err(FragmentError::Credentials));
}

proptest! {
    #[test]
    fn damaged_offers_never_panic(at in 0usize..4000, cut in 0usize..40, insert in "[\\x00-\\x7f]{0,12}") {
        let start = (0..=at.min(SAFARI.len())).rev().find(|at| SAFARI.is_char_boundary(*at)).unwrap();
        let end = (start + cut).min(SAFARI.len());
        let damaged = format!("{}{insert}{}", &SAFARI[..start], &SAFARI[end..]);
        if let Ok(Answer { sdp, .. }) = answer_to(&damaged, HIGH) {
            prop_assert!(sdp.ends_with("\r\n"));
        }
        let _ = Fragment::parse(&damaged);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = answer_to(&text, HIGH);
        let _ = Fragment::parse(&text);
    }
}
