//! From an address that is listened on to the addresses that people can type.

use std::net::{IpAddr, SocketAddr};

use super::local_addresses;

/// Where something that listens on `listen` can be reached, best first: the machine's addresses of
/// that family when it listens on all (`[::]` takes IPv4 too), else `listen` alone.
pub fn reachable(listen: SocketAddr) -> Vec<SocketAddr> {
    among(listen, local_addresses())
}

fn among(listen: SocketAddr, local: Vec<IpAddr>) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![SocketAddr::new(listen.ip().to_canonical(), listen.port())];
    }
    let family = |ip: &IpAddr| listen.is_ipv6() || ip.is_ipv4();
    local.into_iter().filter(family).map(|ip| SocketAddr::new(ip, listen.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listened_on_is_told() {
        let local: Vec<IpAddr> = vec!["192.168.1.20".parse().unwrap(), "fd00::2".parse().unwrap()];
        for (listen, told) in [
            ("[::]:9", vec!["192.168.1.20:9", "[fd00::2]:9"]),
            ("0.0.0.0:9", vec!["192.168.1.20:9"]),
            ("127.0.0.1:9", vec!["127.0.0.1:9"]),
            ("[::ffff:10.0.0.1]:9", vec!["10.0.0.1:9"]),
        ] {
            let addresses = among(listen.parse().unwrap(), local.clone());
            assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), told, "{listen}");
        }
    }
}
