//! The caller's half of the handshake.
//!
//! Owns: what is asked of a listener, and how its answers are understood. Pure: randomness and ids
//! are passed in. Flows to: `caller`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use srt_protocol::options::{KeySize, PacketCount, PacketSize, SrtVersion};
use srt_protocol::packet::{
    ControlPacket, ControlTypes, HandshakeControlInfo, HandshakeVsInfo, HsV5Info, Packet, SeqNumber, ShakeType,
    SocketId, SocketType, SrtControlPacket, SrtHandshake, TimeStamp,
};

use super::connection::{self, Agreement, LONGEST_LATENCY};
use super::handshake::flags;
use super::keys::StreamKeys;
use super::screen::{Handshake, Keys, Step};

/// What to ask of a listener.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its address.
    pub remote: SocketAddr,
    /// Our socket.
    pub local_socket: u32,
    /// The sequence number both ends start from.
    pub initial_sequence: u32,
    /// The stream wanted, as it goes on the wire.
    pub stream_id: Option<String>,
    /// The latency with which the box receives.
    pub latency: Duration,
    /// Keys made for this call, when there is a passphrase.
    pub keys: Option<StreamKeys>,
}

/// What an answer means.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Not yet, or not for us.
    Waiting,
    /// The connection stands.
    Connected(Box<Agreement>),
    /// It will not.
    Failed(Failed),
}

/// Why a listener did not answer as wished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It said no, with this code (without the 1000 it has on the wire).
    #[error("the peer refused: {} (code {code})", words(*code))]
    Rejected {
        /// The code.
        code: u32,
    },
    /// The keys it answered with are not ours.
    #[error("the passphrase is not the one set at the peer; set the same at both ends")]
    WrongPassphrase,
    /// It does not encrypt.
    #[error("a passphrase is set here and none at the peer; set the same at both ends")]
    UnexpectedPassphrase,
    /// It speaks an older handshake.
    #[error("the peer's SRT is older than 1.3")]
    Version,
}

impl Failed {
    /// The code on the board of problems, where a person must mend it.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::WrongPassphrase | Self::Rejected { code: 10 } => Some("srt_passphrase_wrong"),
            Self::UnexpectedPassphrase => Some("srt_passphrase_unexpected"),
            Self::Rejected { code: 11 } => Some("srt_passphrase_missing"),
            Self::Rejected { .. } | Self::Version => None,
        }
    }
}

/// A rejection code in words.
fn words(code: u32) -> &'static str {
    match code {
        4 => "it found our request malformed",
        5 | 3 | 1402 => "it is too busy",
        7 => "it is closing",
        8 | 1505 => "it does not speak this version of SRT",
        10 => "wrong passphrase",
        11 => "only one end has a passphrase set",
        13..=15 => "it does not send in live mode",
        1400 => "it does not understand the stream ID",
        1401 | 1403 => "it does not allow this",
        1404 => "it has no such stream",
        1405 => "it receives and does not send",
        1409 | 1423 => "the stream is in use",
        _ => "it gave no clear reason",
    }
}

/// One call.
#[derive(Debug)]
pub struct Calling {
    request: Request,
    /// What is sent, again and again until answered.
    asking: Bytes,
    concluding: bool,
}

impl Calling {
    /// A call that begins by asking for the cookie.
    pub fn new(request: Request) -> Self {
        let asking = packet(&request, 0, ShakeType::Induction, HandshakeVsInfo::V4(SocketType::Datagram));
        Self { request, asking, concluding: false }
    }

    /// What to send now, and again every 250 ms.
    pub fn asking(&self) -> Bytes {
        self.asking.clone()
    }

    /// Takes a handshake packet from the listener.
    pub fn handle(&mut self, answer: &Handshake) -> Progress {
        match (answer.step, self.concluding) {
            (Step::Rejection(code), _) => Progress::Failed(Failed::Rejected { code }),
            (Step::Induction, false) if answer.version != 5 => Progress::Failed(Failed::Version),
            (Step::Induction, false) => {
                self.asking = self.conclusion(answer.cookie);
                self.concluding = true;
                Progress::Waiting
            }
            (Step::Conclusion, true) => self.conclude(answer),
            _ => Progress::Waiting,
        }
    }

    fn conclusion(&self, cookie: u32) -> Bytes {
        let keys = self.request.keys.as_ref();
        let info = HsV5Info {
            key_size: keys.map_or(KeySize::Unspecified, StreamKeys::key_size),
            ext_hs: Some(SrtControlPacket::HandshakeRequest(SrtHandshake {
                version: SrtVersion::CURRENT,
                flags: flags(),
                send_latency: self.request.latency,
                recv_latency: Duration::ZERO,
            })),
            ext_km: keys.map(|keys| SrtControlPacket::KeyRefreshRequest(keys.message().clone())),
            ext_group: None,
            sid: self.request.stream_id.clone(),
        };
        packet(&self.request, cookie, ShakeType::Conclusion, HandshakeVsInfo::V5(info))
    }

    fn conclude(&self, answer: &Handshake) -> Progress {
        let Some(theirs) = answer.extensions.capabilities.filter(|found| found.response) else {
            return Progress::Waiting;
        };
        match (&self.request.keys, &answer.extensions.keys) {
            (None, _) => {}
            (Some(ours), Some(Keys::Wrapped { response: true, message })) if ours.message() == message => {}
            (Some(_), Some(_)) => return Progress::Failed(Failed::WrongPassphrase),
            (Some(_), None) => return Progress::Failed(Failed::UnexpectedPassphrase),
        }
        let wanted = Duration::from_millis(u64::from(theirs.send_latency_ms));
        Progress::Connected(Box::new(Agreement {
            remote: self.request.remote,
            peer_socket: answer.socket,
            local_socket: self.request.local_socket,
            initial_sequence: answer.initial_sequence,
            latency: self.request.latency.max(wanted).min(LONGEST_LATENCY),
            keys: self.request.keys.clone(),
        }))
    }
}

fn packet(request: &Request, cookie: u32, shake_type: ShakeType, info: HandshakeVsInfo) -> Bytes {
    connection::serialize(&Packet::Control(ControlPacket {
        timestamp: TimeStamp::from_micros(0),
        dest_sockid: SocketId(0),
        control_type: ControlTypes::Handshake(HandshakeControlInfo {
            init_seq_num: SeqNumber::new_truncate(request.initial_sequence),
            max_packet_size: PacketSize(1500),
            max_flow_size: PacketCount(u64::from(connection::capacity(request.latency))),
            shake_type,
            socket_id: SocketId(request.local_socket),
            syn_cookie: cookie as i32,
            peer_addr: request.remote.ip().to_canonical(),
            info,
        }),
    }))
}
