//! Viewers that come over TCP.

use tokio::net::TcpSocket;

use super::client::Stream;
use super::*;
use crate::webrtc::ice::{Path, Transport};

impl TestBox {
    async fn viewer_over_tcp(&mut self) -> (Client, Created) {
        let (mut client, created) = self.viewer().await;
        client.connect_stream().await;
        assert!(client.connect().await);
        (client, created)
    }
}

/// Whether the transport of the only session becomes this one.
async fn goes_over(server: &TestBox, transport: Transport) {
    let is_so = |sessions: &[SessionStatus]| sessions.iter().all(|session| session.transport == Some(transport));
    server.comes_to("another transport", is_so).await;
}

#[tokio::test]
async fn a_viewer_over_tcp_gets_pictures_and_what_it_misses_and_ends_with_its_session() {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        let mut server = TestBox::start(listen, 10);
        let mut source = server.publish();
        source.picture(true, 100_000);
        let (mut client, created) = server.viewer_over_tcp().await;
        assert!(created.answer_sdp.contains(" typ host tcptype passive"), "{}", created.answer_sdp);
        let first = access_unit(&mut client).await;
        assert_eq!(first[0].2[0] & 0x1f, 24, "parameter sets first");
        assert_eq!(first.iter().map(|(_, _, payload)| payload.len()).sum::<usize>(), 100_000 + 1 + 11 + 87 * 2);
        source.picture(false, 500);
        let second = access_unit(&mut client).await;
        client.send_rtcp(&nack(ssrcs(&created)[0], second[0].0)).await;
        let again = loop {
            if let Got::Rtp { payload_type: 97, payload, .. } = client.next().await.expect("what was missed") {
                break payload;
            }
        };
        assert_eq!(again[2..], second[0].2);
        goes_over(&server, Transport::Tcp).await;
        let stream = client.stream.as_ref().unwrap();
        assert_eq!(server.handle.sessions()[0].peer, stream.io.local_addr().ok());
        assert!(server.handle.remove(&created.session_id).await);
        says_goodbye(&mut client).await;
        assert!(client.stream.unwrap().is_closed().await);
        server.becomes_empty().await;
    }
}

#[tokio::test]
async fn a_connection_that_proves_nothing_is_closed_without_a_byte() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer().await;
    let username = client.username.clone();
    let password = std::mem::replace(&mut client.password, "a password that is guessed".into());
    client.connect_stream().await;
    client.check().await;
    assert!(client.stream.take().unwrap().is_closed().await, "a wrong password");
    (client.username, client.password) = ("nobody:viewer".into(), password);
    client.connect_stream().await;
    client.check().await;
    assert!(client.stream.take().unwrap().is_closed().await, "no such session");
    client.username = username;
    client.connect_stream().await;
    client.begin_handshake();
    client.flush().await;
    assert!(client.stream.take().unwrap().is_closed().await, "DTLS before a check");
    client.connect_stream().await;
    assert!(client.connect().await, "and the right one works afterwards");
}

#[tokio::test]
async fn media_goes_where_the_viewer_nominates_and_to_another_path_when_a_connection_breaks() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    // Over UDP, then nominated over TCP.
    let (mut client, _) = server.viewer().await;
    assert!(client.connect().await);
    access_unit(&mut client).await;
    client.connect_stream().await;
    client.check().await;
    assert!(client.receive().await.is_some());
    source.picture(false, 500);
    access_unit(&mut client).await;
    goes_over(&server, Transport::Tcp).await;
    // The connection breaks: what was proven before takes over.
    let broken = client.stream.take().unwrap();
    drop(broken);
    goes_over(&server, Transport::Udp).await;
    source.picture(false, 500);
    access_unit(&mut client).await;
    // A new connection is nominated.
    client.connect_stream().await;
    client.check().await;
    assert!(client.receive().await.is_some());
    goes_over(&server, Transport::Tcp).await;
    source.picture(false, 500);
    access_unit(&mut client).await;
}

#[tokio::test]
async fn a_viewer_whose_only_connection_broke_comes_back_by_another() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer_over_tcp().await;
    access_unit(&mut client).await;
    drop(client.stream.take());
    server.comes_to("no path", |sessions| sessions.iter().all(|session| session.peer.is_none())).await;
    source.picture(false, 500);
    client.connect_stream().await;
    client.check().await;
    assert!(client.receive().await.is_some());
    source.picture(true, 500);
    assert_eq!(access_unit(&mut client).await[0].2[0] & 0x1f, 24);
}

#[tokio::test]
async fn a_check_whose_connection_ended_while_it_waited_leads_the_picture_nowhere() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer().await;
    assert!(client.connect().await);
    access_unit(&mut client).await;
    let peer = "127.0.0.1:9".parse().unwrap();
    let path = Path { local: IpAddr::from([127, 0, 0, 1]), peer, transport: Transport::Tcp };
    server.arrivals.send(tcp::Arrival::Datagram(path, client.nomination())).await.unwrap();
    while server.arrivals.capacity() < server.arrivals.max_capacity() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.handle.felt().await;
    source.picture(false, 500);
    access_unit(&mut client).await;
    goes_over(&server, Transport::Udp).await;
}

#[tokio::test]
async fn a_viewer_that_stops_reading_holds_up_nobody_and_sees_the_present_when_it_goes_on() {
    let config = Config { threads: 2, ..config("127.0.0.1:0".parse().unwrap(), 10) };
    let mut server = TestBox::start_with(config, || Box::new(AsItIs));
    let mut source = server.publish();
    source.picture(true, 500);
    // One is served by the controlling thread, one by another.
    let mut stalled = Vec::new();
    for _ in 0..2 {
        source.picture(true, 500);
        let (mut client, _) = server.viewer().await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(128 << 10).unwrap();
        client.stream = Some(Stream::of(socket, client.box_address.unwrap()).await);
        assert!(client.connect().await);
        access_unit(&mut client).await;
        stalled.push(client);
    }
    let (mut other, _) = server.viewer().await;
    assert!(other.connect().await);
    access_unit(&mut other).await;
    let lost = |sessions: &[SessionStatus]| {
        let over_tcp = |session: &&SessionStatus| session.transport == Some(Transport::Tcp);
        sessions.iter().filter(over_tcp).map(|session| session.counts.dropped_units).min().unwrap_or_default()
    };
    let mut pictures = 0;
    while lost(&server.handle.sessions()) < 5 {
        assert!(pictures < 20_000, "nothing was dropped");
        source.picture(pictures % 40 == 0, 20_000);
        // Nobody else waits or loses anything.
        access_unit(&mut other).await;
        pictures += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for client in &mut stalled {
        // What waited is old, and little: of a quarter of a second, 50 pictures. The current group may follow.
        let mut old = 0;
        while let Some(got) = client.next().await {
            assert_ne!(got, Got::Closed);
            old += 1;
        }
        assert!(old < 3_000, "{old} packets were kept for it");
    }
    source.picture(true, 500);
    server.handle.felt().await;
    let (newest, _) = *server.handle.recent_frames(&StreamName::program()).last().unwrap();
    for client in &mut stalled {
        let present = loop {
            let unit = access_unit(client).await;
            if unit[0].1 == newest {
                break unit;
            }
        };
        assert_eq!(present[0].2[0] & 0x1f, 24, "it needs no other");
    }
    server.comes_to("all play", |sessions| sessions.iter().all(|session| session.state == "playing")).await;
}

#[tokio::test]
async fn a_thousand_silent_connections_leave_room_for_a_viewer_and_go() {
    let mut server = TestBox::start("127.0.0.1:0", 4);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer().await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(Stream::connect(client.box_address.unwrap()).await);
    }
    client.connect_stream().await;
    assert!(client.connect().await);
    source.picture(true, 500);
    access_unit(&mut client).await;
    for stream in &silent[..900] {
        assert!(stream.is_closed().await);
    }
}

#[tokio::test]
async fn without_its_tcp_port_the_box_serves_viewers_over_udp_and_offers_nothing_else() {
    // Free for UDP, most likely: the system gives out ports in another order for each.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = config(taken.local_addr().unwrap(), 10);
    let unwanted = Config { over_tcp: false, ..config("127.0.0.1:0".parse().unwrap(), 10) };
    for config in [wanted, unwanted] {
        let (_, server) = Server::bind(config.clone(), Clock::system()).unwrap();
        assert!(!server.serves_tcp());
        drop(server);
        let mut server = TestBox::start_with(config, || Box::new(AsItIs));
        let mut source = server.publish();
        source.picture(true, 500);
        let (mut client, created) = server.viewer().await;
        assert!(!created.answer_sdp.contains(" tcp "), "{}", created.answer_sdp);
        assert!(client.connect().await);
        access_unit(&mut client).await;
        let fragment =
            "a=ice-ufrag:viewer\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
        let restarted = server.handle.restart_ice(&created.session_id, fragment).await.unwrap();
        assert!(restarted.sdpfrag.contains(" udp ") && !restarted.sdpfrag.contains(" tcp "), "{}", restarted.sdpfrag);
        server.stop.cancel();
        assert!(server.running.await.unwrap().is_ok());
    }
}
