//! A bad network in one process: a UDP relay that loses, delays and narrows, the same way for the same seed.
//!
//! Stands between a viewer and the box (the answer's candidate is replaced by the relay's address) or between
//! a sender and the box. Every caller's address gets a socket of its own towards the target, so that the
//! target tells callers apart. A tap sees what goes to the target, with the time it goes.

use super::{Result, Seeded, now, wall_micros};
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One direction of a network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Fraction of datagrams lost, each by itself (0.0–1.0).
    pub loss: f64,
    /// Of every so many datagrams, this many in a row are lost as well: (period, length).
    pub bursts: Option<(u64, u64)>,
    /// Every datagram comes this much later.
    pub delay: Duration,
    /// … and up to this much more, by chance; order is kept.
    pub jitter: Duration,
    /// Bits a second, and bytes that may wait for them; what finds the queue full is lost.
    pub rate: Option<(u64, usize)>,
}

/// What a direction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Datagrams passed on.
    pub datagrams: u64,
    /// Datagrams lost on purpose.
    pub lost: u64,
    /// Datagrams lost because the queue was full.
    pub overflowed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    datagrams: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
}

impl Counters {
    fn read(&self) -> Passed {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Passed { datagrams: of(&self.datagrams), lost: of(&self.lost), overflowed: of(&self.overflowed) }
    }
}

/// Sees each datagram on its way to the target: wall time in µs, and its bytes.
pub type Tap = Box<dyn FnMut(u64, &[u8]) + Send>;

/// A running relay. Dropped, it ends.
#[derive(Debug)]
pub struct Relay {
    /// Where to send what is meant for the target.
    pub address: SocketAddr,
    links: Arc<Mutex<[Link; 2]>>,
    counters: Arc<[Counters; 2]>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Starts a relay that harms nothing yet; `seed` makes its choices.
    ///
    /// # Errors
    /// No socket.
    pub fn start(target: SocketAddr, seed: u64, tap: Option<Tap>) -> Result<Self> {
        let front = socket()?;
        let address = front.local_addr()?;
        let (links, counters, stop) = (Arc::default(), Arc::default(), Arc::default());
        let mut work = Work {
            target,
            front,
            callers: Vec::new(),
            directions: [Direction::new(seed), Direction::new(seed ^ u64::MAX)],
            links: Arc::clone(&links),
            counters: Arc::clone(&counters),
            tap,
        };
        let stopped: Arc<AtomicBool> = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Without its sockets a relay is of no use, and whoever uses it will say so.
                if work.turn().is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, links, counters, stop })
    }

    /// Changes both directions: to the target, and back.
    pub fn set(&self, to_target: Link, from_target: Link) {
        *lock(&self.links) = [to_target, from_target];
    }

    /// What went to the target, and what came back.
    pub fn passed(&self) -> [Passed; 2] {
        [self.counters[0].read(), self.counters[1].read()]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn socket() -> Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_send_buffer_size(4 << 20)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

const TO_TARGET: usize = 0;
const FROM_TARGET: usize = 1;

struct Work {
    target: SocketAddr,
    front: UdpSocket,
    callers: Vec<(SocketAddr, UdpSocket)>,
    directions: [Direction; 2],
    links: Arc<Mutex<[Link; 2]>>,
    counters: Arc<[Counters; 2]>,
    tap: Option<Tap>,
}

impl Work {
    fn turn(&mut self) -> Result<()> {
        self.wait()?;
        let links = *lock(&self.links);
        let mut buffer = [0u8; 65_536];
        while let Ok((size, from)) = self.front.recv_from(&mut buffer) {
            let caller = match self.callers.iter().position(|(known, _)| *known == from) {
                Some(caller) => caller,
                None => {
                    let socket = socket()?;
                    socket.connect(self.target)?;
                    self.callers.push((from, socket));
                    self.callers.len() - 1
                }
            };
            let direction = &mut self.directions[TO_TARGET];
            direction.take(now(), &links[TO_TARGET], &self.counters[TO_TARGET], caller, &buffer[..size]);
        }
        for (caller, (_, socket)) in self.callers.iter().enumerate() {
            // An ICMP "port unreachable" is an error here, and what a restarting target looks like.
            while let Ok(size) = socket.recv(&mut buffer) {
                let direction = &mut self.directions[FROM_TARGET];
                direction.take(now(), &links[FROM_TARGET], &self.counters[FROM_TARGET], caller, &buffer[..size]);
            }
        }
        while let Some((caller, datagram)) = self.directions[TO_TARGET].due(now()) {
            if let Some(tap) = &mut self.tap {
                tap(wall_micros(), &datagram);
            }
            let _ = self.callers[caller].1.send(&datagram);
        }
        while let Some((caller, datagram)) = self.directions[FROM_TARGET].due(now()) {
            let _ = self.front.send_to(&datagram, self.callers[caller].0);
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let next = self.directions.iter().filter_map(|direction| Some(direction.queue.front()?.0)).min();
        let most = Duration::from_millis(100);
        let time = next.map_or(most, |next| next.saturating_duration_since(now()).min(most));
        let mut sockets = vec![PollFd::new(self.front.as_fd(), PollFlags::POLLIN)];
        sockets.extend(self.callers.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        match nix::poll::ppoll(&mut sockets, Some(TimeSpec::from_duration(time)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is on its way in one direction.
struct Direction {
    random: Seeded,
    seen: u64,
    queue: VecDeque<(Instant, usize, Vec<u8>)>,
    /// When the line has sent all that waits for it.
    free: Option<Instant>,
}

impl Direction {
    fn new(seed: u64) -> Self {
        Self { random: Seeded(seed), seen: 0, queue: VecDeque::new(), free: None }
    }

    fn take(&mut self, now: Instant, link: &Link, counters: &Counters, caller: usize, datagram: &[u8]) {
        self.seen += 1;
        // Asked for every datagram, so that the choice depends on nothing but its number.
        let (chance, lateness) = (self.random.fraction(), self.random.fraction());
        if chance < link.loss || link.bursts.is_some_and(|(period, length)| self.seen % period >= period - length) {
            counters.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut due = now;
        if let Some((rate, room)) = link.rate {
            let free = self.free.unwrap_or(now).max(now);
            if (free - now).as_secs_f64() * rate as f64 / 8.0 > room as f64 {
                counters.overflowed.fetch_add(1, Ordering::Relaxed);
                return;
            }
            due = free + Duration::from_secs_f64(datagram.len() as f64 * 8.0 / rate as f64);
            self.free = Some(due);
        }
        due += link.delay + link.jitter.mul_f64(lateness);
        due = self.queue.back().map_or(due, |(before, ..)| due.max(*before));
        self.queue.push_back((due, caller, datagram.to_vec()));
        counters.datagrams.fetch_add(1, Ordering::Relaxed);
    }

    fn due(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        if self.queue.front()?.0 > now {
            return None;
        }
        self.queue.pop_front().map(|(_, caller, datagram)| (caller, datagram))
    }
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports, reason = "a bench without a harness has no tests")]
    use super::*;

    fn run(seed: u64, link: Link, count: usize, size: usize) -> (Vec<usize>, Passed) {
        let (mut direction, counters, start) = (Direction::new(seed), Counters::default(), now());
        for number in 0..count {
            direction.take(start, &link, &counters, number, &vec![0; size]);
        }
        let mut out = Vec::new();
        while let Some((number, _)) = direction.due(start + Duration::from_secs(3600)) {
            out.push(number);
        }
        (out, counters.read())
    }

    #[test]
    fn the_same_seed_loses_the_same_datagrams_and_about_as_many_as_asked() {
        let link = Link { loss: 0.05, ..Link::default() };
        let (first, passed) = run(7, link, 10_000, 10);
        assert_eq!((first.clone(), passed), run(7, link, 10_000, 10));
        assert_ne!(first, run(8, link, 10_000, 10).0);
        assert!((400..600).contains(&passed.lost), "{passed:?}");
    }

    #[test]
    fn bursts_are_as_long_as_asked() {
        let (out, passed) = run(1, Link { bursts: Some((100, 20)), ..Link::default() }, 300, 10);
        assert_eq!((out.len(), passed.lost), (240, 60));
        assert!(!out.contains(&79) && !out.contains(&98) && out.contains(&99) && out.contains(&78));
    }

    #[test]
    fn a_narrow_line_queues_as_much_as_it_has_room_for_and_keeps_order() {
        let link = Link { rate: Some((8_000_000, 50_000)), jitter: Duration::from_millis(3), ..Link::default() };
        let (out, passed) = run(1, link, 100, 1000);
        assert_eq!(passed.overflowed, 49, "{passed:?}");
        assert!(out.is_sorted());
    }
}
