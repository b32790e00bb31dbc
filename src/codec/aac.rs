//! AAC in ADTS frames (ISO/IEC 13818-7 §6.2; ISO/IEC 14496-3 §1.A.2.2).

/// Shortest ADTS header, in bytes.
pub const HEADER: usize = 7;

/// Samples of one raw data block.
pub const BLOCK_SAMPLES: u32 = 1024;

const RATES: [u32; 13] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// The header of an ADTS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdtsHeader {
    /// MPEG-4 audio object type: 2 is AAC-LC.
    pub object_type: u8,
    /// Index of the sample rate, 0 to 12.
    pub rate_index: u8,
    /// `channel_configuration`, 0 (said in the frame itself) to 7.
    pub channel_configuration: u8,
    /// Length of the frame, header included, in bytes.
    pub frame_length: usize,
    /// Length of the header with its CRC, in bytes.
    pub header_length: usize,
    /// Raw data blocks in the frame, 1 to 4.
    pub blocks: u8,
}

impl AdtsHeader {
    /// Reads the header at the start of `data`. `None` when there is none, or less than 7 bytes.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[sync, flags, profile, channels, length, fullness, blocks] = data.first_chunk::<HEADER>()?;
        // Syncword of twelve ones, layer 0.
        if sync != 0xff || flags & 0xf6 != 0xf0 {
            return None;
        }
        let header_length = if flags & 1 == 1 { HEADER } else { HEADER + 2 };
        let frame_length = usize::from(channels & 3) << 11 | usize::from(length) << 3 | usize::from(fullness >> 5);
        let rate_index = profile >> 2 & 0xf;
        if usize::from(rate_index) >= RATES.len() || frame_length <= header_length {
            return None;
        }
        Some(Self {
            object_type: (profile >> 6) + 1,
            rate_index,
            channel_configuration: (profile & 1) << 2 | channels >> 6,
            frame_length,
            header_length,
            blocks: (blocks & 3) + 1,
        })
    }

    /// Samples per second.
    pub fn sample_rate(&self) -> u32 {
        RATES.get(usize::from(self.rate_index)).copied().unwrap_or(48000)
    }

    /// Channels, if the header says so.
    pub fn channels(&self) -> Option<u8> {
        match self.channel_configuration {
            0 => None,
            7 => Some(8),
            count => Some(count),
        }
    }

    /// Samples of each channel in the frame.
    pub fn samples(&self) -> u32 {
        u32::from(self.blocks) * BLOCK_SAMPLES
    }

    /// Whether both can be frames of one stream: all that stays the same from frame to frame does.
    pub fn same_stream(&self, other: &Self) -> bool {
        self.object_type == other.object_type
            && self.rate_index == other.rate_index
            && self.channel_configuration == other.channel_configuration
    }

    /// The AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) that says the same, as MP4, FLV and RTP carry it.
    pub fn audio_specific_config(&self) -> [u8; 2] {
        [
            self.object_type << 3 | self.rate_index >> 1,
            (self.rate_index & 1) << 7 | (self.channel_configuration & 0xf) << 3,
        ]
    }

    /// The profile's name.
    pub fn profile_name(&self) -> &'static str {
        match self.object_type {
            1 => "AAC Main",
            2 => "AAC-LC",
            3 => "AAC SSR",
            _ => "AAC LTP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ffmpeg_writes() {
        // AAC-LC, 44.1 kHz, stereo, 371 bytes, no CRC.
        let header = AdtsHeader::parse(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!((header.object_type, header.sample_rate(), header.channels()), (2, 44100, Some(2)));
        assert_eq!((header.frame_length, header.header_length, header.samples()), (371, 7, 1024));
        assert_eq!(header.audio_specific_config(), [0x12, 0x10]);
    }

    proptest::proptest! {
        #[test]
        fn a_header_that_is_read_is_within_bounds(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..12)) {
            super::super::fuzzing::aac(&data);
        }
    }
}
