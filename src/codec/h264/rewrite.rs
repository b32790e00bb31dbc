//! A sequence parameter set that says "no reordering".

use crate::codec::annexb::{escape, unescape};
use crate::codec::bits::BitWriter;

use super::sps::{Restriction, Sps};

/// The parameter set with `max_num_reorder_frames` 0 and `max_dec_frame_buffering` equal to
/// `max_num_ref_frames`; every other bit stays as it was. `None` when it cannot be read.
///
/// Without `bitstream_restriction` a decoder must assume that pictures may be reordered by as
/// many as its buffer holds (H.264 §E.2.1) and holds that many back. Only for a stream that
/// really is in order. Values that were absent are written as the standard infers them.
pub fn without_reordering(nal: &[u8]) -> Option<Vec<u8>> {
    let (&header, body) = nal.split_first()?;
    if super::nal_type(nal)? != super::nal_type::SPS {
        return None;
    }
    let payload = unescape(body);
    let sps = Sps::parse_payload(&payload)?;
    let mut w = BitWriter::new();
    let before = match &sps.vui {
        Some(vui) => {
            w.copy(&payload, vui.restriction_flag_at);
            vui.restriction
        }
        None => {
            w.copy(&payload, sps.vui_flag_at);
            w.bit(true);
            // Aspect ratio, overscan, signal type, chroma location, timing, NAL HRD, VCL HRD, pic_struct: none.
            w.bits(0, 8);
            None
        }
    };
    let restriction = before.unwrap_or(Restriction {
        motion_vectors_over_boundaries: true,
        max_bytes_per_pic_denom: 2,
        max_bits_per_mb_denom: 1,
        log2_max_mv_length_horizontal: 16,
        log2_max_mv_length_vertical: 16,
        max_num_reorder_frames: 0,
        max_dec_frame_buffering: 0,
    });
    w.bit(true);
    w.bit(restriction.motion_vectors_over_boundaries);
    w.ue(restriction.max_bytes_per_pic_denom);
    w.ue(restriction.max_bits_per_mb_denom);
    w.ue(restriction.log2_max_mv_length_horizontal);
    w.ue(restriction.log2_max_mv_length_vertical);
    w.ue(0);
    w.ue(sps.max_num_ref_frames);
    let mut out = vec![header];
    out.extend(escape(&w.finish()));
    Some(out)
}
