//! The listener: one UDP socket for every source that calls the box.
//!
//! Owns: the socket, who is connected, and who is being judged. Does not own: the handshake's rules
//! (`handshake`), a connection's protocol (`connection`) or its payload (`ingest`).
//!
//! One task reads the socket and deals the datagrams out; each connection has a task of its own. A
//! peer is remembered here only once it has shown that it received the cookie.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::handshake::{self, Accepted, Cookies, FirstLook, Rejected, Terms};
use super::ingest::Sinks;
use super::link::{Arrival, Link, Over, QUEUE};
use super::notices::{Notices, canonical};
use super::screen::{self, Body, Handshake, Step};
use super::socket::{self, Reader};
use super::turns::Turns;
use crate::access::{Refusal, Sources};
use crate::clock::Clock;
use crate::hub::{PublishError, PublishRequest};
use crate::media::StreamName;
use crate::problems::Problems;

/// The passphrase of a stream, if it has one; asked anew for every caller.
pub type PassphraseLookup = Arc<dyn Fn(&StreamName) -> Option<String> + Send + Sync>;

/// Sources at once, and of one address.
const MOST_CONNECTIONS: usize = 64;
const MOST_OF_ONE: usize = 16;
/// Callers being judged at once; who is not judged now asks again after 250 ms.
const MOST_JUDGED: usize = 4;
/// How often problems that nobody causes any more are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long connections get to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// How the listener is set up.
#[derive(Clone)]
pub struct ListenerConfig {
    /// Where it listens; `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// The latency with which it receives; the larger of this and the sender's wins.
    pub latency: Duration,
    /// The passphrases.
    pub passphrase: PassphraseLookup,
    /// As whom addresses count.
    pub sources: Sources,
}

/// Why the listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be used.
    #[error(
        "cannot receive SRT at {address} (UDP): {source}; choose another address in [srt] listen, or stop what uses it"
    )]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No randomness.
    #[error("the system gives no random numbers")]
    Entropy,
}

/// A listener that is bound and does not run yet.
pub struct Listener {
    socket: Arc<UdpSocket>,
    config: ListenerConfig,
    sinks: Arc<dyn Sinks>,
    notices: Notices,
    clock: Clock,
    cookies: Cookies,
    /// Connections by our socket.
    connections: HashMap<u32, Peer>,
    /// Our socket by the peer's address and socket.
    known: HashMap<(SocketAddr, u32), u32>,
    judged: HashSet<(SocketAddr, u32)>,
    turns: Turns,
    /// Which connection a task drives.
    driven: HashMap<Id, u32>,
}

struct Peer {
    remote: SocketAddr,
    /// As whom it counts.
    source: IpAddr,
    socket: u32,
    /// What it was answered, in case it did not hear it.
    acceptance: Bytes,
    queue: mpsc::Sender<Arrival>,
}

struct Judgement {
    from: SocketAddr,
    request: Box<Handshake>,
    outcome: Result<Accepted, Rejected>,
}

impl Listener {
    /// Opens the socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn bind(
        config: ListenerConfig,
        sinks: Arc<dyn Sinks>,
        problems: Problems,
        clock: Clock,
    ) -> Result<Self, BindError> {
        let address = config.listen;
        let socket = socket::bind(address).map_err(|source| BindError::Socket { address, source })?;
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| BindError::Entropy)?;
        Ok(Self {
            socket: Arc::new(socket),
            config,
            sinks,
            notices: Notices::new(problems),
            cookies: Cookies::new(&secret, clock.now()),
            turns: Turns::new(clock.now()),
            clock,
            connections: HashMap::new(),
            known: HashMap::new(),
            judged: HashSet::new(),
            driven: HashMap::new(),
        })
    }

    /// Where it listens: the port that was chosen when port 0 was asked for.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Runs until `shutdown`, then says goodbye to every peer.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let socket = self.socket.clone();
        let mut reader = Reader::default();
        let (judge, mut judgements) = mpsc::channel(MOST_JUDGED);
        let mut links: JoinSet<Over> = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                ready = reader.ready(&socket) => match ready {
                    Ok(()) => self.read(&mut reader, &judge),
                    Err(error) => {
                        tracing::error!(err = %error, "SRT socket");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(judgement) = judgements.recv() => self.decide(judgement, &mut links, &shutdown),
                Some(ended) = links.join_next_with_id() => self.forget(ended),
                _ = sweep.tick() => self.notices.sweep(self.clock.now()),
            }
        }
        self.connections.clear();
        let farewell = async { while links.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    fn read(&mut self, reader: &mut Reader, judge: &mpsc::Sender<Judgement>) {
        let socket = self.socket.clone();
        reader.drain(&socket, |from, datagram| {
            let now = self.clock.now();
            let Some(destination) = screen::destination(&datagram) else { return };
            if screen::is_handshake(&datagram) {
                self.handshake(now, from, &datagram, judge);
            } else if let Some(peer) = self.connections.get(&destination).filter(|peer| peer.remote == from) {
                // A full queue drops like a full socket buffer: the protocol asks again.
                let _ = peer.queue.try_send((now, datagram));
            }
        });
    }

    fn handshake(&mut self, now: Instant, from: SocketAddr, datagram: &Bytes, judge: &mpsc::Sender<Judgement>) {
        let packet = match screen::screen(datagram) {
            Ok(screen::Datagram { body: Body::Handshake(packet), .. }) => packet,
            Ok(_) => return,
            Err(error) => return tracing::debug!(peer = %canonical(from), err = %error, "handshake refused"),
        };
        match handshake::first_look(&self.cookies, now, from, &packet) {
            FirstLook::Answer(answer) if answer.len() <= datagram.len() => self.send(from, &answer),
            FirstLook::Answer(_) => {}
            FirstLook::Ignore(why) if packet.step == Step::Rendezvous => self.notices.refused(now, from, 0, why),
            FirstLook::Ignore(why) => tracing::debug!(peer = %canonical(from), "handshake ignored: {why}"),
            FirstLook::Proven => self.proven(now, from, packet, judge),
        }
    }

    fn proven(&mut self, now: Instant, from: SocketAddr, request: Box<Handshake>, judge: &mpsc::Sender<Judgement>) {
        let who = (from, request.socket);
        if let Some(peer) = self.known.get(&who).and_then(|local| self.connections.get(local)) {
            return self.send(from, &peer.acceptance);
        }
        let is_now = self.judged.len() < MOST_JUDGED && !self.judged.contains(&who);
        if !is_now || !self.turns.take(now, self.config.sources.of(from.ip())) {
            return;
        }
        self.judged.insert(who);
        let (config, judge) = (self.config.clone(), judge.clone());
        tokio::spawn(async move {
            let asked = request.clone();
            // Trying a passphrase takes milliseconds, in which no other stream may be held up.
            let judged = tokio::task::spawn_blocking(move || {
                let terms = Terms { latency: config.latency, passphrase: &*config.passphrase };
                handshake::judge(&asked, &terms)
            });
            let outcome = judged.await.unwrap_or(Err(Rejected::Rogue));
            let _ = judge.send(Judgement { from, request, outcome }).await;
        });
    }

    fn decide(&mut self, judgement: Judgement, links: &mut JoinSet<Over>, shutdown: &CancellationToken) {
        let Judgement { from, request, outcome } = judgement;
        self.judged.remove(&(from, request.socket));
        let opened = outcome.and_then(|accepted| self.admit(from, &request, accepted, links, shutdown));
        if let Err(why) = opened {
            let text = why.to_string();
            let now = self.clock.now();
            self.notices.refused(now, from, why.code(), &text);
            if let Some((code, stream)) = why.problem() {
                self.notices.raise(now, code, stream, format!("{text} (from {})", canonical(from).ip()));
            }
            self.send(from, &handshake::rejection(from, &request, &why));
        }
    }

    fn admit(
        &mut self,
        from: SocketAddr,
        request: &Handshake,
        accepted: Accepted,
        links: &mut JoinSet<Over>,
        shutdown: &CancellationToken,
    ) -> Result<(), Rejected> {
        let source = self.config.sources.of(from.ip());
        let of_one = self.connections.values().filter(|peer| peer.source == source).count();
        if self.connections.len() >= MOST_CONNECTIONS || of_one >= MOST_OF_ONE {
            return Err(Rejected::Overload);
        }
        let wish = &accepted.wish;
        let publish = PublishRequest {
            stream: wish.stream.clone(),
            from: canonical(from),
            secret: wish.secret.clone(),
            called: false,
            protocol: "SRT",
        };
        let sink = self.sinks.open(publish).map_err(|error| turned_away(&wish.stream, &error))?;
        let stream = wish.stream.short();
        self.notices.clear(&stream);
        let local = self.free_socket();
        let acceptance = handshake::acceptance(from, request, &accepted, local);
        let agreement = handshake::agreement(from, request, &accepted, local);
        let connection = Connection::new(self.clock.now(), agreement);
        let (to_link, queue) = mpsc::channel(QUEUE);
        let link =
            Link { connection, sink, socket: self.socket.clone(), clock: self.clock.clone(), stream, refused: 0 };
        let task = links.spawn(link.run(queue, shutdown.child_token()));
        self.send(from, &acceptance);
        self.driven.insert(task.id(), local);
        self.known.insert((from, request.socket), local);
        let peer = Peer { remote: from, source, socket: request.socket, acceptance, queue: to_link };
        self.connections.insert(local, peer);
        Ok(())
    }

    fn forget(&mut self, ended: Result<(Id, Over), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, _)) => id,
            Err(error) => {
                tracing::error!(err = %error, "an SRT connection failed; the others go on");
                error.id()
            }
        };
        if let Some(peer) = self.driven.remove(&id).and_then(|local| self.connections.remove(&local)) {
            self.known.remove(&(peer.remote, peer.socket));
        }
    }

    /// A socket number nobody has, hard to guess.
    fn free_socket(&self) -> u32 {
        let mut bytes = [0; 4];
        // Without randomness the numbers are merely easier to guess.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let mut socket = u32::from_be_bytes(bytes);
        loop {
            // Bit 30 marks groups in the reference library.
            socket = socket.wrapping_add(1) & 0x3FFF_FFFF;
            if socket != 0 && !self.connections.contains_key(&socket) {
                return socket;
            }
        }
    }

    fn send(&self, to: SocketAddr, datagram: &Bytes) {
        // What the socket does not take is lost as on the network: the peer asks again.
        let _ = self.socket.try_send_to(datagram, to);
    }
}

fn turned_away(stream: &StreamName, error: &PublishError) -> Rejected {
    match error {
        PublishError::Busy { .. } => Rejected::Conflict(error.to_string()),
        PublishError::Refused(Refusal::NotNear) => Rejected::Elsewhere(stream.short()),
        PublishError::Refused(Refusal::NotFromHere) => Rejected::Unlisted(stream.short()),
        PublishError::Refused(_) => Rejected::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_from_another_network_is_told_to_people_and_one_with_a_wrong_key_is_not() {
        let told = |refusal| {
            let why = turned_away(&StreamName::program(), &PublishError::Refused(refusal));
            (why.code(), why.problem().map(|(code, stream)| (code, stream.to_owned())), why.to_string())
        };
        for refusal in [Refusal::NotNear, Refusal::NotFromHere] {
            let (code, problem, words) = told(refusal);
            assert_eq!((code, problem), (2403, Some(("srt_sender_elsewhere", "pgm".to_owned()))));
            assert!(words.contains("[access] publish_from") && words.contains("place of the box's own"), "{words}");
        }
        assert!(told(Refusal::NotNear).2.contains("[srt] passphrase"));
        assert_eq!(told(Refusal::KeyWrong).1, None);
    }

    struct Nowhere;

    impl Sinks for Nowhere {
        fn open(&self, request: PublishRequest) -> Result<Box<dyn super::super::Sink>, PublishError> {
            Err(PublishError::Busy { stream: request.stream.short(), by: request.from })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_that_nobody_causes_any_more_leaves_the_board() {
        let (clock, time) = Clock::manual();
        let problems = Problems::default();
        let config = ListenerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            latency: Duration::from_millis(120),
            passphrase: Arc::new(|_| None),
            sources: Sources::default(),
        };
        let listener = Listener::bind(config, Arc::new(Nowhere), problems.clone(), clock.clone()).unwrap();
        listener.notices.raise(clock.now(), "srt_passphrase_unexpected", "pgn", "mistyped".into());
        let stop = CancellationToken::new();
        let running = tokio::spawn(listener.run(stop.clone()));
        time.advance(Duration::from_secs(20));
        tokio::time::sleep(SWEEP_EVERY * 2).await;
        assert_eq!(problems.list().len(), 1);
        time.advance(Duration::from_secs(10));
        tokio::time::sleep(SWEEP_EVERY * 2).await;
        assert_eq!(problems.list(), []);
        stop.cancel();
        running.await.unwrap();
    }
}
