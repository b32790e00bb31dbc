//! Bodies of fuzz targets: what must hold for any bytes.

use crate::media::Codec;

use super::{PictureScanner, aac, annexb, h264, h265, opus};

/// Slices, parameter sets and NAL units of H.264.
pub fn h264(data: &[u8]) {
    let mut scanner = PictureScanner::new(Codec::H264);
    for nal in annexb::nals(data) {
        assert!(!nal.is_empty() && nal.last() != Some(&0));
        scanner.push(nal);
        h264_rewrite(nal);
        let _ = h264::Pps::parse(nal);
        let _ = h264::SliceStart::parse(nal);
    }
    let mut forced = data.to_vec();
    if let Some(first) = forced.first_mut() {
        *first = 0x67;
    }
    h264_rewrite(&forced);
}

/// Whatever is rewritten reads as the same parameter set but for its two numbers, and is a fixed point.
pub fn h264_rewrite(nal: &[u8]) {
    let Some(rewritten) = h264::without_reordering(nal) else { return };
    let before = h264::Sps::parse(nal).expect("only a set that was read is rewritten");
    let after = h264::Sps::parse(&rewritten).expect("what was written can be read");
    assert!(annexb::find_start(&rewritten, 0).is_none());
    let restriction = after.vui.as_ref().and_then(|vui| vui.restriction).expect("was written");
    assert_eq!(restriction.max_num_reorder_frames, 0);
    assert_eq!(restriction.max_dec_frame_buffering, before.max_num_ref_frames);
    assert_eq!((before.width(), before.height()), (after.width(), after.height()));
    let mut like_before = after.clone();
    match (&before.vui, &mut like_before.vui) {
        (Some(old), Some(new)) => {
            if let Some(old) = old.restriction {
                assert_eq!(
                    old,
                    h264::Restriction {
                        max_num_reorder_frames: old.max_num_reorder_frames,
                        max_dec_frame_buffering: old.max_dec_frame_buffering,
                        ..restriction
                    }
                );
            }
            new.restriction = old.restriction;
        }
        _ => like_before.vui = None,
    }
    assert_eq!(like_before, before);
    assert_eq!(h264::without_reordering(&rewritten).as_deref(), Some(&rewritten[..]));
}

/// Units and parameter sets of H.265.
pub fn h265(data: &[u8]) {
    let mut scanner = PictureScanner::new(Codec::H265);
    for nal in annexb::nals(data) {
        scanner.push(nal);
    }
    let mut forced = data.to_vec();
    if let Some(first) = forced.first_mut() {
        *first = h265::nal_type::SPS << 1;
    }
    if let Some(sps) = h265::Sps::parse(&forced) {
        assert!((1..=16384).contains(&sps.width) && (1..=16384).contains(&sps.height));
    }
}

/// ADTS headers and Opus tables of contents.
pub fn aac(data: &[u8]) {
    if let Some(header) = aac::AdtsHeader::parse(data) {
        assert!(header.frame_length > header.header_length && header.frame_length < 8192);
        assert!(header.sample_rate() >= 7350 && header.samples() >= 1024);
        assert!(header.same_stream(&header));
    }
    if let Some(toc) = opus::Toc::parse(data) {
        assert!((120..=5760).contains(&toc.samples()));
    }
}
