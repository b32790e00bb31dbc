//! The frames sent last, shared by all viewers of a stream: for retransmission, and for joiners.

use std::collections::VecDeque;
use std::sync::Arc;

use super::packetizer::Frame;

/// Most bytes kept, whatever the GOP length.
const MOST_BYTES: usize = 8 << 20;

/// Up to two groups of pictures, newest last.
#[derive(Debug, Default)]
pub struct History {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl History {
    /// Remembers a frame; forgets what is older than the previous random access point.
    pub fn push(&mut self, frame: Arc<Frame>) {
        if frame.random_access {
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

    /// The current group of pictures, from its random access point to the newest frame. The seam for a burst that
    /// starts a joiner at once; only tests use it.
    pub fn current_gop(&self) -> impl Iterator<Item = &Arc<Frame>> {
        let start = self.frames.iter().rposition(|frame| frame.random_access);
        self.frames.iter().skip(start.unwrap_or(self.frames.len()))
    }
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
    }
}
