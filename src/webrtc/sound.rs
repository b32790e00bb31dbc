//! One viewer's sound: numbering and encryption of Opus packets (RFC 7587).
//!
//! Owns: which packets still go to this viewer, and their sequence numbers. Does not own: their timestamps and bytes
//! (`fanout` shares them). Nothing is retransmitted: a packet that comes a round trip late is worse than the
//! gap, which Opus conceals. Nor does a queue grow: what could not leave is soon too old, and playing it later would
//! put the sound behind the picture for good.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::packetizer::Frame;
use super::rtp::Header;
use super::sdp::NegotiatedSound;
use super::sender::SendCounts;
use super::srtp::OutboundRtp;

/// What waited longer is not sent any more.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Packets that wait at most: as many as a sender with large PES packets makes come at once.
const MOST_WAITING: usize = 32;
/// No Opus packet lasts longer (RFC 7587 §4.2), ticks of 48 kHz: a longer step is a pause.
const LONGEST_PACKET: u32 = 5_760;

/// The source of one viewer's sound.
#[derive(Clone, Copy, Debug)]
pub struct SoundSource {
    /// Synchronization source.
    pub ssrc: u32,
    /// First sequence number; small, as for the picture.
    pub first_sequence: u16,
}

/// The sending half of one viewer's sound.
#[derive(Debug)]
pub(super) struct SoundSender {
    ssrc: u32,
    payload_type: u8,
    /// Sequence number and rollover counter of the next packet.
    next: u64,
    queue: VecDeque<(Arc<Frame>, Instant)>,
    /// Timestamp of the packet sent last.
    last: Option<u32>,
    in_flight: bool,
    counts: SendCounts,
}

impl SoundSender {
    pub(super) fn new(source: SoundSource, negotiated: &NegotiatedSound) -> Self {
        Self {
            ssrc: source.ssrc,
            payload_type: negotiated.payload_type,
            next: u64::from(source.first_sequence),
            queue: VecDeque::with_capacity(MOST_WAITING),
            last: None,
            in_flight: false,
            counts: SendCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> SendCounts {
        self.counts
    }

    /// Takes a packet of the stream, in order.
    pub(super) fn offer(&mut self, now: Instant, packet: &Arc<Frame>) {
        let late = |(_, since): &(_, Instant)| now.saturating_duration_since(*since) > LONGEST_WAIT;
        while self.queue.len() == MOST_WAITING || self.queue.front().is_some_and(late) {
            self.queue.pop_front();
            self.in_flight = false;
            self.counts.dropped_units += 1;
        }
        self.queue.push_back((packet.clone(), now));
    }

    /// Fills `batch` with the next packet; false when there is none.
    pub(super) fn fill(&mut self, srtp: &OutboundRtp, batch: &mut Batch) -> bool {
        let Some((packet, _)) = self.queue.front() else { return false };
        let header = Header {
            payload_type: self.payload_type,
            // The first packet after a pause in which none was sent (RFC 3551 §4.1).
            marker: self.last.is_none_or(|last| packet.timestamp.wrapping_sub(last) > LONGEST_PACKET),
            sequence: self.next as u16,
            timestamp: packet.timestamp,
            ssrc: self.ssrc,
            playout_delay: None,
        };
        batch.push(srtp, &header, &[], packet.payload(0).unwrap_or_default(), self.next);
        self.in_flight = true;
        true
    }

    /// Whether the packet filled last is not known to be gone.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// The packet filled last is gone.
    pub(super) fn sent(&mut self, batch: &Batch) {
        self.in_flight = false;
        let Some((packet, _)) = self.queue.pop_front() else { return };
        self.next += 1;
        self.last = Some(packet.timestamp);
        self.counts.packets += 1;
        self.counts.payload_bytes += packet.bytes() as u64;
        self.counts.bytes += batch.data.len() as u64;
    }
}
