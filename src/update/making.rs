//! Bundles for tests and fuzzing, signed with a key that no box trusts.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE64, HEXLOWER};

use super::key::PREFIX;
use super::{BOARDS, CHUNK, Key, STATE};

/// What stands before the digit of the slot.
const MARK: &[u8] = b"returnfeed.slot=";

/// A bundle to be made.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What its manifest says, a line for each.
    pub lines: Vec<(&'static str, String)>,
    /// What is written to the slot.
    pub payload: Vec<u8>,
}

impl Bundle {
    /// A good one, which brings `version` in `size` bytes.
    pub fn new(version: &str, size: usize) -> Self {
        // The high bits of a product, so that no two parts are the same.
        let noise = |at: usize| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
        let mut payload: Vec<u8> = (0..size).map(noise).collect();
        let slot_at = size * 2 / 3;
        payload.splice(slot_at - MARK.len()..=slot_at, MARK.iter().chain(b"2").copied());
        Self::of(version, payload, slot_at)
    }

    fn of(version: &str, payload: Vec<u8>, slot_at: usize) -> Self {
        let sum = |chunk: &[u8]| format!("\"{}\"", HEXLOWER.encode(digest(&SHA256, chunk).as_ref()));
        let sums: Vec<String> = payload.chunks(CHUNK).map(sum).collect();
        let lines = vec![
            ("version", format!("{version:?}")),
            ("built", "1795255200".into()),
            ("state", STATE.to_string()),
            ("boards", format!("{BOARDS:?}")),
            ("size", payload.len().to_string()),
            ("chunk", CHUNK.to_string()),
            ("sha256", format!("[{}]", sums.join(", "))),
            ("slot_at", slot_at.to_string()),
        ];
        Self { lines, payload }
    }

    /// The same with another value, or without any.
    pub fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.lines.retain(|(known, _)| *known != name);
        self.lines.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let lines = self.lines.iter().map(|(name, value)| format!("{name} = {value}\n"));
        let mut file = sign(lines.collect::<String>().as_bytes());
        file.extend_from_slice(&self.payload);
        file
    }

    /// What a slot holds after it was written.
    pub fn written(&self, digit: u8) -> Vec<u8> {
        let at = self.payload.windows(MARK.len()).position(|window| window == MARK);
        let mut written = self.payload.clone();
        if let Some(place) = at.and_then(|at| written.get_mut(at + MARK.len())) {
            *place = digit;
        }
        written
    }
}

/// The head of a bundle with this manifest, whatever it says.
pub fn sign(manifest: &[u8]) -> Vec<u8> {
    let signature = BASE64.encode(pair().sign(manifest).as_ref());
    let mut head = format!("RETURNFEED-UPDATE 1\n{signature}\n{}\n", manifest.len()).into_bytes();
    head.extend_from_slice(manifest);
    head
}

/// The public half, as `openssl pkey -pubout` writes it.
pub fn pem() -> String {
    let mut der = PREFIX.to_vec();
    der.extend_from_slice(pair().public_key().as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der))
}

/// The public half.
pub fn key() -> Key {
    Key::from_pem(&pem()).expect("it is one")
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed has 32 bytes")
}
