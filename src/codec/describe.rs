//! What a track is, for people: size, frame rate, bit rate, group of pictures.

use std::collections::VecDeque;
use std::time::Duration;

use crate::media::{AccessUnit, Codec, Timestamp90k};

use super::{LONGEST_PARAMETER_SET, Reordering, aac, annexb, h264, h265, opus};

/// Bit rate and frame rate are of this much media time.
const WINDOW: i64 = 2 * Timestamp90k::HZ;

/// Units remembered at most, whatever their timestamps say.
const MOST_UNITS: usize = 1024;

/// Longer steps between units are an interruption.
const LONGEST_STEP: i64 = 5 * Timestamp90k::HZ;

/// A picture without a random access point for so long has a setting that must be changed.
const LONGEST_GROUP: i64 = 12 * Timestamp90k::HZ;

/// What is known of a track. What was not seen yet is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// How it is coded.
    pub codec: Codec,
    /// Profile and level: `High 4.1`, `AAC-LC`.
    pub profile: Option<String>,
    /// Width of the picture, in samples.
    pub width: Option<u32>,
    /// Height of the picture, in samples.
    pub height: Option<u32>,
    /// Pictures per second, by the timestamps of about 2 s.
    pub fps: Option<f64>,
    /// Bits per second of about 2 s.
    pub bitrate_bps: Option<u64>,
    /// Pictures from one random access point to the next, of the last whole group.
    pub gop_frames: Option<u32>,
    /// Length of the last whole group.
    pub gop_duration: Option<Duration>,
    /// Whether pictures are sent in another order than they are shown in.
    pub has_b_frames: bool,
    /// Whether a picture has had no random access point for more than 12 s of its own time.
    pub no_keyframe: bool,
    /// Samples of sound per second.
    pub sample_rate: Option<u32>,
    /// Channels of sound.
    pub channels: Option<u8>,
}

/// Watches the units of one track and describes it. Reads headers only.
#[derive(Clone, Debug)]
pub struct Describer {
    now: Description,
    sps: Vec<u8>,
    reordering: Reordering,
    recent: VecDeque<(Timestamp90k, usize)>,
    group: Option<(Timestamp90k, u32)>,
    /// The last random access point, or what came first.
    waiting_since: Option<Timestamp90k>,
}

impl Describer {
    /// For a track of this codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            now: Description {
                codec,
                profile: None,
                width: None,
                height: None,
                fps: None,
                bitrate_bps: None,
                gop_frames: None,
                gop_duration: None,
                has_b_frames: false,
                no_keyframe: false,
                sample_rate: None,
                channels: None,
            },
            sps: Vec::new(),
            reordering: Reordering::new(),
            recent: VecDeque::new(),
            group: None,
            waiting_since: None,
        }
    }

    /// Takes the next unit of the track.
    pub fn push(&mut self, unit: &AccessUnit) {
        if unit.codec != self.now.codec {
            *self = Self::new(unit.codec);
        }
        self.remember(unit);
        match unit.codec {
            Codec::H264 | Codec::H265 => self.push_video(unit),
            Codec::Aac => {
                if let Some(header) = aac::AdtsHeader::parse(&unit.data) {
                    self.now.profile.get_or_insert_with(|| header.profile_name().into());
                    self.now.sample_rate = Some(header.sample_rate());
                    self.now.channels = header.channels();
                }
            }
            Codec::Opus => {
                if let Some(toc) = opus::Toc::parse(&unit.data) {
                    self.now.sample_rate = Some(48_000);
                    self.now.channels = Some(if toc.stereo { 2 } else { 1 });
                }
            }
        }
    }

    /// What the headers said by now; rates are left out.
    pub fn known(&self) -> &Description {
        &self.now
    }

    /// What is known by now.
    pub fn describe(&self) -> Description {
        let mut description = self.now.clone();
        description.bitrate_bps = self.bitrate();
        if description.codec.is_video() {
            description.fps = self.frame_rate();
        }
        description
    }

    fn remember(&mut self, unit: &AccessUnit) {
        if let Some(&(last, _)) = self.recent.back()
            && !(0..LONGEST_STEP).contains(&unit.dts.ticks_since(last))
        {
            self.recent.clear();
            self.group = None;
            self.waiting_since = None;
        }
        self.recent.push_back((unit.dts, unit.data.len()));
        while self.recent.len() > MOST_UNITS
            || self.recent.front().is_some_and(|&(first, _)| unit.dts.ticks_since(first) > WINDOW)
        {
            self.recent.pop_front();
        }
    }

    fn push_video(&mut self, unit: &AccessUnit) {
        self.reordering.push(unit);
        self.now.has_b_frames = self.reordering.found();
        if unit.random_access {
            self.waiting_since = Some(unit.dts);
            if let Some((since, frames)) = self.group {
                self.now.gop_frames = Some(frames);
                let ticks = u64::try_from(unit.dts.ticks_since(since)).unwrap_or(0);
                self.now.gop_duration = Some(Duration::from_micros(ticks.saturating_mul(100) / 9));
            }
            self.group = Some((unit.dts, 0));
            self.read_sps(unit);
        }
        if let Some((_, frames)) = &mut self.group {
            *frames = frames.saturating_add(1);
        }
        let since = *self.waiting_since.get_or_insert(unit.dts);
        self.now.no_keyframe = unit.dts.ticks_since(since) > LONGEST_GROUP;
    }

    fn read_sps(&mut self, unit: &AccessUnit) {
        let is_sps = |nal: &&[u8]| match unit.codec {
            Codec::H264 => h264::nal_type(nal) == Some(h264::nal_type::SPS),
            _ => h265::nal_type(nal) == Some(h265::nal_type::SPS),
        };
        // Parameter sets come first: the slices, nearly all of the bytes, are not walked.
        let Some(nal) = annexb::nals(&unit.data).take(16).find(is_sps) else { return };
        if nal == self.sps || nal.len() > LONGEST_PARAMETER_SET {
            return;
        }
        let found = match unit.codec {
            Codec::H264 => h264::Sps::parse(nal).map(|sps| (sps.profile_name(), sps.width(), sps.height())),
            _ => h265::Sps::parse(nal).map(|sps| (sps.profile_name(), sps.width, sps.height)),
        };
        if let Some((profile, width, height)) = found {
            self.sps = nal.to_vec();
            self.now.profile = Some(profile);
            self.now.width = Some(width);
            self.now.height = Some(height);
        }
    }

    fn bitrate(&self) -> Option<u64> {
        let (&(first, first_size), &(last, _)) = (self.recent.front()?, self.recent.back()?);
        let ticks = u64::try_from(last.ticks_since(first)).ok().filter(|&ticks| ticks > 0)?;
        // The sizes of as many units as there are steps between them. All but the oldest, whose
        // place the newest takes, so that a window of whole groups counts each key frame once.
        let bytes: usize = self.recent.iter().map(|&(_, size)| size).sum::<usize>() - first_size;
        u64::try_from(bytes as u128 * 8 * 90_000 / u128::from(ticks)).ok()
    }

    /// The mean of the steps, leaving out those far from the median: lost pictures and doubled
    /// timestamps must not show, and times rounded to milliseconds must not matter.
    fn frame_rate(&self) -> Option<f64> {
        let mut steps: Vec<i64> = self
            .recent
            .iter()
            .zip(self.recent.iter().skip(1))
            .map(|((a, _), (b, _))| b.ticks_since(*a))
            .filter(|&step| step > 0)
            .collect();
        steps.sort_unstable();
        let median = *steps.get(steps.len() / 2)?;
        let usual = steps.iter().filter(|&&step| step * 2 > median && step * 2 < median * 3);
        let (count, sum) = usual.fold((0i64, 0i64), |(count, sum), step| (count + 1, sum + step));
        (sum > 0).then(|| (count as f64 * 90_000.0 / sum as f64 * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests;
