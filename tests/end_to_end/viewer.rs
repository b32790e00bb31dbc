//! The viewer of the tests, tested itself: against a server of twenty lines on the same crates.

use crate::support::appliance::free_port;
use crate::support::receiver::Options;
use crate::support::viewer::{Setup, WhepViewer};
use crate::support::{Result, now};
use bytes::BytesMut;
use rtc_dtls::config::ConfigBuilder;
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::crypto::default_provider;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_SUCCESS, Message, TransactionId};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const PASSWORD: &str = "server-password-of-24-ch";

/// Answers one offer, then sends `frames` IDR pictures of three packets each, and what NACKs ask for.
async fn serve(listener: TcpListener, media_port: u16, frames: u16, profile: SrtpProtectionProfile) -> Result<()> {
    let provider = default_provider()?;
    let certificate = Certificate::generate_self_signed(vec!["server".to_owned()], provider.crypto())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.certificate[0]);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let socket = UdpSocket::bind(("127.0.0.1", media_port)).await?;

    let (mut http, _) = listener.accept().await?;
    let mut request = [0u8; 16 * 1024];
    let size = http.read(&mut request).await?;
    assert!(String::from_utf8_lossy(&request[..size]).contains("a=rtpmap:102 H264/90000"));
    let sdp = format!(
        "v=0\r\na=ice-lite\r\na=fingerprint:sha-256 {hex}\r\nm=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=setup:passive\r\n\
         a=ice-ufrag:srv\r\na=ice-pwd:{PASSWORD}\r\na=rtcp-rsize\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\n\
         a=fmtp:103 apt=102\r\na=candidate:1 1 udp 2130706431 127.0.0.1 {media_port} typ host\r\n"
    );
    let head = format!("HTTP/1.1 201 Created\r\nLocation: /session\r\nContent-Length: {}\r\n\r\n", sdp.len());
    http.write_all((head + &sdp).as_bytes()).await?;

    let config = ConfigBuilder::default()
        .with_crypto_provider(provider.clone())
        .with_certificates(vec![certificate])
        .with_srtp_protection_profiles(vec![profile])
        .build(false, None)?;
    let mut dtls = Endpoint::new(socket.local_addr()?, TransportProtocol::UDP, Some(Arc::new(config)));
    let mut keys: Option<(Context, Context)> = None;
    let mut sent = Vec::new();
    let mut next = 65_530u16;
    let mut buffer = [0u8; 2048];
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let mut viewer = None;
    loop {
        let (size, from) = tokio::select! {
            received = socket.recv_from(&mut buffer) => received?,
            _ = tick.tick() => {
                if let (Some((seal, _)), Some(viewer)) = (&mut keys, viewer)
                    && sent.len() < usize::from(frames) * 3
                {
                    let timestamp = u32::try_from(sent.len())? * 1000;
                    for payload in [&[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1][..], &[0x7c, 0x85, 1], &[0x7c, 0x45, 2]] {
                        let marker = payload[1] == 0x45;
                        let mut packet = vec![0x80, 102 | u8::from(marker) << 7];
                        packet.extend_from_slice(&next.to_be_bytes());
                        packet.extend_from_slice(&timestamp.to_be_bytes());
                        packet.extend_from_slice(&[0, 0, 0, 1]);
                        packet.extend_from_slice(payload);
                        socket.send_to(&seal.encrypt_rtp(&packet)?, viewer).await?;
                        sent.push(packet);
                        next = next.wrapping_add(1);
                    }
                }
                continue;
            }
        };
        viewer = Some(from);
        match buffer[0] {
            0..=3 => {
                let mut request = Message::new();
                request.unmarshal_binary(&buffer[..size])?;
                MessageIntegrity::check(&mut request, PASSWORD.as_bytes(), provider.crypto())?;
                let mut answer = Message::new();
                answer.build(&[
                    Box::new(BINDING_SUCCESS),
                    Box::new(TransactionId(request.transaction_id.0)),
                    Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
                        PASSWORD.to_owned(),
                        provider.crypto(),
                    )),
                    Box::new(FINGERPRINT),
                ])?;
                socket.send_to(&answer.raw, from).await?;
            }
            20..=63 => {
                for event in dtls.read(now(), from, None, BytesMut::from(&buffer[..size]))? {
                    if matches!(event, EndpointEvent::HandshakeComplete) {
                        let state = dtls.get_connection_state(from).unwrap();
                        let profile = match state.srtp_protection_profile() {
                            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
                            _ => ProtectionProfile::Aes128CmHmacSha1_80,
                        };
                        let (key, salt) = (profile.key_len(), profile.salt_len());
                        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))?;
                        let part = |from, size| &material.as_ref()[from..from + size];
                        let context = |key, salt| Context::new(key, salt, profile, None, None, provider.crypto());
                        keys = Some((
                            context(part(key, key), part(2 * key + salt, salt))?,
                            context(part(0, key), part(2 * key, salt))?,
                        ));
                    }
                }
                while let Some(transmit) = dtls.poll_transmit() {
                    socket.send_to(&transmit.message, from).await?;
                }
            }
            _ => {
                let (seal, open) = keys.as_mut().unwrap();
                let feedback = open.decrypt_rtcp(&buffer[..size])?;
                for pair in feedback[12..].chunks(4).filter(|_| feedback[1] == 205) {
                    let (first, others) =
                        (u16::from_be_bytes([pair[0], pair[1]]), u16::from_be_bytes([pair[2], pair[3]]));
                    for ahead in (0..17u16).filter(|ahead| *ahead == 0 || others & (1 << (ahead - 1)) != 0) {
                        let wanted = first.wrapping_add(ahead);
                        let original: &Vec<u8> = &sent[usize::from(wanted.wrapping_sub(65_530))];
                        let mut packet = original[..12].to_vec();
                        packet[1] = 103 | packet[1] & 0x80;
                        packet[2..4].copy_from_slice(&next.to_be_bytes());
                        packet[11] = 2;
                        packet.extend_from_slice(&wanted.to_be_bytes());
                        packet.extend_from_slice(&original[12..]);
                        socket.send_to(&seal.encrypt_rtp(&packet)?, from).await?;
                    }
                }
            }
        }
    }
}

async fn watch(profile: SrtpProtectionProfile, setup: Setup) -> Result<crate::support::receiver::Stats> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}/pgm/whep", listener.local_addr()?);
    let server = tokio::spawn(serve(listener, free_port(), 100, profile));
    let viewer = WhepViewer::connect_with(&endpoint, setup).await?;
    let stats = viewer.wait("100 pictures", Duration::from_secs(10), |stats| stats.frames == 100).await;
    if server.is_finished() {
        server.await??;
    }
    assert_eq!(viewer.seen().len(), 100);
    assert_eq!(viewer.resource, endpoint.replace("/pgm/whep", "/session"));
    stats
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_decrypts_both_ciphers_and_counts_every_picture() -> Result<()> {
    for (profile, only_aes_cm) in [
        (SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, false),
        (SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, true),
    ] {
        let stats = watch(profile, Setup { only_aes_cm, ..Setup::default() }).await?;
        assert_eq!((stats.packets, stats.idrs, stats.lost, stats.undecipherable), (300, 100, 0, 0));
        assert_eq!((stats.bare_idrs, stats.broken_frames, stats.timestamp_faults), (0, 0, 0));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_repairs_what_it_drops_on_purpose() -> Result<()> {
    let receive = Options { drop_fraction: 0.1, ..Options::default() };
    let stats = watch(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, Setup { receive, ..Setup::default() }).await?;
    assert!(stats.dropped > 0);
    assert_eq!((stats.recovered, stats.lost), (stats.dropped, 0));
    Ok(())
}
