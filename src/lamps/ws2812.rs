//! LEDs of WS2812 type told their colours by an SPI bus. Pure.
//!
//! Such an LED takes 24 bits, the first bit of a colour being its highest, each 1.25 µs long: a short high for 0
//! (0.35 µs), a longer one for 1 (0.7–0.8 µs), each within 0.15 µs; a low of 280 µs and more ends it (datasheets of WS2812B and
//! SK6812). At 2.4 MHz three SPI bits are one such bit: `100` is 0.42 µs high, `110` 0.83 µs.

use super::look::Rgb;

/// The clock of the bus, in Hz.
pub const CLOCK_HZ: u32 = 2_400_000;

/// Low before and after the colours: 300 µs, which end what was before and begin what is next.
const SILENCE: usize = (CLOCK_HZ as usize * 300 / 1_000_000).div_ceil(8);

/// The bytes that show `colours`, the first LED's first. `order` are the places of red, green and blue, each 0 to 2;
/// `out` is overwritten.
pub fn encode(colours: &[Rgb], order: [u8; 3], out: &mut Vec<u8>) {
    out.clear();
    out.resize(SILENCE, 0);
    for colour in colours {
        let mut sent = [0; 3];
        for (value, place) in colour.iter().zip(order) {
            if let Some(slot) = sent.get_mut(usize::from(place)) {
                *slot = *value;
            }
        }
        for value in sent {
            let [_, high, middle, low] = thrice(value).to_be_bytes();
            out.extend([high, middle, low]);
        }
    }
    out.resize(out.len() + SILENCE, 0);
}

/// A byte with each bit made three: 24 bits, highest first.
fn thrice(value: u8) -> u32 {
    (0..8).rev().fold(0, |bits, bit| bits << 3 | if value >> bit & 1 == 1 { 0b110 } else { 0b100 })
}

/// A colour at a brightness of 1 to 100 percent. What is lit stays lit.
pub fn dimmed(colour: Rgb, percent: u8) -> Rgb {
    colour.map(|value| u8::try_from((u16::from(value) * u16::from(percent)).div_ceil(100)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What an LED makes of the line: runs of high, in SPI bits, each begun every third bit.
    fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
        let body = bytes.get(SILENCE..bytes.len() - SILENCE)?;
        if bytes[..SILENCE].iter().chain(&bytes[bytes.len() - SILENCE..]).any(|byte| *byte != 0) {
            return None;
        }
        let bits: Vec<bool> = body.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
        let bits: Option<Vec<bool>> = bits
            .chunks(3)
            .map(|three| match three {
                [true, one, false] => Some(*one),
                _ => None,
            })
            .collect();
        Some(bits?.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | u8::from(*bit))).collect())
    }

    #[test]
    fn one_bit_is_three() {
        let mut out = vec![7];
        encode(&[[0x01, 0x80, 0xff]], [1, 0, 2], &mut out);
        let body = &out[SILENCE..out.len() - SILENCE];
        // Green (0x80) first, then red (0x01), then blue (0xff).
        let bits: String = body.iter().map(|byte| format!("{byte:08b}")).collect();
        assert_eq!(bits, "110100100100100100100100".to_owned() + "100100100100100100100110" + &"110".repeat(8));
        assert!(SILENCE as f64 * 8.0 / f64::from(CLOCK_HZ) >= 280e-6);
    }

    #[test]
    fn what_is_lit_stays_lit_however_dim() {
        assert_eq!(dimmed([255, 0, 1], 1), [3, 0, 1]);
        assert_eq!(dimmed([255, 128, 0], 100), [255, 128, 0]);
    }

    proptest! {
        #[test]
        fn leds_read_the_colours_in_their_own_order(colours in prop::collection::vec(any::<Rgb>(), 0..40), which in 0_usize..6) {
            let order = [[1, 0, 2], [0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0], [2, 1, 0]][which];
            let mut out = Vec::new();
            encode(&colours, order, &mut out);
            let read = decode(&out).unwrap();
            let wanted: Vec<u8> = colours
                .iter()
                .flat_map(|colour| (0..3).map(move |place| colour[order.iter().position(|p| *p == place).unwrap()]))
                .collect();
            prop_assert_eq!(read, wanted);
        }
    }
}
