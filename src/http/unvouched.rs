//! Reverse proxies that nobody trusts: told to whoever runs the box, who has forgotten to name them.
//!
//! Anybody can send such headers, so only addresses in the box's own networks are told.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use super::caller::{FORWARDED_FOR, Proxies};
use crate::access::Access;
use crate::clock::Clock;
use crate::problems::{Addresses, Problems};

/// Who passes requests on without being trusted to. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Unvouched {
    told: Addresses,
    access: Access,
}

impl Unvouched {
    pub(super) fn new(access: Access, problems: Problems, clock: Clock) -> Self {
        Self { told: Addresses::new("proxy_not_trusted", problems, clock), access }
    }

    /// A request came from `peer`.
    pub(super) fn look(&self, peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) {
        let names_somebody = headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
        if !names_somebody || proxies.trusts(peer) {
            return;
        }
        self.told.raise(peer, |peer| {
            self.access.is_in_own_networks(peer).then(|| {
                format!(
                    "A reverse proxy at {peer} is not in [http] trusted_proxies: whoever comes through it counts as a \
                     stranger, and may not administer. If it is yours, add it there and start the box again."
                )
            })
        });
    }

    /// Takes off the board what has not been heard of for long.
    pub(super) fn forget(&self) {
        self.told.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Policy;

    #[test]
    fn a_proxy_in_the_boxs_own_networks_that_nobody_named_is_told() {
        const FOR: (&str, &str) = ("x-forwarded-for", "192.0.2.1");
        let ((clock, _hand), problems) = (Clock::manual(), Problems::default());
        let access = Access::open(None, clock.clone());
        access.apply(Policy { own_networks: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..Policy::default() });
        let (unvouched, trusted) =
            (Unvouched::new(access, problems.clone(), clock), Proxies::new(vec!["10.9.9.9/32".parse().unwrap()]));
        let told_after = |peer: &str, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            unvouched.look(peer.parse().unwrap(), &headers, &trusted);
            problems.list().into_iter().map(|problem| problem.subject).collect::<Vec<_>>()
        };
        assert_eq!(told_after("10.0.0.5", &[]), [""; 0], "no proxy");
        assert_eq!(told_after("10.9.9.9", &[FOR]), [""; 0], "one that is trusted");
        assert_eq!(told_after("198.51.100.9", &[FOR]), [""; 0], "a stranger");
        assert_eq!(told_after("::ffff:10.0.0.5", &[FOR]), ["10.0.0.5"]);
        assert_eq!(told_after("10.0.0.6", &[("forwarded", "for=192.0.2.1")]), ["10.0.0.5", "10.0.0.6"]);
    }
}
