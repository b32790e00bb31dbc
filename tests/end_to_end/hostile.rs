//! Malformed and oversized input gets a 4xx or a close, and changes nothing.

use crate::media::live;
use crate::support::appliance::{Appliance, Settings};
use crate::support::http::{raw, request};
use crate::support::source::Picture;
use crate::support::viewer::WhepViewer;
use crate::support::ws::Socket;
use crate::support::{Result, Seeded};
use crate::{SOON, turn};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

/// The status without what moves by itself.
async fn still(appliance: &Appliance) -> Result<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|name, _| {
                    !["uptime", "age", "now", "seq", "problems", "rejected", "refused", "since", "at_ms", "ago", "used"]
                        .iter()
                        .any(|part| name.contains(part))
                });
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut status = appliance.status().await?;
    strip(&mut status);
    Ok(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_http_is_refused_and_changes_nothing() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let before = still(&appliance).await?;
    let long = "a".repeat(100_000);
    let many: String = (0..2000).map(|number| format!("X-{number}: y\r\n")).collect();
    let requests: Vec<Vec<u8>> = vec![
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0xff; 5000],
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", long.repeat(40)).into_bytes(),
        b"POST /pgm/whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /pgm/whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 99999999999999999999\r\n\r\n"
            .to_vec(),
        b"POST /pgm/whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
            .to_vec(),
        b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /assets/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: x\r\n\r\n"
            .to_vec(),
        b"DELETE /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        // Lines slipped into a header, and bodies of two lengths.
        b"GET / HTTP/1.1\r\nHost: x\rSet-Cookie: a=b\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n Set-Cookie: a=b\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\0y\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost : x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /pgm\r\nSet-Cookie: a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /pgm\tx HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"POST /pgm/whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nv=0"
            .to_vec(),
        b"POST /pgm/whep HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
            .to_vec(),
    ];
    for bytes in requests {
        let shown = String::from_utf8_lossy(bytes.get(..bytes.len().min(80)).unwrap_or_default()).into_owned();
        match tokio::time::timeout(SOON, raw(&appliance.authority(), &bytes)).await? {
            Ok(answer) => {
                assert!(
                    answer.status == 0 || (400..500).contains(&answer.status) || answer.status == 505,
                    "{shown:?}: {answer:?}"
                );
                assert!(!answer.text().contains("root:"), "{shown:?}");
                assert_eq!(answer.header("set-cookie"), None, "{shown:?}");
            }
            // Cut off without an answer is a close; no answer within the time is not.
            Err(error) => assert!(!error.to_string().contains("within"), "{shown:?}: {error}"),
        }
    }
    assert_eq!(still(&appliance).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_offers_are_refused_and_disturb_nobody() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait_frames(10, SOON).await?;
    let good = crate::support::sdp::Offer {
        ufrag: "abcd",
        password: "abcdefghijklmnopqrstuvwx",
        fingerprint: &["AB"; 32].join(":"),
        sound: true,
    }
    .to_sdp();
    let offers: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"v=0\r\n".to_vec(),
        vec![0; 1000],
        vec![0xff; 1000],
        b"v=0\r\n".repeat(100_000),
        good.repeat(400).into_bytes(),
        good.replace("a=ice-ufrag:abcd\r\n", "").into_bytes(),
        good.replace("a=fingerprint:sha-256", "a=fingerprint:md5").into_bytes(),
        good.replace("AB:AB", "ZZ:AB").into_bytes(),
        good.replace("a=recvonly", "a=sendonly").into_bytes(),
        good.replace("H264", "H999").into_bytes(),
        good.replace("a=setup:actpass", "a=setup:holdconn").into_bytes(),
        good.replace("a=rtpmap:102 ", "a=rtpmap:99999999999 ").replace("H264/90000", "H264/0").into_bytes(),
    ];
    for (number, offer) in offers.into_iter().enumerate() {
        let answer = request("POST", &appliance.whep("pgm"), &[("Content-Type", "application/sdp")], &offer).await?;
        assert!(answer.status == 0 || (400..500).contains(&answer.status), "offer {number}: {answer:?}");
    }
    let status = appliance.status().await?;
    let viewers = crate::stream(&status, "pgm").map(|stream| stream["viewers"].clone());
    assert_eq!(viewers, Some(1.into()), "no refused offer leaves a session behind: {status}");
    // Every prefix and many mutilations of a good offer: any answer but a fault of the server will do.
    let mut random = Seeded(7);
    for round in 0..60usize {
        let mut offer = good.clone().into_bytes();
        if round % 2 == 0 {
            offer.truncate((random.next_u64() % offer.len() as u64) as usize);
        } else {
            for _ in 0..20 {
                let at = (random.next_u64() % offer.len() as u64) as usize;
                offer[at] = random.next_u64() as u8;
            }
        }
        let answer = request("POST", &appliance.whep("pgm"), &[("Content-Type", "application/sdp")], &offer).await?;
        assert!(answer.status < 500, "{answer:?}");
        if answer.status == 201 {
            let location = answer.header("location").ok_or("no Location")?;
            let resource = url::Url::parse(&appliance.whep("pgm"))?.join(location)?;
            assert_eq!(request("DELETE", resource.as_str(), &[], &[]).await?.status, 200);
        }
    }
    let stats = viewer.wait_frames(30, SOON).await?;
    assert_eq!((stats.lost, stats.broken_frames), (0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_close_their_own_socket_and_no_other() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let before = still(&appliance).await?;
    let mut good = Socket::open(&appliance.authority()).await?;
    let messages = [
        (Message::text("not JSON"), 1008),
        (Message::text("{}"), 1008),
        (Message::text("[1]"), 1008),
        (Message::text("{\"type\":\"tally\"}"), 1008),
        (Message::text("{\"type\":\"ping\",\"id\":\"x\"}"), 1008),
        (Message::text("{\"type\":\"watch\",\"stream\":7}"), 1008),
        (Message::text("{\"type\":\"watch\",\"stream\":\"pgm\",\"session\":\"../../whep\"}"), 1008),
        (Message::text("{\"type\":\"delay\",\"ms\":-1}"), 1008),
        (Message::text("{\"type\":\"delay\",\"ms\":1e300}"), 1008),
        (Message::text(format!("{{\"type\":\"ping\",\"id\":1,\"x\":\"{}\"}}", "x".repeat(5000))), 1009),
        (Message::text("[".repeat(4000)), 1008),
        (Message::binary(vec![0; 100]), 1008),
        (Message::binary(vec![0; 1 << 20]), 1009),
    ];
    for (message, code) in messages {
        let shown = format!("{message:?}").chars().take(60).collect::<String>();
        let mut socket = Socket::open(&appliance.authority()).await?;
        // The box may close while a large message is still on its way.
        let _ = socket.send_message(message).await;
        let closed = socket.closed(SOON).await.map_err(|error| format!("{shown}: {error}"))?;
        assert!(closed == code || closed == 0 && code == 1009 || matches!(closed, 1003 | 1007), "{shown}: {closed}");
    }
    good.send("{\"type\":\"ping\",\"id\":1}").await?;
    good.find("clock", SOON, |message| message["id"] == 1).await?;
    drop(good);
    assert_eq!(still(&appliance).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_on_the_udp_ports_disturbs_nobody() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait_frames(10, SOON).await?;
    let noise = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let mut random = Seeded(11);
    for round in 0..4000u32 {
        let size = (random.next_u64() % 1500) as usize;
        let mut datagram: Vec<u8> = (0..size).map(|_| random.next_u64() as u8).collect();
        // First bytes of STUN, DTLS handshakes and alerts, RTP, RTCP; SRT control and data packets.
        if let Some(first) = datagram.first_mut() {
            *first = [0, 1, 22, 21, 128, 129, 0x80, 0x00, random.next_u64() as u8][round as usize % 9];
        }
        if round % 5 == 0 && datagram.len() > 8 {
            datagram[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
        }
        let port = if round % 2 == 0 { appliance.webrtc_port } else { appliance.srt_port };
        let _ = noise.send_to(&datagram, ("127.0.0.1", port)).await;
        if round % 100 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
    let stats = viewer.wait_frames(60, SOON).await?;
    assert_eq!((stats.lost, stats.broken_frames, stats.undecipherable), (0, 0, 0), "{stats:?}");
    assert!(appliance.status().await.is_ok());
    Ok(())
}
