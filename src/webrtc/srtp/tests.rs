use proptest::prelude::*;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;

const HEADER: usize = 12;

fn provider() -> std::sync::Arc<dyn RTCCryptoProvider> {
    default_provider().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn keys(profile: Profile, seed: u8) -> Keys {
    let key: Vec<u8> = (0..16).map(|n| n ^ seed).collect();
    let salt: Vec<u8> = (0..profile.salt_len() as u8).map(|n| n.wrapping_mul(7) ^ seed).collect();
    Keys::new(profile, &key, &salt).unwrap()
}

fn other(profile: Profile, seed: u8) -> Context {
    let key: Vec<u8> = (0..16).map(|n| n ^ seed).collect();
    let salt: Vec<u8> = (0..profile.salt_len() as u8).map(|n| n.wrapping_mul(7) ^ seed).collect();
    let theirs = match profile {
        Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
    };
    Context::new(&key, &salt, theirs, None, None, provider().crypto()).unwrap()
}

fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0xde, 0xca, 0xfb, 0xad, 0xca, 0xfe, 0xba, 0xbe]);
    packet.extend_from_slice(payload);
    packet
}

#[test]
fn derives_the_keys_of_rfc_3711_appendix_b_3() {
    let keys = Keys::new(
        Profile::Aes128CmSha1_80,
        &bytes("E1F97A0D3E018BE0D64FA32C06DE4139"),
        &bytes("0EC675AD498AFEEBB6960B3AABE6"),
    )
    .unwrap();
    assert_eq!(keys.derive::<16>(0).to_vec(), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(keys.derive::<14>(2).to_vec(), bytes("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(keys.derive::<20>(1).to_vec(), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

/// RFC 7714 §16.1.1 gives session keys, which the public interface derives; the nonce and the
/// sealing are checked with them directly.
#[test]
fn seals_as_rfc_7714_section_16_1_1() {
    let session_key: [u8; 16] = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
    let session_salt: [u8; 12] = bytes("517569642070726f2071756f").try_into().unwrap();
    let mut packet =
        bytes("8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e6973206469766973612069 6e207061727465732074726573");
    packet.extend_from_slice(&[0; 16]);
    cipher::RtpCipher::gcm_for_test(session_key, session_salt)
        .protect(&mut packet, HEADER, 0x5501_a0b2, 0xf17b)
        .unwrap();
    assert_eq!(
        packet,
        bytes(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce"
        )
    );
}

#[test]
fn the_other_implementation_opens_what_is_protected_across_a_rollover() {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm] {
        let (ours, mut reports) = Outbound::new(&keys(profile, 3)).split();
        let mut theirs = other(profile, 3);
        for index in 0xfff0_u64..0x1_0010 {
            let plain = packet(index as u16, &[index as u8; 1000]);
            let mut protected = plain.clone();
            protected.resize(plain.len() + ours.rtp_overhead(), 0);
            ours.protect_rtp(&mut protected, HEADER, 0xcafe_babe, index).unwrap();
            assert_eq!(theirs.decrypt_rtp(&protected).unwrap()[..], plain[..], "{profile:?} {index:x}");
        }
        for n in 1..5 {
            let mut compound = Vec::new();
            crate::webrtc::rtcp::write_goodbye(&mut compound, &[n], "box");
            let plain = compound.clone();
            reports.protect_rtcp(&mut compound).unwrap();
            assert_eq!(theirs.decrypt_rtcp(&compound).unwrap()[..], plain[..], "{profile:?}");
        }
    }
}

#[test]
fn opens_what_the_other_implementation_protects_once() {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm] {
        let mut ours = Inbound::new(&keys(profile, 9));
        let mut theirs = other(profile, 9);
        let mut sent = Vec::new();
        for index in 0xfff0_u64..0x1_0010 {
            let plain = packet(index as u16, &[1, 2, 3, index as u8]);
            let protected = theirs.encrypt_rtp(&plain).unwrap().to_vec();
            assert_eq!(ours.unprotect_rtp(&mut protected.clone(), HEADER).unwrap(), plain, "{profile:?}");
            sent.push(protected);
        }
        for mut again in sent {
            assert_eq!(ours.unprotect_rtp(&mut again, HEADER), Err(SrtpError::Replayed));
        }
        let mut compound = Vec::new();
        crate::webrtc::rtcp::write_goodbye(&mut compound, &[77], "box");
        let protected = theirs.encrypt_rtcp(&compound).unwrap().to_vec();
        assert_eq!(ours.unprotect_rtcp(&mut protected.clone()).unwrap(), compound, "{profile:?}");
        assert_eq!(ours.unprotect_rtcp(&mut protected.clone()), Err(SrtpError::Replayed));
    }
}

#[test]
fn a_changed_bit_is_noticed_and_changes_no_state() {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm] {
        let (_, mut ours) = Outbound::new(&keys(profile, 1)).split();
        let mut inbound = Inbound::new(&keys(profile, 1));
        let mut compound = Vec::new();
        crate::webrtc::rtcp::write_goodbye(&mut compound, &[5], "box");
        ours.protect_rtcp(&mut compound).unwrap();
        for bit in 0..compound.len() * 8 {
            let mut damaged = compound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(inbound.unprotect_rtcp(&mut damaged).is_err(), "{profile:?} bit {bit}");
        }
        assert!(inbound.unprotect_rtcp(&mut compound).is_ok());
    }
}

#[test]
fn keying_material_is_split_as_rfc_5764_says() {
    let material: Vec<u8> = (0..56).collect();
    let (client, server) = Keys::from_keying_material(Profile::AeadAes128Gcm, &material).unwrap();
    let same = |keys: &Keys, key: &[u8], salt: &[u8]| {
        keys.derive::<16>(0) == Keys::new(Profile::AeadAes128Gcm, key, salt).unwrap().derive::<16>(0)
    };
    assert!(same(&client, &material[..16], &material[32..44]));
    assert!(same(&server, &material[16..32], &material[44..]));
    assert!(Keys::from_keying_material(Profile::Aes128CmSha1_80, &material).is_none());
}

proptest! {
    #[test]
    fn arbitrary_datagrams_are_refused(data in prop::collection::vec(any::<u8>(), 0..200), header in 0usize..40) {
        for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm] {
            let mut inbound = Inbound::new(&keys(profile, 1));
            prop_assert!(inbound.unprotect_rtcp(&mut data.clone()).is_err());
            prop_assert!(inbound.unprotect_rtp(&mut data.clone(), header).is_err());
        }
    }
}
