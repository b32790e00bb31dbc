//! What keeps a stream from being shown in a browser, in words for whoever set up the encoder.

use crate::codec::Description;
use crate::media::{Codec, TransformProblem};

/// Why no browser could begin to show a programme of such tracks, as far as their descriptions tell.
pub fn obstacle(tracks: &[&Description]) -> Option<TransformProblem> {
    let picture = super::picture::of(tracks, |track| track.codec)?;
    match picture.codec {
        Codec::H265 => Some(h265()),
        Codec::H264 if picture.has_b_frames => Some(b_frames()),
        Codec::H264 if picture.no_keyframe => Some(no_keyframe()),
        Codec::H264 | Codec::Aac | Codec::Opus => None,
    }
}

pub(super) fn b_frames() -> TransformProblem {
    TransformProblem {
        code: "b_frames",
        text: "The picture has B-frames, which browsers cannot show live. Set the encoder to send none. In vMix: \
               Settings, Outputs, the cog beside the SRT output, the cog beside Quality: choose the profile Baseline \
               where there is a choice (Baseline never has B-frames), or B-frames 0, then switch the output off and \
               on. In OBS: Max B-frames 0, or with x264 the tune zerolatency. With ffmpeg: -bf 0."
            .into(),
    }
}

fn no_keyframe() -> TransformProblem {
    TransformProblem {
        code: "no_keyframe",
        text: "The picture has had no key frame (IDR) for more than 12 seconds, and browsers can only begin at one. \
               Set the encoder's key frame interval to 1 or 2 seconds, and switch intra refresh off."
            .into(),
    }
}

pub(super) fn h265() -> TransformProblem {
    TransformProblem {
        code: "h265_not_yet",
        text: "The picture is H.265 (HEVC), which this box does not send to browsers yet. Set the encoder to H.264. \
               In vMix: Settings, Outputs, the cog beside the output, the cog beside Quality, Video Codec H264."
            .into(),
    }
}
