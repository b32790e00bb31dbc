//! How many connections there may be, and which of them give way.
//!
//! Owns: who is connected, since when each has nothing to do, what is owed to whom, and which one is closed when there
//! are too many. Does not own: the sockets.
//!
//! Whoever has many addresses must not keep newcomers out, and a crew behind one address must not give way to somebody
//! who has a thousand. So what counts is not how many connections a source has, but how many more than its viewers
//! need: those who really watch have proven their path and take media, and of them there are only so many.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::access::Sources;
use crate::clock::Clock;

/// Connections at once. A viewer's page has two or three, so this is for many times the viewers a box can serve.
pub(in crate::http) const MOST: usize = 2_048;

/// Connections of one source: a whole studio behind the address of its guest network.
pub(in crate::http) const MOST_OF_ONE: usize = 512;

/// Connections of one trusted proxy, which stands for everybody: so many are left for those who come straight.
const MOST_OF_A_PROXY: usize = MOST - MOST_OF_ONE;

/// What the page of somebody who watches needs: its socket, its requests, and two by which it may be relayed.
const OF_A_VIEWER: usize = 4;

/// Connections of HTTP/2, which costs more memory. To whoever comes when there are as many, only HTTP/1.1 is offered.
pub(in crate::http) const MOST_HTTP_2: usize = 256;

/// The first request must have come whole by then: with it the handshake of TLS.
pub(super) const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(15);

/// So long nobody else makes a connection give way for having asked nothing yet.
const FRESH_FOR: Duration = Duration::from_secs(3);

/// A connection over which nothing was asked for so long is closed; the next request must have come whole by then.
pub(super) const IDLE_FOR: Duration = Duration::from_secs(75);

/// An answer must be taken by then, and after so long more for each 2,000 bytes of it: a second.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const SLOWEST_ANSWER: u64 = 2_000;

/// Bytes of answers that were made and wait to be taken, of all connections. A crew's are taken in milliseconds.
const MOST_OWED_BYTES: usize = 32 << 20;

/// The connections there are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    sources: Sources,
    clock: Clock,
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    connections: HashMap<u64, Connection>,
    /// By source.
    counts: HashMap<IpAddr, usize>,
    /// Who watches, by source.
    watching: HashMap<IpAddr, usize>,
    /// Those of HTTP/2.
    http_2: usize,
    owed: usize,
}

#[derive(Debug)]
struct Connection {
    source: IpAddr,
    /// Whether its source is a proxy that stands for everybody.
    of_a_proxy: bool,
    /// Requests that are being answered.
    busy: usize,
    /// Answers that were made and are not taken yet.
    answers: Vec<Answer>,
    /// Whether it is no HTTP connection any more, and so never idle.
    taken_over: bool,
    has_asked: bool,
    is_http_2: bool,
    /// Since when nothing was answered.
    idle_since: Instant,
    close: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    number: u64,
    bytes: usize,
    until: Instant,
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.busy == 0 && !self.taken_over
    }

    /// When it goes, among those of its source.
    fn order(&self, number: u64, now: Instant) -> Order {
        // Whoever has only just come has had no time to ask.
        let is_fresh = !self.has_asked && now.saturating_duration_since(self.idle_since) < FRESH_FOR;
        let is_idle = self.is_idle() && !is_fresh;
        Order {
            idle_since: is_idle.then_some(Reverse(self.idle_since)),
            answers: !self.taken_over,
            number: if is_idle { u64::MAX - number } else { number },
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let most = if self.has_asked { IDLE_FOR } else { FIRST_REQUEST_WITHIN };
        let sleeps = self.is_idle() && now.saturating_duration_since(self.idle_since) >= most;
        sleeps || self.answers.iter().any(|answer| answer.until <= now)
    }
}

/// The greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    idle_since: Option<Reverse<Instant>>,
    answers: bool,
    number: u64,
}

/// The place of one connection, for as long as it is open.
#[derive(Debug)]
pub(super) struct Place {
    all: Connections,
    number: u64,
    /// Cancelled when the connection must end.
    pub(super) close: CancellationToken,
    /// Bytes of bodies that are held for its requests.
    pub(super) held: AtomicUsize,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy {
    place: Arc<Place>,
    answer: Option<u64>,
}

impl Connections {
    /// None yet, on the clock by which they grow idle.
    pub fn new(sources: Sources, clock: Clock) -> Self {
        Self { sources, clock, all: Arc::default() }
    }

    /// A place for a connection from `address`. Where there are too many, another is closed for it.
    ///
    /// It is one of the source that has most beyond what its viewers need: the one that is idle longest, else one that
    /// works, unless the newcomer's own source has most. Of those that work one that answers goes before one that was
    /// taken over, and the newest first: of those behind one address whoever came last to take all. Where several
    /// sources have as many, it is one that is idle, else the one of the source where nobody has come for longest.
    ///
    /// `None`: there is none to close. `limited` is whether its source may have only so many: a proxy stands for
    /// everybody, and loses nothing that works.
    pub(super) fn admit(&self, address: IpAddr, limited: bool) -> Option<Arc<Place>> {
        let source = self.sources.of(address);
        let mut all = self.all();
        let most_of_one = if limited { MOST_OF_ONE } else { MOST_OF_A_PROXY };
        if all.counts.get(&source).is_some_and(|count| *count >= most_of_one) {
            all.close_idle(source)?;
        }
        if all.connections.len() >= MOST {
            all.make_room(source, self.clock.now())?;
        }
        let (number, close) = (all.next, CancellationToken::new());
        all.next += 1;
        *all.counts.entry(source).or_default() += 1;
        let connection = Connection {
            source,
            of_a_proxy: !limited,
            busy: 0,
            answers: Vec::new(),
            taken_over: false,
            has_asked: false,
            is_http_2: false,
            idle_since: self.clock.now(),
            close: close.clone(),
        };
        all.connections.insert(number, connection);
        Some(Arc::new(Place { all: self.clone(), number, close, held: AtomicUsize::new(0) }))
    }

    /// How many there are.
    pub(in crate::http) fn count(&self) -> usize {
        self.all().connections.len()
    }

    /// Bytes of answers that were made and are not taken yet.
    #[cfg(test)]
    pub(super) fn owed(&self) -> usize {
        self.all().owed
    }

    /// How many of them speak HTTP/2.
    pub(in crate::http) fn count_http_2(&self) -> usize {
        self.all().http_2
    }

    /// Whether one more may speak HTTP/2.
    pub(super) fn has_room_for_http_2(&self) -> bool {
        self.all().http_2 < MOST_HTTP_2
    }

    /// From where somebody watches now, once for each.
    pub(super) fn watched_from(&self, viewers: impl IntoIterator<Item = IpAddr>) {
        let mut watching = HashMap::new();
        for viewer in viewers {
            *watching.entry(self.sources.of(viewer)).or_default() += 1;
        }
        self.all().watching = watching;
    }

    /// Closes what has had nothing to do for too long, and what does not take its answers.
    pub(super) fn close_overdue(&self) {
        let now = self.clock.now();
        for connection in self.all().connections.values().filter(|connection| connection.is_overdue(now)) {
            connection.close.cancel();
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl All {
    /// How many connections of a source are more than its viewers need, when it has so many more.
    fn beyond(&self, source: &IpAddr, more: usize) -> usize {
        let of = |counts: &HashMap<IpAddr, usize>| counts.get(source).copied().unwrap_or_default();
        (of(&self.counts) + more).saturating_sub(OF_A_VIEWER * of(&self.watching))
    }

    /// Closes the longest idle one of a source.
    fn close_idle(&mut self, source: IpAddr) -> Option<()> {
        let own = self.connections.iter().filter(|(_, connection)| connection.source == source);
        let idle = own.filter(|(_, connection)| connection.is_idle());
        let number =
            idle.min_by_key(|(number, connection)| (connection.idle_since, **number)).map(|(number, _)| *number)?;
        self.close(number)
    }

    fn make_room(&mut self, newcomers: IpAddr, now: Instant) -> Option<()> {
        let mut first_of: HashMap<IpAddr, (Order, u64)> = HashMap::new();
        for (number, connection) in &self.connections {
            let this = (connection.order(*number, now), *number);
            let first = first_of.entry(connection.source).or_insert(this);
            *first = this.max(*first);
        }
        let beyond = first_of.iter().map(|(source, (order, number))| {
            let beyond = if self.is_a_proxy(*number) { 0 } else { self.beyond(source, 0) };
            (beyond, order.idle_since, Reverse(*number))
        });
        let (most, idle_since, Reverse(number)) = beyond.max()?;
        // One that works for a viewer is closed for nobody, nor is one for a source that would have more.
        let may = idle_since.is_some() || (most > 0 && most >= self.beyond(&newcomers, 1));
        if may { self.close(number) } else { None }
    }

    fn is_a_proxy(&self, number: u64) -> bool {
        self.connections.get(&number).is_some_and(|connection| connection.of_a_proxy)
    }

    /// Its place is free at once; the connection itself ends as soon as it is looked at.
    fn close(&mut self, number: u64) -> Option<()> {
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
        self.http_2 -= usize::from(connection.is_http_2);
        self.owed -= connection.answers.iter().map(|answer| answer.bytes).sum::<usize>();
        Some(connection)
    }

    /// While more is owed than may be, whoever lets it wait longest loses it.
    fn forgive(&mut self) {
        while self.owed > MOST_OWED_BYTES {
            let waiting = self.connections.iter().filter_map(|(number, connection)| {
                let owed = connection.answers.iter().filter(|answer| answer.bytes > 0);
                Some((owed.map(|answer| answer.number).min()?, *number))
            });
            let Some((_, number)) = waiting.min() else { return };
            if self.close(number).is_none() {
                return;
            }
        }
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
        Busy { place: self.clone(), answer: None }
    }

    /// The connection goes on as something else, to whose own rules it is left.
    pub(super) fn taken_over(&self) {
        self.change(|connection| connection.taken_over = true);
    }

    /// It is to speak HTTP/2; false where too many do.
    pub(super) fn speaks_http_2(&self) -> bool {
        let mut all = self.all.all();
        let has_room = all.http_2 < MOST_HTTP_2;
        if has_room && let Some(connection) = all.connections.get_mut(&self.number) {
            connection.is_http_2 = true;
            all.http_2 += 1;
        }
        has_room
    }

    fn change(&self, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.all.all().connections.get_mut(&self.number) {
            change(connection);
        }
    }
}

impl Busy {
    /// The answer is made and waits to be taken: of so many bytes, for which so much memory is held.
    pub(super) fn owes(&mut self, bytes: u64, held: usize) {
        let Connections { clock, .. } = &self.place.all;
        let until = clock.now() + ANSWER_WITHIN + Duration::from_secs(bytes / SLOWEST_ANSWER);
        let mut all = self.place.all.all();
        let number = all.next;
        all.next += 1;
        if let Some(connection) = all.connections.get_mut(&self.place.number) {
            connection.answers.push(Answer { number, bytes: held, until });
            self.answer = Some(number);
            all.owed += held;
            all.forgive();
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
        let now = self.place.all.clock.now();
        let mut all = self.place.all.all();
        let Some(connection) = all.connections.get_mut(&self.place.number) else { return };
        connection.busy -= 1;
        connection.idle_since = now;
        let taken = connection.answers.iter().position(|answer| Some(answer.number) == self.answer);
        if let Some(taken) = taken.map(|at| connection.answers.swap_remove(at)) {
            all.owed -= taken.bytes;
        }
    }
}

#[cfg(test)]
mod tests;
