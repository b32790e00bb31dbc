use rtc_dtls::crypto_provider::default_provider;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::clock::Clock;
use crate::webrtc::batch::{MOST_BYTES, MOST_SEGMENTS};
use crate::webrtc::packetizer::Packetizer;
use crate::webrtc::rtp::MAX_DATAGRAM;
use crate::webrtc::srtp::{Keys, Outbound, OutboundRtp, Profile};

const SSRC: u32 = 1111;
const RTX: u32 = 2222;
const PACING: Pacing = Pacing { live_bps: None, join_bps: 100_000_000 };

struct Bench {
    now: Instant,
    packetizer: Packetizer,
    history: History,
    sender: Sender,
    srtp: OutboundRtp,
    opener: Context,
    frames: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Received {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

impl Bench {
    fn new(first_sequence: u16, rtx: bool) -> Self {
        let (key, salt) = ([3; 16], [4; 12]);
        let negotiated =
            NegotiatedVideo { payload_type: 96, rtx_payload_type: rtx.then_some(97), playout_delay: Some(5) };
        let provider = default_provider().unwrap();
        let theirs = ProtectionProfile::AeadAes128Gcm;
        Self {
            now: Clock::system().now(),
            packetizer: Packetizer::default(),
            history: History::default(),
            sender: Sender::new(Sources { ssrc: SSRC, rtx_ssrc: RTX, first_sequence }, negotiated, PACING),
            srtp: Outbound::new(&Keys::new(Profile::AeadAes128Gcm, &key, &salt).unwrap()).split().0,
            opener: Context::new(&key, &salt, theirs, None, None, provider.crypto()).unwrap(),
            frames: 0,
        }
    }

    fn frame(&mut self, random_access: bool, bytes: usize) {
        let mut unit = vec![0, 0, 0, 1, if random_access { 0x65 } else { 0x41 }];
        unit.resize(bytes, self.frames as u8 | 1);
        let frame = self.packetizer.h264(&unit, random_access, self.frames * 3000, self.now).unwrap();
        self.frames += 1;
        let frame = Arc::new(frame);
        self.history.push(frame.clone());
        self.sender.offer(self.now, &frame);
    }

    fn fill(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        self.sender.fill(self.now, &self.srtp, &self.history, &mut batch).then_some(batch)
    }

    fn open(&mut self, batch: &Batch) -> Vec<Received> {
        batch
            .packets()
            .map(|packet| {
                assert!(packet.len() <= MAX_DATAGRAM);
                let plain = self.opener.decrypt_rtp(packet).unwrap();
                let packet: rtc_rtp::Packet = rtc_shared::marshal::Unmarshal::unmarshal(&mut plain.freeze()).unwrap();
                assert_eq!(packet.header.get_extension(5).as_deref(), Some(&[0u8, 0, 0][..]));
                Received {
                    ssrc: packet.header.ssrc,
                    sequence: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    payload: packet.payload.to_vec(),
                }
            })
            .collect()
    }

    fn drain(&mut self) -> Vec<Received> {
        let mut all = Vec::new();
        while let Some(batch) = self.fill() {
            all.extend(self.open(&batch));
            self.sender.sent(self.now, &batch);
        }
        all
    }
}

#[test]
fn waits_for_a_random_access_point_then_numbers_without_gaps() {
    let mut bench = Bench::new(65_530, true);
    bench.frame(false, 5_000);
    assert!(bench.drain().is_empty());
    bench.frame(true, 100_000);
    bench.frame(false, 5_000);
    let received = bench.drain();
    assert_eq!(received.len(), 100_000 / 1_160 + 1 + 5);
    for (n, packet) in received.iter().enumerate() {
        assert_eq!(packet.sequence, 65_530u16.wrapping_add(n as u16), "over the rollover");
        assert_eq!(packet.ssrc, SSRC);
    }
    let markers: Vec<_> = received.iter().filter(|packet| packet.marker).map(|packet| packet.timestamp).collect();
    assert_eq!(markers, [3_000, 6_000], "one marker for each access unit");
    assert_eq!(bench.sender.counts().packets, received.len() as u64);
    assert_eq!(bench.sender.counts().dropped_units, 0, "nobody misses what came before the start");
}

#[test]
fn a_batch_is_one_call_of_equal_segments() {
    let mut bench = Bench::new(0, true);
    bench.frame(true, 300_000);
    let mut calls = 0;
    while let Some(batch) = bench.fill() {
        let lengths: Vec<_> = batch.packets().map(<[u8]>::len).collect();
        assert!(lengths.len() <= MOST_SEGMENTS && batch.data.len() <= MOST_BYTES);
        assert!(lengths[..lengths.len() - 1].iter().all(|len| *len == batch.segment));
        bench.sender.sent(bench.now, &batch);
        calls += 1;
    }
    assert_eq!(calls, 6);
}

#[test]
fn what_was_not_sent_comes_again_unchanged() {
    let mut bench = Bench::new(0, true);
    bench.frame(true, 3_000);
    let first = bench.fill().unwrap();
    let again = bench.fill().unwrap();
    assert_eq!(first.data, again.data);
    assert_eq!(bench.sender.counts().packets, 0);
}

#[test]
fn a_viewer_that_cannot_keep_up_goes_on_at_the_next_random_access_point() {
    let mut bench = Bench::new(100, true);
    bench.frame(true, 3_000);
    bench.drain();
    bench.frame(false, 3_000);
    bench.now += LONGEST_WAIT + Duration::from_millis(1);
    bench.frame(false, 3_000);
    bench.frame(false, 3_000);
    assert!(bench.drain().is_empty());
    assert!(!bench.sender.is_live());
    assert_eq!(bench.sender.counts().dropped_units, 3);
    bench.frame(true, 3_000);
    let received = bench.drain();
    assert_eq!(received[0].sequence, 103, "no gap that would be reported missing");
    assert_eq!(received[0].timestamp, 4 * 3_000);
}

#[test]
fn missing_packets_are_sent_again_with_a_source_of_their_own() {
    let mut bench = Bench::new(65_534, true);
    bench.frame(true, 10_000);
    let sent = bench.drain();
    bench.sender.nack(bench.now, 65_535, 0b10);
    let again = bench.drain();
    assert_eq!(again.len(), 2);
    for (n, (again, original)) in again.iter().zip([&sent[1], &sent[3]]).enumerate() {
        assert_eq!(again.ssrc, RTX);
        assert_eq!(again.sequence, 65_534u16.wrapping_add(n as u16));
        assert_eq!(again.timestamp, original.timestamp);
        assert_eq!(again.payload[..2], original.sequence.to_be_bytes());
        assert_eq!(again.payload[2..], original.payload);
    }
    bench.sender.nack(bench.now, 65_535, 0);
    assert!(bench.drain().is_empty(), "reported twice, sent once");
    bench.now += Duration::from_millis(40);
    bench.sender.nack(bench.now, 65_535, 0);
    assert_eq!(bench.drain().len(), 1, "and again when it was lost again");
    assert_eq!(bench.sender.counts().retransmitted, 3);
    assert_eq!(bench.sender.counts().nacked, 4);
}

#[test]
fn without_rtx_the_very_packet_is_sent_again() {
    let mut bench = Bench::new(0, false);
    bench.frame(true, 3_000);
    let batch = bench.fill().unwrap();
    let second = batch.packets().nth(1).unwrap().to_vec();
    bench.sender.sent(bench.now, &batch);
    bench.sender.nack(bench.now, 1, 0);
    assert_eq!(bench.fill().unwrap().data, second);
}

#[test]
fn packets_before_a_drop_are_still_found() {
    let mut bench = Bench::new(0, true);
    bench.frame(true, 3_000);
    let first = bench.drain();
    bench.frame(false, 3_000);
    bench.now += LONGEST_WAIT * 2;
    bench.frame(true, 3_000);
    let second = bench.drain();
    bench.sender.nack(bench.now, first[1].sequence, 0);
    bench.sender.nack(bench.now, second[1].sequence, 0);
    let again = bench.drain();
    assert_eq!(again[0].payload[2..], first[1].payload);
    assert_eq!(again[1].payload[2..], second[1].payload);
}

#[test]
fn retransmission_is_bounded_and_unknown_packets_are_ignored() {
    let mut bench = Bench::new(0, true);
    bench.sender.nack(bench.now, 5, 0xffff);
    assert!(bench.drain().is_empty(), "nothing was sent yet");
    bench.frame(true, 1_000_000);
    let sent = bench.drain().len() as u16;
    bench.sender.nack(bench.now, sent, 0xffff);
    bench.sender.nack(bench.now, 40_000, 0xffff);
    assert!(bench.drain().is_empty(), "never sent");
    for n in 0..sent / 17 {
        bench.sender.nack(bench.now, n * 17, 0xffff);
    }
    let mut again = 0;
    while !bench.sender.repeats.is_empty() {
        again += bench.drain().len() as u64 * 1_000;
        bench.now += Duration::from_millis(1);
    }
    assert!((80_000..=200_000).contains(&again), "{again}");
    assert!(bench.sender.repeats.is_empty());
}
