//! The bodies of a connection: what comes in must come at some speed, and what goes out keeps the connection busy.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::{BoxError, Error};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::Busy;

/// How long a request may be waited for in all, beside what its size allows.
const PATIENCE: Duration = Duration::from_secs(20);

/// What comes more slowly than this in bytes per second is held back on purpose: it is less than a modem's.
const SLOWEST: u64 = 500;

/// The body of a request that must not dawdle. What the box itself takes long for does not count.
pub(super) struct Punctual {
    body: Incoming,
    /// How long may still be waited.
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Punctual {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, left: PATIENCE, waiting: None }
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
                    this.left += Duration::from_secs(data.len() as u64) / SLOWEST as u32;
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
    pub(super) body: Body,
    pub(super) _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        pin!(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
