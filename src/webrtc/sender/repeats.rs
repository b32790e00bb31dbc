//! Retransmission: which packet each sequence number carried, and what is asked for again (RFC 4585 §6.2.1, RFC 4588).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::webrtc::history::History;
use crate::webrtc::packetizer::Frame;

/// Stretches of sequence numbers remembered: one for each picture of a burst, for those have stamps of their own, and
/// one for all that is live.
const MOST_RUNS: usize = 512;
/// How far back a missing packet may lie, in packets.
const LONGEST_REACH: u64 = 8_192;
/// Bytes a second, and how many at once.
const RATE: u64 = 500_000;
const BURST: u64 = 160_000;
/// The same packet is not sent again sooner than this: reports about it were on their way.
const INTERVAL: Duration = Duration::from_millis(20);
const MOST_WAITING: usize = 512;

/// A stretch of sequence numbers that carried consecutive packets of the stream, their stamps shifted alike.
#[derive(Clone, Copy, Debug)]
struct Run {
    sequence: u64,
    packet: u64,
    shift: u32,
}

/// What is sent again.
#[derive(Debug)]
pub(super) struct Repeats {
    runs: VecDeque<Run>,
    waiting: VecDeque<u64>,
    sent: VecDeque<(u64, Instant)>,
    allowance: u64,
    refilled: Option<Instant>,
}

impl Repeats {
    pub(super) fn new() -> Self {
        let (runs, waiting, sent) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { runs, waiting, sent, allowance: BURST, refilled: None }
    }

    /// From this sequence number on went packets of the stream from `packet` on; `shift` is what their stamps are ahead
    /// of the stream's.
    pub(super) fn note(&mut self, sequence: u64, packet: u64, shift: u32) {
        if self.find(sequence) == Some((packet, shift)) {
            return;
        }
        let out_of_reach = |run: &Run| run.sequence + LONGEST_REACH < sequence;
        while self.runs.len() == MOST_RUNS || self.runs.get(1).is_some_and(out_of_reach) {
            self.runs.pop_front();
        }
        self.runs.push_back(Run { sequence, packet, shift });
    }

    fn find(&self, sequence: u64) -> Option<(u64, u32)> {
        let at = self.runs.partition_point(|run| run.sequence <= sequence).checked_sub(1)?;
        let run = self.runs.get(at)?;
        Some((run.packet.checked_add(sequence - run.sequence)?, run.shift))
    }

    /// Packets are missing; `next` is the sequence number that comes next. Gives the last of them that was ever sent.
    pub(super) fn ask(&mut self, now: Instant, next: u64, sequence: u16, following: u16) -> Option<u64> {
        while self.sent.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > INTERVAL) {
            self.sent.pop_front();
        }
        let last = next.checked_sub(1)?;
        let mut newest = None;
        let missing = (0..16).filter(|bit| following >> bit & 1 == 1).map(|bit| sequence.wrapping_add(bit + 1));
        for sequence in std::iter::once(sequence).chain(missing) {
            // Before anything is searched for: this is what a hostile viewer can ask for most.
            if self.waiting.len() >= MOST_WAITING {
                break;
            }
            let back = u64::from((last as u16).wrapping_sub(sequence));
            let wanted = last.checked_sub(back).filter(|_| back <= LONGEST_REACH);
            let Some(wanted) = wanted.filter(|wanted| self.find(*wanted).is_some()) else { continue };
            newest = newest.max(Some(wanted));
            if !self.sent.iter().any(|(sent, _)| *sent == wanted) && !self.waiting.contains(&wanted) {
                self.waiting.push_back(wanted);
            }
        }
        newest
    }

    /// Nothing of what was asked for is worth sending any more.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes may be sent again now.
    pub(super) fn allowance(&mut self, now: Instant) -> u64 {
        let since = self.refilled.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let refill = since.as_millis() as u64 * RATE / 1_000;
        if refill > 0 || self.refilled.is_none() {
            self.allowance = self.allowance.saturating_add(refill).min(BURST);
            self.refilled = Some(now);
        }
        self.allowance
    }

    /// The n-th packet that waits: its sequence number, frame, place in the frame, and how far its stamp is ahead. What
    /// the history has forgotten is dropped.
    pub(super) fn get<'a>(&mut self, n: usize, history: &'a History) -> Option<(u64, &'a Arc<Frame>, usize, u32)> {
        loop {
            let sequence = *self.waiting.get(n)?;
            let found = self.find(sequence).and_then(|(number, shift)| {
                let (frame, place) = history.packet(number)?;
                Some((sequence, frame, place, shift))
            });
            if found.is_some() {
                return found;
            }
            self.waiting.remove(n);
        }
    }

    /// The first packets that waited are gone, with so many bytes.
    pub(super) fn sent(&mut self, now: Instant, packets: usize, bytes: u64) {
        for sequence in self.waiting.drain(..packets.min(self.waiting.len())) {
            self.sent.push_back((sequence, now));
        }
        self.allowance = self.allowance.saturating_sub(bytes);
    }
}
