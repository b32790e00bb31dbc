//! The listener's half of the handshake.
//!
//! Owns: the cookie, the judgement of a caller's request, and the answers. Pure: secrets and ids
//! are passed in. Flows to: `listener`, which keeps state for a peer only after [`judge`] said yes.
//!
//! A caller's first packet (induction) is answered from nothing but itself and a secret: the answer
//! carries a cookie, is never longer than the question, and leaves no trace here. Only who got that
//! answer can send the second packet (conclusion) with the right cookie, so no forged address
//! makes the box keep anything or send anything twice (draft-sharabayko-srt-01 §4.3.1).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use bytes::Bytes;
use srt_protocol::options::{KeySize, PacketCount, PacketSize, SrtVersion};
use srt_protocol::packet::{
    ControlPacket, ControlTypes, HandshakeControlInfo, HandshakeVsInfo, HsV5Info, Packet, RejectReason, SeqNumber,
    ShakeType, SocketId, SrtControlPacket, SrtHandshake, SrtShakeFlags, TimeStamp,
};

use super::connection::{self, Agreement, LONGEST_LATENCY};
use super::keys::StreamKeys;
use super::screen::{Handshake, Keys, Step};
use super::stream_id::{BadWish, Wish};
use crate::media::StreamName;

/// A cookie is good for one to two of these.
const COOKIE_AGE: Duration = Duration::from_secs(30);
/// The largest packet on Ethernet, in bytes with IP and UDP headers.
const MTU: u64 = 1500;

/// What both ends of a live connection can do: deliver by timestamp, encrypt, drop what is too
/// late, report losses again and again, mark what is sent again.
pub(super) fn flags() -> SrtShakeFlags {
    SrtShakeFlags::SUPPORTED | SrtShakeFlags::TLPKTDROP | SrtShakeFlags::NAKREPORT
}

/// Makes and knows again the cookies of this listener.
pub struct Cookies {
    key: hmac::Key,
    since: Instant,
}

impl Cookies {
    /// Cookies under a secret that nobody else has.
    pub fn new(secret: &[u8; 32], now: Instant) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), since: now }
    }

    fn cookie(&self, from: SocketAddr, age: u64) -> u32 {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&age.to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&from.port().to_be_bytes());
        context.sign().as_ref().iter().take(4).fold(0, |cookie, byte| cookie << 8 | u32::from(*byte))
    }

    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / COOKIE_AGE.as_secs()
    }

    fn knows(&self, now: Instant, from: SocketAddr, cookie: u32) -> bool {
        let age = self.age(now);
        cookie == self.cookie(from, age) || (age > 0 && cookie == self.cookie(from, age - 1))
    }
}

/// What a handshake packet is, before anything is known of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstLook {
    /// Answer with this and forget it.
    Answer(Bytes),
    /// Its sender has our cookie, so it is where it says it is.
    Proven,
    /// Not for us, or a cookie that is not ours.
    Ignore(&'static str),
}

/// Looks at a handshake packet without keeping anything of it.
pub fn first_look(cookies: &Cookies, now: Instant, from: SocketAddr, packet: &Handshake) -> FirstLook {
    match packet.step {
        Step::Induction => {
            let cookie = cookies.cookie(from, cookies.age(now));
            FirstLook::Answer(answer(from, packet, 0, cookie, ShakeType::Induction, HsV5Info::default()))
        }
        Step::Conclusion if cookies.knows(now, from, packet.cookie) => FirstLook::Proven,
        Step::Conclusion => FirstLook::Ignore("a cookie that is not ours"),
        Step::Rendezvous => FirstLook::Ignore("rendezvous mode is not taken; set the sender to Caller"),
        Step::Rejection(_) => FirstLook::Ignore("a rejection of nothing we asked"),
    }
}

/// What the box offers a caller.
pub struct Terms<'a> {
    /// The latency with which the box receives.
    pub latency: Duration,
    /// The passphrase of a stream, if it has one.
    pub passphrase: &'a dyn Fn(&StreamName) -> Option<String>,
}

/// A caller that may publish, as far as SRT is concerned.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What it wants to send.
    pub wish: Wish,
    /// The larger of both latencies.
    pub latency: Duration,
    /// The keys, when the stream is encrypted.
    pub keys: Option<StreamKeys>,
}

/// Why a caller is sent away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The peer speaks an older handshake.
    #[error("the sender's SRT is older than 1.3")]
    Version,
    /// The request lacks what every request has.
    #[error("the sender's request makes no sense")]
    Rogue,
    /// Something that is not for live video.
    #[error("the sender asks for {0}, which this box does not do; send in live mode")]
    Unsupported(&'static str),
    /// The stream ID cannot be followed.
    #[error(transparent)]
    Wish(#[from] BadWish),
    /// The stream ID cannot be read.
    #[error(transparent)]
    StreamId(#[from] super::screen::BadStreamId),
    /// The passphrase is not the one set here.
    #[error("the sender's passphrase for stream {0:?} is wrong; set the same passphrase in the sender and in this box")]
    WrongPassphrase(String),
    /// There is a passphrase here and none there.
    #[error("stream {0:?} needs a passphrase and the sender uses none; set the same passphrase in the sender")]
    MissingPassphrase(String),
    /// There is a passphrase there and none here.
    #[error("the sender uses a passphrase for stream {0:?}, and this box has none set; set it here or remove it there")]
    UnexpectedPassphrase(String),
    /// Not AES-CTR.
    #[error("the sender encrypts stream {0:?} in a mode other than AES-CTR; choose AES-CTR in the sender")]
    Cipher(String),
    /// A sender without a secret, in no network of the box's own.
    #[error(
        "the sender of stream {0:?} is in none of the box's own networks, and knows no passphrase or key; set [srt] passphrase here and in the sender, or name its network in [access] publish_from beside those of all other senders, as in [\"192.168.1.0/24\", \"10.20.0.0/16\"]: it takes the place of the box's own networks"
    )]
    Elsewhere(String),
    /// A sender in no network that the settings name.
    #[error(
        "the sender of stream {0:?} is in none of the networks of [access] publish_from, which take the place of the box's own; if it is yours, name its network there too, as in [\"192.168.1.0/24\", \"10.20.0.0/16\"]"
    )]
    Unlisted(String),
    /// The hub said no.
    #[error("{0}")]
    Refused(String),
    /// Somebody else is sending the stream.
    #[error("{0}")]
    Conflict(String),
    /// No room for more connections.
    #[error("too many senders at once")]
    Overload,
}

impl Rejected {
    /// The code on the wire: 1000 and the library's reason, or 2000 and a reason like HTTP's
    /// (SRT Access Control Guidelines, "Rejection codes").
    pub fn code(&self) -> i32 {
        match self {
            Self::Version => 1008,
            Self::Rogue => 1004,
            Self::Unsupported("a packet filter (FEC)") => 1014,
            Self::Unsupported("bonding (a socket group)") => 1015,
            Self::Unsupported(_) => 1013,
            Self::Wish(BadWish::WantsToReceive) => 2405,
            Self::Wish(BadWish::Type(..)) => 2415,
            Self::Wish(BadWish::Name(..)) | Self::StreamId(_) => 2400,
            Self::WrongPassphrase(_) => 1010,
            Self::MissingPassphrase(_) | Self::UnexpectedPassphrase(_) => 1011,
            Self::Cipher(_) => 1017,
            Self::Elsewhere(_) | Self::Unlisted(_) | Self::Refused(_) => 2403,
            Self::Conflict(_) => 2409,
            Self::Overload => 2402,
        }
    }

    /// The code on the board of problems and the stream it concerns, where a person must mend it.
    pub fn problem(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::WrongPassphrase(stream) => Some(("srt_passphrase_wrong", stream)),
            Self::MissingPassphrase(stream) => Some(("srt_passphrase_missing", stream)),
            Self::UnexpectedPassphrase(stream) => Some(("srt_passphrase_unexpected", stream)),
            Self::Elsewhere(stream) | Self::Unlisted(stream) => Some(("srt_sender_elsewhere", stream)),
            _ => None,
        }
    }
}

/// Every code [`Rejected::problem`] may give.
pub const PROBLEMS: [&str; 4] =
    ["srt_passphrase_wrong", "srt_passphrase_missing", "srt_passphrase_unexpected", "srt_sender_elsewhere"];

/// Judges the request of a proven caller. Takes a few milliseconds when there is a passphrase.
///
/// # Errors
/// With what to tell the caller, and the person.
pub fn judge(request: &Handshake, terms: &Terms<'_>) -> Result<Accepted, Rejected> {
    if request.version != 5 {
        return Err(Rejected::Version);
    }
    let asked = &request.extensions;
    let capabilities = asked.capabilities.filter(|found| !found.response).ok_or(Rejected::Rogue)?;
    if let Some(what) = asked.unsupported {
        return Err(Rejected::Unsupported(what));
    }
    let id = asked.stream_id.clone().transpose()?.unwrap_or_default();
    let wish = Wish::parse(&id)?;
    let stream = || wish.stream.short();
    let keys = match ((terms.passphrase)(&wish.stream), &asked.keys) {
        (None, None) => None,
        (Some(_), None) => return Err(Rejected::MissingPassphrase(stream())),
        (None, Some(_)) => return Err(Rejected::UnexpectedPassphrase(stream())),
        (Some(_), Some(Keys::OtherCipher)) => return Err(Rejected::Cipher(stream())),
        (Some(passphrase), Some(Keys::Wrapped { response: false, message })) => {
            Some(StreamKeys::open(&passphrase, message).map_err(|_| Rejected::WrongPassphrase(stream()))?)
        }
        (Some(_), Some(_)) => return Err(Rejected::Rogue),
    };
    let theirs = Duration::from_millis(u64::from(capabilities.send_latency_ms));
    Ok(Accepted { wish, latency: terms.latency.max(theirs).min(LONGEST_LATENCY), keys })
}

/// What the connection starts from.
pub fn agreement(from: SocketAddr, request: &Handshake, accepted: &Accepted, local_socket: u32) -> Agreement {
    Agreement {
        remote: from,
        peer_socket: request.socket,
        local_socket,
        initial_sequence: request.initial_sequence,
        latency: accepted.latency,
        keys: accepted.keys.clone(),
    }
}

/// The answer to a caller that may publish.
pub fn acceptance(from: SocketAddr, request: &Handshake, accepted: &Accepted, local_socket: u32) -> Bytes {
    let wanted = request.extensions.capabilities.map_or(0, |found| found.receive_latency_ms);
    let info = HsV5Info {
        key_size: accepted.keys.as_ref().map_or(KeySize::Unspecified, StreamKeys::key_size),
        ext_hs: Some(SrtControlPacket::HandshakeResponse(SrtHandshake {
            version: SrtVersion::CURRENT,
            flags: flags(),
            // The crate names the halves of the word the other way round: the upper is the latency
            // with which the sender of the packet receives (draft-sharabayko-srt-01 §3.2.1.1).
            send_latency: accepted.latency,
            recv_latency: Duration::from_millis(u64::from(wanted)),
        })),
        ext_km: accepted.keys.as_ref().map(|keys| SrtControlPacket::KeyRefreshResponse(keys.message().clone())),
        ext_group: None,
        sid: None,
    };
    let packet = Handshake { flow_window: connection::capacity(accepted.latency), ..request.clone() };
    answer(from, &packet, local_socket, request.cookie, ShakeType::Conclusion, info)
}

/// The answer to a caller that may not.
pub fn rejection(from: SocketAddr, request: &Handshake, why: &Rejected) -> Bytes {
    let reason = RejectReason::try_from(why.code()).unwrap_or(RejectReason::User(why.code()));
    answer(from, request, 0, request.cookie, ShakeType::Rejection(reason), HsV5Info::default())
}

fn answer(
    from: SocketAddr,
    request: &Handshake,
    local_socket: u32,
    cookie: u32,
    shake_type: ShakeType,
    info: HsV5Info,
) -> Bytes {
    connection::serialize(&Packet::Control(ControlPacket {
        timestamp: TimeStamp::from_micros(0),
        dest_sockid: SocketId(request.socket),
        control_type: ControlTypes::Handshake(HandshakeControlInfo {
            init_seq_num: SeqNumber::new_truncate(request.initial_sequence),
            max_packet_size: PacketSize(u64::from(request.mtu).min(MTU)),
            max_flow_size: PacketCount(u64::from(request.flow_window)),
            shake_type,
            socket_id: SocketId(local_socket),
            syn_cookie: cookie as i32,
            peer_addr: from.ip().to_canonical(),
            info: HandshakeVsInfo::V5(info),
        }),
    }))
}

#[cfg(test)]
mod tests;
