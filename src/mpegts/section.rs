//! Sections (ISO/IEC 13818-1 §2.4.4): tables cut into packets, with their CRC.

/// Largest section of a PAT or PMT, in bytes, header included (§2.4.4).
const LARGEST: usize = 1024;

/// Puts the sections of one PID together.
#[derive(Clone, Debug, Default)]
pub struct Sections {
    buffer: Vec<u8>,
    open: bool,
}

impl Sections {
    /// Takes the payload of the PID's next packet. Hands each whole section whose CRC is right to
    /// `each`; returns how many were damaged.
    pub fn push(&mut self, payload: &[u8], starts_unit: bool, mut each: impl FnMut(&[u8])) -> u64 {
        let mut damaged = 0;
        if !starts_unit {
            if self.open {
                self.buffer.extend_from_slice(payload);
                damaged += self.take(&mut each);
            }
            return damaged;
        }
        let Some((&pointer, rest)) = payload.split_first() else { return 1 };
        let Some((tail, fresh)) = rest.split_at_checked(usize::from(pointer)) else {
            self.reset();
            return 1;
        };
        if self.open {
            self.buffer.extend_from_slice(tail);
            damaged += self.take(&mut each);
            // What is still open ended without being whole.
            damaged += u64::from(self.open && !self.buffer.is_empty());
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(fresh);
        self.open = true;
        damaged + self.take(&mut each)
    }

    /// Drops what was begun: something is missing.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.open = false;
    }

    fn take(&mut self, each: &mut impl FnMut(&[u8])) -> u64 {
        let mut damaged = 0;
        let mut at = 0;
        while let Some(&[table, b1, b2]) = self.buffer.get(at..).and_then(|rest| rest.first_chunk::<3>()) {
            // Stuffing fills the packet after the last section.
            if table == 0xff {
                self.reset();
                return damaged;
            }
            let length = 3 + (usize::from(b1 & 0x0f) << 8 | usize::from(b2));
            if length > LARGEST {
                self.reset();
                return damaged + 1;
            }
            let Some(section) = self.buffer.get(at..at + length) else { break };
            if length >= 12 && b1 & 0x80 != 0 && crc32(section) == 0 {
                each(section);
            } else {
                damaged += 1;
            }
            at += length;
        }
        if self.buffer.get(at) == Some(&0xff) {
            self.reset();
        } else {
            self.buffer.drain(..at.min(self.buffer.len()));
        }
        damaged
    }
}

/// The CRC of Annex A; 0 over a section with its own CRC.
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte) << 24,
            |crc, _| {
                if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(size: usize) -> Vec<u8> {
        let mut bytes = vec![2, 0xb0 | (size >> 8) as u8, size as u8];
        bytes.extend((0..size - 4).map(|n| n as u8));
        bytes.extend(crc32(&bytes).to_be_bytes());
        bytes
    }

    #[test]
    fn sections_may_span_packets_and_share_them() {
        let (a, b, c) = (section(300), section(20), section(30));
        let mut stream = a.clone();
        let rest_of_a = a.len() - 183;
        stream.extend(b.iter().chain(&c));
        stream.resize(183 + 183, 0xff);
        let mut found = Vec::new();
        let mut sections = Sections::default();
        let first = [&[0][..], &stream[..183]].concat();
        let second = [&[rest_of_a as u8][..], &stream[183..]].concat();
        let mut each = |section: &[u8]| found.push(section.to_vec());
        assert_eq!(sections.push(&first, true, &mut each), 0);
        assert_eq!(sections.push(&second, true, &mut each), 0);
        assert_eq!(found, [a, b, c]);
    }

    #[test]
    fn a_wrong_crc_or_length_is_not_taken() {
        let mut bad = section(20);
        bad[8] ^= 1;
        let mut sections = Sections::default();
        let mut none = |_: &[u8]| panic!("damaged");
        assert_eq!(sections.push(&[&[0][..], &bad].concat(), true, &mut none), 1);
        assert_eq!(sections.push(&[0, 2, 0xbf, 0xff, 0], true, &mut none), 1);
        assert_eq!(sections.push(&[200, 0], true, &mut none), 1);
        assert_eq!(sections.push(&[], true, &mut none), 1);
    }
}
