//! Problems of addresses that knock: few at a time, for whoever knocks may have many, and each for an hour from when it
//! was last heard of.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{Problem, Problems};
use crate::clock::Clock;

/// Addresses that are told at once.
const MOST: usize = 4;

/// How long one is told after it was last heard of.
const TOLD_FOR: Duration = Duration::from_secs(3600);

/// The addresses that one problem concerns. Cheap to clone; every clone is the same.
#[derive(Clone, Debug)]
pub struct Addresses {
    code: &'static str,
    heard: Arc<Mutex<HashMap<IpAddr, Instant>>>,
    problems: Problems,
    clock: Clock,
}

impl Addresses {
    /// None yet, of the problem with this code.
    pub fn new(code: &'static str, problems: Problems, clock: Clock) -> Self {
        Self { code, heard: Arc::default(), problems, clock }
    }

    /// An address was heard of. `text` is what to tell of it, if it is to be told; asked where there is room for it.
    pub fn raise(&self, address: IpAddr, text: impl FnOnce(IpAddr) -> Option<String>) {
        let (address, now) = (address.to_canonical(), self.clock.now());
        let mut heard = self.lock();
        if let Some(last) = heard.get_mut(&address) {
            *last = now;
        } else if heard.len() < MOST
            && let Some(text) = text(address)
        {
            heard.insert(address, now);
            self.problems.raise(Problem { code: self.code, subject: address.to_string(), text });
        }
    }

    /// Takes an address off the board: its problem is mended.
    pub fn clear(&self, address: IpAddr) {
        let address = address.to_canonical();
        if self.lock().remove(&address).is_some() {
            self.problems.clear(self.code, &address.to_string());
        }
    }

    /// Takes off the board what has not been heard of for long.
    pub fn forget(&self) {
        let now = self.clock.now();
        self.lock().retain(|address, last| {
            let stays = now.saturating_duration_since(*last) < TOLD_FOR;
            if !stays {
                self.problems.clear(self.code, &address.to_string());
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
    use crate::clock::ManualClock;

    struct Bench {
        addresses: Addresses,
        problems: Problems,
        hand: ManualClock,
    }

    impl Bench {
        fn new() -> Self {
            let ((clock, hand), problems) = (Clock::manual(), Problems::default());
            Self { addresses: Addresses::new("elsewhere", problems.clone(), clock), problems, hand }
        }

        fn knocks(&self, address: &str) {
            self.addresses.raise(address.parse().unwrap(), |address| Some(format!("{address} knocks.")));
        }

        fn told(&self) -> Vec<String> {
            self.addresses.forget();
            self.problems.list().into_iter().map(|problem| problem.subject).collect()
        }
    }

    #[test]
    fn an_address_is_told_for_an_hour_from_its_last_knock_on_or_until_it_is_let_in() {
        let bench = Bench::new();
        bench.knocks("::ffff:10.0.0.5");
        bench.knocks("10.0.0.6");
        bench.knocks("10.0.0.7");
        assert_eq!(bench.told(), ["10.0.0.5", "10.0.0.6", "10.0.0.7"]);
        bench.hand.advance(TOLD_FOR - Duration::from_secs(1));
        bench.knocks("10.0.0.6");
        bench.addresses.clear("::ffff:10.0.0.7".parse().unwrap());
        assert_eq!(bench.told(), ["10.0.0.5", "10.0.0.6"]);
        bench.hand.advance(Duration::from_secs(1));
        assert_eq!(bench.told(), ["10.0.0.6"]);
        bench.knocks("10.0.0.7");
        assert_eq!(bench.told(), ["10.0.0.6", "10.0.0.7"], "turned away once more");
    }

    #[test]
    fn whoever_knocks_from_many_addresses_fills_no_board() {
        let bench = Bench::new();
        bench.addresses.raise("10.0.0.1".parse().unwrap(), |_| None);
        for host in 0..=255 {
            bench.knocks(&format!("10.0.1.{host}"));
        }
        assert_eq!((bench.told().len(), bench.addresses.lock().len()), (MOST, MOST));
        bench.hand.advance(TOLD_FOR);
        assert_eq!(bench.told(), [""; 0]);
        bench.knocks("10.0.1.9");
        assert_eq!(bench.told(), ["10.0.1.9"]);
    }
}
