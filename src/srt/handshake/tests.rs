use super::*;
use crate::clock::Clock;
use crate::srt::calling::{Calling, Failed, Progress, Request};
use crate::srt::keys::KEY_ENTROPY;
use crate::srt::screen::{BadStreamId, Body, Capabilities, Extensions, screen};

fn now() -> Instant {
    Clock::manual().0.now()
}

fn from() -> SocketAddr {
    "192.168.1.7:50000".parse().unwrap()
}

fn handshake(bytes: &Bytes) -> Handshake {
    match screen(bytes).map(|datagram| datagram.body) {
        Ok(Body::Handshake(handshake)) => *handshake,
        other => panic!("{other:?}"),
    }
}

fn request(stream_id: &str, passphrase: Option<(&str, usize)>) -> Request {
    Request {
        remote: from(),
        local_socket: 7,
        initial_sequence: 1000,
        stream_id: Some(stream_id.to_owned()).filter(|id| !id.is_empty()),
        latency: Duration::from_millis(80),
        keys: passphrase.map(|(text, bytes)| StreamKeys::make(text, bytes, &[9; KEY_ENTROPY]).unwrap()),
    }
}

/// A caller and a listener shake hands; what each of them makes of it.
fn shake(asked: Request, latency_ms: u64, passphrase: Option<&str>) -> (Result<Accepted, Rejected>, Progress) {
    let now = now();
    let cookies = Cookies::new(&[3; 32], now);
    let mut calling = Calling::new(asked);
    let FirstLook::Answer(answer) = first_look(&cookies, now, from(), &handshake(&calling.asking())) else {
        panic!("no answer to the induction")
    };
    assert!(matches!(calling.handle(&handshake(&answer)), Progress::Waiting));
    let conclusion = handshake(&calling.asking());
    assert_eq!(first_look(&cookies, now, from(), &conclusion), FirstLook::Proven);
    let find = |_: &StreamName| passphrase.map(str::to_owned);
    let judged = judge(&conclusion, &Terms { latency: Duration::from_millis(latency_ms), passphrase: &find });
    let answer = match &judged {
        Ok(accepted) => acceptance(from(), &conclusion, accepted, 42),
        Err(why) => rejection(from(), &conclusion, why),
    };
    let progress = calling.handle(&handshake(&answer));
    (judged, progress)
}

#[test]
fn caller_and_listener_agree() {
    for (ours, agreed) in [(20, 20), (120, 120)] {
        let (accepted, progress) = shake(request("publish:cam1", None), ours, None);
        assert_eq!(accepted.unwrap().wish.stream.short(), "cam1");
        let Progress::Connected(agreement) = progress else { panic!("{progress:?}") };
        assert_eq!((agreement.peer_socket, agreement.local_socket, agreement.initial_sequence), (42, 7, 1000));
        // The caller of this test receives too, with 80 ms of its own, and asks for none of us.
        assert_eq!(agreement.latency, Duration::from_millis(80));
        let conclusion_latency = shake(request("", None), ours, None).0.unwrap().latency;
        assert_eq!(conclusion_latency, Duration::from_millis(agreed));
    }
}

#[test]
fn the_larger_latency_wins_up_to_eight_seconds() {
    let mut conclusion = handshake_with(Capabilities {
        response: false,
        version: 0x10501,
        flags: 0xBF,
        receive_latency_ms: 0,
        send_latency_ms: 300,
    });
    let open = |_: &StreamName| None;
    let terms = |ms| Terms { latency: Duration::from_millis(ms), passphrase: &open };
    assert_eq!(judge(&conclusion, &terms(120)).unwrap().latency, Duration::from_millis(300));
    assert_eq!(judge(&conclusion, &terms(500)).unwrap().latency, Duration::from_millis(500));
    conclusion.extensions.capabilities.as_mut().unwrap().send_latency_ms = u16::MAX;
    assert_eq!(judge(&conclusion, &terms(120)).unwrap().latency, LONGEST_LATENCY);
}

fn handshake_with(capabilities: Capabilities) -> Handshake {
    Handshake {
        step: Step::Conclusion,
        version: 5,
        initial_sequence: 1,
        mtu: 1500,
        flow_window: 8192,
        socket: 9,
        cookie: 0,
        extensions: Extensions { capabilities: Some(capabilities), ..Extensions::default() },
    }
}

#[test]
fn every_pair_of_passphrases_is_judged() {
    for bytes in [16, 24, 32] {
        let right = Some(("correct horse", bytes));
        let (accepted, progress) = shake(request("cam1", right), 20, Some("correct horse"));
        assert_eq!(usize::from(accepted.unwrap().keys.unwrap().key_size().as_raw()), bytes);
        assert!(matches!(progress, Progress::Connected(_)), "{progress:?}");

        for (theirs, ours, why, code) in [
            (right, Some("battery staple"), Rejected::WrongPassphrase("cam1".into()), 10),
            (right, None, Rejected::UnexpectedPassphrase("cam1".into()), 11),
            (None, Some("correct horse"), Rejected::MissingPassphrase("cam1".into()), 11),
        ] {
            let (judged, progress) = shake(request("cam1", theirs), 20, ours);
            assert_eq!(judged.err(), Some(why));
            let Progress::Failed(failed) = progress else { panic!("{progress:?}") };
            assert_eq!(failed, Failed::Rejected { code });
        }
    }
}

#[test]
fn rejections_say_why_in_the_protocols_codes() {
    let reject = |id: &str| shake(request(id, None), 20, None).1;
    for (id, code) in [("#!::r=pgm,m=request", 1405), ("a b", 1400), ("#!::r=pgm,t=file", 1415), ("api", 1400)] {
        let Progress::Failed(failed) = reject(id) else { panic!("{id}") };
        assert_eq!(failed, Failed::Rejected { code }, "{id}");
    }
    assert_eq!(Rejected::Conflict(String::new()).code(), 2409);
}

#[test]
fn what_is_not_live_video_is_refused() {
    let capabilities =
        Capabilities { response: false, version: 0, flags: 0, receive_latency_ms: 0, send_latency_ms: 0 };
    let open = |_: &StreamName| None;
    let terms = Terms { latency: Duration::ZERO, passphrase: &open };
    let good = handshake_with(capabilities);
    let changed = |change: &dyn Fn(&mut Handshake)| {
        let mut request = good.clone();
        change(&mut request);
        judge(&request, &terms).map(|_| ()).map_err(|why| why.code())
    };
    assert_eq!(changed(&|_| ()), Ok(()));
    assert_eq!(changed(&|request| request.version = 4), Err(1008));
    assert_eq!(changed(&|request| request.extensions.capabilities = None), Err(1004));
    assert_eq!(changed(&|request| request.extensions.capabilities.as_mut().unwrap().response = true), Err(1004));
    assert_eq!(changed(&|request| request.extensions.unsupported = Some("file mode")), Err(1013));
    assert_eq!(changed(&|request| request.extensions.stream_id = Some(Err(BadStreamId))), Err(2400));
    assert_eq!(changed(&|request| request.extensions.keys = Some(Keys::OtherCipher)), Err(1011));
}

#[test]
fn an_induction_leaves_no_trace_and_gets_no_more_than_it_brought() {
    let now = now();
    let cookies = Cookies::new(&[3; 32], now);
    let question = Calling::new(request("", None)).asking();
    let first = first_look(&cookies, now, from(), &handshake(&question));
    assert_eq!(first, first_look(&cookies, now, from(), &handshake(&question)));
    let FirstLook::Answer(answer) = first else { panic!("no answer") };
    assert!(answer.len() <= question.len(), "{} > {}", answer.len(), question.len());
}

#[test]
fn a_cookie_is_good_for_one_address_and_a_minute_at_most() {
    let now = now();
    let cookies = Cookies::new(&[3; 32], now);
    let mut calling = Calling::new(request("", None));
    let FirstLook::Answer(answer) = first_look(&cookies, now, from(), &handshake(&calling.asking())) else {
        panic!("no answer")
    };
    calling.handle(&handshake(&answer));
    let conclusion = handshake(&calling.asking());
    let look = |at, from: &str| first_look(&cookies, at, from.parse().unwrap(), &conclusion);
    assert_eq!(look(now + Duration::from_secs(59), "192.168.1.7:50000"), FirstLook::Proven);
    assert!(matches!(look(now + Duration::from_secs(61), "192.168.1.7:50000"), FirstLook::Ignore(_)));
    assert!(matches!(look(now, "192.168.1.7:50001"), FirstLook::Ignore(_)));
    assert!(matches!(look(now, "192.168.1.8:50000"), FirstLook::Ignore(_)));
    let other = Cookies::new(&[4; 32], now);
    assert!(matches!(first_look(&other, now, from(), &conclusion), FirstLook::Ignore(_)));
}
