//! A strip of WS2812 type on an SPI bus. It uses the kernel's device, on every kernel: no registers are touched.

use rppal::spi::{Bus, Error, Mode, SlaveSelect};

use super::super::look::Rgb;
use super::super::ws2812;
use super::Leds;

/// A strip on an SPI bus.
pub struct Spi {
    bus: rppal::spi::Spi,
    order: [u8; 3],
    bytes: Vec<u8>,
}

impl Spi {
    pub(super) fn open((_, select): (u8, u8), order: [u8; 3]) -> Result<Self, Error> {
        let select = if select == 0 { SlaveSelect::Ss0 } else { SlaveSelect::Ss1 };
        let bus = rppal::spi::Spi::new(Bus::Spi0, select, ws2812::CLOCK_HZ, Mode::Mode0)?;
        Ok(Self { bus, order, bytes: Vec::new() })
    }
}

impl Leds for Spi {
    fn show(&mut self, colours: &[Rgb]) -> Result<(), String> {
        ws2812::encode(colours, self.order, &mut self.bytes);
        self.bus.write(&self.bytes).map(|_| ()).map_err(|error| format!("the strip cannot be written to: {error}"))
    }
}
