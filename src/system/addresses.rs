//! The addresses under which this machine can be reached.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
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

/// The networks on the links of every interface that is up; `None` when the system does not tell.
///
/// Of IPv6 also those in which the machine has no address with that prefix, as by DHCPv6, which gives a single address
/// (RFC 5942 §4): the kernel keeps them as routes without a router. What is routed to the other end of a tunnel is on no link.
pub fn local_networks() -> Option<Vec<IpNet>> {
    let ip = |address: &nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let interfaces: Vec<_> =
        getifaddrs().ok()?.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)).collect();
    let of_addresses = interfaces.iter().filter_map(|interface| {
        let (address, mask) = (ip(interface.address.as_ref()?)?, ip(interface.netmask.as_ref()?)?);
        IpNet::with_netmask(address, mask).ok()
    });
    let links = interfaces.iter().filter(|interface| interface.flags.contains(InterfaceFlags::IFF_BROADCAST));
    let links: BTreeSet<&str> = links.map(|interface| interface.interface_name.as_str()).collect();
    let routes = std::fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    let of_routes = routes.lines().filter_map(|route| on_link(route, &links)).map(IpNet::V6);
    Some(of_addresses.chain(of_routes).collect())
}

/// The network of a line of `/proc/net/ipv6_route`, if it lies on one of these links: destination, prefix length, source,
/// its length, router, metric, references, uses, flags, interface; numbers in hexadecimal.
fn on_link(route: &str, links: &BTreeSet<&str>) -> Option<Ipv6Net> {
    // RTF_UP; RTF_GATEWAY, RTF_REJECT, RTF_ANYCAST, RTF_LOCAL (linux/route.h, linux/ipv6_route.h).
    const UP: u32 = 0x1;
    const ELSEWHERE: u32 = 0x2 | 0x200 | 0x0010_0000 | 0x8000_0000;
    let mut fields = route.split_ascii_whitespace();
    let destination = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
    let prefix = u8::from_str_radix(fields.next()?, 16).ok().filter(|prefix| *prefix > 0)?;
    let flags = u32::from_str_radix(fields.nth(6)?, 16).ok()?;
    let is_here = flags & (UP | ELSEWHERE) == UP && links.contains(fields.next()?);
    (is_here && !destination.is_multicast()).then(|| Ipv6Net::new(destination, prefix).ok())?
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
        let own = local_networks().unwrap();
        assert!(own.iter().any(|network| network.contains(&IpAddr::from([127, 0, 0, 9]))), "{own:?}");
    }

    #[test]
    fn an_ipv6_network_on_the_link_is_found_without_an_address_in_it() {
        let nobody = "00000000000000000000000000000000";
        let route = |network: &str, prefix: &str, router: &str, flags: &str, interface: &str| {
            let line =
                format!("{network} {prefix} {nobody} 00 {router} 00000100 00000001 00000000 {flags} {interface:>8}");
            on_link(&line, &BTreeSet::from(["eth0"])).map(|network| network.to_string())
        };
        let (network, router) = ("20010db8000000010000000000000000", "fe800000000000000000000000000001");
        assert_eq!(route(network, "40", nobody, "00400001", "eth0").as_deref(), Some("2001:db8:0:1::/64"));
        for (what, elsewhere) in [
            ("behind a router", route(network, "40", router, "00000003", "eth0")),
            ("by default", route(nobody, "00", nobody, "00000001", "eth0")),
            ("multicast", route("ff000000000000000000000000000000", "08", nobody, "00000001", "eth0")),
            ("the machine's own", route(network, "80", nobody, "80200001", "eth0")),
            ("refused", route(network, "40", nobody, "00200200", "lo")),
            ("through a tunnel", route(network, "40", nobody, "00000001", "wg0")),
            ("not a route", on_link("x", &BTreeSet::new()).map(|network| network.to_string())),
        ] {
            assert_eq!(elsewhere, None, "{what}");
        }
    }

    #[test]
    fn a_machine_always_has_an_address() {
        assert!(!local_addresses().is_empty());
    }
}
