//! The picture parameter set (ITU-T H.264 §7.3.2.2), as far as slice headers need it.

use crate::codec::annexb::unescape;
use crate::codec::bits::BitReader;

/// A picture parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pps {
    /// `pic_parameter_set_id`, 0 to 255.
    pub id: u8,
    /// `seq_parameter_set_id` it refers to.
    pub sps_id: u8,
    /// `entropy_coding_mode_flag`.
    pub cabac: bool,
    /// `bottom_field_pic_order_in_frame_present_flag`.
    pub bottom_field_pic_order: bool,
    /// `redundant_pic_cnt_present_flag`.
    pub redundant_pictures: bool,
}

impl Pps {
    /// Reads a picture parameter set from its NAL unit, header byte included.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if super::nal_type(nal)? != super::nal_type::PPS {
            return None;
        }
        let payload = unescape(nal.get(1..)?);
        let mut r = BitReader::new(&payload);
        let id = u8::try_from(r.ue()?).ok()?;
        let sps_id = u8::try_from(r.ue()?).ok().filter(|&id| id < 32)?;
        let (cabac, bottom_field_pic_order) = (r.bit()?, r.bit()?);
        let groups = r.ue()?;
        if groups > 7 {
            return None;
        }
        if groups > 0 {
            skip_slice_groups(&mut r, groups)?;
        }
        r.ue()?; // num_ref_idx_l0_default_active_minus1
        r.ue()?;
        r.bits(3)?; // weighted_pred_flag, weighted_bipred_idc
        r.se()?; // pic_init_qp_minus26
        r.se()?;
        r.se()?;
        r.bits(2)?; // deblocking_filter_control_present_flag, constrained_intra_pred_flag
        Some(Self { id, sps_id, cabac, bottom_field_pic_order, redundant_pictures: r.bit()? })
    }
}

fn skip_slice_groups(r: &mut BitReader<'_>, groups: u32) -> Option<()> {
    match r.ue()? {
        0 => {
            for _ in 0..=groups {
                r.ue()?;
            }
        }
        2 => {
            for _ in 0..groups {
                r.ue()?;
                r.ue()?;
            }
        }
        3..=5 => {
            r.bit()?;
            r.ue()?;
        }
        6 => {
            let units = usize::try_from(r.ue()?).ok()?.checked_add(1)?;
            let bits = 32 - groups.leading_zeros();
            r.skip(units.checked_mul(bits as usize)?)?;
        }
        1 => {}
        _ => return None,
    }
    Some(())
}
