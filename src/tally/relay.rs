//! The relay: to lights that speak vMix's TCP API the box is a vMix.
//!
//! Owns: the listening socket and the lights' connections; who is told a line unasked, and when everybody is sent away.
//! Does not own: the wording (`dialogue`), the words themselves (`verbatim`): the box's one connection to vMix serves
//! every light. A slow light finds the newest line, never a backlog.
//!
//! vMix's protocol has no word for "unknown". So while tally is unknown nobody is connected: a light that shows that it
//! has lost vMix shows the truth, and none is kept on red by an old line.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::verbatim::{Verbatim, Words};
use crate::access::{Access, Action, Asker, Grant, Request as Question, Sources};
use crate::clock::Clock;
use crate::problems::{Addresses, Problems};

pub mod dialogue;

use dialogue::{Lines, Request};

/// Lights at once; a further one is sent away.
pub const MOST_LIGHTS: usize = 1000;

/// Lights at once from one source: more than hang on one computer or behind one router, and few enough that a program
/// that opens connections without end leaves room for the others.
pub const MOST_OF_ONE_ADDRESS: usize = 250;

/// As many lights of one source never give way to others: what hangs on one computer, mostly.
const NEVER_GIVE_WAY: usize = 32;

/// Within this time after vMix was last heard every light is sent away.
const PROMISE: Duration = Duration::from_secs(2);
/// Words older than this are none, whatever the client of vMix believes. It gives up first (`protocol::SILENCE`).
const OLD_AFTER: Duration = Duration::from_millis(1750);
/// How often their age is looked at, at least.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const _: () = assert!(OLD_AFTER.as_millis() + LOOK_EVERY.as_millis() < PROMISE.as_millis());
const _: () = assert!(super::protocol::SILENCE.as_millis() < OLD_AFTER.as_millis());
/// Lights that are sent away come back at once, some of them without a pause.
const SENT_AWAY_PAUSE: Duration = Duration::from_millis(5);
/// A light that takes no answer for so long is dropped.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// One that has not subscribed and asks nothing for so long is dropped.
const IDLE: Duration = Duration::from_secs(60);
/// What may wait unsent for one light: a line or two, so that the next one is the newest.
const MOST_UNSENT_BYTES: u32 = 4 << 10;
/// How often it is said that lights may not be told.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// A light that acknowledges nothing for so long is gone (RFC 5482).
const GONE_AFTER: Duration = Duration::from_secs(5);
/// A light that is silent is asked by TCP whether it is there (RFC 9293 §3.8.4).
const ASK_AFTER: Duration = Duration::from_secs(5);

/// The relay. Make it, then [`run`](Relay::run) it.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    words: Words,
    access: Access,
    sources: Sources,
    clock: Clock,
    lights: JoinSet<()>,
    /// By source, the oldest first.
    by_source: HashMap<IpAddr, Vec<AbortHandle>>,
    refused: Refused,
    elsewhere: Addresses,
    most: usize,
    most_of_one: usize,
    never_give_way: usize,
}

impl Relay {
    /// A relay of `words` on a socket that listens.
    pub fn new(listener: TcpListener, words: Words, access: Access, problems: Problems, clock: Clock) -> Self {
        Self {
            listener,
            words,
            sources: access.sources(),
            access,
            elsewhere: Addresses::new("light_elsewhere", problems, clock.clone()),
            clock,
            lights: JoinSet::new(),
            by_source: HashMap::new(),
            refused: Refused::default(),
            most: MOST_LIGHTS,
            most_of_one: MOST_OF_ONE_ADDRESS,
            never_give_way: NEVER_GIVE_WAY,
        }
    }

    /// Serves lights until the shutdown. Ends for no other reason.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            self.elsewhere.forget();
            let live = self.is_live();
            if !live && !self.lights.is_empty() {
                tracing::info!(lights = self.lights.len(), "tally is unknown: the network lights are sent away");
                self.lights.shutdown().await;
                self.by_source.clear();
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Ok(()) = self.words.changed() => {}
                Some(_) = self.lights.join_next() => {
                    self.by_source.retain(|_, lights| {
                        lights.retain(|light| !light.is_finished());
                        !lights.is_empty()
                    });
                }
                accepted = self.listener.accept() => match accepted {
                    // Looked at again: what is true now may not have been before a light came.
                    Ok((light, peer)) => {
                        if !self.welcome(light, peer) {
                            tracing::debug!(%peer, "a network light is sent away");
                            sleep(SENT_AWAY_PAUSE).await;
                        }
                    }
                    // Out of file handles, or the light was gone already.
                    Err(err) => {
                        tracing::warn!(%err, "cannot take a network light");
                        sleep(LOOK_EVERY).await;
                    }
                },
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Whether it may be told, there is room for it, and something to tell it.
    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) -> bool {
        let by = Asker { from: Some(peer.ip()), ..Asker::default() };
        let Ok(grant) = self.access.admit(&Question { action: Action::Light, by: &by }) else {
            self.refused.count(peer, self.clock.now());
            self.elsewhere.raise(peer.ip(), |peer| Some(elsewhere(peer)));
            return false;
        };
        self.elsewhere.clear(peer.ip());
        let source = self.sources.of(peer.ip());
        let own = self.by_source.get(&source).map_or(0, Vec::len);
        let is_full = self.by_source.values().map(Vec::len).sum::<usize>() >= self.most;
        if !self.is_live() || own >= self.most_of_one || (is_full && !self.make_room(own)) {
            return false;
        }
        let light = Light {
            stream,
            lines: Lines::default(),
            subscribed: false,
            words: self.words.clone(),
            access: self.access.clone(),
            grant,
            clock: self.clock.clone(),
        };
        let light = self.lights.spawn(light.attend(peer));
        self.by_source.entry(source).or_default().push(light);
        true
    }

    /// Sends the newest light of the source away that has most, unless it has few, or no more than the newcomer's: so
    /// whoever has several addresses cannot keep everybody else out, nor push out a studio's lights.
    fn make_room(&mut self, newcomers: usize) -> bool {
        let Some(lights) = self.by_source.values_mut().max_by_key(|lights| lights.len()) else { return false };
        if lights.len() <= self.never_give_way.max(newcomers + 1) {
            return false;
        }
        lights.pop().inspect(AbortHandle::abort).is_some()
    }

    fn is_live(&self) -> bool {
        self.words.borrow().as_ref().is_some_and(|words| holds(self.clock.now(), words))
    }
}

/// Whether these words may be passed on now.
fn holds(now: std::time::Instant, words: &Verbatim) -> bool {
    now.saturating_duration_since(words.heard) < OLD_AFTER
}

/// What to do about a light that may not be told.
fn elsewhere(peer: IpAddr) -> String {
    format!(
        "A network light at {peer} is sent away: it is in none of the networks of [relay] from, or, where that is left \
         out, in none of the box's own. If it is yours, name its network in [relay] from beside those of all other \
         lights, as in [\"192.168.1.0/24\", \"10.20.0.0/16\"]: it takes the place of the box's own networks."
    )
}

/// Lights that may not be told, and when that was said last: they come again at once, without end.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    said: Option<std::time::Instant>,
}

impl Refused {
    fn count(&mut self, peer: SocketAddr, now: std::time::Instant) {
        self.count += 1;
        if self.said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EVERY) {
            self.said = Some(now);
            tracing::warn!(
                %peer,
                "a network light is sent away: lights are told tally in the box's own networks, or where [relay] from \
                 says ({} were sent away so far)",
                self.count
            );
        }
    }
}

/// One light's connection.
struct Light {
    stream: TcpStream,
    lines: Lines,
    subscribed: bool,
    words: Words,
    access: Access,
    grant: Grant,
    clock: Clock,
}

impl Light {
    async fn attend(self, peer: SocketAddr) {
        tracing::debug!(%peer, "a network light came");
        match self.serve().await {
            Ok(why) => tracing::debug!(%peer, "a network light went: {why}"),
            Err(err) => tracing::debug!(%peer, %err, "a network light is gone"),
        }
    }

    async fn serve(mut self) -> io::Result<&'static str> {
        keep_fresh(&self.stream)?;
        let Some(words) = self.present() else { return Ok("there is nothing to tell it") };
        self.say(dialogue::greeting(&words)).await?;
        let mut told = words.line.clone();
        let mut idle_at = Instant::now() + IDLE;
        let mut buffer = [0; 512];
        loop {
            tokio::select! {
                biased;
                changed = self.words.changed() => if changed.is_err() { return Ok("the box stops") },
                read = self.stream.read(&mut buffer) => {
                    let length = read?;
                    let Ok(requests) = self.lines.push(buffer.get(..length).unwrap_or_default()) else {
                        return Ok("it sent no command");
                    };
                    if length == 0 {
                        return Ok("it said so");
                    }
                    idle_at = Instant::now() + IDLE;
                    for request in requests {
                        let Some(words) = self.present() else { return Ok("there is nothing to tell it") };
                        if self.answer(&request, &words).await? {
                            return Ok("it said so");
                        }
                        if request == Request::Subscribe || request == Request::Tally {
                            told = words.line.clone();
                        }
                    }
                }
                () = sleep_until(idle_at), if !self.subscribed => return Ok("it asked nothing"),
            }
            let Some(words) = self.present() else { return Ok("there is nothing to tell it") };
            if self.subscribed && told != words.line {
                told = words.line.clone();
                self.say(told.clone()).await?;
            }
        }
    }

    /// What may be passed on now. Looked at each time: after a stall of the whole box a light may have its turn before the
    /// relay has, which sends it away. Other settings may have made it nobody to be told.
    fn present(&mut self) -> Option<Arc<Verbatim>> {
        let now = self.clock.now();
        let words = self.words.borrow_and_update().clone().filter(|words| holds(now, words));
        words.filter(|_| self.access.holds(&self.grant))
    }

    /// Whether that was the last word.
    async fn answer(&mut self, request: &Request, words: &Verbatim) -> io::Result<bool> {
        match request {
            Request::Subscribe => self.subscribed = true,
            Request::Unsubscribe => self.subscribed = false,
            _ => {}
        }
        self.say(dialogue::answer(self.clock.now(), request, words)).await?;
        Ok(*request == Request::Quit)
    }

    async fn say(&mut self, mut words: impl Buf) -> io::Result<()> {
        match timeout(WRITE_WITHIN, self.stream.write_all_buf(&mut words)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no answer")),
        }
    }
}

/// Nothing waits for an acknowledgement, little waits unsent, and a light that is gone is noticed.
fn keep_fresh(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(MOST_UNSENT_BYTES)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_AFTER).with_retries(2))?;
    socket.set_tcp_user_timeout(Some(GONE_AFTER))
}

#[cfg(test)]
mod tests;
