//! One connection after its handshake.
//!
//! Owns: what is acknowledged and asked for again, decryption, statistics, keepalive and the end.
//! Does not own: its socket, its handshake, the meaning of its payload. Pure. Flows to: `ingest`.
//!
//! Two halves stand side by side:
//! - `srt-protocol`'s `DuplexConnection` keeps the peer informed: ACK, light ACK, NAK at once and
//!   repeated, keepalive, with the timers of the protocol. It is used as nothing else: it gets each
//!   data packet once, as a message of its own and stamped with our own clock, the ACKACKs of ACKs
//!   that it really sent, and keepalives. Its own delivery is off the path: with "too late packet
//!   drop" off it never gives anything up, and what it releases is thrown away.
//! - [`Reassembly`] hands payload over in order at once, and decides when a gap is given up; the
//!   other half then gets a filler for every packet given up, so that it acknowledges them.
//!
//! That keeps every field a peer controls away from arithmetic of the crate that can overflow or
//! panic (`screen` tells which), and makes its in-order buffer one that never waits.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use srt_protocol::connection::{Connection as Established, ConnectionSettings, DuplexConnection};
use srt_protocol::options::{LiveBandwidthMode, PacketCount, PacketSize};
use srt_protocol::packet::{
    Acknowledgement, ControlPacket, ControlTypes, DataEncryption, DataPacket, FullAckSeqNumber, KeyingMaterialMessage,
    MsgNumber, Packet, PacketLocation, SeqNumber, SocketId, SrtControlPacket, TimeStamp,
};
use srt_protocol::protocol::handshake::Handshake;

use super::gaps::GapFigures;
use super::keys::StreamKeys;
use super::reassembly::{Place, Reassembly};
use super::screen::{Body, Data, Keys};

/// A peer that has said nothing for this long is gone.
pub const SILENT_AFTER: Duration = Duration::from_secs(5);
/// The longest latency that is agreed to.
pub const LONGEST_LATENCY: Duration = Duration::from_secs(8);

/// Packets that may be missing or wait behind a gap at once, at least: 1.5 s at 50 Mbit/s.
const LEAST_CAPACITY: u32 = 8192;
/// The same, for each millisecond of latency: twice what 50 Mbit/s need.
const CAPACITY_PER_MS: u32 = 10;
/// The same, at most: 6.9 s at 50 Mbit/s. A peer that asks for more latency than the box is set to
/// gets no more memory for it.
const MOST_CAPACITY: u32 = 32_768;
/// A sequence number may jump this far, once a second, before the connection is given up.
const FARTHEST_JUMP: i64 = 65_536;
/// ACKs whose ACKACK is waited for.
const ACKS_KEPT: usize = 512;
/// An ACKACK later than this tells nothing about the round trip.
const ACK_TTL: Duration = Duration::from_secs(10);
/// New keys from a peer are tried at most this often (each try costs 2048 rounds of SHA-1).
const KEY_INTERVAL: Duration = Duration::from_millis(100);

/// What the handshake agreed on.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The peer's address, as the socket sees it.
    pub remote: SocketAddr,
    /// The peer's socket.
    pub peer_socket: u32,
    /// Ours.
    pub local_socket: u32,
    /// The sequence number of the peer's first packet.
    pub initial_sequence: u32,
    /// The larger of both ends' receive latencies.
    pub latency: Duration,
    /// The keys of the stream, when it is encrypted.
    pub keys: Option<StreamKeys>,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The peer said so.
    #[error("the sender closed the connection")]
    ByPeer,
    /// We did.
    #[error("closed by this box")]
    ByUs,
    /// The peer is not heard any more.
    #[error("nothing heard from the sender for {} s", SILENT_AFTER.as_secs())]
    Silent,
    /// Its sequence numbers make no sense.
    #[error("the sender's sequence numbers jump")]
    LostTrack,
}

/// What has been counted since the connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Round-trip time, smoothed as RFC 6298 does; zero until measured.
    pub rtt: Duration,
    /// Data packets received, repeated ones included.
    pub received_packets: u64,
    /// Their bytes of payload.
    pub received_bytes: u64,
    /// Packets found missing, whether or not they came later.
    pub lost_packets: u64,
    /// Packets that never came in time.
    pub dropped_packets: u64,
    /// Packets that came again on request.
    pub retransmitted_packets: u64,
    /// Packets no key was there for, and packets in the clear on an encrypted connection.
    pub undecryptable_packets: u64,
}

/// What comes out of a connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The next bytes of the stream.
    Payload(Bytes),
    /// So many packets are missing here for good.
    Lost(usize),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    agreement: Agreement,
    engine: DuplexConnection,
    reassembly: Reassembly,
    started: Instant,
    /// The latest time seen: the crate's arithmetic relies on time never going back.
    latest: Instant,
    heard: Instant,
    engine_fed: Instant,
    jumped: Option<Instant>,
    keys_tried: Option<Instant>,
    acks: VecDeque<(u32, Instant)>,
    transmit: VecDeque<Bytes>,
    released: Vec<Option<Bytes>>,
    delivered: VecDeque<Delivery>,
    ended: Option<Ended>,
    counters: Counters,
}

impl Connection {
    /// A connection whose handshake has just been answered.
    pub fn new(now: Instant, agreement: Agreement) -> Self {
        let capacity = capacity(agreement.latency);
        let settings = ConnectionSettings {
            remote: agreement.remote,
            remote_sockid: SocketId(agreement.peer_socket),
            local_sockid: SocketId(agreement.local_socket),
            socket_start_time: now,
            rtt: Duration::ZERO,
            init_seq_num: SeqNumber::new_truncate(agreement.initial_sequence),
            max_packet_size: PacketSize(1500),
            max_flow_size: PacketCount(u64::from(capacity)),
            // Under a second: how long the crate remembers its ACKs, and how much it reserves for them.
            send_tsbpd_latency: Duration::from_millis(500),
            recv_tsbpd_latency: Duration::from_millis(500),
            too_late_packet_drop: false,
            // Silence is judged here.
            peer_idle_timeout: Duration::from_secs(24 * 3600),
            recv_buffer_size: PacketCount(u64::from(capacity) + 1),
            send_buffer_size: PacketCount(1),
            cipher: None,
            stream_id: None,
            bandwidth: LiveBandwidthMode::default(),
            statistics_interval: Duration::from_secs(3600),
        };
        Self {
            engine: DuplexConnection::new(Established { settings, handshake: Handshake::Connector }),
            reassembly: Reassembly::new(now, agreement.initial_sequence, agreement.latency, capacity),
            agreement,
            started: now,
            latest: now,
            heard: now,
            engine_fed: now,
            jumped: None,
            keys_tried: None,
            acks: VecDeque::new(),
            transmit: VecDeque::new(),
            released: Vec::new(),
            delivered: VecDeque::new(),
            ended: None,
            counters: Counters::default(),
        }
    }

    /// What the handshake agreed on.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Takes a screened datagram that came from the peer's address for our socket.
    pub fn handle(&mut self, now: Instant, body: Body) {
        if self.ended.is_some() {
            return;
        }
        let now = self.monotonic(now);
        self.heard = now;
        match body {
            Body::Data(data) => self.handle_data(now, data),
            Body::AckAck(number) => self.handle_ackack(now, number),
            Body::Drop { first, last } => self.handle_drop(now, first, last),
            Body::Keys(Keys::Wrapped { response: false, message }) => self.handle_keys(now, &message),
            Body::Shutdown => {
                // What is missing will not come any more; what waits behind it may go.
                if let Some(last) = self.reassembly.last_waiting() {
                    self.skip_to(now, last);
                }
                self.ended = Some(Ended::ByPeer);
            }
            Body::KeepAlive | Body::Keys(_) | Body::ForSenders | Body::Handshake(_) => {}
        }
        self.collect(now);
    }

    /// Does what is due. Call it when [`Connection::next_timeout`] has come, and after a batch of
    /// datagrams.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        let now = self.monotonic(now);
        if now.saturating_duration_since(self.heard) >= SILENT_AFTER {
            self.end(now, Ended::Silent);
            return;
        }
        while let Some(at) = self.reassembly.overdue(now) {
            self.skip_to(now, at);
        }
        if now.saturating_duration_since(self.engine_fed) >= Duration::from_secs(1) {
            self.engine_fed = now;
            // Keeps the crate's clock at hand: it compares times less than 35 minutes apart only.
            self.feed_control(now, ControlTypes::KeepAlive);
        }
        self.engine.check_timers(now);
        self.collect(now);
    }

    /// When [`Connection::handle_timeout`] is to be called at the latest.
    pub fn next_timeout(&self) -> Instant {
        let engine = self.engine.next_timer(self.latest).max(self.latest + Duration::from_millis(1));
        let silent = self.heard + SILENT_AFTER;
        let gap = self.reassembly.gives_up_at().unwrap_or(silent);
        engine.min(silent).min(gap)
    }

    /// Ends the connection and tells the peer.
    pub fn close(&mut self, now: Instant) {
        let now = self.monotonic(now);
        self.end(now, Ended::ByUs);
    }

    /// The next datagram for the peer.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.pop_front()
    }

    /// What comes next in the stream.
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        self.delivered.pop_front()
    }

    /// Whether the connection is over, and why.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        Counters { lost_packets: self.reassembly.lost, dropped_packets: self.reassembly.dropped, ..self.counters }
    }

    /// How long gaps made packets wait.
    pub fn gaps(&self) -> GapFigures {
        self.reassembly.gaps.figures()
    }

    fn end(&mut self, now: Instant, why: Ended) {
        if self.ended.is_none() {
            self.ended = Some(why);
            self.send_control(now, ControlTypes::Shutdown);
        }
    }

    fn handle_data(&mut self, now: Instant, data: Data) {
        self.counters.received_packets += 1;
        self.counters.received_bytes += data.payload.len() as u64;
        self.counters.retransmitted_packets += u64::from(data.retransmitted);
        let at = match self.reassembly.place(data.sequence) {
            Place::New(at) => at,
            Place::Known => return,
            Place::Beyond(at) => {
                let recently = self.jumped.is_some_and(|before| now - before < Duration::from_secs(1));
                if recently || at - self.reassembly.next() > FARTHEST_JUMP {
                    self.end(now, Ended::LostTrack);
                    return;
                }
                self.jumped = Some(now);
                self.skip_to(now, at);
                at
            }
        };
        let payload = match (&self.agreement.keys, data.encryption) {
            (None, DataEncryption::None) => Some(data.payload),
            (Some(keys), encryption @ (DataEncryption::Even | DataEncryption::Odd)) => {
                keys.decrypt(encryption, data.sequence, &data.payload)
            }
            _ => None,
        };
        self.counters.undecryptable_packets += u64::from(payload.is_none());
        // One that cannot be read would not be more readable if sent again: it counts as here.
        self.feed_data(now, at, payload.clone().unwrap_or_default(), data.retransmitted);
        self.reassembly.insert(now, at, data.timestamp_us, payload, &mut self.released);
        while let Some(at) = self.reassembly.overfull() {
            self.skip_to(now, at);
        }
    }

    fn handle_ackack(&mut self, now: Instant, number: u32) {
        let Some(index) = self.acks.iter().position(|(sent, _)| *sent == number) else { return };
        let newest = self.acks.drain(..=index).next_back();
        if let Some((_, sent)) = newest {
            let sample = now.saturating_duration_since(sent);
            if sample < ACK_TTL {
                let smoothed = if self.counters.rtt.is_zero() { sample } else { (self.counters.rtt * 7 + sample) / 8 };
                self.counters.rtt = smoothed;
                if let Some(number) = FullAckSeqNumber::new(number) {
                    self.feed_control(now, ControlTypes::Ack2(number));
                }
            }
        }
    }

    fn handle_drop(&mut self, now: Instant, first: u32, last: u32) {
        let (first, last) = (self.reassembly.extend(first), self.reassembly.extend(last));
        let missing: Vec<i64> = self.reassembly.missing(first, last).collect();
        for at in missing {
            self.give_up(now, at);
        }
    }

    fn handle_keys(&mut self, now: Instant, message: &KeyingMaterialMessage) {
        let Some(keys) = &mut self.agreement.keys else { return };
        if keys.message() != message {
            if self.keys_tried.is_some_and(|tried| now - tried < KEY_INTERVAL) {
                return;
            }
            self.keys_tried = Some(now);
        }
        if keys.refresh(message).is_ok() {
            let answer = SrtControlPacket::KeyRefreshResponse(message.clone());
            self.send_control(now, ControlTypes::Srt(answer));
        }
    }

    /// Gives up what is missing before `at`.
    fn skip_to(&mut self, now: Instant, at: i64) {
        while self.reassembly.next() < at {
            let next = self.reassembly.next();
            self.give_up(now, next);
        }
    }

    fn give_up(&mut self, now: Instant, at: i64) {
        self.feed_data(now, at, Bytes::new(), true);
        self.reassembly.give_up(now, at, &mut self.released);
    }

    /// Tells the acknowledging half about a packet.
    fn feed_data(&mut self, now: Instant, at: i64, payload: Bytes, retransmitted: bool) {
        let sequence = Reassembly::wire(at);
        let packet = Packet::Data(DataPacket {
            seq_number: SeqNumber(sequence),
            // MPEG-TS is a stream of bytes: where a message ends means nothing.
            message_loc: PacketLocation::ONLY,
            in_order_delivery: true,
            encryption: DataEncryption::None,
            retransmitted,
            message_number: MsgNumber::new_truncate(sequence),
            timestamp: self.timestamp(now),
            dest_sockid: SocketId(self.agreement.local_socket),
            payload,
        });
        self.engine.handle_packet_input(now, Ok((packet, self.agreement.remote)));
        // All times are ours and past, so what is in order leaves its buffer at once.
        while self.engine.next_data(now + LONGEST_LATENCY).is_some() {}
    }

    fn feed_control(&mut self, now: Instant, control_type: ControlTypes) {
        let packet = Packet::Control(ControlPacket {
            timestamp: self.timestamp(now),
            dest_sockid: SocketId(self.agreement.local_socket),
            control_type,
        });
        self.engine.handle_packet_input(now, Ok((packet, self.agreement.remote)));
    }

    fn send_control(&mut self, now: Instant, control_type: ControlTypes) {
        let dest_sockid = SocketId(self.agreement.peer_socket);
        let packet = ControlPacket { timestamp: self.timestamp(now), dest_sockid, control_type };
        self.transmit.push_back(serialize(&Packet::Control(packet)));
    }

    /// Moves on what the two halves have made of their input.
    fn collect(&mut self, now: Instant) {
        for released in self.released.drain(..) {
            match (released, self.delivered.back_mut()) {
                (Some(payload), _) => self.delivered.push_back(Delivery::Payload(payload)),
                (None, Some(Delivery::Lost(packets))) => *packets += 1,
                (None, _) => self.delivered.push_back(Delivery::Lost(1)),
            }
        }
        let mut light = None;
        while let Some((packet, _)) = self.engine.next_packet(now) {
            match &packet {
                Packet::Control(ControlPacket { control_type: ControlTypes::Ack(ack), .. }) => match ack {
                    // A jump makes many; the last says it all.
                    Acknowledgement::Lite(_) => {
                        light = Some(packet);
                        continue;
                    }
                    Acknowledgement::Full(_, _, number) => {
                        if self.acks.len() == ACKS_KEPT {
                            self.acks.pop_front();
                        }
                        self.acks.push_back(((*number).into(), now));
                    }
                    Acknowledgement::Small(..) => {}
                },
                // A data packet would be one of ours, and we send none.
                Packet::Data(_) => continue,
                Packet::Control(_) => {}
            }
            self.transmit.push_back(serialize(&packet));
        }
        self.transmit.extend(light.as_ref().map(serialize));
    }

    fn timestamp(&self, now: Instant) -> TimeStamp {
        TimeStamp::from_micros(now.saturating_duration_since(self.started).as_micros() as u32)
    }

    fn monotonic(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }
}

/// Packets that may be missing or wait behind a gap at once.
pub fn capacity(latency: Duration) -> u32 {
    let latency_ms = latency.min(LONGEST_LATENCY).as_millis() as u32;
    (latency_ms * CAPACITY_PER_MS).clamp(LEAST_CAPACITY, MOST_CAPACITY)
}

/// The bytes of a packet made here.
pub fn serialize(packet: &Packet) -> Bytes {
    let mut bytes = BytesMut::with_capacity(128);
    packet.serialize(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests;
