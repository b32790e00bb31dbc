//! The caller: the box fetches a stream from a listener elsewhere.
//!
//! Owns: calling a source for ever, by name or address, and the socket for it. Does not own: how
//! its address is written (`settings`), the handshake's rules (`calling`), a connection's protocol
//! (`connection`) or its payload (`ingest`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::calling::{Calling, Failed, Progress, Request};
use super::connection::{Agreement, Connection, Ended};
use super::ingest::{Sink, Sinks};
use super::keys::{BadPassphrase, KEY_ENTROPY, StreamKeys};
use super::link::{Link, Over, QUEUE};
use super::notices::canonical;
use super::screen::{self, Body, LONGEST_STREAM_ID};
use super::socket::{self, Reader};
use crate::clock::Clock;
use crate::hub::PublishRequest;
use crate::media::StreamName;
use crate::problems::{Problem, Problems};

/// The problem of a source that has not been reached for a while.
const UNREACHABLE: &str = "srt_source_unreachable";
/// How long that while is.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a question is repeated, and when it is given up.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_FOR: Duration = Duration::from_secs(3);

/// A source the box calls: a listener that sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
    /// The stream ID, as it goes on the wire; at most 512 bytes.
    pub stream_id: Option<String>,
    /// The passphrase: 10 to 79 characters.
    pub passphrase: Option<String>,
    /// The size of the keys, in bytes: 16, 24 or 32.
    pub key_bytes: usize,
    /// The latency with which the box receives, where it differs from its own.
    pub latency: Option<Duration>,
}

/// A source of the box's choice, to be run for as long as the box runs.
pub struct Caller {
    /// The stream it feeds.
    pub stream: StreamName,
    /// Where it is.
    pub address: CallAddress,
    /// The latency with which the box receives, where the address names none.
    pub latency: Duration,
    /// Where its payload goes.
    pub sinks: Arc<dyn Sinks>,
    /// The board of problems.
    pub problems: Problems,
    /// The time.
    pub clock: Clock,
}

/// What a caller has told about its failing.
#[derive(Debug, Default)]
struct Told {
    /// In the log.
    text: String,
    /// On the board.
    problem: Option<&'static str>,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{host:?} is not found: {source}")]
    Name { host: String, source: std::io::Error },
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    #[error("no answer from {0}")]
    Silence(SocketAddr),
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error(transparent)]
    Passphrase(#[from] BadPassphrase),
    #[error("{0}")]
    Refused(String),
    #[error("the system gives no random numbers")]
    Entropy,
}

impl Caller {
    /// Calls, receives, and calls again, until `shutdown`; then takes its problem off the board. Two
    /// callers of one stream must not run at once, for they would have one problem between them.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut told = Told::default();
        self.keep_calling(shutdown, &mut told).await;
        self.clear(&mut told);
    }

    async fn keep_calling(&self, shutdown: CancellationToken, told: &mut Told) {
        let mut pause = FIRST_PAUSE;
        let mut failing_since: Option<Instant> = None;
        loop {
            let called = tokio::select! {
                () = shutdown.cancelled() => return,
                called = self.call() => called,
            };
            match called {
                Ok((link, socket)) => {
                    (pause, failing_since) = (FIRST_PAUSE, None);
                    self.clear(told);
                    if receive(link, socket, shutdown.child_token()).await == Over::Stopped {
                        return;
                    }
                }
                Err(error) => {
                    let now = self.clock.now();
                    let since = *failing_since.get_or_insert(now);
                    self.tell(&error, now.saturating_duration_since(since), told);
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One call to every address the name has, in turn.
    async fn call(&self) -> Result<(Link, Arc<UdpSocket>), CallError> {
        let (host, port) = (self.address.host.as_str(), self.address.port);
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|source| CallError::Name { host: host.to_owned(), source })?;
        let nobody = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        let mut failed = CallError::Name { host: host.to_owned(), source: nobody() };
        for remote in found {
            match self.call_one(remote).await {
                Err(error @ (CallError::Silence(_) | CallError::Socket(_))) => failed = error,
                other => return other,
            }
        }
        Err(failed)
    }

    async fn call_one(&self, remote: SocketAddr) -> Result<(Link, Arc<UdpSocket>), CallError> {
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = socket::bind(any)?;
        // Only the peer is heard, and an address where nobody listens says so at once.
        socket.connect(remote).await?;
        let socket = Arc::new(socket);
        let calling = Calling::new(self.request(remote)?);
        let agreement = tokio::time::timeout(ASK_FOR, ask(calling, &socket)).await;
        let agreement = agreement.map_err(|_| CallError::Silence(canonical(remote)))??;
        let mut connection = Connection::new(self.clock.now(), agreement);
        match self.open(remote) {
            Ok(sink) => {
                let (clock, stream) = (self.clock.clone(), self.stream.short());
                Ok((Link { connection, sink, socket: socket.clone(), clock, stream, refused: 0 }, socket))
            }
            Err(error) => {
                connection.close(self.clock.now());
                while let Some(farewell) = connection.poll_transmit() {
                    let _ = socket.send(&farewell).await;
                }
                Err(error)
            }
        }
    }

    fn open(&self, remote: SocketAddr) -> Result<Box<dyn Sink>, CallError> {
        let request = PublishRequest {
            stream: self.stream.clone(),
            from: canonical(remote),
            secret: None,
            called: true,
            protocol: "SRT",
        };
        self.sinks.open(request).map_err(|error| CallError::Refused(error.to_string()))
    }

    fn request(&self, remote: SocketAddr) -> Result<Request, CallError> {
        let mut random = [0; 8 + KEY_ENTROPY];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| CallError::Entropy)?;
        let (ids, entropy) = random.split_first_chunk::<8>().ok_or(CallError::Entropy)?;
        let entropy = entropy.first_chunk::<KEY_ENTROPY>().ok_or(CallError::Entropy)?;
        let ids = u64::from_be_bytes(*ids);
        let keys = match &self.address.passphrase {
            Some(passphrase) => Some(StreamKeys::make(passphrase, self.address.key_bytes, entropy)?),
            None => None,
        };
        Ok(Request {
            remote,
            local_socket: (ids >> 32) as u32 & 0x3FFF_FFFF | 1,
            initial_sequence: ids as u32 & screen::SEQUENCE_MASK,
            // A longer one would not fit the packet.
            stream_id: self.address.stream_id.clone().filter(|id| !id.is_empty() && id.len() <= LONGEST_STREAM_ID),
            latency: self.address.latency.unwrap_or(self.latency),
            keys,
        })
    }

    fn tell(&self, error: &CallError, failing_for: Duration, told: &mut Told) {
        let (stream, text) = (self.stream.short(), error.to_string());
        if told.text != text {
            tracing::warn!(stream, host = self.address.host, "SRT source not reached: {text}; trying on");
            text.clone_into(&mut told.text);
        }
        let problem = match error {
            CallError::Failed(failed) => failed.problem(),
            _ => None,
        };
        let problem = problem.or((failing_for >= PATIENCE).then_some(UNREACHABLE));
        if let Some(before) = told.problem.filter(|before| Some(*before) != problem) {
            self.problems.clear(before, &stream);
        }
        told.problem = problem;
        if let Some(code) = problem {
            let text = format!("The source of stream {stream:?} at {} cannot be had: {text}.", self.address.host);
            self.problems.raise(Problem { code, subject: stream, text });
        }
    }

    fn clear(&self, told: &mut Told) {
        if let Some(code) = std::mem::take(told).problem {
            self.problems.clear(code, &self.stream.short());
        }
    }
}

/// Asks until there is an answer.
async fn ask(mut calling: Calling, socket: &UdpSocket) -> Result<Agreement, CallError> {
    let mut reader = Reader::default();
    loop {
        socket.send(&calling.asking()).await?;
        let again = tokio::time::sleep(ASK_EVERY);
        tokio::pin!(again);
        let before = calling.asking();
        while calling.asking() == before {
            tokio::select! {
                () = &mut again => break,
                ready = reader.ready(socket) => ready?,
            }
            let mut progress = Progress::Waiting;
            reader.drain(socket, |_, datagram| {
                if let (Progress::Waiting, Ok(Body::Handshake(answer))) =
                    (&progress, screen::screen(&datagram).map(|datagram| datagram.body))
                {
                    progress = calling.handle(&answer);
                }
            });
            match progress {
                Progress::Waiting => {}
                Progress::Connected(agreement) => return Ok(*agreement),
                Progress::Failed(failed) => return Err(failed.into()),
            }
        }
    }
}

/// Receives until the connection ends.
async fn receive(link: Link, socket: Arc<UdpSocket>, stop: CancellationToken) -> Over {
    let (to_link, queue) = mpsc::channel(QUEUE);
    let (clock, local) = (link.clock.clone(), link.connection.agreement().local_socket);
    let feed = async {
        let mut reader = Reader::default();
        while reader.ready(&socket).await.is_ok() {
            reader.drain(&socket, |_, datagram| {
                if screen::destination(&datagram) == Some(local) {
                    // A full queue drops like a full socket buffer: the protocol asks again.
                    let _ = to_link.try_send((clock.now(), datagram));
                }
            });
        }
    };
    // A task of its own, like a connection that came in: whatever befalls it ends it alone.
    let mut work = tokio::spawn(link.run(queue, stop));
    let over = tokio::select! {
        over = &mut work => over,
        () = feed => work.await,
    };
    over.unwrap_or_else(|error| {
        tracing::error!(err = %error, "an SRT connection failed; it is called again");
        Over::Ended(Ended::ByUs)
    })
}

/// A pause between three and five quarters of what it should be, so that boxes do not call in step.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause * (192 + u32::from(byte[0]) / 2) / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::PublishError;

    struct Nowhere;

    impl Sinks for Nowhere {
        fn open(&self, request: PublishRequest) -> Result<Box<dyn Sink>, PublishError> {
            Err(PublishError::Busy { stream: request.stream.short(), by: request.from })
        }
    }

    /// A caller of a port where nobody listens.
    fn caller(problems: &Problems, clock: Clock) -> Caller {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = CallAddress {
            host: "127.0.0.1".into(),
            port: nobody.port(),
            stream_id: None,
            passphrase: None,
            key_bytes: 16,
            latency: None,
        };
        Caller {
            stream: "cam1".parse().unwrap(),
            address,
            latency: Duration::from_millis(20),
            sinks: Arc::new(Nowhere),
            problems: problems.clone(),
            clock,
        }
    }

    fn codes(problems: &Problems) -> Vec<&'static str> {
        problems.list().into_iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn another_cause_replaces_the_problem_on_the_board() {
        let problems = Problems::default();
        let (caller, mut told) = (caller(&problems, Clock::manual().0), Told::default());
        let silence = CallError::Silence(([192, 0, 2, 1], 1).into());
        let mut tell = |error: &CallError, failing_for| {
            caller.tell(error, failing_for, &mut told);
            codes(&problems)
        };
        assert_eq!(tell(&Failed::WrongPassphrase.into(), Duration::ZERO), ["srt_passphrase_wrong"]);
        assert_eq!(tell(&Failed::UnexpectedPassphrase.into(), Duration::ZERO), ["srt_passphrase_unexpected"]);
        assert_eq!(tell(&silence, Duration::ZERO), [] as [&str; 0]);
        assert_eq!(tell(&silence, PATIENCE), [UNREACHABLE]);
        assert_eq!(tell(&Failed::WrongPassphrase.into(), PATIENCE), ["srt_passphrase_wrong"]);
        // What a sender that calls the box has caused is not this caller's to clear.
        problems.raise(Problem { code: "srt_passphrase_missing", subject: "cam1".into(), text: String::new() });
        caller.clear(&mut told);
        assert_eq!(codes(&problems), ["srt_passphrase_missing"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_not_called_any_more_has_no_problem() {
        let (clock, time) = Clock::manual();
        let problems = Problems::default();
        let stop = CancellationToken::new();
        let running = tokio::spawn(caller(&problems, clock).run(stop.clone()));
        for _ in 0..100 {
            time.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(codes(&problems), [UNREACHABLE]);
        stop.cancel();
        running.await.unwrap();
        assert_eq!(problems.list(), []);
    }

    #[test]
    fn pauses_grow_to_two_seconds_and_jitter() {
        for _ in 0..100 {
            let pause = jittered(LONGEST_PAUSE);
            assert!(pause >= LONGEST_PAUSE * 3 / 4 && pause <= LONGEST_PAUSE * 5 / 4, "{pause:?}");
        }
    }
}
