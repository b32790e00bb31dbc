//! Writing the answer.

use std::fmt::Write;
use std::net::SocketAddr;

use super::super::dtls::Fingerprint;
use super::super::ice::Credentials;
use super::super::rtp::PLAYOUT_DELAY_URI;
use super::{Codec, Offer, OfferError, ProfileLevelId, Section};

/// Feedback answered when offered.
const FEEDBACK: [&str; 3] = ["nack", "nack pli", "ccm fir"];

/// A track the box has to offer on one media section.
#[derive(Clone, Debug)]
pub struct OfferedTrack {
    /// Its source.
    pub ssrc: u32,
    /// The source its packets are sent again with.
    pub rtx_ssrc: u32,
    /// The media stream it belongs to: one of its own for each kind, so that no receiver holds
    /// the picture back for the sound.
    pub stream_id: String,
}

/// What the answer is to say beside what follows from the offer.
#[derive(Clone, Debug)]
pub struct AnswerRequest<'a> {
    /// `o=` session number.
    pub session_number: u64,
    /// The box's ICE credentials for this session.
    pub credentials: &'a Credentials,
    /// Of the box's certificate.
    pub fingerprint: &'a Fingerprint,
    /// Where the box can be reached, best first.
    pub candidates: &'a [SocketAddr],
    /// Canonical name that ties the sources together (RFC 3550 §6.5.1).
    pub cname: &'a str,
    /// The picture and the SPS's profile and level.
    pub video: (OfferedTrack, ProfileLevelId),
}

/// What was agreed on for the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedVideo {
    /// Payload type to send with.
    pub payload_type: u8,
    /// Payload type to retransmit with (RFC 4588), if the offer has one.
    pub rtx_payload_type: Option<u8>,
    /// Id of the playout-delay extension, if the offer has it.
    pub playout_delay: Option<u8>,
    /// Whether the receiver reports missing packets.
    pub nack: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The description to hand back.
    pub sdp: String,
    /// What was agreed on for the picture.
    pub video: NegotiatedVideo,
}

/// Answers an offer: one video section is served, all others are refused.
///
/// # Errors
/// When the section cannot be served.
pub fn answer(offer: &Offer, request: &AnswerRequest<'_>) -> Result<Answer, OfferError> {
    let served = offer.served;
    let section = offer.sections.get(served).ok_or(OfferError::NoVideo)?;
    if !section.rtcp_mux {
        return Err(OfferError::Lacks("a=rtcp-mux in its video section"));
    }
    let (track, profile) = &request.video;
    let (codec, profile) = profile.choose(&section.codecs).ok_or(OfferError::NoCodec)?;
    let apt = codec.payload_type.to_string();
    let rtx = section
        .codecs
        .iter()
        .find(|codec| codec.name.eq_ignore_ascii_case("rtx") && codec.parameter("apt") == Some(&apt));
    let playout_delay = section.extensions.iter().find(|(_, uri)| uri == PLAYOUT_DELAY_URI).map(|(id, _)| *id);
    let negotiated = NegotiatedVideo {
        payload_type: codec.payload_type,
        rtx_payload_type: rtx.map(|rtx| rtx.payload_type),
        // One-byte headers hold ids 1 to 14 (RFC 8285 §4.2).
        playout_delay: playout_delay.filter(|id| (1..=14).contains(id)),
        nack: codec.feedback.iter().any(|kind| kind == "nack"),
    };
    let mut sdp = Lines::default();
    sdp.line(format_args!("v=0"));
    sdp.line(format_args!("o=- {} 1 IN IP4 127.0.0.1", request.session_number));
    sdp.line(format_args!("s=-"));
    sdp.line(format_args!("t=0 0"));
    sdp.line(format_args!("a=ice-lite"));
    if let Some(mid) = section.mid.as_deref().filter(|_| !offer.bundle.is_empty()) {
        sdp.line(format_args!("a=group:BUNDLE {mid}"));
    }
    sdp.line(format_args!("a=msid-semantic: WMS *"));
    for (n, section) in offer.sections.iter().enumerate() {
        if n != served {
            refuse(&mut sdp, section);
            continue;
        }
        media_line(&mut sdp, section, codec, rtx);
        transport(&mut sdp, section, request);
        codec_lines(&mut sdp, codec, profile, rtx);
        if let Some(id) = negotiated.playout_delay {
            sdp.line(format_args!("a=extmap:{id} {PLAYOUT_DELAY_URI}"));
        }
        sdp.line(format_args!("a=sendonly"));
        source_lines(&mut sdp, track, request.cname, rtx.is_some());
    }
    Ok(Answer { sdp: sdp.0, video: negotiated })
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.push_str("\r\n");
    }
}

fn refuse(sdp: &mut Lines, section: &Section) {
    let formats = section.formats.join(" ");
    sdp.line(format_args!("m={} 0 {} {formats}", section.media, section.protocol));
    sdp.line(format_args!("c=IN IP4 0.0.0.0"));
    if let Some(mid) = &section.mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
    sdp.line(format_args!("a=inactive"));
}

fn media_line(sdp: &mut Lines, section: &Section, codec: &Codec, rtx: Option<&Codec>) {
    let rtx = rtx.map(|rtx| format!(" {}", rtx.payload_type)).unwrap_or_default();
    sdp.line(format_args!("m={} 9 {} {}{rtx}", section.media, section.protocol, codec.payload_type));
    sdp.line(format_args!("c=IN IP4 0.0.0.0"));
    if let Some(mid) = &section.mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
}

fn transport(sdp: &mut Lines, section: &Section, request: &AnswerRequest<'_>) {
    sdp.line(format_args!("a=ice-ufrag:{}", request.credentials.ufrag));
    sdp.line(format_args!("a=ice-pwd:{}", request.credentials.password));
    sdp.line(format_args!("a=fingerprint:{}", request.fingerprint));
    sdp.line(format_args!("a=setup:passive"));
    sdp.line(format_args!("a=rtcp-mux"));
    if section.rtcp_rsize {
        sdp.line(format_args!("a=rtcp-rsize"));
    }
    candidate_lines(&mut sdp.0, request.candidates);
}

/// Host candidates (RFC 8839 §5.1), the first with the highest priority (RFC 8445 §5.1.2.1).
pub(super) fn candidate_lines(out: &mut String, candidates: &[SocketAddr]) {
    const HOST_PREFERENCE: u32 = 126;
    const COMPONENT: u32 = 255;
    for (n, address) in candidates.iter().enumerate() {
        let local_preference = 0xffff_u32.saturating_sub(n as u32);
        let priority = HOST_PREFERENCE << 24 | local_preference << 8 | COMPONENT;
        let (ip, port) = (address.ip(), address.port());
        let _ = write!(out, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", n + 1);
    }
    out.push_str("a=end-of-candidates\r\n");
}

fn codec_lines(sdp: &mut Lines, codec: &Codec, profile: ProfileLevelId, rtx: Option<&Codec>) {
    let payload_type = codec.payload_type;
    sdp.line(format_args!("a=rtpmap:{payload_type} H264/90000"));
    let asymmetry =
        if codec.parameter("level-asymmetry-allowed") == Some("1") { "level-asymmetry-allowed=1;" } else { "" };
    sdp.line(format_args!("a=fmtp:{payload_type} {asymmetry}packetization-mode=1;profile-level-id={profile}"));
    for kind in FEEDBACK.iter().filter(|kind| codec.feedback.iter().any(|offered| offered == *kind)) {
        sdp.line(format_args!("a=rtcp-fb:{payload_type} {kind}"));
    }
    if let Some(rtx) = rtx {
        sdp.line(format_args!("a=rtpmap:{} rtx/90000", rtx.payload_type));
        sdp.line(format_args!("a=fmtp:{} apt={payload_type}", rtx.payload_type));
    }
}

fn source_lines(sdp: &mut Lines, track: &OfferedTrack, cname: &str, rtx: bool) {
    let OfferedTrack { ssrc, rtx_ssrc, stream_id } = track;
    sdp.line(format_args!("a=msid:{stream_id} {stream_id}"));
    if rtx {
        sdp.line(format_args!("a=ssrc-group:FID {ssrc} {rtx_ssrc}"));
    }
    for ssrc in std::iter::once(ssrc).chain(rtx.then_some(rtx_ssrc)) {
        sdp.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
        sdp.line(format_args!("a=ssrc:{ssrc} msid:{stream_id} {stream_id}"));
    }
}
