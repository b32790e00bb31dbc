//! Writing the answer.

use std::fmt::Write;
use std::net::SocketAddr;

use super::super::dtls::Fingerprint;
use super::super::ice::Credentials;
use super::super::rtp::PLAYOUT_DELAY_URI;
use super::{Codec, Offer, OfferError, ProfileLevelId, Section};

/// Feedback answered when offered; `rrtr` is a receiver's clock (RFC 3611 §5.1 names it, browsers write it as feedback).
const FEEDBACK: [&str; 4] = ["nack", "nack pli", "ccm fir", "rrtr"];

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

/// The sound the box has to offer on one media section. A stream may have none now and get some later.
#[derive(Clone, Debug)]
pub struct OfferedSound {
    /// Its source.
    pub ssrc: u32,
    /// The media stream it belongs to, but for lip sync.
    pub stream_id: String,
}

/// Where the box can be reached: over UDP, and maybe over TCP by the same addresses.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// Best first.
    pub addresses: &'a [SocketAddr],
    /// Whether viewers can connect to them.
    pub over_tcp: bool,
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
    /// Where the box can be reached.
    pub candidates: Candidates<'a>,
    /// Canonical name that ties the sources together (RFC 3550 §6.5.1).
    pub cname: &'a str,
    /// The picture and the SPS's profile and level.
    pub video: (OfferedTrack, ProfileLevelId),
    /// The sound.
    pub sound: OfferedSound,
    /// Picture and sound are to be shown together: both in one media stream, which receivers keep in step, and
    /// nothing that asks to show pictures at once. Otherwise the picture never waits for the sound.
    pub lip_sync: bool,
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
}

/// What was agreed on for the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiatedSound {
    /// Payload type to send with.
    pub payload_type: u8,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The description to hand back.
    pub sdp: String,
    /// What was agreed on for the picture.
    pub video: NegotiatedVideo,
    /// What was agreed on for the sound, if the offer asks for it.
    pub sound: Option<NegotiatedSound>,
}

/// Answers an offer: one video section is served, and one of sound in the same bundle whether or not the stream has
/// any now; all others are refused.
///
/// # Errors
/// When the section cannot be served.
pub fn answer(offer: &Offer, request: &AnswerRequest<'_>) -> Result<Answer, OfferError> {
    let section = offer.sections.get(offer.video).ok_or(OfferError::NoVideo)?;
    if !section.rtcp_mux {
        return Err(OfferError::Lacks("a=rtcp-mux in its video section"));
    }
    let video = Video::choose(section, request)?;
    let opus = offer.sound.and_then(|at| offer.sections.get(at)?.codecs.iter().find(|codec| codec.is_opus()));
    let mut sdp = Lines::default();
    sdp.line(format_args!("v=0"));
    sdp.line(format_args!("o=- {} 1 IN IP4 127.0.0.1", request.session_number));
    sdp.line(format_args!("s=-"));
    sdp.line(format_args!("t=0 0"));
    sdp.line(format_args!("a=ice-lite"));
    if !offer.bundle.is_empty() {
        sdp.line(format_args!("a=group:BUNDLE {}", offer.bundle.join(" ")));
    }
    sdp.line(format_args!("a=msid-semantic: WMS *"));
    for (n, section) in offer.sections.iter().enumerate() {
        // Candidates are of the bundle and stand once, with its tag (RFC 9143 §7.3.1, RFC 9429 §5.3.1). What else
        // concerns the transport is repeated, for there are peers that read it section by section.
        let is_tagged = offer.bundle.first().is_none_or(|tag| section.mid.as_ref() == Some(tag));
        let candidates = is_tagged.then_some(request.candidates);
        match opus {
            _ if n == offer.video => {
                media_line(&mut sdp, section, &video.payload_types());
                transport(&mut sdp, section, request, candidates);
                video.lines(&mut sdp, request);
            }
            Some(opus) if Some(n) == offer.sound => {
                media_line(&mut sdp, section, &opus.payload_type.to_string());
                transport(&mut sdp, section, request, candidates);
                sound_lines(&mut sdp, opus, request);
            }
            _ => refuse(&mut sdp, section),
        }
    }
    let sound = opus.map(|opus| NegotiatedSound { payload_type: opus.payload_type });
    Ok(Answer { sdp: sdp.0, video: video.negotiated(), sound })
}

/// What is answered for the picture.
struct Video<'a> {
    codec: &'a Codec,
    profile: ProfileLevelId,
    rtx: Option<&'a Codec>,
    playout_delay: Option<u8>,
}

impl<'a> Video<'a> {
    fn choose(section: &'a Section, request: &AnswerRequest<'_>) -> Result<Self, OfferError> {
        let (codec, profile) = request.video.1.choose(&section.codecs).ok_or(OfferError::NoCodec)?;
        let apt = codec.payload_type.to_string();
        let is_rtx = |other: &&Codec| other.name.eq_ignore_ascii_case("rtx") && other.parameter("apt") == Some(&apt);
        let playout_delay = section.extensions.iter().find(|(_, uri)| uri == PLAYOUT_DELAY_URI).map(|(id, _)| *id);
        // One-byte headers hold ids 1 to 14 (RFC 8285 §4.2).
        let playout_delay = playout_delay.filter(|id| (1..=14).contains(id) && !request.lip_sync);
        Ok(Self { codec, profile, rtx: section.codecs.iter().find(is_rtx), playout_delay })
    }

    fn negotiated(&self) -> NegotiatedVideo {
        NegotiatedVideo {
            payload_type: self.codec.payload_type,
            rtx_payload_type: self.rtx.map(|rtx| rtx.payload_type),
            playout_delay: self.playout_delay,
        }
    }

    fn payload_types(&self) -> String {
        let rtx = self.rtx.map(|rtx| format!(" {}", rtx.payload_type)).unwrap_or_default();
        format!("{}{rtx}", self.codec.payload_type)
    }

    fn lines(&self, sdp: &mut Lines, request: &AnswerRequest<'_>) {
        codec_lines(sdp, self.codec, self.profile, self.rtx);
        if let Some(id) = self.playout_delay {
            sdp.line(format_args!("a=extmap:{id} {PLAYOUT_DELAY_URI}"));
        }
        sdp.line(format_args!("a=sendonly"));
        let OfferedTrack { ssrc, rtx_ssrc, stream_id } = &request.video.0;
        let msid = format!("{stream_id} {stream_id}");
        sdp.line(format_args!("a=msid:{msid}"));
        if self.rtx.is_some() {
            sdp.line(format_args!("a=ssrc-group:FID {ssrc} {rtx_ssrc}"));
        }
        source_lines(sdp, *ssrc, request.cname, &msid);
        if self.rtx.is_some() {
            source_lines(sdp, *rtx_ssrc, request.cname, &msid);
        }
    }
}

/// Two channels with forward error correction, in packets of 10 ms or more (RFC 7587 §6.1).
fn sound_lines(sdp: &mut Lines, opus: &Codec, request: &AnswerRequest<'_>) {
    let payload_type = opus.payload_type;
    sdp.line(format_args!("a=rtpmap:{payload_type} opus/48000/2"));
    sdp.line(format_args!("a=fmtp:{payload_type} minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"));
    sdp.line(format_args!("a=sendonly"));
    let OfferedSound { ssrc, stream_id: track } = &request.sound;
    let stream = if request.lip_sync { &request.video.0.stream_id } else { track };
    let msid = format!("{stream} {track}");
    sdp.line(format_args!("a=msid:{msid}"));
    source_lines(sdp, *ssrc, request.cname, &msid);
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

fn media_line(sdp: &mut Lines, section: &Section, payload_types: &str) {
    sdp.line(format_args!("m={} 9 {} {payload_types}", section.media, section.protocol));
    sdp.line(format_args!("c=IN IP4 0.0.0.0"));
    if let Some(mid) = &section.mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
}

fn transport(sdp: &mut Lines, section: &Section, request: &AnswerRequest<'_>, candidates: Option<Candidates<'_>>) {
    sdp.line(format_args!("a=ice-ufrag:{}", request.credentials.ufrag));
    sdp.line(format_args!("a=ice-pwd:{}", request.credentials.password));
    sdp.line(format_args!("a=fingerprint:{}", request.fingerprint));
    sdp.line(format_args!("a=setup:passive"));
    sdp.line(format_args!("a=rtcp-mux"));
    if section.rtcp_rsize {
        sdp.line(format_args!("a=rtcp-rsize"));
    }
    if let Some(candidates) = candidates {
        candidate_lines(&mut sdp.0, candidates);
    }
}

/// Host candidates: over UDP (RFC 8839 §5.1), then over TCP (RFC 6544 §4.5), to which viewers connect. The first of each
/// kind has the highest priority (RFC 8445 §5.1.2.1).
pub(super) fn candidate_lines(out: &mut String, Candidates { addresses, over_tcp }: Candidates<'_>) {
    const UDP_PREFERENCE: u32 = 126;
    // Below what browsers give to candidates relayed over UDP (libwebrtc 2), and not below those relayed over TCP (1):
    // what is lost on TCP holds up everything behind it, so that any way over UDP is better.
    const TCP_PREFERENCE: u32 = 1;
    // RFC 6544 §4.2: the upper three bits of the local preference say who connects.
    const PASSIVE: u32 = 4 << 13;
    const COMPONENT: u32 = 255;
    let priority = |kind: u32, local: u32| kind << 24 | local << 8 | COMPONENT;
    let mut foundation = 0;
    let mut line = |transport: &str, priority: u32, address: &SocketAddr, kind: &str| {
        foundation += 1;
        let (ip, port) = (address.ip(), address.port());
        let _ = write!(out, "a=candidate:{foundation} 1 {transport} {priority} {ip} {port} typ host{kind}\r\n");
    };
    for (n, address) in addresses.iter().enumerate() {
        line("udp", priority(UDP_PREFERENCE, 0xffff_u32.saturating_sub(n as u32)), address, "");
    }
    for (n, address) in addresses.iter().enumerate().filter(|_| over_tcp) {
        line(
            "tcp",
            priority(TCP_PREFERENCE, PASSIVE | 0x1fff_u32.saturating_sub(n as u32)),
            address,
            " tcptype passive",
        );
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

fn source_lines(sdp: &mut Lines, ssrc: u32, cname: &str, msid: &str) {
    sdp.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
    sdp.line(format_args!("a=ssrc:{ssrc} msid:{msid}"));
}
