//! One viewer's share of a stream: numbering, encryption, retransmission, and what is dropped.
//!
//! Owns: which frames still go to this viewer, its sequence numbers, and the bytes of each
//! packet: header, shared payload, tag. Does not own: sockets (the caller sends a [`Batch`] and
//! says when it went out), nor frames (`fanout` shares them). A viewer that cannot be reached
//! quickly enough loses frames up to the next random access point and holds up nobody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::history::History;
use super::packetizer::Frame;
use super::rtp::Header;
use super::sdp::NegotiatedVideo;
use super::srtp::Outbound;

/// Most segments the kernel takes in one call (`UDP_MAX_SEGMENTS`).
const MOST_SEGMENTS: usize = 64;
/// Most bytes in one call: an IP packet's length has 16 bits.
const MOST_BYTES: usize = 60_000;
/// A frame that could not be sent for this long is worth less than the ones behind it.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// Stretches of sequence numbers that still map to the stream's packets.
const MOST_RUNS: usize = 8;
/// How far back a missing packet may lie, in packets.
const LONGEST_REACH: u64 = 8_192;
/// Retransmission: bytes a second, and how many at once.
const RESEND_RATE: u64 = 500_000;
const RESEND_BURST: u64 = 160_000;
/// The same packet is not sent again sooner than this: reports about it were on their way.
const RESEND_INTERVAL: Duration = Duration::from_millis(20);
const MOST_RESENDS_WAITING: usize = 512;

/// Packets for one system call: all segments equally long but the last.
#[derive(Debug, Default)]
pub struct Batch {
    /// The packets, one after the other.
    pub data: Vec<u8>,
    /// Length of each but the last, bytes.
    pub segment: usize,
}

impl Batch {
    /// The single packets.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.data.chunks(self.segment.max(1))
    }
}

/// What a viewer was sent and asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounts {
    /// Packets sent, retransmissions not included.
    pub packets: u64,
    /// Payload bytes in them.
    pub payload_bytes: u64,
    /// Bytes handed to the network, headers and retransmissions included.
    pub bytes: u64,
    /// Packets reported missing, as far as the reports were read.
    pub nacked: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Access units not sent, because the viewer or the link was too slow.
    pub dropped_units: u64,
}

#[derive(Clone, Copy, Debug)]
enum InFlight {
    Media { packets: usize, payload: usize },
    Resend,
}

/// Where a viewer is in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Decoding cannot start yet.
    AwaitingRandomAccess,
    /// Every frame goes out as it comes.
    Live,
}

/// Sources of one sender.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// Of the media.
    pub ssrc: u32,
    /// Of retransmissions.
    pub rtx_ssrc: u32,
    /// First sequence number of either; small, so that the first packet cannot be taken for one
    /// from before a rollover (RFC 3711 §3.3.1).
    pub first_sequence: u16,
}

/// The sending half of one viewer's video.
#[derive(Debug)]
pub struct Sender {
    sources: Sources,
    negotiated: NegotiatedVideo,
    /// Sequence number and rollover counter of the next packet.
    next: u64,
    rtx_next: u64,
    /// (sequence, packet of the stream): what each stretch of sequence numbers carried.
    runs: VecDeque<(u64, u64)>,
    stage: Stage,
    queue: VecDeque<(Arc<Frame>, usize, Instant)>,
    resend: VecDeque<u64>,
    resent: VecDeque<(u64, Instant)>,
    allowance: u64,
    refilled: Option<Instant>,
    in_flight: Option<InFlight>,
    counts: SendCounts,
}

impl Sender {
    /// A sender that waits for a random access point.
    pub fn new(sources: Sources, negotiated: NegotiatedVideo) -> Self {
        Self {
            next: u64::from(sources.first_sequence),
            rtx_next: u64::from(sources.first_sequence),
            sources,
            negotiated,
            runs: VecDeque::with_capacity(MOST_RUNS),
            stage: Stage::AwaitingRandomAccess,
            queue: VecDeque::new(),
            resend: VecDeque::new(),
            resent: VecDeque::new(),
            allowance: RESEND_BURST,
            refilled: None,
            in_flight: None,
            counts: SendCounts::default(),
        }
    }

    /// The media source.
    pub fn ssrc(&self) -> u32 {
        self.sources.ssrc
    }

    /// What was sent and asked for so far.
    pub fn counts(&self) -> SendCounts {
        self.counts
    }

    /// Whether pictures reach the viewer, or it still waits for a random access point.
    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Takes a frame of the stream, in order.
    pub fn offer(&mut self, now: Instant, frame: &Arc<Frame>) {
        let late = |(_, _, since): &(_, _, Instant)| now.saturating_duration_since(*since) > LONGEST_WAIT;
        if self.queue.front().is_some_and(late) {
            self.counts.dropped_units += self.queue.len() as u64;
            self.queue.clear();
            self.in_flight = None;
            self.stage = Stage::AwaitingRandomAccess;
        }
        if frame.random_access {
            self.stage = Stage::Live;
        }
        match self.stage {
            Stage::Live => self.queue.push_back((frame.clone(), 0, now)),
            Stage::AwaitingRandomAccess if self.counts.packets > 0 => self.counts.dropped_units += 1,
            Stage::AwaitingRandomAccess => {}
        }
    }

    /// Asks for packets again that the viewer misses (RFC 4585 §6.2.1).
    pub fn nack(&mut self, now: Instant, sequence: u16, following: u16) {
        self.counts.nacked += 1 + u64::from(following.count_ones());
        while self.resent.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > RESEND_INTERVAL) {
            self.resent.pop_front();
        }
        let missing = (0..16).filter(|bit| following >> bit & 1 == 1).map(|bit| sequence.wrapping_add(bit + 1));
        for sequence in std::iter::once(sequence).chain(missing) {
            // Before anything is searched for: this is what a hostile viewer can ask for most.
            if self.resend.len() >= MOST_RESENDS_WAITING {
                return;
            }
            let Some(last) = self.next.checked_sub(1) else { continue };
            let back = u64::from((last as u16).wrapping_sub(sequence));
            let wanted = last.checked_sub(back).filter(|_| back <= LONGEST_REACH);
            let Some(wanted) = wanted.filter(|wanted| self.packet_of(*wanted).is_some()) else { continue };
            let again = self.resent.iter().any(|(sent, _)| *sent == wanted) || self.resend.contains(&wanted);
            if !again {
                self.resend.push_back(wanted);
            }
        }
    }

    /// Which packet of the stream went out with a sequence number.
    fn packet_of(&self, sequence: u64) -> Option<u64> {
        let (from, packet) = self.runs.iter().rev().find(|(from, _)| *from <= sequence)?;
        packet.checked_add(sequence - from)
    }

    /// Fills `batch` with what is to be sent next; false when there is nothing. The same bytes
    /// come again until [`Self::sent`] says they are gone.
    pub fn fill(&mut self, now: Instant, srtp: &mut Outbound, history: &History, batch: &mut Batch) -> bool {
        batch.data.clear();
        batch.segment = 0;
        self.fill_resend(now, srtp, history, batch) || self.fill_media(srtp, batch)
    }

    fn fill_media(&mut self, srtp: &mut Outbound, batch: &mut Batch) -> bool {
        let Some((frame, at, _)) = self.queue.front() else { return false };
        let (frame, at) = (frame.clone(), *at);
        let number = frame.first + at as u64;
        if self.packet_of(self.next) != Some(number) {
            if self.runs.len() == MOST_RUNS {
                self.runs.pop_front();
            }
            self.runs.push_back((self.next, number));
        }
        let mut header = Header {
            payload_type: self.negotiated.payload_type,
            marker: false,
            sequence: 0,
            timestamp: frame.timestamp,
            ssrc: self.sources.ssrc,
            playout_delay: self.negotiated.playout_delay,
        };
        let mut packets = 0;
        let mut payload_bytes = 0;
        while let Some(payload) = frame.payload(at + packets) {
            let len = header.len() + payload.len() + srtp.rtp_overhead();
            if packets == 0 {
                batch.segment = len;
            }
            if len > batch.segment || packets == MOST_SEGMENTS || batch.data.len() + len > MOST_BYTES {
                break;
            }
            let index = self.next + packets as u64;
            header.sequence = index as u16;
            header.marker = at + packets + 1 == frame.packets();
            append(batch, &header, &[], payload, srtp, index);
            packets += 1;
            payload_bytes += payload.len();
            if len < batch.segment {
                break;
            }
        }
        self.in_flight = Some(InFlight::Media { packets, payload: payload_bytes });
        packets > 0
    }

    fn fill_resend(&mut self, now: Instant, srtp: &mut Outbound, history: &History, batch: &mut Batch) -> bool {
        let since = self.refilled.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let refill = since.as_millis() as u64 * RESEND_RATE / 1_000;
        if refill > 0 || self.refilled.is_none() {
            self.allowance = (self.allowance + refill).min(RESEND_BURST);
            self.refilled = Some(now);
        }
        while let Some(&wanted) = self.resend.front() {
            let found = self.packet_of(wanted).and_then(|number| history.packet(number));
            let Some((frame, n)) = found else {
                self.resend.pop_front();
                continue;
            };
            let payload = frame.payload(n).unwrap_or_default();
            if payload.len() as u64 > self.allowance {
                // Whoever loses this much needs a new start, not more packets.
                self.resend.clear();
                return false;
            }
            let sequence = wanted as u16;
            let rtx = self.negotiated.rtx_payload_type;
            let header = Header {
                payload_type: rtx.unwrap_or(self.negotiated.payload_type),
                marker: n + 1 == frame.packets(),
                sequence: if rtx.is_some() { self.rtx_next as u16 } else { sequence },
                timestamp: frame.timestamp,
                ssrc: if rtx.is_some() { self.sources.rtx_ssrc } else { self.sources.ssrc },
                playout_delay: self.negotiated.playout_delay,
            };
            batch.segment = usize::MAX;
            if rtx.is_some() {
                // The original sequence number goes before the payload (RFC 4588 §4).
                append(batch, &header, &sequence.to_be_bytes(), payload, srtp, self.rtx_next);
            } else {
                append(batch, &header, &[], payload, srtp, wanted);
            }
            batch.segment = batch.data.len();
            self.in_flight = Some(InFlight::Resend);
            return true;
        }
        false
    }

    /// The batch filled last is gone, delivered or not.
    pub fn sent(&mut self, now: Instant, batch: &Batch) {
        match self.in_flight.take() {
            None => return,
            Some(InFlight::Resend) => {
                if let Some(sequence) = self.resend.pop_front() {
                    self.resent.push_back((sequence, now));
                }
                self.rtx_next += u64::from(self.negotiated.rtx_payload_type.is_some());
                self.allowance = self.allowance.saturating_sub(batch.data.len() as u64);
                self.counts.retransmitted += 1;
            }
            Some(InFlight::Media { packets, payload }) => {
                self.next += packets as u64;
                self.counts.packets += packets as u64;
                self.counts.payload_bytes += payload as u64;
                if let Some((frame, at, _)) = self.queue.front_mut() {
                    *at += packets;
                    if *at >= frame.packets() {
                        self.queue.pop_front();
                    }
                }
            }
        }
        self.counts.bytes += batch.data.len() as u64;
    }
}

fn append(batch: &mut Batch, header: &Header, prefix: &[u8], payload: &[u8], srtp: &mut Outbound, index: u64) {
    let start = batch.data.len();
    header.write(&mut batch.data);
    batch.data.extend_from_slice(prefix);
    batch.data.extend_from_slice(payload);
    batch.data.resize(batch.data.len() + srtp.rtp_overhead(), 0);
    let packet = batch.data.get_mut(start..).unwrap_or_default();
    srtp.protect_rtp(packet, header.len(), header.ssrc, index).expect("the packet has room for header and tag");
}

#[cfg(test)]
mod tests;
