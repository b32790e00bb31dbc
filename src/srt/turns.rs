//! Who is judged now and who asks again later: so many callers in a second, and of one address fewer, so that one that
//! calls without end keeps nobody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Callers judged in a second. Each costs 2048 rounds of SHA-1 when there is a passphrase.
const MOST: u32 = 50;
/// Of one address: a studio's machine that starts all its outputs at once.
const MOST_OF_ONE: u32 = 10;

/// The turns of the running second.
pub struct Turns {
    since: Instant,
    taken: u32,
    of_one: HashMap<IpAddr, u32>,
}

impl Turns {
    pub fn new(now: Instant) -> Self {
        Self { since: now, taken: 0, of_one: HashMap::new() }
    }

    /// Takes a turn, if there is one left.
    pub fn take(&mut self, now: Instant, from: IpAddr) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let own = self.of_one.get(&from).copied().unwrap_or_default();
        if self.taken >= MOST || own >= MOST_OF_ONE {
            return false;
        }
        self.taken += 1;
        self.of_one.insert(from, own + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn one_address_that_calls_without_end_keeps_nobody_else_out() {
        let (clock, hand) = Clock::manual();
        let mut turns = Turns::new(clock.now());
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let took = |turns: &mut Turns, last| (0..100).filter(|_| turns.take(clock.now(), address(last))).count();
        assert_eq!(took(&mut turns, 1), 10);
        assert_eq!(took(&mut turns, 2), 10);
        let rest: usize = (3..20).map(|last| took(&mut turns, last)).sum();
        assert_eq!(rest, 30, "and all of them have 50");
        hand.advance(Duration::from_secs(1));
        assert_eq!(took(&mut turns, 1), 10, "the next second is another");
    }
}
