//! SRTP and SRTCP: encryption of the media (RFC 3711, RFC 7714), on `aws-lc-rs`.
//!
//! Owns: key derivation, the two protection profiles that browsers offer everywhere, the rollover
//! counter and replay protection of what is received. Does not own: where keys come from (`dtls`),
//! sequence numbers of what is sent (`sender`). Works in place on the caller's buffer, without
//! allocating, for this is the code that runs once per viewer and packet.

mod cipher;
mod replay;

#[cfg(test)]
mod tests;

pub use cipher::{Keys, Profile};
use cipher::{RtcpCipher, RtpCipher};
use replay::ReplayWindow;

/// The 48-bit SRTP packet index is the rollover counter and the sequence number
/// (RFC 3711 §3.3.1).
const SEQUENCE_BITS: u32 = 16;
/// SRTCP's index has 31 bits (RFC 3711 §3.4).
const LAST_SRTCP_INDEX: u32 = 0x7fff_ffff;
/// Fixed RTCP header with the sender's SSRC, which stays readable (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;

/// Why a packet could not be protected or was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Shorter than its headers and tag.
    #[error("the packet is too short")]
    TooShort,
    /// The tag does not match: forged, damaged or under another key.
    #[error("the authentication tag does not match")]
    Authentication,
    /// Seen before, or too old to tell.
    #[error("the packet was seen before or is too old")]
    Replayed,
    /// A key may protect no more packets; a new session is needed.
    #[error("the key has protected as many packets as it may")]
    KeyExhausted,
}

/// Protects what is sent under one direction's keys. Media and reports are protected apart, for they may be sent by
/// different threads, and each half has session keys of its own (RFC 3711 §4.3.2).
pub struct Outbound {
    rtp: OutboundRtp,
    rtcp: OutboundRtcp,
}

impl Outbound {
    /// Derives the session keys (RFC 3711 §4.3).
    pub fn new(keys: &Keys) -> Self {
        let rtp = OutboundRtp { profile: keys.profile(), cipher: RtpCipher::new(keys) };
        Self { rtp, rtcp: OutboundRtcp { cipher: RtcpCipher::new(keys), index: 0 } }
    }

    /// The half for media and the half for reports.
    pub fn split(self) -> (OutboundRtp, OutboundRtcp) {
        (self.rtp, self.rtcp)
    }
}

/// Protects media. Holds no sequence state: the caller gives the packet's index, so that one key serves several SSRCs
/// and a failed send can be redone.
pub struct OutboundRtp {
    profile: Profile,
    cipher: RtpCipher,
}

impl OutboundRtp {
    /// How many bytes protection adds to an RTP packet.
    pub fn rtp_overhead(&self) -> usize {
        self.profile.rtp_tag_len()
    }

    /// Protects in place an RTP packet whose last [`Self::rtp_overhead`] bytes are room for the tag.
    /// `header_len` counts the header with its extension, bytes; `index` is the rollover counter
    /// and sequence number, which must match those of the header.
    ///
    /// # Errors
    /// [`SrtpError::TooShort`] when there is no room for header and tag.
    pub fn protect_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        self.cipher.protect(packet, header_len, ssrc, index)
    }
}

/// Protects reports, numbering them.
pub struct OutboundRtcp {
    cipher: RtcpCipher,
    index: u32,
}

impl OutboundRtcp {
    /// Protects a compound RTCP packet, in place: the vector grows by tag and index.
    ///
    /// # Errors
    /// [`SrtpError::TooShort`] for less than an RTCP header, [`SrtpError::KeyExhausted`] after 2^31 packets.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        if packet.len() < RTCP_CLEAR {
            return Err(SrtpError::TooShort);
        }
        if self.index >= LAST_SRTCP_INDEX {
            return Err(SrtpError::KeyExhausted);
        }
        self.index += 1;
        self.cipher.protect(packet, self.index)
    }
}

/// Opens what is received under one direction's keys, of any SSRC, each packet once.
pub struct Inbound {
    rtp: RtpCipher,
    rtcp: RtcpCipher,
    rtcp_replay: ReplayWindow,
    /// Per SSRC: highest index seen. A handful per session, so a list.
    sources: Vec<(u32, ReplayWindow)>,
}

/// Bounds what a peer with valid keys can make a session remember.
const MOST_SOURCES: usize = 16;

impl Inbound {
    /// Derives the session keys (RFC 3711 §4.3).
    pub fn new(keys: &Keys) -> Self {
        Self {
            rtp: RtpCipher::new(keys),
            rtcp: RtcpCipher::new(keys),
            rtcp_replay: ReplayWindow::default(),
            sources: Vec::new(),
        }
    }

    /// Opens an SRTCP packet in place and gives the plain compound packet (RFC 3711 §3.4,
    /// RFC 7714 §9).
    ///
    /// # Errors
    /// When it is too short, not authentic, or was seen before. State changes only on success.
    pub fn unprotect_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        let index = self.rtcp.index_of(packet)?;
        if !self.rtcp_replay.is_new(u64::from(index)) {
            return Err(SrtpError::Replayed);
        }
        let plain = self.rtcp.unprotect(packet)?;
        self.rtcp_replay.accept(u64::from(index));
        Ok(plain)
    }

    /// Opens an SRTP packet in place; gives the packet without its tag, header included. The seam for receiving media
    /// (WHIP); only tests use it, to check the cipher both ways.
    ///
    /// # Errors
    /// When it is too short, not authentic, or was seen before. State changes only on success.
    pub fn unprotect_rtp<'a>(&mut self, packet: &'a mut [u8], header_len: usize) -> Result<&'a [u8], SrtpError> {
        let [_, _, s0, s1, _, _, _, _, c0, c1, c2, c3, ..] = *packet else {
            return Err(SrtpError::TooShort);
        };
        let sequence = u16::from_be_bytes([s0, s1]);
        let ssrc = u32::from_be_bytes([c0, c1, c2, c3]);
        let known = self.sources.iter().position(|(source, _)| *source == ssrc);
        let window = known.and_then(|at| self.sources.get(at)).map(|(_, window)| window.clone());
        let mut window = window.unwrap_or_default();
        let index = estimate_index(window.highest(), sequence);
        if !window.is_new(index) {
            return Err(SrtpError::Replayed);
        }
        let plain = self.rtp.unprotect(packet, header_len, ssrc, index)?;
        window.accept(index);
        match known.and_then(|at| self.sources.get_mut(at)) {
            Some(source) => source.1 = window,
            None => {
                if self.sources.len() >= MOST_SOURCES {
                    self.sources.remove(0);
                }
                self.sources.push((ssrc, window));
            }
        }
        Ok(plain)
    }
}

/// The most likely index of a packet with this sequence number (RFC 3711 §3.3.1, appendix A).
fn estimate_index(highest: Option<u64>, sequence: u16) -> u64 {
    let Some(highest) = highest else { return u64::from(sequence) };
    let (rollover, last) = (highest >> SEQUENCE_BITS, highest as u16);
    let distance = i32::from(sequence) - i32::from(last);
    let rollover = if distance > 0x8000 {
        rollover.saturating_sub(1)
    } else if distance < -0x8000 {
        rollover.wrapping_add(1) & 0xffff_ffff
    } else {
        rollover
    };
    rollover << SEQUENCE_BITS | u64::from(sequence)
}
