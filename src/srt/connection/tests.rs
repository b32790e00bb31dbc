//! A connection against `srt-protocol`'s own sender, over a network of our making, in manual time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use srt_protocol::options::{PacketCount, PacketSize};

use super::*;
use crate::clock::Clock;
use crate::srt::keys::KEY_ENTROPY;
use crate::srt::screen::screen;

const SENDER: u32 = 11;
const RECEIVER: u32 = 22;
const FIRST: u32 = screen_mask() - 500;

const fn screen_mask() -> u32 {
    crate::srt::screen::SEQUENCE_MASK
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 9000).into()
}

fn start() -> Instant {
    Clock::manual().0.now()
}

fn receiver(now: Instant, latency: Duration, keys: Option<StreamKeys>) -> Connection {
    Connection::new(
        now,
        Agreement {
            remote: address(),
            peer_socket: SENDER,
            local_socket: RECEIVER,
            initial_sequence: FIRST,
            latency,
            keys,
        },
    )
}

/// The crate's connection as a sender.
fn sender(now: Instant, latency: Duration) -> DuplexConnection {
    let settings = ConnectionSettings {
        remote: address(),
        remote_sockid: SocketId(RECEIVER),
        local_sockid: SocketId(SENDER),
        socket_start_time: now,
        rtt: Duration::ZERO,
        init_seq_num: SeqNumber(FIRST),
        max_packet_size: PacketSize(1500),
        max_flow_size: PacketCount(8192),
        send_tsbpd_latency: latency,
        recv_tsbpd_latency: latency,
        too_late_packet_drop: true,
        peer_idle_timeout: Duration::from_secs(100),
        recv_buffer_size: PacketCount(8192),
        send_buffer_size: PacketCount(8192),
        cipher: None,
        stream_id: None,
        bandwidth: LiveBandwidthMode::Unlimited,
        statistics_interval: Duration::from_secs(3600),
    };
    DuplexConnection::new(Established { settings, handshake: Handshake::Connector })
}

/// Chance from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Weather {
    loss: u64,
    duplicates: u64,
    jitter_ms: u64,
    seed: u64,
}

/// What came out: number, and how long after it was first sent.
struct Outcome {
    delays: BTreeMap<u64, Duration>,
    in_order: bool,
    counters: Counters,
}

const ONE_WAY: Duration = Duration::from_millis(10);

/// Sends one packet a millisecond through the weather, at `latency`.
fn run(packets: u64, latency: Duration, weather: &Weather) -> Outcome {
    let begin = start();
    let (mut sender, mut receiver) = (sender(begin, latency), receiver(begin, latency, None));
    let mut chance = Chance(weather.seed);
    let mut there: BTreeMap<(Instant, u64), Bytes> = BTreeMap::new();
    let mut back: BTreeMap<(Instant, u64), Bytes> = BTreeMap::new();
    let (mut delays, mut in_order, mut expected) = (BTreeMap::new(), true, 0);
    let mut sent: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut unique = 0;
    let mut post = |way: &mut BTreeMap<(Instant, u64), Bytes>, now: Instant, bytes: Bytes| {
        let copies = 1 + u64::from(chance.percent(weather.duplicates));
        for _ in 0..copies {
            if !chance.percent(weather.loss) {
                unique += 1;
                way.insert((now + ONE_WAY + ms(chance.below(weather.jitter_ms + 1)), unique), bytes.clone());
            }
        }
    };
    for step in 0..packets + 1000 {
        let now = begin + ms(step);
        if step < packets {
            sender.handle_data_input(now, Some((now, Bytes::from(step.to_be_bytes().repeat(160)))));
        }
        sender.check_timers(now);
        while let Some((packet, _)) = sender.next_packet(now) {
            if let Packet::Data(data) = &packet {
                sent.entry(u64::from_be_bytes(data.payload[..8].try_into().unwrap())).or_insert(now);
            }
            post(&mut there, now, serialize(&packet));
        }
        while let Some(entry) = there.first_entry().filter(|entry| entry.key().0 <= now) {
            receiver.handle(now, screen(&entry.remove()).unwrap().body);
        }
        if receiver.next_timeout() <= now {
            receiver.handle_timeout(now);
        }
        while let Some(bytes) = receiver.poll_transmit() {
            post(&mut back, now, bytes);
        }
        while let Some(entry) = back.first_entry().filter(|entry| entry.key().0 <= now) {
            let packet = Packet::parse(&mut entry.remove(), false).unwrap();
            sender.handle_packet_input(now, Ok((packet, address())));
        }
        for payload in drained(&mut receiver) {
            let number = u64::from_be_bytes(payload[..8].try_into().unwrap());
            in_order &= number >= expected;
            expected = number + 1;
            delays.insert(number, now - sent[&number]);
        }
    }
    Outcome { delays, in_order, counters: receiver.counters() }
}

#[test]
fn a_clean_network_adds_nothing_to_its_own_delay() {
    let weather = Weather { loss: 0, duplicates: 0, jitter_ms: 0, seed: 1 };
    let outcome = run(3000, ms(120), &weather);
    assert_eq!(outcome.delays.len(), 3000);
    assert!(outcome.delays.values().all(|delay| *delay == ONE_WAY), "{:?}", outcome.delays.values().max());
    assert_eq!((outcome.counters.lost_packets, outcome.counters.dropped_packets), (0, 0));
    let rtt = outcome.counters.rtt;
    assert!(rtt >= ONE_WAY * 2 && rtt <= ONE_WAY * 2 + ms(2), "{rtt:?}");
}

#[test]
fn nothing_is_missing_with_two_percent_loss_both_ways() {
    for seed in 1..=5 {
        let weather = Weather { loss: 2, duplicates: 1, jitter_ms: 3, seed };
        let outcome = run(10_000, ms(200), &weather);
        assert_eq!(outcome.delays.len(), 10_000, "seed {seed}");
        assert!(outcome.in_order);
        assert_eq!(outcome.counters.dropped_packets, 0);
        let mut delays: Vec<_> = outcome.delays.values().copied().collect();
        delays.sort();
        assert!(delays[9_999] <= ONE_WAY + ms(3 + 200), "{:?}", delays[9_999]);
        // Half of the packets are not behind a gap, and do not wait.
        assert!(delays[5_000] <= ONE_WAY * 3 + ms(6), "{:?}", delays[5_000]);
    }
}

#[test]
fn what_cannot_be_repaired_in_time_is_given_up_and_the_stream_goes_on() {
    // A quarter is lost, and there is time for one repetition at most.
    let weather = Weather { loss: 25, duplicates: 0, jitter_ms: 0, seed: 7 };
    let outcome = run(5000, ms(45), &weather);
    assert!(outcome.in_order);
    let (came, dropped) = (outcome.delays.len() as u64, outcome.counters.dropped_packets);
    assert!(dropped > 0 && came + dropped <= 5000 && came + dropped > 4900, "{came} {dropped}");
    assert!(outcome.delays.values().all(|delay| *delay <= ONE_WAY + ms(45 + 2)), "{:?}", outcome.delays.values().max());
}

fn data(sequence: u32, payload: &'static [u8]) -> Body {
    Body::Data(Data {
        sequence: sequence & screen_mask(),
        encryption: DataEncryption::None,
        retransmitted: false,
        timestamp_us: 0,
        payload: Bytes::from_static(payload),
    })
}

fn drained(connection: &mut Connection) -> Vec<Bytes> {
    let payload = |delivery| match delivery {
        Delivery::Payload(payload) => Some(payload),
        Delivery::Lost(_) => None,
    };
    std::iter::from_fn(|| connection.poll_delivery()).filter_map(payload).collect()
}

#[test]
fn a_drop_request_ends_the_wait_for_what_it_names() {
    let now = start();
    let mut connection = receiver(now, ms(120), None);
    for (n, payload) in [(0, b"a"), (3, b"d"), (5, b"f")] {
        connection.handle(now, data(FIRST + n, payload));
    }
    assert_eq!(drained(&mut connection), ["a"]);
    connection.handle(now, Body::Drop { first: FIRST, last: FIRST + 2 });
    assert_eq!(drained(&mut connection), ["d"]);
    connection.handle(now, Body::Drop { first: FIRST + 4, last: FIRST + 4 });
    assert_eq!(drained(&mut connection), ["f"]);
    assert_eq!(connection.counters().dropped_packets, 3);
}

#[test]
fn a_drop_request_makes_nothing_wait_longer_than_the_latency() {
    let now = start();
    let mut connection = receiver(now, ms(120), None);
    connection.handle(now, data(FIRST, b"a"));
    connection.handle(now, data(FIRST + 5, b"f"));
    // Dropped late, in front of what waits already and behind what is still missing.
    connection.handle(now + ms(100), Body::Drop { first: FIRST + 3, last: FIRST + 4 });
    assert!(connection.next_timeout() <= now + ms(120));
    connection.handle_timeout(now + ms(120));
    assert_eq!(drained(&mut connection), ["a", "f"]);
}

#[test]
fn more_than_there_is_memory_for_does_not_wait_out_a_long_latency() {
    static LONG: [u8; 1456] = [7; 1456];
    let now = start();
    let mut connection = receiver(now, LONGEST_LATENCY, None);
    connection.handle(now, data(FIRST, b"a"));
    for n in 0..11_600 {
        connection.handle(now, data(FIRST + 2 + n, &LONG));
    }
    assert_eq!(drained(&mut connection).len(), 11_601);
    assert_eq!(connection.counters().dropped_packets, 1);
}

#[test]
fn a_long_outage_is_skipped_and_a_senseless_jump_ends_the_connection() {
    let now = start();
    let mut connection = receiver(now, ms(120), None);
    connection.handle(now, data(FIRST, b"a"));
    connection.handle(now + ms(10), data(FIRST + 20_000, b"b"));
    assert_eq!(drained(&mut connection), ["a", "b"]);
    connection.handle(now + ms(11), data(FIRST + 20_001, b"c"));
    assert_eq!(drained(&mut connection), ["c"]);
    // The acknowledgement moves on with it.
    connection.handle_timeout(now + ms(30));
    let acknowledged = std::iter::from_fn(|| connection.poll_transmit())
        .filter_map(|bytes| match Packet::parse(&mut bytes.clone(), false) {
            Ok(Packet::Control(ControlPacket { control_type: ControlTypes::Ack(ack), .. })) => Some(ack.ack_number()),
            _ => None,
        })
        .max();
    assert_eq!(acknowledged.map(|number| number.0), Some((FIRST + 20_002) & screen_mask()));
    connection.handle(now + ms(1200), data(FIRST + 20_002 + 100_000, b"x"));
    assert_eq!(connection.ended(), Some(Ended::LostTrack));
}

#[test]
fn a_silent_peer_is_closed_after_five_seconds_and_told() {
    let now = start();
    let mut connection = receiver(now, ms(120), None);
    connection.handle(now + ms(100), Body::KeepAlive);
    let mut at = now + ms(100);
    while connection.ended().is_none() {
        at = connection.next_timeout().max(at);
        connection.handle_timeout(at);
    }
    assert_eq!((connection.ended(), at), (Some(Ended::Silent), now + ms(5100)));
    let last = std::iter::from_fn(|| connection.poll_transmit()).last().unwrap();
    assert_eq!(screen(&last).unwrap().body, Body::Shutdown);
}

#[test]
fn keeps_the_peer_informed_while_nothing_comes() {
    let now = start();
    let mut connection = receiver(now, ms(120), None);
    let mut alive = 0;
    for step in 0..4500 {
        connection.handle_timeout(now + ms(step));
        alive += std::iter::from_fn(|| connection.poll_transmit()).count();
    }
    assert!((4..=5).contains(&alive), "{alive}");
}

#[test]
fn a_connection_sleeps_between_its_timers() {
    let begin = start();
    let mut connection = receiver(begin, ms(120), None);
    connection.handle(begin, data(FIRST, b"a"));
    let (mut at, mut wakes) = (begin, 0);
    while at < begin + ms(4000) {
        at = connection.next_timeout();
        connection.handle_timeout(at);
        wakes += 1;
    }
    // ACK every 10 ms until acknowledged, NAK every 20 ms.
    assert!(wakes < 4 * 160, "{wakes}");
}

#[test]
fn what_waits_behind_a_gap_is_not_lost_when_the_peer_goes() {
    let now = start();
    let mut connection = receiver(now, ms(120), None);
    connection.handle(now, data(FIRST, b"a"));
    connection.handle(now, data(FIRST + 2, b"c"));
    connection.handle(now, Body::Shutdown);
    let all: Vec<_> = std::iter::from_fn(|| connection.poll_delivery()).collect();
    let payload = |bytes| Delivery::Payload(Bytes::from_static(bytes));
    assert_eq!(all, [payload(b"a"), Delivery::Lost(1), payload(b"c")]);
    assert_eq!(connection.ended(), Some(Ended::ByPeer));
}

#[test]
fn packets_in_the_clear_are_not_let_into_an_encrypted_stream() {
    let now = start();
    let keys = StreamKeys::make("correct horse", 16, &[1; KEY_ENTROPY]).unwrap();
    let mut connection = receiver(now, ms(120), Some(keys));
    connection.handle(now, data(FIRST, b"forged"));
    assert_eq!(drained(&mut connection), [] as [&[u8]; 0]);
    assert_eq!(connection.counters().undecryptable_packets, 1);
}

#[test]
fn new_keys_are_answered_once_they_fit() {
    let now = start();
    let keys = StreamKeys::make("correct horse", 16, &[1; KEY_ENTROPY]).unwrap();
    let next = StreamKeys::make("correct horse", 16, &[2; KEY_ENTROPY]).unwrap().message().clone();
    let mut connection = receiver(now, ms(120), Some(keys));
    let answers = |connection: &mut Connection| std::iter::from_fn(|| connection.poll_transmit()).count();
    let wrapped =
        |message: &KeyingMaterialMessage| Body::Keys(Keys::Wrapped { response: false, message: message.clone() });
    connection.handle(now, wrapped(&next));
    connection.handle(now + ms(1), wrapped(&next));
    assert_eq!(answers(&mut connection), 2);
    let foreign = StreamKeys::make("battery staple", 16, &[3; KEY_ENTROPY]).unwrap();
    connection.handle(now + ms(500), wrapped(foreign.message()));
    assert_eq!(answers(&mut connection), 0);
}

proptest! {
    /// Any order of any screened datagrams: no panic, nothing handed over twice or out of order,
    /// nothing kept back longer than the latency.
    #[test]
    fn no_order_of_datagrams_panics_or_mixes_up_the_stream(
        steps in proptest::collection::vec((0u8..8, 0u32..12_000, any::<u32>(), 0u64..400), 1..200)
    ) {
        let mut now = start();
        let mut connection = receiver(now, ms(120), None);
        let mut last = None;
        let mut arrived = BTreeMap::new();
        for (kind, near, wild, wait) in steps {
            let next = now + ms(wait);
            while let Some(due) = connection.reassembly.gives_up_at().filter(|due| *due <= next) {
                now = now.max(due);
                connection.handle_timeout(now);
                check(&mut connection, now, &arrived, &mut last)?;
            }
            now = next;
            let sequence = FIRST.wrapping_add(near) & screen_mask();
            let body = match kind {
                0..=3 => Body::Data(Data {
                    sequence,
                    encryption: DataEncryption::None,
                    retransmitted: wild & 1 == 1,
                    timestamp_us: wild,
                    payload: Bytes::copy_from_slice(&near.to_be_bytes()),
                }),
                4 => Body::Drop { first: sequence, last: sequence.wrapping_add(wild % 5000) & screen_mask() },
                5 => Body::AckAck(wild % 64),
                6 => Body::KeepAlive,
                _ => Body::Data(Data {
                    sequence: wild & screen_mask(),
                    encryption: DataEncryption::None,
                    retransmitted: false,
                    timestamp_us: near,
                    payload: Bytes::copy_from_slice(&u32::MAX.to_be_bytes()),
                }),
            };
            if let 0..=3 = kind {
                arrived.entry(near).or_insert(now);
            }
            connection.handle(now, body);
            if connection.next_timeout() <= now {
                connection.handle_timeout(now);
            }
            while connection.poll_transmit().is_some() {}
            check(&mut connection, now, &arrived, &mut last)?;
            if connection.ended().is_some() {
                break;
            }
        }
    }
}

/// That what comes out now is in order and came no longer ago than the latency.
fn check(
    connection: &mut Connection,
    now: Instant,
    arrived: &BTreeMap<u32, Instant>,
    last: &mut Option<u32>,
) -> Result<(), TestCaseError> {
    for payload in drained(connection) {
        let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
        if number != u32::MAX {
            prop_assert!(last.is_none_or(|last| number > last), "{last:?} {number}");
            *last = Some(number);
            let kept = now - arrived[&number];
            prop_assert!(kept <= ms(120), "{number} was kept {kept:?}");
        }
    }
    Ok(())
}
