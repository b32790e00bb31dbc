//! The offer a viewer makes, which is Chromium's, and what it reads from the answer.

use super::Result;
use std::net::SocketAddr;

/// What goes into an offer.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// ICE user fragment.
    pub ufrag: &'a str,
    /// ICE password.
    pub password: &'a str,
    /// SHA-256 fingerprint of the certificate, upper-case hex with colons.
    pub fingerprint: &'a str,
    /// Sound is asked for as well.
    pub sound: bool,
}

/// What Chromium 156 of Debian offers for `addTransceiver('video', { direction: 'recvonly' })` and the
/// same for audio, with its credentials replaced by placeholders and CRLF by LF.
const CHROMIUM: &str = include_str!("chromium.sdp");

impl Offer<'_> {
    /// The offer, as Chromium writes it.
    pub fn to_sdp(&self) -> String {
        let (picture, _) = CHROMIUM.split_once("m=audio").unwrap_or((CHROMIUM, ""));
        let offer = if self.sound { CHROMIUM.to_owned() } else { picture.replace("BUNDLE 0 1", "BUNDLE 0") };
        offer
            .replace('\n', "\r\n")
            .replace("%UFRAG%", self.ufrag)
            .replace("%PASSWORD%", self.password)
            .replace("%FINGERPRINT%", self.fingerprint)
    }
}

/// What a viewer needs of an answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The server's ICE user fragment.
    pub ufrag: String,
    /// The server's ICE password.
    pub password: String,
    /// SHA-256 fingerprint of its certificate, upper case.
    pub fingerprint: String,
    /// `passive` or `active`.
    pub setup: String,
    /// UDP host candidates.
    pub candidates: Vec<SocketAddr>,
    /// Payload type of H.264.
    pub video: Option<u8>,
    /// `profile-level-id` of that payload type.
    pub profile_level_id: String,
    /// Payload type of its retransmissions.
    pub rtx: Option<u8>,
    /// Payload type of Opus.
    pub sound: Option<u8>,
    /// Identifier of the playout-delay header extension.
    pub playout_delay: Option<u8>,
    /// Reduced-size RTCP was agreed.
    pub reduced_size: bool,
    /// The server calls itself ICE-lite.
    pub ice_lite: bool,
    /// Media sections in order: kind, port, direction, mid.
    pub sections: Vec<Section>,
}

/// One `m=` section of an answer.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// `audio`, `video`.
    pub kind: String,
    /// 0 when refused.
    pub port: u16,
    /// `sendonly`, `inactive`, …
    pub direction: String,
    /// `a=mid`.
    pub mid: String,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// Says what a browser would miss in it.
    pub fn parse(sdp: &str) -> Result<Self> {
        let mut answer = Self::default();
        let mut first_video_type = None;
        let mut apt = Vec::new();
        let mut fmtp = Vec::new();
        let mut h264 = Vec::new();
        for line in sdp.lines() {
            let line = line.trim_end_matches('\r');
            if let Some(media) = line.strip_prefix("m=") {
                let mut words = media.split_whitespace();
                let kind = words.next().unwrap_or_default().to_owned();
                let port = words.next().and_then(|port| port.parse().ok()).unwrap_or_default();
                if kind == "video" && port != 0 {
                    first_video_type = words.nth(1).and_then(|payload_type| payload_type.parse::<u8>().ok());
                }
                if kind == "audio" && port != 0 {
                    answer.sound = words.nth(1).and_then(|payload_type| payload_type.parse::<u8>().ok());
                }
                answer.sections.push(Section { kind, port, ..Section::default() });
                continue;
            }
            let Some(attribute) = line.strip_prefix("a=") else { continue };
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            let is_video = answer.sections.last().is_some_and(|section| section.kind == "video");
            match name {
                "ice-ufrag" => value.clone_into(&mut answer.ufrag),
                "ice-pwd" => value.clone_into(&mut answer.password),
                "ice-lite" => answer.ice_lite = true,
                "setup" => value.clone_into(&mut answer.setup),
                "fingerprint" => {
                    if let Some(hex) = value.strip_prefix("sha-256 ") {
                        answer.fingerprint = hex.trim().to_ascii_uppercase();
                    }
                }
                "candidate" => answer.candidates.extend(candidate(value)),
                "rtcp-rsize" => answer.reduced_size = true,
                "extmap" if value.ends_with("/playout-delay") => {
                    answer.playout_delay = value.split(['/', ' ']).next().and_then(|id| id.parse().ok());
                }
                "rtpmap" if is_video => {
                    if let Some((payload_type, codec)) = value.split_once(' ')
                        && codec.starts_with("H264/")
                    {
                        h264.extend(payload_type.parse::<u8>());
                    }
                }
                "fmtp" if is_video => {
                    if let Some((payload_type, parameters)) = value.split_once(' ')
                        && let Ok(payload_type) = payload_type.parse::<u8>()
                    {
                        if let Some(of) = parameters.strip_prefix("apt=").and_then(|of| of.parse::<u8>().ok()) {
                            apt.push((payload_type, of));
                        }
                        fmtp.push((payload_type, parameters.to_owned()));
                    }
                }
                "mid" => {
                    if let Some(section) = answer.sections.last_mut() {
                        value.clone_into(&mut section.mid);
                    }
                }
                "sendonly" | "inactive" | "recvonly" | "sendrecv" => {
                    if let Some(section) = answer.sections.last_mut() {
                        name.clone_into(&mut section.direction);
                    }
                }
                _ => {}
            }
        }
        answer.video = first_video_type.filter(|first| h264.contains(first)).or_else(|| h264.first().copied());
        answer.rtx = apt.iter().find(|(_, of)| Some(*of) == answer.video).map(|(rtx, _)| *rtx);
        answer.profile_level_id = fmtp
            .iter()
            .find(|(payload_type, _)| Some(*payload_type) == answer.video)
            .and_then(|(_, parameters)| parameters.split(';').find_map(|p| p.trim().strip_prefix("profile-level-id=")))
            .unwrap_or_default()
            .to_owned();
        if answer.ufrag.is_empty() || answer.password.is_empty() {
            return Err(format!("an answer without ICE credentials:\n{sdp}").into());
        }
        if answer.fingerprint.is_empty() {
            return Err(format!("an answer without a SHA-256 fingerprint:\n{sdp}").into());
        }
        if answer.candidates.is_empty() {
            return Err(format!("an answer without a UDP candidate:\n{sdp}").into());
        }
        Ok(answer)
    }
}

/// `foundation component udp priority address port typ host …` (RFC 8839 §5.1).
fn candidate(value: &str) -> Option<SocketAddr> {
    let words: Vec<_> = value.split_whitespace().collect();
    let [_, "1", transport, _, address, port, "typ", "host", ..] = words.as_slice() else { return None };
    if !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}
