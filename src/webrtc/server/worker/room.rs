//! Whether there is room for one more viewer, and who gives way to it.
//!
//! Owns: the limits of sessions, in all and of one address. Does not own: the sessions.
//!
//! An offer costs a stranger one request and the box a session, until it turns out that nobody proves a path and agrees
//! on keys. So whoever is only joining gives way to newcomers when places are short, and whoever watches never does.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::super::CreateError;
use super::super::shard::Key;
use crate::access::Sources;

/// Sessions of one address that may be joining at once: a crew behind one router that comes back after a break.
const MOST_JOINING_OF_ONE: usize = 64;
/// For so long nobody else makes a viewer give way; one on a good network needs a tenth of a second.
const GRACE: Duration = Duration::from_secs(3);

/// A network address that one party can be held to. None for the box itself, behind which there may be anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::webrtc::server) struct Origin(IpAddr);

impl Origin {
    pub(in crate::webrtc::server) fn of(sources: &Sources, address: Option<IpAddr>) -> Option<Self> {
        let address = address?.to_canonical();
        (!address.is_loopback()).then(|| Self(sources.of(address)))
    }
}

/// A session that takes a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Later sessions have greater ones.
    pub key: Key,
    pub origin: Option<Origin>,
    /// For how long it has been joining, if it has not joined yet.
    pub joining: Option<Duration>,
}

/// Finds room for one more from `newcomer` among `most` places, some of which are promised to those who are `waiting`
/// for a picture to be answered with; gives the session that must go for it, if any.
///
/// # Errors
/// [`CreateError::Full`] and [`CreateError::FullForAddress`].
pub(super) fn find(
    taken: &[Taken],
    waiting: &[Option<Origin>],
    most: usize,
    newcomer: Option<Origin>,
) -> Result<Option<Key>, CreateError> {
    let own = || taken.iter().filter(|taken| newcomer.is_some() && taken.origin == newcomer);
    let own_joining = || own().filter(|taken| taken.joining.is_some());
    let own_waiting = waiting.iter().filter(|origin| newcomer.is_some() && **origin == newcomer).count();
    let oldest = |taken: &Taken| taken.key;
    let is_late = |taken: &&Taken| taken.joining.is_some_and(|since| since >= GRACE);
    if own_joining().count() + own_waiting >= MOST_JOINING_OF_ONE || own().count() + own_waiting >= most_of_one(most) {
        return own_joining().filter(is_late).map(oldest).min().map(Some).ok_or(CreateError::FullForAddress);
    }
    if taken.len() + waiting.len() < most {
        return Ok(None);
    }
    let mut joining: HashMap<Origin, usize> = HashMap::new();
    for origin in taken.iter().filter(|taken| taken.joining.is_some()).filter_map(|taken| taken.origin) {
        *joining.entry(origin).or_default() += 1;
    }
    let crowd = |taken: &Taken| taken.origin.and_then(|origin| joining.get(&origin).copied()).unwrap_or(1);
    taken
        .iter()
        .filter(is_late)
        .max_by_key(|taken| (crowd(taken), Reverse(taken.key)))
        .map(|taken| Some(taken.key))
        .ok_or(CreateError::Full)
}

/// Half of the places, so that one address cannot have them all.
fn most_of_one(most: usize) -> usize {
    (most / 2).max(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Option<Origin> {
        let is_near = |address: IpAddr| address.to_string().starts_with("fd00:");
        Origin::of(&Sources::new(is_near), Some(address.parse().unwrap()))
    }

    fn watching(key: Key, address: &str) -> Taken {
        Taken { key, origin: from(address), joining: None }
    }

    fn joining(key: Key, address: &str, seconds: u64) -> Taken {
        Taken { joining: Some(Duration::from_secs(seconds)), ..watching(key, address) }
    }

    #[test]
    fn an_ipv6_network_is_one_party_unless_it_is_the_boxs_own_and_the_box_itself_is_none() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_ne!(from("fd00::1"), from("fd00::2"), "phones of the studio");
        assert_eq!(from("::ffff:10.0.0.1"), from("10.0.0.1"));
        assert_ne!(from("10.0.0.1"), from("10.0.0.2"));
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(from(here), None, "{here}");
        }
        assert_eq!(Origin::of(&Sources::default(), None), None);
    }

    #[test]
    fn who_watches_never_gives_way() {
        let taken: Vec<Taken> = (0..10).map(|n| watching(n, &format!("10.0.0.{n}"))).collect();
        assert_eq!(find(&taken, &[], 11, from("10.0.1.1")), Ok(None));
        assert_eq!(find(&taken, &[None], 11, from("10.0.1.1")), Err(CreateError::Full), "one is promised");
        assert_eq!(find(&taken, &[], 10, from("10.0.1.1")), Err(CreateError::Full));
        assert_eq!(find(&taken, &[], 10, None), Err(CreateError::Full));
    }

    #[test]
    fn when_it_is_full_whoever_joins_for_long_gives_way_the_most_numerous_address_first() {
        let mut taken = vec![joining(1, "10.0.0.1", 4), joining(2, "10.0.0.2", 4), joining(3, "10.0.0.2", 3)];
        taken.push(watching(0, "10.0.0.3"));
        assert_eq!(find(&taken, &[], 4, from("10.0.1.1")), Ok(Some(2)));
        taken.retain(|taken| taken.key != 2);
        assert_eq!(find(&taken, &[], 3, from("10.0.1.1")), Ok(Some(1)), "else the one that came first");
        let quick = [joining(1, "10.0.0.1", 2), watching(2, "10.0.0.2")];
        assert_eq!(find(&quick, &[], 2, from("10.0.1.1")), Err(CreateError::Full), "there was no time to join yet");
    }

    #[test]
    fn offers_that_wait_for_a_picture_count_for_the_address_they_came_from() {
        let waiting = [from("10.0.0.1"); MOST_JOINING_OF_ONE];
        assert_eq!(find(&[], &waiting, 1000, from("10.0.0.1")), Err(CreateError::FullForAddress));
        assert_eq!(find(&[], &waiting[1..], 1000, from("10.0.0.1")), Ok(None));
        assert_eq!(find(&[], &waiting, 1000, from("10.0.0.2")), Ok(None));
        assert_eq!(find(&[], &[None; MOST_JOINING_OF_ONE], 1000, None), Ok(None), "the box itself may be anybody");
        let half = [from("10.0.0.1"); 5];
        assert_eq!(find(&[], &half, 10, from("10.0.0.1")), Err(CreateError::FullForAddress));
        assert_eq!(find(&[], &half, 10, from("10.0.0.2")), Ok(None));
    }

    #[test]
    fn one_address_has_half_of_the_places_and_its_own_joiners_give_way_to_it() {
        let mut taken: Vec<Taken> = (0..5).map(|n| watching(n, "10.0.0.1")).collect();
        assert_eq!(find(&taken, &[], 10, from("10.0.0.1")), Err(CreateError::FullForAddress));
        assert_eq!(find(&taken, &[], 10, from("10.0.0.2")), Ok(None));
        taken[3] = joining(3, "10.0.0.1", 2);
        assert_eq!(find(&taken, &[], 10, from("10.0.0.1")), Err(CreateError::FullForAddress), "it had no time yet");
        taken[3] = joining(3, "10.0.0.1", 3);
        assert_eq!(find(&taken, &[], 10, from("10.0.0.1")), Ok(Some(3)));
        let many: Vec<Taken> = (0..64).map(|n| joining(n, "10.0.0.1", 3)).collect();
        assert_eq!(find(&many, &[], 1000, from("10.0.0.1")), Ok(Some(0)));
        assert_eq!(find(&many[1..], &[], 1000, from("10.0.0.1")), Ok(None));
        let here: Vec<Taken> = (0..64).map(|key| Taken { key, origin: None, joining: Some(GRACE) }).collect();
        assert_eq!(find(&here, &[], 65, None), Ok(None));
    }
}
