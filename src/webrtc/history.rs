//! The frames sent last, shared by all viewers of a stream: for retransmission, and for joiners.
//!
//! Owns: the frames, and what they tell about the stream: its clock, how long its groups of pictures last, and what it
//! takes to catch up with it. Does not own: what a viewer is sent (`sender`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::packetizer::Frame;
use super::rtp::{MAX_DATAGRAM, MAX_PAYLOAD, VIDEO_CLOCK_RATE, ticks};

/// Most bytes kept, whatever the GOP length.
const MOST_BYTES: usize = 8 << 20;
/// A stream whose newest frame is older, and by some frame intervals, does not move. Nor is its clock taken to run on
/// for longer beyond that: after a stall, a source may carry on where it left off.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE_FRAMES: u32 = 4;
/// A stream's rate is not judged by less.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(500);

/// Up to two groups of pictures, newest last.
#[derive(Clone, Debug, Default)]
pub struct History {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// The source is another since the newest frame, or gone: what is here is good for retransmission only.
    is_past: bool,
}

impl History {
    /// Remembers a frame; forgets what is older than the previous random access point.
    pub fn push(&mut self, frame: Arc<Frame>) {
        if frame.random_access {
            self.is_past = false;
            let newest_start = self.frames.iter().rposition(|frame| frame.random_access);
            for _ in 0..newest_start.unwrap_or_default() {
                self.forget_oldest();
            }
        }
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
        while self.bytes > MOST_BYTES && self.frames.len() > 1 {
            self.forget_oldest();
        }
    }

    /// The source has ended, or another has begun: nobody is to join with the frames that are here.
    pub fn end_source(&mut self) {
        self.is_past = true;
    }

    /// Whether the stream goes on, as far as can be told now.
    pub fn is_moving(&self, now: Instant) -> bool {
        let (Some(oldest), Some(newest)) = (self.frames.front(), self.frames.back()) else { return false };
        let intervals = u32::try_from(self.frames.len() - 1).unwrap_or(u32::MAX).max(1);
        let interval = newest.arrived.saturating_duration_since(oldest.arrived) / intervals;
        let longest = LONGEST_PAUSE.max(interval * LONGEST_PAUSE_FRAMES);
        !self.is_past && now.saturating_duration_since(newest.arrived) <= longest
    }

    fn forget_oldest(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes();
        }
    }

    /// The frame a packet of the stream belongs to, and its place within the frame.
    pub fn packet(&self, number: u64) -> Option<(&Arc<Frame>, usize)> {
        let at = self.frames.partition_point(|frame| frame.first <= number).checked_sub(1)?;
        let frame = self.frames.get(at)?;
        let n = usize::try_from(number - frame.first).ok()?;
        (n < frame.packets()).then_some((frame, n))
    }

    /// The current group of pictures, from its random access point to the newest frame; empty when its beginning was
    /// forgotten.
    pub fn current_gop(&self) -> impl Iterator<Item = &Arc<Frame>> {
        let start = self.frames.iter().rposition(|frame| frame.random_access);
        self.frames.iter().skip(start.unwrap_or(self.frames.len()))
    }

    /// The stream's RTP time at an instant: the newest frame's timestamp and the time since that arrived.
    pub fn rtp_at(&self, now: Instant) -> Option<u32> {
        let newest = self.frames.back()?;
        let since = now.saturating_duration_since(newest.arrived).min(LONGEST_PAUSE);
        Some(newest.timestamp.wrapping_add(ticks(VIDEO_CLOCK_RATE, since)))
    }

    /// When the next group of pictures begins, should it be as long after the current one as that after the one before.
    pub fn next_start(&self) -> Option<Instant> {
        let current = self.current_gop().next()?.arrived;
        let before = self.frames.front().filter(|frame| frame.random_access)?.arrived;
        (before < current).then(|| current + current.saturating_duration_since(before))
    }

    /// How long it takes to catch up with the stream at a rate in bit/s, its current group of pictures first. `None`
    /// when that cannot be had from its beginning, or the stream itself comes faster.
    pub fn catch_up(&self, bps: u64) -> Option<Duration> {
        let (oldest, newest) = (self.frames.front()?, self.frames.back()?);
        let gop: u64 = self.current_gop().map(|frame| wire_bytes(frame)).sum();
        let span = newest.arrived.saturating_duration_since(oldest.arrived).max(SHORTEST_SAMPLE);
        let all: u64 = self.frames.iter().map(|frame| wire_bytes(frame)).sum();
        let to_spare = bps as f64 - 8.0 * all as f64 / span.as_secs_f64();
        (gop > 0 && to_spare > 0.0).then(|| Duration::try_from_secs_f64(8.0 * gop as f64 / to_spare).ok())?
    }
}

/// How many bytes a frame is on its way, as far as UDP's payload goes; headers are taken as their longest.
pub(super) fn wire_bytes(frame: &Frame) -> u64 {
    (frame.bytes() + frame.packets() * (MAX_DATAGRAM - MAX_PAYLOAD)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::webrtc::packetizer::Packetizer;

    #[test]
    fn keeps_two_groups_of_pictures_and_finds_their_packets() {
        let mut history = History::default();
        let mut packetizer = Packetizer::default();
        let mut unit = vec![0, 0, 1, 0x65];
        unit.resize(3_000, 1);
        for n in 0..30 {
            let frame = packetizer.h264(&unit, n % 10 == 0, n, Clock::system().now()).unwrap();
            history.push(Arc::new(frame));
        }
        assert_eq!(history.frames.len(), 20);
        assert_eq!(history.current_gop().count(), 10);
        assert!(history.packet(29).is_none(), "of the forgotten group");
        let (frame, n) = history.packet(10 * 3 + 1).unwrap();
        assert_eq!((frame.timestamp, n), (10, 1));
        assert!(history.packet(90).is_none(), "not sent yet");
        assert_eq!(history.bytes, history.frames.iter().map(|frame| frame.bytes()).sum::<usize>());
    }

    /// Two and a half groups of ten frames, 40 ms apart, of one packet of 965 bytes each: 200 kbit/s, nearly.
    fn two_and_a_half(start: Instant) -> History {
        let mut history = History::default();
        let mut packetizer = Packetizer::default();
        let mut unit = vec![0, 0, 1, 0x65];
        unit.resize(3 + 965, 1);
        for n in 0..25 {
            let frame = packetizer.h264(&unit, n % 10 == 0, n * 3_600, start + Duration::from_millis(40) * n).unwrap();
            history.push(Arc::new(frame));
        }
        history
    }

    #[test]
    fn the_streams_clock_goes_on_beyond_the_newest_frame_but_not_far() {
        let start = Clock::system().now();
        let at = |ms| start + Duration::from_millis(ms);
        let history = two_and_a_half(start);
        assert_eq!(History::default().rtp_at(start), None);
        assert_eq!(history.rtp_at(at(24 * 40)), Some(24 * 3_600));
        assert_eq!(history.rtp_at(at(24 * 40 + 50)), Some(24 * 3_600 + 4_500));
        assert_eq!(history.rtp_at(at(60_000)), Some(24 * 3_600 + 45_000), "a source may carry on where it left off");
    }

    #[test]
    fn the_next_group_is_expected_after_as_long_as_the_last_took() {
        let start = Clock::system().now();
        assert_eq!(two_and_a_half(start).next_start(), Some(start + Duration::from_millis(1_200)));
        let mut history = two_and_a_half(start);
        history.frames.retain(|frame| frame.timestamp >= 20 * 3_600);
        assert_eq!(history.next_start(), None, "there is nothing to go by");
    }

    #[test]
    fn catching_up_takes_what_the_group_is_long_at_the_rate_the_stream_leaves_over() {
        let history = two_and_a_half(Clock::system().now());
        // 5 frames of 1 kB; the 15 since the group before make 214 kbit/s.
        let takes = history.catch_up(1_000_000).unwrap().as_millis();
        assert!((50..53).contains(&takes), "{takes} ms");
        assert!(history.catch_up(214_000).is_none(), "the stream comes as fast");
        assert!(History::default().catch_up(1_000_000).is_none());
    }

    #[test]
    fn an_endless_group_of_pictures_is_bounded() {
        let mut history = History::default();
        let mut packetizer = Packetizer::default();
        let mut unit = vec![0, 0, 1, 0x65];
        unit.resize(1 << 20, 1);
        for n in 0..20 {
            let frame = packetizer.h264(&unit, n == 0, n, Clock::system().now()).unwrap();
            history.push(Arc::new(frame));
        }
        assert!(history.bytes <= MOST_BYTES);
        assert_eq!(history.current_gop().count(), 0, "its start is gone");
        assert_eq!(history.catch_up(u64::MAX), None);
    }
}
