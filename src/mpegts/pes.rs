//! PES packets (ISO/IEC 13818-1 §2.4.3.6): where each begins, what its header says, where it ends.

use std::time::Instant;

use super::demuxer::Out;

/// A PES packet of known length that is nearly as long as one can be may have been cut for that
/// reason alone, and a picture may go on in the next.
const NEAR_LIMIT: usize = 65_000;

/// Times in a row that a sign must have been a PES packet's end, and nothing else, before it is taken as one: a quarter
/// of a second. A source that shows it elsewhere as well hardly looks right that long, and if it does, it costs a picture.
const TRUSTED_AFTER: u32 = 8;
/// How many times more it takes after each PES packet that went on: a source that shows it within key frames only is not
/// believed again before each of them.
const TRUSTED_LATER: u32 = 32;
/// It never takes more: nine minutes at 30 pictures a second.
const TRUSTED_AT_LAST: u32 = 16_384;
/// How many times as large as any that ended with it a PES packet may be for a sign to be believed. Key frames of one
/// picture vary by less and do not wait to be the largest so far; from pictures to key frames it is more.
const LARGER: usize = 2;

/// How the end of a PES packet was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its length was reached.
    Length,
    /// The next one began.
    NextStart,
    /// This source showed a sign that it shows at no other place.
    Sign,
}

/// What a PES header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Presentation time, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time, 33 bits.
    pub dts: Option<u64>,
    /// Its length is set, and so large that it may have been cut to fit.
    pub near_limit: bool,
}

/// Takes what PES packets carry.
pub trait Sink {
    /// A PES packet begins.
    fn begin(&mut self, start: Start, out: &mut Out);
    /// The next bytes of its payload.
    fn data(&mut self, bytes: &[u8], now: Instant, out: &mut Out);
    /// It is complete.
    fn end(&mut self, out: &mut Out);
    /// Something is missing or wrong: what was begun is of no use.
    fn broken(&mut self, out: &mut Out);
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing is open, until the next start.
    Idle,
    /// Complete by its length.
    Done,
    /// The header is not whole yet.
    Header,
    /// `left` is unknown when the length is not set.
    Body { left: Option<usize> },
    /// Taken as complete because of a sign; the next start will say whether it was.
    EndedEarly,
}

/// Reads the PES packets of one track.
#[derive(Debug)]
pub struct Pes {
    state: State,
    header: Vec<u8>,
    /// Bytes of it so far, the header included.
    size: usize,
    /// Its last transport packet is stuffed, and no other.
    stuffing: Sign,
    /// The sender's datagram ends short of full, for it has nothing more to send now.
    flush: Sign,
}

/// Learns whether a source shows something at the end of its PES packets and nowhere else.
#[derive(Debug)]
struct Sign {
    /// PES packets in a row that ended with it and showed it nowhere else.
    agreed: u32,
    needed: u32,
    /// The largest of them: what a source does with pictures is not known of key frames before one was seen.
    largest: usize,
    /// The last packet shows it.
    shown: bool,
    /// The PES packet went on after it was shown.
    refuted: bool,
}

impl Sign {
    fn new() -> Self {
        Self { agreed: 0, needed: TRUSTED_AFTER, largest: 0, shown: false, refuted: false }
    }

    /// Whether a PES packet of this size ends here.
    fn is_end(&self, size: usize) -> bool {
        self.shown && self.agreed >= self.needed && size <= self.largest.saturating_mul(LARGER)
    }

    /// The PES packet has ended, where the sign was last shown if it was.
    fn confirm(&mut self, size: usize) {
        if std::mem::take(&mut self.shown) && !self.refuted {
            self.agreed = self.agreed.saturating_add(1);
            self.largest = self.largest.max(size);
        }
    }

    /// The PES packet goes on.
    fn refute(&mut self) {
        if std::mem::take(&mut self.shown) && !std::mem::replace(&mut self.refuted, true) {
            (self.agreed, self.largest) = (0, 0);
            self.needed = self.needed.saturating_mul(TRUSTED_LATER).min(TRUSTED_AT_LAST);
        }
    }

    /// Another PES packet begins, or what is open cannot become whole.
    fn forget(&mut self) {
        (self.shown, self.refuted) = (false, false);
    }
}

impl Pes {
    /// Waits for the first start.
    pub fn new() -> Self {
        Self { state: State::Idle, header: Vec::new(), size: 0, stuffing: Sign::new(), flush: Sign::new() }
    }

    /// Takes the payload of the track's next transport packet.
    pub fn push(
        &mut self,
        payload: &[u8],
        starts: bool,
        stuffed: bool,
        now: Instant,
        sink: &mut impl Sink,
        out: &mut Out,
    ) {
        if starts {
            self.next_start(sink, out);
            self.state = State::Header;
            self.header.clear();
            self.size = payload.len();
            // Stuffing in a first packet says nothing: PCR and flags are stuffed there too.
            self.read(payload, now, sink, out);
            return;
        }
        let is_open = matches!(self.state, State::Header | State::Body { .. });
        if is_open || self.state == State::EndedEarly {
            self.stuffing.refute();
            self.flush.refute();
        }
        if is_open {
            self.size += payload.len();
            self.stuffing.shown = stuffed;
            self.read(payload, now, sink, out);
            match self.state {
                State::Body { left: None } if self.stuffing.is_end(self.size) => self.complete(End::Sign, sink, out),
                State::Done => self.stuffing.confirm(self.size),
                _ => {}
            }
        } else if self.state == State::EndedEarly {
            // It went on: what was delivered was cut short, and the rest is of no use.
            out.stats.early_end_mistakes += 1;
            self.state = State::Idle;
            sink.broken(out);
        }
    }

    /// The track's last transport packet was the last of a datagram that had room for more.
    pub fn flushed(&mut self, sink: &mut impl Sink, out: &mut Out) {
        match self.state {
            State::Idle | State::Header | State::Body { left: Some(_) } => {}
            State::EndedEarly => self.flush.shown = true,
            State::Body { left: None } => {
                self.flush.shown = true;
                if self.flush.is_end(self.size) {
                    self.complete(End::Sign, sink, out);
                }
            }
            State::Done => {
                self.flush.shown = true;
                self.flush.confirm(self.size);
                self.state = State::Idle;
            }
        }
    }

    /// Something is missing: what is open cannot become whole.
    pub fn gap(&mut self, sink: &mut impl Sink, out: &mut Out) {
        if self.state != State::EndedEarly {
            sink.broken(out);
        }
        self.state = State::Idle;
        self.forget_signs();
    }

    fn forget_signs(&mut self) {
        self.stuffing.forget();
        self.flush.forget();
    }

    fn next_start(&mut self, sink: &mut impl Sink, out: &mut Out) {
        if matches!(self.state, State::Body { left: None } | State::EndedEarly) {
            self.stuffing.confirm(self.size);
            self.flush.confirm(self.size);
        }
        self.forget_signs();
        match self.state {
            State::Body { left: None } => self.complete(End::NextStart, sink, out),
            State::Body { left: Some(_) } | State::Header => sink.broken(out),
            State::Idle | State::Done | State::EndedEarly => {}
        }
    }

    /// The one place where a PES packet is declared complete.
    fn complete(&mut self, end: End, sink: &mut impl Sink, out: &mut Out) {
        self.state = match end {
            End::Sign => {
                out.stats.early_ends += 1;
                State::EndedEarly
            }
            End::Length => State::Done,
            End::NextStart => State::Idle,
        };
        sink.end(out);
    }

    fn read(&mut self, payload: &[u8], now: Instant, sink: &mut impl Sink, out: &mut Out) {
        if self.state != State::Header {
            return self.body(payload, now, sink, out);
        }
        self.header.extend_from_slice(payload);
        match parse_header(&self.header) {
            Header::Short => {}
            Header::Wrong => {
                out.stats.discarded_units += 1;
                self.state = State::Idle;
                sink.broken(out);
            }
            Header::NotMedia => self.state = State::Idle,
            Header::Whole { start, length, left } => {
                self.state = State::Body { left };
                sink.begin(start, out);
                let header = std::mem::take(&mut self.header);
                self.body(header.get(length..).unwrap_or_default(), now, sink, out);
                self.header = header;
            }
        }
    }

    fn body(&mut self, payload: &[u8], now: Instant, sink: &mut impl Sink, out: &mut Out) {
        let State::Body { left } = &mut self.state else { return };
        let bytes = match left {
            None => payload,
            Some(left) => {
                let bytes = payload.get(..*left).unwrap_or(payload);
                *left -= bytes.len();
                bytes
            }
        };
        let reached = *left == Some(0);
        if !bytes.is_empty() {
            sink.data(bytes, now, out);
        }
        if reached {
            self.complete(End::Length, sink, out);
        }
    }
}

enum Header {
    Short,
    Wrong,
    NotMedia,
    Whole { start: Start, length: usize, left: Option<usize> },
}

fn parse_header(bytes: &[u8]) -> Header {
    let Some(&[a, b, c, id, l1, l2]) = bytes.first_chunk::<6>() else { return Header::Short };
    if [a, b, c] != [0, 0, 1] {
        return Header::Wrong;
    }
    // Stream IDs without the optional header (§2.4.3.7): maps, padding, private 2, ECM, EMM, directory, DSM-CC, H.222.1 E.
    if matches!(id, 0xbc | 0xbe | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff) {
        return Header::NotMedia;
    }
    let Some(&[flags, contents, rest]) = bytes.get(6..9).and_then(|bytes| bytes.first_chunk::<3>()) else {
        return Header::Short;
    };
    // '10', and not scrambled.
    if flags & 0xf0 != 0x80 {
        return Header::Wrong;
    }
    let length = 9 + usize::from(rest);
    let Some(fields) = bytes.get(9..length) else { return Header::Short };
    let (pts, dts) = match contents >> 6 {
        0 => (None, None),
        2 => (timestamp(fields), None),
        3 => (timestamp(fields), timestamp(fields.get(5..).unwrap_or_default())),
        _ => return Header::Wrong,
    };
    if contents >> 7 == 1 && (pts.is_none() || (contents & 0x40 != 0 && dts.is_none())) {
        return Header::Wrong;
    }
    let packet = usize::from(l1) << 8 | usize::from(l2);
    let left = match packet {
        0 => None,
        _ => match (packet + 6).checked_sub(length) {
            Some(left) => Some(left),
            None => return Header::Wrong,
        },
    };
    Header::Whole { start: Start { pts, dts, near_limit: packet >= NEAR_LIMIT }, length, left }
}

/// A PTS or DTS; `None` when its marker bits are not set.
fn timestamp(fields: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e] = fields.first_chunk::<5>()?;
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    (a & c & e & 1 == 1).then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}
