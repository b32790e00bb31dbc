//! The slice header (ITU-T H.264 §7.3.3), as far as pictures are told apart by it.

use crate::codec::annexb::unescape;
use crate::codec::bits::BitReader;

use super::pps::Pps;
use super::sps::Sps;

/// No header field used here lies further in than this many bytes of the NAL unit.
const LONGEST: usize = 48;

/// What a slice predicts from (`slice_type` modulo 5, H.264 Table 7-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceKind {
    /// From pictures before it (SP included).
    P,
    /// From two pictures, of which one may come later.
    B,
    /// From nothing (SI included).
    I,
}

/// The part of a slice header that is read without parameter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceStart {
    /// `first_mb_in_slice`.
    pub first_mb: u32,
    /// `slice_type`.
    pub kind: SliceKind,
    /// `pic_parameter_set_id`.
    pub pps_id: u8,
}

/// What tells one primary coded picture from the next (H.264 §7.4.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceHeader {
    /// What needs no parameter sets.
    pub start: SliceStart,
    /// `nal_ref_idc` is 0.
    pub disposable: bool,
    /// `idr_pic_id`, of an IDR picture.
    pub idr_pic_id: Option<u32>,
    /// `frame_num`.
    pub frame_num: u32,
    /// `bottom_field_flag`, when the picture is a field.
    pub field: Option<bool>,
    /// Picture order count.
    pub order: PictureOrder,
    /// `redundant_pic_cnt`: 0 in a primary coded picture.
    pub redundant: u32,
}

/// The picture order count as the slice header carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureOrder {
    /// Type 0: `pic_order_cnt_lsb`, `delta_pic_order_cnt_bottom`.
    Lsb(u32, i32),
    /// Type 1: `delta_pic_order_cnt[0]`, `[1]`.
    Delta(i32, i32),
    /// Type 2: it follows from `frame_num`.
    FrameNum,
}

impl SliceStart {
    /// Reads the start of a slice (NAL unit types 1, 2 and 5) from its NAL unit, which may be cut short.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if !matches!(super::nal_type(nal)?, 1 | 2 | 5) {
            return None;
        }
        let payload = unescape(nal.get(1..nal.len().min(LONGEST))?);
        Self::read(&mut BitReader::new(&payload))
    }

    fn read(r: &mut BitReader<'_>) -> Option<Self> {
        let first_mb = r.ue()?;
        let kind = match r.ue()? {
            0 | 3 | 5 | 8 => SliceKind::P,
            1 | 6 => SliceKind::B,
            2 | 4 | 7 | 9 => SliceKind::I,
            _ => return None,
        };
        Some(Self { first_mb, kind, pps_id: u8::try_from(r.ue()?).ok()? })
    }
}

impl SliceHeader {
    /// Reads a slice header; `sets` finds the parameter sets of a `pic_parameter_set_id`.
    pub fn parse<'a>(nal: &[u8], sets: impl FnOnce(u8) -> Option<(&'a Sps, &'a Pps)>) -> Option<Self> {
        let (&head, body) = nal.split_first()?;
        let kind = super::nal_type(nal)?;
        if !matches!(kind, 1 | 2 | 5) {
            return None;
        }
        let payload = unescape(body.get(..body.len().min(LONGEST))?);
        let mut r = BitReader::new(&payload);
        let start = SliceStart::read(&mut r)?;
        let (sps, pps) = sets(start.pps_id)?;
        if sps.separate_colour_planes {
            r.bits(2)?;
        }
        let frame_num = r.bits(sps.frame_num_bits)?;
        let field = if !sps.frame_mbs_only && r.bit()? { Some(r.bit()?) } else { None };
        let idr_pic_id = if kind == super::nal_type::IDR { Some(r.ue()?) } else { None };
        let both = pps.bottom_field_pic_order && field.is_none();
        let order = match sps.pic_order_cnt_type {
            0 => PictureOrder::Lsb(r.bits(sps.pic_order_cnt_lsb_bits)?, if both { r.se()? } else { 0 }),
            1 if !sps.delta_pic_order_always_zero => PictureOrder::Delta(r.se()?, if both { r.se()? } else { 0 }),
            1 => PictureOrder::Delta(0, 0),
            _ => PictureOrder::FrameNum,
        };
        let redundant = if pps.redundant_pictures { r.ue()? } else { 0 };
        Some(Self { start, disposable: head & 0x60 == 0, idr_pic_id, frame_num, field, order, redundant })
    }

    /// Whether both are slices of one primary coded picture, by §7.4.1.2.4.
    pub fn same_picture(&self, other: &Self) -> bool {
        self.start.pps_id == other.start.pps_id
            && self.disposable == other.disposable
            && self.idr_pic_id == other.idr_pic_id
            && self.frame_num == other.frame_num
            && self.field == other.field
            && self.order == other.order
    }

    /// Whether `other` is the other field of the same frame.
    pub fn other_field(&self, other: &Self) -> bool {
        matches!((self.field, other.field), (Some(a), Some(b)) if a != b) && self.frame_num == other.frame_num
    }
}
