//! The protocol: who has an allocation, and which messages may go through it (RFC 8656 §6 to §12).
//!
//! Owns: authentication, allocations, permissions, channels, quotas. Does not own: sockets; the shell binds one for each
//! allocation, is told what to send through it, and hands over what comes out of it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY,
    ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS,
};
use rtc_stun::crypto::RTCCryptoProvider;
use rtc_stun::error_code::{
    CODE_ADDR_FAMILY_NOT_SUPPORTED, CODE_ALLOC_MISMATCH, CODE_ALLOC_QUOTA_REACHED, CODE_BAD_REQUEST, CODE_FORBIDDEN,
    CODE_INSUFFICIENT_CAPACITY, CODE_PEER_ADDR_FAMILY_MISMATCH, CODE_STALE_NONCE, CODE_UNAUTHORIZED,
    CODE_UNKNOWN_ATTRIBUTE, CODE_UNSUPPORTED_TRANS_PROTO, CODE_WRONG_CREDENTIALS, ErrorCode,
};
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{Setter, TransactionId};
use rtc_stun::uattrs::UnknownAttributes;

use super::credentials::Credentials;
use super::framing;
use super::limits::{Bucket, Limits, Throttle};
use super::message::{Address, Request, Value, Wish, data_indication};
use crate::access::Sources;

#[cfg(test)]
mod tests;

/// Short, because every refusal carries it and must not be much larger than what was asked.
const REALM: &str = "box";
/// How long an allocation lasts unless refreshed (RFC 8656 §3.2): no longer is given, whatever is asked.
const LASTS: Duration = Duration::from_secs(600);
/// RFC 8656 §9.
const PERMISSION_LASTS: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
const CHANNEL_LASTS: Duration = Duration::from_secs(600);
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;
/// Peers of one allocation: the box has no more addresses than it announces.
const MOST_PEERS: usize = 32;
const LONGEST_NAME: usize = 64;
/// What may go at once, in bytes: pictures since the last keyframe for a viewer that joins, and checks the other way.
const DOWN_AT_ONCE: f64 = 8e6;
const UP_AT_ONCE: f64 = 262_144.0;
const UDP: u8 = 17;
const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// How messages of a client arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// As datagrams.
    Udp,
    /// On a stream: TCP, or TLS over it.
    Stream,
}

/// The five-tuple that an allocation belongs to (RFC 8656 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// How its messages arrive.
    pub transport: Transport,
    /// Its address.
    pub peer: SocketAddr,
    /// The box's address that it asked.
    pub local: SocketAddr,
}

/// Where the box takes media, the only peer there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The address of its socket; an unspecified one hears all of `own`.
    pub listen: SocketAddr,
    /// The box's own addresses, best first.
    pub own: Vec<IpAddr>,
    /// What a router is reached at that forwards the media port to the box: the box has no such address, and yet browsers
    /// are told them.
    pub public: Vec<IpAddr>,
}

impl Media {
    fn hears(&self, ip: IpAddr) -> bool {
        match self.listen.ip().is_unspecified() {
            true => self.own.contains(&ip) && (ip.is_ipv4() || self.listen.is_ipv6()),
            false => self.listen.ip().to_canonical() == ip,
        }
    }

    /// Where what is sent to a peer goes; `None` for whatever is not the box's media. To a public address it goes by a
    /// loopback address that stands for it and for no other, so that by where an answer comes from it is known which
    /// one was asked: browsers take no answer of another.
    fn way_to(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let ip = peer.ip();
        let ip = if self.hears(ip) { ip } else { self.stand_ins().find(|(public, _)| *public == ip)?.1 };
        (peer.port() == self.listen.port()).then_some(SocketAddr::new(ip, peer.port()))
    }

    /// The peer that is known by where something came from.
    fn known_as(&self, from: SocketAddr) -> SocketAddr {
        let public = self.stand_ins().find(|(_, stand_in)| *stand_in == from.ip());
        public.map_or(from, |(public, _)| SocketAddr::new(public, from.port()))
    }

    /// Public addresses and what stands for each. IPv6 has but one loopback address, and a socket that listens on one
    /// address hears none: what is left out is no peer.
    fn stand_ins(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let (mut four, mut six) = (2..=u8::MAX, std::iter::once(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        let listen = self.listen.ip();
        let public = self.public.iter().filter(move |ip| listen.is_unspecified() && !self.hears(**ip));
        let mut stand_in = move |ip: &IpAddr| match ip {
            IpAddr::V4(_) => four.next().map(|last| IpAddr::from([127, 0, 0, last])),
            IpAddr::V6(_) => six.next().filter(|_| listen.is_ipv6()),
        };
        public.filter_map(move |ip| Some((*ip, stand_in(ip)?))).filter(|(_, stand_in)| !self.own.contains(stand_in))
    }

    fn is_reached_at(&self, ip: IpAddr) -> bool {
        self.way_to(SocketAddr::new(ip, self.listen.port())).is_some()
    }

    fn is(&self, peer: SocketAddr) -> bool {
        self.way_to(peer).is_some()
    }

    /// The box's address to relay from: the one the client asked, where it can be.
    fn relays_from(&self, asked: IpAddr, wants_v6: bool) -> Option<IpAddr> {
        let listens = Some(self.listen.ip().to_canonical()).filter(|ip| !ip.is_unspecified());
        let fits = |ip: &IpAddr| ip.is_ipv6() == wants_v6 && self.hears(*ip);
        [listens, Some(asked)].into_iter().flatten().chain(self.own.iter().copied()).find(fits)
    }
}

/// An allocation that waits for its socket.
#[derive(Debug)]
pub struct Pending {
    client: Client,
    source: IpAddr,
    /// The address to bind the socket to; any port.
    pub bind: IpAddr,
    username: String,
    key: Vec<u8>,
    asked: Asked,
}

/// What a success answers to an Allocate request, again and again while that is repeated.
#[derive(Clone, Copy, Debug)]
struct Asked {
    transaction: TransactionId,
}

/// What is to be done about a message.
#[derive(Debug)]
pub enum Outcome<'m> {
    /// Nothing.
    Ignored,
    /// This goes back to the client.
    Reply(Vec<u8>),
    /// A socket is to be bound, and [`Allocations::allocated`] told.
    Allocate(Pending),
    /// The client's socket is to be closed, and this goes back to it.
    Release(Vec<u8>),
    /// This goes through the client's socket.
    Relay {
        /// To the box's own media.
        peer: SocketAddr,
        /// What it is sent.
        data: Cow<'m, [u8]>,
    },
}

struct Allocation {
    /// As whom its client counts.
    source: IpAddr,
    username: String,
    key: Vec<u8>,
    asked: Asked,
    relayed: SocketAddr,
    until: Instant,
    /// No refresh goes beyond it.
    ends: Instant,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, (SocketAddr, Instant)>,
    up: Bucket,
    down: Bucket,
}

impl Allocation {
    fn permits(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions.get(&ip).is_some_and(|until| now < *until)
    }

    fn permit(&mut self, now: Instant, ip: IpAddr) -> bool {
        self.permissions.retain(|_, until| now < *until);
        let has_room = self.permissions.len() < MOST_PEERS || self.permissions.contains_key(&ip);
        if has_room {
            self.permissions.insert(ip, now + PERMISSION_LASTS);
        }
        has_room
    }

    fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        self.channels.iter().find(|(_, (of, until))| *of == peer && now < *until).map(|(number, _)| *number)
    }

    fn refresh(&mut self, now: Instant) -> Duration {
        self.until = (now + LASTS).min(self.ends);
        self.until.saturating_duration_since(now)
    }
}

/// All allocations.
pub struct Allocations {
    crypto: Arc<dyn RTCCryptoProvider>,
    credentials: Credentials,
    limits: Limits,
    sources: Sources,
    media: Media,
    table: HashMap<Client, Allocation>,
    throttle: Throttle,
    indications: u64,
}

/// Who sent a request, as it was proven.
struct Proven {
    username: String,
    key: Vec<u8>,
}

impl Allocations {
    /// None yet. The limits of one address hold for one of the sources.
    pub fn new(
        now: Instant,
        crypto: Arc<dyn RTCCryptoProvider>,
        credentials: Credentials,
        (limits, sources): (Limits, Sources),
        media: Media,
    ) -> Self {
        let throttle = Throttle::new(now);
        Self { crypto, credentials, limits, sources, media, table: HashMap::new(), throttle, indications: 0 }
    }

    /// The box's own addresses have changed.
    pub fn set_own(&mut self, own: Vec<IpAddr>) {
        self.media.own = own;
    }

    /// Whether a client has an allocation.
    pub fn has(&self, client: &Client) -> bool {
        self.table.contains_key(client)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Takes one message of a client.
    pub fn handle<'m>(&mut self, now: Instant, client: Client, message: &'m [u8]) -> Outcome<'m> {
        if framing::is_channel_data(message) {
            return self.channel_data(now, &client, message).unwrap_or(Outcome::Ignored);
        }
        let Some(mut request) = Request::read(message) else { return Outcome::Ignored };
        if request.wish == Wish::Send {
            return self.send(now, &client, &request).unwrap_or(Outcome::Ignored);
        }
        let proven = match self.authenticate(now, &client, &mut request) {
            Ok(proven) => proven,
            Err(reply) => return reply.map_or(Outcome::Ignored, Outcome::Reply),
        };
        let unknown = request.not_understood();
        let crypto = self.crypto.clone();
        let integrity = MessageIntegrity::new_raw_integrity_with_provider(proven.key.clone(), crypto.crypto());
        let refuse = |code| Outcome::Reply(request.error(code, Some(&integrity), &[]));
        if !unknown.is_empty() {
            let parts: [&dyn Setter; 1] = [&UnknownAttributes(unknown)];
            return Outcome::Reply(request.error(CODE_UNKNOWN_ATTRIBUTE, Some(&integrity), &parts));
        }
        let done = match request.wish {
            Wish::Allocate => self.allocate(now, client, &request, proven, &integrity),
            Wish::Refresh => self.refresh(now, client, &request, &integrity),
            Wish::CreatePermission => self.create_permission(now, client, &request, &integrity),
            Wish::ChannelBind => self.bind_channel(now, client, &request, &integrity),
            Wish::Send => Ok(Outcome::Ignored),
        };
        done.unwrap_or_else(refuse)
    }

    /// The socket of an allocation was bound, or could not be; gives the answer to the client.
    pub fn allocated(&mut self, now: Instant, pending: Pending, bound: Option<SocketAddr>) -> Vec<u8> {
        let Pending { client, source, username, key, asked, .. } = pending;
        let crypto = self.crypto.clone();
        let integrity = MessageIntegrity::new_raw_integrity_with_provider(key.clone(), crypto.crypto());
        let Some(relayed) = bound else {
            return asked.refuse(CODE_INSUFFICIENT_CAPACITY, &integrity);
        };
        let (up, down) = (Bucket::full(now, UP_AT_ONCE), Bucket::full(now, DOWN_AT_ONCE));
        let (until, ends) = (now + LASTS, now + self.limits.life);
        let (permissions, channels) = (HashMap::new(), HashMap::new());
        let allocation =
            Allocation { source, username, key, asked, relayed, until, ends, permissions, channels, up, down };
        let answer = asked.answer(&client, relayed, LASTS, &integrity);
        self.table.insert(client, allocation);
        answer
    }

    /// What came from `peer` through a client's socket, in the form the client is sent it, appended to `out`; false
    /// when it is sent nothing.
    pub fn heard(&mut self, now: Instant, client: &Client, peer: SocketAddr, data: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(allocation) = self.table.get_mut(client) else { return false };
        let peer = self.media.known_as(peer);
        let rate = (self.limits.down_bps as f64 / 8.0, DOWN_AT_ONCE);
        let may = self.media.is(peer) && allocation.until > now && allocation.permits(now, peer.ip());
        if !may || !allocation.down.take(now, rate, data.len() as f64) {
            return false;
        }
        match allocation.channel_of(now, peer) {
            Some(channel) => {
                framing::write_channel_data(channel, data, client.transport == Transport::Stream, out);
            }
            None => {
                self.indications += 1;
                let mut transaction = [0; 12];
                transaction.iter_mut().zip(self.indications.to_be_bytes()).for_each(|(to, from)| *to = from);
                out.extend(data_indication(TransactionId(transaction), peer, data));
            }
        }
        true
    }

    /// A client's stream has ended.
    pub fn gone(&mut self, client: &Client) {
        self.table.remove(client);
    }

    /// Ends what was not refreshed; gives whose.
    pub fn expire(&mut self, now: Instant) -> Vec<Client> {
        self.table.extract_if(|_, allocation| allocation.until <= now).map(|(client, _)| client).collect()
    }

    // ---- requests --------------------------------------------------------------------------

    /// Who sent it (RFC 8489 §9.2.4); else what it is answered, if anything.
    fn authenticate(
        &mut self,
        now: Instant,
        client: &Client,
        request: &mut Request,
    ) -> Result<Proven, Option<Vec<u8>>> {
        if !request.has_integrity() {
            return Err(self.challenge(now, client, request, CODE_UNAUTHORIZED));
        }
        let (Some(username), Some(realm), Some(nonce)) =
            (request.text(ATTR_USERNAME), request.text(ATTR_REALM), request.value(ATTR_NONCE))
        else {
            return Err(self.unproven(now, client, request, CODE_BAD_REQUEST, &[]));
        };
        if !self.credentials.is_nonce(now, client.peer, nonce) {
            return Err(self.challenge(now, client, request, CODE_STALE_NONCE));
        }
        let username = username.to_owned();
        if realm != REALM || username.len() > LONGEST_NAME {
            return Err(self.challenge(now, client, request, CODE_UNAUTHORIZED));
        }
        let standing = self.table.get(client);
        let key = match standing.filter(|allocation| allocation.username == username) {
            Some(allocation) => allocation.key.clone(),
            None => self.key(&username).ok_or(None)?,
        };
        if !request.is_authentic(&key, self.crypto.crypto()) {
            return Err(self.challenge(now, client, request, CODE_UNAUTHORIZED));
        }
        match standing {
            Some(allocation) if allocation.username != username => {
                let integrity = MessageIntegrity::new_raw_integrity_with_provider(key, self.crypto.crypto());
                Err(Some(request.error(CODE_WRONG_CREDENTIALS, Some(&integrity), &[])))
            }
            // Who has an allocation keeps it beyond the end of the name it was made with.
            None if !self.credentials.is_current(now, &username) => {
                Err(self.challenge(now, client, request, CODE_UNAUTHORIZED))
            }
            _ => Ok(Proven { username, key }),
        }
    }

    fn key(&self, username: &str) -> Option<Vec<u8>> {
        let password = self.credentials.password(username);
        let parts = (username.to_owned(), REALM.to_owned());
        MessageIntegrity::long_term_integrity_key(parts.0, parts.1, password, self.crypto.crypto()).ok()
    }

    /// Asks for credentials.
    fn challenge(&mut self, now: Instant, client: &Client, request: &Request, code: ErrorCode) -> Option<Vec<u8>> {
        let nonce = self.credentials.nonce(now, client.peer);
        let parts: [&dyn Setter; 2] = [&Value(ATTR_REALM, REALM.as_bytes()), &Value(ATTR_NONCE, nonce.as_bytes())];
        self.unproven(now, client, request, code, &parts)
    }

    /// An answer to an address that has proven nothing: few of them, and small.
    fn unproven(
        &mut self,
        now: Instant,
        client: &Client,
        request: &Request,
        code: ErrorCode,
        parts: &[&dyn Setter],
    ) -> Option<Vec<u8>> {
        self.throttle.admits(now, self.sources.of(client.peer.ip())).then(|| request.error(code, None, parts))
    }

    fn allocate<'m>(
        &mut self,
        now: Instant,
        client: Client,
        request: &Request,
        proven: Proven,
        integrity: &MessageIntegrity<'_>,
    ) -> Result<Outcome<'m>, ErrorCode> {
        let asked = Asked { transaction: request.transaction() };
        if let Some(standing) = self.table.get(&client) {
            if standing.asked.transaction != asked.transaction {
                return Err(CODE_ALLOC_MISMATCH);
            }
            let left = standing.until.saturating_duration_since(now);
            return Ok(Outcome::Reply(standing.asked.answer(&client, standing.relayed, left, integrity)));
        }
        match request.value(ATTR_REQUESTED_TRANSPORT) {
            None => return Err(CODE_BAD_REQUEST),
            Some([UDP, ..]) => {}
            Some(_) => return Err(CODE_UNSUPPORTED_TRANS_PROTO),
        }
        let wants_v6 = wants_v6(request)?.unwrap_or(false);
        let source = self.sources.of(client.peer.ip());
        let of = |same: &dyn Fn(&Allocation) -> bool| self.table.values().filter(|has| same(has)).count();
        if of(&|has| has.username == proven.username) >= self.limits.per_login
            || of(&|has| has.source == source) >= self.limits.per_address
        {
            return Err(CODE_ALLOC_QUOTA_REACHED);
        }
        if self.table.len() >= self.limits.allocations {
            return Err(CODE_INSUFFICIENT_CAPACITY);
        }
        let bind = self.media.relays_from(client.local.ip(), wants_v6).ok_or(CODE_ADDR_FAMILY_NOT_SUPPORTED)?;
        let Proven { username, key } = proven;
        Ok(Outcome::Allocate(Pending { client, source, bind, username, key, asked }))
    }

    fn refresh<'m>(
        &mut self,
        now: Instant,
        client: Client,
        request: &Request,
        integrity: &MessageIntegrity<'_>,
    ) -> Result<Outcome<'m>, ErrorCode> {
        let allocation = self.table.get_mut(&client).ok_or(CODE_ALLOC_MISMATCH)?;
        if wants_v6(request)?.is_some_and(|v6| v6 != allocation.relayed.is_ipv6()) {
            return Err(CODE_PEER_ADDR_FAMILY_MISMATCH);
        }
        if request.number(ATTR_LIFETIME) == Some(0) {
            self.table.remove(&client);
            return Ok(Outcome::Release(request.success(integrity, &[&lifetime(Duration::ZERO)])));
        }
        let left = allocation.refresh(now);
        Ok(Outcome::Reply(request.success(integrity, &[&lifetime(left)])))
    }

    fn create_permission<'m>(
        &mut self,
        now: Instant,
        client: Client,
        request: &Request,
        integrity: &MessageIntegrity<'_>,
    ) -> Result<Outcome<'m>, ErrorCode> {
        let allocation = self.table.get_mut(&client).ok_or(CODE_ALLOC_MISMATCH)?;
        let peers: Option<Vec<SocketAddr>> = request.peers().collect();
        let peers = peers.filter(|peers| !peers.is_empty()).ok_or(CODE_BAD_REQUEST)?;
        for peer in &peers {
            allowed(&self.media, allocation, peer.ip())?;
        }
        // All of them or none (RFC 8656 §10.2).
        let new = peers.iter().filter(|peer| !allocation.permits(now, peer.ip())).count();
        if allocation.permissions.len() + new > MOST_PEERS {
            return Err(CODE_INSUFFICIENT_CAPACITY);
        }
        for peer in &peers {
            allocation.permit(now, peer.ip());
        }
        Ok(Outcome::Reply(request.success(integrity, &[])))
    }

    fn bind_channel<'m>(
        &mut self,
        now: Instant,
        client: Client,
        request: &Request,
        integrity: &MessageIntegrity<'_>,
    ) -> Result<Outcome<'m>, ErrorCode> {
        let allocation = self.table.get_mut(&client).ok_or(CODE_ALLOC_MISMATCH)?;
        let number = request.number(ATTR_CHANNEL_NUMBER).and_then(|number| u16::try_from(number >> 16).ok());
        let number = number.filter(|number| CHANNELS.contains(number)).ok_or(CODE_BAD_REQUEST)?;
        let peer = request.peers().next().flatten().ok_or(CODE_BAD_REQUEST)?;
        allowed(&self.media, allocation, peer.ip())?;
        if !self.media.is(peer) {
            return Err(CODE_FORBIDDEN);
        }
        allocation.channels.retain(|_, (_, until)| now < *until);
        // A channel has one peer, and a peer one channel (RFC 8656 §12.2).
        let others = allocation.channels.get(&number).is_some_and(|(of, _)| *of != peer)
            || allocation.channel_of(now, peer).is_some_and(|has| has != number);
        if others {
            return Err(CODE_BAD_REQUEST);
        }
        if !allocation.permit(now, peer.ip()) {
            return Err(CODE_INSUFFICIENT_CAPACITY);
        }
        // No more channels than peers, of which there are no more than the box has addresses.
        allocation.channels.insert(number, (peer, now + CHANNEL_LASTS));
        Ok(Outcome::Reply(request.success(integrity, &[])))
    }

    // ---- data ------------------------------------------------------------------------------

    fn send<'m>(&mut self, now: Instant, client: &Client, request: &Request) -> Option<Outcome<'m>> {
        let peer = request.peers().next()??;
        let data = request.value(ATTR_DATA)?.to_vec();
        let is_understood = request.not_understood().is_empty();
        let peer = is_understood.then(|| self.may_send(now, client, peer, data.len())).flatten()?;
        Some(Outcome::Relay { peer, data: Cow::Owned(data) })
    }

    fn channel_data<'m>(&mut self, now: Instant, client: &Client, message: &'m [u8]) -> Option<Outcome<'m>> {
        let (number, data) = framing::read_channel_data(message)?;
        let (peer, until) = *self.table.get(client)?.channels.get(&number)?;
        let peer = (now < until).then(|| self.may_send(now, client, peer, data.len())).flatten()?;
        Some(Outcome::Relay { peer, data: Cow::Borrowed(data) })
    }

    /// Where it goes, if it may.
    fn may_send(&mut self, now: Instant, client: &Client, peer: SocketAddr, bytes: usize) -> Option<SocketAddr> {
        let allocation = self.table.get_mut(client)?;
        let rate = (self.limits.up_bps as f64 / 8.0, UP_AT_ONCE);
        // Asked anew for each: the box's addresses change.
        self.media.way_to(peer).filter(|_| {
            now < allocation.until && allocation.permits(now, peer.ip()) && allocation.up.take(now, rate, bytes as f64)
        })
    }
}

impl Asked {
    fn answer(self, client: &Client, relayed: SocketAddr, left: Duration, integrity: &MessageIntegrity<'_>) -> Vec<u8> {
        let parts: [&dyn Setter; 3] = [
            &Address(ATTR_XOR_RELAYED_ADDRESS, relayed),
            &lifetime(left),
            &Address(ATTR_XORMAPPED_ADDRESS, client.peer),
        ];
        Request::answer_allocate(self.transaction, Ok(&parts), integrity)
    }

    fn refuse(self, code: ErrorCode, integrity: &MessageIntegrity<'_>) -> Vec<u8> {
        Request::answer_allocate(self.transaction, Err(code), integrity)
    }
}

/// Whether a peer is the box's own media, and can be reached from the allocation.
fn allowed(media: &Media, allocation: &Allocation, peer: IpAddr) -> Result<(), ErrorCode> {
    if !media.is_reached_at(peer) {
        return Err(CODE_FORBIDDEN);
    }
    match peer.is_ipv6() == allocation.relayed.is_ipv6() {
        true => Ok(()),
        false => Err(CODE_PEER_ADDR_FAMILY_MISMATCH),
    }
}

fn wants_v6(request: &Request) -> Result<Option<bool>, ErrorCode> {
    match request.value(ATTR_REQUESTED_ADDRESS_FAMILY) {
        None => Ok(None),
        Some([IPV4, ..]) => Ok(Some(false)),
        Some([IPV6, ..]) => Ok(Some(true)),
        Some(_) => Err(CODE_ADDR_FAMILY_NOT_SUPPORTED),
    }
}

/// LIFETIME, in whole seconds (RFC 8656 §18.2).
fn lifetime(left: Duration) -> Lifetime {
    Lifetime(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).to_be_bytes())
}

struct Lifetime([u8; 4]);

impl Setter for Lifetime {
    fn add_to(&self, message: &mut rtc_stun::message::Message) -> rtc_shared::error::Result<()> {
        Value(ATTR_LIFETIME, &self.0).add_to(message)
    }
}
