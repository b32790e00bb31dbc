//! One viewer's session: ICE, then DTLS, then SRTP (RFC 8834 and what it refers to).
//!
//! Owns: the order of things, timeouts, feedback. Does not own: time, sockets, randomness: `now`
//! comes with every input, datagrams go out by [`Session::poll_transmit`] and [`Session::fill`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dtls::{Dtls, DtlsEvent};
use super::history::History;
use super::ice::{Agent, NotAnswered, Path, Request};
use super::packetizer::Frame;
use super::rtcp::{self, Feedback, SenderReport};
use super::sender::{Batch, SendCounts, Sender};
use super::srtp::{Inbound, Outbound};

/// A session that has not connected by then never will.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A viewer from which nothing is heard for this long is gone (RFC 7675 §5.1 has 30 s).
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Entries about missing packets read in one compound, each about 17 packets: whoever misses more needs a new
/// start of the picture.
const MOST_NACKS: usize = 64;

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
    #[error("no connection within {} s; is the UDP port reachable from the viewer?", CONNECT_TIMEOUT.as_secs())]
    NeverConnected,
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

/// What a viewer reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Round-trip time, once known.
    pub round_trip: Option<Duration>,
    /// Share of packets lost lately, 0 to 1, in 1/256.
    pub fraction_lost: u8,
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
    /// Sends the picture.
    pub sender: Sender,
    /// Canonical name in reports.
    pub cname: String,
}

/// One viewer's session.
pub struct Session {
    agent: Agent,
    dtls: Dtls,
    sender: Sender,
    cname: String,
    phase: Phase,
    created: Instant,
    connected: Option<Instant>,
    last_heard: Instant,
    next_report: Option<Instant>,
    srtp: Option<(Inbound, Outbound)>,
    outbox: VecDeque<(Path, Vec<u8>)>,
    reception: Reception,
}

impl Session {
    /// A session that waits for its viewer.
    pub fn new(now: Instant, parts: Parts) -> Self {
        let Parts { agent, dtls, sender, cname } = parts;
        Self {
            agent,
            dtls,
            sender,
            cname,
            phase: Phase::Checking,
            created: now,
            connected: None,
            last_heard: now,
            next_report: None,
            srtp: None,
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

    /// What the viewer was sent.
    pub fn counts(&self) -> SendCounts {
        self.sender.counts()
    }

    /// What the viewer reported.
    pub fn reception(&self) -> Reception {
        self.reception
    }

    /// Whether pictures flow: connected, and past the first random access point.
    pub fn is_playing(&self) -> bool {
        self.phase == Phase::Connected && self.sender.is_live()
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

    /// Takes a DTLS datagram. What comes along a path that is not proven is ignored.
    pub fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        if !self.agent.is_proven(&path) || matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        let event = self.dtls.handle(now, datagram);
        self.flush_dtls(path);
        match event {
            Ok(None) => {}
            Ok(Some(DtlsEvent::Connected { client, server })) => {
                self.srtp = Some((Inbound::new(&client), Outbound::new(&server)));
                self.phase = Phase::Connected;
                self.connected = Some(now);
                self.last_heard = now;
                self.next_report = Some(now);
            }
            Ok(Some(DtlsEvent::Closed)) => self.phase = Phase::Ended(Ended::Left),
            // After the handshake the keys stand, whatever else arrives on the path.
            Err(_) if self.phase == Phase::Connected => self.reception.malformed += 1,
            Err(err) => self.phase = Phase::Ended(Ended::Failed(err.to_string())),
        }
    }

    fn flush_dtls(&mut self, path: Path) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.outbox.push_back((path, datagram.to_vec()));
        }
    }

    /// Takes an SRTCP datagram; `ntp` is the time now, as sender reports carry it.
    pub fn handle_rtcp(&mut self, now: Instant, ntp: u64, datagram: &mut [u8]) {
        let Some((inbound, _)) = &mut self.srtp else { return };
        let Ok(compound) = inbound.unprotect_rtcp(datagram) else {
            self.reception.malformed += 1;
            return;
        };
        self.last_heard = now;
        let (sender, reception) = (&mut self.sender, &mut self.reception);
        let ssrc = sender.ssrc();
        let mut nacks = 0;
        let read = rtcp::read(compound, |feedback| match feedback {
            Feedback::Report(report) if report.ssrc == ssrc => {
                reception.fraction_lost = report.fraction_lost;
                reception.round_trip = report.round_trip(ntp).or(reception.round_trip);
            }
            Feedback::Nack { ssrc: source, sequence, following } if source == ssrc => {
                nacks += 1;
                if nacks <= MOST_NACKS {
                    sender.nack(now, sequence, following);
                }
            }
            Feedback::PictureLoss { ssrc: source } if source == ssrc => reception.picture_losses += 1,
            // A goodbye names the receiver's own source; DTLS or DELETE says whether all is over.
            _ => {}
        });
        if read.is_err() {
            self.reception.malformed += 1;
        }
    }

    /// When [`Self::handle_timeout`] is due at the latest.
    pub fn poll_timeout(&self) -> Instant {
        let end = match self.connected {
            None => self.created + CONNECT_TIMEOUT,
            Some(_) => self.last_heard + SILENCE_TIMEOUT,
        };
        [self.dtls.poll_timeout(), self.next_report].into_iter().flatten().fold(end, Instant::min)
    }

    /// Does what is due: retransmission, reports, giving up. `rtp` is the stream's RTP time now,
    /// once there is one.
    pub fn handle_timeout(&mut self, now: Instant, ntp: u64, rtp: Option<u32>) {
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
        if self.next_report.is_some_and(|due| due <= now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            let mut compound = Vec::with_capacity(128);
            if let Some(report) = self.report(ntp, rtp) {
                rtcp::write_report(&mut compound, &report, &self.cname);
                self.send_rtcp(compound);
            }
        }
    }

    fn report(&self, ntp: u64, rtp: Option<u32>) -> Option<SenderReport> {
        let counts = self.sender.counts();
        if counts.packets == 0 {
            return None;
        }
        let (packets, octets) = (counts.packets as u32, counts.payload_bytes as u32);
        Some(SenderReport { ssrc: self.sender.ssrc(), ntp, rtp: rtp?, packets, octets })
    }

    fn send_rtcp(&mut self, mut compound: Vec<u8>) {
        let (Some((_, outbound)), Some(path)) = (&mut self.srtp, self.agent.selected()) else { return };
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
        rtcp::write_goodbye(&mut compound, self.sender.ssrc(), &self.cname);
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

    /// Takes a frame of the stream.
    pub fn offer(&mut self, now: Instant, frame: &Arc<Frame>) {
        if self.phase == Phase::Connected {
            self.sender.offer(now, frame);
        }
    }

    /// Fills `batch` with the next media packets and gives the path they take.
    pub fn fill(&mut self, now: Instant, history: &History, batch: &mut Batch) -> Option<Path> {
        if self.phase != Phase::Connected {
            return None;
        }
        let path = self.agent.selected()?;
        let (_, outbound) = self.srtp.as_mut()?;
        self.sender.fill(now, outbound, history, batch).then_some(path)
    }

    /// The batch filled last is gone.
    pub fn sent(&mut self, now: Instant, batch: &Batch) {
        self.sender.sent(now, batch);
    }
}

#[cfg(test)]
mod tests;
