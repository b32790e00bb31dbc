//! One stream on its way to its viewers: what is done once for all of them.
//!
//! Owns: RTP time, packets, history, and what the answer must know about the codec. Does not own:
//! viewers (`session`). Flows from a hub subscription to every session of the stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::history::History;
use super::packetizer::{Frame, Packetizer, profile_level_id};
use super::rtp::Timeline;
use super::sdp::ProfileLevelId;
use crate::hub::Delivery;
use crate::media::{AccessUnit, Codec, Track, TrackId};

/// Frames remembered for the page's measurement of the delay.
pub const RECENT_FRAMES: usize = 32;

/// One stream's shared half.
#[derive(Debug)]
pub struct Fanout {
    timeline: Timeline,
    packetizer: Packetizer,
    history: History,
    video: Option<Track>,
    profile: Option<ProfileLevelId>,
    recent: VecDeque<(u32, Instant)>,
    /// Until a source's first random access point its pictures refer to ones nobody has.
    awaiting_start: bool,
}

impl Fanout {
    /// A fan-out whose RTP time starts at a random `offset`.
    pub fn new(offset: u32) -> Self {
        Self {
            timeline: Timeline::new(offset),
            packetizer: Packetizer::default(),
            history: History::default(),
            video: None,
            profile: None,
            recent: VecDeque::with_capacity(RECENT_FRAMES),
            awaiting_start: true,
        }
    }

    /// Takes what the hub delivers; gives the frame that follows from it.
    pub fn handle(&mut self, delivery: Delivery) -> Option<Arc<Frame>> {
        match delivery {
            Delivery::SourceStarted => {
                self.timeline.restart();
                // The new source's parameter sets may be others, and an answer must name the right ones.
                self.profile = None;
                self.awaiting_start = true;
            }
            Delivery::SourceEnded => {}
            Delivery::Tracks(tracks) => {
                let video = tracks.iter().find(|track| track.codec == Codec::H264);
                self.video = video.or(tracks.iter().find(|track| track.codec.is_video())).cloned();
                if !self.video.as_ref().is_some_and(|video| video.codec == Codec::H264) {
                    self.profile = None;
                }
            }
            Delivery::Unit(unit) => return self.unit(&unit),
        }
        None
    }

    fn unit(&mut self, unit: &AccessUnit) -> Option<Arc<Frame>> {
        if unit.codec != Codec::H264 || self.video_id() != Some(unit.track) {
            return None;
        }
        if unit.random_access
            && let Some(profile) = profile_level_id(&unit.data)
        {
            self.profile = Some(ProfileLevelId(profile));
        }
        if self.awaiting_start && !unit.random_access {
            return None;
        }
        self.awaiting_start = false;
        let timestamp = self.timeline.stamp(unit.pts, unit.arrived);
        let frame = self.packetizer.h264(&unit.data, unit.random_access, timestamp, unit.arrived)?;
        let frame = Arc::new(frame);
        self.history.push(frame.clone());
        if self.recent.len() == RECENT_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back((timestamp, unit.arrived));
        Some(frame)
    }

    fn video_id(&self) -> Option<TrackId> {
        self.video.as_ref().map(|video| video.id)
    }

    /// Profile and level of the picture, once its parameter sets were seen.
    pub fn profile(&self) -> Option<ProfileLevelId> {
        self.profile
    }

    /// The packets of late.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// RTP time now, for sender reports.
    pub fn rtp_time(&self, now: Instant) -> Option<u32> {
        self.timeline.at(now)
    }

    /// RTP timestamp and arrival of the frames of late, oldest first.
    pub fn recent(&self) -> &VecDeque<(u32, Instant)> {
        &self.recent
    }
}

#[cfg(test)]
mod tests;
