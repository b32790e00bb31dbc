//! `[network]`: the address of the box itself.

use std::net::{IpAddr, Ipv4Addr};

/// `[network]`: what the SD-card image does with its Ethernet socket. Elsewhere the machine's own settings count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// A fixed address, instead of one by DHCP.
    pub address: Option<Ipv4Network>,
    /// The router to everything else; inside the network of `address`.
    pub gateway: Option<Ipv4Addr>,
    /// Who is asked for names.
    pub dns: Vec<IpAddr>,
}

/// An address and the network it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Network {
    /// The box's own address.
    pub address: Ipv4Addr,
    /// The length of the network's part, in bits: 8 to 30.
    pub prefix: u8,
}

impl Ipv4Network {
    /// `192.168.1.20/24`, of which a host can have the address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let parsed = Self { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
        let (address, host) = (parsed.address, parsed.host_bits());
        let is_a_hosts = (8..=30).contains(&parsed.prefix)
            && !address.is_loopback()
            && !address.is_multicast()
            && !address.is_unspecified()
            && address.to_bits() & host != 0
            && address.to_bits() & host != host;
        is_a_hosts.then_some(parsed)
    }

    /// Whether `other` can be spoken to without a router.
    pub fn contains(&self, other: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ other.to_bits()) & !self.host_bits() == 0
    }

    fn host_bits(&self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_hosts() {
        for fine in ["192.168.1.20/24", "10.0.0.1/8", "172.16.5.5/30"] {
            assert!(Ipv4Network::parse(fine).is_some_and(|n| format!("{}/{}", n.address, n.prefix) == fine), "{fine}");
        }
        for wrong in [
            "192.168.1.20",
            "192.168.1.0/24",
            "192.168.1.255/24",
            "192.168.1.20/31",
            "192.168.1.20/7",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "0.0.0.0/8",
            "192.168.1.20/255.255.255.0",
            "fd00::1/64",
            "/24",
            "",
        ] {
            assert_eq!(Ipv4Network::parse(wrong), None, "{wrong}");
        }
    }
}
