//! Derived renditions: what only some readers need, made of what was sent.
//!
//! Owns: the renditions for browsers, [`picture`] (H.264 normalised) and [`sound`] (Opus).
//! Does not own: when they are made and for whom (`hub`), how they are sent (`webrtc`).
//! Flows from and to `hub`, as `media::MediaItem`, through `media::Transform`. Pure.

#[doc(hidden)]
pub mod fuzzing;
pub mod h264;
mod obstacle;
mod picture;
mod sound;

pub use obstacle::obstacle;
pub use picture::picture;
pub use sound::{SoundConfig, sound};

#[cfg(test)]
mod tests;
