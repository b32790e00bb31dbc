//! What hostile bytes may not break, as functions for a fuzzer and for a bounded run in the tests.
//!
//! Owns: the invariants of this room's parsers. Each function takes arbitrary bytes.

use bytes::Buf;

use super::protocol::{Event, Protocol};
use super::state::{State, Update};
use super::verbatim::Verbatim;
use super::{CameraConfig, Tally, client, relay, xml};
use crate::clock::Clock;

/// The first byte cuts the rest in pieces: the conversation gives the same events as in one piece.
pub fn vmix_lines(data: &[u8]) {
    let (clock, _hand) = Clock::manual();
    let now = clock.now();
    let Some((size, bytes)) = data.split_first() else { return };
    let events = |chunk: usize| {
        let mut protocol = Protocol::default();
        protocol.connected(now);
        for piece in bytes.chunks(chunk.max(1)) {
            protocol.handle_input(now, piece);
        }
        assert!(std::iter::from_fn(|| protocol.poll_transmit()).all(|request| request.ends_with(b"\r\n")));
        std::iter::from_fn(|| protocol.poll_event()).collect::<Vec<_>>()
    };
    let whole = events(bytes.len());
    assert_eq!(whole, events(usize::from(*size % 16) + 1));
    assert!(whole.iter().filter(|event| matches!(event, Event::Lost(_))).count() <= 1);
}

/// A document is read within its bounds, and what it says ends in a snapshot that keeps its own.
pub fn vmix_xml(data: &[u8]) {
    let (clock, _hand) = Clock::manual();
    let now = clock.now();
    let Ok(document) = xml::parse(data) else { return };
    assert!(document.inputs.is_sorted_by(|one, other| one.number < other.number));
    assert!(document.inputs.iter().all(|input| (1..=xml::MAX_NUMBER).contains(&input.number)));
    let mut state = State::new(vec![CameraConfig::new("one", [1.into()])]);
    let _ = state.apply(now, Update::Tally(vec![Tally::Program, Tally::Safe]));
    let _ = state.apply(now, Update::Document { document, asked: now });
    let live = state.snapshot();
    assert!(live.inputs.iter().filter(|input| input.number == 1).all(|input| input.tally == Tally::Program));
    let _ = state.apply(now, Update::Lost);
    let lost = state.snapshot();
    assert!(lost.inputs.iter().all(|input| input.tally == Tally::Unknown));
    assert!(lost.cameras.iter().all(|camera| camera.tally == Tally::Unknown));
}

/// An answer of the HTTP API is read without a panic, and no body is longer than the answer.
pub fn vmix_http(data: &[u8]) {
    if let Some((_, body)) = client::read_http_answer(data) {
        assert!(body.len() <= data.len());
    }
}

/// The first byte cuts the rest in pieces: the relay reads the same requests as in one piece, and answers each.
pub fn relay_requests(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let requests = |chunk: usize| {
        let mut lines = relay::dialogue::Lines::default();
        let mut requests = Vec::new();
        for piece in bytes.chunks(chunk.max(1)) {
            match lines.push(piece) {
                Ok(more) => requests.extend(more),
                // What was complete in the same piece is forgotten with the connection.
                Err(too_long) => return Err(too_long),
            }
        }
        Ok(requests)
    };
    let whole = requests(bytes.len());
    assert_eq!(whole, requests(usize::from(*size % 16) + 1));
    let now = Clock::manual().0.now();
    let words = Verbatim { line: "TALLY OK 0\r\n".into(), document: None, version: None, heard: now };
    for request in whole.into_iter().flatten() {
        let mut answer = relay::dialogue::answer(now, &request, &words);
        let length = answer.remaining();
        assert!(answer.copy_to_bytes(length).ends_with(b"\r\n"));
    }
}
