use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::tally::CameraConfig;
use crate::tally::state::{State, Update};

/// A conversation with a vMix written by hand.
struct Talk {
    protocol: Protocol,
    start: Instant,
    now: Instant,
}

impl Talk {
    fn begin() -> Self {
        let now = Clock::system().now();
        let mut protocol = Protocol::default();
        protocol.connected(now);
        Self { protocol, start: now, now }
    }

    fn asked(&mut self) -> Vec<String> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap().trim_end().to_owned();
        std::iter::from_fn(|| self.protocol.poll_transmit()).map(text).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.protocol.poll_event()).collect()
    }

    fn hear(&mut self, text: &str) -> Vec<String> {
        self.protocol.handle_input(self.now, text.as_bytes());
        self.asked()
    }

    fn wait(&mut self, ms: u64) -> Vec<String> {
        let until = self.now + Duration::from_millis(ms);
        let mut asked = Vec::new();
        let mut steps = 0;
        while let Some(at) = self.protocol.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.protocol.handle_timeout(self.now);
            asked.extend(self.asked());
            steps += 1;
            assert!(steps < 1000, "a deadline that does not move on");
        }
        self.now = until;
        asked
    }

    fn open(&mut self) {
        assert_eq!(self.asked(), ["SUBSCRIBE TALLY"]);
        assert_eq!(self.hear("SUBSCRIBE OK TALLY Subscribed\r\n"), ["TALLY"]);
        assert_eq!(self.hear("TALLY OK 012\r\n"), ["SUBSCRIBE ACTS"]);
        assert_eq!(self.hear("SUBSCRIBE OK ACTS Subscribed\r\n"), ["XML"]);
        assert_eq!(self.hear("XML 9\r\n<vmix/>\r\n"), [""; 0]);
        self.events();
    }
}

fn lost(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Lost(_)))
}

const NOTHING: [&str; 0] = [];

#[test]
fn asks_one_thing_at_a_time_and_begins_with_a_snapshot() {
    let mut talk = Talk::begin();
    assert_eq!(talk.asked(), ["SUBSCRIBE TALLY"]);
    assert_eq!(talk.hear("VERSION OK 29.0.0.49\r\n"), NOTHING);
    assert_eq!(talk.hear("SUBSCRIBE OK TALLY Subscribed\r\n"), ["TALLY"]);
    assert_eq!(talk.hear("TALLY OK 0123\r\n"), ["SUBSCRIBE ACTS"]);
    assert_eq!(talk.hear("SUBSCRIBE OK ACTS Subscribed\r\n"), ["XML"]);
    assert_eq!(talk.hear("XML 9\r\n<vm"), NOTHING);
    assert_eq!(talk.hear("ix/>\r\n"), NOTHING);
    let asked = talk.now;
    assert_eq!(
        talk.events(),
        [
            Event::Version("29.0.0.49".into()),
            Event::Tally(vec![Tally::Safe, Tally::Program, Tally::Preview, Tally::Unknown]),
            Event::Document { bytes: Bytes::from_static(b"<vmix/>\r\n"), asked },
        ]
    );
}

#[test]
fn polls_every_500_ms_and_the_document_every_2_s() {
    let mut talk = Talk::begin();
    talk.open();
    let mut asked = Vec::new();
    for _ in 0..40 {
        let mut requests = talk.wait(100);
        while let Some(request) = requests.pop() {
            requests.extend(talk.hear(if request == "TALLY" { "TALLY OK 012\r\n" } else { "XML 7\r\n<vmix/>" }));
            asked.push(request);
        }
    }
    assert_eq!(asked.iter().filter(|request| *request == "TALLY").count(), 8);
    assert_eq!(asked.iter().filter(|request| *request == "XML").count(), 2);
    assert!(!lost(&talk.events()));
}

#[test]
fn a_silent_vmix_is_lost_1500_ms_after_its_last_tally() {
    let mut talk = Talk::begin();
    talk.open();
    talk.wait(1499);
    assert!(!lost(&talk.events()));
    talk.wait(1);
    assert_eq!(talk.events(), [Event::Lost(Lost::Silent)]);
    assert_eq!(talk.protocol.poll_timeout(), None);
}

#[test]
fn a_peer_that_accepts_and_never_speaks_is_lost_too() {
    let mut talk = Talk::begin();
    talk.wait(1500);
    assert_eq!(talk.events(), [Event::Lost(Lost::Silent)]);
}

#[test]
fn other_lines_are_no_sign_of_life_for_the_tally() {
    let mut talk = Talk::begin();
    talk.open();
    for _ in 0..16 {
        talk.wait(100);
        talk.hear("ACTS OK InputVolume 1 0.5\r\nTALLY OK garbage\r\nTALLY ER no\r\n");
    }
    assert!(lost(&talk.events()));
}

#[test]
fn pushed_lines_between_request_and_answer_change_nothing() {
    let mut talk = Talk::begin();
    assert_eq!(talk.asked(), ["SUBSCRIBE TALLY"]);
    assert_eq!(talk.hear("TALLY OK 00\r\n"), NOTHING, "a push does not answer the subscription");
    assert_eq!(talk.hear("SUBSCRIBE OK TALLY\r\n"), ["TALLY"]);
    assert_eq!(talk.hear("ACTS OK Input 1 1\r\n"), NOTHING);
    assert_eq!(talk.hear("TALLY OK 10\r\n"), ["SUBSCRIBE ACTS"]);
    assert_eq!(talk.hear("TALLY OK 10\r\nACTS OK Input 1 1\r\nSUBSCRIBE OK ACTS\r\n"), ["XML"]);
    assert_eq!(talk.hear("TALLY OK 10\r\nXML 9\r\n<vmix/>\r\nTALLY OK 10\r\n"), NOTHING);
    assert_eq!(talk.events().len(), 6);
}

#[test]
fn an_emulator_that_answers_no_subscription_still_gives_its_tally() {
    let mut talk = Talk::begin();
    assert_eq!(talk.asked(), ["SUBSCRIBE TALLY"]);
    assert_eq!(talk.wait(500), ["TALLY"]);
    assert_eq!(talk.hear("TALLY OK 1\r\n"), ["SUBSCRIBE ACTS"]);
    assert_eq!(talk.wait(500), ["TALLY"]);
    assert_eq!(talk.hear("TALLY OK 1\r\n"), ["XML"]);
    assert_eq!(talk.hear("XML ER Unknown Command\r\n"), NOTHING);
    assert_eq!(talk.events().pop(), Some(Event::DocumentWanted));
    assert_eq!(talk.protocol.counters().unanswered, 2);
    assert_eq!(talk.protocol.counters().refused, 1);
}

#[test]
fn a_refusal_that_names_another_command_answers_what_was_asked() {
    let mut talk = Talk::begin();
    talk.open();
    assert_eq!(talk.hear("ACTS OK Overlay1 3 1\r\n"), NOTHING);
    assert_eq!(talk.wait(200), ["XML"]);
    talk.hear("X ER Unknown Command\r\n");
    assert_eq!(talk.events(), [Event::DocumentWanted]);
}

#[test]
fn the_document_is_asked_after_a_change_but_not_in_a_storm() {
    let mut talk = Talk::begin();
    talk.open();
    talk.wait(300);
    assert_eq!(talk.hear("TALLY OK 021\r\n"), ["XML"]);
    assert_eq!(talk.hear("XML 7\r\n<vmix/>"), NOTHING);
    assert_eq!(talk.hear("ACTS OK InputMix2 3 1\r\nACTS OK Overlay1 3 1\r\nTALLY OK 012\r\n"), NOTHING);
    assert_eq!(talk.wait(199), NOTHING);
    assert_eq!(talk.wait(1), ["XML"]);
    assert_eq!(talk.hear("XML 7\r\n<vmix/>"), NOTHING);
    talk.wait(250);
    assert_eq!(talk.hear("ACTS OK InputVolume 3 0.4\r\nACTS OK Input 3 1\r\nACTS OK\r\n"), NOTHING);
    assert_eq!(talk.hear("ACTS OK FadeToBlack 1\r\n"), ["XML"]);
}

#[test]
fn a_document_that_never_comes_does_not_cost_the_link() {
    let mut talk = Talk::begin();
    talk.open();
    let mut wanted = 0;
    for _ in 0..400 {
        for request in talk.wait(50) {
            if request == "TALLY" {
                talk.hear("TALLY OK 012\r\n");
            }
        }
        let events = talk.events();
        assert!(!lost(&events), "at {:?}", talk.now - talk.start);
        wanted += events.iter().filter(|event| **event == Event::DocumentWanted).count();
    }
    assert!((6..=14).contains(&wanted), "{wanted}");
}

#[test]
fn a_document_so_slow_that_the_link_is_lost_is_asked_elsewhere_next_time() {
    let mut talk = Talk::begin();
    talk.open();
    assert_eq!(talk.hear("ACTS OK Streaming 1\r\n"), NOTHING);
    assert_eq!(talk.wait(200), ["XML"]);
    talk.hear("XML 1000000\r\n<vmix>");
    for _ in 0..15 {
        talk.wait(100);
        talk.hear("          ");
    }
    assert!(lost(&talk.events()));
    talk.protocol.connected(talk.now);
    talk.asked();
    assert_eq!(talk.hear("SUBSCRIBE OK TALLY\r\nTALLY OK 01\r\nSUBSCRIBE OK ACTS\r\n"), ["TALLY", "SUBSCRIBE ACTS"]);
    assert_eq!(talk.events().pop(), Some(Event::DocumentWanted));
    talk.hear("TALLY OK 01\r\n");
    talk.wait(400);
    talk.hear("TALLY OK 01\r\n");
    talk.protocol.document_read();
    assert_eq!(talk.hear("TALLY OK 10\r\n"), ["XML"]);
}

#[test]
fn a_late_document_counts_from_its_own_question() {
    let mut talk = Talk::begin();
    talk.open();
    talk.hear("ACTS OK Streaming 1\r\n");
    assert_eq!(talk.wait(200), ["XML"]);
    let first = talk.now;
    talk.wait(900);
    talk.hear("TALLY OK 012\r\n");
    talk.events();
    talk.hear("XML 7\r\n<vmix/>");
    assert_eq!(talk.events(), [Event::Document { bytes: Bytes::from_static(b"<vmix/>"), asked: first }]);
}

#[test]
fn too_much_in_one_line_or_body_is_counted_and_ends_the_connection() {
    let mut talk = Talk::begin();
    talk.hear(&"1".repeat(70_000));
    assert!(matches!(talk.events()[..], [Event::Lost(Lost::Framing(FramingError::LineTooLong))]));
    assert!(talk.hear("TALLY OK 1\r\n").is_empty());
    talk.protocol.connected(talk.now);
    talk.hear("XML 17000000\r\n");
    assert!(matches!(talk.events()[..], [Event::Lost(Lost::Framing(FramingError::BodyTooLong))]));
    assert_eq!(talk.protocol.counters().oversized, 2);
}

#[test]
fn a_thousand_inputs_in_pieces_are_one_line() {
    let mut talk = Talk::begin();
    let line = format!("TALLY OK {}\r\n", "012".repeat(333) + "1");
    for piece in line.as_bytes().chunks(7) {
        talk.protocol.handle_input(talk.now, piece);
    }
    let events = talk.events();
    let [Event::Tally(tally)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(tally.len(), 1000);
    assert_eq!(tally[999], Tally::Program);
}

#[test]
fn whenever_it_freezes_every_tally_is_unknown_within_2_s() {
    for freeze_at in (0..3000).step_by(7) {
        let mut talk = Talk::begin();
        let mut state = State::new(vec![CameraConfig::new("one", [1.into()])]);
        let mut requests = talk.asked();
        let frozen = talk.start + Duration::from_millis(freeze_at);
        let mut was_live = false;
        while talk.now < frozen + Duration::from_secs(2) {
            for request in std::mem::take(&mut requests) {
                let answer = match request.as_str() {
                    _ if talk.now >= frozen => "",
                    "TALLY" => "TALLY OK 10\r\n",
                    "XML" => "XML 7\r\n<vmix/>",
                    _ => "SUBSCRIBE OK\r\n",
                };
                requests.extend(talk.hear(answer));
            }
            for event in talk.events() {
                let _ = match event {
                    Event::Tally(tally) => state.apply(talk.now, Update::Tally(tally)),
                    Event::Lost(_) => state.apply(talk.now, Update::Lost),
                    _ => continue,
                };
            }
            let live = state.snapshot().cameras[0].tally != Tally::Unknown;
            assert!(live || talk.now >= frozen || !was_live, "lost while it answers");
            was_live |= live;
            requests.extend(talk.wait(1));
        }
        let lost = talk.events().into_iter().any(|event| matches!(event, Event::Lost(_)));
        assert!(lost || state.snapshot().cameras[0].tally == Tally::Unknown, "frozen at {freeze_at} ms");
    }
}

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"TALLY OK 0121\r\n".to_vec()),
        Just(b"TALLY OK 10\r\n".to_vec()),
        Just(b"SUBSCRIBE OK TALLY Subscribed\r\n".to_vec()),
        Just(b"SUBSCRIBE ER no\r\n".to_vec()),
        Just(b"XML 7\r\n<vmix/>".to_vec()),
        Just(b"XML ER\r\n".to_vec()),
        Just(b"XML 99999999999\r\n".to_vec()),
        Just(b"ACTS OK Overlay1 1 1\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(bytes in conversation(), size in any::<u8>()) {
        crate::tally::fuzzing::vmix_lines(&[&[size], &bytes[..]].concat());
    }

    #[test]
    fn whatever_comes_the_loss_is_told_in_time(bytes in conversation()) {
        let mut talk = Talk::begin();
        talk.protocol.handle_input(talk.now, &bytes);
        talk.wait(2000);
        prop_assert!(lost(&talk.events()));
    }
}
