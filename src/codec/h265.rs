//! ITU-T H.265: NAL unit types, the sequence parameter set's picture size and profile.

use super::annexb::unescape;
use super::bits::BitReader;

/// `nal_unit_type` (H.265 Table 7-1), of those that anything here tells apart.
pub mod nal_type {
    /// Video parameter set.
    pub const VPS: u8 = 32;
    /// Sequence parameter set.
    pub const SPS: u8 = 33;
    /// Picture parameter set.
    pub const PPS: u8 = 34;
    /// Access unit delimiter.
    pub const AUD: u8 = 35;
    /// Supplemental enhancement information before the picture.
    pub const SEI_PREFIX: u8 = 39;
}

/// The `nal_unit_type` of a NAL unit.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|header| header >> 1 & 0x3f)
}

/// Whether a slice of this type is of a picture at which decoding can start: BLA, IDR or CRA (IRAP).
pub fn is_random_access(kind: u8) -> bool {
    (16..=23).contains(&kind)
}

/// `first_slice_segment_in_pic_flag` of a slice's NAL unit.
pub fn first_slice_in_picture(nal: &[u8]) -> bool {
    nal.get(2).is_some_and(|byte| byte & 0x80 != 0)
}

/// A sequence parameter set, as far as a description needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `general_profile_idc`.
    pub profile_idc: u8,
    /// `general_tier_flag`: High tier.
    pub high_tier: bool,
    /// `general_level_idc`, thirty times the level.
    pub level_idc: u8,
    /// `sps_seq_parameter_set_id`, 0 to 15.
    pub id: u8,
    /// `chroma_format_idc`.
    pub chroma_format_idc: u8,
    /// Width of the picture shown, in samples.
    pub width: u32,
    /// Height of the picture shown, in samples.
    pub height: u32,
}

impl Sps {
    /// Reads a sequence parameter set (H.265 §7.3.2.2.1) from its NAL unit, header included.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if nal_type(nal)? != nal_type::SPS {
            return None;
        }
        let payload = unescape(nal.get(2..nal.len().min(512))?);
        let mut r = BitReader::new(&payload);
        r.bits(4)?; // sps_video_parameter_set_id
        let sub_layers = r.bits(3)?; // sps_max_sub_layers_minus1
        r.bit()?;
        // profile_tier_level, §7.3.3
        r.bits(2)?;
        let high_tier = r.bit()?;
        let profile_idc = r.bits(5)? as u8;
        r.skip(32 + 48)?;
        let level_idc = r.bits(8)? as u8;
        let mut present = Vec::new();
        for _ in 0..sub_layers {
            present.push((r.bit()?, r.bit()?));
        }
        if sub_layers > 0 {
            r.skip(2 * (8 - sub_layers as usize))?;
        }
        for (profile, level) in present {
            r.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
        let id = u8::try_from(r.ue()?).ok().filter(|&id| id < 16)?;
        let chroma_format_idc = u8::try_from(r.ue()?).ok().filter(|&idc| idc < 4)?;
        if chroma_format_idc == 3 {
            r.bit()?; // separate_colour_plane_flag: either way nothing is subsampled
        }
        let side = |value: u32| (1..=16384).contains(&value).then_some(value);
        let (coded_width, coded_height) = (side(r.ue()?)?, side(r.ue()?)?);
        let (mut width, mut height) = (coded_width, coded_height);
        if r.bit()? {
            let (across, down) = match chroma_format_idc {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            let mut edge = || r.ue().filter(|&value| value < 1 << 14);
            let [left, right, top, bottom] = [edge()?, edge()?, edge()?, edge()?];
            width = width.checked_sub((left + right) * across)?;
            height = height.checked_sub((top + bottom) * down)?;
        }
        (width > 0 && height > 0).then_some(Self {
            profile_idc,
            high_tier,
            level_idc,
            id,
            chroma_format_idc,
            width,
            height,
        })
    }

    /// The profile's and level's name: `Main 4.1`.
    pub fn profile_name(&self) -> String {
        let profile = match self.profile_idc {
            1 => "Main".into(),
            2 => "Main 10".into(),
            3 => "Main Still Picture".into(),
            4 => "Range Extensions".into(),
            other => format!("profile {other}"),
        };
        let tier = if self.high_tier { " High tier" } else { "" };
        format!("{profile}{tier} {}.{}", self.level_idc / 30, self.level_idc % 30 / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_irap_pictures_are_random_access() {
        assert!([16, 19, 20, 21].into_iter().all(is_random_access));
        assert!([0, 1, 9, 15, 32].into_iter().all(|kind| !is_random_access(kind)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = Sps::parse(&data);
            if let Some(first) = data.first_mut() { *first = nal_type::SPS << 1; }
            let _ = Sps::parse(&data);
        }
    }
}
