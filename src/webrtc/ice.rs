//! ICE-lite: answers connectivity checks and follows the peer's nomination (RFC 8445 §2.5, RFC 8489).
//!
//! Owns: authenticating binding requests, which paths were proven, and which of them is used.
//! Does not own: candidates and credentials on the wire (`sdp`), sockets (`server`). Nothing is
//! sent to an address that did not prove it knows the session's password, so the box amplifies
//! nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType,
};
use rtc_stun::crypto::RTCCryptoProvider;
use rtc_stun::error_code::ErrorCode;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter};
use rtc_stun::uattrs::UnknownAttributes;
use rtc_stun::xoraddr::XorMappedAddress;

use super::contained::contained;

/// Paths one session may prove; a further one takes the place of the one that was checked longest ago. A viewer with two
/// addresses of each family has as many to a box with two, over UDP and TCP.
const MOST_PATHS: usize = 16;
/// A nominated path that was not nominated again for this long gives way to any other.
const NOMINATION_HOLDS: Duration = Duration::from_secs(4);
/// Largest binding request read; browsers' have about 120 bytes.
const LONGEST_REQUEST: usize = 1024;
const ROLE_CONFLICT: ErrorCode = ErrorCode(487);
const UNKNOWN_ATTRIBUTE: ErrorCode = ErrorCode(420);
/// Attribute types below this must be understood (RFC 8489 §14).
const FIRST_OPTIONAL: u16 = 0x8000;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;

/// Username fragment and password of one end (RFC 8839 §5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `ice-ufrag`.
    pub ufrag: String,
    /// `ice-pwd`.
    pub password: String,
}

/// What carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// A connection that the peer made (RFC 6544).
    Tcp,
}

/// A way between the box and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The box's address that was asked, and that answers.
    pub local: IpAddr,
    /// The peer's address.
    pub peer: SocketAddr,
    /// What carries datagrams between them.
    pub transport: Transport,
}

/// The peer's end of a path: the same address by another transport may be somebody else.
pub type Remote = (Transport, SocketAddr);

impl Path {
    /// The peer's end.
    pub fn remote(&self) -> Remote {
        (self.transport, self.peer)
    }
}

/// A binding request with the names it was addressed with; not yet authenticated.
pub struct Request {
    message: Message,
    local_ufrag: String,
    remote_ufrag: String,
}

/// Why a datagram is no binding request worth an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    /// No STUN message, or a damaged one.
    #[error("not a STUN message")]
    Malformed,
    /// Another method or class; the box asks nothing, so it expects no answers.
    #[error("not a binding request")]
    NotARequest,
    /// Wrong names or password.
    #[error("the credentials do not match")]
    Credentials,
    /// The session has proven as many addresses as it may.
    #[error("too many addresses")]
    TooManyPaths,
}

impl Request {
    /// Reads a binding request (RFC 8489 §5, RFC 8445 §7.2.2).
    ///
    /// # Errors
    /// When it is none, or lacks a correct fingerprint or the names.
    pub fn read(datagram: &[u8]) -> Result<Self, NotAnswered> {
        let stated = datagram.get(2..4).and_then(|len| len.try_into().ok()).map(u16::from_be_bytes);
        if datagram.len() > LONGEST_REQUEST || stated.map(|len| usize::from(len) + 20) != Some(datagram.len()) {
            return Err(NotAnswered::Malformed);
        }
        let message = contained(|| {
            let mut message = Message::new();
            message.unmarshal_binary(datagram).map(|()| message)
        });
        let Some(Ok(message)) = message else { return Err(NotAnswered::Malformed) };
        if message.typ != BINDING_REQUEST {
            return Err(NotAnswered::NotARequest);
        }
        let Some(Ok(())) = contained(|| FINGERPRINT.check(&message)) else { return Err(NotAnswered::Malformed) };
        let username = message.get(ATTR_USERNAME).map_err(|_| NotAnswered::Credentials)?;
        let username = String::from_utf8(username).map_err(|_| NotAnswered::Credentials)?;
        let (local, remote) = username.split_once(':').ok_or(NotAnswered::Credentials)?;
        let (local_ufrag, remote_ufrag) = (local.to_owned(), remote.to_owned());
        Ok(Self { message, local_ufrag, remote_ufrag })
    }

    /// The user name fragment of the session that is asked.
    pub fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    /// Attributes that count: those before the integrity check (RFC 8489 §14.5).
    fn covered(&self) -> impl Iterator<Item = (AttrType, &[u8])> {
        let attributes = self.message.attributes.0.iter();
        attributes.take_while(|a| a.typ != ATTR_MESSAGE_INTEGRITY).map(|a| (a.typ, a.value.as_slice()))
    }

    fn has(&self, kind: AttrType) -> bool {
        self.covered().any(|(typ, _)| typ == kind)
    }

    fn priority(&self) -> u32 {
        let value = self.covered().find(|(typ, _)| *typ == ATTR_PRIORITY).and_then(|(_, value)| value.try_into().ok());
        u32::from_be_bytes(value.unwrap_or_default())
    }

    fn not_understood(&self) -> Vec<AttrType> {
        let known = [ATTR_USERNAME, ATTR_PRIORITY, ATTR_USE_CANDIDATE, AttrType(MESSAGE_INTEGRITY_SHA256)];
        self.covered().map(|(typ, _)| typ).filter(|typ| typ.0 < FIRST_OPTIONAL && !known.contains(typ)).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Proven {
    path: Path,
    last_check: Instant,
    nominated: Option<(Instant, u32)>,
}

/// What an answered check means for the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The response, to be sent back along the path of the request.
    pub reply: Vec<u8>,
    /// Whether the request proved the path: refusals do not.
    pub proven: bool,
}

/// The lite agent of one session.
pub struct Agent {
    crypto: Arc<dyn RTCCryptoProvider>,
    local: Credentials,
    remote_ufrag: String,
    /// Before a restart: these names are answered until the new ones are used.
    retiring: Option<(Credentials, String)>,
    paths: Vec<Proven>,
    selected: Option<Path>,
}

impl Agent {
    /// An agent that answers to `local` when asked by a peer that calls itself `remote_ufrag`.
    pub fn new(crypto: Arc<dyn RTCCryptoProvider>, local: Credentials, remote_ufrag: String) -> Self {
        Self { crypto, local, remote_ufrag, retiring: None, paths: Vec::new(), selected: None }
    }

    /// The credentials in use.
    pub fn local(&self) -> &Credentials {
        &self.local
    }

    /// The peer's user name fragment.
    pub fn remote_ufrag(&self) -> &str {
        &self.remote_ufrag
    }

    /// Takes new credentials; media goes on along the old path until a new one is nominated
    /// (RFC 8445 §9).
    pub fn restart(&mut self, local: Credentials, remote_ufrag: String) {
        let before = std::mem::replace(&mut self.local, local);
        let before_remote = std::mem::replace(&mut self.remote_ufrag, remote_ufrag);
        self.retiring = Some((before, before_remote));
        for path in &mut self.paths {
            path.nominated = None;
        }
    }

    /// The path media takes: the nominated one, until then the one proven last.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether the peer proved this path.
    pub fn is_proven(&self, path: &Path) -> bool {
        self.paths.iter().any(|proven| proven.path == *path)
    }

    /// Every proven path.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.paths.iter().map(|proven| proven.path)
    }

    /// A path is no more: its connection has ended. Where it was the selected one, media takes the path proven last of
    /// those that are left, until another is nominated.
    pub fn lost(&mut self, path: &Path) {
        self.paths.retain(|proven| proven.path != *path);
        if self.selected == Some(*path) {
            self.selected = self.paths.iter().max_by_key(|proven| proven.last_check).map(|proven| proven.path);
        }
    }

    /// Answers a check that came along `path`.
    ///
    /// # Errors
    /// When it gets no answer; nothing has changed then.
    pub fn handle(&mut self, now: Instant, path: Path, mut request: Request) -> Result<Answered, NotAnswered> {
        let current = request.local_ufrag == self.local.ufrag && request.remote_ufrag == self.remote_ufrag;
        let old = self.retiring.as_ref().filter(|(local, remote)| {
            !current && *local.ufrag == request.local_ufrag && *remote == request.remote_ufrag
        });
        let password = match (current, old) {
            (true, _) => self.local.password.clone(),
            (false, Some((local, _))) => local.password.clone(),
            (false, None) => return Err(NotAnswered::Credentials),
        };
        let (message, crypto) = (&mut request.message, self.crypto.crypto());
        let authentic = contained(|| MessageIntegrity::check(message, password.as_bytes(), crypto));
        let Some(Ok(())) = authentic else { return Err(NotAnswered::Credentials) };
        let not_understood = request.not_understood();
        if !not_understood.is_empty() {
            return self.refuse(&request, &password, UNKNOWN_ATTRIBUTE, Some(UnknownAttributes(not_understood)));
        }
        if request.has(ATTR_ICE_CONTROLLED) {
            // A lite agent never controls: the peer has to (RFC 8445 §7.3.1.1).
            return self.refuse(&request, &password, ROLE_CONFLICT, None);
        }
        if current {
            self.retiring = None;
        }
        self.prove(now, path, &request)?;
        let address = XorMappedAddress { ip: path.peer.ip(), port: path.peer.port() };
        let reply = self.reply(&request, &password, BINDING_SUCCESS, &[&address])?;
        Ok(Answered { reply, proven: true })
    }

    fn prove(&mut self, now: Instant, path: Path, request: &Request) -> Result<(), NotAnswered> {
        let at = match self.paths.iter().position(|proven| proven.path == path) {
            Some(at) => at,
            None => {
                if self.paths.len() >= MOST_PATHS {
                    let selected = self.selected;
                    let oldest = self.paths.iter().enumerate().filter(|(_, proven)| Some(proven.path) != selected);
                    let oldest = oldest.min_by_key(|(_, proven)| proven.last_check).map(|(at, _)| at);
                    let oldest = oldest.ok_or(NotAnswered::TooManyPaths)?;
                    self.paths.remove(oldest);
                }
                self.paths.push(Proven { path, last_check: now, nominated: None });
                self.paths.len() - 1
            }
        };
        let Some(proven) = self.paths.get_mut(at) else { return Err(NotAnswered::TooManyPaths) };
        proven.last_check = now;
        let nominated = request.has(ATTR_USE_CANDIDATE);
        if nominated {
            proven.nominated = Some((now, request.priority()));
        }
        let standing = self
            .selected
            .and_then(|selected| self.paths.iter().find(|proven| proven.path == selected))
            .and_then(|proven| proven.nominated);
        // Peers that nominate every pair ("aggressive") mean the one of highest priority.
        let better = match standing {
            None => nominated || self.selected.is_none(),
            Some((since, priority)) => {
                nominated && (request.priority() >= priority || now.saturating_duration_since(since) > NOMINATION_HOLDS)
            }
        };
        if better {
            self.selected = Some(path);
        }
        Ok(())
    }

    fn refuse(
        &self,
        request: &Request,
        password: &str,
        code: ErrorCode,
        unknown: Option<UnknownAttributes>,
    ) -> Result<Answered, NotAnswered> {
        let mut parts: Vec<&dyn Setter> = vec![&code];
        if let Some(unknown) = &unknown {
            parts.push(unknown);
        }
        let reply = self.reply(request, password, BINDING_ERROR, &parts)?;
        Ok(Answered { reply, proven: false })
    }

    fn reply(
        &self,
        request: &Request,
        password: &str,
        typ: MessageType,
        parts: &[&dyn Setter],
    ) -> Result<Vec<u8>, NotAnswered> {
        let mut reply = Message::new();
        reply.typ = typ;
        reply.transaction_id = request.message.transaction_id;
        reply.write_header();
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(password.into(), self.crypto.crypto());
        for part in parts.iter().copied().chain([&integrity as &dyn Setter, &FINGERPRINT]) {
            part.add_to(&mut reply).map_err(|_| NotAnswered::Malformed)?;
        }
        Ok(reply.raw)
    }
}

#[cfg(test)]
mod tests;
