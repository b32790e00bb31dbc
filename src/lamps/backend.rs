//! What drives pins and LEDs: a shell with one face for each.
//!
//! Owns: which backend a machine has. Does not own: what is to be lit.

use std::path::Path;

use super::look::Rgb;
use crate::system;

mod character;
mod registers;
mod simulated;
mod spi;

pub use simulated::{Recorder, Simulated};
pub use spi::Spi;

/// Drives pins.
pub trait Pins {
    /// What it is called in reports.
    fn name(&self) -> &'static str;

    /// Takes a pin as an output, dark at first: `dark_high` is the level at which its light is off. What the kernel
    /// lets go of when the process ends is to be dark too, as far as that can be had.
    ///
    /// # Errors
    /// In words for whoever can mend it.
    fn take(&mut self, pin: u8, dark_high: bool) -> Result<(), String>;

    /// Sets the level of a pin that was taken.
    ///
    /// # Errors
    /// In words.
    fn set(&mut self, pin: u8, high: bool) -> Result<(), String>;
}

/// Drives a strip of LEDs.
pub trait Leds {
    /// Shows these colours, the first LED's first.
    ///
    /// # Errors
    /// In words for whoever can mend it.
    fn show(&mut self, colours: &[Rgb]) -> Result<(), String>;
}

/// The pins of this machine: its registers where there is a device for them, else the header's character device, else
/// none, which is simulated. `None` while a Raspberry Pi has no driver for its pins.
///
/// # Errors
/// In words, when there is one and it cannot be used.
pub fn pins() -> Result<Option<Box<dyn Pins>>, String> {
    if registers::present() {
        return Ok(Some(Box::new(registers::Registers::open()?)));
    }
    if let Some(chip) = system::lamp_chip() {
        return Ok(Some(Box::new(character::CharacterDevice::new(chip))));
    }
    if system::has_header() {
        return Ok(None);
    }
    Ok(Some(Box::new(Simulated::default())))
}

/// Whether there are pins now where [`pins`] found none before.
pub fn pins_have_come() -> bool {
    registers::present() || system::lamp_chip().is_some()
}

/// The strip on an SPI bus.
///
/// # Errors
/// In words for whoever can mend it.
pub fn strip(device: (u8, u8), order: [u8; 3]) -> Result<Box<dyn Leds>, String> {
    if !system::has_header() && !pins_have_come() {
        // A machine without pins has no strip either.
        return Ok(Box::new(Simulated::default()));
    }
    let path = format!("/dev/spidev{}.{}", device.0, device.1);
    if !Path::new(&path).exists() {
        return Err(format!("{path} is not there; is SPI switched on?"));
    }
    Ok(Box::new(Spi::open(device, order).map_err(|error| format!("{path} cannot be used: {error}"))?))
}
