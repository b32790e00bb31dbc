//! The bundle, `returnfeed-<version>.update`: bytes in, a judgement out.
//!
//! ```text
//! RETURNFEED-UPDATE 1
//! <base64 of the Ed25519 signature over the manifest's bytes>
//! <length of the manifest in bytes, decimal>
//! <manifest, TOML><what is written to the slot>
//! ```
//!
//! Nothing of the manifest is looked at before its signature was found right, nothing behind it is believed but by the
//! checksums in it, and the same bytes get the same judgement in whatever pieces they come.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::BASE64;

use super::manifest::{CHUNK, Manifest, Terms};
use super::{Key, Refused};

/// The largest bundle, in bytes: more than a slot has.
pub const LARGEST_BUNDLE: u64 = 200 << 20;

/// The largest manifest, in bytes.
const LARGEST_MANIFEST: usize = 256 << 10;

const KIND: &[u8] = b"RETURNFEED-UPDATE ";
const THIS_KIND: &[u8] = b"RETURNFEED-UPDATE 1";
/// Room for a number of four digits.
const LONGEST_KIND: usize = KIND.len() + 4;
/// 64 bytes in base64 (RFC 8032 §5.1.6, RFC 4648 §4).
const SIGNATURE: usize = 88;
const LONGEST_LENGTH: usize = 6;

/// The most bytes that are looked at before there is a judgement about the head: for who has to set a bound.
pub const LARGEST_HEAD: usize = LONGEST_KIND + SIGNATURE + LONGEST_LENGTH + 3 + LARGEST_MANIFEST;

/// What stands before the bytes of the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the bundle says about itself.
    pub manifest: Manifest,
    /// Where the bytes of the slot begin in the bundle.
    pub payload_at: u64,
}

impl Head {
    /// Reads the head out of the first bytes of a bundle; `None` when there are too few of them.
    ///
    /// # Errors
    /// When this is no bundle, its signature is not that of `key`, or its manifest makes no sense.
    pub fn read(bytes: &[u8], key: &Key) -> Result<Option<Self>, Refused> {
        let Some((kind, rest)) = line(bytes, LONGEST_KIND).ok_or(Refused::NotAnUpdate)? else { return Ok(None) };
        if kind != THIS_KIND {
            let number = kind.strip_prefix(KIND).filter(|number| decimal(number).is_some_and(|kind| kind > 1));
            return Err(number.map_or(Refused::NotAnUpdate, |_| Refused::NewerKind));
        }
        let Some((signature, rest)) = line(rest, SIGNATURE).ok_or(Refused::DamagedHead)? else { return Ok(None) };
        let signature = BASE64.decode(signature).map_err(|_| Refused::DamagedHead)?;
        let Some((length, rest)) = line(rest, LONGEST_LENGTH).ok_or(Refused::DamagedHead)? else { return Ok(None) };
        let length = decimal(length).filter(|length| *length <= LARGEST_MANIFEST).ok_or(Refused::DamagedHead)?;
        let Some((manifest, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        if !key.has_signed(manifest, &signature) {
            return Err(Refused::WrongSignature);
        }
        let payload_at = (bytes.len() - rest.len()) as u64;
        Ok(Some(Self { manifest: Manifest::parse(manifest)?, payload_at }))
    }

    /// What the whole bundle has, in bytes.
    pub fn bundle_len(&self) -> u64 {
        self.payload_at + self.manifest.size
    }

    /// Whether a bundle with this head and this many bytes ends where it should.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_len(&self, bytes: u64) -> Result<(), Refused> {
        match self.bundle_len().checked_sub(bytes) {
            Some(0) => Ok(()),
            Some(missing) => Err(Refused::Truncated { missing: Some(missing) }),
            None => Err(Refused::TrailingBytes),
        }
    }
}

/// The first line and what follows it; `Some(None)` when its end has not come yet, `None` when it is longer than `most`.
fn line(bytes: &[u8], most: usize) -> Option<Option<(&[u8], &[u8])>> {
    let end = bytes.iter().take(most + 1).position(|byte| *byte == b'\n');
    match end.and_then(|end| bytes.split_at_checked(end)) {
        Some((line, rest)) => Some(Some((line, rest.get(1..).unwrap_or_default()))),
        None if bytes.len() > most => None,
        None => Some(None),
    }
}

/// A number as people write it: digits alone, not 0, no zeros before it.
fn decimal(digits: &[u8]) -> Option<usize> {
    let plain = digits.iter().all(u8::is_ascii_digit) && digits.first().is_some_and(|first| *first != b'0');
    plain.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

/// A bundle that is still coming. It is judged as early as can be: on its head when that is whole, on each part when
/// that is.
#[derive(Debug)]
pub struct Arriving {
    key: Key,
    terms: Terms,
    got: Got,
}

#[derive(Debug)]
enum Got {
    /// Not all of the head.
    Beginning(Vec<u8>),
    /// The head and some of what follows.
    Payload { head: Box<Head>, taken: u64, sum: Sum },
}

/// The checksum of the part that is coming.
struct Sum(digest::Context);

impl Default for Sum {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum")
    }
}

impl Arriving {
    /// A bundle of which nothing has come.
    pub fn new(key: Key, terms: Terms) -> Self {
        Self { key, terms, got: Got::Beginning(Vec::new()) }
    }

    /// The head, once it is whole; it was found right then.
    pub fn head(&self) -> Option<&Head> {
        match &self.got {
            Got::Beginning(_) => None,
            Got::Payload { head, .. } => Some(head),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the bundle is refused. Nothing that follows changes that, and nothing is to be pushed then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let Got::Beginning(beginning) = &mut self.got else { return self.push_payload(bytes) };
        beginning.extend_from_slice(bytes);
        let Some(head) = Head::read(beginning, &self.key)? else { return Ok(()) };
        self.terms.judge(&head.manifest)?;
        let follows = beginning.split_off(usize::try_from(head.payload_at).unwrap_or(usize::MAX).min(beginning.len()));
        self.got = Got::Payload { head: Box::new(head), taken: 0, sum: Sum::default() };
        self.push_payload(&follows)
    }

    fn push_payload(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        let Got::Payload { head, taken, sum } = &mut self.got else { return Ok(()) };
        let manifest = &head.manifest;
        while !bytes.is_empty() {
            let (number, within) = (*taken / CHUNK as u64, *taken % CHUNK as u64);
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            let left = manifest.chunk_len(number) - usize::try_from(within).unwrap_or_default();
            if left == 0 {
                return Err(Refused::TrailingBytes);
            }
            let (now, later) = bytes.split_at_checked(left).unwrap_or((bytes, &[]));
            sum.0.update(now);
            *taken += now.len() as u64;
            bytes = later;
            if now.len() == left {
                let whole = std::mem::take(sum).0.finish();
                manifest.check(number, whole.as_ref())?;
            }
        }
        Ok(())
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// When something is missing.
    pub fn finish(&self) -> Result<Manifest, Refused> {
        match &self.got {
            Got::Payload { head, taken, .. } => {
                head.check_len(head.payload_at + taken)?;
                Ok(head.manifest.clone())
            }
            Got::Beginning(bytes) => {
                let began = bytes.get(..THIS_KIND.len()).is_some_and(|kind| kind == THIS_KIND);
                Err(if began { Refused::Truncated { missing: None } } else { Refused::NotAnUpdate })
            }
        }
    }
}

#[cfg(test)]
mod tests;
