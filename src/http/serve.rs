//! Connections of browsers and programs, plain or over TLS, HTTP/1.1 or HTTP/2: accepted, bounded, served, ended.
//!
//! Owns: how many there may be and how slow they may be (RFC 9110 leaves both to the server), and what every request
//! is told of its connection ([`Caller`]). Does not own: what is answered (the router), nor certificates.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::caller::{Caller, Proxies};
use super::turn;
use super::unvouched::Unvouched;
use crate::tls::ACME_TLS;
pub(super) use body::BuiltIn;
use body::{Answering, Held, Punctual};
pub use connections::Connections;
use connections::{FIRST_REQUEST_WITHIN, Place};

mod body;
pub(super) mod connections;
#[cfg(test)]
mod tests;

/// What may wait unsent for one connection: a message or two, so that the next one is the newest.
const MOST_UNSENT_BYTES: u32 = 4 << 10;

/// A peer that acknowledges nothing for this long is gone (RFC 5482).
const PEER_GONE_AFTER: Duration = Duration::from_secs(5);

/// The head of a request, and what is read of a body at once.
const MOST_BUFFERED: usize = 16 << 10;

/// Requests at once over one connection of HTTP/2, and what may come in of all their bodies before it is looked at.
const MOST_STREAMS: u32 = 8;
const MOST_STREAM_BYTES: u32 = 32 << 10;
const MOST_CONNECTION_BYTES: u32 = 64 << 10;
const MOST_HEADER_BYTES: u32 = 8 << 10;
/// What waits unsent for each of them.
const MOST_ANSWER_BYTES: usize = 16 << 10;
/// Requests that are taken back before they were looked at, and those that broke the rules: beyond, the connection is
/// closed (CVE-2023-44487 and its kin). A browser has at most as many as it may have at once.
const MOST_TAKEN_BACK: usize = 2 * MOST_STREAMS as usize;
const MOST_BROKEN: usize = 8 * MOST_STREAMS as usize;

/// The name of HTTP/2 over TLS (RFC 9113 §3.2). Without TLS no browser speaks it, and neither does the box.
const HTTP_2: &[u8] = b"h2";

/// How often connections are looked at that have nothing to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first byte of STUN's messages, with which every client of TURN begins, is no greater (RFC 7983 §7); no letter of
/// HTTP is so small.
const HIGHEST_OF_STUN: u8 = 3;

/// Where connections come in.
pub struct Door {
    /// Where they are accepted.
    pub listener: TcpListener,
    /// With what they are encrypted; `None`: they are not.
    pub tls: Option<Tls>,
}

/// How connections are encrypted, and what they may be.
#[derive(Clone)]
pub struct Tls {
    /// The certificates.
    pub config: Arc<ServerConfig>,
    /// Who serves those that turn out to be TURN (RFC 8656); `None`: nobody.
    pub relay: Option<turn::Handle>,
    /// Whether they may be HTTP.
    pub pages: bool,
}

impl Tls {
    /// The same, but that HTTP/2 is not offered (RFC 7301 §3.2).
    fn without_http_2(&self) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols.retain(|protocol| protocol != HTTP_2);
        Self { config: Arc::new(config), ..self.clone() }
    }
}

/// What every connection is served with.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) router: Router,
    pub(super) proxies: Arc<Proxies>,
    pub(super) unvouched: Unvouched,
    pub(super) connections: Connections,
    /// From where somebody watches now, once for each.
    pub(super) viewers: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
}

impl Server {
    /// Serves until `shutdown` resolves, then lets open requests finish.
    pub(super) async fn run(self, doors: Vec<Door>, shutdown: impl Future<Output = ()>) {
        let (connections, stopping, open) = (self.connections.clone(), CancellationToken::new(), TaskTracker::new());
        for door in doors {
            let (server, connections, stopping) = (self.clone(), connections.clone(), stopping.clone());
            let tasks = open.clone();
            open.spawn(async move {
                let accepting = server.accept(door, connections, &stopping, &tasks);
                stopping.run_until_cancelled(accepting).await;
            });
        }
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = pin!(shutdown.fuse());
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = look.tick() => {
                    connections.watched_from((self.viewers)());
                    connections.close_overdue();
                    self.unvouched.forget();
                }
            }
        }
        stopping.cancel();
        open.close();
        open.wait().await;
    }

    async fn accept(&self, door: Door, connections: Connections, stopping: &CancellationToken, open: &TaskTracker) {
        let Door { listener, tls } = door;
        let without_http_2 = tls.as_ref().map(Tls::without_http_2);
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(err) if of_one_connection(&err) => continue,
                Err(err) => {
                    // Out of descriptors, most likely: some will be given back.
                    tracing::warn!(%err, "no connection can be accepted now");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Dropped at once, this costs no more than its packets.
            let Some(place) = connections.admit(peer.ip(), !self.proxies.trusts(peer.ip())) else {
                tracing::debug!(%peer, "too many connections");
                continue;
            };
            freshen(&stream);
            let tls = if connections.has_room_for_http_2() { &tls } else { &without_http_2 };
            let (server, tls, stopping) = (self.clone(), tls.clone(), stopping.clone());
            open.spawn(async move {
                let closed = place.clone();
                tokio::select! {
                    () = server.connection(stream, peer, tls, place, stopping) => {}
                    () = closed.closed() => tracing::trace!(%peer, "closed: it had nothing to do, or others had less"),
                }
            });
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Tls>,
        place: Arc<Place>,
        stopping: CancellationToken,
    ) {
        let Some(tls) = tls else { return self.http_1(stream, None, peer, false, place, stopping).await };
        let local = stream.local_addr();
        let handshake = stopping.run_until_cancelled(TlsAcceptor::from(tls.config).accept(stream));
        match tokio::time::timeout(FIRST_REQUEST_WITHIN, handshake).await {
            // An ACME server has seen what it looked for, and says nothing (RFC 8737 §3).
            Ok(Some(Ok(stream))) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {}
            Ok(Some(Ok(mut stream))) => {
                let first = stopping.run_until_cancelled(stream.read_u8()).await;
                let Some(Ok(first)) = first else { return };
                match (first <= HIGHEST_OF_STUN, tls.relay, local) {
                    (true, Some(relay), Ok(local)) => {
                        place.taken_over();
                        turn::prepare(stream.get_ref().0);
                        let relayed = relay.serve(Placed::new(stream, Some(first), place), peer, local);
                        stopping.run_until_cancelled(relayed).await;
                    }
                    (false, ..) if tls.pages && stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
                        self.http_2(stream, first, peer, place, stopping).await;
                    }
                    (false, ..) if tls.pages => self.http_1(stream, Some(first), peer, true, place, stopping).await,
                    _ => tracing::debug!(%peer, "neither a page nor a relay is wanted"),
                }
            }
            Ok(Some(Err(err))) => tracing::debug!(%peer, %err, "no TLS connection"),
            Ok(None) | Err(_) => {}
        }
    }

    async fn http_1(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        first: Option<u8>,
        peer: SocketAddr,
        encrypted: bool,
        place: Arc<Place>,
        stopping: CancellationToken,
    ) {
        let stream = TokioIo::new(Placed::new(stream, first, place.clone()));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(connections::IDLE_FOR).max_buf_size(MOST_BUFFERED);
        let connection = builder.serve_connection(stream, self.service(peer, encrypted, place)).with_upgrades();
        until_it_ends(connection, peer, stopping, |connection| connection.graceful_shutdown()).await;
    }

    async fn http_2(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        first: u8,
        peer: SocketAddr,
        place: Arc<Place>,
        stopping: CancellationToken,
    ) {
        if !place.speaks_http_2() {
            return tracing::debug!(%peer, "too many connections of HTTP/2");
        }
        let stream = TokioIo::new(Placed::new(stream, Some(first), place.clone()));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .initial_stream_window_size(MOST_STREAM_BYTES)
            .initial_connection_window_size(MOST_CONNECTION_BYTES)
            .max_send_buf_size(MOST_ANSWER_BYTES)
            .max_header_list_size(MOST_HEADER_BYTES)
            .max_pending_accept_reset_streams(MOST_TAKEN_BACK)
            .max_local_error_reset_streams(MOST_BROKEN)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let connection = builder.serve_connection(stream, self.service(peer, true, place));
        until_it_ends(connection, peer, stopping, |connection| connection.graceful_shutdown()).await;
    }

    fn service(
        self,
        peer: SocketAddr,
        encrypted: bool,
        place: Arc<Place>,
    ) -> impl HttpService<Incoming, ResBody = Answering, Error = hyper::Error, Future: Send> {
        hyper::service::service_fn(move |request: Request<Incoming>| {
            self.unvouched.look(peer.ip(), request.headers(), &self.proxies);
            let caller = Caller::new(peer.ip(), encrypted, request.headers(), &self.proxies);
            answer(self.router.clone(), request, caller, place.clone())
        })
    }
}

/// Serves a connection until it ends; `end` ends it after what is being answered.
async fn until_it_ends<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    peer: SocketAddr,
    stopping: CancellationToken,
    end: impl Fn(Pin<&mut C>),
) {
    let mut connection = pin!(connection);
    let mut stopping = pin!(stopping.cancelled().fuse());
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(err) = ended {
                    tracing::trace!(%peer, %err, "a connection broke");
                }
                return;
            }
            () = &mut stopping => end(connection.as_mut()),
        }
    }
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    caller: Caller,
    place: Arc<Place>,
) -> hyper::Result<Response<Answering>> {
    let (busy, held) = (place.asked(), Held::new(place.clone()));
    // Who is asked stands in one place: HTTP/2 has it in `:authority`, which is the stronger (RFC 9113 §8.3.1, and for
    // HTTP/1.1 RFC 9112 §3.2.2).
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    request.extensions_mut().insert(caller);
    let response = router.oneshot(request.map(|body| Body::new(Punctual::new(body, held.clone())))).await;
    let response = response.unwrap_or_else(|never| match never {});
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        place.taken_over();
    }
    Ok(Answering::with(response, busy, held))
}

/// Keeps a connection from holding back the newest state or playing old ones: nothing waits for an
/// acknowledgement (RFC 896), little waits unsent in the kernel, and a peer that is gone is given up.
fn freshen(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_notsent_lowat(MOST_UNSENT_BYTES))
        .and_then(|()| socket.set_tcp_user_timeout(Some(PEER_GONE_AFTER)));
    if let Err(err) = set {
        tracing::debug!(%err, "a connection keeps its defaults");
    }
}

/// Whether accepting failed for the sake of the one connection that was to be accepted.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A stream with its place, which is so kept after an upgrade too, and with what was read of it to see what it is. When
/// the place goes to another it ends, for whoever has it by then.
struct Placed<S> {
    stream: S,
    first: Option<u8>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    place: Arc<Place>,
}

impl<S> Placed<S> {
    fn new(stream: S, first: Option<u8>, place: Arc<Place>) -> Self {
        Self { stream, first, closed: Box::pin(place.close.clone().cancelled_owned()), place }
    }

    fn gone(&self) -> Option<io::Error> {
        self.place.close.is_cancelled().then(|| io::ErrorKind::ConnectionAborted.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(gone) = self.gone() {
            return Poll::Ready(Err(gone));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(gone) = self.gone() {
            return Poll::Ready(Err(gone));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
