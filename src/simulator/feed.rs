//! Sends the programme over SRT, as vMix's SRT output does.
//!
//! Owns: calling (for ever) or listening, the pace, and the faults as they show in a feed.
//! Does not own: what is sent (`programme`), how it is packed (`mux`).

use super::SimulatorError;
use super::mux::{Muxer, PACKET};
use super::programme::Programme;
use super::random::Random;
use super::studio::{Faults, Studio};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use srt_tokio::options::{ByteCount, Encryption, KeySize, Passphrase, SocketOptions, StreamId};
use srt_tokio::{SrtListener, SrtSocket};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

/// What goes into one SRT packet in live mode: seven transport stream packets.
const PAYLOAD: usize = 7 * PACKET;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Timestamps have 33 bits.
const LAST_PTS: u64 = (1 << 33) - 1;
/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);
/// A sender this late was stopped; it goes on in the present.
const TOO_LATE: Duration = Duration::from_secs(2);

/// One SRT output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// `host:port` to call or, as a listener, to listen at.
    pub address: String,
    /// Waits for calls instead of calling.
    pub listen: bool,
    /// Told when calling.
    pub stream_id: Option<String>,
    /// Encrypts; 10 to 79 bytes.
    pub passphrase: Option<String>,
    /// Bytes of the key: 16, 24 or 32.
    pub key_length: u16,
    /// The receiver's wait for lost packets; the larger of both ends' settings counts.
    pub latency: Duration,
    /// The first PTS, in 90 kHz ticks. Near 2³³ the wrap can be watched.
    pub first_pts: u64,
}

impl FeedConfig {
    /// Calls `address` (`host:port`), without a stream ID, unencrypted, with 120 ms.
    pub fn calling(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            listen: false,
            stream_id: None,
            passphrase: None,
            key_length: 16,
            latency: Duration::from_millis(120),
            // As ffmpeg's muxer begins.
            first_pts: 126_000,
        }
    }

    /// From `srt://host:port?mode=listener&streamid=pgm&passphrase=…&pbkeylen=16&latency=120&pts=8589754592`
    /// (latency in milliseconds, the first PTS in 90 kHz ticks), all of the query optional.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Feed`] if it is no such address.
    pub fn from_url(text: &str) -> Result<Self, SimulatorError> {
        let wrong = |reason: String| SimulatorError::Feed { feed: text.to_owned(), reason };
        let url = Url::parse(text).map_err(|err| wrong(err.to_string()))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port()) else {
            return Err(wrong("write it as srt://host:port".to_owned()));
        };
        if url.scheme() != "srt" {
            return Err(wrong("only srt:// is known".to_owned()));
        }
        let mut feed = Self::calling(format!("{host}:{port}"));
        for (name, value) in url.query_pairs() {
            let number = |most: u64| {
                let number = value.parse().ok().filter(|number| *number <= most);
                number.ok_or_else(|| wrong(format!("{name} is to be a number up to {most}, not {value:?}")))
            };
            match name.as_ref() {
                "mode" => match value.as_ref() {
                    "listener" => feed.listen = true,
                    "caller" => feed.listen = false,
                    _ => return Err(wrong(format!("mode {value:?} is neither caller nor listener"))),
                },
                "streamid" => feed.stream_id = Some(value.into_owned()),
                "passphrase" => feed.passphrase = Some(value.into_owned()),
                "pbkeylen" => feed.key_length = u16::try_from(number(32)?).unwrap_or_default(),
                "latency" => feed.latency = Duration::from_millis(number(60_000)?),
                "pts" => feed.first_pts = number(LAST_PTS)?,
                _ => return Err(wrong(format!("{name} is unknown here"))),
            }
        }
        feed.options()?;
        Ok(feed)
    }

    /// # Errors
    ///
    /// [`SimulatorError::Feed`] if SRT does not take them.
    fn options(&self) -> Result<SocketOptions, SimulatorError> {
        let wrong = |reason: String| SimulatorError::Feed { feed: self.address.clone(), reason };
        let key_size = KeySize::try_from(self.key_length).map_err(|err| wrong(err.to_string()))?;
        let passphrase = self.passphrase.clone().map(Passphrase::try_from).transpose();
        let passphrase = passphrase.map_err(|err| wrong(err.to_string()))?;
        if let Some(stream_id) = &self.stream_id {
            StreamId::try_from(stream_id.clone()).map_err(|err| wrong(err.to_string()))?;
        }
        let mut options = SocketOptions::default();
        if passphrase.is_some() {
            options.encryption = Encryption { key_size, passphrase, ..options.encryption };
        }
        // The default holds 35 packets; when one picture needs more, srt-protocol 0.4.4 drops what it has not sent yet
        // and never sends again.
        options.sender.buffer_size = ByteCount(8 * 1024 * 1024);
        options.sender.peer_latency = self.latency;
        options.receiver.latency = self.latency;
        Ok(options)
    }
}

/// A feed that is ready to run.
pub(super) struct Feed {
    config: FeedConfig,
    options: SocketOptions,
    listener: Option<UdpSocket>,
    /// Where it listens.
    pub(super) address: Option<SocketAddr>,
    studio: Arc<Studio>,
}

impl Feed {
    /// Binds a listener's socket; a caller binds when it calls.
    pub(super) async fn new(config: FeedConfig, studio: Arc<Studio>) -> Result<Self, SimulatorError> {
        let options = config.options()?;
        let (mut listener, mut address) = (None, None);
        if config.listen {
            let bind = |source| SimulatorError::Bind { what: "SRT", address: config.address.clone(), source };
            let socket = UdpSocket::bind(&config.address).await.map_err(bind)?;
            address = Some(socket.local_addr().map_err(bind)?);
            listener = Some(socket);
        }
        Ok(Self { config, options, listener, address, studio })
    }

    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        if self.config.listen { self.listen().await } else { self.call().await }
    }

    async fn call(self) {
        let (mut source, mut faults) = (Source::new(&self.config), self.studio.faults());
        let (mut pause, mut told) = (FIRST_PAUSE, false);
        while faults.wait_for(|faults| !faults.down).await.is_ok() {
            match self.connect().await {
                Ok(socket) => {
                    tracing::info!(peer = %self.config.address, "feed connected");
                    (pause, told) = (FIRST_PAUSE, false);
                    source.send(socket, &self.studio).await;
                    tracing::info!(peer = %self.config.address, "feed disconnected");
                }
                Err(err) => {
                    // The crate says nothing when nobody answers.
                    let err = if err.kind() == io::ErrorKind::TimedOut {
                        "nobody answers there".into()
                    } else {
                        err.to_string()
                    };
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(peer = %self.config.address, %err, "feed cannot connect; trying again for ever");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn connect(&self) -> io::Result<SrtSocket> {
        let mut addresses = tokio::net::lookup_host(&self.config.address).await?;
        let remote = addresses.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let options = self.options.clone();
        let builder = SrtSocket::builder().set(|socket| *socket = options);
        builder.call(remote, self.config.stream_id.as_deref()).await
    }

    async fn listen(mut self) {
        let mut faults = self.studio.faults();
        let (Some(address), mut socket) = (self.address, self.listener.take()) else { return };
        while faults.wait_for(|faults| !faults.down).await.is_ok() {
            let ended = tokio::select! {
                ended = self.take_calls(address, socket.take()) => ended,
                _ = faults.wait_for(|faults| faults.down) => Ok(()),
            };
            if let Err(err) = ended {
                tracing::warn!(%address, %err, "feed cannot listen");
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        }
    }

    async fn take_calls(&self, address: SocketAddr, socket: Option<UdpSocket>) -> io::Result<()> {
        let socket = match socket {
            Some(socket) => socket,
            None => UdpSocket::bind(address).await?,
        };
        let options = self.options.clone();
        let builder = SrtListener::builder().set(|socket| *socket = options).socket(socket);
        let (_listener, mut incoming) = builder.bind(address).await?;
        while let Some(request) = incoming.incoming().next().await {
            match request.accept(None).await {
                Ok(socket) => {
                    let (mut source, studio) = (Source::new(&self.config), self.studio.clone());
                    self.studio.spawn(async move { source.send(socket, &studio).await });
                }
                Err(err) => tracing::warn!(%err, "feed cannot take a call"),
            }
        }
        Ok(())
    }
}

/// The programme, packed; goes on where it was when a connection is made again.
struct Source {
    programme: Programme,
    muxer: Muxer,
}

impl Source {
    fn new(config: &FeedConfig) -> Self {
        Self { programme: Programme::new(config.first_pts), muxer: Muxer::default() }
    }

    /// Sends until the connection is lost or dropped by a fault.
    async fn send(&mut self, socket: SrtSocket, studio: &Studio) {
        let mut faults = studio.faults();
        let (dropped, connected) = (faults.borrow_and_update().feeds_dropped, Connected::new(studio));
        let mut socket = Socket { socket: Some(socket), faults: studio.faults(), tasks: studio.tasks.clone() };
        let lost = async {
            let _ = faults.wait_for(|faults| faults.down || faults.feeds_dropped != dropped).await;
        };
        tokio::select! {
            ended = self.pace(&mut socket) => if let Err(err) = ended {
                tracing::debug!(%err, "feed ended");
            },
            () = lost => {}
        }
        drop(connected);
    }

    async fn pace(&mut self, socket: &mut Socket) -> io::Result<()> {
        let mut garbage = socket.faults.borrow().garbage_feeds;
        let mut zero = self.begin();
        let mut out = Vec::new();
        loop {
            self.programme.set_b_frames(socket.faults.borrow().b_frames);
            let unit = self.programme.next();
            let due = zero + ticks(unit.due);
            tokio::time::sleep_until(due).await;
            let silent = socket.faults.borrow().silent;
            if silent {
                socket.faults.wait_for(|faults| !faults.silent).await.map_err(io::Error::other)?;
            }
            let now = Instant::now();
            if silent || now > due + TOO_LATE {
                zero = self.begin();
                continue;
            }
            out.clear();
            let wanted = socket.faults.borrow().garbage_feeds;
            if wanted != garbage {
                garbage = wanted;
                out = Random::new(wanted).bytes(20 * PACKET + 100);
            }
            self.muxer.write(&unit, &mut out);
            socket.send(now, &out).await?;
        }
    }

    /// Begins with an IDR now; answers when the timeline's beginning would have been.
    fn begin(&mut self) -> Instant {
        let now = Instant::now();
        let next = ticks(self.programme.skip_to_random_access());
        now.checked_sub(next).unwrap_or(now)
    }
}

/// A connection that says goodbye when it is dropped, so that the other side need not wait for its time-out.
struct Socket {
    socket: Option<SrtSocket>,
    faults: watch::Receiver<Faults>,
    tasks: TaskTracker,
}

impl Socket {
    async fn send(&mut self, now: Instant, stream: &[u8]) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        for payload in stream.chunks(PAYLOAD) {
            socket.feed((now.into_std(), Bytes::copy_from_slice(payload))).await?;
        }
        socket.flush().await
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Without a runtime there is nobody left to send it.
        if let (Some(mut socket), Ok(runtime)) = (self.socket.take(), Handle::try_current()) {
            let goodbye = async move { tokio::time::timeout(GOODBYE, socket.close_and_finish()).await };
            self.tasks.spawn_on(goodbye, &runtime);
        }
    }
}

/// Counts a feed for as long as it is connected.
struct Connected<'a>(&'a Studio);

impl<'a> Connected<'a> {
    fn new(studio: &'a Studio) -> Self {
        studio.connected_feeds.fetch_add(1, Ordering::Relaxed);
        Self(studio)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected_feeds.fetch_sub(1, Ordering::Relaxed);
    }
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(100_000) / 9)
}
