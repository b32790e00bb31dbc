//! Any channels to stereo, as ITU-R BS.775-3 Annex 4 says: centre and surrounds at −3 dB, the low-frequency
//! channel left out.

/// −3 dB.
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// What surround sound is turned down by, so that two channels at full level fit into one. The rest is
/// limited when it is coded.
const HEADROOM: f32 = 1.0 / (1.0 + HALF_POWER);

/// How loud a channel is left and right.
type Gain = (f32, f32);

const LEFT: Gain = (1.0, 0.0);
const RIGHT: Gain = (0.0, 1.0);
const CENTRE: Gain = (HALF_POWER, HALF_POWER);
const SURROUND_LEFT: Gain = (HALF_POWER, 0.0);
const SURROUND_RIGHT: Gain = (0.0, HALF_POWER);
const SURROUND: Gain = (0.5, 0.5);
const NONE: Gain = (0.0, 0.0);

/// The channels in the order of WAV files.
fn gains(channels: usize) -> &'static [Gain] {
    match channels {
        1 => &[(1.0, 1.0)],
        2 => &[LEFT, RIGHT],
        3 => &[LEFT, RIGHT, CENTRE],
        4 => &[LEFT, RIGHT, CENTRE, SURROUND],
        5 => &[LEFT, RIGHT, CENTRE, SURROUND_LEFT, SURROUND_RIGHT],
        6 => &[LEFT, RIGHT, CENTRE, NONE, SURROUND_LEFT, SURROUND_RIGHT],
        7 => &[LEFT, RIGHT, CENTRE, NONE, SURROUND, SURROUND_LEFT, SURROUND_RIGHT],
        _ => &[LEFT, RIGHT, CENTRE, NONE, SURROUND_LEFT, SURROUND_RIGHT, SURROUND_LEFT, SURROUND_RIGHT],
    }
}

/// Puts samples of `channels` channels, channel by channel at each time, into `stereo` in the same way.
pub(super) fn to_stereo(samples: &[f32], channels: usize, stereo: &mut Vec<f32>) {
    let gains = gains(channels);
    let level = if channels > 2 { HEADROOM } else { 1.0 };
    for frame in samples.chunks_exact(channels.max(1)) {
        let (mut left, mut right) = (0.0, 0.0);
        for (sample, gain) in frame.iter().zip(gains) {
            left += sample * gain.0;
            right += sample * gain.1;
        }
        stereo.extend([left, right].map(|sample| sane(sample * level)));
    }
}

/// A broken frame may become any number.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-2.0, 2.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stereo(frame: &[f32]) -> (f32, f32) {
        let mut out = Vec::new();
        to_stereo(frame, frame.len(), &mut out);
        (out[0], out[1])
    }

    #[test]
    fn mono_and_stereo_stay_as_loud_as_they_are() {
        assert_eq!(stereo(&[0.5]), (0.5, 0.5));
        assert_eq!(stereo(&[0.5, -0.25]), (0.5, -0.25));
    }

    #[test]
    fn centre_and_surrounds_are_at_half_power_and_the_low_frequency_channel_is_left_out() {
        let full = HEADROOM;
        let half = HEADROOM * HALF_POWER;
        let alone = |channel: usize, channels: usize| {
            let mut frame = vec![0.0; channels];
            frame[channel] = 1.0;
            stereo(&frame)
        };
        assert_eq!([0, 1, 2, 3].map(|at| alone(at, 6)), [(full, 0.0), (0.0, full), (half, half), (0.0, 0.0)]);
        assert_eq!([4, 5].map(|at| alone(at, 6)), [(half, 0.0), (0.0, half)]);
        assert_eq!([4, 5, 6, 7].map(|at| alone(at, 8)), [(half, 0.0), (0.0, half), (half, 0.0), (0.0, half)]);
        assert_eq!(alone(3, 4), (HEADROOM / 2.0, HEADROOM / 2.0));
    }

    #[test]
    fn what_is_no_sound_is_none() {
        assert_eq!(stereo(&[f32::NAN, f32::INFINITY]), (0.0, 0.0));
        assert_eq!(stereo(&[1e30, -1e30]), (2.0, -2.0));
    }
}
