//! A WHEP viewer that decrypts and counts: offer and answer over HTTP, ICE, DTLS and SRTP as a
//! browser speaks them to an ICE-lite server, then [`super::receiver`].

use super::receiver::{Options, Receiver, Seen, Session, Stats};
use super::sdp::{Answer, Offer};
use super::sight::{self, Sight};
use super::{Result, Seeded, http, now};
use bytes::BytesMut;
use rtc_dtls::config::{ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::{TransportProtocol, error::Error as DtlsError};
use rtc_srtp::context::Context;
use rtc_srtp::crypto::{RTCCryptoProvider, default_provider};
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, RawAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId, is_stun_message,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How a viewer is set up; [`Options`] says how it receives.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How it receives.
    pub receive: Options,
    /// Offer AES-CM with SHA-1 only, as a browser without AES-GCM would.
    pub only_aes_cm: bool,
    /// Talk IPv6.
    pub ipv6: bool,
    /// Do not ask for sound.
    pub no_sound: bool,
    /// Media come and go by this address, a relay's, instead of the answer's.
    pub through: Option<SocketAddr>,
    /// Look at headers only, decrypt nothing: see [`super::sight`]. Counts no pictures and asks for nothing.
    pub glance: bool,
}

/// One viewer. Dropping it goes away without a word, as a phone out of reach does.
#[derive(Debug)]
pub struct WhepViewer {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    port: u16,
    /// The ICE user fragment and password it offered.
    pub credentials: (String, String),
    /// Address of the session, to be deleted.
    pub resource: String,
    /// The whole 201 answer.
    pub response: http::Response,
    /// What the server answered.
    pub answer: Answer,
}

#[derive(Debug)]
struct Shared {
    receiver: Mutex<Receiver>,
    sight: Mutex<Sight>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Receiver> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server answered instead of a session.
#[derive(Debug)]
pub struct Refused(pub http::Response);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered {} {}", self.0.status, self.0.text())
    }
}

impl std::error::Error for Refused {}

impl WhepViewer {
    /// Joins `stream` of the box at `base` (`http://host:port`), with the defaults.
    ///
    /// # Errors
    /// As [`Self::connect_with`].
    pub async fn connect(base: &str, stream: &str) -> Result<Self> {
        Self::connect_with(&format!("{base}/{stream}/whep"), Setup::default()).await
    }

    /// Joins at a WHEP endpoint. Returns when the answer is there; media comes later.
    ///
    /// # Errors
    /// [`Refused`] when the answer is not 201; otherwise what is wrong with it.
    pub async fn connect_with(endpoint: &str, setup: Setup) -> Result<Self> {
        let started = now();
        let identity = identity()?;
        let mut random = Seeded(unique());
        let (ufrag, password) = (letters(&mut random, 4), letters(&mut random, 24));
        let offer =
            Offer { ufrag: &ufrag, password: &password, fingerprint: &identity.fingerprint, sound: !setup.no_sound };
        let offer = offer.to_sdp();
        let response =
            http::request("POST", endpoint, &[("Content-Type", "application/sdp")], offer.as_bytes()).await?;
        if response.status != 201 {
            return Err(Box::new(Refused(response)));
        }
        let mut answer = Answer::parse(&response.text())?;
        if let Some(through) = setup.through {
            answer.candidates = vec![through];
        }
        let video = answer.video.ok_or("an answer without H.264")?;
        if answer.setup != "passive" {
            return Err(format!("the server wants to be DTLS {}; a viewer of ours is the client", answer.setup).into());
        }
        let location = response.header("location").ok_or("201 without a Location")?;
        let resource = resolve(endpoint, location)?;
        let own_ssrc = random.next_u64() as u32;
        let session = Session {
            video,
            rtx: answer.rtx,
            sound: answer.sound,
            playout_delay: answer.playout_delay,
            own_ssrc,
            reduced_size: answer.reduced_size,
        };
        let mut receiver = Receiver::new(started, session, setup.receive.clone());
        receiver.stats.answered = Some(now() - started);
        let sight = Mutex::new(Sight::new(video));
        let shared = Arc::new(Shared { receiver: Mutex::new(receiver), sight, changed: Notify::new() });
        let any = if setup.ipv6 {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        };
        let socket = socket(any)?;
        let port = socket.local_addr()?.port();
        let stop = CancellationToken::new();
        let peer = Peer {
            shared: shared.clone(),
            socket,
            started,
            random,
            username: format!("{}:{ufrag}", answer.ufrag),
            answer: answer.clone(),
            identity,
            only_aes_cm: setup.only_aes_cm,
            glance: setup.glance,
        };
        let task = tokio::spawn({
            let (shared, stop) = (shared.clone(), stop.clone());
            async move {
                let done = stop.run_until_cancelled(peer.run()).await;
                if let Some(Err(error)) = done {
                    shared.lock().stats.ended.get_or_insert(error.to_string());
                }
                shared.changed.notify_waiters();
            }
        });
        Ok(Self { shared, stop, task, port, credentials: (ufrag, password), resource, response, answer })
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats.clone()
    }

    /// Packets the kernel had no room for on this viewer's socket: our fault, not the box's.
    pub fn socket_drops(&self) -> u64 {
        let needle = format!(":{:04X} ", self.port);
        ["/proc/net/udp", "/proc/net/udp6"]
            .iter()
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .flat_map(|table| {
                let drops = |line: &str| {
                    let local = line.split_whitespace().nth(1)?;
                    format!("{local} ").ends_with(&needle).then(|| line.split_whitespace().last()?.parse().ok())?
                };
                table.lines().filter_map(drops).collect::<Vec<u64>>()
            })
            .sum()
    }

    /// What a viewer that only glances has seen so far.
    pub fn sight(&self) -> Sight {
        self.shared.sight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every whole picture so far, oldest first (the last 20 000).
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.iter().copied().collect()
    }

    /// The pictures' bit stream in Annex B form, when it is kept.
    pub fn bitstream(&self) -> Vec<u8> {
        self.shared.lock().bitstream.clone()
    }

    /// Waits until `enough` holds.
    ///
    /// # Errors
    /// It did not within `within`, or the session ended; the counters say how far it came.
    pub async fn wait(&self, what: &str, within: Duration, mut enough: impl FnMut(&Stats) -> bool) -> Result<Stats> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let stats = self.stats();
            if enough(&stats) {
                return Ok(stats);
            }
            if let Some(why) = &stats.ended {
                return Err(format!("waited for {what}, but the session ended: {why}; {stats:?}").into());
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(format!("waited {within:?} in vain for {what}: {:?}", self.stats()).into());
            }
        }
    }

    /// Waits until `count` more pictures have come than now.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn wait_frames(&self, count: u64, within: Duration) -> Result<Stats> {
        let wanted = self.stats().frames + count;
        self.wait(&format!("{wanted} pictures"), within, |stats| stats.frames >= wanted).await
    }

    /// Ends the session as WHEP says: DELETE, which must be answered with 200.
    ///
    /// # Errors
    /// The server does not agree.
    pub async fn close(self) -> Result<Stats> {
        let answer = http::request("DELETE", &self.resource, &[], &[]).await?;
        let stats = self.vanish().await;
        if answer.status == 200 {
            Ok(stats)
        } else {
            Err(format!("DELETE was answered {} {}", answer.status, answer.text()).into())
        }
    }

    /// Goes away without a word.
    pub async fn vanish(mut self) -> Stats {
        self.stop.cancel();
        let _ = (&mut self.task).await;
        self.stats()
    }
}

impl Drop for WhepViewer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Joins `count` viewers, at most 16 joining at a time.
///
/// # Errors
/// As the first of them that fails.
pub async fn crowd(count: usize, endpoint: &str, setup: impl Fn(usize) -> Setup) -> Result<Vec<WhepViewer>> {
    let mut viewers = Vec::with_capacity(count);
    let mut joining = tokio::task::JoinSet::new();
    for number in 0..count {
        let (endpoint, setup) = (endpoint.to_owned(), setup(number));
        joining.spawn(async move { WhepViewer::connect_with(&endpoint, setup).await });
        if joining.len() >= 16
            && let Some(joined) = joining.join_next().await
        {
            viewers.push(joined??);
        }
    }
    while let Some(joined) = joining.join_next().await {
        viewers.push(joined??);
    }
    Ok(viewers)
}

fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    u64::from(std::process::id()) << 32 | COUNT.fetch_add(1, Ordering::Relaxed)
}

fn letters(random: &mut Seeded, count: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..count).map(|_| char::from(ALPHABET[(random.next_u64() >> 58) as usize])).collect()
}

fn resolve(endpoint: &str, location: &str) -> Result<String> {
    Ok(url::Url::parse(endpoint)?.join(location)?.to_string())
}

fn socket(any: SocketAddr) -> Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(any), socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: String,
}

/// One certificate serves all viewers of a process: making it is not what is tested.
fn identity() -> Result<&'static Identity> {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    if let Some(identity) = IDENTITY.get() {
        return Ok(identity);
    }
    let provider = default_provider()?;
    let certificate = Certificate::generate_self_signed(vec!["viewer".to_owned()], provider.crypto())?;
    let der = certificate.certificate.first().ok_or("a certificate without a certificate")?;
    let fingerprint = fingerprint(der);
    Ok(IDENTITY.get_or_init(|| Identity { provider, certificate, fingerprint }))
}

fn fingerprint(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

struct Keys {
    inbound: Context,
    outbound: Context,
}

struct Peer {
    shared: Arc<Shared>,
    socket: UdpSocket,
    started: Instant,
    random: Seeded,
    username: String,
    answer: Answer,
    identity: &'static Identity,
    only_aes_cm: bool,
    glance: bool,
}

impl Peer {
    async fn run(mut self) -> Result<()> {
        let server = self.check_candidates().await?;
        self.socket.connect(server).await?;
        self.shared.lock().stats.ice = Some(now() - self.started);
        self.send_check(server, true).await?;
        let mut dtls = Endpoint::new(self.socket.local_addr()?, TransportProtocol::UDP, None);
        dtls.connect(now(), server, self.dtls_config(server)?, None)?;
        let mut keys = None;
        let mut buffer = vec![0u8; 2048];
        let mut next_check = now() + Duration::from_millis(2500);
        self.flush(&mut dtls).await?;
        loop {
            if self.glance && keys.is_some() {
                return self.glance(server).await;
            }
            let mut deadline = next_check;
            deadline = deadline.min(now() + Duration::from_millis(if keys.is_some() { 200 } else { 20 }));
            if self.shared.lock().is_impatient() {
                deadline = deadline.min(now() + Duration::from_millis(5));
            }
            tokio::select! {
                ready = self.socket.readable() => ready?,
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            let mut pictures = self.shared.lock().stats.frames;
            for _ in 0..256 {
                let size = match self.socket.try_recv(&mut buffer) {
                    Ok(size) => size,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // An ICMP "port unreachable" is what a restarting server looks like.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => break,
                    Err(error) => return Err(error.into()),
                };
                let packet = buffer.get(..size).unwrap_or_default();
                match packet.first() {
                    Some(0..=3) => self.stun(packet),
                    Some(20..=63) => {
                        let events = dtls.read(now(), server, None, BytesMut::from(packet))?;
                        for event in events {
                            match event {
                                EndpointEvent::HandshakeComplete => keys = Some(self.keys(&dtls, server)?),
                                EndpointEvent::PeerClosed => return Err("DTLS close_notify".into()),
                                _ => {}
                            }
                        }
                        self.flush(&mut dtls).await?;
                    }
                    Some(128..=191) => self.media(keys.as_mut(), packet),
                    _ => self.shared.lock().stats.undecipherable += 1,
                }
            }
            let feedback = {
                let mut receiver = self.shared.lock();
                pictures = receiver.stats.frames - pictures;
                receiver.poll(now())
            };
            if let Some(keys) = &mut keys {
                for packet in feedback {
                    let sealed = keys.outbound.encrypt_rtcp(&packet)?;
                    self.send(&sealed).await?;
                }
            } else {
                dtls.handle_timeout(server, now())?;
                self.flush(&mut dtls).await?;
            }
            if pictures > 0 {
                self.shared.changed.notify_waiters();
            }
            if now() >= next_check {
                self.send_check(server, true).await?;
                let jitter = self.random.next_u64() % 1000;
                next_check = now() + Duration::from_millis(2000 + jitter);
            }
        }
    }

    /// Takes in all that comes with the kernel's time of its arrival, and answers with consent checks alone.
    async fn glance(&mut self, server: SocketAddr) -> Result<()> {
        sight::stamp(&self.socket)?;
        loop {
            let next_check = tokio::time::Instant::now() + Duration::from_millis(2500);
            self.send_check(server, true).await?;
            while tokio::time::timeout_at(next_check, self.socket.readable()).await.is_ok() {
                let mut sight = self.shared.sight.lock().unwrap_or_else(PoisonError::into_inner);
                sight.drain(&self.socket)?;
            }
        }
    }

    async fn send(&self, packet: &[u8]) -> Result<()> {
        match self.socket.send(packet).await {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn flush(&self, dtls: &mut Endpoint) -> Result<()> {
        while let Some(transmit) = dtls.poll_transmit() {
            self.send(&transmit.message).await?;
        }
        Ok(())
    }

    /// RFC 8445 §6: asks every candidate until one answers with proof that it knows the password.
    async fn check_candidates(&mut self) -> Result<SocketAddr> {
        let v6 = self.socket.local_addr()?.is_ipv6();
        let candidates: Vec<_> =
            self.answer.candidates.iter().copied().filter(|candidate| candidate.is_ipv6() == v6).collect();
        if candidates.is_empty() {
            return Err(format!("no usable candidate among {:?}", self.answer.candidates).into());
        }
        let mut buffer = [0u8; 2048];
        for _ in 0..200 {
            for candidate in &candidates {
                // An address that cannot be reached from here is no failure of the others.
                let _ = self.send_check(*candidate, false).await;
            }
            let round = tokio::time::Instant::now() + Duration::from_millis(50);
            while let Ok(received) = tokio::time::timeout_at(round, self.socket.recv_from(&mut buffer)).await {
                let Ok((size, from)) = received else { continue };
                if candidates.contains(&from) && self.is_proof(buffer.get(..size).unwrap_or_default()) {
                    return Ok(from);
                }
            }
        }
        Err(format!("none of {candidates:?} answered a check within 10 s").into())
    }

    async fn send_check(&mut self, to: SocketAddr, nominate: bool) -> Result<()> {
        let check = self.check(nominate)?;
        if self.socket.peer_addr().is_ok() {
            self.send(&check).await
        } else {
            self.socket.send_to(&check, to).await?;
            Ok(())
        }
    }

    /// RFC 8445 §7.1.1, as the controlling side.
    fn check(&mut self, nominate: bool) -> Result<Vec<u8>> {
        let crypto = self.identity.provider.crypto();
        let attribute = |typ, value: Vec<u8>| RawAttribute { typ, length: value.len() as u16, value };
        let mut transaction = [0u8; 12];
        for chunk in transaction.chunks_mut(8) {
            chunk.copy_from_slice(&self.random.next_u64().to_be_bytes()[..chunk.len()]);
        }
        let mut setters: Vec<Box<dyn Setter>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId(transaction)),
            Box::new(attribute(ATTR_USERNAME, self.username.clone().into_bytes())),
            Box::new(attribute(ATTR_PRIORITY, 0x6e00_1eff_u32.to_be_bytes().to_vec())),
            Box::new(attribute(ATTR_ICE_CONTROLLING, 0x1234_5678_9abc_def0_u64.to_be_bytes().to_vec())),
        ];
        if nominate {
            setters.push(Box::new(attribute(ATTR_USE_CANDIDATE, Vec::new())));
        }
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
            self.answer.password.clone(),
            crypto,
        )));
        setters.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&setters)?;
        drop(setters);
        Ok(message.raw)
    }

    fn is_proof(&self, packet: &[u8]) -> bool {
        let mut message = Message::new();
        is_stun_message(packet)
            && message.unmarshal_binary(packet).is_ok()
            && message.typ == BINDING_SUCCESS
            && FINGERPRINT.check(&message).is_ok()
            && MessageIntegrity::check(&mut message, self.answer.password.as_bytes(), self.identity.provider.crypto())
                .is_ok()
    }

    fn stun(&self, packet: &[u8]) {
        let proof = self.is_proof(packet);
        let mut receiver = self.shared.lock();
        if proof {
            receiver.stats.consents += 1;
        } else {
            let mut message = Message::new();
            if message.unmarshal_binary(packet).is_ok() && message.typ == BINDING_ERROR {
                // RFC 7675 §5.1: consent refused means the session is over.
                receiver.stats.ended = Some("the server no longer answers our checks".to_owned());
            } else {
                receiver.stats.undecipherable += 1;
            }
        }
    }

    fn media(&self, keys: Option<&mut Keys>, packet: &[u8]) {
        let mut receiver = self.shared.lock();
        let Some(keys) = keys else {
            receiver.stats.undecipherable += 1;
            return;
        };
        // RFC 5761 §4: RTCP packet types are 192–223 in the second byte.
        if matches!(packet.get(1), Some(192..=223)) {
            match keys.inbound.decrypt_rtcp(packet) {
                Ok(plain) => receiver.rtcp(now(), &plain),
                Err(_) => receiver.stats.undecipherable += 1,
            }
        } else {
            match keys.inbound.decrypt_rtp(packet) {
                Ok(plain) => receiver.rtp(now(), &plain),
                Err(_) => receiver.stats.undecipherable += 1,
            }
        }
    }

    fn dtls_config(&self, server: SocketAddr) -> Result<Arc<HandshakeConfig>> {
        let expected = self.answer.fingerprint.clone();
        let mut profiles = vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
        if !self.only_aes_cm {
            profiles.insert(0, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm);
        }
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.identity.provider.clone())
            .with_certificates(vec![self.identity.certificate.clone()])
            .with_srtp_protection_profiles(profiles)
            .with_flight_interval(Duration::from_millis(100))
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _| {
                let seen = chain.first().map(|der| fingerprint(der)).unwrap_or_default();
                if seen == expected {
                    Ok(())
                } else {
                    Err(DtlsError::Other(format!("the certificate is {seen}, the answer said {expected}")))
                }
            })))
            .build(true, Some(server))?;
        Ok(Arc::new(config))
    }

    /// RFC 5764 §4.2.
    fn keys(&self, dtls: &Endpoint, server: SocketAddr) -> Result<Keys> {
        let state = dtls.get_connection_state(server).ok_or("DTLS is done, but its state is gone")?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            other => return Err(format!("the server chose {other:?}, which was not offered").into()),
        };
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))?;
        let material: &[u8] = material.as_ref();
        let (keys, salts) = material.split_at(2 * key);
        let (client_key, server_key) = keys.split_at(key);
        let (client_salt, server_salt) = salts.split_at(salt);
        let crypto = self.identity.provider.crypto();
        let keys = Keys {
            inbound: Context::new(server_key, server_salt, profile, None, None, crypto)?,
            outbound: Context::new(client_key, client_salt, profile, None, None, crypto)?,
        };
        let mut receiver = self.shared.lock();
        receiver.stats.dtls = Some(now() - self.started);
        receiver.stats.profile = format!("{profile:?}");
        Ok(keys)
    }
}
