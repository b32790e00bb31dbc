//! The transport packet (ISO/IEC 13818-1 §2.4.3.2) and its adaptation field (§2.4.3.4).

/// Length of a packet, in bytes.
pub const PACKET: usize = 188;

/// First byte of every packet.
pub const SYNC: u8 = 0x47;

/// The header of a packet and where its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Packet identifier, 13 bits.
    pub pid: u16,
    /// `payload_unit_start_indicator`.
    pub starts_unit: bool,
    /// `transport_scrambling_control` is not 0.
    pub scrambled: bool,
    /// `continuity_counter`, 0 to 15.
    pub counter: u8,
    /// The payload; `None` when there is none, and the counter does not count.
    pub payload: Option<&'a [u8]>,
    /// `discontinuity_indicator`.
    pub discontinuity: bool,
    /// The adaptation field holds stuffing: the sender had no more payload to fill the packet with.
    pub stuffed: bool,
    /// Programme clock reference, in 1/27000000 s.
    pub pcr: Option<u64>,
}

impl<'a> Packet<'a> {
    /// Reads a packet. `None` when it is marked as damaged or its header is impossible.
    pub fn parse(bytes: &'a [u8; PACKET]) -> Option<Self> {
        let [sync, b1, b2, b3, ref rest @ ..] = *bytes;
        if sync != SYNC || b1 & 0x80 != 0 {
            return None;
        }
        let rest: &'a [u8] = bytes.get(PACKET - rest.len()..)?;
        let mut packet = Packet {
            pid: u16::from(b1 & 0x1f) << 8 | u16::from(b2),
            starts_unit: b1 & 0x40 != 0,
            scrambled: b3 & 0xc0 != 0,
            counter: b3 & 0x0f,
            payload: None,
            discontinuity: false,
            stuffed: false,
            pcr: None,
        };
        let payload = match b3 >> 4 & 3 {
            0 => return None,
            1 => rest,
            kind => {
                let (&length, rest) = rest.split_first()?;
                let (field, payload) = rest.split_at_checked(usize::from(length))?;
                packet.read_adaptation(field)?;
                if kind == 2 {
                    return Some(packet);
                }
                payload
            }
        };
        // An adaptation field that leaves no room for the payload it announces.
        if payload.is_empty() {
            return None;
        }
        packet.payload = Some(payload);
        Some(packet)
    }

    fn read_adaptation(&mut self, field: &[u8]) -> Option<()> {
        let Some((&flags, mut rest)) = field.split_first() else {
            // A field of length 0 is one byte of stuffing.
            self.stuffed = true;
            return Some(());
        };
        self.discontinuity = flags & 0x80 != 0;
        if flags & 0x10 != 0 {
            let (pcr, after) = rest.split_first_chunk::<6>()?;
            let [a, b, c, d, e, f] = pcr.map(u64::from);
            let base = a << 25 | b << 17 | c << 9 | d << 1 | e >> 7;
            self.pcr = Some(base * 300 + ((e & 1) << 8 | f));
            rest = after;
        }
        if flags & 0x08 != 0 {
            rest = rest.get(6..)?;
        }
        if flags & 0x04 != 0 {
            rest = rest.get(1..)?;
        }
        for flag in [0x02, 0x01] {
            if flags & flag != 0 {
                let (&length, after) = rest.split_first()?;
                rest = after.get(usize::from(length)..)?;
            }
        }
        self.stuffed = !rest.is_empty();
        Some(())
    }
}

/// What a continuity counter says of a packet with payload (§2.4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It follows the one before, or is the first.
    Follows,
    /// It is the one before, sent again.
    Duplicate,
    /// Something is missing before it, unannounced.
    Gap,
    /// Something may be missing before it; the sender said so.
    Announced,
}

/// The continuity of one PID.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    last: Option<u8>,
    payload: Vec<u8>,
    repeated: bool,
    announced: bool,
}

impl Counter {
    /// Takes the next packet of the PID. `None` when it has no payload.
    pub fn check(&mut self, packet: &Packet<'_>) -> Option<Continuity> {
        // The indicator holds for the packets of its PID until the counter next counts.
        self.announced |= packet.discontinuity;
        let payload = packet.payload?;
        let announced = std::mem::take(&mut self.announced);
        let found = match self.last {
            None => Continuity::Follows,
            Some(last) if packet.counter == last.wrapping_add(1) & 0x0f => Continuity::Follows,
            Some(last) if packet.counter == last && !announced && !self.repeated && payload == self.payload => {
                self.repeated = true;
                return Some(Continuity::Duplicate);
            }
            Some(_) if announced => Continuity::Announced,
            Some(_) => Continuity::Gap,
        };
        self.last = Some(packet.counter);
        self.repeated = false;
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        Some(found)
    }

    /// Forgets: the next packet may have any counter.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(head: &[u8]) -> [u8; PACKET] {
        let mut bytes = [0xff; PACKET];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    #[test]
    fn reads_payload_and_adaptation_field() {
        let bytes = packet(&[0x47, 0x41, 0x00, 0x13]);
        let plain = Packet::parse(&bytes).unwrap();
        assert_eq!((plain.pid, plain.starts_unit, plain.counter), (0x100, true, 3));
        assert_eq!(plain.payload.map(<[u8]>::len), Some(184));
        assert!(!plain.stuffed);

        let bytes = packet(&[0x47, 0x01, 0x00, 0x33, 7, 0x10, 0, 0, 0, 2, 0x80, 5]);
        let with_pcr = Packet::parse(&bytes).unwrap();
        assert_eq!(with_pcr.pcr, Some(5 * 300 + 5));
        assert!(!with_pcr.stuffed, "a field that is full holds no stuffing");
        assert_eq!(with_pcr.payload.map(<[u8]>::len), Some(176));

        assert!(Packet::parse(&packet(&[0x47, 1, 0, 0x33, 0])).unwrap().stuffed);
        assert!(Packet::parse(&packet(&[0x47, 1, 0, 0x33, 20, 0])).unwrap().stuffed);
        assert_eq!(Packet::parse(&packet(&[0x47, 1, 0, 0x23, 183, 0])).unwrap().payload, None);
    }

    #[test]
    fn refuses_what_cannot_be_a_packet() {
        for head in [
            &[0x46, 0, 0, 0x10][..],
            &[0x47, 0x80, 0, 0x10],
            &[0x47, 0, 0, 0x00],
            &[0x47, 0, 0, 0x30, 183],
            &[0x47, 0, 0, 0x30, 184],
            &[0x47, 0, 0, 0x20, 4, 0x10],
            &[0x47, 0, 0, 0x20, 2, 0x02, 9],
        ] {
            assert_eq!(Packet::parse(&packet(head)), None, "{head:x?}");
        }
    }

    #[test]
    fn a_packet_may_come_twice_but_not_three_times() {
        let mut counter = Counter::default();
        let (zero, one) = (packet(&[0x47, 1, 0, 0x10]), packet(&[0x47, 1, 0, 0x11]));
        let mut other_one = one;
        other_one[9] = 0;
        let mut check = |bytes: &[u8; PACKET]| counter.check(&Packet::parse(bytes).unwrap()).unwrap();
        assert_eq!(check(&zero), Continuity::Follows);
        assert_eq!(check(&one), Continuity::Follows);
        assert_eq!(check(&one), Continuity::Duplicate);
        assert_eq!(check(&one), Continuity::Gap);
        assert_eq!(check(&other_one), Continuity::Gap, "the same counter but another packet");
        assert_eq!(check(&packet(&[0x47, 1, 0, 0x37, 1, 0x80])), Continuity::Announced);
        assert_eq!(check(&packet(&[0x47, 1, 0, 0x18])), Continuity::Follows);
        assert_eq!(check(&packet(&[0x47, 1, 0, 0x1b])), Continuity::Gap);
    }
}
