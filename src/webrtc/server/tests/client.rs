//! A viewer made of other implementations: `rtc-stun`, `rtc-dtls` and `rtc-srtp`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Offered;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::clock::Clock;
use crate::webrtc::dtls::{Fingerprint, FingerprintHash};

pub(super) const UFRAG: &str = "viewer";

pub(super) struct Client {
    clock: Clock,
    provider: Arc<dyn RTCCryptoProvider>,
    pub(super) certificate: Certificate,
    pub(super) profiles: Vec<Offered>,
    pub(super) takes_sound: bool,
    pub(super) socket: UdpSocket,
    /// Takes the place of the socket.
    pub(super) stream: Option<Stream>,
    pub(super) box_address: Option<SocketAddr>,
    pub(super) username: String,
    pub(super) password: String,
    inbound: Option<Context>,
    outbound: Option<Context>,
    pub(super) profile: Option<Offered>,
    endpoint: Option<Endpoint>,
}

/// A connection to the media port, datagrams framed as RFC 4571 says.
pub(super) struct Stream {
    pub(super) io: TcpStream,
    read: Mutex<Vec<u8>>,
}

impl Stream {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::of(TcpSocket::new_v4().unwrap(), address).await
    }

    pub(super) async fn of(socket: TcpSocket, address: SocketAddr) -> Self {
        Self { io: socket.connect(address).await.unwrap(), read: Mutex::default() }
    }

    /// Whether the box closes it within some seconds, without a byte.
    pub(super) async fn is_closed(&self) -> bool {
        let closed = tokio::time::timeout(Duration::from_secs(30), async {
            self.io.readable().await.unwrap();
            matches!(self.io.try_read(&mut [0; 1]), Ok(0) | Err(_))
        });
        closed.await == Ok(true)
    }

    pub(super) async fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.io.writable().await.unwrap();
            match self.io.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(err) => assert_eq!(err.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    }

    async fn send(&self, datagram: &[u8]) {
        self.write(&[&(datagram.len() as u16).to_be_bytes(), datagram].concat()).await;
    }

    /// `None` at the end.
    async fn receive(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut read = self.read.lock().unwrap();
                if let Some(header) = read.first_chunk() {
                    let end = 2 + usize::from(u16::from_be_bytes(*header));
                    if read.len() >= end {
                        return Some(read.drain(..end).skip(2).collect());
                    }
                }
            }
            self.io.readable().await.unwrap();
            let mut buffer = [0; 4096];
            match self.io.try_read(&mut buffer) {
                Ok(0) => return None,
                Ok(len) => self.read.lock().unwrap().extend_from_slice(&buffer[..len]),
                Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Rtp { ssrc: u32, payload_type: u8, sequence: u16, timestamp: u32, marker: bool, payload: Vec<u8> },
    Rtcp(Vec<u8>),
    Closed,
}

impl Client {
    pub(super) async fn new() -> Self {
        let provider = default_provider().unwrap();
        let certificate = Certificate::generate_self_signed(vec!["viewer".into()], provider.crypto()).unwrap();
        Self {
            clock: Clock::system(),
            provider,
            certificate,
            profiles: vec![Offered::Srtp_Aes128_Cm_Hmac_Sha1_80, Offered::Srtp_Aead_Aes_128_Gcm],
            takes_sound: false,
            socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            stream: None,
            box_address: None,
            username: String::new(),
            password: String::new(),
            inbound: None,
            outbound: None,
            profile: None,
            endpoint: None,
        }
    }

    pub(super) fn offer(&self) -> String {
        let der = &self.certificate.certificate[0];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref().to_vec();
        let fingerprint = Fingerprint { hash: FingerprintHash::Sha256, digest };
        let sound = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\n\
             a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n";
        let (bundle, sound) = if self.takes_sound { ("0 1", sound) } else { ("0", "") };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:{UFRAG}\r\n\
             a=ice-pwd:0123456789012345678901\r\na=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=recvonly\r\n\
             a=rtcp-mux\r\na=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n\
             a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
             a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n{sound}"
        )
    }

    /// Reads the answer's credentials and its candidate on 127.0.0.1.
    pub(super) fn take_answer(&mut self, sdp: &str) {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        self.username = format!("{}:{UFRAG}", value("a=ice-ufrag:"));
        self.password = value("a=ice-pwd:");
        let candidate = sdp.lines().find(|line| line.contains(" 127.0.0.1 ")).unwrap();
        let words: Vec<_> = candidate.split(' ').collect();
        self.box_address = Some(SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap()));
    }

    pub(super) async fn send(&self, datagram: &[u8]) {
        match &self.stream {
            Some(stream) => stream.send(datagram).await,
            None => _ = self.socket.send_to(datagram, self.box_address.unwrap()).await.unwrap(),
        }
    }

    pub(super) async fn check(&self) {
        self.send(&self.nomination()).await;
    }

    /// A check that nominates the path it comes along.
    pub(super) fn nomination(&self) -> Vec<u8> {
        let mut message = Message::new();
        message.typ = BINDING_REQUEST;
        message.transaction_id = TransactionId::new();
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(ATTR_PRIORITY, &1u32.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        let crypto = self.provider.crypto();
        MessageIntegrity::new_short_term_integrity_with_provider(self.password.clone(), crypto)
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    /// Goes on over TCP.
    pub(super) async fn connect_stream(&mut self) {
        self.stream = Some(Stream::connect(self.box_address.unwrap()).await);
    }

    /// The next datagram, if one comes within 500 ms.
    pub(super) async fn receive(&self) -> Option<Vec<u8>> {
        if let Some(stream) = &self.stream {
            return tokio::time::timeout(Duration::from_millis(500), stream.receive()).await.ok()?;
        }
        let mut buffer = [0; 2048];
        let received = tokio::time::timeout(Duration::from_millis(500), self.socket.recv_from(&mut buffer)).await;
        let (len, _) = received.ok()?.unwrap();
        Some(buffer[..len].to_vec())
    }

    pub(super) fn begin_handshake(&mut self) {
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(self.profiles.clone())
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_insecure_skip_verify(true)
            .build(true, None)
            .unwrap();
        let address = self.box_address.unwrap();
        let mut endpoint = Endpoint::new(self.socket.local_addr().unwrap(), TransportProtocol::UDP, None);
        endpoint.connect(self.clock.now(), address, Arc::new(config), None).unwrap();
        self.endpoint = Some(endpoint);
    }

    pub(super) async fn flush(&mut self) {
        while let Some(transmit) = self.endpoint.as_mut().unwrap().poll_transmit() {
            self.send(&transmit.message).await;
        }
    }

    /// Checks, shakes hands and keeps the keys. False when the box does not go along.
    pub(super) async fn connect(&mut self) -> bool {
        self.check().await;
        let Some(answer) = self.receive().await else { return false };
        assert_eq!(answer[..2], [1, 1], "a binding success response");
        self.begin_handshake();
        self.flush().await;
        let address = self.box_address.unwrap();
        for _ in 0..20 {
            let Some(datagram) = self.receive().await else { return false };
            if !(20..64).contains(&datagram[0]) {
                continue;
            }
            let now = self.clock.now();
            let read = self.endpoint.as_mut().unwrap().read(now, address, None, BytesMut::from(&datagram[..]));
            self.flush().await;
            let Ok(events) = read else { return false };
            if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
                self.keep_keys();
                return true;
            }
        }
        false
    }

    fn keep_keys(&mut self) {
        let state = self.endpoint.as_ref().unwrap().get_connection_state(self.box_address.unwrap()).unwrap();
        let (profile, salt) = match state.srtp_protection_profile() {
            Offered::Srtp_Aead_Aes_128_Gcm => (ProtectionProfile::AeadAes128Gcm, 12),
            _ => (ProtectionProfile::Aes128CmHmacSha1_80, 14),
        };
        self.profile = Some(state.srtp_protection_profile());
        let keys = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (16 + salt)).unwrap();
        let keys = keys.as_ref();
        let context =
            |key: &[u8], salt: &[u8]| Context::new(key, salt, profile, None, None, self.provider.crypto()).unwrap();
        self.outbound = Some(context(&keys[..16], &keys[32..32 + salt]));
        self.inbound = Some(context(&keys[16..32], &keys[32 + salt..]));
    }

    /// A control packet as it goes over the wire.
    pub(super) fn protected_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        self.outbound.as_mut().unwrap().encrypt_rtcp(plain).unwrap().to_vec()
    }

    pub(super) async fn send_rtcp(&mut self, plain: &[u8]) {
        let datagram = self.protected_rtcp(plain);
        self.send(&datagram).await;
    }

    /// The next media or control packet, decrypted.
    pub(super) async fn next(&mut self) -> Option<Got> {
        loop {
            let datagram = self.receive().await?;
            match datagram[0] {
                20..64 => {
                    let (now, address) = (self.clock.now(), self.box_address.unwrap());
                    let endpoint = self.endpoint.as_mut().unwrap();
                    let events = endpoint.read(now, address, None, BytesMut::from(&datagram[..])).unwrap();
                    if events.iter().any(|event| matches!(event, EndpointEvent::PeerClosed)) {
                        return Some(Got::Closed);
                    }
                }
                128..192 if (192..224).contains(&datagram[1]) => {
                    return Some(Got::Rtcp(self.inbound.as_mut().unwrap().decrypt_rtcp(&datagram).unwrap().to_vec()));
                }
                128..192 => {
                    let plain = self.inbound.as_mut().unwrap().decrypt_rtp(&datagram).unwrap();
                    let packet: rtc_rtp::Packet =
                        rtc_shared::marshal::Unmarshal::unmarshal(&mut plain.freeze()).unwrap();
                    return Some(Got::Rtp {
                        ssrc: packet.header.ssrc,
                        payload_type: packet.header.payload_type,
                        sequence: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload: packet.payload.to_vec(),
                    });
                }
                _ => {}
            }
        }
    }
}
