//! As whom an address counts wherever one party may have only so much, or try only so often.
//!
//! Owns: the rule. Does not own: any count. An address of the box's own networks counts whole, for a studio's phones
//! are all in one /64 there; of an IPv6 address from elsewhere its /64 counts, for that is what one customer has at
//! least (RFC 6177 §2), with endless addresses in it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::Access;

/// Tells as whom addresses count. Cheap to clone. The default is that of a box in no network.
#[derive(Clone)]
pub struct Sources(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Sources {
    /// Those of a box that is near to the addresses that `is_near` says.
    pub fn new(is_near: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_near))
    }

    /// By what an address is counted.
    pub fn of(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            // It counts whole, wherever it is.
            four @ IpAddr::V4(_) => four,
            six => counted_as(six, (self.0)(six)),
        }
    }
}

impl Default for Sources {
    fn default() -> Self {
        Self::new(|_| false)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Access {
    /// As whom addresses count, by the networks that are the box's own at the time.
    pub fn sources(&self) -> Sources {
        let access = self.clone();
        Sources::new(move |address| access.is_own(address))
    }
}

/// By what an address is counted: itself if it is `near`, of an IPv6 address from elsewhere its /64.
pub(super) fn counted_as(address: IpAddr, near: bool) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !near => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Parts, Policy};
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn of_an_ipv6_address_from_elsewhere_its_network_counts() {
        let sources = Sources::new(|address| address == "2001:db8:1:2:3:4:5:6".parse::<IpAddr>().unwrap());
        let counted = |text: &str| sources.of(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:7"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2:3:4:5:6");
        assert_eq!(counted("::ffff:10.0.0.9"), "10.0.0.9");
        assert_eq!(counted("10.0.0.9"), "10.0.0.9");
    }

    #[test]
    fn phones_in_the_boxs_own_network_count_one_by_one_and_a_strangers_network_as_one() {
        let interfaces = || Some(vec!["2001:db8:0:1::20/64".parse().unwrap(), "192.168.1.20/24".parse().unwrap()]);
        let counted = |policy, address: &str| {
            let clock = Clock::manual().0;
            let setup_code = "bkmqp-xrthw".to_owned();
            let parts = Parts { setup_code, policy, interfaces, among_strangers: false, memory: None, clock };
            let access = Access::new(parts);
            access.sources().of(address.parse().unwrap()).to_string()
        };
        assert_eq!(counted(Policy::default(), "2001:db8:0:1::99"), "2001:db8:0:1::99");
        assert_eq!(counted(Policy::default(), "2001:db8:0:2::99"), "2001:db8:0:2::");
        let elsewhere = Policy { own_networks: Some(vec!["2001:db8:0:2::/64".parse().unwrap()]), ..Policy::default() };
        assert_eq!(counted(elsewhere.clone(), "2001:db8:0:1::99"), "2001:db8:0:1::", "what the settings say counts");
        assert_eq!(counted(elsewhere, "2001:db8:0:2::99"), "2001:db8:0:2::99");
    }
}
