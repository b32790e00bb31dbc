//! One AAC track made Opus, on the source's own timeline.
//!
//! Time is counted along the samples, so that the rounding of timestamps does not show; where the
//! source's timestamps and its samples part for good, timestamps are followed.

use bytes::Bytes;

use super::decode::{Decoder, Format};
use super::mix::to_stereo;
use super::packets::{Fine, Packet, Packets, RESTART};
use super::resample::Resampler;
use super::{RATE, SoundConfig};
use crate::codec::aac::AdtsHeader;
use crate::media::{AccessUnit, Codec, Timestamp90k, TransformProblem};

/// Samples and timestamps that are further apart than this have parted: it is more than timestamps are
/// rounded by, and less than can be heard or seen.
const DRIFT: i64 = Fine::HZ / 200;

/// Frames in a row that have to show it before a smaller difference than most of a frame is followed: the timestamps
/// of some senders jitter.
const PARTED: i64 = 8;

/// Frames in a row that cannot be decoded, about a second, after which it is the encoder that has to change. It is
/// more than the decoders that are tried one after the other need.
const UNREADABLE: u32 = 48;

/// Makes Opus of one AAC track.
pub struct AacToOpus {
    decoder: Option<Decoder>,
    chain: Option<Chain>,
    packets: Option<Packets>,
    lost_frames: u64,
    /// Of them, those since the last that could be decoded.
    lost_in_a_row: u32,
    /// What the last of them said it was, if anything.
    unreadable: Option<AdtsHeader>,
}

/// What the samples of one format go through.
struct Chain {
    format: Format,
    clock: SampleClock,
    resampler: Resampler,
}

/// Time along the samples.
#[derive(Clone, Copy, Debug)]
struct SampleClock {
    start: Fine,
    samples: u64,
    rate: u32,
    parted: Parted,
}

/// Frames in a row that were all stamped later, or all earlier, than their samples.
#[derive(Clone, Copy, Debug, Default)]
struct Parted {
    frames: i64,
    sum: i64,
}

impl AacToOpus {
    /// At this bit rate.
    pub fn new(config: SoundConfig) -> Self {
        Self {
            decoder: None,
            chain: None,
            packets: Packets::new(config),
            lost_frames: 0,
            lost_in_a_row: 0,
            unreadable: None,
        }
    }

    /// Frames that could not be decoded.
    pub fn lost_frames(&self) -> u64 {
        self.lost_frames
    }

    /// Why nothing is heard, when nothing has been decoded for about a second.
    pub fn problem(&self) -> Option<TransformProblem> {
        if self.lost_in_a_row < UNREADABLE {
            return None;
        }
        let what = self.unreadable.map_or("no AAC in ADTS frames".into(), |header| {
            let channels = header.channels().map_or("an unknown number of".into(), |channels| channels.to_string());
            format!("{}, {channels} channels, {} Hz", header.profile_name(), header.sample_rate())
        });
        Some(TransformProblem {
            code: "sound_unreadable",
            text: format!(
                "The sound cannot be decoded ({what}), so that viewers hear none. Set the encoder's sound to AAC-LC, \
                 stereo, 48 kHz."
            ),
        })
    }

    /// Takes one ADTS frame and gives the packets that are whole with it.
    pub fn push(&mut self, unit: &AccessUnit) -> Vec<AccessUnit> {
        let mut packets = Vec::new();
        if self.take(unit, &mut packets).is_some() {
            self.lost_in_a_row = 0;
        } else {
            self.lost_frames += 1;
            self.lost_in_a_row = self.lost_in_a_row.saturating_add(1);
            self.unreadable = AdtsHeader::parse(&unit.data);
        }
        let made = |(time, data): Packet| {
            let pts = Timestamp90k(time.ticks());
            let (codec, data) = (Codec::Opus, Bytes::from(data));
            AccessUnit { track: unit.track, codec, pts, dts: pts, random_access: true, data, arrived: unit.arrived }
        };
        packets.into_iter().map(made).collect()
    }

    fn take(&mut self, unit: &AccessUnit, out: &mut Vec<Packet>) -> Option<()> {
        let header = AdtsHeader::parse(&unit.data).filter(|header| header.frame_length == unit.data.len())?;
        let pts = Fine(unit.pts.0.checked_mul(Fine::TICK)?);
        let packets = self.packets.as_mut()?;
        let off = self.chain.as_ref().map_or(0, |chain| chain.clock.offset(pts));
        if off.abs() >= RESTART || self.decoder.as_ref().is_some_and(|decoder| !decoder.fits(&header)) {
            (self.decoder, self.chain) = (None, None);
        }
        if self.decoder.is_none() {
            self.decoder = Decoder::new(&header);
        }
        let (format, samples) = self.decoder.as_mut()?.decode(&header, &unit.data)?;

        match &mut self.chain {
            Some(chain) if chain.format == format => {
                if let Some(by) = chain.clock.follow(off, (samples.len() / format.channels) as i64) {
                    packets.shift(by, out);
                }
            }
            chain => {
                let new = Chain::new(format, pts)?;
                let (delay, lead) = new.delay();
                packets.seek(pts.after(lead as i64 * Fine::SAMPLE - delay), lead, out);
                *chain = Some(new);
            }
        }
        let chain = self.chain.as_mut()?;
        chain.clock.samples += (samples.len() / format.channels) as u64;
        let (mut stereo, mut resampled) = (Vec::new(), Vec::new());
        to_stereo(samples, format.channels, &mut stereo);
        chain.resampler.push(&stereo, &mut resampled);
        packets.push(&resampled, out);
        Some(())
    }
}

impl Chain {
    fn new(format: Format, start: Fine) -> Option<Self> {
        let clock = SampleClock { start, samples: 0, rate: format.rate, parted: Parted::default() };
        Some(Self { format, clock, resampler: Resampler::new(format.rate)? })
    }

    /// By how much what comes out is later than what goes in, and the samples at 48 kHz before the first that counts.
    fn delay(&self) -> (i64, usize) {
        let samples = self.format.delay.saturating_add(self.resampler.delay());
        let delay = i64::from(samples) * Fine::HZ / i64::from(self.format.rate.max(1));
        let lead = u64::from(samples) * u64::from(RATE) / u64::from(self.format.rate.max(1));
        (delay, usize::try_from(lead).unwrap_or(0))
    }
}

impl SampleClock {
    /// By how much later than its samples a frame is stamped.
    fn offset(&self, pts: Fine) -> i64 {
        pts.0.saturating_sub(self.now().0)
    }

    /// Follows the timestamp of a frame of `samples` that is so much later than the samples before it, where that is
    /// more than jitter; says by how much.
    fn follow(&mut self, off: i64, samples: i64) -> Option<i64> {
        let frame = samples * Fine::HZ / i64::from(self.rate.max(1));
        let Parted { mut frames, mut sum } = std::mem::take(&mut self.parted);
        if off.abs() <= DRIFT {
            return None;
        }
        if sum.signum() != off.signum() {
            (frames, sum) = (0, 0);
        }
        (frames, sum) = (frames + 1, sum + off);
        // What is missing is whole frames; jitter of 8 ms either way is three quarters of one.
        let by = if off.abs() >= frame / 8 * 7 {
            off
        } else if frames >= PARTED {
            sum / frames
        } else {
            self.parted = Parted { frames, sum };
            return None;
        };
        self.start = self.start.after(by);
        Some(by)
    }

    /// The time of the next sample.
    fn now(&self) -> Fine {
        let since = u128::from(self.samples) * Fine::HZ as u128 / u128::from(self.rate.max(1));
        self.start.after(i64::try_from(since).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_rounded_timestamps_is_no_drift() {
        for (rate, round) in [(44_100, 1.0), (48_000, 1.0), (44_100, 90.0), (48_000, 90.0)] {
            let mut clock = SampleClock { start: Fine(0), samples: 0, rate, parted: Parted::default() };
            while clock.samples < u64::from(rate) * 3600 {
                let ticks = clock.samples as f64 * 90_000.0 / f64::from(rate);
                let pts = Fine((ticks / round).floor() as i64 * round as i64 * Fine::TICK);
                assert!(clock.offset(pts).abs() <= round as i64 * Fine::TICK, "{rate} Hz, sample {}", clock.samples);
                clock.samples += 1024;
            }
        }
    }
}
