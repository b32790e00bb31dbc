//! One stream on its way to its viewers: what is done once for all of them.
//!
//! Owns: RTP time, packets, history, and what the answer must know about the codec. Does not own:
//! viewers (`session`). Flows from the hub's subscriptions, one for the picture and one for the sound, to every session
//! of the stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::history::History;
use super::packetizer::{Frame, Packetizer, profile_level_id};
use super::rtp::{OPUS_CLOCK_RATE, Timeline, VIDEO_CLOCK_RATE};
use super::sdp::ProfileLevelId;
use crate::hub::Delivery;
use crate::media::{AccessUnit, Codec, Timestamp90k, Track, TrackId};

/// Frames remembered for the page's measurement of the delay.
pub const RECENT_FRAMES: usize = 32;

/// Furthest that the sound of a source is taken to be from its picture, ticks of 90 kHz; further apart, their PTS are
/// not of the same source.
const MOST_APART: u64 = 5 * Timestamp90k::HZ as u64;

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
    sound: Sound,
}

/// The sound of the stream.
#[derive(Debug)]
struct Sound {
    timeline: Timeline,
    packetizer: Packetizer,
    track: Option<TrackId>,
}

impl Fanout {
    /// A fan-out whose RTP times start at random offsets, that of the picture and that of the sound.
    pub fn new(offset: u32, sound_offset: u32) -> Self {
        Self {
            timeline: Timeline::new(VIDEO_CLOCK_RATE, offset),
            packetizer: Packetizer::default(),
            history: History::default(),
            video: None,
            profile: None,
            recent: VecDeque::with_capacity(RECENT_FRAMES),
            awaiting_start: true,
            sound: Sound {
                timeline: Timeline::new(OPUS_CLOCK_RATE, sound_offset),
                packetizer: Packetizer::default(),
                track: None,
            },
        }
    }

    /// Takes what the hub delivers of the picture; gives the frame that follows from it.
    pub fn handle(&mut self, delivery: Delivery) -> Option<Arc<Frame>> {
        match delivery {
            Delivery::SourceStarted => {
                self.timeline.restart();
                // The new source's parameter sets may be others, and an answer must name the right ones.
                self.profile = None;
                self.awaiting_start = true;
                self.history.end_source();
            }
            Delivery::SourceEnded => self.history.end_source(),
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

    /// Takes what the hub delivers of the sound; gives the packet that follows from it, as a frame of its own.
    pub fn handle_sound(&mut self, delivery: Delivery) -> Option<Arc<Frame>> {
        let sound = &mut self.sound;
        match delivery {
            Delivery::SourceStarted => sound.timeline.restart(),
            Delivery::SourceEnded => {}
            Delivery::Tracks(tracks) => {
                sound.track = tracks.iter().find(|track| track.codec == Codec::Opus).map(|track| track.id);
            }
            Delivery::Unit(unit) if unit.codec == Codec::Opus && sound.track == Some(unit.track) => {
                let timestamp = sound.timeline.stamp(unit.pts, unit.arrived);
                return sound.packetizer.opus(&unit.data, timestamp, unit.arrived).map(Arc::new);
            }
            Delivery::Unit(_) => {}
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

    /// The picture's RTP time now, for sender reports: a picture's own is the time it arrived.
    pub fn rtp_time(&self, now: Instant) -> Option<u32> {
        self.timeline.at(now)
    }

    /// The sound's RTP time now, for sender reports by the same clock as the picture's: that of the sound that belongs
    /// to the picture of now, though it may arrive later. Without a picture, sound's own is the time it arrived.
    pub fn sound_time(&self, now: Instant) -> Option<u32> {
        let (picture, sound) = (self.timeline.pts_at(now), self.sound.timeline.pts_at(now));
        let picture = picture.filter(|picture| sound.is_some_and(|sound| picture.0.abs_diff(sound.0) <= MOST_APART));
        match picture {
            Some(picture) => self.sound.timeline.time_of(picture),
            None => self.sound.timeline.at(now),
        }
    }

    /// RTP timestamp and arrival of the frames of late, oldest first.
    pub fn recent(&self) -> &VecDeque<(u32, Instant)> {
        &self.recent
    }
}
