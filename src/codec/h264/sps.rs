//! The sequence parameter set (ITU-T H.264 §7.3.2.1.1) with its VUI (§E.1.1).

use crate::codec::annexb::unescape;
use crate::codec::bits::BitReader;

/// A sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile_idc: u8,
    /// The byte of `constraint_set0_flag` (most significant) to `constraint_set5_flag` and two reserved bits.
    pub constraint_flags: u8,
    /// `level_idc`, ten times the level.
    pub level_idc: u8,
    /// `seq_parameter_set_id`, 0 to 31.
    pub id: u8,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format_idc: u8,
    /// The three colour planes are coded as pictures of their own.
    pub separate_colour_planes: bool,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// Bits of `frame_num` in a slice header.
    pub frame_num_bits: u32,
    /// `pic_order_cnt_type`, 0 to 2.
    pub pic_order_cnt_type: u8,
    /// Bits of `pic_order_cnt_lsb` in a slice header (type 0).
    pub pic_order_cnt_lsb_bits: u32,
    /// `delta_pic_order_always_zero_flag` (type 1).
    pub delta_pic_order_always_zero: bool,
    /// `max_num_ref_frames`.
    pub max_num_ref_frames: u32,
    /// `gaps_in_frame_num_value_allowed_flag`.
    pub gaps_in_frame_num_allowed: bool,
    /// Width in macroblocks.
    pub width_mbs: u32,
    /// Height in map units: macroblocks, or pairs of them when fields are allowed.
    pub height_map_units: u32,
    /// No picture is coded in fields.
    pub frame_mbs_only: bool,
    /// `mb_adaptive_frame_field_flag`.
    pub mb_adaptive_frame_field: bool,
    /// `direct_8x8_inference_flag`.
    pub direct_8x8_inference: bool,
    /// What to leave out of the coded picture.
    pub crop: Option<Crop>,
    /// Video usability information.
    pub vui: Option<Vui>,
    /// Bit position of `vui_parameters_present_flag` in the payload.
    pub(super) vui_flag_at: usize,
}

/// `frame_crop_*_offset`, in crop units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// From the left.
    pub left: u32,
    /// From the right.
    pub right: u32,
    /// From the top.
    pub top: u32,
    /// From the bottom.
    pub bottom: u32,
}

/// Video usability information (H.264 §E.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vui {
    /// `aspect_ratio_idc`, and the sample's width and height when it is 255 (Extended_SAR).
    pub aspect_ratio: Option<(u8, Option<(u16, u16)>)>,
    /// `overscan_appropriate_flag`.
    pub overscan_appropriate: Option<bool>,
    /// Signal type and colours.
    pub video_signal: Option<VideoSignal>,
    /// `chroma_sample_loc_type_top_field` and `…_bottom_field`.
    pub chroma_location: Option<(u32, u32)>,
    /// Time base.
    pub timing: Option<Timing>,
    /// NAL HRD parameters.
    pub nal_hrd: Option<Hrd>,
    /// VCL HRD parameters.
    pub vcl_hrd: Option<Hrd>,
    /// `low_delay_hrd_flag`, when either HRD is there.
    pub low_delay_hrd: Option<bool>,
    /// `pic_struct_present_flag`.
    pub pic_struct_present: bool,
    /// `bitstream_restriction`.
    pub restriction: Option<Restriction>,
    /// Bit position of `bitstream_restriction_flag` in the payload.
    pub(super) restriction_flag_at: usize,
}

/// `video_signal_type_present_flag` and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoSignal {
    /// `video_format`.
    pub format: u8,
    /// `video_full_range_flag`.
    pub full_range: bool,
    /// `colour_primaries`, `transfer_characteristics`, `matrix_coefficients`.
    pub colour: Option<(u8, u8, u8)>,
}

/// The time base of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `num_units_in_tick`.
    pub num_units_in_tick: u32,
    /// `time_scale`, in Hz. A frame takes two ticks.
    pub time_scale: u32,
    /// `fixed_frame_rate_flag`.
    pub fixed_frame_rate: bool,
}

/// Hypothetical reference decoder parameters (H.264 §E.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hrd {
    /// `bit_rate_scale`.
    pub bit_rate_scale: u8,
    /// `cpb_size_scale`.
    pub cpb_size_scale: u8,
    /// One for each coded picture buffer specification, at most 32.
    pub entries: Vec<HrdEntry>,
    /// `initial_cpb_removal_delay_length_minus1`, `cpb_removal_delay_length_minus1`,
    /// `dpb_output_delay_length_minus1`, `time_offset_length`.
    pub lengths: [u8; 4],
}

/// One coded picture buffer specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HrdEntry {
    /// `bit_rate_value_minus1`.
    pub bit_rate_value_minus1: u32,
    /// `cpb_size_value_minus1`.
    pub cpb_size_value_minus1: u32,
    /// `cbr_flag`.
    pub constant: bool,
}

/// `bitstream_restriction_flag` and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// `motion_vectors_over_pic_boundaries_flag`.
    pub motion_vectors_over_boundaries: bool,
    /// `max_bytes_per_pic_denom`.
    pub max_bytes_per_pic_denom: u32,
    /// `max_bits_per_mb_denom`.
    pub max_bits_per_mb_denom: u32,
    /// `log2_max_mv_length_horizontal`.
    pub log2_max_mv_length_horizontal: u32,
    /// `log2_max_mv_length_vertical`.
    pub log2_max_mv_length_vertical: u32,
    /// `max_num_reorder_frames`.
    pub max_num_reorder_frames: u32,
    /// `max_dec_frame_buffering`.
    pub max_dec_frame_buffering: u32,
}

/// Profiles that carry the chroma format and scaling matrices (H.264 §7.3.2.1.1).
const WITH_CHROMA_FORMAT: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    /// Reads a sequence parameter set from its NAL unit, header byte included.
    /// `None` when it is cut short or holds a value the standard forbids.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if super::nal_type(nal)? != super::nal_type::SPS {
            return None;
        }
        let payload = unescape(nal.get(1..)?);
        Self::parse_payload(&payload)
    }

    pub(super) fn parse_payload(payload: &[u8]) -> Option<Self> {
        let mut r = BitReader::new(payload);
        let [profile_idc, constraint_flags, level_idc] = [r.bits(8)?, r.bits(8)?, r.bits(8)?].map(|byte| byte as u8);
        let id = below(r.ue()?, 32)? as u8;
        let (mut chroma_format_idc, mut separate_colour_planes, mut depths) = (1, false, (8, 8));
        if WITH_CHROMA_FORMAT.contains(&profile_idc) {
            chroma_format_idc = below(r.ue()?, 4)? as u8;
            separate_colour_planes = chroma_format_idc == 3 && r.bit()?;
            depths = (below(r.ue()?, 7)? as u8 + 8, below(r.ue()?, 7)? as u8 + 8);
            r.bit()?; // qpprime_y_zero_transform_bypass_flag
            if r.bit()? {
                let lists = if chroma_format_idc == 3 { 12 } else { 8 };
                for list in 0..lists {
                    if r.bit()? {
                        skip_scaling_list(&mut r, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        let frame_num_bits = below(r.ue()?, 13)? + 4;
        let pic_order_cnt_type = below(r.ue()?, 3)? as u8;
        let (mut pic_order_cnt_lsb_bits, mut delta_pic_order_always_zero) = (0, false);
        if pic_order_cnt_type == 0 {
            pic_order_cnt_lsb_bits = below(r.ue()?, 13)? + 4;
        } else if pic_order_cnt_type == 1 {
            delta_pic_order_always_zero = r.bit()?;
            r.se()?;
            r.se()?;
            for _ in 0..below(r.ue()?, 256)? {
                r.se()?;
            }
        }
        let max_num_ref_frames = below(r.ue()?, 17)?;
        let gaps_in_frame_num_allowed = r.bit()?;
        // 16384 samples each way is beyond every level.
        let width_mbs = below(r.ue()?, 1024)? + 1;
        let height_map_units = below(r.ue()?, 1024)? + 1;
        let frame_mbs_only = r.bit()?;
        let mb_adaptive_frame_field = !frame_mbs_only && r.bit()?;
        let direct_8x8_inference = r.bit()?;
        let crop = if r.bit()? {
            let mut side = || below(r.ue()?, 1 << 14);
            Some(Crop { left: side()?, right: side()?, top: side()?, bottom: side()? })
        } else {
            None
        };
        let vui_flag_at = r.position();
        let vui = if r.bit()? { Some(Vui::read(&mut r)?) } else { None };
        let sps = Self {
            profile_idc,
            constraint_flags,
            level_idc,
            id,
            chroma_format_idc,
            separate_colour_planes,
            bit_depth_luma: depths.0,
            bit_depth_chroma: depths.1,
            frame_num_bits,
            pic_order_cnt_type,
            pic_order_cnt_lsb_bits,
            delta_pic_order_always_zero,
            max_num_ref_frames,
            gaps_in_frame_num_allowed,
            width_mbs,
            height_map_units,
            frame_mbs_only,
            mb_adaptive_frame_field,
            direct_8x8_inference,
            crop,
            vui,
            vui_flag_at,
        };
        // The stop bit of rbsp_trailing_bits: without it the set was cut short.
        (r.bit()? && sps.width() > 0 && sps.height() > 0).then_some(sps)
    }

    /// Width of the picture shown, in samples.
    pub fn width(&self) -> u32 {
        let unit = if matches!(self.chroma_array_type(), 1 | 2) { 2 } else { 1 };
        let cropped = self.crop.map_or(0, |crop| (crop.left + crop.right) * unit);
        (self.width_mbs * 16).saturating_sub(cropped)
    }

    /// Height of the picture shown, in samples.
    pub fn height(&self) -> u32 {
        let fields = if self.frame_mbs_only { 1 } else { 2 };
        let unit = if self.chroma_array_type() == 1 { 2 * fields } else { fields };
        let cropped = self.crop.map_or(0, |crop| (crop.top + crop.bottom) * unit);
        (self.height_map_units * 16 * fields).saturating_sub(cropped)
    }

    /// `ChromaArrayType` (H.264 §7.4.2.1.1).
    fn chroma_array_type(&self) -> u8 {
        if self.separate_colour_planes { 0 } else { self.chroma_format_idc }
    }

    /// The `profile-level-id` of SDP (RFC 6184 §8.1): six hexadecimal digits.
    pub fn profile_level_id(&self) -> String {
        format!("{:02x}{:02x}{:02x}", self.profile_idc, self.constraint_flags, self.level_idc)
    }

    /// The profile's and level's name, as encoders show them: `High 4.1`.
    pub fn profile_name(&self) -> String {
        let constrained = |flag: u8| self.constraint_flags & (0x80 >> flag) != 0;
        let profile = match self.profile_idc {
            66 if constrained(1) => "Constrained Baseline",
            66 => "Baseline",
            77 => "Main",
            88 => "Extended",
            100 if constrained(4) && constrained(5) => "Constrained High",
            100 if constrained(4) => "Progressive High",
            100 => "High",
            110 => "High 10",
            122 => "High 4:2:2",
            244 => "High 4:4:4 Predictive",
            44 => "CAVLC 4:4:4 Intra",
            other => return format!("profile {other} level {}", self.level_name()),
        };
        format!("{profile} {}", self.level_name())
    }

    fn level_name(&self) -> String {
        // Level 1b is written as level 1.1 with constraint_set3_flag in the old profiles (§A.3.1), as 9 elsewhere.
        if self.level_idc == 9 || (self.level_idc == 11 && self.profile_idc < 100 && self.constraint_flags & 0x10 != 0)
        {
            return "1b".into();
        }
        format!("{}.{}", self.level_idc / 10, self.level_idc % 10)
    }

    /// Frames per second as the time base says, if it says so.
    pub fn frame_rate(&self) -> Option<f64> {
        let timing = self.vui.as_ref()?.timing?;
        (timing.num_units_in_tick > 0 && timing.time_scale > 0)
            .then(|| f64::from(timing.time_scale) / (2.0 * f64::from(timing.num_units_in_tick)))
    }
}

impl Vui {
    fn read(r: &mut BitReader<'_>) -> Option<Self> {
        let aspect_ratio = if r.bit()? {
            let idc = r.bits(8)? as u8;
            let size = if idc == 255 { Some((r.bits(16)? as u16, r.bits(16)? as u16)) } else { None };
            Some((idc, size))
        } else {
            None
        };
        let overscan_appropriate = if r.bit()? { Some(r.bit()?) } else { None };
        let video_signal = if r.bit()? {
            let (format, full_range) = (r.bits(3)? as u8, r.bit()?);
            let colour = if r.bit()? { Some((r.bits(8)? as u8, r.bits(8)? as u8, r.bits(8)? as u8)) } else { None };
            Some(VideoSignal { format, full_range, colour })
        } else {
            None
        };
        let chroma_location = if r.bit()? { Some((below(r.ue()?, 6)?, below(r.ue()?, 6)?)) } else { None };
        let timing = if r.bit()? {
            Some(Timing { num_units_in_tick: r.bits(32)?, time_scale: r.bits(32)?, fixed_frame_rate: r.bit()? })
        } else {
            None
        };
        let nal_hrd = if r.bit()? { Some(Hrd::read(r)?) } else { None };
        let vcl_hrd = if r.bit()? { Some(Hrd::read(r)?) } else { None };
        let low_delay_hrd = if nal_hrd.is_some() || vcl_hrd.is_some() { Some(r.bit()?) } else { None };
        let pic_struct_present = r.bit()?;
        let restriction_flag_at = r.position();
        let restriction = if r.bit()? {
            Some(Restriction {
                motion_vectors_over_boundaries: r.bit()?,
                max_bytes_per_pic_denom: r.ue()?,
                max_bits_per_mb_denom: r.ue()?,
                log2_max_mv_length_horizontal: r.ue()?,
                log2_max_mv_length_vertical: r.ue()?,
                max_num_reorder_frames: r.ue()?,
                max_dec_frame_buffering: r.ue()?,
            })
        } else {
            None
        };
        Some(Self {
            aspect_ratio,
            overscan_appropriate,
            video_signal,
            chroma_location,
            timing,
            nal_hrd,
            vcl_hrd,
            low_delay_hrd,
            pic_struct_present,
            restriction,
            restriction_flag_at,
        })
    }
}

impl Hrd {
    fn read(r: &mut BitReader<'_>) -> Option<Self> {
        let count = below(r.ue()?, 32)? + 1;
        let (bit_rate_scale, cpb_size_scale) = (r.bits(4)? as u8, r.bits(4)? as u8);
        let entry = |r: &mut BitReader<'_>| {
            Some(HrdEntry { bit_rate_value_minus1: r.ue()?, cpb_size_value_minus1: r.ue()?, constant: r.bit()? })
        };
        let entries = (0..count).map(|_| entry(r)).collect::<Option<Vec<_>>>()?;
        let lengths = [r.bits(5)? as u8, r.bits(5)? as u8, r.bits(5)? as u8, r.bits(5)? as u8];
        Some(Self { bit_rate_scale, cpb_size_scale, entries, lengths })
    }
}

/// H.264 §7.3.2.1.1.1.
fn skip_scaling_list(r: &mut BitReader<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.wrapping_add(r.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// `value` when it is below `limit`: what the standard bounds must be bounded here too.
fn below(value: u32, limit: u32) -> Option<u32> {
    (value < limit).then_some(value)
}

#[cfg(test)]
mod tests;
