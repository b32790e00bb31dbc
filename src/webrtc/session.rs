//! One viewer's session, all but its media: ICE, then DTLS, then SRTCP (RFC 8834 and what it refers to).
//!
//! Owns: the order of things, timeouts, reports, what is read from feedback. Does not own: time, sockets, randomness:
//! `now` comes with every input, datagrams go out by [`Session::poll_transmit`]. Nor media: once connected it hands
//! out what protects it, and what the viewer then wishes is the caller's to pass on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::dtls::{Dtls, DtlsEvent};
use super::ice::{Agent, NotAnswered, Path, Request};
use super::rtcp::{self, Feedback, ReferenceAnswer, SenderReport};
use super::rtp::VIDEO_CLOCK_RATE;
use super::srtp::{Inbound, Outbound, OutboundRtcp, OutboundRtp};

/// A session that has not connected by then never will.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A viewer from which nothing is heard for this long is gone (RFC 7675 §5.1 has 30 s).
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Until there is one of every source, but not for longer than this.
const FIRST_REPORT_INTERVAL: Duration = Duration::from_millis(100);
const FIRST_REPORTS: Duration = Duration::from_secs(2);
/// Entries about missing packets read in one compound, each about 17 packets: whoever misses more needs a new
/// start of the picture.
const MOST_NACKS: usize = 64;
/// Between answers to a receiver's clock, which it tells about once a second.
const REFERENCE_INTERVAL: Duration = Duration::from_millis(50);
/// Clocks of one viewer's that wait for an answer: it may tell one for each kind of media.
const MOST_REFERENCES: usize = 4;

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Taken away by the box or by the viewer's DELETE.
    #[error("removed")]
    Removed,
    /// The viewer said goodbye.
    #[error("the viewer left")]
    Left,
    /// No connection came about.
    #[error("no connection within {} s; is the media port, UDP and TCP, reachable from the viewer?", CONNECT_TIMEOUT.as_secs())]
    NeverConnected,
    /// Others were waiting for its place, and it had not connected.
    #[error("it had not connected, and gave way to another")]
    GaveWay,
    /// Nothing was heard any more.
    #[error("nothing heard for {} s", SILENCE_TIMEOUT.as_secs())]
    Silent,
    /// The handshake failed.
    #[error("{0}")]
    Failed(String),
}

/// How far a session has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No path is proven yet.
    Checking,
    /// A path is proven, keys are not agreed.
    Handshaking,
    /// Media flows.
    Connected,
    /// It is over.
    Ended(Ended),
}

/// What a viewer wishes to be done about its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Packets of a source again (RFC 4585 §6.2.1).
    Again {
        /// The source.
        ssrc: u32,
        /// First missing sequence number.
        sequence: u16,
        /// Bit n: `sequence + n + 1` is missing as well.
        following: u16,
    },
    /// A new start of the picture (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    NewStart,
}

/// What a viewer reported; of the picture, unless it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Round-trip time, once known.
    pub round_trip: Option<Duration>,
    /// How much the time packets take varies, once known (interarrival jitter, RFC 3550 §6.4.1).
    pub jitter: Option<Duration>,
    /// Share of packets lost lately, 0 to 1, in 1/256.
    pub fraction_lost: u8,
    /// The same of the sound.
    pub sound_fraction_lost: u8,
    /// How often a new start of the picture was asked for.
    pub picture_losses: u64,
    /// Datagrams that could not be read or were not authentic.
    pub malformed: u64,
}

/// What a session is made of.
pub struct Parts {
    /// Answers connectivity checks.
    pub agent: Agent,
    /// Agrees on keys.
    pub dtls: Dtls,
    /// The source of the picture.
    pub ssrc: u32,
    /// The source of the sound, where the viewer takes sound.
    pub sound_ssrc: Option<u32>,
    /// Canonical name in reports.
    pub cname: String,
}

/// One viewer's session.
pub struct Session {
    agent: Agent,
    dtls: Dtls,
    ssrc: u32,
    sound_ssrc: Option<u32>,
    cname: String,
    phase: Phase,
    created: Instant,
    connected: Option<Instant>,
    last_heard: Instant,
    next_report: Option<Instant>,
    srtcp: Option<(Inbound, OutboundRtcp)>,
    /// Clocks that were told and not answered.
    references: Vec<Reference>,
    next_answer: Instant,
    outbox: VecDeque<(Path, Vec<u8>)>,
    reception: Reception,
}

/// A receiver's clock.
#[derive(Clone, Copy)]
struct Reference {
    ssrc: u32,
    reference: u32,
    came: Instant,
}

impl Session {
    /// A session that waits for its viewer.
    pub fn new(now: Instant, parts: Parts) -> Self {
        let Parts { agent, dtls, ssrc, sound_ssrc, cname } = parts;
        Self {
            agent,
            dtls,
            ssrc,
            sound_ssrc,
            cname,
            phase: Phase::Checking,
            created: now,
            connected: None,
            last_heard: now,
            next_report: None,
            srtcp: None,
            references: Vec::new(),
            next_answer: now,
            outbox: VecDeque::new(),
            reception: Reception::default(),
        }
    }

    /// How far it has come.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The lite agent, for a restart and for its credentials.
    pub fn agent_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// The lite agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// When it was created.
    pub fn created_at(&self) -> Instant {
        self.created
    }

    /// When media began to flow.
    pub fn connected_at(&self) -> Option<Instant> {
        self.connected
    }

    /// What the viewer reported.
    pub fn reception(&self) -> Reception {
        self.reception
    }

    /// The source of the picture.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The source of the sound, where the viewer takes sound.
    pub fn sound_ssrc(&self) -> Option<u32> {
        self.sound_ssrc
    }

    /// Takes a connectivity check addressed to this session. Gives whether its path is proven.
    ///
    /// # Errors
    /// When the check is not authentic; nothing has changed then.
    pub fn handle_check(&mut self, now: Instant, path: Path, request: Request) -> Result<bool, NotAnswered> {
        let answered = self.agent.handle(now, path, request)?;
        self.outbox.push_back((path, answered.reply));
        if answered.proven {
            self.last_heard = now;
            if self.phase == Phase::Checking {
                self.phase = Phase::Handshaking;
            }
        }
        Ok(answered.proven)
    }

    /// A path is no more: its connection has ended. The session goes on; its viewer may come back by another.
    pub fn lost(&mut self, path: &Path) {
        self.agent.lost(path);
    }

    /// Takes a DTLS datagram. What comes along a path that is not proven is ignored. Once keys are agreed it gives
    /// what protects the media that now may flow.
    pub fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Option<OutboundRtp> {
        if !self.agent.is_proven(&path) || matches!(self.phase, Phase::Ended(_)) {
            return None;
        }
        let event = self.dtls.handle(now, datagram);
        self.flush_dtls(path);
        match event {
            Ok(None) => {}
            Ok(Some(DtlsEvent::Connected { client, server })) => {
                let (media, reports) = Outbound::new(&server).split();
                self.srtcp = Some((Inbound::new(&client), reports));
                self.phase = Phase::Connected;
                self.connected = Some(now);
                self.last_heard = now;
                self.next_report = Some(now);
                return Some(media);
            }
            Ok(Some(DtlsEvent::Closed)) => self.phase = Phase::Ended(Ended::Left),
            // After the handshake the keys stand, whatever else arrives on the path.
            Err(_) if self.phase == Phase::Connected => self.reception.malformed += 1,
            Err(err) => self.phase = Phase::Ended(Ended::Failed(err.to_string())),
        }
        None
    }

    fn flush_dtls(&mut self, path: Path) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.outbox.push_back((path, datagram.to_vec()));
        }
    }

    /// Takes an SRTCP datagram; `ntp` is the time now, as sender reports carry it. What the viewer wishes is handed to
    /// `wish`.
    pub fn handle_rtcp(&mut self, now: Instant, ntp: u64, datagram: &mut [u8], mut wish: impl FnMut(Wish)) {
        let Some((inbound, _)) = &mut self.srtcp else { return };
        let Ok(compound) = inbound.unprotect_rtcp(datagram) else {
            self.reception.malformed += 1;
            return;
        };
        self.last_heard = now;
        let (ssrc, sound_ssrc, reception) = (self.ssrc, self.sound_ssrc, &mut self.reception);
        let references = &mut self.references;
        let mut nacks = 0;
        let read = rtcp::read(compound, |feedback| match feedback {
            Feedback::Report(report) if report.ssrc == ssrc => {
                reception.fraction_lost = report.fraction_lost;
                reception.round_trip = report.round_trip(ntp).or(reception.round_trip);
                reception.jitter = Some(report.jitter(VIDEO_CLOCK_RATE));
            }
            Feedback::Report(report) if Some(report.ssrc) == sound_ssrc => {
                reception.sound_fraction_lost = report.fraction_lost;
            }
            Feedback::Nack { ssrc: source, sequence, following } if source == ssrc => {
                nacks += 1;
                if nacks <= MOST_NACKS {
                    wish(Wish::Again { ssrc, sequence, following });
                }
            }
            Feedback::PictureLoss { ssrc: source } if source == ssrc => {
                reception.picture_losses += 1;
                wish(Wish::NewStart);
            }
            Feedback::ReferenceTime { ssrc, reference } => {
                references.retain(|known| known.ssrc != ssrc);
                if references.len() < MOST_REFERENCES {
                    references.push(Reference { ssrc, reference, came: now });
                }
            }
            // A goodbye names the receiver's own source; DTLS or DELETE says whether all is over.
            _ => {}
        });
        if read.is_err() {
            self.reception.malformed += 1;
        }
        self.answer_references(now);
    }

    /// Lets a viewer know the round-trip time, which it needs to ask again for packets in time and has no other way to
    /// measure (RFC 3611 §4.5).
    fn answer_references(&mut self, now: Instant) {
        if self.references.is_empty() || now < self.next_answer {
            return;
        }
        self.next_answer = now + REFERENCE_INTERVAL;
        let answer = |Reference { ssrc, reference, came }| {
            let delay = now.saturating_duration_since(came);
            ReferenceAnswer { ssrc, reference, delay }
        };
        let answers: Vec<_> = self.references.drain(..).map(answer).collect();
        let mut compound = Vec::with_capacity(128);
        rtcp::write_reference_answers(&mut compound, self.ssrc, &answers, &self.cname);
        self.send_rtcp(compound);
    }

    /// When [`Self::handle_timeout`] is due at the latest.
    pub fn poll_timeout(&self) -> Instant {
        let end = match self.connected {
            None => self.created + CONNECT_TIMEOUT,
            Some(_) => self.last_heard + SILENCE_TIMEOUT,
        };
        let next_answer = (!self.references.is_empty()).then_some(self.next_answer);
        [self.dtls.poll_timeout(), self.next_report, next_answer].into_iter().flatten().fold(end, Instant::min)
    }

    /// Does what is due: retransmission, reports, giving up. `reports` tell of the sources of which some was
    /// sent (RFC 3550 §6.4).
    pub fn handle_timeout(&mut self, now: Instant, reports: &[SenderReport]) {
        match self.phase {
            Phase::Ended(_) => return,
            Phase::Connected if now.saturating_duration_since(self.last_heard) >= SILENCE_TIMEOUT => {
                return self.end(now, Ended::Silent);
            }
            Phase::Connected => {}
            _ if now.saturating_duration_since(self.created) >= CONNECT_TIMEOUT => {
                return self.end(now, Ended::NeverConnected);
            }
            _ => {}
        }
        if self.dtls.poll_timeout().is_some_and(|due| due <= now) {
            let result = self.dtls.handle_timeout(now);
            if let Some(path) = self.agent.selected() {
                self.flush_dtls(path);
            }
            if let Err(err) = result {
                self.phase = Phase::Ended(Ended::Failed(err.to_string()));
                return;
            }
        }
        self.answer_references(now);
        if self.next_report.is_some_and(|due| due <= now) {
            // Who plays two sources in step needs a report of both; the second may have begun only just.
            let agreed = 1 + usize::from(self.sound_ssrc.is_some());
            let begun = self.connected.is_some_and(|at| now.saturating_duration_since(at) >= FIRST_REPORTS);
            let wait = if begun || reports.len() >= agreed { REPORT_INTERVAL } else { FIRST_REPORT_INTERVAL };
            self.next_report = Some(now + wait);
            let mut compound = Vec::with_capacity(128);
            if !reports.is_empty() {
                rtcp::write_reports(&mut compound, reports, &self.cname);
                self.send_rtcp(compound);
            }
        }
    }

    fn send_rtcp(&mut self, mut compound: Vec<u8>) {
        let (Some((_, outbound)), Some(path)) = (&mut self.srtcp, self.agent.selected()) else { return };
        if outbound.protect_rtcp(&mut compound).is_ok() {
            self.outbox.push_back((path, compound));
        }
    }

    /// Ends the session and says so to the viewer.
    pub fn end(&mut self, now: Instant, why: Ended) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        let mut compound = Vec::with_capacity(128);
        let sources: Vec<u32> = [Some(self.ssrc), self.sound_ssrc].into_iter().flatten().collect();
        rtcp::write_goodbye(&mut compound, &sources, &self.cname);
        self.send_rtcp(compound);
        self.dtls.close(now);
        if let Some(path) = self.agent.selected() {
            self.flush_dtls(path);
        }
        self.phase = Phase::Ended(why);
    }

    /// The next datagram that is not media, and the path it takes.
    pub fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        self.outbox.pop_front()
    }
}

#[cfg(test)]
mod tests;
