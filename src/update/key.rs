//! The public key that updates are signed for: Ed25519 (RFC 8032) as `openssl pkey -pubout` writes it.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 §4, §10.1): two sequences, the
/// object identifier 1.3.101.112, and a string of bits none of which is unused.
pub(super) const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The half that must not leave its maker.
    #[error("this is a private key, which belongs on no box: `openssl pkey -in KEY -pubout` makes the public one")]
    Private,
    /// Anything else.
    #[error("this is no Ed25519 public key as `openssl pkey -pubout` writes it")]
    NoKey,
}

impl Key {
    /// Reads a key: PEM (RFC 7468 §13), with nothing around it.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        if text.contains("PRIVATE KEY-----") {
            return Err(InvalidKey::Private);
        }
        let body = text
            .trim_ascii()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(InvalidKey::NoKey)?;
        let encoded: String = body.lines().collect();
        let der = BASE64.decode(encoded.as_bytes()).map_err(|_| InvalidKey::NoKey)?;
        let key = der.strip_prefix(&PREFIX).ok_or(InvalidKey::NoKey)?;
        key.try_into().map(Self).map_err(|_| InvalidKey::NoKey)
    }

    /// Whether `signature` was made over `message` with the private half of this key.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", data_encoding::HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm ed25519 | openssl pkey -pubout`
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn reads_what_openssl_writes() {
        // RFC 8410 §10.1 has this very key.
        let bytes = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(format!("{:?}", Key::from_pem(PEM).unwrap()), format!("Key({bytes})"));
        assert!(Key::from_pem(PEM.trim()).is_ok());
        assert!(Key::from_pem(&PEM.replace('\n', "\r\n")).is_ok());
    }

    #[test]
    fn refuses_what_is_no_such_key() {
        for text in [
            "",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
            &PEM.replace("PUBLIC", "RSA PUBLIC"),
            &PEM.replace("MCow", "MCox"),
            &PEM.replace("ZuE=", "ZuF="),
            &PEM.replace("ZuE=", "ZuE"),
            &PEM.replace("ZuE=", "ZuEA"),
            &PEM.replace("GYb9", "GY b9").replace("9ECW", "9E CW"),
            &format!("{PEM}{PEM}"),
            &format!("subject\n{PEM}"),
        ] {
            assert_eq!(Key::from_pem(text), Err(InvalidKey::NoKey), "{text}");
        }
    }

    #[test]
    fn says_when_it_is_given_the_private_half() {
        let private = PEM.replace("PUBLIC", "PRIVATE");
        assert_eq!(Key::from_pem(&private), Err(InvalidKey::Private));
        assert!(InvalidKey::Private.to_string().contains("-pubout"));
    }
}
