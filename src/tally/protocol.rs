//! The conversation with vMix's TCP API, without a socket and without a clock.
//!
//! Owns: what is asked and when, one request at a time; which line answers what; when vMix counts
//! as lost. Does not own: the connection (`client`) and what the answers mean together (`state`).
//! Bytes go in with [`Protocol::handle_input`]; bytes, events and a deadline are polled out.
//!
//! The plan of a connection: `SUBSCRIBE TALLY`, `TALLY` for a snapshot (some versions push nothing
//! until the first change), `SUBSCRIBE ACTS`, `XML`; then `TALLY` whenever 500 ms passed without
//! one, and `XML` when the tally changed, when an activator says that something else did, and
//! every 1.5 s. A `TALLY` line is the only sign of life: without one for 1.5 s vMix is lost, whatever
//! else it may send, for nothing else says that the tally shown is still true.
//!
//! Pushed lines and answers look alike and need no telling apart: every answer names its command.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Tally;
use super::line::{Decoder, FramingError, Message};
use super::xml::MAX_NUMBER;

/// `TALLY` is asked when none was heard for so long.
pub const TALLY_EVERY: Duration = Duration::from_millis(500);
/// Without a `TALLY` line for so long vMix is lost. It leaves half a second of the two within
/// which a lost vMix must be shown as unknown.
pub const SILENCE: Duration = Duration::from_millis(1500);
/// The document is asked for at least so often: when each is answered within [`ANSWER_WITHIN`] there is always one that is
/// less than two seconds old, and may be passed on.
pub const XML_EVERY: Duration = Duration::from_millis(1500);
/// The least pause between two documents, whatever changes.
const XML_PAUSE: Duration = Duration::from_millis(200);
/// A request without an answer for so long is given up. After a `TALLY` line, 500 ms of peace and a
/// document that never comes, a `TALLY` must still fit within [`SILENCE`].
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// After the document failed on this connection it is wanted from elsewhere for so long, doubling.
const ELSEWHERE: Duration = Duration::from_secs(2);
const ELSEWHERE_MOST: Duration = Duration::from_secs(64);

/// What vMix told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its version.
    Version(String),
    /// The tally of mix 1: one entry per input, in input order.
    Tally(Vec<Tally>),
    /// The document, to be read by [`super::xml::parse`].
    Document {
        /// The bytes as they came.
        bytes: Bytes,
        /// When it was asked for: it is no older.
        asked: Instant,
    },
    /// The document is due and this connection does not give it: ask elsewhere.
    DocumentWanted,
    /// vMix is lost; the connection is of no use any more.
    Lost(Lost),
}

/// Why vMix counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No `TALLY` line for [`SILENCE`].
    #[error("it does not tell its tally")]
    Silent,
    /// The bytes make no sense.
    #[error("it sent {0}")]
    Framing(#[from] FramingError),
}

/// What was odd, counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lines that are no answer, or hold something that is no tally digit.
    pub malformed: u64,
    /// Requests refused with `ER`.
    pub refused: u64,
    /// Requests never answered.
    pub unanswered: u64,
    /// Connections given up because a line or a body was too long.
    pub oversized: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    SubscribeTally,
    SubscribeActs,
    Tally,
    Xml,
}

impl Request {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::SubscribeTally => b"SUBSCRIBE TALLY\r\n",
            Self::SubscribeActs => b"SUBSCRIBE ACTS\r\n",
            Self::Tally => b"TALLY\r\n",
            Self::Xml => b"XML\r\n",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::SubscribeTally | Self::SubscribeActs => "SUBSCRIBE",
            Self::Tally => "TALLY",
            Self::Xml => "XML",
        }
    }
}

/// What lasts as long as one connection.
#[derive(Debug)]
struct Connection {
    decoder: Decoder,
    outstanding: Option<(Request, Instant)>,
    /// The steps of the beginning that are still to be asked.
    opening: VecDeque<Request>,
    tally_due: Instant,
    lost_at: Instant,
    xml_due: Instant,
    /// When the document being waited for was asked; it may come after its request was given up.
    xml_asked: Option<Instant>,
    xml_done: Option<Instant>,
    last_tally: Option<Vec<Tally>>,
}

/// The conversation; it outlives connections.
#[derive(Debug, Default)]
pub struct Protocol {
    connection: Option<Connection>,
    elsewhere_until: Option<Instant>,
    elsewhere_for: Duration,
    transmits: VecDeque<Bytes>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Protocol {
    /// Begins a new connection; an earlier one is forgotten.
    pub fn connected(&mut self, now: Instant) {
        self.transmits.clear();
        self.events.clear();
        self.connection = Some(Connection {
            decoder: Decoder::default(),
            outstanding: None,
            opening: VecDeque::from([Request::SubscribeTally, Request::Tally, Request::SubscribeActs]),
            tally_due: now + TALLY_EVERY,
            lost_at: now + SILENCE,
            xml_due: now,
            xml_asked: None,
            xml_done: None,
            last_tally: None,
        });
        self.ask(now);
    }

    /// The connection ended without a word of this side. What was polled out before is all there is.
    pub fn disconnected(&mut self, now: Instant) {
        if let Some(connection) = self.connection.take() {
            if connection.xml_asked.is_some() {
                self.avoid_xml(now);
            }
            self.transmits.clear();
        }
    }

    /// Takes bytes as they arrived.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        if let Some(connection) = &mut self.connection {
            connection.decoder.push(bytes);
        }
        while let Some(connection) = &mut self.connection {
            match connection.decoder.next_message() {
                Ok(Some(message)) => {
                    self.handle_message(now, message);
                    // Message by message, so that it does not matter how they were cut in pieces.
                    self.ask(now);
                }
                Ok(None) => break,
                Err(error) => {
                    self.counters.oversized += 1;
                    self.lose(now, error.into());
                }
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        if now >= connection.lost_at {
            self.lose(now, Lost::Silent);
            return;
        }
        if let Some((request, asked)) = connection.outstanding
            && now >= asked + ANSWER_WITHIN
        {
            connection.outstanding = None;
            self.counters.unanswered += 1;
            // A document on its way is only slow; it is taken when it is complete.
            if request == Request::Xml && !connection.decoder.in_body() {
                connection.xml_due = now;
                self.avoid_xml(now);
            }
        }
        self.ask(now);
    }

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// When [`Protocol::handle_timeout`] is to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connection = self.connection.as_ref()?;
        let next = match connection.outstanding {
            Some((_, asked)) => asked + ANSWER_WITHIN,
            None => connection.tally_due.min(connection.xml_due),
        };
        Some(next.min(connection.lost_at))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The document that this connection gave cannot be read: it is wanted from elsewhere for a while.
    pub fn document_unreadable(&mut self, now: Instant) {
        self.counters.malformed += 1;
        self.avoid_xml(now);
        if let Some(connection) = &mut self.connection {
            connection.xml_due = now;
        }
        self.ask(now);
    }

    /// The document that this connection gave was read: it may go on asking here.
    pub fn document_read(&mut self) {
        self.elsewhere_until = None;
        self.elsewhere_for = Duration::ZERO;
    }

    /// What was odd so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn handle_message(&mut self, now: Instant, message: Message) {
        match message {
            Message::Ok { command, data } => match command.as_str() {
                "TALLY" => self.handle_tally(now, &data),
                "ACTS" => self.handle_activator(now, &data),
                "VERSION" => {
                    self.events.push_back(Event::Version(data.trim().chars().take(64).collect()));
                }
                // An emulator's way, in one line and uncounted.
                "XML" if data.trim_start().starts_with('<') => self.handle_document(now, Bytes::from(data)),
                _ => self.answered(&command),
            },
            Message::Body { command, body } if command == "XML" => self.handle_document(now, Bytes::from(body)),
            Message::Body { command, .. } => self.answered(&command),
            Message::Error { command, .. } => self.handle_refusal(now, &command),
            Message::Other(_) => self.counters.malformed += 1,
        }
    }

    fn handle_tally(&mut self, now: Instant, data: &str) {
        let data = data.trim();
        if !data.bytes().all(|digit| digit.is_ascii_digit()) {
            self.counters.malformed += 1;
            return;
        }
        let tally: Vec<_> = data
            .bytes()
            .take(MAX_NUMBER as usize)
            .map(|digit| match digit {
                b'0' => Tally::Safe,
                b'1' => Tally::Program,
                b'2' => Tally::Preview,
                _ => Tally::Unknown,
            })
            .collect();
        self.answered("TALLY");
        if let Some(connection) = &mut self.connection {
            connection.lost_at = now + SILENCE;
            connection.tally_due = now + TALLY_EVERY;
            if connection.last_tally.as_ref() != Some(&tally) {
                if connection.last_tally.is_some() {
                    connection.want_xml(now);
                }
                connection.last_tally = Some(tally.clone());
            }
        }
        self.events.push_back(Event::Tally(tally));
    }

    fn handle_activator(&mut self, now: Instant, data: &str) {
        let name = data.split(' ').next().unwrap_or_default();
        if let Some(connection) = &mut self.connection
            && asks_for_the_document(name)
        {
            connection.want_xml(now);
        }
    }

    fn handle_document(&mut self, now: Instant, bytes: Bytes) {
        self.answered("XML");
        if let Some(connection) = &mut self.connection {
            let asked = connection.xml_asked.take().unwrap_or(now);
            connection.xml_done = Some(now);
            self.events.push_back(Event::Document { bytes, asked });
        }
    }

    fn handle_refusal(&mut self, now: Instant, command: &str) {
        let Some(connection) = &mut self.connection else { return };
        // An emulator may not repeat the command it refuses: with one request at a time it is that one.
        let refused = connection.outstanding.map(|(request, _)| request);
        let known = ["SUBSCRIBE", "TALLY", "XML"].contains(&command);
        if let Some(request) = refused
            && (request.command() == command || !known)
        {
            connection.outstanding = None;
            self.counters.refused += 1;
            if request == Request::Xml {
                connection.xml_asked = None;
                connection.xml_due = now;
                self.avoid_xml(now);
            }
        }
    }

    fn answered(&mut self, command: &str) {
        if let Some(connection) = &mut self.connection
            && connection.outstanding.is_some_and(|(request, _)| request.command() == command)
        {
            connection.outstanding = None;
        }
    }

    /// Sends the next request when none is outstanding.
    fn ask(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        if connection.outstanding.is_some() {
            return;
        }
        let request = if let Some(request) = connection.opening.pop_front() {
            request
        } else if now >= connection.tally_due {
            Request::Tally
        } else if now >= connection.xml_due && connection.decoder.in_body() {
            connection.xml_due = now + XML_PAUSE;
            return;
        } else if now >= connection.xml_due {
            connection.xml_due = now + XML_EVERY;
            if self.elsewhere_until.is_some_and(|until| now < until) {
                connection.xml_done = Some(now);
                self.events.push_back(Event::DocumentWanted);
                return;
            }
            Request::Xml
        } else {
            return;
        };
        match request {
            Request::Tally => connection.tally_due = now + TALLY_EVERY,
            // An answer may belong to an earlier request that was given up: it is no older than that.
            Request::Xml => _ = connection.xml_asked.get_or_insert(now),
            Request::SubscribeTally | Request::SubscribeActs => {}
        }
        connection.outstanding = Some((request, now));
        self.transmits.push_back(Bytes::from_static(request.bytes()));
    }

    fn avoid_xml(&mut self, now: Instant) {
        self.elsewhere_for = (self.elsewhere_for * 2).clamp(ELSEWHERE, ELSEWHERE_MOST);
        self.elsewhere_until = Some(now + self.elsewhere_for);
    }

    fn lose(&mut self, now: Instant, why: Lost) {
        self.disconnected(now);
        self.events.push_back(Event::Lost(why));
    }
}

impl Connection {
    /// The document is wanted as soon as may be.
    fn want_xml(&mut self, now: Instant) {
        let earliest = self.xml_done.map_or(now, |done| (done + XML_PAUSE).max(now));
        self.xml_due = self.xml_due.min(earliest);
    }
}

/// Whether what an activator reports shows in the document only. Programme and preview of mix 1
/// come by `TALLY`; levels of sound come many times a second and change nothing here.
fn asks_for_the_document(name: &str) -> bool {
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    ["Overlay", "InputMix", "InputPreviewMix", "FadeToBlack", "Streaming", "Recording", "External", "MultiView"]
        .into_iter()
        .any(starts)
}

#[cfg(test)]
mod tests;
