//! Which of the offered H.264 payload types a stream fits (RFC 6184 §8.1, §8.2.2).

use super::Codec;

/// `profile-level-id`: profile_idc, constraint flags and level_idc as they stand in the SPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileLevelId(pub [u8; 3]);

/// Profiles that differ for a decoder (RFC 6184 table 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    /// High 4:4:4 Predictive, High 10, High 4:2:2: supersets of High.
    Above,
    Other,
}

impl ProfileLevelId {
    /// Reads the six hexadecimal digits of the parameter.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 6 {
            return None;
        }
        let value = u32::from_str_radix(text, 16).ok()?;
        let [_, profile, constraints, level] = value.to_be_bytes();
        Some(Self([profile, constraints, level]))
    }

    fn profile(self) -> Profile {
        let [profile, constraints, _] = self.0;
        match (profile, constraints) {
            // constraint_set1: what is common to Baseline and Main.
            (66, c) if c & 0x40 != 0 => Profile::ConstrainedBaseline,
            (77, c) if c & 0x80 != 0 => Profile::ConstrainedBaseline,
            (88, c) if c & 0xc0 == 0xc0 => Profile::ConstrainedBaseline,
            (66, _) => Profile::Baseline,
            (88, c) if c & 0x80 != 0 => Profile::Baseline,
            (77, _) => Profile::Main,
            // constraint_set4 and 5: progressive, without B slices.
            (100, c) if c & 0x0c == 0x0c => Profile::ConstrainedHigh,
            (100, _) => Profile::High,
            (110 | 122 | 244, _) => Profile::Above,
            _ => Profile::Other,
        }
    }

    /// What the stream may be offered as, best first. Streams reach browsers progressive and
    /// without B-frames, so the constrained form of a profile decodes the full one as well.
    /// Baseline stands last for the higher profiles: an offer that lists nothing else comes from a
    /// decoder that takes them all the same, but one that lists both shows black when given it.
    fn fits(self) -> &'static [Profile] {
        use Profile::*;
        match self.profile() {
            ConstrainedBaseline => &[ConstrainedBaseline, Baseline, Main, ConstrainedHigh, High, Above],
            Baseline => &[Baseline, ConstrainedBaseline, Main, High, ConstrainedHigh, Above],
            Main => &[Main, High, ConstrainedHigh, Above, ConstrainedBaseline, Baseline],
            ConstrainedHigh => &[ConstrainedHigh, High, Above, Main, ConstrainedBaseline, Baseline],
            High => &[High, ConstrainedHigh, Above, Main, ConstrainedBaseline, Baseline],
            Above | Other => &[Above, High, ConstrainedHigh, Main, ConstrainedBaseline, Baseline],
        }
    }

    /// The offered payload type that fits the stream best, and the `profile-level-id` to answer:
    /// the offer's profile, with the stream's level where the offer allows levels to differ.
    pub(super) fn choose(self, codecs: &[Codec]) -> Option<(&Codec, Self)> {
        // Absent means Baseline, level 1 (RFC 6184 §8.1).
        let offered = |codec: &Codec| match codec.parameter("profile-level-id") {
            None => Some(Self([66, 0, 10])),
            Some(text) => Self::parse(text),
        };
        let candidates: Vec<_> = codecs
            .iter()
            .filter(|codec| codec.name.eq_ignore_ascii_case("H264") && codec.clock_rate == 90_000)
            .filter(|codec| codec.parameter("packetization-mode") == Some("1"))
            .filter_map(|codec| Some((codec, offered(codec)?)))
            .collect();
        let (codec, theirs) = self
            .fits()
            .iter()
            .find_map(|profile| candidates.iter().find(|(_, offered)| offered.profile() == *profile))
            .copied()?;
        let level = if codec.parameter("level-asymmetry-allowed") == Some("1") { self.0[2] } else { theirs.0[2] };
        Some((codec, Self([theirs.0[0], theirs.0[1], level])))
    }
}

impl std::fmt::Display for ProfileLevelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [profile, constraints, level] = self.0;
        write!(f, "{profile:02x}{constraints:02x}{level:02x}")
    }
}
