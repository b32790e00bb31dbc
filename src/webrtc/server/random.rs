//! The randomness the pure half is handed.

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness once it has booted");
    bytes
}

/// A random number.
pub(super) fn random() -> u32 {
    u32::from_ne_bytes(random_bytes())
}

/// Random characters allowed in ICE credentials (RFC 8839 §5.4), six bits each.
pub(super) fn random_text<const N: usize>() -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    random_bytes::<N>().iter().map(|byte| char::from(CHARACTERS[usize::from(byte & 63)])).collect()
}
