//! Stereo at 48 kHz, each sample at its time, to Opus packets of 10 ms.

use std::collections::VecDeque;

use opus::{Application, Bitrate, Channels, Encoder, SoftClip};

use super::{RATE, SoundConfig};

/// A time in 1/720000 s, so that ticks of 90 kHz and samples of 48 kHz are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fine(pub(super) i64);

impl Fine {
    pub(super) const HZ: i64 = 720_000;
    pub(super) const SAMPLE: i64 = Self::HZ / RATE as i64;
    pub(super) const TICK: i64 = Self::HZ / 90_000;

    /// In ticks of 90 kHz, to the nearest.
    pub(super) fn ticks(self) -> i64 {
        (self.0 + Self::TICK / 2).div_euclid(Self::TICK)
    }

    pub(super) fn after(self, duration: i64) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Samples of each channel in a packet: 10 ms. The first of them waits for the last, so that a packet is as much delay as
/// it is long.
const PACKET: usize = 480;

/// What begins, or goes on elsewhere, does so within 5 ms and not at once: no click.
const FADE: usize = 240;

/// A step of the timestamps of this much begins another timeline: nothing of before belongs to what follows.
pub(super) const RESTART: i64 = Fine::HZ / 2;

/// Largest frame of Opus, in bytes (RFC 6716 §3.2.1), and its table of contents.
const LARGEST: usize = 1276;

/// What an hour of everyday content needs is not much less at 10, and costs thrice as much.
const COMPLEXITY: i32 = 5;

/// Codes sound that comes in order.
pub(super) struct Packets {
    encoder: Encoder,
    limiter: SoftClip,
    /// By how much a decoder's samples are later than what went into the encoder.
    lookahead: i64,
    /// Samples for the next packet, and when the first of them is to be heard.
    pending: VecDeque<f32>,
    start: Option<Fine>,
    /// Samples of each channel to be left out, since theirs is the time of others.
    skip: usize,
    /// Samples of each channel until full loudness.
    fade: usize,
}

/// One packet and the time of its first sample when it is decoded.
pub(super) type Packet = (Fine, Vec<u8>);

impl Packets {
    /// `None` when the library has no memory, or does not know the bit rate.
    pub(super) fn new(config: SoundConfig) -> Option<Self> {
        // The sound of music and speech alike, 4 ms earlier than by the way that knows speech.
        let mut encoder = Encoder::new(RATE, Channels::Stereo, Application::LowDelay).ok()?;
        encoder.set_bitrate(Bitrate::Bits(i32::try_from(config.bitrate_bps).ok()?)).ok()?;
        encoder.set_complexity(COMPLEXITY).ok()?;
        let lookahead = i64::from(encoder.get_lookahead().ok()?) * Fine::SAMPLE;
        let limiter = SoftClip::new(Channels::Stereo);
        Some(Self { encoder, limiter, lookahead, pending: VecDeque::new(), start: None, skip: 0, fade: 0 })
    }

    /// The time of the next sample.
    fn end(&self) -> Option<Fine> {
        Some(self.start?.after((self.pending.len() / 2) as i64 * Fine::SAMPLE))
    }

    /// The samples after the next `lead`, which are to be left out, belong at `at`.
    ///
    /// A gap is silence to the end of the packet, and a step of the timestamps from there on; an
    /// overlap is left out.
    pub(super) fn seek(&mut self, at: Fine, lead: usize, out: &mut Vec<Packet>) {
        self.fade_out();
        self.fade = FADE;
        self.skip = lead;
        let Some(ahead) = self.end().map(|end| at.0.saturating_sub(end.0)).filter(|&ahead| ahead > -RESTART) else {
            self.pending.clear();
            self.start = Some(at);
            return;
        };
        if ahead < 0 {
            self.skip += usize::try_from(-ahead / Fine::SAMPLE).unwrap_or(0);
            return;
        }
        let room = (PACKET - self.pending.len() / 2) % PACKET;
        let silence = usize::try_from(ahead / Fine::SAMPLE).unwrap_or(usize::MAX).min(room);
        self.pending.extend(std::iter::repeat_n(0.0, silence * 2));
        self.code(out);
        let rest = ahead - silence as i64 * Fine::SAMPLE;
        self.start = self.start.map(|start| start.after(rest));
    }

    /// What comes next belongs this much later, or earlier.
    pub(super) fn shift(&mut self, by: i64, out: &mut Vec<Packet>) {
        if let Some(end) = self.end() {
            self.seek(end.after(by), self.skip, out);
        }
    }

    /// Takes samples that follow those before.
    pub(super) fn push(&mut self, stereo: &[f32], out: &mut Vec<Packet>) {
        let skipped = self.skip.min(stereo.len() / 2);
        self.skip -= skipped;
        for frame in stereo.chunks_exact(2).skip(skipped) {
            let gain = 1.0 - self.fade as f32 / FADE as f32;
            self.fade = self.fade.saturating_sub(1);
            self.pending.extend(frame.iter().map(|sample| sample * gain));
        }
        self.code(out);
    }

    fn code(&mut self, out: &mut Vec<Packet>) {
        while self.pending.len() >= PACKET * 2 {
            let mut samples: Vec<f32> = self.pending.drain(..PACKET * 2).collect();
            self.limiter.apply(&mut samples);
            let mut packet = vec![0; LARGEST];
            let length = self.encoder.encode_float(&samples, &mut packet);
            let start = self.start.unwrap_or_default();
            self.start = Some(start.after(PACKET as i64 * Fine::SAMPLE));
            if let Ok(length) = length {
                packet.truncate(length);
                out.push((start.after(-self.lookahead), packet));
            }
        }
    }

    fn fade_out(&mut self) {
        let frames = (self.pending.len() / 2).min(FADE);
        let first = self.pending.len() - frames * 2;
        for (at, sample) in self.pending.range_mut(first..).enumerate() {
            *sample *= 1.0 - (at / 2 + 1) as f32 / frames as f32;
        }
    }
}
