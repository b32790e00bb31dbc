//! How many connections there may be, and which of them give way.
//!
//! Owns: who is connected, since when each has nothing to do, and which one is closed when there are too many. A
//! connection that works for somebody (a request that is answered, a WebSocket, a relay) is never closed for a newer
//! one. Does not own: the sockets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Connections at once. A viewer's page has two or three, so this is for many times the viewers a box can serve.
/// Each that waits was measured to cost 9 KB after a request, 75 KB while it holds back a head of 60 KB; by its limits
/// one of HTTP/2 can cost half a megabyte.
pub(in crate::http) const MOST: usize = 2_048;

/// Connections of one address, or of one /64 of IPv6: a whole studio behind the address of its guest network.
pub(in crate::http) const MOST_OF_ONE: usize = 512;

/// The first request must have come whole by then: with it the handshake of TLS.
pub(super) const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(15);

/// A connection over which nothing was asked for so long is closed; the next request must have come whole by then.
pub(super) const IDLE_FOR: Duration = Duration::from_secs(75);

/// The connections there are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    clock: Clock,
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    connections: HashMap<u64, Connection>,
    /// By source.
    counts: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    source: IpAddr,
    /// Requests that are being answered.
    busy: usize,
    /// Whether it is no HTTP connection any more, and so never idle.
    taken_over: bool,
    has_asked: bool,
    /// Since when nothing was answered.
    idle_since: Instant,
    close: CancellationToken,
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.busy == 0 && !self.taken_over
    }
}

/// The place of one connection, for as long as it is open.
#[derive(Debug)]
pub(super) struct Place {
    all: Connections,
    number: u64,
    close: CancellationToken,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Place>);

impl Connections {
    /// None yet, on the clock by which they grow idle.
    pub fn new(clock: Clock) -> Self {
        Self { clock, all: Arc::default() }
    }

    /// A place for a connection from `address`. Where there are too many, one that has nothing to do is closed for it:
    /// the one that is idle longest of those whose source has most.
    ///
    /// `None`: there are too many, and all of them have something to do. `limited` is whether its source may have only
    /// so many: a proxy stands for everybody.
    pub(super) fn admit(&self, address: IpAddr, limited: bool) -> Option<Arc<Place>> {
        let source = source(address);
        let mut all = self.all();
        if limited && all.counts.get(&source).is_some_and(|count| *count >= MOST_OF_ONE) {
            all.close_idle(|connection| connection.source == source)?;
        }
        if all.connections.len() >= MOST {
            all.close_idle(|_| true)?;
        }
        let (number, close) = (all.next, CancellationToken::new());
        all.next += 1;
        *all.counts.entry(source).or_default() += 1;
        let connection = Connection {
            source,
            busy: 0,
            taken_over: false,
            has_asked: false,
            idle_since: self.clock.now(),
            close: close.clone(),
        };
        all.connections.insert(number, connection);
        Some(Arc::new(Place { all: self.clone(), number, close }))
    }

    /// How many there are.
    pub(in crate::http) fn count(&self) -> usize {
        self.all().connections.len()
    }

    /// Closes what has had nothing to do for too long.
    pub(super) fn close_overdue(&self) {
        let now = self.clock.now();
        for connection in self.all().connections.values().filter(|connection| connection.is_idle()) {
            let most = if connection.has_asked { IDLE_FOR } else { FIRST_REQUEST_WITHIN };
            if now.saturating_duration_since(connection.idle_since) >= most {
                connection.close.cancel();
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl All {
    /// Its place is free at once; the connection itself ends as soon as it is looked at.
    fn close_idle(&mut self, wanted: impl Fn(&Connection) -> bool) -> Option<()> {
        let idle = self.connections.iter().filter(|(_, connection)| connection.is_idle() && wanted(connection));
        let count = |connection: &Connection| self.counts.get(&connection.source).copied().unwrap_or_default();
        let (number, _) = idle.max_by_key(|(number, connection)| {
            (count(connection), std::cmp::Reverse(connection.idle_since), std::cmp::Reverse(**number))
        })?;
        let number = *number;
        let closed = self.remove(number)?;
        closed.close.cancel();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Connection> {
        let connection = self.connections.remove(&number)?;
        if let Some(count) = self.counts.get_mut(&connection.source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&connection.source);
            }
        }
        Some(connection)
    }
}

impl Place {
    /// Ends when the connection must be closed.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Marks a request that is being answered, until the mark is dropped.
    pub(super) fn asked(self: &Arc<Self>) -> Busy {
        self.change(|connection| {
            connection.busy += 1;
            connection.has_asked = true;
        });
        Busy(self.clone())
    }

    /// The connection goes on as something else, to whose own rules it is left.
    pub(super) fn taken_over(&self) {
        self.change(|connection| connection.taken_over = true);
    }

    fn change(&self, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.all.all().connections.get_mut(&self.number) {
            change(connection);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.all().remove(self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.0.all.clock.now();
        self.0.change(|connection| {
            connection.busy -= 1;
            connection.idle_since = now;
        });
    }
}

/// What counts as one source: an IPv4 address, or the /64 that one subscriber of IPv6 has at least.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    struct Gate {
        connections: Connections,
        hand: ManualClock,
    }

    impl Gate {
        fn new() -> Self {
            let (clock, hand) = Clock::manual();
            Self { connections: Connections::new(clock), hand }
        }

        fn enter(&self, address: &str) -> Option<Arc<Place>> {
            self.hand.advance(Duration::from_millis(1));
            self.connections.admit(address.parse().unwrap(), true)
        }

        fn fill(&self, address: &str, count: usize) -> Vec<Arc<Place>> {
            (0..count).map(|_| self.enter(address).unwrap()).collect()
        }
    }

    fn closed(places: &[Arc<Place>]) -> Vec<usize> {
        places.iter().enumerate().filter(|(_, place)| place.close.is_cancelled()).map(|(nth, _)| nth).collect()
    }

    #[test]
    fn one_address_that_has_too_many_loses_its_own_oldest_idle_ones() {
        let door = Gate::new();
        let other = door.fill("10.0.0.1", 1);
        let places = door.fill("10.0.0.9", MOST_OF_ONE);
        let busy = places[0].asked();
        let _newer = door.enter("10.0.0.9").unwrap();
        assert_eq!((closed(&places), closed(&other)), (vec![1], vec![]));
        assert_eq!(door.connections.count(), 1 + MOST_OF_ONE);
        drop(busy);
        let _newest = door.enter("10.0.0.9").unwrap();
        assert_eq!(closed(&places), [1, 2], "what was idle longest, not what came first");
    }

    #[test]
    fn one_address_all_of_whose_connections_work_gets_no_more() {
        let door = Gate::new();
        let places = door.fill("2001:db8::1", MOST_OF_ONE);
        let busy: Vec<_> = places.iter().map(Place::asked).collect();
        assert!(door.enter("2001:db8::ffff").is_none(), "a /64 is one source");
        assert!(door.enter("2001:db8:0:1::1").is_some());
        drop(busy);
        assert!(door.enter("2001:db8::ffff").is_some());
    }

    #[test]
    fn when_the_box_is_full_those_who_have_most_give_way_and_viewers_stay() {
        let door = Gate::new();
        let viewers = door.fill("10.0.0.1", 20);
        viewers.iter().for_each(|place| place.taken_over());
        let quiet = door.fill("10.0.0.2", 5);
        let flood: Vec<_> = (0..).map(|n| door.fill(&format!("10.1.{n}.1"), MOST_OF_ONE / 2)).take(7).collect();
        let rest = door.fill("10.0.0.3", MOST - 25 - 7 * MOST_OF_ONE / 2);
        for _ in 0..50 {
            drop(door.enter("10.0.0.4").unwrap());
        }
        assert_eq!((closed(&viewers), closed(&quiet), closed(&rest)), (vec![], vec![], vec![]));
        let given: usize = flood.iter().map(|places| closed(places).len()).sum();
        assert_eq!(given, 1, "a place that is given back is used again");
        let all: Vec<_> = flood.iter().flatten().chain(&quiet).chain(&rest).collect();
        let busy: Vec<_> = all.iter().filter(|place| !place.close.is_cancelled()).map(|place| place.asked()).collect();
        let last = door.enter("10.0.0.4").unwrap();
        last.taken_over();
        assert!(door.enter("10.0.0.5").is_none());
        drop(busy);
        assert!(door.enter("10.0.0.5").is_some());
    }

    #[test]
    fn what_asks_nothing_is_closed_after_a_while_and_what_works_is_not() {
        let door = Gate::new();
        let places = door.fill("10.0.0.9", 4);
        let _busy = places[1].asked();
        places[2].taken_over();
        drop(places[3].asked());
        door.hand.advance(FIRST_REQUEST_WITHIN);
        door.connections.close_overdue();
        assert_eq!(closed(&places), [0]);
        door.hand.advance(IDLE_FOR);
        door.connections.close_overdue();
        assert_eq!(closed(&places), [0, 3]);
    }
}
