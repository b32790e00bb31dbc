//! Bits, most significant first, with Exp-Golomb codes (ITU-T H.264 §9.1).

/// Reads bits from a payload without emulation prevention bytes. `None` past the end.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// How many bits were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// One bit.
    pub fn bit(&mut self) -> Option<bool> {
        let byte = *self.data.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// `count` bits, at most 32, as an unsigned number: u(n).
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        let at = self.at.checked_add(count)?;
        if at > self.data.len().checked_mul(8)? {
            return None;
        }
        self.at = at;
        Some(())
    }

    /// An unsigned Exp-Golomb number: ue(v).
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.bits(zeros)?;
        Some(((1u32 << zeros) - 1) + rest)
    }

    /// A signed Exp-Golomb number: se(v).
    pub fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }
}

/// Writes bits.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    data: Vec<u8>,
    filled: usize,
}

impl BitWriter {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One bit.
    pub fn bit(&mut self, bit: bool) {
        if self.filled.is_multiple_of(8) {
            self.data.push(0);
        }
        if let (true, Some(last)) = (bit, self.data.last_mut()) {
            *last |= 0x80 >> (self.filled % 8);
        }
        self.filled += 1;
    }

    /// The lowest `count` bits of `value`, at most 32.
    pub fn bits(&mut self, value: u32, count: u32) {
        for place in (0..count.min(32)).rev() {
            self.bit(value >> place & 1 == 1);
        }
    }

    /// An unsigned Exp-Golomb number.
    pub fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = 64 - code.leading_zeros();
        (1..length).for_each(|_| self.bit(false));
        for place in (0..length).rev() {
            self.bit(code >> place & 1 == 1);
        }
    }

    /// The first `count` bits of `data`, or as many as there are.
    pub fn copy(&mut self, data: &[u8], count: usize) {
        let mut reader = BitReader::new(data);
        for _ in 0..count {
            let Some(bit) = reader.bit() else { break };
            self.bit(bit);
        }
    }

    /// The bytes, ended by a stop bit and zeros up to a whole byte (`rbsp_trailing_bits`, H.264 §7.3.2.11).
    pub fn finish(mut self) -> Vec<u8> {
        self.bit(true);
        self.data
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_codes_of_the_standards_table() {
        // H.264 Table 9-2: 1, 010, 011, 00100 are 0, 1, 2, 3; Table 9-3: signed 0, 1, -1, 2.
        let mut writer = BitWriter::new();
        for (code, length) in [(0b1, 1), (0b010, 3), (0b011, 3), (0b00100, 5)] {
            writer.bits(code, length);
        }
        let data = writer.finish();
        let mut reader = BitReader::new(&data);
        assert_eq!([(); 4].map(|()| reader.ue()), [Some(0), Some(1), Some(2), Some(3)]);
        let mut reader = BitReader::new(&data);
        assert_eq!([(); 4].map(|()| reader.se()), [Some(0), Some(1), Some(-1), Some(2)]);
        assert_eq!(BitReader::new(&[0; 8]).ue(), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(values in prop::collection::vec((0u32..u32::MAX, 1u32..=32), 0..20)) {
            let mut writer = BitWriter::new();
            for &(value, count) in &values {
                writer.ue(value);
                writer.bits(value, count);
            }
            let data = writer.finish();
            let mut reader = BitReader::new(&data);
            for &(value, count) in &values {
                prop_assert_eq!(reader.ue(), Some(value));
                let mask = u32::MAX >> (32 - count);
                prop_assert_eq!(reader.bits(count), Some(value & mask));
            }
            prop_assert_eq!(reader.bit(), Some(true));
        }
    }
}
