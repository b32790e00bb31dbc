//! ReturnFeed: vMix's picture and tally in every crew member's browser.
//!
//! The rooms and the rules between them are drawn in `ARCHITECTURE.md`;
//! `tests/architecture.rs` keeps them.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod access;
pub mod app;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod http;
pub mod hub;
pub mod lamps;
pub mod media;
pub mod mpegts;
pub mod problems;
pub mod settings;
pub mod sheet;
pub mod simulator;
pub mod srt;
pub mod system;
pub mod tally;
pub mod tls;
pub mod transcode;
pub mod turn;
pub mod update;
pub mod webrtc;
