//! The two protection profiles: AES-CM with HMAC-SHA1-80 (RFC 3711) and AES-128-GCM (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::{RTCP_CLEAR, SrtpError};

const KEY_LEN: usize = 16;
const SALT_LEN: usize = 14;
const AUTH_KEY_LEN: usize = 20;
const SHA1_TAG_LEN: usize = 10;
const GCM_TAG_LEN: usize = 16;
const GCM_NONCE_LEN: usize = 12;
const SRTCP_INDEX_LEN: usize = 4;
const ENCRYPTED_FLAG: u32 = 1 << 31;

/// How packets are encrypted and authenticated (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Aes128CmSha1_80,
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
}

impl Profile {
    /// The profiles in the order that is fastest on this CPU: GCM is the quicker one where the
    /// CPU has AES instructions, and the slower one in software.
    pub fn by_cpu() -> [Self; 2] {
        #[cfg(target_arch = "x86_64")]
        let aes = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let aes = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let aes = false;
        if aes { [Self::AeadAes128Gcm, Self::Aes128CmSha1_80] } else { [Self::Aes128CmSha1_80, Self::AeadAes128Gcm] }
    }

    /// Bytes a protected RTP packet is longer.
    pub fn rtp_tag_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => SHA1_TAG_LEN,
            Self::AeadAes128Gcm => GCM_TAG_LEN,
        }
    }

    /// Bytes of master salt (RFC 3711 §8.2, RFC 7714 §12).
    pub fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => SALT_LEN,
            Self::AeadAes128Gcm => GCM_NONCE_LEN,
        }
    }

    /// Bytes of DTLS keying material both directions need (RFC 5764 §4.2).
    pub fn keying_material_len(self) -> usize {
        2 * (KEY_LEN + self.salt_len())
    }
}

/// Master key and salt of one direction.
#[derive(Clone)]
pub struct Keys {
    profile: Profile,
    key: [u8; KEY_LEN],
    /// A 12-byte salt is followed by zeros (RFC 7714 §11).
    salt: [u8; SALT_LEN],
}

impl Keys {
    /// Keys from their bytes; `None` when a length does not fit the profile.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Self> {
        if salt.len() != profile.salt_len() {
            return None;
        }
        let mut padded = [0; SALT_LEN];
        padded.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(Self { profile, key: key.try_into().ok()?, salt: padded })
    }

    /// Splits DTLS keying material into the client's and the server's keys (RFC 5764 §4.2).
    pub fn from_keying_material(profile: Profile, material: &[u8]) -> Option<(Self, Self)> {
        if material.len() != profile.keying_material_len() {
            return None;
        }
        let (client_key, rest) = material.split_at_checked(KEY_LEN)?;
        let (server_key, salts) = rest.split_at_checked(KEY_LEN)?;
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len())?;
        Some((Self::new(profile, client_key, client_salt)?, Self::new(profile, server_key, server_salt)?))
    }

    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    /// RFC 3711 §4.3.1 and §4.3.3, with a key derivation rate of zero.
    pub(super) fn derive<const N: usize>(&self, label: u8) -> [u8; N] {
        let mut iv = [0; 16];
        iv[..SALT_LEN].copy_from_slice(&self.salt);
        iv[7] ^= label;
        let mut out = [0; N];
        counter_mode(&counter_key(&self.key), iv, &mut out);
        out
    }
}

fn counter_key(key: &[u8; KEY_LEN]) -> EncryptingKey {
    let key = UnboundCipherKey::new(&AES_128, key).expect("the key has AES-128's length");
    EncryptingKey::ctr(key).expect("AES-128 has a counter mode")
}

fn counter_mode(key: &EncryptingKey, iv: [u8; 16], in_out: &mut [u8]) {
    key.less_safe_encrypt(in_out, EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect("counter mode takes any length and a 16-byte block");
}

fn gcm_key(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("the key has AES-128's length"))
}

/// Counter block of RFC 3711 §4.1.1: `(salt << 16) ^ (ssrc << 64) ^ (index << 16)`.
fn cm_iv(salt: &[u8; SALT_LEN], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..SALT_LEN].copy_from_slice(salt);
    let block = u128::from_be_bytes(iv) ^ u128::from(ssrc) << 64 ^ u128::from(index & 0xffff_ffff_ffff) << 16;
    block.to_be_bytes()
}

/// Nonce of RFC 7714 §8.1 and §9.1: two zero bytes, the SSRC, and the index in 48 bits, xor salt.
fn gcm_nonce(salt: &[u8; GCM_NONCE_LEN], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = [0; GCM_NONCE_LEN];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

fn sha1_tag(key: &hmac::Key, parts: [&[u8]; 2]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

fn check_sha1(key: &hmac::Key, parts: [&[u8]; 2], tag: &[u8]) -> Result<(), SrtpError> {
    let expected = sha1_tag(key, parts);
    let expected = expected.as_ref().get(..SHA1_TAG_LEN).unwrap_or_default();
    verify_slices_are_equal(expected, tag).map_err(|_| SrtpError::Authentication)
}

enum Cipher {
    /// Boxed: the key schedules take 1.7 KB.
    Cm {
        key: Box<EncryptingKey>,
        salt: [u8; SALT_LEN],
        auth: Box<hmac::Key>,
    },
    Gcm {
        key: LessSafeKey,
        salt: [u8; GCM_NONCE_LEN],
    },
}

impl Cipher {
    fn new(keys: &Keys, first_label: u8) -> Self {
        let key = keys.derive::<KEY_LEN>(first_label);
        match keys.profile {
            Profile::Aes128CmSha1_80 => Self::Cm {
                key: Box::new(counter_key(&key)),
                auth: Box::new(hmac::Key::new(
                    hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    &keys.derive::<AUTH_KEY_LEN>(first_label + 1),
                )),
                salt: keys.derive(first_label + 2),
            },
            Profile::AeadAes128Gcm => Self::Gcm { key: gcm_key(&key), salt: keys.derive(first_label + 2) },
        }
    }
}

/// Protection of RTP packets.
pub(super) struct RtpCipher(Cipher);

impl RtpCipher {
    #[cfg(test)]
    pub(super) fn gcm_for_test(session_key: [u8; KEY_LEN], session_salt: [u8; GCM_NONCE_LEN]) -> Self {
        Self(Cipher::Gcm { key: gcm_key(&session_key), salt: session_salt })
    }

    pub(super) fn new(keys: &Keys) -> Self {
        Self(Cipher::new(keys, 0))
    }

    pub(super) fn protect(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        match &self.0 {
            Cipher::Cm { key, salt, auth } => {
                let body = packet.len().checked_sub(SHA1_TAG_LEN).ok_or(SrtpError::TooShort)?;
                let (packet, tag) = packet.split_at_mut(body);
                let payload = packet.get_mut(header_len..).ok_or(SrtpError::TooShort)?;
                counter_mode(key, cm_iv(salt, ssrc, index), payload);
                let rollover = ((index >> 16) as u32).to_be_bytes();
                let full = sha1_tag(auth, [packet, &rollover]);
                tag.copy_from_slice(full.as_ref().get(..SHA1_TAG_LEN).unwrap_or_default());
            }
            Cipher::Gcm { key, salt } => {
                let body = packet.len().checked_sub(GCM_TAG_LEN).ok_or(SrtpError::TooShort)?;
                let (packet, tag) = packet.split_at_mut(body);
                let (header, payload) = packet.split_at_mut_checked(header_len).ok_or(SrtpError::TooShort)?;
                let sealed = key
                    .seal_in_place_separate_tag(gcm_nonce(salt, ssrc, index), Aad::from(&*header), payload)
                    .map_err(|_| SrtpError::KeyExhausted)?;
                tag.copy_from_slice(sealed.as_ref());
            }
        }
        Ok(())
    }

    pub(super) fn unprotect<'a>(
        &self,
        packet: &'a mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<&'a [u8], SrtpError> {
        match &self.0 {
            Cipher::Cm { key, salt, auth } => {
                let body = packet.len().checked_sub(SHA1_TAG_LEN).ok_or(SrtpError::TooShort)?;
                let (packet, tag) = packet.split_at_mut(body);
                let rollover = ((index >> 16) as u32).to_be_bytes();
                check_sha1(auth, [packet, &rollover], tag)?;
                let payload = packet.get_mut(header_len..).ok_or(SrtpError::TooShort)?;
                counter_mode(key, cm_iv(salt, ssrc, index), payload);
                Ok(packet)
            }
            Cipher::Gcm { key, salt } => {
                let end = packet.len().checked_sub(GCM_TAG_LEN).ok_or(SrtpError::TooShort)?;
                let (header, sealed) = packet.split_at_mut_checked(header_len).ok_or(SrtpError::TooShort)?;
                key.open_in_place(gcm_nonce(salt, ssrc, index), Aad::from(&*header), sealed)
                    .map_err(|_| SrtpError::Authentication)?;
                packet.get(..end).ok_or(SrtpError::TooShort)
            }
        }
    }
}

/// Protection of compound RTCP packets.
pub(super) struct RtcpCipher(Cipher);

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let bytes = packet.get(4..RTCP_CLEAR).and_then(|bytes| bytes.try_into().ok()).ok_or(SrtpError::TooShort)?;
    Ok(u32::from_be_bytes(bytes))
}

impl RtcpCipher {
    pub(super) fn new(keys: &Keys) -> Self {
        Self(Cipher::new(keys, 3))
    }

    pub(super) fn protect(&self, packet: &mut Vec<u8>, index: u32) -> Result<(), SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let word = (index | ENCRYPTED_FLAG).to_be_bytes();
        match &self.0 {
            Cipher::Cm { key, salt, auth } => {
                let body = packet.get_mut(RTCP_CLEAR..).ok_or(SrtpError::TooShort)?;
                counter_mode(key, cm_iv(salt, ssrc, u64::from(index)), body);
                packet.extend_from_slice(&word);
                let tag = sha1_tag(auth, [packet, &[]]);
                packet.extend_from_slice(tag.as_ref().get(..SHA1_TAG_LEN).unwrap_or_default());
            }
            Cipher::Gcm { key, salt } => {
                let (header, body) = packet.split_at_mut_checked(RTCP_CLEAR).ok_or(SrtpError::TooShort)?;
                let mut aad = [0; RTCP_CLEAR + SRTCP_INDEX_LEN];
                aad[..RTCP_CLEAR].copy_from_slice(header);
                aad[RTCP_CLEAR..].copy_from_slice(&word);
                let tag = key
                    .seal_in_place_separate_tag(gcm_nonce(salt, ssrc, u64::from(index)), Aad::from(aad), body)
                    .map_err(|_| SrtpError::KeyExhausted)?;
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&word);
            }
        }
        Ok(())
    }

    fn tail_len(&self) -> usize {
        match self.0 {
            Cipher::Cm { .. } => SRTCP_INDEX_LEN + SHA1_TAG_LEN,
            Cipher::Gcm { .. } => SRTCP_INDEX_LEN + GCM_TAG_LEN,
        }
    }

    fn index_word(&self, packet: &[u8]) -> Result<[u8; SRTCP_INDEX_LEN], SrtpError> {
        let behind = match self.0 {
            Cipher::Cm { .. } => SHA1_TAG_LEN,
            Cipher::Gcm { .. } => 0,
        };
        if packet.len() < RTCP_CLEAR + self.tail_len() {
            return Err(SrtpError::TooShort);
        }
        let end = packet.len() - behind;
        let word = packet.get(end - SRTCP_INDEX_LEN..end).and_then(|word| word.try_into().ok());
        word.ok_or(SrtpError::TooShort)
    }

    pub(super) fn index_of(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        Ok(u32::from_be_bytes(self.index_word(packet)?) & !ENCRYPTED_FLAG)
    }

    pub(super) fn unprotect<'a>(&self, packet: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let word = self.index_word(packet)?;
        let (index, encrypted) =
            (u32::from_be_bytes(word) & !ENCRYPTED_FLAG, u32::from_be_bytes(word) & ENCRYPTED_FLAG != 0);
        let end = packet.len() - self.tail_len();
        match &self.0 {
            Cipher::Cm { key, salt, auth } => {
                let (authenticated, tag) = packet.split_at_mut(end + SRTCP_INDEX_LEN);
                check_sha1(auth, [authenticated, &[]], tag)?;
                if encrypted {
                    let body = authenticated.get_mut(RTCP_CLEAR..end).ok_or(SrtpError::TooShort)?;
                    counter_mode(key, cm_iv(salt, ssrc, u64::from(index)), body);
                }
                authenticated.get(..end).ok_or(SrtpError::TooShort)
            }
            Cipher::Gcm { key, salt } => {
                if !encrypted {
                    // Browsers always encrypt; the form of RFC 7714 §9.3 is not worth its code.
                    return Err(SrtpError::Authentication);
                }
                let mut aad = [0; RTCP_CLEAR + SRTCP_INDEX_LEN];
                aad[..RTCP_CLEAR].copy_from_slice(packet.get(..RTCP_CLEAR).ok_or(SrtpError::TooShort)?);
                aad[RTCP_CLEAR..].copy_from_slice(&word);
                let sealed = packet.get_mut(RTCP_CLEAR..end + GCM_TAG_LEN).ok_or(SrtpError::TooShort)?;
                key.open_in_place(gcm_nonce(salt, ssrc, u64::from(index)), Aad::from(aad), sealed)
                    .map_err(|_| SrtpError::Authentication)?;
                packet.get(..end).ok_or(SrtpError::TooShort)
            }
        }
    }
}
