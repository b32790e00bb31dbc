//! Stereo of any rate to 48 kHz, by `rubato`.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction,
};

use super::RATE;
use crate::codec::aac::BLOCK_SAMPLES;

/// Samples the filter looks at. It delays by half of them.
const FILTER: u32 = 128;

/// Makes 48 kHz of one rate.
pub(super) struct Resampler {
    /// `None` when there is nothing to do.
    filter: Option<Async<f32>>,
    output: Vec<f32>,
}

impl Resampler {
    /// From this rate. `None` when there is no way.
    pub(super) fn new(rate: u32) -> Option<Self> {
        if rate == RATE {
            return Some(Self { filter: None, output: Vec::new() });
        }
        // The points between two samples at which 44.1 kHz is asked for are as many.
        let parameters = SincInterpolationParameters::new(FILTER as usize, WindowFunction::BlackmanHarris2)
            .oversampling_factor(160)
            .interpolation(SincInterpolationType::Linear);
        let ratio = f64::from(RATE) / f64::from(rate);
        let chunk = BLOCK_SAMPLES as usize;
        let filter = Async::new_sinc(ratio, 1.0, &parameters, chunk, 2, FixedAsync::Input).ok()?;
        let output = vec![0.0; filter.output_frames_max() * 2];
        Some(Self { filter: Some(filter), output })
    }

    /// What it delays by, in samples of the rate it takes.
    pub(super) fn delay(&self) -> u32 {
        if self.filter.is_some() { FILTER / 2 } else { 0 }
    }

    /// Takes whole blocks of AAC in stereo and appends what they become.
    pub(super) fn push(&mut self, stereo: &[f32], out: &mut Vec<f32>) {
        let Some(filter) = &mut self.filter else { return out.extend_from_slice(stereo) };
        let frames = BLOCK_SAMPLES as usize;
        for block in stereo.chunks_exact(frames * 2) {
            let room = self.output.len() / 2;
            let Ok(input) = InterleavedSlice::new(block, 2, frames) else { continue };
            let Ok(mut output) = InterleavedSlice::new_mut(&mut self.output, 2, room) else { continue };
            let Ok((_, made)) = filter.process_into_buffer(&input, &mut output, None::<&Indexing>) else { continue };
            out.extend_from_slice(self.output.get(..made * 2).unwrap_or_default());
        }
    }
}
