//! Bodies of fuzz targets: what must hold for any bytes.

use std::time::Instant;

use crate::clock::Clock;
use crate::media::MediaItem;

use super::packet::{PACKET, SYNC};
use super::{Demuxer, Stats};

/// What a demuxer makes of these pieces, without the times; `flushed`: each ends what the sender has to send.
fn run<'a>(now: Instant, pieces: impl Iterator<Item = &'a [u8]>, flushed: bool) -> (Vec<String>, Stats) {
    let mut demuxer = Demuxer::new();
    let mut seen = Vec::new();
    for piece in pieces {
        demuxer.push(now, piece);
        if flushed {
            demuxer.flushed();
        }
        while let Some(item) = demuxer.poll() {
            if let MediaItem::Unit(unit) = &item {
                assert!(!unit.data.is_empty() && unit.data.len() <= super::LARGEST_UNIT);
            }
            seen.push(format!("{item:?}"));
        }
    }
    (seen, demuxer.stats())
}

/// Any bytes, cut anyhow, give the same units; and no end of a datagram makes a unit of nothing.
pub fn ts(data: &[u8]) {
    let now = Clock::manual().0.now();
    let whole = run(now, std::iter::once(data), false);
    let size = data.first().map_or(1, |&first| usize::from(first) + 1);
    assert_eq!(run(now, data.chunks(size), false), whole);
    run(now, data.chunks(size * super::packet::PACKET), true);
}

/// Any bytes as the PES of a track: carried in intact packets of a programme with one of each codec.
pub fn pes(data: &[u8]) {
    let mut stream = Vec::new();
    let mut pmt = vec![2, 0xb0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0];
    for (kind, low) in [(0x1b, 0), (0x24, 1), (0x0f, 2)] {
        pmt.extend([kind, 0xe1, low, 0xf0, 0]);
    }
    pmt.extend([0x06, 0xe1, 3, 0xf0, 6, 5, 4, b'O', b'p', b'u', b's']);
    put_section(&mut stream, 0, vec![0, 0xb0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]);
    put_section(&mut stream, 0x1000, pmt);
    let mut counters = [0u8; 4];
    for piece in data.chunks(97) {
        let Some((&head, rest)) = piece.split_first() else { continue };
        let track = usize::from(head & 3);
        let counter = counters.get_mut(track).expect("two bits");
        let starts = if head & 4 != 0 { 0x40 } else { 0 };
        let payload = if head & 0x0c == 0x0c { [&[0, 0, 1, 0xe0][..], rest].concat() } else { rest.to_vec() };
        put_packet(&mut stream, [starts | 1, track as u8], *counter, &payload);
        *counter = (*counter + 1) & 15;
    }
    ts(&stream);
}

fn put_section(stream: &mut Vec<u8>, pid: u16, mut section: Vec<u8>) {
    let length = section.len() + 4 - 3;
    if let Some(low) = section.get_mut(2) {
        *low = length as u8;
    }
    section.extend(super::section::crc32(&section).to_be_bytes());
    let [high, low] = pid.to_be_bytes();
    put_packet(stream, [high | 0x40, low], 0, &[&[0][..], &section].concat());
}

/// One packet, its adaptation field stuffed so that the payload (1 to 182 bytes) fills it.
fn put_packet(stream: &mut Vec<u8>, [b1, b2]: [u8; 2], counter: u8, payload: &[u8]) {
    let field = PACKET - 5 - payload.len().clamp(1, PACKET - 6);
    stream.extend([SYNC, b1, b2, 0x30 | counter & 15, field as u8, 0]);
    stream.extend(std::iter::repeat_n(0xff, field - 1));
    stream.extend(if payload.is_empty() { &[0][..] } else { payload });
}
