//! Pins by the processor's registers, where the vendor's kernel has a device for them.

use std::collections::BTreeMap;
use std::path::Path;

use rppal::gpio::{Error, Gpio, Level, OutputPin};

use super::Pins;

/// The devices of the registers: up to Pi 4, and of Pi 5. Without one of them the crate would open all of the memory, as
/// only root can.
const DEVICES: [&str; 2] = ["/dev/gpiomem", "/dev/gpiomem0"];

/// Whether this machine has such a device.
pub(super) fn present() -> bool {
    DEVICES.iter().any(|device| Path::new(device).exists())
}

pub(super) struct Registers {
    gpio: Gpio,
    pins: BTreeMap<u8, OutputPin>,
}

impl Registers {
    pub(super) fn open() -> Result<Self, String> {
        let gpio = Gpio::new().map_err(|error| match error {
            Error::PermissionDenied(path) => format!("this user may not use {path}; add it to the group gpio"),
            error => format!("the pins cannot be used: {error}"),
        })?;
        Ok(Self { gpio, pins: BTreeMap::new() })
    }
}

impl Pins for Registers {
    fn name(&self) -> &'static str {
        "registers"
    }

    fn take(&mut self, pin: u8, dark_high: bool) -> Result<(), String> {
        let taken = self.gpio.get(pin).map_err(|error| format!("GPIO {pin} cannot be used: {error}"))?;
        self.pins.insert(pin, if dark_high { taken.into_output_high() } else { taken.into_output_low() });
        Ok(())
    }

    fn set(&mut self, pin: u8, high: bool) -> Result<(), String> {
        if let Some(taken) = self.pins.get_mut(&pin) {
            taken.write(if high { Level::High } else { Level::Low });
        }
        Ok(())
    }
}
