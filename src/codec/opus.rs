//! Opus packets: the table-of-contents byte (RFC 6716 §3.1) and the packet's duration.

/// What the first bytes of an Opus packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toc {
    /// Whether the packet is stereo.
    pub stereo: bool,
    /// Length of one frame, in samples at 48 kHz.
    pub frame_samples: u32,
    /// Frames in the packet, 1 to 48.
    pub frames: u32,
}

impl Toc {
    /// Reads the table of contents. `None` when the packet is empty or longer than 120 ms (§3.4).
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let &toc = packet.first()?;
        let config = toc >> 3;
        let frame_samples = match config {
            0..=11 => [480, 960, 1920, 2880].get(usize::from(config % 4)).copied()?,
            12..=15 => [480, 960].get(usize::from(config % 2)).copied()?,
            _ => [120, 240, 480, 960].get(usize::from(config % 4)).copied()?,
        };
        let frames = match toc & 3 {
            0 => 1,
            1 | 2 => 2,
            _ => u32::from(packet.get(1)? & 0x3f),
        };
        let toc = Self { stereo: toc & 4 != 0, frame_samples, frames };
        (frames > 0 && toc.samples() <= 5760).then_some(toc)
    }

    /// Samples of each channel in the packet, at 48 kHz.
    pub fn samples(&self) -> u32 {
        self.frame_samples * self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_duration_of_a_packet() {
        assert_eq!(Toc::parse(&[0xfc, 0]), Some(Toc { stereo: true, frame_samples: 960, frames: 1 }));
        assert_eq!(Toc::parse(&[0x78, 0]).map(|toc| toc.samples()), Some(960));
        assert_eq!(Toc::parse(&[0x03, 2]).map(|toc| toc.samples()), Some(960));
        assert_eq!(Toc::parse(&[0xff, 0]), None, "no frames");
        assert_eq!(Toc::parse(&[0xff, 48]), None, "960 ms");
        assert_eq!(Toc::parse(&[0xff]), None);
        assert_eq!(Toc::parse(&[]), None);
    }
}
