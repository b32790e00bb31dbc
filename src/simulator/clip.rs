//! The clip that is sent round and round: pictures and sound cut into units.
//!
//! Owns: the elementary streams made by `clip/make.sh`, and cutting them at access unit delimiters and ADTS headers.
//! Does not own: when a unit is sent (`programme`) or how it is packed (`mux`).

use bytes::Bytes;

static PICTURES: &[u8] = include_bytes!("clip/clip.h264");
static PICTURES_WITH_B_FRAMES: &[u8] = include_bytes!("clip/clip-b.h264");
static SOUND: &[u8] = include_bytes!("clip/clip.aac");

/// Pictures from one random access point to the next.
pub(super) const GOP: u64 = 30;

/// One coded picture of a clip, in coding order.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) data: Bytes,
    pub(super) idr: bool,
    /// How many picture intervals it is shown after it is decoded.
    pub(super) shown_after: u64,
}

/// The pictures without B-frames: 8 s.
pub(super) fn pictures() -> Vec<Picture> {
    cut_pictures(PICTURES)
}

/// The pictures with B-frames: 2 s.
pub(super) fn pictures_with_b_frames() -> Vec<Picture> {
    cut_pictures(PICTURES_WITH_B_FRAMES)
}

/// The sound: 8 s of ADTS frames, 1024 samples at 48 kHz each.
pub(super) fn sound() -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut rest = Bytes::from_static(SOUND);
    // ISO/IEC 13818-7 §6.2: aac_frame_length, 13 bits from bit 30, counts the header too.
    while let &[_, _, _, high, middle, low, ..] = rest.as_ref() {
        let length = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
        if length < 7 || length > rest.len() {
            break;
        }
        frames.push(rest.split_to(length));
    }
    frames
}

fn cut_pictures(stream: &'static [u8]) -> Vec<Picture> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let starts = stream.windows(5).enumerate().filter(|(_, window)| *window == DELIMITER).map(|(at, _)| at);
    let starts: Vec<usize> = starts.collect();
    let ends = starts.iter().copied().skip(1).chain([stream.len()]);
    let whole = Bytes::from_static(stream);
    let cut: Vec<(Bytes, Slice)> = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let data = whole.slice(*start..end);
            let slice = first_slice(&data);
            (data, slice)
        })
        .collect();
    // Anchors wait for the B-frames that follow them in coding order and are shown before them;
    // a stream with B-frames shows everything one interval late, so that nothing is shown before it is decoded.
    let late = u64::from(cut.iter().any(|(_, slice)| *slice == Slice::B));
    let shown_after = |at: usize| match cut.get(at) {
        Some((_, Slice::B)) => 0,
        _ => late + cut.iter().skip(at + 1).take_while(|(_, slice)| *slice == Slice::B).count() as u64,
    };
    let pictures = cut.iter().enumerate();
    pictures
        .map(|(at, (data, slice))| Picture {
            data: data.clone(),
            idr: *slice == Slice::Idr,
            shown_after: shown_after(at),
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    Idr,
    P,
    B,
}

/// ITU-T H.264 §7.3.3: a slice header begins with first_mb_in_slice and slice_type, both ue(v).
fn first_slice(picture: &[u8]) -> Slice {
    for window in picture.windows(6) {
        if let &[0, 0, 1, header, first, second] = window {
            match header & 0x1f {
                5 => return Slice::Idr,
                1 => {
                    let bits = u16::from_be_bytes([first, second]);
                    // first_mb_in_slice is 0 (a single 1 bit): slice_type begins at the second bit.
                    let zeros = (bits << 1).leading_zeros().min(5);
                    let code = (bits << 1 << zeros) >> (15 - zeros);
                    // Table 7-6: 1 and 6 are B.
                    return if matches!(code.wrapping_sub(1), 1 | 6) { Slice::B } else { Slice::P };
                }
                _ => {}
            }
        }
    }
    Slice::P
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_sound_end_together() {
        let (pictures, sound) = (pictures(), sound());
        assert_eq!((pictures.len(), sound.len()), (240, 375));
        assert_eq!(pictures.len() as u64 * 3000, sound.len() as u64 * 1920);
        assert_eq!(pictures.iter().map(|picture| picture.data.len()).sum::<usize>(), PICTURES.len());
        assert_eq!(sound.iter().map(Bytes::len).sum::<usize>(), SOUND.len());
    }

    #[test]
    fn every_second_begins_with_an_idr_and_nothing_else_does() {
        for clip in [pictures(), pictures_with_b_frames()] {
            assert!(clip.iter().enumerate().all(|(at, picture)| picture.idr == (at as u64).is_multiple_of(GOP)));
        }
    }

    #[test]
    fn without_b_frames_pictures_are_shown_as_they_come() {
        assert!(pictures().iter().all(|picture| picture.shown_after == 0));
    }

    #[test]
    fn with_b_frames_every_picture_has_a_time_of_its_own() {
        let clip = pictures_with_b_frames();
        assert_eq!(clip.len(), 60);
        let mut shown: Vec<u64> = (0..).zip(&clip).map(|(at, picture)| at + picture.shown_after).collect();
        assert_eq!(shown[..5], [1, 4, 2, 3, 7]);
        shown.sort_unstable();
        assert_eq!(shown, (1..=60).collect::<Vec<u64>>());
    }
}
