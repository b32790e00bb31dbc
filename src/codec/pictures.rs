//! Where one picture ends and the next begins, NAL unit by NAL unit
//! (ITU-T H.264 §7.4.1.2.3 and §7.4.1.2.4; H.265 §7.4.2.4.4).

use std::collections::BTreeMap;

use crate::media::Codec;

use super::h264::{self, Pps, SliceHeader, SliceStart, Sps};
use super::h265;

/// Where a NAL unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the first of an access unit.
    Starts,
    /// It belongs to the access unit before it.
    Continues,
}

/// Follows a track's NAL units and says which of them begin an access unit.
///
/// The two fields of an H.264 frame are kept together as one unit unless a delimiter or a
/// parameter set stands between them: what follows shows whole pictures.
#[derive(Debug)]
pub struct PictureScanner {
    codec: Codec,
    sps: BTreeMap<u8, Sps>,
    pps: BTreeMap<u8, Pps>,
    unit: Unit,
}

/// What was seen of the current access unit.
#[derive(Debug, Default)]
struct Unit {
    any: bool,
    picture: bool,
    first_block: bool,
    second_field: bool,
    random_access: bool,
    slice: Option<SliceHeader>,
}

impl PictureScanner {
    /// For a track of this codec.
    pub fn new(codec: Codec) -> Self {
        Self { codec, sps: BTreeMap::new(), pps: BTreeMap::new(), unit: Unit::default() }
    }

    /// Takes the next NAL unit: parameter sets whole, of others at least the first 48 bytes if
    /// they have as many.
    pub fn push(&mut self, nal: &[u8]) -> Place {
        match self.codec {
            Codec::H264 => self.push_h264(nal),
            Codec::H265 => self.push_h265(nal),
            Codec::Aac | Codec::Opus => Place::Starts,
        }
    }

    /// Whether decoding can start at the current unit, as far as it was pushed.
    pub fn random_access(&self) -> bool {
        self.unit.random_access
    }

    /// Whether the current unit holds a slice of a picture.
    pub fn has_picture(&self) -> bool {
        self.unit.picture
    }

    /// Ends the current unit: what comes next is none of it, or was not seen whole.
    pub fn end_unit(&mut self) {
        self.unit = Unit::default();
    }

    fn start(&mut self) -> Place {
        self.unit = Unit { any: true, ..Unit::default() };
        Place::Starts
    }

    fn push_h264(&mut self, nal: &[u8]) -> Place {
        let Some(kind) = h264::nal_type(nal) else { return Place::Continues };
        match kind {
            1..=5 => self.push_h264_slice(nal, kind),
            6..=9 | 14..=18 => {
                if kind == h264::nal_type::SPS
                    && let Some(sps) = Sps::parse(nal)
                {
                    self.sps.insert(sps.id, sps);
                } else if kind == h264::nal_type::PPS
                    && let Some(pps) = Pps::parse(nal)
                {
                    self.pps.insert(pps.id, pps);
                }
                if !self.unit.any || self.unit.picture { self.start() } else { Place::Continues }
            }
            _ => Place::Continues,
        }
    }

    fn push_h264_slice(&mut self, nal: &[u8], kind: u8) -> Place {
        let sets = |id: u8| {
            let pps = self.pps.get(&id)?;
            Some((self.sps.get(&pps.sps_id)?, pps))
        };
        let header = SliceHeader::parse(nal, sets);
        let first_block = SliceStart::parse(nal).is_some_and(|start| start.first_mb == 0);
        let redundant = header.is_some_and(|header| header.redundant > 0);
        let place = if !self.unit.picture {
            // Without anything before it, a slice further down has lost the picture's beginning.
            if self.unit.any {
                Place::Continues
            } else if first_block {
                self.start()
            } else {
                return Place::Continues;
            }
        } else {
            let second_field = match (&self.unit.slice, &header) {
                (Some(before), Some(now)) => !self.unit.second_field && before.other_field(now),
                _ => false,
            };
            let differs = match (&self.unit.slice, &header) {
                (Some(before), Some(now)) => !before.same_picture(now),
                _ => false,
            };
            let again = first_block && self.unit.first_block && !redundant;
            if second_field {
                self.unit.second_field = true;
                Place::Continues
            } else if kind != 3 && kind != 4 && (differs || again) {
                self.start()
            } else {
                Place::Continues
            }
        };
        self.unit.picture = true;
        self.unit.first_block |= first_block;
        self.unit.random_access |= kind == h264::nal_type::IDR;
        if header.is_some() && !redundant {
            self.unit.slice = header;
        }
        place
    }

    fn push_h265(&mut self, nal: &[u8]) -> Place {
        let Some(kind) = h265::nal_type(nal) else { return Place::Continues };
        if kind < 32 {
            let first = h265::first_slice_in_picture(nal);
            let place = if !self.unit.any && !first {
                return Place::Continues;
            } else if !self.unit.any || (self.unit.picture && first) {
                self.start()
            } else {
                Place::Continues
            };
            self.unit.picture = true;
            self.unit.random_access |= h265::is_random_access(kind);
            return place;
        }
        match kind {
            32..=35 | h265::nal_type::SEI_PREFIX | 41..=44 | 48..=55 if !self.unit.any || self.unit.picture => {
                self.start()
            }
            _ => Place::Continues,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(codec: Codec, nals: &[&[u8]]) -> Vec<bool> {
        let mut scanner = PictureScanner::new(codec);
        nals.iter().map(|nal| scanner.push(nal) == Place::Starts).collect()
    }

    // first_mb 0 is "1"; first_mb 1 is "010"; slice type 7 (I) is 0001000, 5 (P) is 00110; pps 0 is "1".
    const IDR_FIRST: &[u8] = &[0x65, 0b1000_1000, 0x80];
    const IDR_LATER: &[u8] = &[0x65, 0b0100_0010, 0x0a];
    const P_FIRST: &[u8] = &[0x41, 0b1001_1010, 0x80];

    #[test]
    fn a_picture_begins_at_its_delimiter_parameter_sets_or_first_slice() {
        let aud: &[u8] = &[0x09, 0xf0];
        let sei: &[u8] = &[0x06, 5, 1, 0, 0x80];
        assert_eq!(
            places(Codec::H264, &[aud, sei, IDR_FIRST, IDR_LATER, P_FIRST, sei, P_FIRST, aud, P_FIRST]),
            [true, false, false, false, true, true, false, true, false]
        );
    }

    #[test]
    fn slices_without_their_beginning_belong_to_no_picture() {
        assert_eq!(places(Codec::H264, &[IDR_LATER, IDR_LATER, IDR_FIRST]), [false, false, true]);
        assert_eq!(places(Codec::H265, &[&[2, 1, 0x00], &[2, 1, 0x80], &[2, 1, 0x00]]), [false, true, false]);
    }

    #[test]
    fn the_fields_of_a_frame_stay_together() {
        use crate::codec::bits::BitWriter;
        // 1080i of x264: frame_num and pic_order_cnt_lsb as it says, no delta for the bottom field.
        let sps = [
            0x67, 0x64, 0, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x04, 0x4f, 0xde, 0x02, 0x20, 0, 0, 3, 0, 0x20, 0, 0, 7, 0x83,
            0xe2, 0xc5, 0xb2, 0xc0,
        ];
        let read = Sps::parse(&sps).unwrap();
        assert!(!read.frame_mbs_only && read.pic_order_cnt_type == 0);
        let mut pps = BitWriter::new();
        for (code, length) in [(0b11, 2), (0, 2), (1, 1), (0b11, 2), (0, 3), (0b111, 3), (0, 2), (0, 1)] {
            pps.bits(code, length);
        }
        let pps = [&[0x68][..], &pps.finish()].concat();
        assert_eq!(Pps::parse(&pps).map(|pps| (pps.id, pps.sps_id)), Some((0, 0)));
        let field = |frame_num: u32, bottom: bool| {
            let mut w = BitWriter::new();
            w.ue(0);
            w.ue(5);
            w.ue(0);
            w.bits(frame_num, read.frame_num_bits);
            w.bit(true);
            w.bit(bottom);
            w.bits(frame_num * 2 + u32::from(bottom), read.pic_order_cnt_lsb_bits);
            [&[0x41][..], &w.finish(), &[0x55; 8]].concat()
        };
        let nals = [field(1, false), field(1, true), field(2, false), field(2, true), field(2, true), field(3, false)];
        let mut all: Vec<&[u8]> = vec![&sps, &pps];
        all.extend(nals.iter().map(|nal| &nal[..]));
        assert_eq!(places(Codec::H264, &all), [true, false, false, false, true, false, true, true]);
    }
}
