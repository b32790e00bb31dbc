//! Where the pins of a Raspberry Pi's header are.

use std::fs;
use std::path::{Path, PathBuf};

use gpiocdev::chip::{Chip, chips};

/// What the kernel calls the chip of the header: on Pi 3 and Zero 2 W, on Pi 4 and CM4, on Pi 5. Numbers of chips
/// depend on which driver was faster.
const HEADER_CHIPS: [&str; 3] = ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"];

/// How the label of the only chip of QEMU's `virt` machine ends (ARM PrimeCell GPIO); it has eight lines.
const EMULATED: &str = ".pl061";

/// The names of the machine in its device tree, the most exact first, with a zero byte behind each (Devicetree
/// Specification §2.3.1).
const COMPATIBLE: &str = "/sys/firmware/devicetree/base/compatible";

/// Whether this machine is a Raspberry Pi, and has pins as soon as their driver is loaded.
pub fn has_header() -> bool {
    fs::read(COMPATIBLE).is_ok_and(|names| is_raspberry_pi(&names))
}

/// The character device of the header's pins; line numbers on it are the BCM numbers of the pins. `None` as long as
/// no driver has it.
pub fn header_chip() -> Option<PathBuf> {
    chip(|label| HEADER_CHIPS.contains(&label))
}

/// The character device that lamps hang on: the header's, or that of the emulated machine which tests run on.
pub fn lamp_chip() -> Option<PathBuf> {
    header_chip().or_else(|| chip(|label| label.ends_with(EMULATED)))
}

/// The first chip whose label is the one looked for.
fn chip(is: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let label = |path: &Path| Chip::from_path(path).and_then(|chip| chip.info()).map(|info| info.label);
    chips().ok()?.into_iter().find(|path| label(path).is_ok_and(|label| is(&label)))
}

fn is_raspberry_pi(compatible: &[u8]) -> bool {
    compatible.split(|byte| *byte == 0).any(|name| name.starts_with(b"raspberrypi,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raspberry_pi_is_known_by_its_device_tree() {
        assert!(is_raspberry_pi(b"raspberrypi,3-model-b\0brcm,bcm2837\0"));
        assert!(is_raspberry_pi(b"brcm,bcm2711\0raspberrypi,4-model-b\0"));
        assert!(!is_raspberry_pi(b"linux,dummy-virt\0"));
        assert!(!is_raspberry_pi(b""));
    }
}
