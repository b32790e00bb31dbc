//! The addresses under which this machine can be reached.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// The addresses of every interface that is up and running, best first: IPv4 before IPv6, for in a studio network it
/// is the one that works everywhere; IPv4 link-local last.
///
/// Loopback is left out unless there is nothing else, and so is IPv6 link-local, which means nothing without its
/// interface.
pub fn local_addresses() -> Vec<IpAddr> {
    let running = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let found = getifaddrs()
        .into_iter()
        .flatten()
        .filter(|interface| interface.flags.contains(running))
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
    best_first(found.collect())
}

/// The networks of every interface that is up, each with the interface's own address in it.
pub fn local_networks() -> Vec<IpNet> {
    let ip = |address: &nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    getifaddrs()
        .into_iter()
        .flatten()
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let (address, mask) = (ip(&interface.address?)?, ip(&interface.netmask?)?);
            IpNet::with_netmask(address, mask).ok()
        })
        .collect()
}

/// Addresses of the same kind stay in the order of their interfaces.
fn best_first(found: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(found.len());
    for ip in found {
        let useless = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) || ip.is_unspecified();
        if !useless && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.iter().any(|ip| !ip.is_loopback()) {
        addresses.retain(|ip| !ip.is_loopback());
    }
    addresses.sort_by_key(|ip| (matches!(ip, IpAddr::V4(v4) if v4.is_link_local()), ip.is_ipv6()));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(found: &[&str]) -> Vec<String> {
        let found = found.iter().map(|ip| ip.parse().unwrap()).collect();
        best_first(found).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_address_people_would_type_comes_first() {
        let found = ["127.0.0.1", "::1", "169.254.7.7", "fd00::20", "192.168.1.20", "fe80::1", "10.0.0.2", "10.0.0.2"];
        assert_eq!(sorted(&found), ["192.168.1.20", "10.0.0.2", "fd00::20", "169.254.7.7"]);
    }

    #[test]
    fn loopback_is_given_only_when_there_is_nothing_else() {
        assert_eq!(sorted(&["::1", "fe80::1", "127.0.0.1"]), ["127.0.0.1", "::1"]);
        assert_eq!(sorted(&["127.0.0.1", "169.254.7.7"]), ["169.254.7.7"]);
    }

    #[test]
    fn a_machine_is_in_the_network_of_its_own_loopback() {
        let own = local_networks();
        assert!(own.iter().any(|network| network.contains(&IpAddr::from([127, 0, 0, 9]))), "{own:?}");
    }

    #[test]
    fn a_machine_always_has_an_address() {
        assert!(!local_addresses().is_empty());
    }
}
