//! A listener on the box's WebSocket.

use super::{Result, now};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A page's socket without the page.
#[derive(Debug)]
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens `/ws/` of the box at `authority` (`host:port`).
    ///
    /// # Errors
    /// The box refuses.
    pub async fn open(authority: &str) -> Result<Self> {
        Self::open_at(&format!("ws://{authority}/ws/")).await
    }

    /// Opens any address.
    ///
    /// # Errors
    /// The box refuses.
    pub async fn open_at(url: &str) -> Result<Self> {
        let (socket, _) = tokio_tungstenite::connect_async(url).await?;
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_nodelay(true)?;
        }
        Ok(Self(socket))
    }

    /// Opens `/ws/` as a phone on a bad network does: little is on its way at a time.
    ///
    /// # Errors
    /// The box refuses.
    pub async fn open_narrow(authority: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let stream = MaybeTlsStream::Plain(socket.connect(authority.parse()?).await?);
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{authority}/ws/"), stream).await?;
        Ok(Self(socket))
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.send(Message::text(text.to_owned())).await?)
    }

    /// Sends any frame.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message).await?)
    }

    /// The next message and when it came; the close code when the box closes.
    ///
    /// # Errors
    /// Nothing within `within`, or the connection broke.
    pub async fn next(&mut self, within: Duration) -> Result<Event> {
        loop {
            let message = tokio::time::timeout(within, self.0.next())
                .await
                .map_err(|_| format!("no message within {within:?}"))?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Ok(Event::Message(now(), serde_json::from_str(text.as_str())?));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Ok(Event::Closed(frame.map_or(0, |frame| frame.code.into())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(Event::Closed(0)),
            }
        }
    }

    /// The next message of that type for which `matching` holds, and when it came.
    ///
    /// # Errors
    /// It did not come within `within`, or the box closed.
    pub async fn find(
        &mut self,
        kind: &str,
        within: Duration,
        mut matching: impl FnMut(&Value) -> bool,
    ) -> Result<(Instant, Value)> {
        let deadline = now() + within;
        loop {
            match self.next(deadline.saturating_duration_since(now())).await? {
                Event::Message(at, value) if value["type"] == kind && matching(&value) => return Ok((at, value)),
                Event::Message(..) => {}
                Event::Closed(code) => return Err(format!("the box closed the socket ({code})").into()),
            }
        }
    }

    /// Waits until the box closes; gives the close code (0 without one).
    ///
    /// # Errors
    /// It does not within `within`.
    pub async fn closed(&mut self, within: Duration) -> Result<u16> {
        let deadline = now() + within;
        loop {
            if let Event::Closed(code) = self.next(deadline.saturating_duration_since(now())).await? {
                return Ok(code);
            }
        }
    }
}

/// What a socket hears.
#[derive(Debug)]
pub enum Event {
    /// A message and when it came.
    Message(Instant, Value),
    /// The box closed, with that code.
    Closed(u16),
}

/// The tally of input `number` in a tally message.
pub fn tally_of(message: &Value, number: u64) -> Option<&str> {
    message["inputs"].as_array()?.iter().find(|input| input["number"] == number)?["tally"].as_str()
}
