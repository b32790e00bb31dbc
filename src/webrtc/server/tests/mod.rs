//! The egress over loopback, watched by a client made of other implementations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Offered;

use super::*;
use crate::access::{Access, Asker};
use crate::hub::{Hub, JoinRequest, PublishRequest, Publisher, Renditions};
use crate::media::{AccessUnit, Codec, MediaItem, Timestamp90k, Track, TrackId, Transform, TransformProblem};
use crate::problems::Problems;
use crate::webrtc::rtcp::{self, Feedback};

mod client;
mod joining;
mod over_tcp;

use client::{Client, Got};

struct AsItIs;

impl Transform for AsItIs {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        vec![item.clone()]
    }

    fn problem(&self) -> Option<TransformProblem> {
        None
    }
}

fn config(listen: SocketAddr, max_viewers: usize) -> Config {
    let local_addresses = || vec![IpAddr::from([127, 0, 0, 1])];
    let pacing = Pacing { live_bps: None, join_bps: 100_000_000 };
    let sources = crate::access::Sources::default();
    Config {
        listen,
        over_tcp: true,
        public_addresses: vec![],
        local_addresses,
        max_viewers,
        threads: 1,
        pacing,
        lip_sync: false,
        sources,
    }
}

struct TestBox {
    clock: Clock,
    hub: Hub,
    handle: Handle,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<io::Result<()>>,
    viewers: u32,
    /// As viewers wish it.
    lip_sync: Option<bool>,
    /// Where they ask from.
    from: Option<IpAddr>,
    /// Where what comes over TCP waits.
    arrivals: mpsc::Sender<tcp::Arrival>,
}

impl TestBox {
    fn start(listen: &str, max_viewers: usize) -> Self {
        Self::start_with(config(listen.parse().unwrap(), max_viewers), || Box::new(AsItIs))
    }

    fn start_with(config: Config, sound: impl Fn() -> Box<dyn Transform> + Send + Sync + 'static) -> Self {
        let clock = Clock::system();
        let renditions = Renditions::new(|| Box::new(AsItIs), sound);
        let hub = Hub::new(clock.clone(), Access::open(None, clock.clone()), Problems::default(), renditions);
        let (handle, mut server) = Server::bind(config, clock.clone()).unwrap();
        server.worker.shards.inline_first = 1;
        let (stop, arrivals) = (CancellationToken::new(), server.tcp.arrivals.clone());
        let running = tokio::spawn(server.run(stop.clone()));
        Self { clock, hub, handle, stop, running, viewers: 0, lip_sync: None, from: None, arrivals }
    }

    fn publish(&self) -> Source {
        let from = "127.0.0.1:5000".parse().unwrap();
        let request =
            PublishRequest { stream: StreamName::program(), from, secret: None, called: false, protocol: "test" };
        let mut publisher = self.hub.publish(request).unwrap();
        let tracks = [(256, Codec::H264), (257, Codec::Opus)].map(|(id, codec)| Track { id: TrackId(id), codec });
        publisher.send(MediaItem::Tracks(Arc::new(tracks))).unwrap();
        Source { publisher, clock: self.clock.clone(), pts: 0 }
    }

    async fn create(&mut self, offer: &str) -> Result<Created, CreateError> {
        self.viewers += 1;
        let (stream, session) = (StreamName::program(), format!("session-{}", self.viewers));
        let viewer =
            self.hub.join(JoinRequest { stream, session, by: Asker { from: self.from, ..Asker::default() } }).unwrap();
        self.handle.create(offer, viewer, self.lip_sync).await
    }

    async fn viewer(&mut self) -> (Client, Created) {
        self.viewer_as(Client::new().await).await
    }

    async fn viewer_as(&mut self, mut client: Client) -> (Client, Created) {
        let created = self.create(&client.offer()).await.unwrap();
        client.take_answer(&created.answer_sdp);
        (client, created)
    }

    /// Waits until no session is left and nobody is in the hub.
    async fn becomes_empty(&self) {
        let watched = || self.hub.status(&StreamName::program()).is_some_and(|status| status.viewers > 0);
        self.comes_to("no session", |sessions| sessions.is_empty() && !watched()).await;
    }

    async fn comes_to(&self, what: &str, is_so: impl Fn(&[SessionStatus]) -> bool) {
        for _ in 0..200 {
            if is_so(&self.handle.sessions()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not {what}: {:?}", self.handle.sessions());
    }
}

struct Source {
    publisher: Publisher,
    clock: Clock,
    pts: i64,
}

impl Source {
    fn picture(&mut self, random_access: bool, bytes: usize) {
        let mut data = Vec::new();
        if random_access {
            data.extend_from_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 1, 0, 0, 0, 1, 0x68, 1]);
        }
        data.extend_from_slice(&[0, 0, 0, 1, if random_access { 0x65 } else { 0x41 }]);
        data.resize(data.len() + bytes, 7);
        let pts = Timestamp90k(self.pts);
        self.pts += 3_000;
        self.unit(TrackId(256), Codec::H264, pts, random_access, data);
    }

    /// Sound that belongs to the next picture.
    fn sound(&mut self, data: &[u8]) {
        self.unit(TrackId(257), Codec::Opus, Timestamp90k(self.pts), true, data.to_vec());
    }

    fn unit(&mut self, track: TrackId, codec: Codec, pts: Timestamp90k, random_access: bool, data: Vec<u8>) {
        let (arrived, data) = (self.clock.now(), Bytes::from(data));
        let unit = AccessUnit { track, codec, pts, dts: pts, random_access, data, arrived };
        self.publisher.send(MediaItem::Unit(Arc::new(unit))).unwrap();
    }
}

async fn rtp(client: &mut Client) -> (u16, u32, bool, Vec<u8>) {
    loop {
        match client.next().await.expect("media") {
            Got::Rtp { payload_type: 96, sequence, timestamp, marker, payload, .. } => {
                return (sequence, timestamp, marker, payload);
            }
            Got::Rtp { .. } | Got::Rtcp(_) => {}
            Got::Closed => panic!("closed"),
        }
    }
}

/// The sources of the picture and of its retransmission.
fn ssrcs(created: &Created) -> [u32; 2] {
    let line = created.answer_sdp.lines().find_map(|line| line.strip_prefix("a=ssrc-group:FID ")).unwrap();
    let mut ssrcs = line.split(' ').map(|ssrc| ssrc.parse().unwrap());
    [(); 2].map(|()| ssrcs.next().unwrap())
}

/// "The packet of this sequence number is missing."
fn nack(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut nack = vec![0x81, 205, 0, 3, 0, 0, 0, 1];
    nack.extend_from_slice(&ssrc.to_be_bytes());
    nack.extend_from_slice(&sequence.to_be_bytes());
    nack.extend_from_slice(&[0, 0]);
    nack
}

/// The packets of one access unit.
async fn access_unit(client: &mut Client) -> Vec<(u16, u32, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let (sequence, timestamp, marker, payload) = rtp(client).await;
        all.push((sequence, timestamp, payload));
        if marker {
            return all;
        }
    }
}

#[tokio::test]
async fn a_viewer_gets_the_current_group_of_pictures_at_once_and_every_picture_after_it() {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        for profiles in [
            vec![Offered::Srtp_Aes128_Cm_Hmac_Sha1_80],
            vec![Offered::Srtp_Aead_Aes_256_Gcm, Offered::Srtp_Aead_Aes_128_Gcm, Offered::Srtp_Aes128_Cm_Hmac_Sha1_80],
        ] {
            let mut server = TestBox::start(listen, 10);
            let mut source = server.publish();
            source.picture(true, 700);
            source.picture(true, 100_000);
            source.picture(false, 500);
            let mut client = Client::new().await;
            client.profiles = profiles.clone();
            let (mut client, _) = server.viewer_as(client).await;
            assert!(client.connect().await, "{listen} {profiles:?}");
            assert_ne!(client.profile, Some(Offered::Srtp_Aead_Aes_256_Gcm));
            let first = access_unit(&mut client).await;
            assert_eq!(first[0].2[0] & 0x1f, 24, "parameter sets first");
            assert_eq!(first.iter().map(|(_, _, payload)| payload.len()).sum::<usize>(), 100_000 + 1 + 11 + 87 * 2);
            let second = access_unit(&mut client).await;
            assert_eq!(second.len(), 1);
            assert_eq!(second[0].0, first[0].0.wrapping_add(first.len() as u16));
            // However long the handshake took: what follows was taken later than that.
            source.pts += Timestamp90k::HZ;
            source.picture(false, 500);
            let third = access_unit(&mut client).await;
            assert_eq!(third[0].0, second[0].0.wrapping_add(1));
            source.picture(false, 500);
            let fourth = access_unit(&mut client).await;
            // They are told when all have been sent.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let recent = server.handle.recent_frames(&StreamName::program());
            assert_eq!(recent.len(), 4);
            assert_eq!(recent[3].0, fourth[0].1, "live pictures have their true stamps");
        }
    }
}

#[tokio::test]
async fn the_first_live_picture_of_a_joiner_is_named() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut edges = server.handle.edges();
    let mut source = server.publish();
    source.picture(true, 20_000);
    source.picture(false, 500);
    let (mut client, created) = server.viewer().await;
    assert!(client.connect().await);
    let edge = tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(5), edges.recv()).await });
    let mut stamps = Vec::new();
    for n in 0..10 {
        if n >= 2 {
            source.picture(false, 500);
        }
        stamps.push(access_unit(&mut client).await[0].1);
    }
    let (session, rtp) = edge.await.unwrap().expect("an edge").unwrap();
    assert_eq!(session, created.session_id);
    assert!(stamps.contains(&rtp), "{rtp} is none of {stamps:?}");
}

#[tokio::test]
async fn the_session_survives_the_source() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer().await;
    assert!(client.connect().await);
    access_unit(&mut client).await;
    source.picture(true, 500);
    let before = access_unit(&mut client).await;
    drop(source);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut source = server.publish();
    source.pts = 77_777_777;
    source.picture(true, 500);
    let after = access_unit(&mut client).await;
    assert_eq!(after[0].0, before.last().unwrap().0.wrapping_add(1), "sequence numbers go on");
    let passed = after[0].1.wrapping_sub(before[0].1);
    assert!((9_000..45_000).contains(&passed), "RTP time goes on by what passed: {passed}");
}

#[tokio::test]
async fn missing_packets_are_sent_again_and_reports_are_sent_and_read() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, created) = server.viewer().await;
    assert!(client.connect().await);
    access_unit(&mut client).await;
    source.picture(true, 5_000);
    let unit = access_unit(&mut client).await;
    let ssrcs = ssrcs(&created);
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 1];
    report.extend_from_slice(&ssrcs[0].to_be_bytes());
    report.extend_from_slice(&[64, 0, 0, 1]);
    report.extend_from_slice(&[0u32, 450, 0, 0].map(u32::to_be_bytes).concat());
    client.send_rtcp(&[report, nack(ssrcs[0], unit[2].0), picture_loss(ssrcs[0])].concat()).await;
    let (mut resent, mut reported) = (false, false);
    while !(resent && reported) {
        match client.next().await {
            Some(Got::Rtp { payload_type: 97, ssrc, payload, .. }) => {
                assert_eq!(ssrc, ssrcs[1]);
                assert_eq!(payload[..2], unit[2].0.to_be_bytes());
                assert_eq!(payload[2..], unit[2].2);
                resent = true;
            }
            Some(Got::Rtcp(compound)) => {
                rtcp::read(&compound, |feedback| assert!(!matches!(feedback, Feedback::Bye))).unwrap();
                assert_eq!(compound[1], 200);
                reported = true;
            }
            // Reports come once a second.
            None | Some(Got::Rtp { .. }) => {}
            Some(Got::Closed) => panic!("closed"),
        }
    }
    server.handle.report_delay(&created.session_id, Duration::from_millis(31));
    server.handle.report_delay("nobody", Duration::from_millis(31));
    tokio::time::sleep(Duration::from_millis(600)).await;
    let status = server.handle.sessions().remove(0);
    assert_eq!((status.state, status.picture_losses, status.counts.nacked), ("playing", 1, 1));
    assert_eq!(status.counts.retransmitted, 1);
    assert_eq!((status.loss, status.jitter), (0.25, Some(Duration::from_millis(5))));
    assert_eq!((status.delay, status.sound), (Some(Duration::from_millis(31)), false));
    assert_eq!(status.peer, client.socket.local_addr().ok());
}

/// "The picture was lost."
fn picture_loss(ssrc: u32) -> Vec<u8> {
    let mut pli = vec![0x81, 206, 0, 2, 0, 0, 0, 1];
    pli.extend_from_slice(&ssrc.to_be_bytes());
    pli
}

#[tokio::test]
async fn feedback_that_is_captured_and_replayed_is_counted_and_changes_nothing() {
    const REPLAYS: u64 = 20;
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, created) = server.viewer().await;
    assert!(client.connect().await);
    access_unit(&mut client).await;
    source.picture(true, 5_000);
    let unit = access_unit(&mut client).await;
    let ssrc = ssrcs(&created)[0];
    let captured = client.protected_rtcp(&[nack(ssrc, unit[2].0), picture_loss(ssrc)].concat());
    client.send(&captured).await;
    let (mut resent, mut reports) = (0, Vec::new());
    while resent == 0 || reports.is_empty() {
        // Reports come once a second.
        let Some(datagram) = client.receive().await else { continue };
        match datagram[1] & 0x7f {
            97 => resent += 1,
            72 => reports.push(datagram),
            _ => {}
        }
    }
    // From its own address, where anybody on the network may pretend to be, and from another one.
    let elsewhere = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..REPLAYS {
        client.send(&captured).await;
        elsewhere.send_to(&captured, client.box_address.unwrap()).await.unwrap();
    }
    // What the box said is not taken for what the viewer says.
    client.send(&reports[0]).await;
    // A changed number does not make it new: it is under the seal.
    let mut renumbered = captured.clone();
    let number = renumbered.len() - if client.profile == Some(Offered::Srtp_Aead_Aes_128_Gcm) { 1 } else { 11 };
    renumbered[number] ^= 0x40;
    client.send(&renumbered).await;
    let counted = REPLAYS + 2;
    let first =
        |sessions: &[SessionStatus]| sessions.first().map(|session| (session.malformed, session.picture_losses));
    server.comes_to("all counted", |sessions| first(sessions).is_some_and(|(malformed, _)| malformed == counted)).await;
    let status = server.handle.sessions().remove(0);
    assert_eq!((status.picture_losses, status.counts.nacked), (1, 1));
    assert_eq!((status.counts.retransmitted, status.state), (1, "playing"));
    assert_eq!(status.peer, client.socket.local_addr().ok(), "nobody has taken its place");
    // And what is new is heard as before.
    let fresh = client.protected_rtcp(&picture_loss(ssrc));
    client.send(&fresh).await;
    server.comes_to("heard", |sessions| first(sessions) == Some((counted, 2))).await;
}

#[tokio::test]
async fn viewers_of_every_thread_get_every_picture_in_order_and_what_they_miss() {
    let config = Config { threads: 3, ..config("127.0.0.1:0".parse().unwrap(), 10) };
    let mut server = TestBox::start_with(config, || Box::new(AsItIs));
    let mut source = server.publish();
    source.picture(true, 3_000);
    let mut viewers = Vec::new();
    for _ in 0..6 {
        // A stream that does not move is not begun with.
        source.picture(true, 300);
        let (mut client, created) = server.viewer().await;
        assert!(client.connect().await);
        viewers.push((client, created));
    }
    server.handle.felt().await;
    // No more than what a socket holds until it is read below.
    for n in 0..20 {
        source.picture(n % 7 == 0, 3_000);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for (client, created) in &mut viewers {
        let mut last: Option<(u16, u32)> = None;
        let mut missed = None;
        for _ in 0..20 {
            for (sequence, timestamp, payload) in access_unit(client).await {
                if let Some((before, stamp)) = last {
                    assert_eq!(sequence, before.wrapping_add(1));
                    assert!(timestamp.wrapping_sub(stamp) < 90_000, "{stamp} {timestamp}");
                }
                last = Some((sequence, timestamp));
                missed = Some((sequence, payload));
            }
        }
        let (sequence, lost) = missed.unwrap();
        client.send_rtcp(&nack(ssrcs(created)[0], sequence)).await;
        let again = loop {
            if let Got::Rtp { payload_type: 97, payload, .. } = client.next().await.expect("what was missed") {
                break payload;
            }
        };
        assert_eq!(again[2..], lost);
    }
    // Whoever serves it follows a viewer to another address.
    for (client, _) in &mut viewers {
        client.socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.check().await;
        assert!(client.receive().await.is_some());
    }
    source.picture(false, 500);
    for (client, created) in &mut viewers {
        access_unit(client).await;
        assert!(server.handle.remove(&created.session_id).await);
    }
    server.becomes_empty().await;
    server.stop.cancel();
    (&mut server.running).await.unwrap().unwrap();
}

/// Knows how many of its kind there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(alive.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Transform for Counted {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        vec![item.clone()]
    }

    fn problem(&self) -> Option<TransformProblem> {
        None
    }
}

#[tokio::test]
async fn sound_is_made_and_sent_while_somebody_takes_it() {
    let made = Arc::new(AtomicUsize::new(0));
    let becomes = async |count: usize| {
        for _ in 0..100 {
            if made.load(Ordering::SeqCst) == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} makers of sound instead of {count}", made.load(Ordering::SeqCst));
    };
    let (alive, config) = (made.clone(), config("127.0.0.1:0".parse().unwrap(), 10));
    let mut server = TestBox::start_with(config, move || Box::new(Counted::new(&alive)));
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut deaf, _) = server.viewer().await;
    assert!(deaf.connect().await);
    let mut client = Client::new().await;
    client.takes_sound = true;
    let (mut client, created) = server.viewer_as(client).await;
    source.sound(b"for nobody");
    tokio::time::sleep(Duration::from_millis(50)).await;
    becomes(0).await;
    assert!(client.connect().await);
    becomes(1).await;
    source.sound(b"first");
    source.sound(b"second");
    source.picture(false, 500);
    let (mut heard, mut pictures, mut reports) = (Vec::new(), 0, 0);
    while heard.len() < 2 || pictures < 2 || reports < 2 {
        match client.next().await {
            Some(Got::Rtp { payload_type: 111, payload, sequence, .. }) => heard.push((sequence, payload)),
            Some(Got::Rtp { payload_type: 96, .. }) => pictures += 1,
            // The first may have been sent before there was any sound.
            Some(Got::Rtcp(compound)) => reports = if compound[1] == compound[29] { 2 } else { 0 },
            Some(Got::Rtp { .. }) | None => {}
            Some(Got::Closed) => panic!("closed"),
        }
    }
    assert_eq!((heard[0].1.as_slice(), heard[1].1.as_slice()), (&b"first"[..], &b"second"[..]));
    assert_eq!(heard[1].0, heard[0].0.wrapping_add(1));
    tokio::time::sleep(Duration::from_millis(600)).await;
    let sessions = server.handle.sessions();
    let sound: Vec<_> = sessions.iter().map(|session| (session.sound, session.sound_counts.packets)).collect();
    assert_eq!(sound, [(false, 0), (true, 2)]);
    assert!(server.handle.remove(&created.session_id).await);
    becomes(0).await;
    for _ in 0..2 {
        access_unit(&mut deaf).await;
    }
    source.sound(b"for nobody");
    source.picture(false, 500);
    loop {
        match deaf.next().await.expect("the picture") {
            Got::Rtp { payload_type, .. } => {
                assert_eq!(payload_type, 96);
                break;
            }
            Got::Rtcp(_) => {}
            Got::Closed => panic!("closed"),
        }
    }
}

/// What is left to be heard ends a session, by RTCP and by DTLS.
async fn says_goodbye(client: &mut Client) {
    let (mut bye, mut closed) = (false, false);
    while let Some(got) = client.next().await {
        match got {
            Got::Rtcp(compound) => {
                rtcp::read(&compound, |feedback| bye |= feedback == Feedback::Bye).unwrap();
            }
            Got::Closed => closed = true,
            Got::Rtp { .. } => {}
        }
    }
    assert!(bye && closed);
}

#[tokio::test]
async fn a_removed_session_is_told_and_leaves_nothing_behind() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, created) = server.viewer().await;
    assert!(client.connect().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.handle.remove(&created.session_id).await);
    assert!(!server.handle.remove(&created.session_id).await);
    says_goodbye(&mut client).await;
    server.becomes_empty().await;
    assert_eq!(server.handle.etag(&created.session_id), None);
    assert!(server.handle.recent_frames(&StreamName::program()).is_empty());
    client.check().await;
    assert_eq!(client.receive().await, None, "its credentials are worth nothing any more");
}

#[tokio::test]
async fn shutting_down_says_goodbye_to_everybody() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer().await;
    assert!(client.connect().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    let mut closed = false;
    while let Some(got) = client.next().await {
        closed |= got == Got::Closed;
    }
    assert!(closed);
    (&mut server.running).await.unwrap().unwrap();
    assert_eq!(server.create(&client.offer()).await, Err(CreateError::Stopped));
    server.handle.felt().await;
}

#[tokio::test]
async fn nothing_is_sent_to_who_did_not_prove_the_address() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, _) = server.viewer().await;
    client.begin_handshake();
    client.flush().await;
    assert_eq!(client.receive().await, None, "DTLS before a check");
    let password = std::mem::replace(&mut client.password, "a password that is guessed".into());
    client.check().await;
    assert_eq!(client.receive().await, None, "a check with a wrong password");
    client.send(&[0x80, 201, 0, 1, 0, 0, 0, 0]).await;
    client.send(&[]).await;
    client.send(&[0xff; 1500]).await;
    assert_eq!(client.receive().await, None);
    client.password = password;
    assert!(client.connect().await, "and the right one works afterwards");
}

/// Goes through a handshake that the box must not complete, and gives how many datagrams of media it was sent.
async fn media_after_a_refused_handshake(server: &TestBox, source: &mut Source, mut client: Client) -> usize {
    // A client may think that it is through: the box's last word comes after its own.
    let _ = client.connect().await;
    source.picture(true, 500);
    server.becomes_empty().await;
    let mut media = 0;
    while let Some(datagram) = client.receive().await {
        media += usize::from((128..192).contains(&datagram[0]));
    }
    media
}

#[tokio::test]
async fn another_certificate_than_the_offered_one_is_refused_and_sent_nothing() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let other = Client::new().await;
    let mut client = Client::new().await;
    let created = server.create(&other.offer()).await.unwrap();
    client.take_answer(&created.answer_sdp);
    assert_eq!(media_after_a_refused_handshake(&server, &mut source, client).await, 0);
}

/// Certificates cross the network as they are (RFC 6347 §4.2.4), so anybody can show one.
#[tokio::test]
async fn the_offered_certificate_without_its_key_is_refused_and_sent_nothing() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let victim = Client::new().await;
    let mut client = Client::new().await;
    let created = server.create(&victim.offer()).await.unwrap();
    client.certificate.certificate = victim.certificate.certificate.clone();
    client.take_answer(&created.answer_sdp);
    assert_eq!(media_after_a_refused_handshake(&server, &mut source, client).await, 0);
}

#[tokio::test]
async fn trickled_candidates_are_checked_and_a_restart_takes_new_credentials() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut client, created) = server.viewer().await;
    let id = created.session_id.as_str();
    assert_eq!(server.handle.etag(id).as_deref(), Some(created.etag.as_str()));
    let fragment = |ufrag: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        )
    };
    let patch = |id: &'static str, etag: String, fragment: String| {
        let handle = server.handle.clone();
        async move { handle.patch_candidates(id, &etag, &fragment).await }
    };
    assert_eq!(patch("session-1", created.etag.clone(), fragment("viewer")).await, Ok(()));
    assert_eq!(patch("session-9", created.etag.clone(), fragment("viewer")).await, Err(PatchError::NotFound));
    assert_eq!(patch("session-1", "old".into(), fragment("viewer")).await, Err(PatchError::Stale));
    let other = patch("session-1", created.etag.clone(), fragment("someone")).await;
    assert_eq!(other, Err(PatchError::OtherCredentials));
    let broken = patch("session-1", created.etag.clone(), "x".into()).await;
    assert!(matches!(broken, Err(PatchError::Fragment(_))));

    assert!(client.connect().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let restarted = server.handle.restart_ice(id, &fragment("viewer2")).await.unwrap();
    assert_ne!(restarted.etag, created.etag);
    assert_eq!(server.handle.etag(id), Some(restarted.etag.clone()));
    source.picture(true, 500);
    access_unit(&mut client).await;
    let value = |name: &str| restarted.sdpfrag.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    client.username = format!("{}:viewer2", value("a=ice-ufrag:"));
    client.password = value("a=ice-pwd:");
    client.socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.check().await;
    assert!(client.receive().await.is_some());
    source.picture(false, 500);
    access_unit(&mut client).await;
}

#[tokio::test]
async fn an_address_that_has_just_come_is_in_the_next_answer() {
    static WITH_NETWORK: AtomicBool = AtomicBool::new(false);
    let local_addresses = || match WITH_NETWORK.load(Ordering::Relaxed) {
        false => vec![IpAddr::from([127, 0, 0, 1])],
        true => vec![IpAddr::from([192, 168, 1, 20])],
    };
    let config = Config { local_addresses, ..config("0.0.0.0:0".parse().unwrap(), 10) };
    let mut server = TestBox::start_with(config, || Box::new(AsItIs));
    let mut source = server.publish();
    source.picture(true, 500);
    let offer = Client::new().await.offer();
    let early = server.create(&offer).await.unwrap();
    assert!(early.answer_sdp.contains(" 127.0.0.1 "), "{}", early.answer_sdp);
    WITH_NETWORK.store(true, Ordering::Relaxed);
    let created = server.create(&offer).await.unwrap();
    assert!(created.answer_sdp.contains(" 192.168.1.20 "), "{}", created.answer_sdp);
    let fragment =
        "a=ice-ufrag:viewer\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    let restarted = server.handle.restart_ice(&early.session_id, fragment).await.unwrap();
    assert!(restarted.sdpfrag.contains(" 192.168.1.20 "), "{}", restarted.sdpfrag);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let err = Server::bind(config(listen, 1), Clock::system()).map(|_| ()).unwrap_err();
    assert!(err.to_string().contains(&listen.to_string()), "{err}");
}

#[tokio::test]
async fn a_flood_of_datagrams_does_not_hold_up_commands() {
    let (handle, server) = Server::bind(config("127.0.0.1:0".parse().unwrap(), 1), Clock::system()).unwrap();
    let flood = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // More than is read at once waits already.
    for _ in 0..300 {
        flood.send_to(&[0xff], server.local_addr()).unwrap();
    }
    let removed = tokio::spawn(async move { handle.remove("nobody").await });
    tokio::task::yield_now().await;
    let Server { mut worker, socket, tcp: _tcp } = server;
    let mut loop_state = worker::Loop::new(socket.into_async().unwrap()).unwrap();
    loop_state.socket.readable().await.unwrap();
    assert!(worker.turn(&mut loop_state, &CancellationToken::new()).await.unwrap());
    assert!(loop_state.socket.has_datagram(), "the flood goes on");
    assert!(!tokio::time::timeout(Duration::from_millis(500), removed).await.expect("an answer").unwrap());
}

#[test]
fn logs_do_not_hold_what_ends_a_session() {
    assert_eq!(log_name("0123456789abcdef0123456789abcdef"), "01234567");
    assert_eq!(log_name("äöüäöüäöüäöü"), "äöüäöüäö");
    assert_eq!(log_name("short"), "short");
}
