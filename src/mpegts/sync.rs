//! From bytes in any pieces to whole packets: finding their boundaries, and finding them again.

use super::packet::{PACKET, SYNC};

/// Sync bytes in a row, a packet apart, that make a boundary believable.
const STRIDES: usize = 4;

/// Bytes needed to see that many.
const LOOK: usize = PACKET * (STRIDES - 1) + 1;

/// What the next step over the bytes gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A packet.
    Packet(&'a [u8; PACKET]),
    /// Boundaries were lost here; what came last is not to be trusted.
    Lost,
}

/// Cuts bytes into packets.
#[derive(Debug, Default)]
pub struct Sync {
    carry: Vec<u8>,
    locked: bool,
    skipped: u64,
}

impl Sync {
    /// Takes the next bytes and hands each step to `each`, in order.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Step<'_>)) {
        if self.carry.is_empty() {
            let used = self.run(bytes, &mut each);
            self.carry.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut all = std::mem::take(&mut self.carry);
            all.extend_from_slice(bytes);
            let used = self.run(&all, &mut each);
            all.drain(..used.min(all.len()));
            self.carry = all;
        }
    }

    /// Bytes are missing between what was pushed and what comes next.
    pub fn gap(&mut self) {
        if !self.carry.is_empty() {
            // The gap is in the middle of a packet: where the next one begins is unknown.
            self.skipped += self.carry.len() as u64;
            self.carry.clear();
            self.locked = false;
        }
    }

    /// Whether all that was pushed is whole packets.
    pub fn is_between_packets(&self) -> bool {
        self.locked && self.carry.is_empty()
    }

    /// Bytes passed over so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns how many bytes are done with; fewer than [`LOOK`] stay.
    fn run(&mut self, bytes: &[u8], each: &mut impl FnMut(Step<'_>)) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..) {
            if self.locked {
                match rest.first_chunk::<PACKET>() {
                    Some(packet) if packet.first() == Some(&SYNC) => {
                        each(Step::Packet(packet));
                        at += PACKET;
                    }
                    None if rest.first().is_none_or(|&first| first == SYNC) => break,
                    _ => {
                        self.locked = false;
                        each(Step::Lost);
                    }
                }
            } else if rest.len() < LOOK {
                break;
            } else if rest.iter().step_by(PACKET).take(STRIDES).all(|&byte| byte == SYNC) {
                self.locked = true;
            } else {
                at += 1;
                self.skipped += 1;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets(count: usize) -> Vec<u8> {
        (0..count).flat_map(|n| std::iter::once(SYNC).chain(std::iter::repeat_n(n as u8, PACKET - 1))).collect()
    }

    fn run(pieces: &[&[u8]]) -> (Vec<Option<u8>>, u64) {
        let mut sync = Sync::default();
        let mut seen = Vec::new();
        for piece in pieces {
            sync.push(piece, |step| match step {
                Step::Packet(packet) => seen.push(Some(packet[1])),
                Step::Lost => seen.push(None),
            });
        }
        (seen, sync.skipped())
    }

    #[test]
    fn resyncs_after_a_lost_sync_byte() {
        let mut bytes = packets(10);
        bytes[4 * PACKET] = 0;
        let (seen, skipped) = run(&[&bytes]);
        let expected = [0, 1, 2, 3].map(Some).into_iter().chain([None]).chain([5, 6, 7, 8, 9].map(Some));
        assert_eq!(seen, expected.collect::<Vec<_>>());
        assert_eq!(skipped, PACKET as u64);
    }

    #[test]
    fn one_sync_byte_alone_is_not_believed() {
        let mut bytes = vec![SYNC; 3];
        bytes.extend([0; 50]);
        bytes.extend(packets(6));
        assert_eq!(run(&[&bytes]).0, [0, 1, 2, 3, 4, 5].map(Some));
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_packets(
            junk in prop::collection::vec(any::<u8>(), 0..400),
            cut in 0usize..3000,
            sizes in prop::collection::vec(1usize..500, 1..60),
        ) {
            let mut bytes = packets(8);
            bytes.extend(&junk);
            bytes.extend(packets(8));
            bytes.remove(cut % bytes.len());
            let whole = run(&[&bytes]);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(run(&pieces), whole);
        }
    }
}
