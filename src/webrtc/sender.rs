//! One viewer's picture: numbering, stamps, pacing, retransmission, and what is dropped.
//!
//! Owns: which frames go to this viewer and when, its sequence numbers and timestamps. Does not own: frames (`fanout`
//! shares them), sockets, keys (`sending`). A viewer that cannot be reached quickly enough loses frames up to the next
//! random access point and holds up nobody. Whatever is dropped, a frame that was begun is finished: each that a viewer
//! sees has its marker, and what was not sent is never numbered.
//!
//! **Joining** does not wait for a random access point: the current group of pictures is sent as a *burst*.
//! - It is paced: a blast overflows the first small queue on its way, and delays everybody who shares it.
//! - Its frames are stamped with the stream's RTP time at the predicted end of sending of each. To the receiver's jitter
//!   buffer they look like pictures that came with no delay at all. With their true stamps they would look late, and it
//!   would hold everything after them back; squeezed to a tick each, live ones would look early where it does not heed
//!   playout-delay.
//! - Frames that arrive meanwhile queue behind it and are stamped likewise; once the queue has drained, each live frame
//!   goes out as it comes, with its true stamp: from then on this viewer is sent what any other is.
//! - Where the next random access point comes sooner, there is no burst, unless it does not come when it was expected;
//!   where it comes during one, the rest is dropped.
//! - Nor is there one while the stream does not move: what is cached is old, and nothing live would follow.
//! - A packet lost in a burst ends it: there is no room for more on that way. Once the newest frame is on its way, though,
//!   there is nothing to be saved by that.
//!
//! **A lost picture** (PLI, FIR) is answered likewise, for nobody can ask the source for a random access point. But it
//! comes from a way that loses packets, or from a decoder that was given too much: slower, not often, and less often
//! still when it did not help for long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::history::History;
use super::packetizer::Frame;
use super::sdp::NegotiatedVideo;
use super::sending::Pacing;

mod fill;
mod pacer;
mod repeats;

use pacer::{Pacer, Rate};
use repeats::Repeats;

/// A frame that could not be sent for this long is worth less than the ones behind it.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// A burst that would take longer is not begun.
const LONGEST_BURST: Duration = Duration::from_millis(400);
/// Between bursts to the same viewer: at first, and when one was needed after the other.
const BURST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_BURST_INTERVAL: Duration = Duration::from_secs(16);
/// A lost picture is started again, and single packets are sent again, at this part of the rate for joiners: something
/// on the way was too much already.
const REPAIR_PART: u64 = 4;
/// A random access point that is so late is not waited for any longer.
const OVERDUE: Duration = Duration::from_millis(50);
/// A picture reported lost so soon after a random access point was sent may be the one before.
const LOST_BEFORE: Duration = Duration::from_millis(150);

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

/// What the batch filled last holds.
#[derive(Clone, Copy, Debug)]
enum InFlight {
    Media { packets: usize, payload: usize },
    Repeats { packets: usize },
}

/// Where a viewer is in the stream.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Decoding cannot start yet.
    AwaitingRandomAccess,
    /// What waits is sent as fast as the burst may be.
    CatchingUp(Burst),
    /// Every frame goes out as it comes.
    Live,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    rate: Rate,
    /// When it ought to be over.
    end: Instant,
    /// Its first sequence number; none once the newest frame is on its way, for what is lost then is a live one's.
    first: Option<u64>,
}

/// A start with the cached pictures that a viewer waits for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    bps: u64,
    /// The viewer has not been sent any picture.
    is_join: bool,
    /// Not before.
    at: Option<Instant>,
}

#[derive(Debug)]
struct Queued {
    frame: Arc<Frame>,
    /// How many of its packets are gone.
    at: usize,
    /// When it is worth less than what waits behind it.
    until: Instant,
    /// The timestamp it has for this viewer, once it has been filled.
    stamp: Option<u32>,
}

/// Which picture is the first live one.
#[derive(Clone, Copy, Debug)]
enum Edge {
    Unknown,
    Known(u32),
    Taken,
}

/// The sending half of one viewer's picture.
#[derive(Debug)]
pub(super) struct Sender {
    sources: Sources,
    negotiated: NegotiatedVideo,
    pacing: Pacing,
    /// Sequence number and rollover counter of the next packet.
    next: u64,
    rtx_next: u64,
    stage: Stage,
    queue: VecDeque<Queued>,
    last_stamp: Option<u32>,
    pacer: Pacer,
    due: Option<Instant>,
    repeats: Repeats,
    edge: Edge,
    wanted: Option<Wanted>,
    next_burst: Option<Instant>,
    burst_interval: Duration,
    /// When the last random access point was sent.
    started: Option<Instant>,
    in_flight: Option<InFlight>,
    counts: SendCounts,
}

impl Sender {
    /// A sender that waits for a random access point.
    pub(super) fn new(sources: Sources, negotiated: NegotiatedVideo, pacing: Pacing) -> Self {
        Self {
            next: u64::from(sources.first_sequence),
            rtx_next: u64::from(sources.first_sequence),
            sources,
            negotiated,
            pacing,
            stage: Stage::AwaitingRandomAccess,
            queue: VecDeque::new(),
            last_stamp: None,
            pacer: Pacer::default(),
            due: None,
            repeats: Repeats::new(),
            edge: Edge::Unknown,
            wanted: None,
            next_burst: None,
            burst_interval: BURST_INTERVAL,
            started: None,
            in_flight: None,
            counts: SendCounts::default(),
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.sources.ssrc
    }

    pub(super) fn counts(&self) -> SendCounts {
        self.counts
    }

    pub(super) fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::AwaitingRandomAccess)
    }

    pub(super) fn is_catching_up(&self) -> bool {
        matches!(self.stage, Stage::CatchingUp(_))
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let start = self.wanted.and_then(|wanted| wanted.at);
        [self.due, start].into_iter().flatten().min()
    }

    pub(super) fn take_edge(&mut self) -> Option<u32> {
        let Edge::Known(stamp) = self.edge else { return None };
        self.edge = Edge::Taken;
        Some(stamp)
    }

    // ---- what comes in ---------------------------------------------------------------------

    pub(super) fn join(&mut self) {
        self.wanted = Some(Wanted { bps: self.pacing.join_bps, is_join: true, at: None });
    }

    pub(super) fn wants_start(&mut self, now: Instant) -> bool {
        let Some(wanted) = &mut self.wanted else { return false };
        // From now on it waits for its turn, not for time.
        wanted.at = wanted.at.filter(|at| *at > now);
        wanted.at.is_none()
    }

    /// Begins a burst where that is sooner than the next random access point.
    pub(super) fn start(&mut self, now: Instant, history: &History) {
        if !self.wants_start(now) {
            return;
        }
        let Some(Wanted { bps, is_join, .. }) = self.wanted.take() else { return };
        if !history.is_moving(now) {
            // There is nothing newer to be shown. A joiner is tried again with the next picture; whoever has seen the
            // newest one has lost nothing.
            self.wanted = is_join.then_some(Wanted { bps, is_join, at: None });
            return;
        }
        let Some(takes) = history.catch_up(bps).filter(|takes| *takes <= LONGEST_BURST) else { return };
        let end = now + takes;
        // A random access point that is overdue may be long in coming.
        if let Some(next) = history.next_start().filter(|next| *next > now && *next <= end) {
            self.wanted = Some(Wanted { bps, is_join, at: Some(next + OVERDUE) });
            return;
        }
        self.burst(now, end, history, bps);
    }

    fn burst(&mut self, now: Instant, end: Instant, history: &History, bps: u64) {
        self.drop_queue();
        self.repeats.forget();
        if matches!(self.in_flight, Some(InFlight::Repeats { .. })) {
            self.in_flight = None;
        }
        let until = end + LONGEST_WAIT;
        let cached = history.current_gop();
        self.queue.extend(cached.map(|frame| Queued { frame: frame.clone(), at: 0, until, stamp: None }));
        let rate = Rate::burst(bps);
        self.pacer.begin(now, rate);
        let helped = self.next_burst.is_none_or(|next| next + LONGEST_BURST_INTERVAL < now);
        let longer = (self.burst_interval * 2).min(LONGEST_BURST_INTERVAL);
        self.burst_interval = if helped { BURST_INTERVAL } else { longer };
        self.next_burst = Some(now + self.burst_interval);
        self.stage = Stage::CatchingUp(Burst { rate, end, first: Some(self.next) });
    }

    /// Takes a frame of the stream, in order.
    pub(super) fn offer(&mut self, now: Instant, frame: &Arc<Frame>) {
        if self.queue.front().is_some_and(|front| front.until < now) {
            // Whatever holds the socket up holds up others as well: this is no time for another burst.
            self.counts.dropped_units += self.give_up();
        }
        if frame.random_access {
            self.wanted = None;
            match &mut self.stage {
                Stage::CatchingUp(burst) => {
                    *burst = Burst { end: now, first: None, ..*burst };
                    self.drop_queue();
                }
                stage => *stage = Stage::Live,
            }
        }
        let end = match self.stage {
            Stage::Live => now,
            Stage::CatchingUp(burst) => burst.end.max(now),
            Stage::AwaitingRandomAccess => {
                self.counts.dropped_units += u64::from(self.counts.packets > 0);
                return;
            }
        };
        self.queue.push_back(Queued { frame: frame.clone(), at: 0, until: end + LONGEST_WAIT, stamp: None });
    }

    /// Takes what was not begun out of the queue; gives how many frames.
    fn drop_queue(&mut self) -> u64 {
        let begun = usize::from(self.queue.front().is_some_and(|front| front.at > 0));
        if begun == 0 && matches!(self.in_flight, Some(InFlight::Media { .. })) {
            self.in_flight = None;
        }
        let dropped = self.queue.len().saturating_sub(begun);
        self.queue.truncate(begun);
        dropped as u64
    }

    /// Leaves the viewer to the next random access point; gives how many frames it loses.
    fn give_up(&mut self) -> u64 {
        self.stage = Stage::AwaitingRandomAccess;
        self.drop_queue()
    }

    /// Asks for packets again that the viewer misses (RFC 4585 §6.2.1).
    pub(super) fn nack(&mut self, now: Instant, sequence: u16, following: u16) {
        self.counts.nacked += 1 + u64::from(following.count_ones());
        let newest = self.repeats.ask(now, self.next, sequence, following);
        if let Stage::CatchingUp(Burst { first: Some(first), .. }) = self.stage
            && newest.is_some_and(|newest| newest >= first)
        {
            self.give_up();
        }
    }

    pub(super) fn picture_lost(&mut self, now: Instant) {
        let recently = |at: Instant| now.saturating_duration_since(at) < LOST_BEFORE;
        let is_wanted = self.wanted.is_none()
            && !self.is_catching_up()
            && self.next_burst.is_none_or(|next| next <= now)
            && !self.started.is_some_and(recently);
        if is_wanted {
            self.wanted = Some(Wanted { bps: self.pacing.join_bps / REPAIR_PART, is_join: false, at: None });
        }
    }

    pub(super) fn resume(&mut self, now: Instant) {
        if !self.is_live() && self.counts.packets > 0 {
            self.picture_lost(now);
        }
    }

    // ---- what is gone ----------------------------------------------------------------------

    /// Other bytes for the viewer are gone, or some of its pictures.
    pub(super) fn share(&mut self, now: Instant, bytes: u64) {
        if let Some(rate) = self.rate() {
            self.pacer.spend(now, rate, bytes);
        }
    }

    /// The batch filled last is gone, delivered or not.
    pub(super) fn sent(&mut self, now: Instant, batch: &Batch) {
        let bytes = batch.data.len() as u64;
        match self.in_flight.take() {
            None => return,
            Some(InFlight::Repeats { packets }) => {
                self.pacer.spend(now, self.repeat_rate(), bytes);
                self.repeats.sent(now, packets, bytes);
                if self.negotiated.rtx_payload_type.is_some() {
                    self.rtx_next += packets as u64;
                }
                self.counts.retransmitted += packets as u64;
            }
            Some(InFlight::Media { packets, payload }) => {
                self.share(now, bytes);
                self.counts.packets += packets as u64;
                self.counts.payload_bytes += payload as u64;
                self.advance(now, packets);
            }
        }
        self.counts.bytes += bytes;
    }

    /// The first packets of what waits are gone.
    fn advance(&mut self, now: Instant, packets: usize) {
        let only = self.queue.len() == 1;
        let Some(front) = self.queue.front_mut() else { return };
        if let Some(stamp) = front.stamp {
            if front.at == 0 && only {
                if matches!(self.edge, Edge::Unknown) {
                    self.edge = Edge::Known(stamp);
                }
                if let Stage::CatchingUp(burst) = &mut self.stage {
                    burst.first = None;
                }
            }
            let number = front.frame.first + front.at as u64;
            self.repeats.note(self.next, number, stamp.wrapping_sub(front.frame.timestamp));
        }
        self.next += packets as u64;
        front.at += packets;
        if front.at < front.frame.packets() {
            return;
        }
        if front.frame.random_access {
            self.started = Some(now);
        }
        self.queue.pop_front();
        if self.queue.is_empty() && self.is_catching_up() {
            self.stage = Stage::Live;
        }
    }
}

#[cfg(test)]
mod tests;
