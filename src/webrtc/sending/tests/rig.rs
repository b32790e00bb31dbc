//! A stream, one viewer's sending half, and a receiver that checks every packet; time runs in steps of a millisecond.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_dtls::crypto_provider::default_provider;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::super::*;
use crate::clock::Clock;
use crate::webrtc::ice::Transport;
use crate::webrtc::packetizer::Packetizer;
use crate::webrtc::rtp::MAX_DATAGRAM;
use crate::webrtc::srtp::{Keys, Outbound, Profile};

pub const SSRC: u32 = 1111;
pub const RTX: u32 = 2222;
pub const SOUND: u32 = 3333;
/// Between frames, to the millisecond of the rig's time: 30 a second, nearly.
pub const FRAME: Duration = Duration::from_millis(33);
const TICKS: u32 = 33 * 90;
const FIRST_SEQUENCE: u16 = 32_000;
/// Receivers ask again after this, so many times.
const ASK_AGAIN: u64 = 100;
const MOST_ASKED: u32 = 10;

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What the stream is like: frames in a group of pictures, bytes of its first and of the others, and by how much frames
/// come late at most, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub gop: u32,
    pub random_access: usize,
    pub other: usize,
    pub jitter: u32,
}

/// One stretch of `burst` packets in about `every` is lost; 0 for none.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub every: u32,
    pub burst: u32,
    pub round_trip: u64,
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub at: Instant,
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    len: u64,
    catching_up: bool,
}

/// An access unit as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub number: u32,
    pub timestamp: u32,
    pub random_access: bool,
    pub first: Instant,
    pub last: Instant,
}

#[derive(Debug)]
struct Missing {
    ask: Instant,
    asked: u32,
}

pub struct Rig {
    pub now: Instant,
    pub sending: Sending,
    pub wire: Vec<Packet>,
    pub edges: Vec<(Instant, u32)>,
    pub blocked: bool,
    /// No frames come; those that are due come afterwards.
    pub stalled: bool,
    /// Groups of pictures have the shape's number of frames and this one in turn.
    pub other_gop: Option<u32>,
    has_joined: bool,
    start: Instant,
    shape: Shape,
    packetizer: Packetizer,
    frames: Vec<Arc<Frame>>,
    history: History,
    opener: Context,
    batch: Batch,
    loss: Loss,
    losing: u32,
    random: u64,
    lost: BTreeSet<u16>,
    repaired: BTreeSet<u16>,
    missing: BTreeMap<u16, Missing>,
    asked: VecDeque<(Instant, u16)>,
}

impl Rig {
    pub fn new(shape: Shape, pacing: Pacing) -> Self {
        Self::seeded(shape, pacing, 1)
    }

    pub fn seeded(shape: Shape, pacing: Pacing, seed: u64) -> Self {
        let (key, salt) = ([3; 16], [4; 12]);
        let provider = default_provider().unwrap();
        let parts = SendingParts {
            video: Sources { ssrc: SSRC, rtx_ssrc: RTX, first_sequence: FIRST_SEQUENCE },
            negotiated: NegotiatedVideo { payload_type: 96, rtx_payload_type: Some(97), playout_delay: Some(5) },
            sound: Some((SoundSource { ssrc: SOUND, first_sequence: 700 }, NegotiatedSound { payload_type: 111 })),
            srtp: Outbound::new(&Keys::new(Profile::AeadAes128Gcm, &key, &salt).unwrap()).split().0,
            path: Path { local: [127, 0, 0, 1].into(), peer: ([127, 0, 0, 1], 5000).into(), transport: Transport::Udp },
            pacing,
        };
        let start = Clock::system().now();
        Self {
            now: start,
            sending: Sending::new(parts),
            wire: Vec::new(),
            edges: Vec::new(),
            blocked: false,
            stalled: false,
            other_gop: None,
            has_joined: false,
            start,
            shape,
            packetizer: Packetizer::default(),
            frames: Vec::new(),
            history: History::default(),
            opener: Context::new(&key, &salt, ProtectionProfile::AeadAes128Gcm, None, None, provider.crypto()).unwrap(),
            batch: Batch::default(),
            loss: Loss { every: 0, burst: 0, round_trip: 0 },
            losing: 0,
            random: seed | 1,
            lost: BTreeSet::new(),
            repaired: BTreeSet::new(),
            missing: BTreeMap::new(),
            asked: VecDeque::new(),
        }
    }

    // ---- the stream ------------------------------------------------------------------------

    pub fn frame(&self, number: u32) -> &Frame {
        &self.frames[number as usize]
    }

    pub fn newest(&self) -> u32 {
        self.frames.len() as u32 - 1
    }

    pub fn arrival(&self, number: u32) -> Instant {
        let late = number.wrapping_mul(2_654_435_761) >> 16;
        self.start + FRAME * (number + 1) + ms(u64::from(late % (self.shape.jitter + 1)))
    }

    /// A frame whose first bytes tell its number, in nibbles that make no start code.
    fn make(&mut self) -> Arc<Frame> {
        let number = self.frames.len() as u32;
        let in_two = number % (self.shape.gop + self.other_gop.unwrap_or_default());
        let random_access = in_two == 0 || in_two == self.shape.gop;
        let mut unit = vec![0, 0, 0, 1, if random_access { 0x65 } else { 0x41 }];
        unit.extend((0..8).map(|nibble| 0x10 | (number >> (nibble * 4) & 0xf) as u8));
        let len = if random_access { self.shape.random_access } else { self.shape.other };
        unit.resize(len.max(unit.len()), number as u8 | 1);
        // The clock wraps soon after the start.
        let stamp = (u32::MAX - 300_000).wrapping_add(number * TICKS);
        let frame = self.packetizer.h264(&unit, random_access, stamp, self.now).unwrap();
        Arc::new(frame)
    }

    // ---- time ------------------------------------------------------------------------------

    pub fn run_until_frame(&mut self, count: u32) {
        while self.frames.len() < count as usize {
            self.run(ms(1));
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += ms(1);
            if !self.stalled && self.now >= self.arrival(self.frames.len() as u32) {
                let frame = self.make();
                self.frames.push(frame.clone());
                self.history.push(frame.clone());
                if self.has_joined {
                    self.sending.offer(self.now, &frame);
                    self.pump();
                }
            }
            self.ask();
            if self.sending.due().is_some_and(|due| due <= self.now) || self.blocked {
                self.pump();
            }
        }
    }

    pub fn join(&mut self) {
        self.has_joined = true;
        self.sending.join();
        self.pump();
    }

    pub fn sound(&mut self, timestamp: u32) {
        let payload = [(timestamp / 960) as u8, 1, 2, 3];
        let packet = Packetizer::default().opus(&payload, timestamp, self.now).unwrap();
        self.sending.offer_sound(self.now, &Arc::new(packet));
    }

    pub fn end_source(&mut self) {
        self.history.end_source();
    }

    pub fn pump(&mut self) {
        if !self.blocked {
            self.sending.start(self.now, &self.history);
        }
        let mut batch = std::mem::take(&mut self.batch);
        loop {
            let catching_up = self.sending.is_catching_up();
            if self.sending.fill(self.now, &self.history, &mut batch).is_none() {
                break;
            }
            if self.blocked {
                break;
            }
            let first = batch.data.clone();
            let later = self.now + ms(3);
            assert!(self.sending.fill(later, &self.history, &mut batch).is_some());
            assert!(first == batch.data, "other bytes before the first were sent");
            let catching_up = catching_up || self.sending.is_catching_up();
            self.open(&batch, catching_up);
            self.sending.sent(self.now, &batch);
            self.edges.extend(self.sending.take_edge().map(|edge| (self.now, edge)));
        }
        self.batch = batch;
    }

    fn open(&mut self, batch: &Batch, catching_up: bool) {
        for packet in batch.packets() {
            assert!(packet.len() <= MAX_DATAGRAM);
            let plain = self.opener.decrypt_rtp(packet).unwrap();
            let read: rtc_rtp::Packet = rtc_shared::marshal::Unmarshal::unmarshal(&mut plain.freeze()).unwrap();
            let packet = Packet {
                at: self.now,
                ssrc: read.header.ssrc,
                payload_type: read.header.payload_type,
                sequence: read.header.sequence_number,
                timestamp: read.header.timestamp,
                marker: read.header.marker,
                payload: read.payload.to_vec(),
                len: packet.len() as u64,
                catching_up,
            };
            self.receive(&packet);
            self.wire.push(packet);
        }
    }

    // ---- loss ------------------------------------------------------------------------------

    pub fn lossy(&mut self, loss: Loss) {
        self.loss = loss;
    }

    pub fn lost(&self) -> usize {
        self.lost.len()
    }

    pub fn unrepaired(&self) -> usize {
        self.lost.difference(&self.repaired).count()
    }

    /// xorshift64.
    fn is_lost(&mut self) -> bool {
        if self.losing > 0 {
            self.losing -= 1;
            return true;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let lost = self.loss.every > 0 && (self.random >> 32).is_multiple_of(u64::from(self.loss.every));
        self.losing = if lost { self.loss.burst - 1 } else { 0 };
        lost
    }

    fn receive(&mut self, packet: &Packet) {
        let lost = self.is_lost();
        match packet.ssrc {
            SSRC if lost => {
                self.lost.insert(packet.sequence);
                // It is noticed with the packet behind it, which cannot be far.
                let ask = self.now + ms(self.loss.round_trip / 2 + 1);
                self.missing.insert(packet.sequence, Missing { ask, asked: 0 });
            }
            RTX if !lost => {
                let original = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
                let first = self.wire.iter().rev().find(|sent| sent.ssrc == SSRC && sent.sequence == original).unwrap();
                assert_eq!(packet.payload[2..], first.payload);
                assert_eq!((packet.timestamp, packet.marker), (first.timestamp, first.marker));
                self.missing.remove(&original);
                self.repaired.insert(original);
            }
            _ => {}
        }
    }

    fn ask(&mut self) {
        let now = self.now;
        for (&sequence, missing) in self.missing.iter_mut().filter(|(_, missing)| missing.ask <= now) {
            missing.ask = now + ms(ASK_AGAIN);
            missing.asked += 1;
            if missing.asked <= MOST_ASKED {
                self.asked.push_back((now + ms(self.loss.round_trip / 2), sequence));
            }
        }
        let mut asked = false;
        while self.asked.front().is_some_and(|(at, _)| *at <= now) {
            let (_, sequence) = self.asked.pop_front().unwrap();
            self.sending.nack(now, SSRC, sequence, 0);
            asked = true;
        }
        if asked {
            self.pump();
        }
    }

    // ---- what was sent ---------------------------------------------------------------------

    /// Every access unit of the picture that is whole, each packet checked against its frame.
    pub fn units(&self) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        let mut place = 0;
        let picture = self.wire.iter().filter(|packet| packet.ssrc == SSRC);
        for (n, packet) in picture.enumerate() {
            assert_eq!(packet.sequence, FIRST_SEQUENCE.wrapping_add(n as u16), "a gap, or a number twice");
            if place == 0 {
                let (number, random_access) = read_start(&packet.payload);
                if let Some(before) = units.last() {
                    let step = packet.timestamp.wrapping_sub(before.timestamp) as i32;
                    assert!(step > 0, "stamps go back by {step}");
                }
                let (timestamp, at) = (packet.timestamp, packet.at);
                units.push(Unit { number, timestamp, random_access, first: at, last: at });
            }
            let unit = units.last_mut().unwrap();
            let frame = &self.frames[unit.number as usize];
            assert_eq!(packet.timestamp, unit.timestamp);
            assert_eq!(packet.payload, frame.payload(place).unwrap());
            place += 1;
            assert_eq!(packet.marker, place == frame.packets());
            unit.last = packet.at;
            if packet.marker {
                place = 0;
            }
        }
        if place > 0 {
            units.pop();
        }
        units
    }

    /// How much later a unit came than its stamp says, milliseconds, live ones being on time.
    pub fn apparent_delay(&self, unit: &Unit) -> f64 {
        let newest = self.frame(0);
        let due = f64::from(unit.timestamp.wrapping_sub(newest.timestamp)) / 90.0;
        (unit.last - newest.arrived).as_secs_f64() * 1_000.0 - due
    }

    /// Most bytes of the picture that left beyond what a rate allows, over any stretch of time.
    pub fn fastest(&self, bps: u64) -> u64 {
        beyond(self.wire.iter().filter(|packet| packet.ssrc == SSRC), bps)
    }

    /// Likewise while the viewer was catching up.
    pub fn fastest_catching_up(&self, bps: u64) -> u64 {
        beyond(self.wire.iter().filter(|packet| packet.ssrc == SSRC && packet.catching_up), bps)
    }
}

fn beyond<'a>(packets: impl Iterator<Item = &'a Packet>, bps: u64) -> u64 {
    let (mut level, mut most, mut last) = (0.0f64, 0.0f64, None::<Instant>);
    for packet in packets {
        let drained = last.map_or(0.0, |last| (packet.at - last).as_secs_f64() * bps as f64 / 8.0);
        level = (level - drained).max(0.0) + packet.len as f64;
        most = most.max(level);
        last = Some(packet.at);
    }
    most as u64
}

/// The number of a frame and whether it is a random access point, from its first packet (RFC 6184 §5.6, §5.8).
fn read_start(payload: &[u8]) -> (u32, bool) {
    let (kind, body) = match payload[0] & 0x1f {
        28 => {
            assert_eq!(payload[1] & 0x80, 0x80, "the first packet starts the NAL unit");
            (payload[1] & 0x1f, &payload[2..])
        }
        kind => (kind, &payload[1..]),
    };
    let number = (0..8).map(|nibble| u32::from(body[nibble] & 0xf) << (nibble * 4)).sum();
    (number, kind == 5)
}
