//! The bodies of a connection: what comes in must come at some speed and not be too much at once, and what goes out
//! keeps the connection busy until it is taken.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::{BoxError, Error};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::{Busy, Place};
use crate::http::MOST_BODY_BYTES;

/// How long a request may be waited for at a time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What comes more slowly than this in bytes per second is held back on purpose: it is less than a modem's.
const SLOWEST: u64 = 500;

/// Bodies that are held for the requests of one connection: an update that streams in, and an offer beside it.
const MOST_HELD_BYTES: usize = 2 * MOST_BODY_BYTES;

/// An answer is handed over in pieces, so that it is known how much of it was taken.
const PIECE: usize = 16 << 10;

/// Marks an answer as part of the program, for which no memory is held.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct BuiltIn;

/// What is held for one request of its body, until it is answered.
#[derive(Debug)]
pub(super) struct Held {
    place: Arc<Place>,
    bytes: AtomicUsize,
}

impl Held {
    pub(super) fn new(place: Arc<Place>) -> Arc<Self> {
        Arc::new(Self { place, bytes: AtomicUsize::new(0) })
    }

    /// Takes so much more in; false where that is too much for the connection.
    fn take(&self, bytes: usize) -> bool {
        // Whoever takes more does not keep it.
        let before = self.bytes.load(Ordering::Relaxed);
        let more = bytes.min(MOST_BODY_BYTES.saturating_sub(before));
        self.bytes.fetch_add(more, Ordering::Relaxed);
        self.place.held.fetch_add(more, Ordering::Relaxed) + more <= MOST_HELD_BYTES
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.place.held.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// The body of a request that must not dawdle. What the box itself takes long for does not count.
pub(super) struct Punctual {
    body: Incoming,
    held: Arc<Held>,
    /// How long may still be waited.
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Punctual {
    pub(super) fn new(body: Incoming, held: Arc<Held>) -> Self {
        Self { body, held, left: PATIENCE, waiting: None }
    }
}

impl HttpBody for Punctual {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match pin!(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some((since, _)) = this.waiting.take() {
                    this.left = this.left.saturating_sub(since.elapsed());
                }
                if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                    // Nothing is saved up: what came quickly must not be held back at the end.
                    let earned = Duration::from_secs(data.len() as u64) / SLOWEST as u32;
                    this.left = (this.left + earned).min(PATIENCE);
                    if !this.held.take(data.len()) {
                        return Poll::Ready(Some(Err("too much comes at once over one connection".into())));
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
            }
            Poll::Pending => {
                let now = Instant::now();
                let left = this.left;
                let (_, end) = this.waiting.get_or_insert_with(|| (now, Box::pin(sleep_until(now + left))));
                ready!(end.as_mut().poll(cx));
                Poll::Ready(Some(Err("the request comes too slowly".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, for as long as which its connection is busy.
pub(super) struct Answering {
    body: Body,
    /// What was not handed over yet of what the body gave.
    rest: Bytes,
    _busy: Busy,
    _held: Arc<Held>,
}

impl Answering {
    pub(super) fn with(response: Response<Body>, mut busy: Busy, held: Arc<Held>) -> Response<Self> {
        let bytes = response.body().size_hint().lower();
        let is_built_in = response.extensions().get::<BuiltIn>().is_some();
        busy.owes(bytes, if is_built_in { 0 } else { usize::try_from(bytes).unwrap_or(usize::MAX) });
        response.map(|body| Self { body, rest: Bytes::new(), _busy: busy, _held: held })
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match ready!(pin!(&mut this.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(err)) => return Poll::Ready(Some(Err(err))),
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
