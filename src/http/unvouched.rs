//! Reverse proxies that nobody trusts: told to whoever runs the box, who has forgotten to name them.
//!
//! Anybody can send such headers, so only addresses in the box's own networks are told, few at a time, and each for an
//! hour from its last request on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};

use super::caller::{FORWARDED_FOR, Proxies};
use crate::access::Access;
use crate::clock::Clock;
use crate::problems::{Problem, Problems};

/// The code of the problem.
const CODE: &str = "proxy_not_trusted";

/// Addresses that are told at once. A studio has one proxy, or two.
const MOST: usize = 4;

/// How long one is told after it was last heard of.
const TOLD_FOR: Duration = Duration::from_secs(3600);

/// Who passes requests on without being trusted to. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Unvouched {
    heard: Arc<Mutex<HashMap<IpAddr, Instant>>>,
    access: Access,
    problems: Problems,
    clock: Clock,
}

impl Unvouched {
    pub(super) fn new(access: Access, problems: Problems, clock: Clock) -> Self {
        Self { heard: Arc::default(), access, problems, clock }
    }

    /// A request came from `peer`.
    pub(super) fn look(&self, peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) {
        let names_somebody = headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
        if !names_somebody || proxies.trusts(peer) {
            return;
        }
        let (peer, now) = (peer.to_canonical(), self.clock.now());
        let mut heard = self.lock();
        if let Some(last) = heard.get_mut(&peer) {
            *last = now;
        } else if heard.len() < MOST && self.access.is_in_own_networks(peer) {
            heard.insert(peer, now);
            self.problems.raise(Problem {
                code: CODE,
                subject: peer.to_string(),
                text: format!(
                    "A reverse proxy at {peer} is not in [http] trusted_proxies: whoever comes through it counts as a \
                     stranger, and may not administer. If it is yours, add it there and start the box again."
                ),
            });
        }
    }

    /// Takes off the board what has not been heard of for long.
    pub(super) fn forget(&self) {
        let now = self.clock.now();
        self.lock().retain(|peer, last| {
            let stays = now.saturating_duration_since(*last) < TOLD_FOR;
            if !stays {
                self.problems.clear(CODE, &peer.to_string());
            }
            stays
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Policy;
    use crate::clock::ManualClock;

    struct Bench {
        unvouched: Unvouched,
        problems: Problems,
        hand: ManualClock,
    }

    impl Bench {
        fn new() -> Self {
            let ((clock, hand), problems) = (Clock::manual(), Problems::default());
            let access = Access::open(None, clock.clone());
            access.apply(Policy { own_networks: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..Policy::default() });
            Self { unvouched: Unvouched::new(access, problems.clone(), clock), problems, hand }
        }

        fn request(&self, peer: &str, headers: &[(&'static str, &'static str)]) {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let trusted = Proxies::new(vec!["10.9.9.9/32".parse().unwrap()]);
            self.unvouched.look(peer.parse().unwrap(), &headers, &trusted);
        }

        fn told(&self) -> Vec<String> {
            self.problems.list().into_iter().map(|problem| problem.subject).collect()
        }
    }

    const FOR: (&str, &str) = ("x-forwarded-for", "192.0.2.1");

    #[test]
    fn a_proxy_that_nobody_named_is_told_while_it_is_used() {
        let bench = Bench::new();
        bench.request("10.0.0.5", &[]);
        bench.request("10.9.9.9", &[FOR]);
        bench.request("198.51.100.9", &[FOR]);
        assert_eq!(bench.told(), [""; 0], "no proxy, one that is trusted, a stranger");
        bench.request("::ffff:10.0.0.5", &[FOR]);
        bench.request("10.0.0.6", &[("forwarded", "for=192.0.2.1")]);
        assert_eq!(bench.told(), ["10.0.0.5", "10.0.0.6"]);
        bench.hand.advance(TOLD_FOR - Duration::from_secs(1));
        bench.request("10.0.0.6", &[FOR]);
        bench.hand.advance(Duration::from_secs(1));
        bench.unvouched.forget();
        assert_eq!(bench.told(), ["10.0.0.6"]);
    }

    #[test]
    fn whoever_sends_such_headers_from_many_addresses_fills_no_board() {
        let bench = Bench::new();
        for host in 0..=255 {
            bench.request(&format!("10.0.1.{host}"), &[FOR]);
        }
        assert_eq!(bench.told().len(), MOST);
        bench.hand.advance(TOLD_FOR);
        bench.unvouched.forget();
        assert_eq!(bench.told(), [""; 0]);
    }
}
