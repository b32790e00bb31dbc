//! Secrets: how they are compared, and tokens, which nobody can guess.
//!
//! Owns: digests, their comparison in constant time, the form of a token. Does not own: how often one may guess.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What tells a link's token from every other secret. No set-up code has an underscore.
const LINK_PREFIX: &str = "link_";

/// 256 bits in base64url.
const TOKEN_LETTERS: usize = 43;

/// SHA-256 of a secret. Two are of one length, and of what is compared nothing can be found by how long it took, for
/// nobody can choose a digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part.as_bytes());
            // No part has this byte, so that parts cannot be taken for others.
            context.update(&[0xff]);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// Of what matters in a secret as a person types it: capitals, hyphens and spaces do not. `None` when nothing is
    /// left of it.
    pub(super) fn of_typed(secret: &str) -> Option<Self> {
        let letters: String =
            secret.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        (!letters.is_empty()).then(|| Self::of(&[&letters]))
    }

    /// In constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        data_encoding::HEXLOWER.encode(&digest.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| "this is no digest")?;
        bytes.try_into().map(Self).map_err(|_| "this is no digest")
    }
}

/// Secrets stay out of logs, and so does what they could be found from.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// 256 random bits as text. Only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRandomness;

impl Token {
    pub(super) fn draw() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that says by its form that it is a link's.
    pub(super) fn draw_for_a_link() -> Result<Self, NoRandomness> {
        Self::draw().map(|Self(token)| Self(format!("{LINK_PREFIX}{token}")))
    }

    /// A text that has the form of one.
    pub fn shown(text: &str) -> Option<Self> {
        is_token(text).then(|| Self(text.to_owned()))
    }

    /// The token itself, for whom it is made.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whether a text can be a token that was drawn here; nothing else is hashed or looked up.
pub fn is_token(text: &str) -> bool {
    let drawn = text.strip_prefix(LINK_PREFIX).unwrap_or(text);
    drawn.len() == TOKEN_LETTERS && drawn.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether a text can be a link's token.
pub fn is_link_token(text: &str) -> bool {
    text.starts_with(LINK_PREFIX) && is_token(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_as_people_type_it() {
        let right = Digest::of_typed("bkmqp-xrthw").unwrap();
        for typed in
            ["bkmqp-xrthw", "BKMQP-XRTHW", "bkmqpxrthw", " bkmqp xrthw ", "bk-mq-px-rt-hw", "bkmqp\u{2013}xrthw"]
        {
            assert!(Digest::of_typed(typed).unwrap().is(&right), "{typed}");
        }
        for wrong in ["bkmqp", "bkmqp-xrthz", "bkmqp-xrthw-x"] {
            assert!(!Digest::of_typed(wrong).unwrap().is(&right), "{wrong}");
        }
        for nothing in ["", "-", "--------", "\u{2013}"] {
            assert_eq!(Digest::of_typed(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn parts_of_a_digest_cannot_be_taken_for_others() {
        assert!(!Digest::of(&["ab", "c"]).is(&Digest::of(&["a", "bc"])));
        assert!(!Digest::of(&["ab"]).is(&Digest::of(&["ab", ""])));
    }

    #[test]
    fn tokens_are_told_from_other_texts_and_from_one_another() {
        let (token, link) = (Token::draw().unwrap(), Token::draw_for_a_link().unwrap());
        assert_ne!(token, Token::draw().unwrap());
        assert!(is_token(token.expose()) && !is_link_token(token.expose()));
        assert!(is_token(link.expose()) && is_link_token(link.expose()));
        for other in ["", "link_", "bkmqp-xrthw", &link.expose()[1..], &format!("{}=", token.expose())] {
            assert!(!is_token(other), "{other}");
        }
    }

    #[test]
    fn nothing_of_a_secret_is_in_what_is_logged() {
        let token = Token::draw().unwrap();
        assert_eq!(format!("{token:?} {:?}", Digest::of(&["x"])), "Token(…) Digest(…)");
    }

    #[test]
    fn a_digest_is_kept_as_text_and_read_again() {
        let digest = Digest::of(&["x"]);
        assert_eq!(Digest::try_from(String::from(digest)), Ok(digest));
        for other in ["", "00", "zz", &"0".repeat(66)] {
            assert!(Digest::try_from(other.to_owned()).is_err(), "{other}");
        }
    }
}
