//! What must hold for any bundle.

use super::bundle::LARGEST_HEAD;
use super::{Arriving, CHUNK, Manifest, Refused, Running, Terms, making};

/// Any bytes get one judgement, in whatever pieces they come; and whoever signs them may say what he likes.
pub fn update(data: &[u8]) {
    judged(data);
    // The same as a manifest, and what follows it, of somebody who has the key.
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (manifest, payload) = data.split_at(end);
    let mut signed = making::sign(manifest);
    signed.extend_from_slice(payload.get(1..).unwrap_or_default());
    judged(&signed);
}

fn judged(data: &[u8]) {
    let whole = pieces(data, data.len().max(1));
    for len in [1, 7, 90, 4096] {
        // A byte at a time looks at the whole head again for each.
        if data.len() / len < 2000 {
            assert_eq!(pieces(data, len), whole, "in pieces of {len} bytes");
        }
    }
    match whole {
        Ok(manifest) => {
            assert!(manifest.size <= data.len() as u64 && manifest.slot_at < manifest.size);
            assert_eq!(manifest.sha256.len() as u64, manifest.size.div_ceil(CHUNK as u64));
        }
        Err(refused) => {
            let words = refused.to_string();
            assert!(!words.is_empty() && words.len() < 2000 && !words.contains(char::is_control), "{words}");
            assert!(!refused.code().is_empty());
        }
    }
}

fn pieces(data: &[u8], len: usize) -> Result<Manifest, Refused> {
    let terms = Terms { running: Running::this(), allow_downgrade: true, room: None };
    let mut arriving = Arriving::new(making::key(), terms);
    for (number, piece) in data.chunks(len).enumerate() {
        arriving.push(piece)?;
        assert!(arriving.head().is_some() || number * len <= LARGEST_HEAD, "too much is kept of what has no head");
    }
    arriving.finish()
}
