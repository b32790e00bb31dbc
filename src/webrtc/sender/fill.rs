//! What a viewer is sent next, as far as it may leave now: packets that are missing, then pictures.

use std::time::Instant;

use super::pacer::Rate;
use super::{InFlight, REPAIR_PART, Sender, Stage};
use crate::webrtc::batch::Batch;
use crate::webrtc::history::{History, wire_bytes};
use crate::webrtc::rtp::{Header, MAX_DATAGRAM, VIDEO_CLOCK_RATE};
use crate::webrtc::srtp::OutboundRtp;

/// A stamp this far behind the one before, ticks, is not behind but ahead: the clock has 32 bits.
const FARTHEST_BEHIND: u32 = 10 * VIDEO_CLOCK_RATE;

/// How much one batch may hold.
#[derive(Clone, Copy)]
struct Limit {
    packets: usize,
    bytes: u64,
}

impl Limit {
    fn packets(packets: usize) -> Self {
        Self { packets, bytes: u64::MAX }
    }

    fn bytes(bytes: u64) -> Self {
        Self { packets: usize::MAX, bytes }
    }

    fn takes(&self, packets: usize, batch: &Batch, len: usize) -> bool {
        packets < self.packets && batch.takes(len) && (batch.data.len() + len) as u64 <= self.bytes
    }
}

impl Sender {
    /// How fast pictures may leave now; `None` for as fast as they come.
    pub(super) fn rate(&self) -> Option<Rate> {
        match self.stage {
            // What is left of a frame when all behind it was given up.
            Stage::AwaitingRandomAccess => Some(Rate::burst(self.pacing.join_bps / REPAIR_PART)),
            Stage::CatchingUp(burst) => Some(burst.rate),
            Stage::Live => self.pacing.live_bps.map(Rate::live),
        }
    }

    /// How fast packets may leave again.
    pub(super) fn repeat_rate(&self) -> Rate {
        self.rate().unwrap_or(Rate::burst(self.pacing.join_bps / REPAIR_PART))
    }

    /// Fills `batch`, which is empty, with what is to be sent next; false when there is nothing now. The same bytes come
    /// again until [`Self::sent`] says they are gone.
    pub(in super::super) fn fill(
        &mut self,
        now: Instant,
        srtp: &OutboundRtp,
        history: &History,
        batch: &mut Batch,
    ) -> bool {
        self.due = None;
        match self.in_flight.take() {
            Some(InFlight::Media { packets, .. }) => {
                return self.fill_media(now, srtp, history, batch, Limit::packets(packets));
            }
            Some(InFlight::Repeats { packets }) if self.fill_repeats(srtp, history, batch, Limit::packets(packets)) => {
                return true;
            }
            _ => {}
        }
        self.fill_next_repeats(now, srtp, history, batch) || self.fill_next_media(now, srtp, history, batch)
    }

    fn fill_next_repeats(&mut self, now: Instant, srtp: &OutboundRtp, history: &History, batch: &mut Batch) -> bool {
        if self.repeats.is_empty() {
            return false;
        }
        let budget = match self.pacer.budget(now, self.repeat_rate(), MAX_DATAGRAM as u64) {
            Ok(budget) => budget.min(self.repeats.allowance(now)),
            Err(due) => {
                self.due = Some(due);
                return false;
            }
        };
        let filled = self.fill_repeats(srtp, history, batch, Limit::bytes(budget));
        if !filled {
            // Whoever loses this much needs a new start, not more packets.
            self.repeats.forget();
        }
        filled
    }

    fn fill_next_media(&mut self, now: Instant, srtp: &OutboundRtp, history: &History, batch: &mut Batch) -> bool {
        let Some(front) = self.queue.front() else { return false };
        let most = (front.frame.packets().saturating_sub(front.at) * MAX_DATAGRAM) as u64;
        let budget = match self.rate().map(|rate| self.pacer.budget(now, rate, most)) {
            None => u64::MAX,
            Some(Ok(budget)) => budget,
            Some(Err(due)) => {
                self.due = Some(self.due.map_or(due, |other| other.min(due)));
                return false;
            }
        };
        self.fill_media(now, srtp, history, batch, Limit::bytes(budget))
    }

    fn header(&self) -> Header {
        Header {
            payload_type: self.negotiated.payload_type,
            marker: false,
            sequence: 0,
            timestamp: 0,
            ssrc: self.sources.ssrc,
            playout_delay: self.negotiated.playout_delay,
        }
    }

    fn fill_media(
        &mut self,
        now: Instant,
        srtp: &OutboundRtp,
        history: &History,
        batch: &mut Batch,
        limit: Limit,
    ) -> bool {
        let timestamp = self.stamp_front(now, history);
        let Some(front) = self.queue.front() else { return false };
        let mut header = Header { timestamp, ..self.header() };
        let (mut packets, mut payload_bytes) = (0, 0);
        while let Some(payload) = front.frame.payload(front.at + packets) {
            let len = header.len() + payload.len() + srtp.rtp_overhead();
            if !limit.takes(packets, batch, len) {
                break;
            }
            let index = self.next + packets as u64;
            header.sequence = index as u16;
            header.marker = front.at + packets + 1 == front.frame.packets();
            batch.push(srtp, &header, &[], payload, index);
            packets += 1;
            payload_bytes += payload.len();
        }
        self.in_flight = (packets > 0).then_some(InFlight::Media { packets, payload: payload_bytes });
        packets > 0
    }

    /// The timestamp of the frame in front, which it keeps.
    fn stamp_front(&mut self, now: Instant, history: &History) -> u32 {
        let Some(front) = self.queue.front_mut() else { return 0 };
        if let Some(stamp) = front.stamp {
            return stamp;
        }
        let wanted = match self.stage {
            Stage::CatchingUp(burst) => history.rtp_at(self.pacer.end(now, burst.rate, wire_bytes(&front.frame))),
            _ => None,
        };
        let wanted = wanted.unwrap_or(front.frame.timestamp);
        let stamp = match self.last_stamp {
            Some(last) if last.wrapping_sub(wanted) < FARTHEST_BEHIND => last.wrapping_add(1),
            _ => wanted,
        };
        front.stamp = Some(stamp);
        self.last_stamp = Some(stamp);
        stamp
    }

    fn fill_repeats(&mut self, srtp: &OutboundRtp, history: &History, batch: &mut Batch, limit: Limit) -> bool {
        let rtx = self.negotiated.rtx_payload_type;
        let mut packets = 0;
        while let Some((index, frame, place, shift)) = self.repeats.get(packets, history) {
            let payload = frame.payload(place).unwrap_or_default();
            let original = (index as u16).to_be_bytes();
            let mut header = Header {
                marker: place + 1 == frame.packets(),
                sequence: index as u16,
                timestamp: frame.timestamp.wrapping_add(shift),
                ..self.header()
            };
            // A source of its own, and the original sequence number before the payload (RFC 4588 §4); where that was not
            // agreed on, the very packet.
            let (prefix, index) = match rtx {
                Some(payload_type) => {
                    let index = self.rtx_next + packets as u64;
                    header = Header { payload_type, sequence: index as u16, ssrc: self.sources.rtx_ssrc, ..header };
                    (&original[..], index)
                }
                None => (&[][..], index),
            };
            let len = header.len() + prefix.len() + payload.len() + srtp.rtp_overhead();
            if !limit.takes(packets, batch, len) {
                break;
            }
            batch.push(srtp, &header, prefix, payload, index);
            packets += 1;
        }
        self.in_flight = (packets > 0).then_some(InFlight::Repeats { packets });
        packets > 0
    }
}
