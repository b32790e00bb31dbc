//! What integration tests and benches share: the box as a child process, sources that feed it,
//! a vMix of the tests' own, and WHEP viewers that decrypt and count.
//!
//! Nothing here is part of the program. The viewer is written against the standards and the
//! webrtc-rs crates, never against `src/`, so that the box is not tested against itself.

#![allow(dead_code, reason = "each test and bench that includes this module uses a part of it")]

pub mod appliance;
pub mod chromium;
pub mod h264;
pub mod http;
pub mod impair;
pub mod lamps;
pub mod painter;
pub mod pebble;
pub mod receiver;
pub mod sdp;
pub mod sight;
pub mod source;
pub mod stalls;
pub mod tls;
pub mod viewer;
pub mod vmix;
pub mod ws;

use std::future::Future;
use std::time::{Duration, Instant};

/// What a test helper fails with: words for the person who reads the test's output.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The monotonic time.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall time, µs since 1970: the one clock that a browser, the kernel and a painted picture share.
#[expect(clippy::disallowed_methods, reason = "a painted clock is read by another process")]
pub fn wall_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Asks `check` every 10 ms until it gives something, for at most `within`.
///
/// # Errors
/// Says `what` was waited for in vain.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut check: impl FnMut() -> F,
) -> Result<T> {
    let deadline = now() + within;
    loop {
        if let Some(found) = check().await {
            return Ok(found);
        }
        if now() > deadline {
            return Err(format!("waited {within:?} in vain for {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The value below which `percent` of `sorted` lie (nearest rank).
pub fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A small generator of reproducible "random" numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
