//! Which addresses are announced: the box's own, and those it was told about.

use std::net::{IpAddr, SocketAddr};

/// Most candidates in an answer.
const MOST_ADDRESSES: usize = 32;

/// The addresses to announce, best first: the box's `local` ones when the socket listens on all, the one it listens on
/// otherwise; then `public` ones.
pub(super) fn announced(listen: SocketAddr, local: fn() -> Vec<IpAddr>, public: &[IpAddr]) -> Vec<SocketAddr> {
    let own = if listen.ip().is_unspecified() { local() } else { vec![listen.ip()] };
    // A socket of IPv4 alone does not hear IPv6.
    let heard = own.into_iter().filter(|ip| ip.is_ipv4() || listen.is_ipv6());
    let mut all: Vec<SocketAddr> = Vec::new();
    for ip in heard.chain(public.iter().copied()) {
        let address = SocketAddr::new(ip.to_canonical(), listen.port());
        if !all.contains(&address) && all.len() < MOST_ADDRESSES {
            all.push(address);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_what_the_socket_hears_and_what_it_was_told() {
        let local = || vec![[192, 168, 1, 20].into(), "fd00::20".parse().unwrap()];
        let public = [[203, 0, 113, 9].into(), [192, 168, 1, 20].into()];
        let all = |listen: &str| {
            let announced = announced(listen.parse().unwrap(), local, &public);
            announced.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(all("[::]:8189"), ["192.168.1.20:8189", "[fd00::20]:8189", "203.0.113.9:8189"]);
        assert_eq!(all("0.0.0.0:8189"), ["192.168.1.20:8189", "203.0.113.9:8189"]);
        assert_eq!(all("10.1.1.1:8189"), ["10.1.1.1:8189", "203.0.113.9:8189", "192.168.1.20:8189"]);
    }
}
