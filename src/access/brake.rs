//! The bound on how often a secret may be guessed, for each address and for all together.
//!
//! Owns: the counts of failures and what is closed. Does not own: the comparison, nor how slowly a failure is answered.
//!
//! Each address has a count of its own, so that nobody closes the door to anybody else. Who has many addresses meets
//! the count of all together, and that one passes over addresses from which the right secret came before: a stranger
//! cannot lock those out who have been in. As whom an address counts is said in `sources`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Failures older than this are forgotten.
pub const WINDOW: Duration = Duration::from_secs(60);

/// As many failures of one address within [`WINDOW`] close the door to it.
pub const MOST_OF_ONE: usize = 10;

/// Failures that are remembered at a time; every limit is lower.
const MOST_KEPT: usize = 256;

/// How long the door stays closed the first time.
pub const CLOSED_FOR: Duration = Duration::from_secs(60);

/// After so long without a failure the next closing is a first one again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);

/// Addresses that are counted at once. One that is pushed out begins anew, but all together go on counting.
const MOST_ADDRESSES: usize = 4096;

/// Addresses that are known to have had the right secret.
const MOST_PROVEN: usize = 64;

/// How much a kind of secret withstands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// As many failures of all unproven addresses within [`WINDOW`] close the door to them.
    pub(super) most_of_all: usize,
    /// Each closing is twice as long as the one before, up to this.
    pub(super) longest: Duration,
    /// Whether an address without a failure in the window may try all the same while it is closed to all: only where
    /// the secret is long enough for as many guesses as there are addresses.
    pub(super) fresh_may_try: bool,
}

/// Counts the guesses at one kind of secret.
#[derive(Debug)]
pub(super) struct Brake {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Count>,
    /// Of the addresses that have proven nothing.
    all: Count,
    /// The last to have been right is last.
    proven: VecDeque<IpAddr>,
}

/// Failures, and guesses that are still being looked at: those count as failures, so that guessing side by side gains
/// nothing.
#[derive(Debug, Default)]
struct Count {
    failures: VecDeque<Instant>,
    closed_until: Option<Instant>,
    closings: u32,
    last: Option<Instant>,
}

/// The door is closed; the guess was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) left: Duration,
}

impl Brake {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// A guess begins: it counts until it is [`Brake::right`].
    pub(super) fn begin(&self, who: IpAddr, now: Instant) -> Result<(), Closed> {
        let mut state = self.lock();
        state.make_room(now);
        let (limits, is_proven) = (self.limits, state.proven.contains(&who));
        let State { addresses, all, .. } = &mut *state;
        let one = addresses.entry(who).or_default();
        one.forget(now);
        all.forget(now);
        let may_pass = is_proven || (limits.fresh_may_try && one.failures.is_empty());
        one.check(now, MOST_OF_ONE)?;
        if !may_pass {
            all.check(now, limits.most_of_all)?;
        }
        one.push(now);
        if !is_proven {
            all.push(now);
        }
        Ok(())
    }

    /// The guess was right, and counts no more. Earlier failures are not forgiven.
    pub(super) fn right(&self, who: IpAddr) {
        let mut state = self.lock();
        if let Some(one) = state.addresses.get_mut(&who) {
            one.failures.pop_back();
        }
        match state.proven.iter().position(|known| *known == who) {
            Some(at) => drop(state.proven.remove(at)),
            None => drop(state.all.failures.pop_back()),
        }
        if state.proven.len() >= MOST_PROVEN {
            state.proven.pop_front();
        }
        state.proven.push_back(who);
    }

    /// The guess was not made after all.
    pub(super) fn not_looked_at(&self, who: IpAddr) {
        let mut state = self.lock();
        if let Some(one) = state.addresses.get_mut(&who) {
            one.failures.pop_back();
        }
        if !state.proven.contains(&who) {
            state.all.failures.pop_back();
        }
    }

    /// Whether the right secret came from there before.
    pub(super) fn knows(&self, who: IpAddr) -> bool {
        self.lock().proven.contains(&who)
    }

    /// The guess was wrong; whether this closed a door, and for how long.
    pub(super) fn wrong(&self, who: IpAddr, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let limits = self.limits;
        let one = state.addresses.get_mut(&who).and_then(|one| one.close_at(MOST_OF_ONE, limits.longest, now));
        let all = state.all.close_at(limits.most_of_all, limits.longest, now);
        one.into_iter().chain(all).max()
    }

    /// How many addresses the door is closed to now.
    pub(super) fn closed(&self, now: Instant) -> usize {
        self.lock().addresses.values().filter(|one| one.closed_until.is_some_and(|until| until > now)).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn make_room(&mut self, now: Instant) {
        if self.addresses.len() < MOST_ADDRESSES {
            return;
        }
        self.addresses.retain(|_, one| one.last.is_some_and(|last| now.saturating_duration_since(last) < WINDOW));
        if self.addresses.len() >= MOST_ADDRESSES {
            let oldest = self.addresses.iter().min_by_key(|(_, one)| one.last).map(|(who, _)| *who);
            oldest.map(|who| self.addresses.remove(&who));
        }
    }
}

impl Count {
    fn forget(&mut self, now: Instant) {
        self.failures.retain(|failure| now.saturating_duration_since(*failure) < WINDOW);
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= FORGIVEN_AFTER) {
            self.closings = 0;
        }
    }

    fn check(&self, now: Instant, most: usize) -> Result<(), Closed> {
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Err(Closed { left: until - now });
        }
        // As many are being looked at as may fail.
        if self.failures.len() >= most { Err(Closed { left: Duration::from_secs(1) }) } else { Ok(()) }
    }

    fn push(&mut self, now: Instant) {
        // More would change no answer.
        if self.failures.len() < MOST_KEPT {
            self.failures.push_back(now);
        }
        self.last = Some(now);
    }

    fn close_at(&mut self, most: usize, longest: Duration, now: Instant) -> Option<Duration> {
        if self.failures.len() < most || self.closed_until.is_some_and(|until| until > now) {
            return None;
        }
        let closed_for = CLOSED_FOR.saturating_mul(1 << self.closings.min(10)).min(longest);
        self.closings += 1;
        self.failures.clear();
        self.closed_until = Some(now + closed_for);
        Some(closed_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const STRONG: Limits = Limits { most_of_all: 40, longest: CLOSED_FOR, fresh_may_try: true };
    const WEAK: Limits = Limits { most_of_all: 30, longest: Duration::from_secs(600), fresh_may_try: false };

    fn host(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn fail(brake: &Brake, who: IpAddr, now: Instant) -> Result<Option<Duration>, Closed> {
        brake.begin(who, now)?;
        Ok(brake.wrong(who, now))
    }

    #[test]
    fn a_burst_of_failures_closes_the_door_for_a_while_to_its_address_alone() {
        let ((clock, hand), brake) = (Clock::manual(), Brake::new(STRONG));
        for n in 1..=MOST_OF_ONE {
            let closed = fail(&brake, host(1), clock.now()).unwrap();
            assert_eq!(closed, (n == MOST_OF_ONE).then_some(CLOSED_FOR), "{n}");
        }
        assert_eq!(brake.begin(host(1), clock.now()), Err(Closed { left: CLOSED_FOR }));
        assert_eq!(brake.begin(host(2), clock.now()), Ok(()));
        assert_eq!(brake.closed(clock.now()), 1);
        hand.advance(CLOSED_FOR - Duration::from_millis(1));
        assert_eq!(brake.begin(host(1), clock.now()), Err(Closed { left: Duration::from_millis(1) }));
        hand.advance(Duration::from_millis(1));
        assert_eq!(brake.begin(host(1), clock.now()), Ok(()), "guesses while it was closed do not count");
        assert_eq!(brake.closed(clock.now()), 0);
    }

    #[test]
    fn failures_far_apart_close_nothing_and_a_right_guess_forgives_none() {
        let ((clock, hand), brake) = (Clock::manual(), Brake::new(STRONG));
        for _ in 0..3 * MOST_OF_ONE {
            assert_eq!(fail(&brake, host(1), clock.now()), Ok(None));
            hand.advance(WINDOW / 8);
        }
        hand.advance(WINDOW);
        for _ in 0..MOST_OF_ONE {
            assert_eq!(brake.begin(host(1), clock.now()), Ok(()));
            brake.right(host(1));
            assert!(fail(&brake, host(1), clock.now()).is_ok());
        }
        assert_eq!(brake.begin(host(1), clock.now()), Err(Closed { left: CLOSED_FOR }));
    }

    #[test]
    fn guesses_side_by_side_count_before_they_are_answered() {
        let ((clock, _), brake) = (Clock::manual(), Brake::new(STRONG));
        for _ in 0..MOST_OF_ONE {
            assert_eq!(brake.begin(host(1), clock.now()), Ok(()));
        }
        assert!(brake.begin(host(1), clock.now()).is_err());
        brake.right(host(1));
        assert_eq!(brake.begin(host(1), clock.now()), Ok(()));
    }

    #[test]
    fn many_addresses_together_are_stopped_and_those_who_have_been_in_are_not() {
        for (limits, fresh) in [(STRONG, true), (WEAK, false)] {
            let ((clock, hand), brake) = (Clock::manual(), Brake::new(limits));
            brake.begin(host(200), clock.now()).unwrap();
            brake.right(host(200));
            let mut guessed = 0;
            for _ in 0..MOST_OF_ONE {
                for n in 0..100 {
                    guessed += usize::from(fail(&brake, host(n), clock.now()).is_ok());
                }
            }
            let first_guesses = if fresh { 100 } else { 0 };
            assert!(guessed <= limits.most_of_all + first_guesses, "{guessed}");
            assert!(brake.begin(host(1), clock.now()).is_err());
            assert_eq!(brake.begin(host(201), clock.now()).is_ok(), fresh, "one that has not guessed yet");
            assert_eq!(brake.begin(host(200), clock.now()), Ok(()), "one that has been in");
            hand.advance(CLOSED_FOR);
            assert_eq!(brake.begin(host(1), clock.now()), Ok(()));
        }
    }

    #[test]
    fn a_weak_secret_is_closed_for_longer_each_time() {
        let ((clock, hand), brake) = (Clock::manual(), Brake::new(WEAK));
        let close = || {
            let mut closed = None;
            while closed.is_none() {
                closed = fail(&brake, host(1), clock.now()).unwrap();
            }
            hand.advance(closed.unwrap());
            closed.unwrap().as_secs()
        };
        assert_eq!([(); 6].map(|()| close()), [60, 120, 240, 480, 600, 600]);
        hand.advance(FORGIVEN_AFTER);
        let close = || (0..MOST_OF_ONE).find_map(|_| fail(&brake, host(1), clock.now()).unwrap());
        assert_eq!(close(), Some(CLOSED_FOR), "a quiet hour");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_room_than_there_is() {
        let ((clock, hand), brake) = (Clock::manual(), Brake::new(STRONG));
        for n in 0..3 * MOST_ADDRESSES as u32 {
            let _ = fail(&brake, IpAddr::from(n.to_be_bytes()), clock.now());
            hand.advance(Duration::from_millis(1));
        }
        assert!(brake.lock().addresses.len() <= MOST_ADDRESSES);
    }
}
