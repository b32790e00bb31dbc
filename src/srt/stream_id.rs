//! What a stream ID asks for.
//!
//! Owns: the forms a stream ID comes in: none, a bare name, `publish:name`, `publish/name` (and
//! other words for the mode before a colon), and the keyed form `#!::key=value,…` (SRT Access Control Guidelines). Pure. Flows to: `handshake`.

use std::borrow::Cow;
use std::fmt;

use crate::media::{InvalidStreamName, StreamName};

/// What a peer that calls us wants.
#[derive(Clone, PartialEq, Eq)]
pub struct Wish {
    /// The stream it wants to send.
    pub stream: StreamName,
    /// What it gave as its secret for the gate, if anything (`s=`).
    pub secret: Option<String>,
}

/// Why a stream ID is refused, in words for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWish {
    /// It wants to receive.
    #[error(
        "this box receives over SRT and does not send; set the peer to send (stream ID m=publish), and watch in a browser"
    )]
    WantsToReceive,
    /// It names no stream that could be.
    #[error("stream ID {0:?}: {1}")]
    Name(String, InvalidStreamName),
    /// It asks for something other than a live stream.
    #[error("stream ID {0:?} asks for {1:?}; only live streams (t=stream) are taken")]
    Type(String, String),
}

/// Secrets stay out of logs.
impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Wish {
    /// Reads a stream ID; an empty one means `live/pgm`.
    ///
    /// # Errors
    /// When it wants to receive, or names no stream.
    pub fn parse(id: &str) -> Result<Self, BadWish> {
        let decoded = percent_decoded(id);
        let id = decoded.trim();
        let name = |text: &str| -> Result<StreamName, BadWish> {
            let text = text.trim().trim_start_matches('/');
            if text.is_empty() {
                return Ok(StreamName::program());
            }
            text.parse().map_err(|error| BadWish::Name(without_secret(id), error))
        };
        if let Some(keyed) = id.strip_prefix("#!::") {
            return Self::keyed(id, keyed.trim().trim_matches(['{', '}']), name);
        }
        // Before a slash only the documented words are a mode: others are an application's name.
        let slashed = id.split_once('/').filter(|(mode, _)| matches!(*mode, "publish" | "request"));
        let rest = match slashed.or_else(|| id.split_once(':')) {
            Some(("publish" | "push" | "input", rest)) => rest,
            Some(("read" | "request" | "play", _)) => return Err(BadWish::WantsToReceive),
            _ => id,
        };
        // MediaMTX lets user and password follow: publish:name:user:pass.
        let mut parts = rest.split(':');
        let stream = name(parts.next().unwrap_or_default())?;
        let secret = parts.nth(1).filter(|secret| !secret.is_empty()).map(str::to_owned);
        Ok(Self { stream, secret })
    }

    fn keyed(id: &str, keyed: &str, name: impl Fn(&str) -> Result<StreamName, BadWish>) -> Result<Self, BadWish> {
        let (mut resource, mut host, mut secret) = (None, None, None);
        for pair in keyed.split(',') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            let value = value.trim();
            match key.trim() {
                "r" => resource = Some(value),
                "h" => host = Some(value),
                "s" => secret = Some(value.to_owned()),
                // Without a mode the guidelines say "request", but encoders that only ever send leave it out.
                "m" if matches!(value, "request" | "bidirectional") => return Err(BadWish::WantsToReceive),
                "t" if !matches!(value, "stream" | "live") => {
                    return Err(BadWish::Type(without_secret(id), value.to_owned()));
                }
                _ => {}
            }
        }
        // A host name beside a resource is the box's own and says nothing.
        let stream = name(resource.or(host).unwrap_or_default())?;
        Ok(Self { stream, secret: secret.filter(|secret| !secret.is_empty()) })
    }
}

/// What of a stream ID may be shown: people read it in logs and in the status.
fn without_secret(id: &str) -> String {
    if let Some(keyed) = id.strip_prefix("#!::") {
        // What has no key may be the rest of a secret with a comma in it.
        let shown = |pair: &'_ str| match pair.split_once('=') {
            Some((key, _)) if key.trim_matches([' ', '{']) != "s" => pair.to_owned(),
            Some(_) => "s=…".to_owned(),
            None => "…".to_owned(),
        };
        let pairs: Vec<String> = keyed.split(',').map(shown).collect();
        return format!("#!::{}", pairs.join(","));
    }
    match id.match_indices(':').nth(1) {
        Some((end, _)) => format!("{}:…", id.get(..end).unwrap_or_default()),
        None => id.to_owned(),
    }
}

/// Undoes percent-encoding: some senders (ffmpeg 5.1) send a stream ID as it stands in their URL,
/// and no stream's name has a `%`.
fn percent_decoded(id: &str) -> Cow<'_, str> {
    if !id.contains('%') {
        return Cow::Borrowed(id);
    }
    let mut bytes = Vec::with_capacity(id.len());
    let mut rest = id.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_form_seen_in_the_field() {
        for (id, stream) in [
            ("", "live/pgm"),
            ("  ", "live/pgm"),
            ("pgm", "live/pgm"),
            ("cam1", "live/cam1"),
            ("live/cam1", "live/cam1"),
            ("/live/cam1", "live/cam1"),
            ("studio2/pgm", "studio2/pgm"),
            ("publish:cam1", "live/cam1"),
            ("publish:live/cam1", "live/cam1"),
            ("publish:cam1:user:secret", "live/cam1"),
            ("publish/cam1", "live/cam1"),
            ("publish/studio2/cam1", "studio2/cam1"),
            ("publish:", "live/pgm"),
            ("push:cam1", "live/cam1"),
            ("input:cam1", "live/cam1"),
            // Words that say what is wanted before a colon name an application before a slash.
            ("input/cam1", "input/cam1"),
            ("push/cam1", "push/cam1"),
            ("read/cam1", "read/cam1"),
            ("play/pgm", "play/pgm"),
            ("#!::r=live/cam1,m=publish", "live/cam1"),
            ("#!::h=live/cam1,m=publish", "live/cam1"),
            ("#!::r=cam1", "live/cam1"),
            ("#!::m=publish", "live/pgm"),
            ("#!::", "live/pgm"),
            ("#!::u=vmix,s=token,r=cam1,m=publish", "live/cam1"),
            ("#!::h=192.168.1.20,r=live/cam1,m=publish,t=stream", "live/cam1"),
            ("#!::{r=cam1,m=publish}", "live/cam1"),
            ("%23!::r=live%2Fcam1,m=publish", "live/cam1"),
        ] {
            assert_eq!(Wish::parse(id).map(|wish| wish.stream.to_string()), Ok(stream.to_owned()), "{id:?}");
        }
        assert_eq!(Wish::parse("#!::u=vmix,s=token,r=cam1").unwrap().secret.as_deref(), Some("token"));
        assert_eq!(Wish::parse("publish:cam1:user:pass").unwrap().secret.as_deref(), Some("pass"));
    }

    #[test]
    fn no_secret_is_in_what_is_said_of_a_stream_id() {
        for id in
            ["#!::r=a b,s=hunter2", "#!::{s=hunter2,r=a b}", "#!::s = a,hunter2,t=file", "publish:a b:user:hunter2"]
        {
            let said = Wish::parse(id).unwrap_err();
            assert!(!format!("{said} {said:?}").contains("hunter2"), "{said}");
        }
        assert!(!format!("{:?}", Wish::parse("#!::r=pgm,s=hunter2").unwrap()).contains("hunter2"));
    }

    #[test]
    fn sends_away_who_wants_to_receive() {
        for id in
            ["#!::r=live/pgm,m=request", "#!::m=bidirectional", "read:pgm", "request:pgm", "request/pgm", "play:pgm"]
        {
            assert_eq!(Wish::parse(id), Err(BadWish::WantsToReceive), "{id:?}");
        }
    }

    #[test]
    fn refuses_names_that_could_be_no_address_and_things_that_are_no_stream() {
        for id in ["a b", "a%", "a%2", "a%zz", "a%20b", "a/b/c", "ws", "#!::r=../etc,m=publish", "publish:api"] {
            assert!(matches!(Wish::parse(id), Err(BadWish::Name(..))), "{id:?}");
        }
        assert!(matches!(Wish::parse("#!::r=pgm,t=file"), Err(BadWish::Type(..))));
    }
}
