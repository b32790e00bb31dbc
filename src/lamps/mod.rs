//! Lamps: real lights on the header's pins or on a strip of LEDs, in a process of their own.
//!
//! Owns: which signal a lamp shows ([`signal`]), what each signal looks like over time ([`look`]), the levels and
//! colours of all lamps at one moment ([`panel`]), how LEDs are told them ([`ws2812`]), the lines between the two
//! processes ([`wire`]): pure; the backends for pins and LEDs, and the lamp process ([`process`]): shells; and the
//! handle by which tests of lamps are asked for ([`Commands`]).
//! Does not own: tally. `app` hands in plain values, and sends the lines.
//! Flows: `tally → app → Unix socket → lamp process → pins`.
//!
//! The fault that must not happen is a lamp stuck on red. So the lamps are a process of their own, which depends on
//! nothing: what it was not told for 2 s is unknown, whatever became of the program that tells it.

pub mod backend;
mod commands;
pub mod look;
pub mod panel;
pub mod process;
pub mod signal;
pub mod wire;
pub mod ws2812;

pub use commands::{Commands, LampState, State, Test, UnknownLamp};
pub use panel::{Lamp, Panel};
pub use signal::{Follows, Input, Seen, ShowPart, Signal};

use std::time::Duration;

/// For so long after vMix was heard a lamp shows what it said.
pub const FRESH: Duration = Duration::from_secs(2);
