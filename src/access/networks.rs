//! Which addresses are near: those of the networks the box itself is in.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ipnet::IpNet;

/// Interfaces come and go; they are looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The networks of the box's interfaces, each with the interface's own address in it.
pub type Interfaces = fn() -> Vec<IpNet>;

/// The networks of the interfaces, as they were seen lately.
#[derive(Debug)]
pub(super) struct Near {
    interfaces: Interfaces,
    seen: Mutex<Option<(Instant, Vec<IpNet>)>>,
}

impl Near {
    pub(super) fn new(interfaces: Interfaces) -> Self {
        Self { interfaces, seen: Mutex::default() }
    }

    pub(super) fn contains(&self, address: IpAddr, now: Instant) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if seen.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= LOOK_AGAIN) {
            let own = (self.interfaces)().into_iter().filter(is_a_studios).collect();
            *seen = Some((now, own));
        }
        address.to_canonical().is_loopback() || seen.as_ref().is_some_and(|(_, own)| holds(own, address))
    }
}

/// Whether an address is in one of these networks; IPv4 in IPv6 is IPv4.
pub(super) fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Whether the network of an interface is one of people who know each other: a private one, or one link. Strangers
/// share a public IPv4 network, and everybody an IPv6 network larger than a link's /64.
fn is_a_studios(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => v4.addr().is_private() || v4.addr().is_link_local() || v4.addr().is_loopback(),
        IpNet::V6(v6) => {
            let address = v6.addr();
            address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_loopback()
                || v6.prefix_len() >= 64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn interfaces() -> Vec<IpNet> {
        ["192.168.1.20/24", "203.0.113.7/24", "fd00:1::20/48", "2001:db8:0:1::20/64", "2001:db8::1/32", "fe80::1/64"]
            .map(|network| network.parse().unwrap())
            .into()
    }

    #[test]
    fn near_is_who_shares_a_private_network_or_a_link_with_the_box() {
        let (near, now) = (Near::new(interfaces), Clock::manual().0.now());
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
            assert_eq!(near.contains(address.parse().unwrap(), now), is_near, "{address}");
        }
    }
}
