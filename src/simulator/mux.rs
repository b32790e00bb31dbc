//! Writes MPEG-TS, as ffmpeg's muxer does: one programme, H.264 and AAC in ADTS.
//!
//! Owns: PAT, PMT, PES, PCR and packets (ISO/IEC 13818-1). Pure.
//! Does not own: what is sent when (`programme`). Nothing is shared with the box's own demultiplexer,
//! so that a misreading of the standard is not tested against itself.

use super::programme::{Kind, Unit};

/// Bytes of a transport stream packet.
pub(super) const PACKET: usize = 188;

const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
/// How far the programme clock runs behind the decoding times: the time a receiver may buffer. 200 ms.
const CLOCK_LEAD: u64 = 18_000;
/// The tables come again at least this often: 100 ms.
const TABLE_TICKS: u64 = 9_000;

/// Packs units. Continuity counters run on for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Muxer {
    tables: u8,
    map: u8,
    video: u8,
    audio: u8,
    tables_due: u64,
}

impl Muxer {
    /// Appends the packets of `unit` to `out`: whole packets, ready to be sent at once.
    pub(super) fn write(&mut self, unit: &Unit, out: &mut Vec<u8>) {
        let idr = unit.kind == Kind::Picture { idr: true };
        if idr || unit.dts >= self.tables_due {
            write_section(&mut self.tables, PAT_PID, &pat(), out);
            write_section(&mut self.map, PMT_PID, &pmt(), out);
            self.tables_due = unit.dts + TABLE_TICKS;
        }
        match unit.kind {
            Kind::Picture { .. } => {
                // §2.4.3.7: length 0 is allowed for video alone, and means "until the next one begins".
                let pes = pes(0xe0, unit, false);
                // Before the first second of the clock there is nothing to subtract: 33 bits, wrapping.
                let clock = unit.dts.wrapping_sub(CLOCK_LEAD);
                write_pes(&mut self.video, VIDEO_PID, Some(clock), idr, &pes, out);
            }
            Kind::Sound => write_pes(&mut self.audio, AUDIO_PID, None, true, &pes(0xc0, unit, true), out),
        }
    }
}

fn pat() -> Vec<u8> {
    let [high, low] = (PMT_PID | 0xe000).to_be_bytes();
    section(0x00, &[0x00, 0x01, high, low])
}

fn pmt() -> Vec<u8> {
    let [video_high, video_low] = (VIDEO_PID | 0xe000).to_be_bytes();
    let [audio_high, audio_low] = (AUDIO_PID | 0xe000).to_be_bytes();
    let (h264, adts) = (0x1b, 0x0f);
    #[rustfmt::skip]
    let body = [
        video_high, video_low, 0xf0, 0x00, // PCR_PID, no programme descriptors
        h264, video_high, video_low, 0xf0, 0x00,
        adts, audio_high, audio_low, 0xf0, 0x00,
    ];
    section(0x02, &body)
}

/// §2.4.4: a long section with table id extension 1, version 0, current.
fn section(table: u8, body: &[u8]) -> Vec<u8> {
    // Both bodies above are far below the 1021 bytes that a section may have.
    let length = u16::try_from(body.len() + 9).unwrap_or(0) | 0xb000;
    let mut section = vec![table];
    section.extend(length.to_be_bytes());
    section.extend([0x00, 0x01, 0xc1, 0x00, 0x00]);
    section.extend(body);
    let crc = crc(&section);
    section.extend(crc.to_be_bytes());
    section
}

/// Annex A: CRC-32 with polynomial 0x04c11db7, not reflected, from all ones.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 }
        })
    })
}

/// §2.4.3.6
fn pes(stream: u8, unit: &Unit, bounded: bool) -> Vec<u8> {
    let with_dts = unit.dts != unit.pts;
    let header: u8 = if with_dts { 10 } else { 5 };
    let length = unit.data.len() + usize::from(header) + 3;
    let length = if bounded { u16::try_from(length).unwrap_or(0) } else { 0 };
    let mut pes = Vec::with_capacity(unit.data.len() + 19);
    pes.extend([0, 0, 1, stream]);
    pes.extend(length.to_be_bytes());
    pes.extend([0x80, if with_dts { 0xc0 } else { 0x80 }, header]);
    pes.extend(timestamp(if with_dts { 3 } else { 2 }, unit.pts));
    if with_dts {
        pes.extend(timestamp(1, unit.dts));
    }
    pes.extend(unit.data.iter());
    pes
}

/// 33 bits in 3 + 15 + 15, each part followed by a marker bit.
fn timestamp(prefix: u8, ticks: u64) -> [u8; 5] {
    let part = |shift: u32| ((ticks >> shift) & 0xff) as u8;
    [
        prefix << 4 | (part(30) & 7) << 1 | 1,
        part(22),
        part(14) | 1, // bits 21-15 in the upper seven: bit 14 gives its place to the marker
        part(7),
        part(0) << 1 | 1,
    ]
}

/// §2.4.4.1: a section in one packet, the rest filled with ones.
fn write_section(counter: &mut u8, pid: u16, section: &[u8], out: &mut Vec<u8>) {
    let end = out.len() + PACKET;
    out.extend(header(counter, pid, true, false));
    out.push(0); // pointer_field
    out.extend(section);
    out.resize(end, 0xff);
}

fn write_pes(counter: &mut u8, pid: u16, clock: Option<u64>, random_access: bool, pes: &[u8], out: &mut Vec<u8>) {
    let mut rest = pes;
    let mut first = true;
    while !rest.is_empty() {
        let mut field = Vec::new();
        if first && (random_access || clock.is_some()) {
            let flags = if random_access { 0x40 } else { 0 } | if clock.is_some() { 0x10 } else { 0 };
            field.push(flags);
            if let Some(ticks) = clock {
                // §2.4.3.5: base 33 bits, 6 reserved ones, extension 9 bits (0).
                let pcr = (ticks & 0x1_ffff_ffff) << 15 | 0x7e00;
                field.extend(pcr.to_be_bytes().iter().skip(2));
            }
        }
        // The field's own length byte counts too, and is there as soon as anything is in it.
        let taken = if field.is_empty() { 0 } else { field.len() + 1 };
        let room = PACKET - 4 - taken;
        let (now, later) = rest.split_at(room.min(rest.len()));
        let stuffing = room - now.len();
        let adaptation = taken > 0 || stuffing > 0;
        out.extend(header(counter, pid, first, adaptation));
        if adaptation {
            let length = taken + stuffing - 1;
            // At most 183, for at least one byte of payload is left.
            out.push(u8::try_from(length).unwrap_or(183));
            if length > 0 && field.is_empty() {
                field.push(0);
            }
            let filled = field.len();
            out.extend(field);
            out.extend(std::iter::repeat_n(0xff, length - filled));
        }
        out.extend(now);
        rest = later;
        first = false;
    }
}

fn header(counter: &mut u8, pid: u16, start: bool, adaptation: bool) -> [u8; 4] {
    let [high, low] = (pid | if start { 0x4000 } else { 0 }).to_be_bytes();
    // There is always payload.
    let control = if adaptation { 0x30 } else { 0x10 };
    let header = [0x47, high, low, control | *counter];
    *counter = (*counter + 1) & 0x0f;
    header
}

#[cfg(test)]
mod tests;
