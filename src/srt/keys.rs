//! Passphrases and the stream keys they wrap.
//!
//! Owns: trying a passphrase on what a peer sent, decrypting, keys that change while a stream
//! runs, and making key material when the box calls. Pure: randomness is passed in. The ciphers are
//! `srt-protocol`'s. AES-128, -192 and -256: the key size is always that of the request.

use bytes::{Bytes, BytesMut};
use srt_protocol::packet::{Auth, CipherType, DataEncryption, KeyFlags, KeyingMaterialMessage, PacketType, SeqNumber};
use srt_protocol::protocol::encryption::key::{KeyEncryptionKey, Salt};
use srt_protocol::settings::{KeySettings, KeySize, Passphrase, StreamEncryptionKeys};

/// Why a text can be no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SRT passphrase has 10 to 79 characters; this one has {0}")]
pub struct BadPassphrase(pub usize);

/// The passphrase does not open these keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong passphrase")]
pub struct WrongPassphrase;

/// Bytes of randomness [`StreamKeys::make`] needs: a salt of 16 and a key of up to 32.
pub const KEY_ENTROPY: usize = 48;

/// The keys of one connection, and the passphrase for those to come.
#[derive(Clone, Debug)]
pub struct StreamKeys {
    passphrase: Passphrase,
    /// What the current keys came in.
    message: KeyingMaterialMessage,
    current: StreamEncryptionKeys,
    /// Packets under way may still need these.
    previous: Option<StreamEncryptionKeys>,
}

fn passphrase(text: &str) -> Result<Passphrase, BadPassphrase> {
    Passphrase::try_from(text.to_owned()).map_err(|_| BadPassphrase(text.len()))
}

impl StreamKeys {
    /// Opens screened key material with a passphrase.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn open(text: &str, message: &KeyingMaterialMessage) -> Result<Self, WrongPassphrase> {
        let passphrase = passphrase(text).map_err(|_| WrongPassphrase)?;
        let current = unwrap(&passphrase, message)?;
        Ok(Self { passphrase, message: message.clone(), current, previous: None })
    }

    /// Makes keys of `key_bytes` (16, 24 or 32) for a connection the box calls out for.
    ///
    /// # Errors
    /// When the passphrase can be none.
    pub fn make(text: &str, key_bytes: usize, entropy: &[u8; KEY_ENTROPY]) -> Result<Self, BadPassphrase> {
        let passphrase = passphrase(text)?;
        let (salt, key) = entropy.split_at(16);
        let key = &key[..if [16, 24, 32].contains(&key_bytes) { key_bytes } else { 16 }];
        let bad = |_| BadPassphrase(text.len());
        let settings = KeySettings { key_size: key_size(key.len()), passphrase: passphrase.clone() };
        let wrapping = KeyEncryptionKey::new(&settings, &Salt::try_from(salt).map_err(bad)?);
        let message = KeyingMaterialMessage {
            pt: PacketType::KeyingMaterial,
            key_flags: KeyFlags::EVEN,
            keki: 0,
            cipher: CipherType::Ctr,
            auth: Auth::None,
            salt: salt.to_vec(),
            wrapped_keys: wrapping.encrypt_wrapped_keys(key),
        };
        Self::open(text, &message).map_err(|_| BadPassphrase(text.len()))
    }

    /// Takes the peer's next keys; `false` when they were known already.
    ///
    /// # Errors
    /// When the passphrase does not open them.
    pub fn refresh(&mut self, message: &KeyingMaterialMessage) -> Result<bool, WrongPassphrase> {
        if *message == self.message {
            return Ok(false);
        }
        let next = unwrap(&self.passphrase, message)?;
        self.previous = Some(std::mem::replace(&mut self.current, next));
        self.message = message.clone();
        Ok(true)
    }

    /// What the current keys came in.
    pub fn message(&self) -> &KeyingMaterialMessage {
        &self.message
    }

    /// The size of the keys.
    pub fn key_size(&self) -> KeySize {
        key_size(key_bytes(&self.message))
    }

    /// Decrypts a payload, if there is a key for it.
    pub fn decrypt(&self, encryption: DataEncryption, sequence: u32, payload: &[u8]) -> Option<Bytes> {
        let mut data = BytesMut::from(payload);
        let sequence = SeqNumber(sequence);
        let tried = self.current.decrypt(encryption, sequence, &mut data);
        tried.or_else(|| self.previous.as_ref()?.decrypt(encryption, sequence, &mut data))?;
        Some(data.freeze())
    }
}

fn unwrap(passphrase: &Passphrase, message: &KeyingMaterialMessage) -> Result<StreamEncryptionKeys, WrongPassphrase> {
    let settings = KeySettings { key_size: key_size(key_bytes(message)), passphrase: passphrase.clone() };
    StreamEncryptionKeys::unwrap_from(&settings, message).map_err(|_| WrongPassphrase)
}

fn key_bytes(message: &KeyingMaterialMessage) -> usize {
    let keys = message.key_flags.bits().count_ones().max(1) as usize;
    message.wrapped_keys.len().saturating_sub(8) / keys
}

fn key_size(bytes: usize) -> KeySize {
    match bytes {
        24 => KeySize::AES192,
        32 => KeySize::AES256,
        _ => KeySize::AES128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_size_open_with_the_right_passphrase_only() {
        for bytes in [16, 24, 32] {
            let made = StreamKeys::make("correct horse", bytes, &[7; KEY_ENTROPY]).unwrap();
            assert_eq!(usize::from(made.key_size().as_raw()), bytes);
            assert!(StreamKeys::open("correct horse", made.message()).is_ok());
            assert_eq!(StreamKeys::open("battery staple", made.message()).err(), Some(WrongPassphrase));
            assert_eq!(StreamKeys::open("short", made.message()).err(), Some(WrongPassphrase));
        }
    }

    #[test]
    fn packets_under_the_previous_key_are_still_read_after_a_change() {
        let mut keys = StreamKeys::make("correct horse", 16, &[1; KEY_ENTROPY]).unwrap();
        let mut odd = StreamKeys::make("correct horse", 16, &[2; KEY_ENTROPY]).unwrap().message;
        odd.key_flags = KeyFlags::ODD;
        assert_eq!(keys.refresh(&odd), Ok(true));
        assert_eq!(keys.refresh(&odd), Ok(false));
        assert!(keys.decrypt(DataEncryption::Even, 5, b"old").is_some());
        assert!(keys.decrypt(DataEncryption::Odd, 6, b"new").is_some());
        let foreign = StreamKeys::make("battery staple", 16, &[3; KEY_ENTROPY]).unwrap();
        assert_eq!(keys.refresh(foreign.message()), Err(WrongPassphrase));
        assert!(keys.decrypt(DataEncryption::Odd, 7, b"new").is_some());
    }
}
