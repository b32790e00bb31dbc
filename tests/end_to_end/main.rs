//! The built binary from outside: sources over SRT, viewers over WHEP, a vMix over TCP.
//!
//! Tests that start a box take turns, so that two cores are enough for what they measure.

#[path = "../support/mod.rs"]
mod support;

mod acme;
mod floods;
mod hostile;
mod lamps;
mod lifecycle;
mod loss;
mod media;
mod publishing;
mod relay;
mod restart;
mod sources;
mod tally;
mod viewer;
mod whep;

use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// Held by every test that starts a box.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A stream of that short name in an answer of `GET /api/v1/status`.
fn stream<'a>(status: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    let full = format!("live/{name}");
    status["streams"].as_array()?.iter().find(|stream| stream["name"] == name || stream["name"] == full.as_str())
}

/// The video track of a stream in that answer.
fn video(stream: &serde_json::Value) -> Option<&serde_json::Value> {
    stream["tracks"].as_array()?.iter().find(|track| track["width"].is_u64())
}
