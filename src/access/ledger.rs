//! What the box keeps of who may do what: the password's hash, links, and who is signed in.
//!
//! Owns: the ledger and the text in which it is kept. Does not own: the file, which is [`Memory`]'s. Times are of the
//! monotonic clock: what is left of a link or a sign-in counts while the box runs, for it has no clock that goes on
//! while it does not.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Role;
use super::password;
use super::secret::Digest;

/// Where the ledger is kept across restarts: whole or not at all.
pub trait Memory: Send + Sync {
    /// What was written last, if anything.
    fn read(&self) -> Option<String>;

    /// Keeps it. May take as long as a card takes.
    ///
    /// # Errors
    /// When it cannot be kept; what was kept before then stands.
    fn write(&self, text: &str) -> io::Result<()>;
}

/// Links at most.
pub const MOST_LINKS: usize = 500;

/// The longest name of a link, in characters.
pub const LONGEST_NAME: usize = 64;

/// The longest that a link may hold.
pub const LONGEST_LINK: Duration = Duration::from_secs(3650 * 24 * 3600);

/// How long the PIN need not be entered again.
pub const PIN_HOLDS: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the administrator stays signed in.
pub const ADMINISTRATOR_HOLDS: Duration = Duration::from_secs(12 * 3600);

/// Viewers signed in by PIN at most; the one that ends first makes room.
const MOST_PINS: usize = 2000;

/// Administrators signed in at most.
const MOST_ADMINISTRATORS: usize = 32;

/// A person's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is revoked by; no secret.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it lets its person be.
    pub role: Role,
    /// When it ends, if ever.
    pub ends: Option<Instant>,
    pub(super) digest: Digest,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In PHC string format.
    pub(super) password: Option<String>,
    pub(super) links: Vec<Link>,
    /// When each sign-in by PIN ends.
    pub(super) pins: BTreeMap<Digest, Instant>,
    /// When each sign-in by password ends. A restart ends all.
    pub(super) administrators: BTreeMap<Digest, Instant>,
    /// Something is not kept yet.
    pub(super) is_dirty: bool,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    password: Option<String>,
    links: Vec<KeptLink>,
    pins: Vec<KeptPin>,
}

#[derive(Serialize, Deserialize)]
struct KeptLink {
    id: String,
    name: String,
    director: bool,
    digest: Digest,
    left_s: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct KeptPin {
    digest: Digest,
    left_s: u64,
}

impl Ledger {
    /// From the text of [`Ledger::text`].
    pub(super) fn read(text: &str, now: Instant) -> Result<Self, serde_json::Error> {
        let Kept { password, links, pins } = serde_json::from_str(text)?;
        let ends = |left_s: u64| now + Duration::from_secs(left_s).min(LONGEST_LINK);
        let link = |KeptLink { id, name, director, digest, left_s }| {
            let role = if director { Role::Director } else { Role::Viewer };
            Link { id, name, role, ends: left_s.map(ends), digest }
        };
        Ok(Self {
            password: password.filter(|hash| password::is_hash(hash)),
            links: links.into_iter().take(MOST_LINKS).map(link).collect(),
            pins: pins.into_iter().take(MOST_PINS).map(|pin| (pin.digest, ends(pin.left_s))).collect(),
            ..Self::default()
        })
    }

    pub(super) fn text(&self, now: Instant) -> String {
        let left = |ends: Instant| ends.saturating_duration_since(now).as_secs();
        let links = self.links.iter().map(|link| KeptLink {
            id: link.id.clone(),
            name: link.name.clone(),
            director: link.role == Role::Director,
            digest: link.digest,
            left_s: link.ends.map(left),
        });
        let pins = self.pins.iter().map(|(digest, ends)| KeptPin { digest: *digest, left_s: left(*ends) });
        let kept = Kept { password: self.password.clone(), links: links.collect(), pins: pins.collect() };
        serde_json::to_string(&kept).expect("texts and numbers always serialise")
    }

    pub(super) fn link_of(&self, token: &str, now: Instant) -> Option<&Link> {
        let digest = Digest::of(&[token]);
        self.links.iter().find(|link| link.digest.is(&digest)).filter(|link| link.holds(now))
    }

    pub(super) fn link(&self, id: &str, now: Instant) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id).filter(|link| link.holds(now))
    }

    pub(super) fn add_pin(&mut self, digest: Digest, now: Instant) {
        make_room(&mut self.pins, MOST_PINS);
        self.pins.insert(digest, now + PIN_HOLDS);
        self.is_dirty = true;
    }

    pub(super) fn add_administrator(&mut self, digest: Digest, now: Instant) {
        make_room(&mut self.administrators, MOST_ADMINISTRATORS);
        self.administrators.insert(digest, now + ADMINISTRATOR_HOLDS);
    }

    /// Forgets what has ended; whether anything that is kept had.
    pub(super) fn forget_what_ended(&mut self, now: Instant) {
        let before = (self.links.len(), self.pins.len());
        self.links.retain(|link| link.holds(now));
        self.pins.retain(|_, ends| *ends > now);
        self.administrators.retain(|_, ends| *ends > now);
        self.is_dirty |= before != (self.links.len(), self.pins.len());
    }

    /// Whether anything that is kept ends some time.
    pub(super) fn runs_out(&self) -> bool {
        !self.pins.is_empty() || self.links.iter().any(|link| link.ends.is_some())
    }
}

impl Link {
    fn holds(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }
}

fn make_room(signed_in: &mut BTreeMap<Digest, Instant>, most: usize) {
    if signed_in.len() >= most {
        let first = signed_in.iter().min_by_key(|(_, ends)| **ends).map(|(digest, _)| *digest);
        first.map(|digest| signed_in.remove(&digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn link(name: &str, ends: Option<Instant>) -> Link {
        Link { id: name.into(), name: name.into(), role: Role::Director, ends, digest: Digest::of(&[name]) }
    }

    #[test]
    fn what_is_left_of_a_link_or_a_sign_in_goes_on_after_a_restart() {
        let now = Clock::manual().0.now();
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        let mut ledger = Ledger { links: vec![link("a", Some(now + day)), link("b", None)], ..Ledger::default() };
        ledger.add_pin(Digest::of(&["pin"]), now);
        ledger.add_administrator(Digest::of(&["password"]), now);
        let kept = ledger.text(now + hour);
        let later = now + 9 * day;
        let read = Ledger::read(&kept, later).unwrap();
        assert_eq!(read.links, [link("a", Some(later + 23 * hour)), link("b", None)]);
        assert_eq!(read.pins[&Digest::of(&["pin"])], later + PIN_HOLDS - hour);
        assert!(read.administrators.is_empty());
        assert!(read.link_of("a", later).is_some() && read.link_of("a", later + day).is_none());
    }

    #[test]
    fn a_damaged_ledger_is_refused_and_a_foreign_hash_is_no_password() {
        let now = Clock::manual().0.now();
        for text in ["", "{}", "[]", r#"{"password":1,"links":[],"pins":[]}"#] {
            assert!(Ledger::read(text, now).is_err(), "{text}");
        }
        let text = r#"{"password":"plain text","links":[],"pins":[{"digest":"00","left_s":1}]}"#;
        assert!(Ledger::read(text, now).is_err());
        let text = r#"{"password":"plain text","links":[],"pins":[]}"#;
        assert_eq!(Ledger::read(text, now).unwrap().password, None);
    }

    #[test]
    fn as_many_are_signed_in_as_may_be() {
        let now = Clock::manual().0.now();
        let mut ledger = Ledger::default();
        for n in 0..MOST_PINS + 10 {
            let at = now + Duration::from_secs(n as u64);
            ledger.add_pin(Digest::of(&[&n.to_string()]), at);
            ledger.add_administrator(Digest::of(&[&n.to_string()]), at);
        }
        assert_eq!((ledger.pins.len(), ledger.administrators.len()), (MOST_PINS, MOST_ADMINISTRATORS));
        assert!(!ledger.pins.contains_key(&Digest::of(&["9"])) && ledger.pins.contains_key(&Digest::of(&["10"])));
    }
}
