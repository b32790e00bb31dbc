//! Pins by the kernel's character device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gpiocdev::Request;
use gpiocdev::chip::Chip;
use gpiocdev::line::{Bias, Value};

use super::Pins;

pub(super) struct CharacterDevice {
    chip: PathBuf,
    /// One for each, so that a pin that somebody else has costs no other.
    pins: BTreeMap<u8, Request>,
}

impl CharacterDevice {
    pub(super) fn new(chip: PathBuf) -> Self {
        Self { chip, pins: BTreeMap::new() }
    }
}

impl Pins for CharacterDevice {
    fn name(&self) -> &'static str {
        "character device"
    }

    fn take(&mut self, pin: u8, dark_high: bool) -> Result<(), String> {
        // The drivers of the Raspberry Pi make a pin an input again when it is let go, and leave its pull as it is: the
        // pull keeps the light off then.
        let pull = if dark_high { Bias::PullUp } else { Bias::PullDown };
        let request = Request::builder()
            .on_chip(&self.chip)
            .with_consumer("returnfeed lamp")
            .with_line(pin.into())
            .as_output(value(dark_high))
            .with_bias(pull)
            .request()
            .map_err(|error| refused(&self.chip, pin, &error))?;
        self.pins.insert(pin, request);
        Ok(())
    }

    fn set(&mut self, pin: u8, high: bool) -> Result<(), String> {
        let Some(request) = self.pins.get(&pin) else { return Ok(()) };
        request.set_value(pin.into(), value(high)).map(|_| ()).map_err(|error| refused(&self.chip, pin, &error))
    }
}

fn value(high: bool) -> Value {
    if high { Value::Active } else { Value::Inactive }
}

/// The kernel's number says less than what it knows of the pin.
fn refused(chip: &Path, pin: u8, error: &gpiocdev::Error) -> String {
    let chip = Chip::from_path(chip);
    let line = chip.as_ref().ok().and_then(|chip| chip.line_info(pin.into()).ok());
    match line {
        Some(line) if line.used => {
            format!("GPIO {pin} is used by something else ({}); choose another pin", line.consumer)
        }
        None if chip.is_ok() => format!("this machine has no GPIO {pin}; choose another pin"),
        _ => format!("GPIO {pin} cannot be used: {error}"),
    }
}
