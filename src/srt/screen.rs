//! The first look at a datagram: what it is, or why it goes no further.
//!
//! Owns: the SRT wire format as far as a receiver needs it (draft-sharabayko-srt-01 §3). Pure.
//! Flows to: `handshake` (before a connection exists) and `connection` (after).
//!
//! `srt-protocol` 0.4.4 panics on much that a network may bring: handshake extensions other than
//! the stream ID (`unimplemented!`), truncated groups and strings, key material without keys,
//! a truncated or backward NAK, congestion warnings, peer errors and other SRT control packets
//! (`todo!`), a drop request that ends before it starts or at the last sequence number, and
//! timestamps half a turn of the clock away. So none of its parsers ever sees a byte from the
//! network: this module reads every field itself, and only what it names in [`Body`] goes on.

use bytes::Bytes;
use srt_protocol::packet::{Auth, CipherType, DataEncryption, KeyFlags, KeyingMaterialMessage, PacketType};

/// The header every SRT packet begins with, in bytes.
const HEADER: usize = 16;
/// The most data in a packet, in bytes: an Ethernet frame of 1500 without the headers of IPv4 (20),
/// UDP (8) and SRT (16), which is what senders in live mode keep to at most.
pub const LONGEST_PAYLOAD: usize = 1456;
/// The fixed part of a handshake, in bytes.
const HANDSHAKE: usize = 48;
/// The longest stream ID, in bytes (draft-sharabayko-srt-01 §3.2.1.3).
pub const LONGEST_STREAM_ID: usize = 512;
/// What a sequence number counts to (31 bits).
pub const SEQUENCE_MASK: u32 = 0x7FFF_FFFF;

/// A datagram that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The socket it is for: 0 for a listener that has not answered yet.
    pub destination: u32,
    /// What it says.
    pub body: Body,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A step of the handshake.
    Handshake(Box<Handshake>),
    /// A piece of the stream.
    Data(Data),
    /// The peer is there.
    KeepAlive,
    /// The peer has our acknowledgement of this number.
    AckAck(u32),
    /// The peer goes.
    Shutdown,
    /// The peer will not send these sequence numbers again.
    Drop {
        /// The first of them.
        first: u32,
        /// The last of them.
        last: u32,
    },
    /// The peer announces its next stream keys.
    Keys(Keys),
    /// Well-formed, but only a sender has a use for it.
    ForSenders,
}

/// A piece of the stream (draft-sharabayko-srt-01 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Its 31-bit sequence number.
    pub sequence: u32,
    /// Which stream key it is encrypted with.
    pub encryption: DataEncryption,
    /// Whether it was sent before.
    pub retransmitted: bool,
    /// When it was handed to the peer's library: microseconds of the peer's clock, wrapping.
    pub timestamp_us: u32,
    /// The media, never empty.
    pub payload: Bytes,
}

/// A step of the handshake (draft-sharabayko-srt-01 §3.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Which step.
    pub step: Step,
    /// 4 in a caller's first packet, then 5.
    pub version: u32,
    /// The sender's first sequence number.
    pub initial_sequence: u32,
    /// The sender's largest packet, in bytes with IP and UDP headers.
    pub mtu: u32,
    /// The sender's flow window, in packets.
    pub flow_window: u32,
    /// The sender's socket.
    pub socket: u32,
    /// The listener's cookie.
    pub cookie: u32,
    /// What version 5 adds.
    pub extensions: Extensions,
}

/// The steps of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asks for, or carries, the cookie.
    Induction,
    /// Asks for, or confirms, the connection.
    Conclusion,
    /// Two peers that both call: not for us.
    Rendezvous,
    /// No, for this reason (without the 1000 it has on the wire).
    Rejection(u32),
}

/// What handshake version 5 adds (draft-sharabayko-srt-01 §3.2.1.1–3.2.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Versions and latencies.
    pub capabilities: Option<Capabilities>,
    /// Stream keys, wrapped with the passphrase.
    pub keys: Option<Keys>,
    /// What is to be sent, and by whom; `Err` when it is no text or too long.
    pub stream_id: Option<Result<String, BadStreamId>>,
    /// The peer asks for something that is not for live video, named here.
    pub unsupported: Option<&'static str>,
}

/// A stream ID that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream ID is not a text of at most {LONGEST_STREAM_ID} bytes")]
pub struct BadStreamId;

/// The peer's side of the bargain (draft-sharabayko-srt-01 §3.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether this answers (HSRSP) or asks (HSREQ).
    pub response: bool,
    /// The peer's SRT version: major, minor and patch in a byte each.
    pub version: u32,
    /// Its flags.
    pub flags: u32,
    /// The latency with which it receives, in milliseconds.
    pub receive_latency_ms: u16,
    /// The least latency with which it wants us to receive, in milliseconds.
    pub send_latency_ms: u16,
}

/// Key material (draft-sharabayko-srt-01 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Keys that can be tried: every length in it is right.
    Wrapped {
        /// Whether this answers (KMRSP) or asks (KMREQ).
        response: bool,
        /// The wrapped keys.
        message: KeyingMaterialMessage,
    },
    /// The peer could not use ours (a KMRSP of one word).
    Failed,
    /// A cipher other than AES-CTR, such as the AES-GCM of newer libraries.
    OtherCipher,
}

/// Why a datagram goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// Shorter than its kind needs.
    #[error("truncated")]
    Truncated,
    /// A data packet without data.
    #[error("empty data packet")]
    Empty,
    /// More data than an Ethernet frame holds.
    #[error("data packet longer than {LONGEST_PAYLOAD} bytes")]
    Oversized,
    /// Both keys at once.
    #[error("impossible encryption flags")]
    Encryption,
    /// A handshake version other than 4 and 5.
    #[error("unknown handshake version")]
    Version,
    /// A handshake step that does not exist.
    #[error("unknown handshake step")]
    Step,
    /// An extension that does not fit what it says of itself.
    #[error("malformed handshake extension")]
    Extension,
    /// Key material that does not fit what it says of itself.
    #[error("malformed key material")]
    KeyMaterial,
    /// An acknowledgement of an acknowledgement with the number 0.
    #[error("acknowledgement number 0")]
    AckNumber,
    /// A range of sequence numbers that ends before it starts.
    #[error("backward range")]
    Range,
    /// A control packet nobody sends to a live receiver.
    #[error("control packet of no use here")]
    Control,
}

/// Reads one datagram.
///
/// # Errors
/// When nothing may come of it.
pub fn screen(datagram: &Bytes) -> Result<Datagram, Refused> {
    let word = |index: usize| word_at(datagram, index * 4).ok_or(Refused::Truncated);
    let (first, second, third, destination) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let body = if first & 0x8000_0000 == 0 {
        data(datagram, first, second, third)?
    } else {
        control(datagram.get(HEADER..).unwrap_or_default(), first, second)?
    };
    Ok(Datagram { destination, body })
}

/// The destination of a datagram, as long as there is one.
pub fn destination(datagram: &[u8]) -> Option<u32> {
    word_at(datagram, 12)
}

/// Whether a datagram is a handshake, whoever it is for.
pub fn is_handshake(datagram: &[u8]) -> bool {
    datagram.get(..2) == Some(&[0x80, 0x00])
}

fn data(datagram: &Bytes, first: u32, second: u32, timestamp_us: u32) -> Result<Body, Refused> {
    if datagram.len() <= HEADER {
        return Err(Refused::Empty);
    }
    if datagram.len() > HEADER + LONGEST_PAYLOAD {
        return Err(Refused::Oversized);
    }
    let encryption = match second >> 27 & 0b11 {
        0b00 => DataEncryption::None,
        0b01 => DataEncryption::Even,
        0b10 => DataEncryption::Odd,
        _ => return Err(Refused::Encryption),
    };
    Ok(Body::Data(Data {
        sequence: first & SEQUENCE_MASK,
        encryption,
        retransmitted: second >> 26 & 1 == 1,
        timestamp_us,
        payload: datagram.slice(HEADER..),
    }))
}

fn control(body: &[u8], first: u32, second: u32) -> Result<Body, Refused> {
    let (kind, subkind) = (first >> 16 & 0x7FFF, first & 0xFFFF);
    Ok(match kind {
        0x0 => Body::Handshake(Box::new(handshake(body)?)),
        0x1 => Body::KeepAlive,
        0x2 | 0x3 => Body::ForSenders,
        0x5 => Body::Shutdown,
        0x6 if second == 0 => return Err(Refused::AckNumber),
        0x6 => Body::AckAck(second),
        0x7 => {
            let (Some(first), Some(last)) = (word_at(body, 0), word_at(body, 4)) else {
                return Err(Refused::Truncated);
            };
            let (first, last) = (first & SEQUENCE_MASK, last & SEQUENCE_MASK);
            // Sequence numbers wrap: "after" is less than half the circle away.
            if last.wrapping_sub(first) & SEQUENCE_MASK > SEQUENCE_MASK / 2 {
                return Err(Refused::Range);
            }
            Body::Drop { first, last }
        }
        0x7FFF if subkind == 3 => Body::Keys(keys(body, false)?),
        0x7FFF if subkind == 4 => Body::ForSenders,
        _ => return Err(Refused::Control),
    })
}

fn handshake(body: &[u8]) -> Result<Handshake, Refused> {
    let word = |index: usize| word_at(body, index * 4).ok_or(Refused::Truncated);
    if body.len() < HANDSHAKE {
        return Err(Refused::Truncated);
    }
    let version = word(0)?;
    if !(4..=5).contains(&version) {
        return Err(Refused::Version);
    }
    let step = match word(5)? {
        1 => Step::Induction,
        0 | 0xFFFF_FFFE => Step::Rendezvous,
        0xFFFF_FFFF => Step::Conclusion,
        code @ 1000..0x8000_0000 => Step::Rejection(code - 1000),
        _ => return Err(Refused::Step),
    };
    let extensions = match (version, step) {
        (5, Step::Conclusion) => extensions(body.get(HANDSHAKE..).unwrap_or_default())?,
        _ => Extensions::default(),
    };
    Ok(Handshake {
        step,
        version,
        initial_sequence: word(2)? & SEQUENCE_MASK,
        mtu: word(3)?,
        flow_window: word(4)?,
        socket: word(6)?,
        cookie: word(7)?,
        extensions,
    })
}

fn extensions(mut rest: &[u8]) -> Result<Extensions, Refused> {
    let mut found = Extensions::default();
    while let Some(header) = word_at(rest, 0) {
        let (kind, bytes) = (header >> 16, (header & 0xFFFF) as usize * 4);
        let content = rest.get(4..4 + bytes).ok_or(Refused::Extension)?;
        rest = rest.get(4 + bytes..).unwrap_or_default();
        match kind {
            1 | 2 => found.capabilities = Some(capabilities(content, kind == 2)?),
            3 | 4 => found.keys = Some(keys(content, kind == 4)?),
            5 => found.stream_id = Some(text(content).filter(|t| t.len() <= LONGEST_STREAM_ID).ok_or(BadStreamId)),
            6 => match text(content).as_deref() {
                Some("live") => {}
                _ => found.unsupported = Some("file mode"),
            },
            7 => found.unsupported = Some("a packet filter (FEC)"),
            8 => found.unsupported = Some("bonding (a socket group)"),
            // Later versions may add what we can do without.
            _ => {}
        }
    }
    Ok(found)
}

fn capabilities(content: &[u8], response: bool) -> Result<Capabilities, Refused> {
    let word = |index: usize| word_at(content, index * 4).ok_or(Refused::Extension);
    let latencies = word(2)?;
    Ok(Capabilities {
        response,
        version: word(0)?,
        flags: word(1)?,
        receive_latency_ms: (latencies >> 16) as u16,
        send_latency_ms: latencies as u16,
    })
}

/// Key material whose every length is right: one or two keys of 16, 24 or 32 bytes and the 8 bytes
/// that wrapping adds (RFC 3394), under a salt of 16 bytes.
fn keys(content: &[u8], response: bool) -> Result<Keys, Refused> {
    let byte = |index: usize| content.get(index).copied().ok_or(Refused::KeyMaterial);
    if response && content.len() == 4 {
        return Ok(Keys::Failed);
    }
    // Version 1, key material, and the signature "HAI" in packed letters.
    if (byte(0)?, byte(1)?, byte(2)?) != (0x12, 0x20, 0x29) {
        return Err(Refused::KeyMaterial);
    }
    let key_flags = KeyFlags::from_bits_truncate(byte(3)? & 0b11);
    let (cipher, auth, encapsulation) = (byte(8)?, byte(9)?, byte(10)?);
    if cipher != CipherType::Ctr as u8 || auth != Auth::None as u8 {
        return Ok(Keys::OtherCipher);
    }
    let (salt_bytes, key_bytes) = (usize::from(byte(14)?) * 4, usize::from(byte(15)?) * 4);
    let count = key_flags.bits().count_ones() as usize;
    if encapsulation != 2 || count == 0 || salt_bytes != 16 || ![16, 24, 32].contains(&key_bytes) {
        return Err(Refused::KeyMaterial);
    }
    let salt = content.get(16..32).ok_or(Refused::KeyMaterial)?;
    let wrapped = content.get(32..32 + count * key_bytes + 8).ok_or(Refused::KeyMaterial)?;
    let message = KeyingMaterialMessage {
        pt: PacketType::KeyingMaterial,
        key_flags,
        keki: word_at(content, 4).ok_or(Refused::KeyMaterial)?,
        cipher: CipherType::Ctr,
        auth: Auth::None,
        salt: salt.to_vec(),
        wrapped_keys: wrapped.to_vec(),
    };
    Ok(Keys::Wrapped { response, message })
}

/// A text in 32-bit little-endian words, padded with zeros (draft-sharabayko-srt-01 §3.2.1.3).
fn text(content: &[u8]) -> Option<String> {
    let mut bytes: Vec<u8> = content.chunks_exact(4).flat_map(|word| word.iter().rev().copied()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8(bytes).ok()
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests;
