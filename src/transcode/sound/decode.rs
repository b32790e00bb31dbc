//! ADTS frames of AAC to samples, by libraries.
//!
//! What cameras and mixers send, AAC-LC in mono and stereo, is decoded by `symphonia`: safe Rust,
//! and no delay. The rest (more channels, and the low rates of which HE-AAC is made) is decoded by
//! the FDK library, which brings a frame and 15 ms of delay of its own.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fdk_aac::dec::{Decoder as Fdk, DecoderError, Transport};
use symphonia_codec_aac::AacDecoder;
use symphonia_core::audio::layouts::{CHANNEL_LAYOUT_MONO, CHANNEL_LAYOUT_STEREO};
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};

use crate::codec::aac::{AdtsHeader, HEADER};

/// Below this a stream may be the core of HE-AAC, whose header does not say so.
const LOWEST_PLAIN_RATE: u32 = 32_000;

/// Channels and samples of each that a frame can become, four raw data blocks of doubled rate.
const MOST_SAMPLES: usize = 8 * 4 * 2048;

/// Frames in a row after which the simple decoder begins anew. After as many again it is not the one for this stream.
const MOST_FAILURES: u32 = 5;

/// AAC-LC, as ADTS counts object types.
const LOW_COMPLEXITY: u8 = 2;

/// The channel configuration whose inner pair, "centre front" in ISO/IEC 14496-3 Table 1.19, encoders use for
/// the main left and right, and the outer pair for the sides.
const SEVEN_ONE: u8 = 7;

/// By how many samples spectral band replication is late (ISO/IEC 14496-3 §1.6.7.2). Encoders of HE-AAC stamp their
/// frames for it, so that it is no delay of ours.
const REPLICATION: u32 = 962;

/// Errors after which the FDK library has filled the gap itself.
const CONCEALED: [DecoderError; 4] = [
    DecoderError::PARSE_ERROR,
    DecoderError::DECODE_FRAME_ERROR,
    DecoderError::CRC_ERROR,
    DecoderError::INVALID_CODE_BOOK,
];

/// What the samples of a decoder are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Samples per second of each channel.
    pub(super) rate: u32,
    /// Channels, in the order of WAV files.
    pub(super) channels: usize,
    /// How many samples of each channel come before the one that has the PTS.
    pub(super) delay: u32,
}

/// Decodes one AAC track.
pub(super) struct Decoder {
    library: Library,
    /// Of the frames it is for.
    header: AdtsHeader,
    failures: u32,
    samples: Vec<f32>,
}

enum Library {
    Symphonia(Box<AacDecoder>),
    Fdk { decoder: Fdk, output: Vec<i16> },
}

impl Decoder {
    /// For frames like this one. `None` when no library has a decoder for them.
    pub(super) fn new(header: &AdtsHeader) -> Option<Self> {
        let library = match plain(header) {
            Some(channels) => Library::symphonia(header, channels)?,
            None => Library::fdk(header),
        };
        Some(Self { library, header: *header, failures: 0, samples: Vec::new() })
    }

    /// Whether it is for frames like this one.
    pub(super) fn fits(&self, header: &AdtsHeader) -> bool {
        self.header.same_stream(header) && plain(&self.header).is_some() == plain(header).is_some()
    }

    /// The samples of one whole frame, channel by channel at each time, from -1 to 1. `None` when it cannot be decoded.
    pub(super) fn decode(&mut self, header: &AdtsHeader, frame: &[u8]) -> Option<(Format, &[f32])> {
        self.samples.clear();
        let format = match &mut self.library {
            Library::Symphonia(decoder) => symphonia(decoder, header, frame, &mut self.samples),
            Library::Fdk { decoder, output } => fdk(decoder, header, frame, output, &mut self.samples),
        };
        self.failures = if format.is_some() { 0 } else { self.failures.saturating_add(1) };
        let next = match (&self.library, self.failures) {
            (_, 0) => None,
            (Library::Symphonia(_), MOST_FAILURES) => {
                plain(header).and_then(|channels| Library::symphonia(header, channels))
            }
            (Library::Symphonia(_), failures) => (failures == 2 * MOST_FAILURES).then(|| Library::fdk(header)),
            // What it may still hold of a frame that it could not read would make all that follows late.
            (Library::Fdk { .. }, _) => Some(Library::fdk(header)),
        };
        if let Some(next) = next {
            self.library = next;
        }
        Some((format?, &self.samples))
    }
}

impl Library {
    fn symphonia(header: &AdtsHeader, channels: symphonia_core::audio::Channels) -> Option<Self> {
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_AAC).with_sample_rate(header.sample_rate()).with_channels(channels);
        Some(Self::Symphonia(Box::new(AacDecoder::try_new(&parameters, &AudioDecoderOptions::default()).ok()?)))
    }

    fn fdk(header: &AdtsHeader) -> Self {
        let mut decoder = Fdk::new(Transport::Adts);
        if header.channel_configuration == SEVEN_ONE {
            // It would mix the inner pair away. Should it refuse, it does.
            let _ = decoder.set_min_output_channels(8).and_then(|()| decoder.set_max_output_channels(8));
        }
        Self::Fdk { decoder, output: vec![0; MOST_SAMPLES] }
    }
}

/// The channels of a frame that the simple decoder takes.
fn plain(header: &AdtsHeader) -> Option<symphonia_core::audio::Channels> {
    let lc = header.object_type == LOW_COMPLEXITY && header.blocks == 1;
    match header.channel_configuration {
        _ if !lc || header.sample_rate() < LOWEST_PLAIN_RATE => None,
        1 => Some(CHANNEL_LAYOUT_MONO),
        2 => Some(CHANNEL_LAYOUT_STEREO),
        _ => None,
    }
}

fn symphonia(decoder: &mut AacDecoder, header: &AdtsHeader, frame: &[u8], samples: &mut Vec<f32>) -> Option<Format> {
    let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, frame.get(header.header_length..)?);
    // Should it fall over bytes that nobody foresaw, it costs that frame.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let decoded = decoder.decode_ref(&packet).ok()?;
        decoded.copy_to_vec_interleaved(samples);
        Some(decoded.spec().channels().count())
    }));
    let channels = decoded.ok()??;
    Some(Format { rate: header.sample_rate(), channels, delay: 0 })
}

/// The frame as one of a stream of variable bit rate: FDK delays one of constant rate by as many frames as its
/// bit reservoir may hold (ISO/IEC 13818-7 §6.2.3, `adts_buffer_fullness`). A checksum of one block goes.
fn at_once<'a>(header: &AdtsHeader, frame: &'a [u8]) -> Cow<'a, [u8]> {
    let (Some(&[sync, flags, profile, channels, _, _, blocks]), Some(body)) =
        (frame.first_chunk::<HEADER>(), frame.get(header.header_length..))
    else {
        return frame.into();
    };
    if header.blocks > 1 && header.header_length > HEADER {
        return frame.into();
    }
    let length = HEADER + body.len();
    let byte = |shift: u32| (length >> shift & 0xff) as u8;
    let start = [
        sync,
        flags | 1,
        profile,
        channels & 0xfc | byte(11),
        byte(3),
        (length << 5 & 0xe0) as u8 | 0x1f,
        blocks | 0xfc,
    ];
    [start.as_slice(), body].concat().into()
}

fn fdk(
    decoder: &mut Fdk,
    header: &AdtsHeader,
    frame: &[u8],
    output: &mut [i16],
    samples: &mut Vec<f32>,
) -> Option<Format> {
    let frame = at_once(header, frame);
    if decoder.fill(&frame).ok()? != frame.len() {
        return None;
    }
    let mut format = None;
    for _ in 0..header.blocks {
        match decoder.decode_frame(output) {
            Ok(()) => {}
            Err(err) if CONCEALED.contains(&err) => {}
            Err(_) => return None,
        }
        let info = decoder.stream_info();
        let rate = u32::try_from(info.sampleRate).ok().filter(|rate| (7000..=96_000).contains(rate))?;
        let replicated = rate == header.sample_rate() * 2;
        let block = Format {
            rate,
            channels: usize::try_from(info.numChannels).ok().filter(|channels| (1..=8).contains(channels))?,
            delay: info.outputDelay.saturating_sub(if replicated { REPLICATION } else { 0 }),
        };
        if format.replace(block).is_some_and(|before| before != block) {
            return None;
        }
        let count = usize::try_from(info.frameSize).ok()?.checked_mul(block.channels)?;
        samples.extend(output.get(..count)?.iter().map(|&sample| f32::from(sample) / 32_768.0));
    }
    if header.channel_configuration == SEVEN_ONE && format.is_some_and(|format| format.channels == 8) {
        for frame in samples.as_chunks_mut::<8>().0 {
            frame.swap(0, 6);
            frame.swap(1, 7);
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, MediaItem};
    use crate::mpegts::Demuxer;

    fn frame() -> Vec<u8> {
        let mut demuxer = Demuxer::new();
        demuxer.push(
            crate::clock::Clock::manual().0.now(),
            include_bytes!("../../../tests/fixtures/h264_aac48.mpegts").as_slice(),
        );
        let frame = std::iter::from_fn(|| demuxer.poll()).find_map(|item| match item {
            MediaItem::Unit(unit) if unit.codec == Codec::Aac => Some(unit.data.to_vec()),
            _ => None,
        });
        frame.unwrap()
    }

    #[test]
    fn the_simple_decoder_is_tried_afresh_before_the_other_takes_over() {
        let frame = frame();
        let header = AdtsHeader::parse(&frame).unwrap();
        for (broken, simple) in [(5, true), (9, true), (10, false)] {
            let mut decoder = Decoder::new(&header).unwrap();
            for _ in 0..broken {
                assert!(decoder.decode(&header, &frame[..HEADER + 1]).is_none());
            }
            let mut delay = || decoder.decode(&header, &frame).map(|(format, _)| format.delay);
            let delays: Vec<_> = (0..4).filter_map(|_| delay()).collect();
            assert_eq!(delays.iter().all(|&delay| delay == 0), simple, "{broken}: {delays:?}");
            assert!(!delays.is_empty());
        }
    }
}
