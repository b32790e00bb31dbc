//! The administrator's password: how it is hashed (argon2id, RFC 9106), and how many hashes are made at once.
//!
//! Parameters: 19 MiB, 2 passes, 1 lane, the smaller set that OWASP's Password Storage Cheat Sheet names. On the cores
//! of a Raspberry Pi 4 that is expected to take one or two tenths of a second (not measured on one), and the smallest
//! board, of 512 MB, still has the memory. One hash is made at a time and few wait, so that
//! guessing takes at most one core and 19 MiB from the picture.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Characters a password needs at least. Length is what makes one hard to guess.
pub const SHORTEST_PASSWORD: usize = 10;

/// Bytes that are looked at at most.
pub const LONGEST_PASSWORD: usize = 256;

/// Guesses that may wait for their turn, so that strangers fill no threads.
const MOST_WAITING: usize = 4;

/// Of whoever has been in before, as many more may wait.
const MORE_WAITING: usize = 2;

/// Makes and checks hashes, one at a time.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

/// Too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// Counts one who waits, for as long as it lives.
struct Waiting<'h>(&'h Hasher);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hasher {
    /// The hash to keep, in PHC string format; `None` when the system gives no random numbers. Takes long.
    pub(super) fn hash(&self, password: &str) -> Option<String> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).ok()?;
        let salt = SaltString::encode_b64(&salt).ok()?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Some(argon2()?.hash_password(password.as_bytes(), &salt).ok()?.to_string())
    }

    /// Whether a password is the one of a hash, in constant time. Takes long.
    pub(super) fn verify(&self, password: &str, hash: &str, is_known: bool) -> Result<bool, Busy> {
        let waiting = Waiting(self);
        let most = if is_known { MOST_WAITING + MORE_WAITING } else { MOST_WAITING };
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= most {
            return Err(Busy);
        }
        let right = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = PasswordHash::new(hash).ok();
            kept.zip(argon2()).is_some_and(|(kept, argon2)| argon2.verify_password(password.as_bytes(), &kept).is_ok())
        };
        drop(waiting);
        Ok(right)
    }
}

#[cfg(test)]
impl Hasher {
    /// Nobody has a turn for as long as this lives.
    pub(super) fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait to be looked at.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Whether a text may be a password.
pub(super) fn is_good(password: &str) -> bool {
    password.chars().count() >= SHORTEST_PASSWORD && password.len() <= LONGEST_PASSWORD
}

/// Whether a text is a hash that was made here.
pub(super) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_and_no_other_is() {
        let hasher = Hasher::default();
        let hash = hasher.hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_hash(&hash) && !is_hash("correct horse") && !is_hash(""));
        assert_ne!(hasher.hash("correct horse").unwrap(), hash, "salted");
        assert_eq!(hasher.verify("correct horse", &hash, false), Ok(true));
        assert_eq!(hasher.verify("correct horse ", &hash, false), Ok(false));
        assert_eq!(hasher.verify("correct horse", "no hash", false), Ok(false));
    }

    #[test]
    fn few_wait_for_their_turn_and_one_more_of_those_who_have_been_in() {
        let hasher = Hasher::default();
        hasher.waiting.store(MOST_WAITING, Ordering::Release);
        assert_eq!(hasher.verify("x", "no hash", false), Err(Busy));
        assert_eq!(hasher.verify("x", "no hash", true), Ok(false));
        assert_eq!(hasher.waiting.load(Ordering::Acquire), MOST_WAITING, "who has gone waits no more");
    }

    #[test]
    fn a_password_is_long_but_not_without_end() {
        assert!(is_good("ten letter") && is_good("가나다라마바사아자차"));
        assert!(!is_good("nine char") && !is_good(&"x".repeat(257)));
    }
}
