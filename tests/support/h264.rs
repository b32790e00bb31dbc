//! RTP payloads to H.264 access units (RFC 6184), written for the tests alone.

/// A picture put together from RTP packets.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The RTP timestamp, 90 kHz.
    pub timestamp: u32,
    /// Bit n set: a NAL unit of type n is in it.
    pub nal_types: u32,
    /// Size in Annex B form, bytes.
    pub bytes: usize,
    /// Nothing of it was lost and every packet of it was well formed.
    pub whole: bool,
}

impl Frame {
    /// Holds a NAL unit of `nal_type`.
    pub fn has(&self, nal_type: u8) -> bool {
        self.nal_types & (1 << nal_type) != 0
    }

    /// Holds a slice of an IDR picture.
    pub fn is_idr(&self) -> bool {
        self.has(5)
    }
}

/// Puts access units together from packets handed over in order.
#[derive(Debug, Default)]
pub struct Depacketiser {
    annex_b: Vec<u8>,
    current: Option<Frame>,
    in_fragment: bool,
    /// Payloads that break RFC 6184, with the reason of the last.
    pub malformed: u64,
    /// Why the last malformed payload was refused.
    pub last_fault: &'static str,
    /// Pictures that ended without a marker bit.
    pub unmarked: u64,
}

impl Depacketiser {
    /// The picture just completed, in Annex B form.
    pub fn annex_b(&self) -> &[u8] {
        &self.annex_b
    }

    /// Packets are missing before the next one.
    pub fn gap(&mut self) {
        self.in_fragment = false;
        if let Some(frame) = &mut self.current {
            frame.whole = false;
        }
    }

    /// Takes the next packet in order; gives the picture that it ends. `after_gap` says that
    /// packets just before this one are lost for good.
    pub fn push(&mut self, payload: &[u8], timestamp: u32, marker: bool, after_gap: bool) -> Option<Frame> {
        if self.current.as_ref().is_some_and(|frame| frame.timestamp != timestamp) {
            // After a gap the marker may have been in what is lost.
            self.unmarked += u64::from(!after_gap);
            self.current = None;
        }
        if self.current.is_none() {
            self.annex_b.clear();
            self.in_fragment = false;
            self.current = Some(Frame { timestamp, nal_types: 0, bytes: 0, whole: !after_gap });
        } else if after_gap {
            self.gap();
        }
        if let Err(fault) = self.unpack(payload) {
            self.malformed += 1;
            self.last_fault = fault;
            self.gap();
        }
        if !marker {
            return None;
        }
        let mut frame = self.current.take()?;
        frame.bytes = self.annex_b.len();
        if self.in_fragment {
            frame.whole = false;
            self.in_fragment = false;
        }
        Some(frame)
    }

    fn unpack(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let &[first, ref rest @ ..] = payload else { return Err("empty payload") };
        if first & 0x80 != 0 {
            return Err("forbidden_zero_bit set");
        }
        match first & 0x1f {
            1..=23 => self.nal(first, rest),
            24 => self.aggregate(rest),
            28 => self.fragment(first, rest),
            _ => Err("packet type that packetization-mode 1 does not allow"),
        }
    }

    fn nal(&mut self, header: u8, body: &[u8]) -> Result<(), &'static str> {
        if self.in_fragment {
            return Err("a NAL unit inside a fragmented one");
        }
        if body.is_empty() {
            return Err("NAL unit without a body");
        }
        self.start(header);
        self.annex_b.extend_from_slice(body);
        Ok(())
    }

    fn start(&mut self, header: u8) {
        self.annex_b.extend_from_slice(&[0, 0, 0, 1, header]);
        if let Some(frame) = &mut self.current {
            frame.nal_types |= 1 << (header & 0x1f);
        }
    }

    fn aggregate(&mut self, mut rest: &[u8]) -> Result<(), &'static str> {
        if rest.is_empty() {
            return Err("empty STAP-A");
        }
        while let [high, low, tail @ ..] = rest {
            let size = usize::from(u16::from_be_bytes([*high, *low]));
            let (Some(unit), Some(after)) = (tail.get(..size), tail.get(size..)) else {
                return Err("STAP-A unit runs past the packet");
            };
            let [header, body @ ..] = unit else { return Err("empty unit in STAP-A") };
            self.nal(*header, body)?;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err("a stray byte after the last STAP-A unit") }
    }

    fn fragment(&mut self, indicator: u8, rest: &[u8]) -> Result<(), &'static str> {
        let [header, body @ ..] = rest else { return Err("FU-A without a header") };
        let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
        if start && end {
            return Err("FU-A that starts and ends in one packet");
        }
        if body.is_empty() {
            return Err("FU-A without a body");
        }
        if start {
            if self.in_fragment {
                return Err("FU-A starts inside another");
            }
            self.start((indicator & 0xe0) | (header & 0x1f));
            self.in_fragment = true;
        } else if !self.in_fragment {
            return Err("FU-A continues what was never started");
        }
        self.annex_b.extend_from_slice(body);
        if end {
            self.in_fragment = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports, reason = "a bench without a harness has no tests")]
    use super::*;

    #[test]
    fn puts_an_aggregate_and_fragments_into_one_picture() {
        let mut depacketiser = Depacketiser::default();
        assert!(depacketiser.push(&[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2], 9, false, false).is_none());
        assert!(depacketiser.push(&[0x7c, 0x85, 7, 7], 9, false, false).is_none());
        let frame = depacketiser.push(&[0x7c, 0x45, 8], 9, true, false).unwrap();
        assert!(frame.whole && frame.is_idr() && frame.has(7) && frame.has(8));
        assert_eq!(depacketiser.annex_b(), [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 7, 7, 8]);
        assert_eq!(depacketiser.malformed, 0);
    }

    #[test]
    fn a_gap_spoils_the_picture_it_falls_into_and_no_other() {
        let mut depacketiser = Depacketiser::default();
        depacketiser.push(&[0x7c, 0x81, 7, 7], 9, false, false);
        assert!(!depacketiser.push(&[0x7c, 0x41, 8], 9, true, true).unwrap().whole);
        assert!(depacketiser.push(&[0x41, 8], 10, true, false).unwrap().whole);
    }
}
