//! Pins and LEDs of a machine that has none. Where a file is named, what would be seen is written into it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::time::ClockId;

use super::super::look::Rgb;
use super::{Leds, Pins};

/// The file in which a simulated backend writes, a line for each change: nanoseconds of `CLOCK_MONOTONIC`, which other
/// processes read too; then `take PIN LEVEL`, `set PIN LEVEL`, or `leds RRGGBB…`. Levels are 0 and 1.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Mutex<File>>);

impl Recorder {
    /// Begins the file anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::options().create(true).append(true).open(path)?))))
    }

    fn write(&self, what: std::fmt::Arguments<'_>) -> Result<(), String> {
        let at = ClockId::CLOCK_MONOTONIC.now().map_err(|error| error.to_string())?;
        let nanos = i128::from(at.tv_sec()) * 1_000_000_000 + i128::from(at.tv_nsec());
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece, so that a reader finds whole lines.
        file.write_all(format!("{nanos} {what}\n").as_bytes()).map_err(|error| error.to_string())
    }
}

/// Pins and LEDs that are not there.
#[derive(Clone, Debug, Default)]
pub struct Simulated(Option<Recorder>);

impl Simulated {
    /// What is shown is written there.
    pub fn recorded(recorder: Recorder) -> Self {
        Self(Some(recorder))
    }

    fn write(&self, what: std::fmt::Arguments<'_>) -> Result<(), String> {
        self.0.as_ref().map_or(Ok(()), |recorder| recorder.write(what))
    }
}

impl Pins for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn take(&mut self, pin: u8, dark_high: bool) -> Result<(), String> {
        self.write(format_args!("take {pin} {}", u8::from(dark_high)))
    }

    fn set(&mut self, pin: u8, high: bool) -> Result<(), String> {
        self.write(format_args!("set {pin} {}", u8::from(high)))
    }
}

impl Leds for Simulated {
    fn show(&mut self, colours: &[Rgb]) -> Result<(), String> {
        let mut text = String::new();
        for [red, green, blue] in colours {
            let _ = write!(text, "{red:02x}{green:02x}{blue:02x}");
        }
        self.write(format_args!("leds {text}"))
    }
}
