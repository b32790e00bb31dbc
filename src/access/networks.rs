//! Which addresses are near: those of the networks the box itself is in.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ipnet::IpNet;

/// Interfaces come and go; they are looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Before somebody is turned away they are looked at again after so long: the box may have joined the network just now.
const LOOK_AGAIN_FIRST: Duration = Duration::from_secs(1);

/// A network that is gone stays the box's own for so long to whoever is in already: a cable that is plugged in again,
/// an address that is renewed, a radio that changes its access point.
const GRACE: Duration = Duration::from_secs(60);

/// A public IPv4 network of more addresses than this prefix leaves is no studio's, but a provider's.
const LARGEST_PUBLIC: u8 = 22;

/// The networks on the links of the box's interfaces; `None` when the system does not tell.
pub type Interfaces = fn() -> Option<Vec<IpNet>>;

/// The networks of the interfaces, as they were seen lately.
#[derive(Debug)]
pub(super) struct Near {
    interfaces: Interfaces,
    among_strangers: bool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    asked: Option<Instant>,
    /// When the system last told. All else is measured by it: nothing is gone because it did not.
    told: Option<Instant>,
    /// When each network was last there.
    networks: Vec<(IpNet, Instant)>,
}

impl Near {
    /// `among_strangers`: whether a public network may be one that strangers share, as a hoster's is.
    pub(super) fn new(interfaces: Interfaces, among_strangers: bool) -> Self {
        Self { interfaces, among_strangers, seen: Mutex::default() }
    }

    /// Whether somebody who comes from there now is near.
    pub(super) fn contains(&self, address: IpAddr, now: Instant) -> bool {
        [LOOK_AGAIN, LOOK_AGAIN_FIRST].iter().any(|every| self.look(now, *every).holds(address, Duration::ZERO))
    }

    /// Whether somebody who came from there while it was near still is.
    pub(super) fn contained(&self, address: IpAddr, now: Instant) -> bool {
        self.look(now, LOOK_AGAIN).holds(address, GRACE)
    }

    fn look(&self, now: Instant, every: Duration) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if seen.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= every) {
            seen.asked = Some(now);
            // Not even loopback: that is no answer.
            if let Some(networks) = (self.interfaces)().filter(|networks| !networks.is_empty()) {
                seen.take(networks.iter().filter(|network| self.is_own(network)), now);
            }
        }
        seen
    }

    /// Whether the network of an interface is one of people who know each other: a private one, or one link. Everybody
    /// shares an IPv6 network larger than a link's /64.
    fn is_own(&self, network: &IpNet) -> bool {
        match network {
            IpNet::V4(v4) => {
                let address = v4.addr();
                let private = address.is_private() || address.is_link_local() || address.is_loopback();
                private || (!self.among_strangers && v4.prefix_len() >= LARGEST_PUBLIC)
            }
            IpNet::V6(v6) => {
                let address = v6.addr();
                address.is_unique_local()
                    || address.is_unicast_link_local()
                    || address.is_loopback()
                    || v6.prefix_len() >= 64
            }
        }
    }
}

impl Seen {
    fn take<'n>(&mut self, networks: impl Iterator<Item = &'n IpNet>, now: Instant) {
        for network in networks.map(IpNet::trunc) {
            match self.networks.iter_mut().find(|(known, _)| *known == network) {
                Some((_, last)) => *last = now,
                None => self.networks.push((network, now)),
            }
        }
        self.told = Some(now);
        self.networks.retain(|(_, last)| now.saturating_duration_since(*last) <= GRACE);
    }

    /// Whether it is in a network that was there within this time before the system last told.
    fn holds(&self, address: IpAddr, within: Duration) -> bool {
        let address = address.to_canonical();
        let was_there = |last: Instant| self.told.is_some_and(|told| told.saturating_duration_since(last) <= within);
        address.is_loopback()
            || self.networks.iter().any(|(network, last)| was_there(*last) && network.contains(&address))
    }
}

/// Whether an address is in one of these networks; IPv4 in IPv6 is IPv4.
pub(super) fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    thread_local! {
        static INTERFACES: RefCell<Option<Vec<IpNet>>> = const { RefCell::new(None) };
    }

    fn up(networks: &[&str]) {
        INTERFACES.set(Some(networks.iter().map(|network| network.parse().unwrap()).collect()));
    }

    struct Bench {
        near: Near,
        clock: Clock,
        hand: ManualClock,
    }

    impl Bench {
        fn new(among_strangers: bool) -> Self {
            let (clock, hand) = Clock::manual();
            Self { near: Near::new(|| INTERFACES.with_borrow(Clone::clone), among_strangers), clock, hand }
        }

        fn comes(&self, address: &str) -> bool {
            self.near.contains(address.parse().unwrap(), self.clock.now())
        }

        fn stays(&self, address: &str) -> bool {
            self.near.contained(address.parse().unwrap(), self.clock.now())
        }

        /// Whether somebody who is in, and is looked at all the time, stays for so long.
        fn stays_for(&self, address: &str, seconds: u64) -> bool {
            (0..seconds).all(|_| {
                self.hand.advance(Duration::from_secs(1));
                self.stays(address)
            })
        }
    }

    #[test]
    fn near_is_who_shares_a_private_network_or_a_link_with_the_box() {
        up(&[
            "192.168.1.20/24",
            "203.0.113.7/24",
            "fd00:1::20/48",
            "2001:db8:0:1::20/64",
            "2001:db8::1/32",
            "fe80::1/64",
        ]);
        let bench = Bench::new(true);
        for (address, is_near) in [
            ("192.168.1.9", true),
            ("::ffff:192.168.1.9", true),
            ("192.168.2.9", false),
            ("203.0.113.9", false),
            ("127.0.0.1", true),
            ("::1", true),
            ("fd00:1:0:9::1", true),
            ("fd00:2::1", false),
            ("2001:db8:0:1::9", true),
            ("2001:db8:0:2::9", false),
            ("fe80::9", true),
        ] {
            assert_eq!(bench.comes(address), is_near, "{address}");
        }
    }

    #[test]
    fn a_public_network_is_the_studios_where_no_hoster_gives_it_to_strangers() {
        up(&["203.0.113.7/24", "100.64.3.7/22", "198.18.0.7/20", "127.0.0.1/8"]);
        for (address, at_the_studio) in [("203.0.113.9", true), ("100.64.0.9", true), ("198.18.0.9", false)] {
            assert_eq!(Bench::new(false).comes(address), at_the_studio, "{address}");
            assert!(!Bench::new(true).comes(address), "{address} beside a hoster's other customers");
        }
    }

    #[test]
    fn a_network_that_is_away_for_a_moment_sends_nobody_away() {
        up(&["192.168.1.20/24", "127.0.0.1/8"]);
        let bench = Bench::new(false);
        assert!(bench.comes("192.168.1.9"));
        up(&["127.0.0.1/8"]);
        assert!(bench.stays_for("192.168.1.9", 55));
        assert!(!bench.comes("192.168.1.9"), "nobody comes from where the box is not");
        up(&["192.168.1.77/24", "127.0.0.1/8"]);
        assert!(bench.stays_for("192.168.1.9", 120), "back, with another address");
        up(&["10.0.0.20/24", "127.0.0.1/8"]);
        assert!(!bench.stays_for("192.168.1.9", 70), "gone for good");
        assert!(bench.comes("10.0.0.9") && !bench.comes("192.168.1.9"));
    }

    #[test]
    fn a_system_that_does_not_tell_its_networks_has_not_lost_them() {
        up(&["192.168.1.20/24", "127.0.0.1/8"]);
        let bench = Bench::new(false);
        assert!(bench.comes("192.168.1.9"));
        for nothing in [None, Some(Vec::new())] {
            INTERFACES.set(nothing);
            assert!(bench.stays_for("192.168.1.9", 600) && bench.comes("192.168.1.9"));
        }
    }

    #[test]
    fn a_network_that_the_box_has_just_joined_is_near_within_a_second() {
        up(&["127.0.0.1/8"]);
        let bench = Bench::new(false);
        assert!(!bench.comes("192.168.1.9"));
        up(&["192.168.1.20/24", "127.0.0.1/8"]);
        bench.hand.advance(LOOK_AGAIN_FIRST);
        assert!(bench.comes("192.168.1.9"));
    }
}
