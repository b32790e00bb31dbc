//! Offer and answer (RFC 3264, RFC 8829, RFC 9429), and fragments for trickle ICE (RFC 8840).
//!
//! Owns: reading what a browser offers into a model of our own (`rtc-sdp` does the grammar), and
//! writing the answer. Does not own: what is served (the caller says which tracks), credentials,
//! keys or addresses. Pure: text in, text out.

use std::io::Cursor;

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::dtls::Fingerprint;
use super::ice::Credentials;

mod answer;
mod fragment;
mod h264;

#[cfg(test)]
mod tests;

pub use answer::{
    Answer, AnswerRequest, Candidates, NegotiatedSound, NegotiatedVideo, OfferedSound, OfferedTrack, answer,
};
pub use fragment::{Fragment, FragmentError, restart_answer};
pub use h264::ProfileLevelId;

/// Longest description read; browsers' offers have 2 to 10 KB.
pub const LONGEST_SDP: usize = 64 << 10;
/// Most media sections read.
const MOST_SECTIONS: usize = 32;

/// What is wrong with an offer, in words for whoever wrote the player.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Too long, too many sections, or not SDP.
    #[error("the offer is not a session description: {0}")]
    Malformed(String),
    /// Something that every WebRTC offer has is missing.
    #[error("the offer lacks {0}")]
    Lacks(&'static str),
    /// An attribute has a value that is not allowed.
    #[error("the offer's a={attribute} is not valid: {why}")]
    Attribute {
        /// The attribute's name.
        attribute: &'static str,
        /// What is wrong with its value.
        why: &'static str,
    },
    /// No section asks for what the stream has.
    #[error("the offer asks for no picture: it needs a video section that receives (recvonly)")]
    NoVideo,
    /// No codec in common.
    #[error("the stream is H.264 and the offer's video section lists no H.264 with packetization-mode=1")]
    NoCodec,
}

/// What a media section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else, data channels for one.
    Other,
}

/// A payload type an offer lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// RTP payload type.
    pub payload_type: u8,
    /// Encoding name as written, `H264`.
    pub name: String,
    /// Clock rate, Hz.
    pub clock_rate: u32,
    /// Channels of sound, 1 where none are named (RFC 8866 §6.6).
    pub channels: u8,
    /// Format parameters, in order.
    pub parameters: Vec<(String, String)>,
    /// Feedback types: `nack`, `nack pli`.
    pub feedback: Vec<String>,
}

impl Codec {
    /// A format parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Opus is always written with 48 kHz and two channels, whatever is sent (RFC 7587 §7).
    fn is_opus(&self) -> bool {
        self.name.eq_ignore_ascii_case("opus") && self.clock_rate == 48_000 && self.channels == 2
    }
}

/// A media section of an offer.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it carries.
    pub kind: Kind,
    /// The m-line's words: media, protocol and formats, to be repeated in the answer.
    media: String,
    protocol: String,
    formats: Vec<String>,
    /// Its identification (RFC 5888 §4).
    pub mid: Option<String>,
    /// Whether the offerer wants to receive.
    pub receives: bool,
    /// Its payload types, in order of preference.
    pub codecs: Vec<Codec>,
    /// Header extensions, id and URI (RFC 8285 §5).
    pub extensions: Vec<(u8, String)>,
    rtcp_mux: bool,
    rtcp_rsize: bool,
    rejected: bool,
}

impl Section {
    /// Asks for what this kind carries, and may be accepted.
    fn asks_for(&self, kind: Kind) -> bool {
        self.kind == kind && self.receives && !self.rejected
    }

    fn is_in(&self, bundle: &[&str]) -> bool {
        self.mid.as_deref().is_some_and(|mid| bundle.contains(&mid))
    }
}

/// An offer, checked as far as it concerns the session as a whole.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The peer's ICE credentials on the transport of the accepted sections.
    pub credentials: Credentials,
    /// Fingerprints of the certificate it uses there; any may match.
    pub fingerprints: Vec<Fingerprint>,
    /// Its media sections, in order.
    pub sections: Vec<Section>,
    /// Identifications of the bundled sections (RFC 9143), those of the accepted ones only.
    bundle: Vec<String>,
    /// Which section gets the picture.
    video: usize,
    /// Which section gets the sound; all others are refused.
    sound: Option<usize>,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// Says which part of it is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        if text.len() > LONGEST_SDP {
            return Err(OfferError::Malformed("it is too long".into()));
        }
        let text = with_line_ends(text);
        let description = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|err| OfferError::Malformed(err.to_string()))?;
        if description.media_descriptions.len() > MOST_SECTIONS {
            return Err(OfferError::Malformed("it has too many media sections".into()));
        }
        let session = &description.attributes;
        let bundle = values(session, "group").find_map(|group| group.strip_prefix("BUNDLE"));
        let bundle: Vec<&str> = bundle.unwrap_or_default().split_whitespace().collect();
        let sections: Vec<_> = description.media_descriptions.iter().map(|media| section(media, session)).collect();
        let video = video(&sections, &bundle)?;
        let sound = sound(&sections, &bundle);
        let is_accepted = |at: usize| at == video || Some(at) == sound;
        let transport = transport(&description, &sections, &bundle, video, is_accepted);
        let first = |name: &'static str| transport.iter().find_map(|attributes| values(attributes, name).next());
        let ufrag = first("ice-ufrag").ok_or(OfferError::Lacks("ICE credentials (a=ice-ufrag, a=ice-pwd)"))?;
        let password = first("ice-pwd").ok_or(OfferError::Lacks("ICE credentials (a=ice-ufrag, a=ice-pwd)"))?;
        let credentials = Credentials { ufrag: ufrag.into(), password: password.into() };
        check_credentials(&credentials)?;
        // A section's own take the place of the session's (RFC 8122 §5).
        let stated = transport.iter().find(|attributes| values(attributes, "fingerprint").next().is_some());
        let stated = stated.ok_or(OfferError::Lacks("the fingerprint of its DTLS certificate (a=fingerprint)"))?;
        let fingerprints: Vec<_> = values(stated, "fingerprint").filter_map(Fingerprint::parse).collect();
        if fingerprints.is_empty() {
            let why = "it must be a SHA-256, SHA-384 or SHA-512 digest in hexadecimal";
            return Err(OfferError::Attribute { attribute: "fingerprint", why });
        }
        if let Some("passive" | "holdconn") = first("setup") {
            let why = "the box waits for the handshake, so the offer must say actpass or active";
            return Err(OfferError::Attribute { attribute: "setup", why });
        }
        let accepted = in_bundle(&sections, &bundle).filter(|at| is_accepted(*at));
        let bundle = accepted.filter_map(|at| sections.get(at)?.mid.clone()).collect();
        Ok(Self { credentials, fingerprints, bundle, video, sound, sections })
    }
}

/// Places of the bundled sections, in the group's order: the first is the one the offer suggests for the tag.
fn in_bundle(sections: &[Section], bundle: &[&str]) -> impl Iterator<Item = usize> {
    bundle.iter().filter_map(|mid| sections.iter().position(|section| section.mid.as_deref() == Some(mid)))
}

/// The first video section that can be served on a transport of its own or of the bundle.
fn video(sections: &[Section], bundle: &[&str]) -> Result<usize, OfferError> {
    let fits = |section: &Section| section.asks_for(Kind::Video);
    let video = sections.iter().position(|section| fits(section) && (section.is_in(bundle) || sections.len() == 1));
    video.ok_or_else(|| match sections.iter().any(fits) {
        true => OfferError::Lacks("its video section in a=group:BUNDLE"),
        false => OfferError::NoVideo,
    })
}

/// The first audio section that can be served beside the picture, on the same transport.
fn sound(sections: &[Section], bundle: &[&str]) -> Option<usize> {
    sections.iter().position(|section| {
        let fits = section.asks_for(Kind::Audio) && section.rtcp_mux && section.is_in(bundle);
        fits && section.codecs.iter().any(Codec::is_opus)
    })
}

/// Attributes of the transport that the accepted sections use, the ones that count first: those of the section that
/// carries the bundle's tag, which is the first of the group that is accepted (RFC 9143 §7.3.1); then the session's.
/// A bundle-only section has none of its own and counts on those of the section the offer suggests for the tag
/// (RFC 9143 §6, §7.1.3), which is the transport browsers have opened.
fn transport<'a>(
    description: &'a SessionDescription,
    sections: &[Section],
    bundle: &[&str],
    video: usize,
    is_accepted: impl Fn(usize) -> bool,
) -> Vec<&'a [Attribute]> {
    let of = |at: usize| description.media_descriptions.get(at).map(|media| media.attributes.as_slice());
    let own = of(in_bundle(sections, bundle).find(|at| is_accepted(*at)).unwrap_or(video));
    let suggested = || of(in_bundle(sections, bundle).next()?);
    let borrowed = own.filter(|own| has(own, "bundle-only")).and_then(|_| suggested());
    own.into_iter().chain(borrowed).chain([description.attributes.as_slice()]).collect()
}

/// The grammar wants CRLF and a final line end; players written by hand send neither.
fn with_line_ends(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split(['\r', '\n']).map(str::trim_end).filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push_str("\r\n");
    }
    out
}

fn values<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.key == name).filter_map(|a| a.value.as_deref()).map(str::trim)
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|a| a.key == name)
}

fn section(media: &MediaDescription, session: &[Attribute]) -> Section {
    let attributes = &media.attributes;
    let name = &media.media_name;
    let stated = |direction: &str| has(attributes, direction);
    let any_stated = ["sendrecv", "recvonly", "sendonly", "inactive"].into_iter().any(stated);
    // Direction may stand at session level; sendrecv where none is given (RFC 8866 §6.7).
    let is = |direction: &str| if any_stated { stated(direction) } else { has(session, direction) };
    let both = is("sendrecv") || !(is("recvonly") || is("sendonly") || is("inactive"));
    Section {
        kind: match name.media.as_str() {
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => Kind::Other,
        },
        media: name.media.clone(),
        protocol: name.protos.join("/"),
        formats: name.formats.clone(),
        mid: values(attributes, "mid").next().map(str::to_owned),
        receives: both || is("recvonly"),
        codecs: codecs(name.formats.iter().filter_map(|format| format.parse().ok()), attributes),
        extensions: values(attributes, "extmap").filter_map(extension).collect(),
        rtcp_mux: has(attributes, "rtcp-mux"),
        rtcp_rsize: has(attributes, "rtcp-rsize"),
        // Port 0 without bundle-only means refused (RFC 9143 §6).
        rejected: name.port.value == 0 && !has(attributes, "bundle-only"),
    }
}

fn codecs(payload_types: impl Iterator<Item = u8>, attributes: &[Attribute]) -> Vec<Codec> {
    let of = |name: &'static str, payload_type: u8| {
        values(attributes, name).filter_map(move |value| {
            let (number, rest) = value.split_once(' ')?;
            (number.parse() == Ok(payload_type) || number == "*").then_some(rest.trim())
        })
    };
    payload_types
        .filter_map(|payload_type| {
            let (name, rest) = of("rtpmap", payload_type).next()?.split_once('/')?;
            let parameters = of("fmtp", payload_type).flat_map(|line| line.split(';')).filter_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                Some((key.trim().to_owned(), value.trim().to_owned()))
            });
            Some(Codec {
                payload_type,
                name: name.to_owned(),
                clock_rate: rest.split('/').next()?.parse().ok()?,
                channels: rest.split('/').nth(1).map_or(Some(1), |channels| channels.trim().parse().ok())?,
                parameters: parameters.collect(),
                feedback: of("rtcp-fb", payload_type).map(str::to_owned).collect(),
            })
        })
        .collect()
}

fn extension(value: &str) -> Option<(u8, String)> {
    let (id, uri) = value.split_once(' ')?;
    let id = id.split('/').next()?.parse().ok()?;
    Some((id, uri.split(' ').next()?.to_owned()))
}

/// RFC 8839 §5.4: 4 to 256 and 22 to 256 characters.
fn check_credentials(credentials: &Credentials) -> Result<(), OfferError> {
    let ice_chars = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/');
    // Some servers and players use other printable characters; only what would break a line is refused.
    let plain = |text: &str| ice_chars(text) || text.chars().all(|c| c.is_ascii_graphic());
    if !(4..=256).contains(&credentials.ufrag.len()) || !plain(&credentials.ufrag) {
        return Err(OfferError::Attribute { attribute: "ice-ufrag", why: "it has 4 to 256 characters" });
    }
    if !(22..=256).contains(&credentials.password.len()) || !plain(&credentials.password) {
        return Err(OfferError::Attribute { attribute: "ice-pwd", why: "it has 22 to 256 characters" });
    }
    Ok(())
}
